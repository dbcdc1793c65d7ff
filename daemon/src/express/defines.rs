//! The names by which a file of `--include-file` or an `envvars` script asks how the
//! server was set up: those of mod_wsgi-express. Called by `render`, whose templates write
//! variables into `httpd.conf` and `apachectl`, and flags (`<IfDefine>`) into `httpd.conf`.
//!
//! A flag is defined where what it says is true here. So some of mod_wsgi-express never
//! are: nothing is embedded (`EMBEDDED_MODE`), `--debug-mode` is no mode of httpd
//! (`ONE_PROCESS`, which would change it), no PHP 5 and no free-threaded Python run, and
//! libpython is not loaded into httpd.

use super::options::ApplicationType;
use super::plan::ServerPlan;

/// Names and values. `None` is what mod_wsgi-express writes for no port.
pub(crate) fn variables(plan: &ServerPlan) -> Vec<(&'static str, String)> {
    let network = &plan.options.network;
    let host = network.host.as_deref().unwrap_or("localhost");
    let https = plan.options.tls.https_port;
    let https = https.map_or_else(|| "None".to_owned(), |port| port.to_string());
    let (user, group) = (&plan.account.user, &plan.account.group);
    vec![
        ("MOD_WSGI_SERVER_ROOT", plan.root.display().to_string()),
        (
            "MOD_WSGI_WORKING_DIRECTORY",
            plan.working_directory.display().to_string(),
        ),
        (
            "MOD_WSGI_MODULES_DIRECTORY",
            plan.httpd.modules.display().to_string(),
        ),
        ("MOD_WSGI_LISTENER_HOST", host.to_owned()),
        ("MOD_WSGI_HTTP_PORT", network.port.to_string()),
        ("MOD_WSGI_HTTPS_PORT", https),
        ("MOD_WSGI_USER", user.clone()),
        ("MOD_WSGI_GROUP", group.clone()),
        ("MOD_WSGI_RUN_USER", user.clone()),
        ("MOD_WSGI_RUN_GROUP", group.clone()),
    ]
}

/// The flags that are defined.
pub(crate) fn flags(plan: &ServerPlan, http2: bool) -> Vec<String> {
    let known = known(plan, http2).into_iter();
    known
        .filter_map(|(name, is_defined)| is_defined.then_some(name))
        .collect()
}

/// All flags, and whether they are defined.
pub(crate) fn known(plan: &ServerPlan, http2: bool) -> Vec<(String, bool)> {
    let given = options(plan).into_iter().chain(worked_out(plan, http2));
    let given = given.map(|(name, is_defined)| (name.to_owned(), is_defined));
    given.chain(mpms(plan)).collect()
}

