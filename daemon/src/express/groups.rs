//! The process groups of a plan as options of `WSGIDaemonProcess`. Called by
//! `render`. Every option is set in a `GroupConfig` too, so that a value the
//! module would refuse is refused here, by the same words.

use serde::Serialize;
use wsgid_protocol::GroupConfig;

use super::options::pairs;
use super::paths::absolute;
use super::plan::{PlanError, ServerPlan};

/// One process group.
#[derive(Debug, Serialize)]
pub(crate) struct ProcessGroup {
    pub(crate) name: String,
    /// Names and values.
    options: Vec<(&'static str, String)>,
    /// The script of a service: a process without request threads.
    service: Option<String>,
    /// The log of a service.
    log: Option<String>,
}

/// The group of the application, then one for each `--service-script`.
pub(crate) fn all(plan: &ServerPlan) -> Result<Vec<ProcessGroup>, PlanError> {
    let mut groups = Vec::new();
    if plan.has_application() {
        groups.push(application(plan));
    }
    groups.extend(
        pairs(&plan.options.environment.service_script)
            .map(|(name, file)| service(plan, name, file)),
    );
    for group in &groups {
        group.check()?;
    }
    Ok(groups)
}

impl ProcessGroup {
    fn new(name: String) -> Self {
        Self {
            name,
            options: vec![("display-name", "%{GROUP}".to_owned())],
            service: None,
            log: None,
        }
    }

    fn set(&mut self, name: &'static str, value: impl ToString) {
        self.options.push((name, value.to_string()));
    }

    /// Only if it is not zero, which is the default of all of these.
    fn nonzero(&mut self, name: &'static str, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.set(name, value);
        }
    }

    fn check(&self) -> Result<(), PlanError> {
        let mut probe = GroupConfig::new(self.name.clone(), "start-server");
        for (option, value) in &self.options {
            let judged = if value.contains(char::is_control) {
                Err("it contains a control character".to_owned())
            } else {
                probe.set(option, value).map_err(|error| error.to_string())
            };
            judged.map_err(|reason| PlanError::Value {
                option,
                value: value.clone(),
                reason,
            })?;
        }
        Ok(())
    }
}

/// Seconds that a developer's request waits for new code.
const DEVELOPER_WAITS: u32 = 30;

fn application(plan: &ServerPlan) -> ProcessGroup {
    let options = &plan.options;
    let timeouts = &options.timeouts;
    let mut group = ProcessGroup::new(plan.process_group());
    common(plan, &mut group);
    let single = plan.single();
    if single {
        group.set("threads", 1);
    } else {
        if let Some(processes) = &options.processes.processes {
            group.set("processes", processes);
        }
        group.set("threads", options.processes.threads);
    }
    if let Some(seconds) = options.processes.switch_interval {
        group.set("switch-interval", seconds);
    }
    group.nonzero("maximum-requests", timeouts.maximum_requests);
    group.set("startup-timeout", timeouts.startup_timeout);
    group.set("queue-timeout", timeouts.queue_timeout);
    group.set("connect-timeout", timeouts.connect_timeout);
    group.set("socket-timeout", timeouts.socket_timeout);
    group.nonzero("response-socket-timeout", timeouts.response_socket_timeout);
    // A person in a debugger is slower than any timer.
    let request_timeout = if single { 0 } else { timeouts.request_timeout };
    let deadlock_timeout = if single { 0 } else { timeouts.deadlock_timeout };
    group.set("request-timeout", request_timeout);
    group.nonzero("interrupt-timeout", timeouts.interrupt_timeout);
    group.set("deadlock-timeout", deadlock_timeout);
    group.nonzero("inactivity-timeout", timeouts.inactivity_timeout);
    group.set("graceful-timeout", timeouts.graceful_timeout);
    group.nonzero("eviction-timeout", timeouts.eviction_timeout);
    group.set("shutdown-timeout", timeouts.shutdown_timeout);
    group.nonzero("restart-interval", timeouts.restart_interval);
    group.nonzero("cpu-time-limit", timeouts.cpu_time_limit);
    group.set("listen-backlog", options.network.daemon_backlog);
    group.nonzero("send-buffer-size", options.network.send_buffer_size);
    group.nonzero("receive-buffer-size", options.network.receive_buffer_size);
    group.nonzero("header-buffer-size", options.network.header_buffer_size);
    group.nonzero("response-buffer-size", options.network.response_buffer_size);
    group.set("response-flush-delay", options.network.response_flush_delay);
    if options.metrics.server_metrics {
        group.set("server-metrics", "On");
    }
    let develop = &options.develop;
    if develop.reload_on_changes && !develop.disable_reloading {
        // Who has just saved a file wants to see what it does.
        group.set("reload-wait", DEVELOPER_WAITS);
    }
    group
}

