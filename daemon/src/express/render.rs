//! Turns a plan into the text of the generated files. Called by `mod`. The
//! templates are in `conf/start-server`.

use std::path::{Path, PathBuf};

use super::groups;
use super::hosts;
use super::httpd::HttpdError;
use super::logs;
use super::modules;
use super::options::{ApplicationType, pairs};
use super::paths::absolute;
use super::plan::{Plan, PlanError, bracketed};
use super::template::{Scope, TemplateError, fill};

const HTTPD_CONF: &str = include_str!("../../../conf/start-server/httpd.conf");
const APACHECTL: &str = include_str!("../../../conf/start-server/apachectl");

/// Why the files could not be generated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    #[error(transparent)]
    Httpd(#[from] HttpdError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("failed to fill in `{0}`: {1}")]
    Template(&'static str, TemplateError),
}

/// The text of `httpd.conf`.
pub(crate) fn httpd_conf(plan: &Plan) -> Result<String, RenderError> {
    let mut scope = Scope::default();
    server(plan, &mut scope)?;
    sizing(plan, &mut scope);
    log(plan, &mut scope);
    application(plan, &mut scope)?;
    access(plan, &mut scope);
    files(plan, &mut scope);
    scope.list("hosts", hosts::rows(plan));
    fill(HTTPD_CONF, &scope).map_err(|error| RenderError::Template("httpd.conf", error))
}

/// The text of `apachectl`.
pub(crate) fn apachectl(plan: &Plan) -> Result<String, RenderError> {
    let environment = &plan.options.environment;
    let mut scope = Scope::default();
    let shell = environment
        .shell_executable
        .as_deref()
        .map_or_else(|| "/bin/sh".into(), absolute);
    scope.text("shell", shell.display());
    scope.text("command", plan.command);
    scope.text("httpd", plan.httpd.executable.display());
    scope.text("conf", plan.root.join("httpd.conf").display());
    scope.text("root", plan.root.display());
    scope.text("supervisor", plan.program.display());
    scope.text("process_name", process_name(plan));
    scope.text("lang", environment.lang.as_deref().unwrap_or(&plan.locale));
    scope.text("locale", &plan.locale);
    scope.text("socket_prefix", plan.socket_prefix().display());
    scope.text("pid_file", plan.pid_file().display());
    let mut names: Vec<String> = groups::services(plan)
        .into_iter()
        .map(|service| service.group.name)
        .collect();
    if plan.options.application.application_type != ApplicationType::Static {
        names.insert(0, plan.process_group());
    }
    scope.column("groups", "name", names);
    scope.text(
        "account",
        format!("{}:{}", plan.account.uid, plan.account.gid),
    );
    let develop = &plan.options.develop;
    scope.maybe(
        "gdb",
        develop.enable_gdb.then(|| develop.gdb_executable.display()),
    );
    let envvars = environment
        .envvars_script
        .as_deref()
        .map_or_else(|| plan.root.join("envvars"), absolute);
    scope.text("envvars", envvars.display());
    fill(APACHECTL, &scope).map_err(|error| RenderError::Template("apachectl", error))
}

/// What ps shows for the httpd parent.
pub(crate) fn process_name(plan: &Plan) -> String {
    plan.options
        .environment
        .process_name
        .clone()
        .unwrap_or_else(|| {
            let name = plan
                .httpd
                .executable
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            format!("{name} (wsgid {})", plan.command)
        })
}

/// `handler.json`, which `handler.wsgi` reads in the worker.
pub(crate) fn handler_json(plan: &Plan) -> String {
    let (application, develop) = (&plan.options.application, &plan.options.develop);
    let kind = match application.application_type {
        ApplicationType::Script => "script",
        ApplicationType::Module => "module",
        ApplicationType::Paste => "paste",
        ApplicationType::Static => "static",
    };
    let entry = plan
        .entry
        .clone()
        .unwrap_or_else(|| plan.root.join("default.wsgi").display().to_string());
    let directory = |given: &Option<PathBuf>, name: &str| {
        given
            .as_deref()
            .map_or_else(|| plan.root.join(name), absolute)
            .display()
            .to_string()
    };
    let settings = serde_json::json!({
        "type": kind,
        "entry": entry,
        "callable": application.callable_object,
        "mount_point": application.mount_point,
        "reloading": !develop.disable_reloading,
        "tools": plan.single() || develop.reload_on_changes || develop.enable_profiler || develop.enable_recorder,
        "terminal": plan.terminal,
        "reload_on_changes": develop.reload_on_changes && !develop.disable_reloading,
        "debug_mode": plan.single(),
        "debugger": develop.enable_debugger,
        "debugger_startup": develop.debugger_startup,
        "coverage": develop.enable_coverage.then(|| directory(&develop.coverage_directory, "htmlcov")),
        "profiler": develop.enable_profiler.then(|| directory(&develop.profiler_directory, "pstats")),
        "recorder": develop.enable_recorder.then(|| directory(&develop.recorder_directory, "archive")),
    });
    format!("{settings:#}\n")
}

fn server(plan: &Plan, scope: &mut Scope) -> Result<(), RenderError> {
    let (options, network) = (&plan.options, &plan.options.network);
    scope.text("command", plan.command);
    scope.text("root", plan.root.display());
    scope.text("pid_file", plan.pid_file().display());
    let host = network.host.clone().filter(|host| !host.contains(':'));
    let name = network
        .server_name
        .clone()
        .or(host)
        .unwrap_or_else(|| "localhost".to_owned());
    scope.text("global_name", name);
    scope.flag("wsgi", plan.uses_wsgi());
    scope.list("modules", modules::rows(plan)?);
    let listen = |port: u16| match &network.host {
        Some(host) => format!("{}:{port}", bracketed(host)),
        None => port.to_string(),
    };
    let mut addresses = vec![listen(network.port)];
    // Without the protocol httpd would take another port than 443 for plain HTTP.
    addresses.extend(
        plan.tls()
            .map(|(port, ..)| format!("{} https", listen(port))),
    );
    scope.column("listens", "address", addresses);
    scope.text("server_backlog", network.server_backlog);
    scope.flag("as_root", plan.account.change);
    scope.text("user", &plan.account.user);
    scope.text("group", &plan.account.group);
    scope.flag("ssl", plan.tls().is_some());
    scope.flag(
        "http2",
        network.http2 && plan.mpm != "prefork" && plan.httpd.has("http2"),
    );
    scope.flag("sendfile", network.enable_sendfile);
    scope.flag("compress", network.compress_responses);
    scope.text("limit_request_body", network.limit_request_body);
    let timeouts = &options.timeouts;
    scope.text("socket_timeout", timeouts.socket_timeout);
    scope.flag("reqtimeout", plan.httpd.has("reqtimeout"));
    scope.text("request_read_timeout", request_read_timeout(plan));
    scope.flag("keep_alive", network.keep_alive_timeout > 0);
    scope.text("keep_alive_timeout", network.keep_alive_timeout);
    // An idle connection costs the event MPM no thread.
    scope.text(
        "max_keep_alive_requests",
        if plan.mpm == "event" { 0 } else { 500 },
    );
    let includes = options
        .environment
        .include_file
        .iter()
        .map(|path| absolute(path).display().to_string());
    scope.column("includes", "file", includes);
    Ok(())
}

fn request_read_timeout(plan: &Plan) -> String {
    let timeouts = &plan.options.timeouts;
    let part = |name: &str, least: u32, most: u32, rate: u32| match (least, most) {
        (0, _) => format!("{name}=0"),
        (least, most) if most > least => format!("{name}={least}-{most},MinRate={rate}"),
        (least, 0) => format!("{name}={least},MinRate={rate}"),
        (least, _) => format!("{name}={least}"),
    };
    let header = part(
        "header",
        timeouts.header_timeout,
        timeouts.header_max_timeout,
        timeouts.header_min_rate,
    );
    let body = part(
        "body",
        timeouts.body_timeout,
        timeouts.body_max_timeout,
        timeouts.body_min_rate,
    );
    format!("{header} {body}")
}

fn sizing(plan: &Plan, scope: &mut Scope) {
    let sizing = plan.sizing;
    scope.flag("prefork", plan.mpm == "prefork");
    scope.text("max_clients", sizing.max_clients);
    scope.text("server_limit", sizing.server_limit);
    scope.text("threads_per_child", sizing.threads_per_child);
    scope.text("start_servers", sizing.start_servers);
    scope.text("min_spare", sizing.min_spare);
    scope.text("max_spare", sizing.max_spare);
}

fn log(plan: &Plan, scope: &mut Scope) {
    let options = &plan.options.logs;
    scope.text("log_level", &options.log_level);
    scope.text("error_log", logs::error_log(plan));
    scope.maybe("error_log_format", options.error_log_format.as_ref());
    scope.flag("access_log", options.access_log);
    scope.text("access_log_file", logs::access_log(plan));
    scope.text("access_log_format", logs::access_log_format(plan));
}

fn application(plan: &Plan, scope: &mut Scope) -> Result<(), RenderError> {
    let (options, metrics) = (&plan.options, &plan.options.metrics);
    let runs = options.application.application_type != ApplicationType::Static;
    scope.flag("application", runs);
    scope.text("supervisor", plan.program.display());
    scope.text("socket_prefix", plan.socket_prefix().display());
    let home = plan
        .python
        .as_ref()
        .map(|python| python.home.display().to_string());
    scope.maybe("python_home", home);
    scope.column(
        "python_warnings",
        "filter",
        options.environment.python_warnings.iter().cloned(),
    );
    scope.flag("server_metrics", metrics.server_metrics);
    scope.maybe("telemetry_service", metrics.telemetry_service.as_ref());
    scope.text("telemetry_interval", metrics.telemetry_interval);
    scope.maybe("slow_requests", metrics.slow_requests);
    scope.text("telemetry_options", metrics.telemetry_options.join(" "));
    let mut rows = Vec::new();
    let services = groups::services(plan);
    let all = runs.then(|| groups::application(plan));
    for group in all.iter().chain(
        services
            .iter()
            .filter(|service| service.log.is_none())
            .map(|service| &service.group),
    ) {
        let mut row = Scope::default();
        row.text("name", &group.name);
        row.text("options", group.line()?);
        rows.push(row);
    }
    scope.list("groups", rows);
    let mut rows = Vec::new();
    for service in &services {
        let mut row = Scope::default();
        row.text("file", &service.file);
        row.text("group", &service.group.name);
        row.text("options", service.group.line()?);
        row.maybe("log", service.log.as_ref());
        rows.push(row);
    }
    scope.list("services", rows);
    scope.text("process_group", plan.process_group());
    scope.text("application_group", &options.application.application_group);
    scope.text("handler_script", plan.root.join("handler.wsgi").display());
    scope.text("map_head_to_get", &options.application.map_head_to_get);
    scope.text(
        "script_reloading",
        if options.develop.disable_reloading {
            "Off"
        } else {
            "On"
        },
    );
    scope.flag("chunked_request", options.network.chunked_request);
    scope.flag("error_override", options.files.error_override);
    scope.column(
        "ignore_activity",
        "path",
        options.timeouts.ignore_activity.iter().cloned(),
    );
    let mount = options.application.mount_point.trim_end_matches('/');
    scope.flag("mount", !mount.is_empty());
    scope.text("mount_pattern", format!("^{}(/|$)", escaped(mount)));
    Ok(())
}

fn access(plan: &Plan, scope: &mut Scope) {
    let access = &plan.options.access;
    scope.text("trusted_headers", access.trust_proxy_headers.join(" "));
    scope.text("trusted_proxies", access.trust_proxies.join(" "));
    let path = |path: &Option<PathBuf>| {
        path.as_deref()
            .map(|path| absolute(path).display().to_string())
    };
    scope.flag(
        "access_control",
        access.host_access_script.is_some() || access.auth_user_script.is_some(),
    );
    scope.maybe("host_access_script", path(&access.host_access_script));
    scope.maybe("auth_user_script", path(&access.auth_user_script));
    scope.maybe("auth_group_script", path(&access.auth_group_script));
    scope.flag(
        "auth_user_only",
        access.auth_user_script.is_some() && access.auth_group_script.is_none(),
    );
    let digest = access.auth_type.eq_ignore_ascii_case("digest");
    scope.text("auth_type", if digest { "Digest" } else { "Basic" });
    scope.text("auth_name", plan.address());
    scope.text("auth_group", &access.auth_group);
}

fn files(plan: &Plan, scope: &mut Scope) {
    let (files, environment) = (&plan.options.files, &plan.options.environment);
    let document_root = files
        .document_root
        .as_deref()
        .map_or_else(|| plan.root.join("htdocs"), absolute);
    scope.text("document_root", document_root.display());
    let overrides = files.allow_override.join(" ");
    scope.text(
        "allow_override",
        if overrides.is_empty() {
            "None"
        } else {
            &overrides
        },
    );
    let mut more = String::new();
    for (option, wanted) in [
        (" Indexes", files.directory_listing),
        (" ExecCGI", files.with_cgi),
    ] {
        more.push_str(if wanted { option } else { "" });
    }
    scope.text("more_options", more);
    let is_static = plan.options.application.application_type == ApplicationType::Static;
    let index = files
        .directory_index
        .clone()
        .or_else(|| is_static.then(|| "index.html".to_owned()));
    scope.flag("disable_index", index.is_none() && !files.directory_listing);
    scope.maybe("directory_index", index);
    scope.flag("directory_listing", files.directory_listing);
    scope.flag("with_cgi", files.with_cgi);
    let mime_types = files
        .mime_types
        .as_deref()
        .map(absolute)
        .or_else(|| plan.httpd.mime_types());
    scope.text(
        "mime_types",
        mime_types
            .unwrap_or_else(|| plan.root.join("mime.types"))
            .display(),
    );
    let rules = files
        .rewrite_rules
        .as_deref()
        .map_or_else(|| plan.root.join("rewrite.conf"), absolute);
    scope.text("rewrite_rules", rules.display());
    scope.flag("server_status", plan.options.metrics.server_status);
    scope.list("setenv", rows(pairs(&environment.setenv), "name", "value"));
    scope.column("passenv", "name", environment.passenv.iter().cloned());
    scope.list(
        "error_documents",
        rows(pairs(&files.error_document), "status", "url"),
    );
    scope.list("handlers", handlers(plan));
    scope.list("aliases", aliases(plan));
    let timeout = plan
        .options
        .timeouts
        .proxy_timeout
        .unwrap_or(plan.options.timeouts.socket_timeout);
    let mut proxies = rows(pairs(&files.proxy_mount_point), "path", "url");
    for row in &mut proxies {
        row.text("timeout", timeout);
        row.text("port", plan.options.network.port);
    }
    scope.list("proxies", proxies);
}

fn rows<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    first: &'static str,
    second: &'static str,
) -> Vec<Scope> {
    let row = |(one, two): (&str, &str)| {
        let mut row = Scope::default();
        row.text(first, one);
        row.text(second, two);
        row
    };
    pairs.map(row).collect()
}

