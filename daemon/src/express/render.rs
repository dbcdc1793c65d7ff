//! Turns a plan into the text of the generated files. Called by `setup`. The
//! templates are in `conf/start-server`; what they read is the plan, the options
//! by their names on the command line, and what [`Values`] works out.

use std::path::PathBuf;

use serde::Serialize;

use super::files::{self, AliasedPath, Handler};
use super::groups::{self, ProcessGroup};
use super::hosts::{self, VirtualHost};
use super::httpd::HttpdError;
use super::logs;
use super::modules::{self, LoadedModule};
use super::options::Timeouts;
use super::plan::{Https, PlanError, ServerPlan, bracketed};
use super::template::{TemplateError, fill};

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

/// What the templates read.
#[derive(Debug, Serialize)]
pub(crate) struct Values<'a> {
    #[serde(flatten)]
    plan: &'a ServerPlan,
    has_application: bool,
    uses_wsgi: bool,
    process_group: String,
    groups: Vec<ProcessGroup>,
    handler_script: PathBuf,
    mount_pattern: Option<String>,

    address: String,
    global_name: &'a str,
    listens: Vec<Listen>,
    https: Option<Https>,
    hosts: Vec<VirtualHost<'a>>,
    http2: bool,
    reqtimeout: bool,
    request_read_timeout: String,
    proxy_timeout: u32,
    modules: Vec<LoadedModule>,

    document_root: PathBuf,
    directory_index: Option<&'a str>,
    mime_types: PathBuf,
    rewrite_rules: PathBuf,
    handlers: Vec<Handler>,
    aliases: Vec<AliasedPath<'a>>,

    error_log: String,
    access_log: String,
    access_log_format: &'a str,

    conf: PathBuf,
    pid_file: PathBuf,
    socket_prefix: PathBuf,
    envvars: PathBuf,
    shell: PathBuf,
    process_name: String,
    lang: &'a str,
    account_ids: String,
}

/// An address that httpd listens on.
#[derive(Debug, Serialize)]
struct Listen {
    address: String,
    tls: bool,
}

impl<'a> Values<'a> {
    /// Works them out; options that httpd or the module would refuse are refused.
    pub(crate) fn of(plan: &'a ServerPlan) -> Result<Self, RenderError> {
        let options = &plan.options;
        let network = &options.network;
        let environment = &options.environment;
        let given_files = &options.files;
        let mime_types = given_files
            .mime_types
            .clone()
            .or_else(|| plan.httpd.mime_types());
        Ok(Self {
            modules: modules::loaded(plan)?,
            has_application: plan.has_application(),
            uses_wsgi: plan.uses_wsgi(),
            process_group: plan.process_group(),
            groups: groups::all(plan)?,
            handler_script: plan.root.join("handler.wsgi"),
            mount_pattern: mount_pattern(&options.application.mount_point),
            address: plan.address(),
            global_name: global_name(plan),
            listens: listens(plan),
            https: plan.https(),
            hosts: hosts::of(plan),
            http2: network.http2 && plan.mpm != "prefork" && plan.httpd.has("http2"),
            reqtimeout: plan.httpd.has("reqtimeout"),
            request_read_timeout: request_read_timeout(&options.timeouts),
            proxy_timeout: options
                .timeouts
                .proxy_timeout
                .unwrap_or(options.timeouts.socket_timeout),
            document_root: plan.or_in_root(given_files.document_root.as_ref(), "htdocs"),
            directory_index: directory_index(plan),
            mime_types: plan.or_in_root(mime_types.as_ref(), "mime.types"),
            rewrite_rules: plan.or_in_root(given_files.rewrite_rules.as_ref(), "rewrite.conf"),
            handlers: files::handlers(&given_files.add_handler),
            aliases: files::aliases(&given_files.url_alias),
            error_log: logs::error_log(plan),
            access_log: logs::access_log(plan),
            access_log_format: options
                .logs
                .access_log_format
                .as_deref()
                .unwrap_or("common"),
            conf: plan.root.join("httpd.conf"),
            pid_file: plan.pid_file(),
            socket_prefix: plan.socket_prefix(),
            envvars: plan.or_in_root(environment.envvars_script.as_ref(), "envvars"),
            shell: environment
                .shell_executable
                .clone()
                .unwrap_or_else(|| "/bin/sh".into()),
            process_name: process_name(plan),
            lang: environment.lang.as_deref().unwrap_or(&plan.locale),
            account_ids: format!("{}:{}", plan.account.uid, plan.account.gid),
            plan,
        })
    }

