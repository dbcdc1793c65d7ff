//! Which modules httpd has to load for a plan: those it needs, those that are
//! useful where they are installed, and ours. Called by `render`.

use super::httpd::HttpdError;
use super::plan::Plan;
use super::template::Scope;

/// The rows of the `modules` section, in the order of loading.
pub(crate) fn rows(plan: &Plan) -> Result<Vec<Scope>, HttpdError> {
    let mut rows = Vec::new();
    for name in needed(plan) {
        if plan.httpd.is_built_in(&name) {
            continue;
        }
        if !plan.httpd.has(&name) {
            return Err(HttpdError::Module(name.clone(), plan.httpd.file(&name)));
        }
        rows.push(row(&name, &plan.httpd.file(&name).display().to_string()));
    }
    for name in useful(plan) {
        if plan.httpd.has(name) && !plan.httpd.is_built_in(name) {
            rows.push(row(name, &plan.httpd.file(name).display().to_string()));
        }
    }
    if plan.uses_wsgi() {
        rows.push(row("wsgi", &plan.module.display().to_string()));
    }
    Ok(rows)
}

fn row(name: &str, file: &str) -> Scope {
    let mut row = Scope::default();
    row.text("name", format!("{name}_module"));
    row.text("symbol", format!("{name}_module"));
    row.text("file", file);
    row
}

fn needed(plan: &Plan) -> Vec<String> {
    let (options, tls) = (&plan.options, plan.tls().is_some());
    let files = &options.files;
    let access = &options.access;
    let proxies = !files.proxy_mount_point.is_empty() || !files.proxy_virtual_host.is_empty();
    let authentication = access.auth_user_script.is_some();
    let digest = access.auth_type.eq_ignore_ascii_case("digest");
    let mut names = vec![format!("mpm_{}", plan.mpm)];
    let always = [
        "unixd",
        "log_config",
        "authz_core",
        "authz_host",
        "alias",
        "mime",
        "dir",
        "env",
        "rewrite",
    ];
    let optional = [
        ("ssl", tls),
        (
            "headers",
            (tls && options.tls.hsts_policy.is_some()) || proxies,
        ),
        ("status", options.metrics.server_status),
        ("autoindex", files.directory_listing),
        ("filter", options.network.compress_responses),
        ("deflate", options.network.compress_responses),
        ("proxy", proxies),
        ("proxy_http", proxies),
        (
            if plan.mpm == "prefork" { "cgi" } else { "cgid" },
            files.with_cgi,
        ),
        ("authn_core", authentication),
        ("authz_user", authentication),
        ("auth_digest", authentication && digest),
        ("auth_basic", authentication && !digest),
    ];
    names.extend(always.iter().map(ToString::to_string));
    names.extend(
        optional
            .iter()
            .filter(|(_, wanted)| *wanted)
            .map(|(name, _)| (*name).to_owned()),
    );
    names
}

/// Loaded where they are installed. Configuration of the user's own may count
/// on the second half.
fn useful(plan: &Plan) -> Vec<&'static str> {
    let mut names = vec!["reqtimeout", "setenvif"];
    if plan.options.network.http2 && plan.mpm != "prefork" {
        names.push("http2");
    }
    if plan.tls().is_some() {
        names.push("socache_shmcb");
    }
    let own = !plan.options.environment.include_file.is_empty()
        || !plan.options.files.allow_override.is_empty();
    if own {
        names.extend([
            "headers",
            "expires",
            "filter",
            "deflate",
            "negotiation",
            "access_compat",
            "authn_core",
            "authz_user",
        ]);
        let needed = needed(plan);
        names.retain(|name| !needed.iter().any(|other| other == name));
    }
    names
}
