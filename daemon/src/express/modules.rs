//! Which modules httpd has to load for a plan: those it needs, those that are
//! useful where they are installed, and ours. Called by `render`.

use std::path::PathBuf;

use serde::Serialize;

use super::httpd::HttpdError;
use super::plan::ServerPlan;

/// A module that httpd loads.
#[derive(Debug, Serialize)]
pub(crate) struct LoadedModule {
    /// `alias`, for instance, for mod_alias.
    name: String,
    file: PathBuf,
}

/// The modules to load, in this order.
pub(crate) fn loaded(plan: &ServerPlan) -> Result<Vec<LoadedModule>, HttpdError> {
    let httpd = &plan.httpd;
    let mut names = needed(plan);
    if let Some(missing) = names.iter().find(|name| !httpd.has(name)) {
        let file = httpd.file(missing);
        return Err(HttpdError::Module(missing.clone(), file));
    }
    for name in useful(plan) {
        if httpd.has(name) && !names.iter().any(|needed| needed == name) {
            names.push(name.to_owned());
        }
    }
    names.retain(|name| !httpd.is_built_in(name));
    let mut modules: Vec<LoadedModule> = names
        .into_iter()
        .map(|name| LoadedModule {
            file: httpd.file(&name),
            name,
        })
        .collect();
    if plan.uses_wsgi() {
        modules.push(LoadedModule {
            name: "wsgi".to_owned(),
            file: plan.module.clone(),
        });
    }
    Ok(modules)
}

/// Those without which httpd would refuse the configuration.
fn needed(plan: &ServerPlan) -> Vec<String> {
    let options = &plan.options;
    let tls = plan.https().is_some();
    let files = &options.files;
    let access = &options.access;
    let proxies = !files.proxy_mount_point.is_empty() || !files.proxy_virtual_host.is_empty();
    let authentication = access.auth_user_script.is_some();
    let digest = access.auth_type.eq_ignore_ascii_case("digest");
    let prefork = plan.mpm == "prefork";
    let rows = [
        ("unixd", true),
        ("log_config", true),
        ("authz_core", true),
        ("authz_host", true),
        ("alias", true),
        ("mime", true),
        ("dir", true),
        ("env", true),
        ("rewrite", true),
        ("ssl", tls),
        (
            "headers",
            proxies || tls && options.tls.hsts_policy.is_some(),
        ),
        ("status", options.metrics.server_status),
        ("autoindex", files.directory_listing),
        ("filter", options.network.compress_responses),
        ("deflate", options.network.compress_responses),
        ("proxy", proxies),
        ("proxy_http", proxies),
        ("cgi", files.with_cgi && prefork),
        ("cgid", files.with_cgi && !prefork),
        ("authn_core", authentication),
        ("authz_user", authentication),
        ("auth_digest", authentication && digest),
        ("auth_basic", authentication && !digest),
    ];
    let wanted = rows.into_iter().filter(|(_, wanted)| *wanted);
    let mut names = vec![format!("mpm_{}", plan.mpm)];
    names.extend(wanted.map(|(name, _)| name.to_owned()));
    names
}

/// Loaded where they are installed. Configuration of the user's own may count
/// on the second half.
fn useful(plan: &ServerPlan) -> Vec<&'static str> {
    let mut names = vec!["reqtimeout", "setenvif"];
    if plan.options.network.http2 && plan.mpm != "prefork" {
        names.push("http2");
    }
    if plan.https().is_some() {
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
    }
    names
}