    /// The text of `httpd.conf`.
    pub(crate) fn httpd_conf(&self) -> Result<String, RenderError> {
        fill("httpd.conf", HTTPD_CONF, self)
            .map_err(|error| RenderError::Template("httpd.conf", error))
    }

    /// The text of `apachectl`.
    pub(crate) fn apachectl(&self) -> Result<String, RenderError> {
        fill("apachectl", APACHECTL, self)
            .map_err(|error| RenderError::Template("apachectl", error))
    }
}

/// What ps shows for the httpd parent.
fn process_name(plan: &ServerPlan) -> String {
    if let Some(name) = &plan.options.environment.process_name {
        return name.clone();
    }
    let program = plan.httpd.executable.file_name().unwrap_or_default();
    format!("{} (wsgid {})", program.to_string_lossy(), plan.command)
}

/// The name of the main server. An IPv6 address is none.
fn global_name(plan: &ServerPlan) -> &str {
    let network = &plan.options.network;
    let host = network.host.as_deref().filter(|host| !host.contains(':'));
    network
        .server_name
        .as_deref()
        .or(host)
        .unwrap_or("localhost")
}

fn listens(plan: &ServerPlan) -> Vec<Listen> {
    let host = plan.options.network.host.as_deref();
    let listen = |port: u16, tls: bool| Listen {
        address: match host {
            Some(host) => format!("{}:{port}", bracketed(host)),
            None => port.to_string(),
        },
        // Without the protocol httpd would take another port than 443 for plain HTTP.
        tls,
    };
    let mut listens = vec![listen(plan.options.network.port, false)];
    listens.extend(plan.https().map(|https| listen(https.port, true)));
    listens
}

fn request_read_timeout(timeouts: &Timeouts) -> String {
    let header = read_timeout(
        timeouts.header_timeout,
        timeouts.header_max_timeout,
        timeouts.header_min_rate,
    );
    let body = read_timeout(
        timeouts.body_timeout,
        timeouts.body_max_timeout,
        timeouts.body_min_rate,
    );
    format!("header={header} body={body}")
}

/// Seconds, and the rate in bytes at which they may become more, up to `most`.
fn read_timeout(least: u32, most: u32, rate: u32) -> String {
    if least == 0 {
        "0".to_owned()
    } else if most > least {
        format!("{least}-{most},MinRate={rate}")
    } else if most == 0 {
        format!("{least},MinRate={rate}")
    } else {
        least.to_string()
    }
}

fn directory_index(plan: &ServerPlan) -> Option<&str> {
    let given = plan.options.files.directory_index.as_deref();
    if given.is_none() && !plan.has_application() {
        return Some("index.html");
    }
    given
}

/// What URL paths below the mount point look like, if it is not the root. In a
/// regular expression: mod_rewrite keeps backslashes as they come, so it has none.
fn mount_pattern(mount_point: &str) -> Option<String> {
    let mount = mount_point.trim_end_matches('/');
    if mount.is_empty() {
        return None;
    }
    let mut pattern = String::from("^");
    for c in mount.chars() {
        match c {
            c if c.is_alphanumeric() || matches!(c, '/' | '_' | '-') => pattern.push(c),
            // These two cannot stand alone between brackets.
            '^' | '\\' => pattern.push('.'),
            c => pattern.extend(['[', c, ']']),
        }
    }
    pattern.push_str("(/|$)");
    Some(pattern)
}

/// `handler.json`, which `handler.wsgi` reads in the worker.
pub(crate) fn handler_json(plan: &ServerPlan) -> String {
    let application = &plan.options.application;
    let develop = &plan.options.develop;
    let entry = plan
        .entry
        .clone()
        .unwrap_or_else(|| plan.root.join("default.wsgi").display().to_string());
    let mut settings = serde_json::json!({
        "type": application.application_type,
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
    });
    for tool in develop.tools() {
        let directory = plan.or_in_root(tool.directory, tool.usual);
        settings[tool.name] = tool.enabled.then(|| directory.display().to_string()).into();
    }
    format!("{settings:#}\n")
}