fn service(plan: &ServerPlan, name: &str, file: &str) -> ProcessGroup {
    let environment = &plan.options.environment;
    let mut group = ProcessGroup::new(format!("service:{name}"));
    group.set("threads", 0);
    if let Some(user) = of_service(&environment.service_user, name) {
        group.set("user", user);
    }
    if let Some(gid) = of_service(&environment.service_group, name) {
        group.set("group", gid);
    }
    common(plan, &mut group);
    group.set("shutdown-timeout", plan.options.timeouts.shutdown_timeout);
    let log = of_service(&environment.service_log_file, name);
    group.log = log.map(absolute_text);
    group.service = Some(absolute_text(file));
    group
}

/// What an option says of one service.
fn of_service<'a>(values: &'a [String], name: &str) -> Option<&'a str> {
    let mut values = pairs(values);
    values.find_map(|(service, value)| (service == name).then_some(value))
}

fn absolute_text(path: &str) -> String {
    absolute(path.as_ref()).display().to_string()
}

/// What applications and services share: directories, Python, environment.
fn common(plan: &ServerPlan, group: &mut ProcessGroup) {
    let environment = &plan.options.environment;
    group.set("home", plan.working_directory.display());
    if let Some(python) = &plan.python
        && !python.home.as_os_str().is_empty()
    {
        group.set("python-home", python.home.display());
    }
    if !environment.python_path.is_empty() {
        let paths = environment.python_path.iter();
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        group.set("python-path", paths.join(":"));
    }
    let eggs = plan.or_in_root(environment.python_eggs.as_ref(), "python-eggs");
    group.set("python-eggs", eggs.display());
    group.set("lang", environment.lang.as_deref().unwrap_or(&plan.locale));
    group.set("locale", &plan.locale);
    group.set("env-file", plan.root.join("environment").display());
    isolation(plan, group);
    variables(plan, group);
}

/// What keeps it apart; the directory of the application's own file is reached.
fn isolation(plan: &ServerPlan, group: &mut ProcessGroup) {
    let isolating = &plan.options.isolating;
    for (name, value) in isolating.given() {
        group.set(name, value);
    }
    let entry = plan.entry.as_deref().map(|entry| absolute(entry.as_ref()));
    let entry = entry.filter(|entry| isolating.isolation.is_some() && entry.is_file());
    let directory = entry.and_then(|entry| Some(entry.parent()?.display().to_string()));
    let paths: Vec<String> = isolating
        .read_only_paths
        .iter()
        .cloned()
        .chain(directory)
        .collect();
    if !paths.is_empty() {
        group.set("read-only-paths", paths.join(":"));
    }
}

/// The variables by which an application knows how it was started.
fn variables(plan: &ServerPlan, group: &mut ProcessGroup) {
    let network = &plan.options.network;
    let develop = &plan.options.develop;
    group.set("env", "MOD_WSGI_EXPRESS=true");
    if let Some(name) = &network.server_name {
        group.set("env", format!("MOD_WSGI_SERVER_NAME={name}"));
    }
    if !network.server_aliases.is_empty() {
        let aliases = network.server_aliases.join(" ");
        group.set("env", format!("MOD_WSGI_SERVER_ALIASES={aliases}"));
    }
    let flags = [
        ("MOD_WSGI_RELOADER_ENABLED", develop.reload_on_changes),
        ("MOD_WSGI_DEBUG_MODE", plan.single()),
        ("MOD_WSGI_DEBUGGER_ENABLED", develop.enable_debugger),
        ("MOD_WSGI_COVERAGE_ENABLED", develop.enable_coverage),
        ("MOD_WSGI_PROFILER_ENABLED", develop.enable_profiler),
        ("MOD_WSGI_RECORDER_ENABLED", develop.enable_recorder),
        ("MOD_WSGI_GDB_ENABLED", develop.enable_gdb),
    ];
    for (name, enabled) in flags {
        if enabled {
            group.set("env", format!("{name}=true"));
        }
    }
}
