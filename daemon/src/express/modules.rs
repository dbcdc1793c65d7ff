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
    let needed = needed(plan);
    if let Some(missing) = needed.iter().find(|name| !httpd.has(name)) {
        let file = httpd.file(missing);
        return Err(HttpdError::Module((*missing).to_owned(), file));
    }
    let useful = useful(plan, &needed);
    let installed = needed.into_iter().chain(useful);
    let mut modules: Vec<LoadedModule> = installed
        .filter(|name| httpd.has(name) && !httpd.is_built_in(name))
        .map(|name| LoadedModule {
            name: name.to_owned(),
            file: httpd.file(name),
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

fn needed(plan: &ServerPlan) -> Vec<&'static str> {
    let options = &plan.options;
    let tls = plan.https().is_some();
    let files = &options.files;
    let access = &options.access;
    let proxies = !files.proxy_mount_point.is_empty() || !files.proxy_virtual_host.is_empty();
    let authentication = access.auth_user_script.is_some();
    let digest = access.auth_type.eq_ignore_ascii_case("digest");
    let mpm = match plan.mpm {
        "prefork" => "mpm_prefork",
        "worker" => "mpm_worker",
        _ => "mpm_event",
    };
    let mut names = vec![
        mpm,
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
    for (name, wanted) in optional {
        if wanted {
            names.push(name);
        }
    }
    names
}

/// Loaded where they are installed. Configuration of the user's own may count
/// on the second half.
fn useful(plan: &ServerPlan, needed: &[&str]) -> Vec<&'static str> {
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
        names.retain(|name| !needed.contains(name));
    }
    names
}
