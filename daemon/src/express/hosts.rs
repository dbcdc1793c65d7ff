//! Virtual hosts of a plan: names, redirections, HTTPS, proxied host names.
//! Called by `render`. Without any of them there is only the main server.

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
#[derive(Clone, Debug, Serialize)]
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
    let host = |name, aliases, purpose| VirtualHost {
        port,
        tls,
        name,
        aliases,
        purpose,
    };
    let site = https_only.map_or(HostPurpose::Site, |port| {
        HostPurpose::Redirect(origin("https", "%{SERVER_NAME}", port))
    });
    let aliases = network.server_aliases.as_slice();
    let mut hosts = Vec::new();
    if let Some(name) = network.server_name.as_deref() {
        hosts.push(host("unknown.invalid", &[], HostPurpose::Deny));
        if network.allow_localhost {
            hosts.push(host("localhost", &[], HostPurpose::Site));
        }
        hosts.push(host(name, aliases, site));
        let bare = name
            .strip_prefix("www.")
            .filter(|bare| !aliases.iter().any(|alias| alias == bare));
        if let Some(bare) = bare {
            let target = match https_only {
                Some(port) => origin("https", name, port),
                None if tls => origin("https", name, port),
                None => origin("http", name, port),
            };
            hosts.push(host(bare, &[], HostPurpose::Redirect(target)));
        }
    } else {
        hosts.push(host("localhost", aliases, site));
    }
    for (name, url) in pairs(&plan.options.files.proxy_virtual_host) {
        hosts.push(host(name, &[], HostPurpose::Proxy(with_slash(url))));
    }
    hosts
}

fn origin(scheme: &str, host: &str, port: u16) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') {
        url.to_owned()
    } else {
        format!("{url}/")
    }
}