fn handlers(plan: &Plan) -> Vec<Scope> {
    let row = |(at, (extension, script)): (usize, (&str, &str))| {
        let mut row = Scope::default();
        let script = absolute(Path::new(script));
        row.text("handler", format!("wsgi-resource-{at}"));
        row.text(
            "extension",
            format!(".{}", extension.trim_start_matches('.')),
        );
        row.text(
            "directory",
            script.parent().unwrap_or(Path::new("/")).display(),
        );
        row.text(
            "file",
            script.file_name().unwrap_or_default().to_string_lossy(),
        );
        row.text("script", script.display());
        row
    };
    pairs(&plan.options.files.add_handler)
        .enumerate()
        .map(row)
        .collect()
}

/// Longer URL paths first: httpd takes the first alias that fits.
fn aliases(plan: &Plan) -> Vec<Scope> {
    let mut all: Vec<(&str, &str)> = pairs(&plan.options.files.url_alias).collect();
    all.sort_unstable_by(|one, other| other.0.cmp(one.0));
    let row = |(url, given): (&str, &str)| {
        let mut row = Scope::default();
        let path = absolute(Path::new(given));
        let is_directory = path.is_dir();
        let directory = if is_directory {
            path.as_path()
        } else {
            path.parent().unwrap_or(Path::new("/"))
        };
        let file = if is_directory {
            None
        } else {
            path.file_name().map(|name| name.to_string_lossy())
        };
        // `Alias /a/ /dir/` needs the slash on both or on none.
        let slash = if url.ends_with('/') && is_directory {
            "/"
        } else {
            ""
        };
        row.text("url", url);
        row.text("path", format!("{}{slash}", path.display()));
        row.text("directory", directory.display());
        row.maybe("file", file);
        row
    };
    all.into_iter().map(row).collect()
}

/// A URL path as a literal in a regular expression. mod_rewrite keeps
/// backslashes as they come, so it has none.
fn escaped(path: &str) -> String {
    let mut out = String::new();
    for c in path.chars() {
        match c {
            c if c.is_alphanumeric() || matches!(c, '/' | '_' | '-') => out.push(c),
            // These two cannot stand alone between brackets.
            '^' | '\\' => out.push('.'),
            c => out.extend(['[', c, ']']),
        }
    }
    out
}
