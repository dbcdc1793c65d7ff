//! Turns a plan into the text of the generated files. Called by `setup`. The
//! templates are in `conf/start-server`; what they read is the plan, the options
//! by their names on the command line, and what [`Values`] works out.

use std::path::PathBuf;

use serde::Serialize;

use super::defines;
use super::files::{self, AliasedPath, Handler};
use super::groups::{self, ProcessGroup};
use super::hosts::{self, VirtualHost, bracketed};
use super::logs;
use super::modules::{self, LoadedModule};
use super::options::Timeouts;
use super::plan::{Https, PlanError, ServerPlan};
use super::template::fill;

const HTTPD_CONF: &str = include_str!("../../../conf/start-server/httpd.conf");
const APACHECTL: &str = include_str!("../../../conf/start-server/apachectl");

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
    variables: Vec<(&'static str, String)>,
    flags: Vec<String>,

    address: String,
    global_name: &'a str,
    /// What stands in front of a port in `Listen`.
    listen_host: String,
    https: Option<Https>,
    hosts: Vec<VirtualHost<'a>>,
    http2: bool,
    reqtimeout: bool,
    request_read_timeout: String,
    modules: Vec<LoadedModule>,

    document_root: PathBuf,
    mime_types: PathBuf,
    rewrite_rules: PathBuf,
    handlers: Vec<Handler>,
    aliases: Vec<AliasedPath<'a>>,

    error_log: String,
    access_log: String,

    conf: PathBuf,
    pid_file: PathBuf,
    socket_prefix: PathBuf,
    envvars: PathBuf,
    process_name: String,
    account_ids: String,
}

impl<'a> Values<'a> {
    /// Works them out; options that httpd or the module would refuse are refused.
    pub(crate) fn of(plan: &'a ServerPlan) -> Result<Self, PlanError> {
        let options = &plan.options;
        let network = &options.network;
        let mime_types = options.files.mime_types.clone();
        let mime_types = mime_types.or_else(|| plan.httpd.mime_types());
        let host = network.host.as_deref();
        let http2 = network.http2 && plan.mpm != "prefork" && plan.httpd.has("http2");
        Ok(Self {
            has_application: plan.has_application(),
            uses_wsgi: plan.uses_wsgi(),
            process_group: plan.process_group(),
            modules: modules::loaded(plan)?,
            groups: groups::all(plan)?,
            handler_script: plan.root.join("handler.wsgi"),
            mount_pattern: mount_pattern(&options.application.mount_point),
            variables: defines::variables(plan),
            flags: defines::flags(plan, http2),
            address: network.address(),
            global_name: global_name(plan),
            listen_host: host.map_or_else(String::new, |host| bracketed(host) + ":"),
            https: plan.https(),
            hosts: hosts::of(plan),
            http2,
            reqtimeout: plan.httpd.has("reqtimeout"),
            request_read_timeout: request_read_timeout(&options.timeouts),
            document_root: plan.or_in_root(options.files.document_root.as_ref(), "htdocs"),
            mime_types: plan.or_in_root(mime_types.as_ref(), "mime.types"),
            rewrite_rules: plan.or_in_root(options.files.rewrite_rules.as_ref(), "rewrite.conf"),
            handlers: files::handlers(&options.files.add_handler),
            aliases: files::aliases(&options.files.url_alias),
            error_log: logs::target(plan, &options.logs.error_log_name, "/dev/stderr"),
            access_log: logs::target(plan, &options.logs.access_log_name, "/dev/stdout"),
            conf: plan.root.join("httpd.conf"),
            pid_file: plan.pid_file(),
            socket_prefix: plan.socket_prefix(),
            envvars: plan.or_in_root(options.environment.envvars_script.as_ref(), "envvars"),
            process_name: process_name(plan),
            account_ids: format!("{}:{}", plan.account.uid, plan.account.gid),
            plan,
        })
    }

    /// The text of `httpd.conf`.
    pub(crate) fn httpd_conf(&self) -> Result<String, PlanError> {
        self.filled_in("httpd.conf", HTTPD_CONF)
    }

    /// The text of `apachectl`.
    pub(crate) fn apachectl(&self) -> Result<String, PlanError> {
        self.filled_in("apachectl", APACHECTL)
    }

    fn filled_in(&self, name: &'static str, template: &str) -> Result<String, PlanError> {
        fill(name, template, self).map_err(|error| {
            let why = error
                .detail()
                .map_or_else(|| error.to_string(), str::to_owned);
            PlanError::Template(name, why)
        })
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
    let name = network.server_name.as_deref().or(host);
    name.unwrap_or("localhost")
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
