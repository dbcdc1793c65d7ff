//! Virtual hosts of a plan: names, redirections, HTTPS, proxied host names.
//! Called by `render`. Without any of them there is only the main server.

use std::net::Ipv6Addr;

use serde::Serialize;

use super::options::pairs;
use super::plan::ServerPlan;

/// A virtual host.
#[derive(Debug, Serialize)]
pub(crate) struct VirtualHost<'a> {
    port: u16,
    tls: bool,
    name: &'a str,
    aliases: &'a [String],
    #[serde(flatten)]
    purpose: HostPurpose,
}

/// What a virtual host does with a request.
#[derive(Debug, Serialize)]
#[serde(tag = "purpose", content = "target", rename_all = "lowercase")]
enum HostPurpose {
    /// The application.
    Site,
    /// Refuse it: another host's name.
    Deny,
    /// Send the client to this origin.
    Redirect(String),
    /// Hand it to another server.
    Proxy(String),
}

/// All virtual hosts. httpd takes the first one of an address for names that none
/// has.
pub(crate) fn of(plan: &ServerPlan) -> Vec<VirtualHost<'_>> {
    let network = &plan.options.network;
    let proxied = !plan.options.files.proxy_virtual_host.is_empty();
    let https = plan.https().map(|https| https.port);
    if network.server_name.is_none() && https.is_none() && !proxied {
        return Vec::new();
    }
    let https_only = https.filter(|_| plan.options.tls.https_only);
    let mut hosts = of_port(plan, network.port, false, https_only);
    if let Some(port) = https {
        hosts.extend(of_port(plan, port, true, None));
    }
    hosts
}

/// Those of one port. With `https_only`, requests are sent on to that port.
fn of_port(
    plan: &ServerPlan,
    port: u16,
    tls: bool,
    https_only: Option<u16>,
) -> Vec<VirtualHost<'_>> {
    let network = &plan.options.network;
    let aliases = network.server_aliases.as_slice();
    let site = https_only.map_or(HostPurpose::Site, |port| {
        HostPurpose::Redirect(origin("https", "%{SERVER_NAME}", port))
    });
    let none: &[String] = &[];
    let mut named = Vec::new();
    if let Some(name) = network.server_name.as_deref() {
        named.push(("unknown.invalid", none, HostPurpose::Deny));
        if network.allow_localhost {
            named.push(("localhost", none, HostPurpose::Site));
        }
        named.push((name, aliases, site));
        if let Some(bare) = name.strip_prefix("www.")
            && !aliases.iter().any(|alias| alias == bare)
        {
            let secure = tls || https_only.is_some();
            let scheme = if secure { "https" } else { "http" };
            let target = origin(scheme, name, https_only.unwrap_or(port));
            named.push((bare, none, HostPurpose::Redirect(target)));
        }
    } else {
        named.push(("localhost", aliases, site));
    }
    for (name, url) in pairs(&plan.options.files.proxy_virtual_host) {
        let slash = if url.ends_with('/') { "" } else { "/" };
        named.push((name, none, HostPurpose::Proxy(format!("{url}{slash}"))));
    }
    let hosts = named
        .into_iter()
        .map(|(name, aliases, purpose)| VirtualHost {
            port,
            tls,
            name,
            aliases,
            purpose,
        });
    hosts.collect()
}

/// The beginning of a URL; the usual port of the scheme is left out.
pub(crate) fn origin(scheme: &str, host: &str, port: u16) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

/// An address as it stands in a URL or in `Listen`.
pub(crate) fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) => host.to_owned(),
    }
}