/// Those that an option alone decides.
fn options(plan: &ServerPlan) -> [(&'static str, bool); 35] {
    let options = &plan.options;
    let (network, tls, files) = (&options.network, &options.tls, &options.files);
    let (access, logs, metrics) = (&options.access, &options.logs, &options.metrics);
    let (processes, develop) = (&options.processes, &options.develop);
    [
        ("MOD_WSGI_ACCESS_LOG", logs.access_log),
        ("MOD_WSGI_ALLOW_LOCALHOST", network.allow_localhost),
        ("MOD_WSGI_AUTH_GROUP", access.auth_group_script.is_some()),
        ("MOD_WSGI_AUTH_USER", access.auth_user_script.is_some()),
        (
            "MOD_WSGI_CERTIFICATE_CHAIN",
            tls.ssl_certificate_chain_file.is_some(),
        ),
        ("MOD_WSGI_CHUNKED_REQUEST", network.chunked_request),
        ("MOD_WSGI_COMPRESS_RESPONSES", network.compress_responses),
        ("MOD_WSGI_DIRECTORY_INDEX", files.directory_index.is_some()),
        ("MOD_WSGI_DIRECTORY_LISTING", files.directory_listing),
        ("MOD_WSGI_DISABLE_RELOADING", develop.disable_reloading),
        ("MOD_WSGI_ENABLE_SENDFILE", network.enable_sendfile),
        ("MOD_WSGI_ERROR_LOG_FORMAT", logs.error_log_format.is_some()),
        ("MOD_WSGI_ERROR_OVERRIDE", files.error_override),
        ("MOD_WSGI_HOST_ACCESS", access.host_access_script.is_some()),
        ("MOD_WSGI_HSTS_POLICY", tls.hsts_policy.is_some()),
        ("MOD_WSGI_HTTPS_ONLY", tls.https_only),
        ("MOD_WSGI_KEEP_ALIVE", network.keep_alive_timeout > 0),
        ("MOD_WSGI_MULTIPROCESS", processes.processes.is_some()),
        ("MOD_WSGI_SERVER_ALIAS", !network.server_aliases.is_empty()),
        (
            "MOD_WSGI_SERVER_METRICS",
            metrics.server_metrics || metrics.server_status,
        ),
        ("MOD_WSGI_SERVER_STATUS", metrics.server_status),
        ("MOD_WSGI_SLOW_REQUESTS", metrics.slow_requests.is_some()),
        ("MOD_WSGI_SSL_ENVIRONMENT", tls.ssl_environment),
        (
            "MOD_WSGI_STATIC_ONLY",
            options.application.application_type == ApplicationType::Static,
        ),
        (
            "MOD_WSGI_SWITCH_INTERVAL",
            processes.switch_interval.is_some(),
        ),
        (
            "MOD_WSGI_TELEMETRY_OPTIONS",
            !metrics.telemetry_options.is_empty(),
        ),
        (
            "MOD_WSGI_TELEMETRY_SERVICE",
            metrics.telemetry_service.is_some(),
        ),
        (
            "MOD_WSGI_VERIFY_CLIENT",
            tls.ssl_ca_certificate_file.is_some(),
        ),
        ("MOD_WSGI_VIRTUAL_HOST", network.server_name.is_some()),
        ("MOD_WSGI_WITH_LISTENER_HOST", network.host.is_some()),
        (
            "MOD_WSGI_WITH_PROXY",
            !files.proxy_mount_point.is_empty() || !files.proxy_virtual_host.is_empty(),
        ),
        (
            "MOD_WSGI_WITH_PROXY_HEADERS",
            !access.trust_proxy_headers.is_empty(),
        ),
        (
            "MOD_WSGI_WITH_SOCKET_PREFIX",
            network.socket_prefix.is_some(),
        ),
        (
            "MOD_WSGI_WITH_TRUSTED_PROXIES",
            !access.trust_proxies.is_empty(),
        ),
        ("ORPHAN_INTERPRETER", processes.orphan_interpreter),
    ]
}

/// Those that depend on this machine, or on more than one option.
fn worked_out(plan: &ServerPlan, http2: bool) -> [(&'static str, bool); 8] {
    let options = &plan.options;
    let name = options.network.server_name.as_deref().unwrap_or_default();
    let cgi = options.files.with_cgi;
    let is_prefork = plan.mpm == "prefork";
    [
        ("MOD_WSGI_CGID_SCRIPT", cgi && !is_prefork),
        ("MOD_WSGI_CGI_SCRIPT", cgi && is_prefork),
        ("MOD_WSGI_IMPORT_HANDLER_SCRIPT", plan.has_application()),
        ("MOD_WSGI_REDIRECT_WWW", name.starts_with("www.")),
        (
            "MOD_WSGI_ROTATE_LOGS",
            super::logs::rotatelogs(plan).is_some(),
        ),
        ("MOD_WSGI_WITH_HTTP2", http2),
        ("MOD_WSGI_WITH_HTTPS", plan.https().is_some()),
        (
            "MOD_WSGI_WITH_PYTHON_PATH",
            !options.environment.python_path.is_empty(),
        ),
    ]
}

/// The MPM that runs, and those that could.
fn mpms(plan: &ServerPlan) -> Vec<(String, bool)> {
    let wanted = &plan.options.processes.server_mpm;
    let mut flags = Vec::new();
    for mpm in ["event", "worker", "prefork"] {
        let runs = mpm == plan.mpm;
        let is_wanted = wanted.is_empty() || wanted.iter().any(|name| name == mpm);
        let exists = runs || is_wanted && plan.httpd.has(&format!("mpm_{mpm}"));
        let name = mpm.to_ascii_uppercase();
        flags.push((format!("MOD_WSGI_MPM_ENABLE_{name}_MODULE"), runs));
        flags.push((format!("MOD_WSGI_MPM_EXISTS_{name}_MODULE"), exists));
    }
    flags
}
