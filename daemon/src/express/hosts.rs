//! Virtual hosts of a plan: names, redirections, HTTPS, proxied host names.
//! Called by `render`. Without any of them there is only the main server.

use super::options::pairs;
use super::paths::absolute;
use super::plan::Plan;
use super::template::Scope;

/// What a virtual host does with a request.
enum Purpose<'a> {
    /// The application.
    Site,
    /// Refuse it: another host's name.
    Deny,
    /// Send the client to this origin.
    Redirect(String),
    /// Hand it to another server.
    Proxy(&'a str),
}

/// The rows of the `hosts` section. httpd takes the first one of an address
/// for names that none has.
pub(crate) fn rows(plan: &Plan) -> Vec<Scope> {
    let network = &plan.options.network;
    let proxied = !plan.options.files.proxy_virtual_host.is_empty();
    let tls = plan.tls();
    if network.server_name.is_none() && tls.is_none() && !proxied {
        return Vec::new();
    }
    let to_https = match &tls {
        Some((port, ..)) if plan.options.tls.https_only => {
            Some(origin("https", "%{SERVER_NAME}", *port))
        }
        _ => None,
    };
    let mut rows = of_port(plan, network.port, false, to_https);
    if let Some((port, ..)) = tls {
        rows.extend(of_port(plan, port, true, None));
    }
    rows
}

fn of_port(plan: &Plan, port: u16, tls: bool, to_https: Option<String>) -> Vec<Scope> {
    let network = &plan.options.network;
    let site = || to_https.clone().map_or(Purpose::Site, Purpose::Redirect);
    let mut rows = Vec::new();
    let mut add = |name: &str, aliases: &[String], purpose: Purpose<'_>| {
        rows.push(row(plan, (port, tls), name, aliases, &purpose));
    };
    match &network.server_name {
        None => add("localhost", &network.server_aliases, site()),
        Some(name) => {
            add("unknown.invalid", &[], Purpose::Deny);
            if network.allow_localhost {
                add("localhost", &[], Purpose::Site);
            }
            add(name, &network.server_aliases, site());
            let bare = name
                .strip_prefix("www.")
                .filter(|bare| !network.server_aliases.iter().any(|alias| alias == bare));
            if let Some(bare) = bare {
                let scheme = if tls { "https" } else { "http" };
                let target = to_https
                    .clone()
                    .map(|_| origin("https", name, plan.options.tls.https_port.unwrap_or(443)));
                add(
                    bare,
                    &[],
                    Purpose::Redirect(target.unwrap_or_else(|| origin(scheme, name, port))),
                );
            }
        }
    }
    for (name, url) in pairs(&plan.options.files.proxy_virtual_host) {
        add(name, &[], Purpose::Proxy(url));
    }
    rows
}

fn origin(scheme: &str, host: &str, port: u16) -> String {
    match (scheme, port) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{port}"),
    }
}

fn row(
    plan: &Plan,
    (port, tls): (u16, bool),
    name: &str,
    aliases: &[String],
    purpose: &Purpose<'_>,
) -> Scope {
    let options = &plan.options;
    let mut row = Scope::default();
    row.text("addresses", format!("*:{port}"));
    row.text("name", name);
    row.column("names", "alias", aliases.iter().cloned());
    row.flag("denied", matches!(purpose, Purpose::Deny));
    row.maybe(
        "redirect",
        if let Purpose::Redirect(target) = purpose {
            Some(target)
        } else {
            None
        },
    );
    row.maybe(
        "proxy",
        if let Purpose::Proxy(url) = purpose {
            Some(with_slash(url))
        } else {
            None
        },
    );
    row.text("port", port);
    row.text(
        "timeout",
        options
            .timeouts
            .proxy_timeout
            .unwrap_or(options.timeouts.socket_timeout),
    );
    row.flag("tls", tls);
    let files = if tls { plan.tls() } else { None };
    row.maybe(
        "certificate",
        files
            .as_ref()
            .map(|(_, certificate, _)| certificate.display()),
    );
    row.maybe("key", files.as_ref().map(|(_, _, key)| key.display()));
    row.maybe(
        "chain",
        options
            .tls
            .ssl_certificate_chain_file
            .as_deref()
            .map(|path| absolute(path).display().to_string()),
    );
    row.maybe(
        "ca",
        options
            .tls
            .ssl_ca_certificate_file
            .as_deref()
            .map(|path| absolute(path).display().to_string()),
    );
    row.text(
        "verify",
        if options.tls.ssl_verify_client.is_empty() {
            "require"
        } else {
            "none"
        },
    );
    row.column(
        "verify_paths",
        "path",
        options.tls.ssl_verify_client.iter().cloned(),
    );
    row.flag("ssl_environment", options.tls.ssl_environment);
    row.maybe("hsts", options.tls.hsts_policy.as_ref());
    row
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') {
        url.to_owned()
    } else {
        format!("{url}/")
    }
}
