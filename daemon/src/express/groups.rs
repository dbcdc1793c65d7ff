//! The process groups of a plan as options of `WSGIDaemonProcess`. Called by
//! `render`. Every option is set in a `GroupConfig` first, so that a value the
//! module would refuse is refused here, by the same words.

use wsgid_protocol::GroupConfig;

use super::options::pairs;
use super::paths::absolute;
use super::plan::{Plan, PlanError};
use super::template::httpd_value;

/// One process group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    options: Vec<(&'static str, String)>,
}

impl Group {
    fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            options: Vec::new(),
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

    /// `name=value …`, as `WSGIDaemonProcess` reads it.
    pub(crate) fn line(&self) -> Result<String, PlanError> {
        let mut probe = GroupConfig::new(self.name.clone(), "start-server");
        let mut words = Vec::new();
        for (name, value) in &self.options {
            let refused = |reason| PlanError::Value {
                option: name,
                value: value.clone(),
                reason,
            };
            if value.contains(|c: char| c.is_control()) {
                return Err(refused("it contains a control character".to_owned()));
            }
            probe
                .set(name, value)
                .map_err(|error| refused(error.to_string()))?;
            words.push(format!("{name}={}", httpd_value(value)));
        }
        Ok(words.join(" "))
    }
}

/// The group of the application.
pub(crate) fn application(plan: &Plan) -> Group {
    let (options, timeouts) = (&plan.options, &plan.options.timeouts);
    let mut group = Group::new(plan.process_group());
    group.set("display-name", "%{GROUP}");
    common(plan, &mut group);
    if plan.single() {
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
    group.set(
        "request-timeout",
        if plan.single() {
            0
        } else {
            timeouts.request_timeout
        },
    );
    group.nonzero("interrupt-timeout", timeouts.interrupt_timeout);
    group.set(
        "deadlock-timeout",
        if plan.single() {
            0
        } else {
            timeouts.deadlock_timeout
        },
    );
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
    group
}

/// One group for each `--service-script`: a process without request threads.
pub(crate) fn services(plan: &Plan) -> Vec<Service> {
    let environment = &plan.options.environment;
    let of = |pairs_of: &[String], name: &str| {
        pairs(pairs_of)
            .find(|(key, _)| *key == name)
            .map(|(_, v)| v.to_owned())
    };
    let scripts = pairs(&environment.service_script);
    let services = scripts.map(|(name, file)| {
        let mut group = Group::new(format!("service:{name}"));
        group.set("display-name", "%{GROUP}");
        group.set("threads", 0);
        for (option, value) in [
            ("user", &environment.service_user),
            ("group", &environment.service_group),
        ] {
            if let Some(value) = of(value, name) {
                group.set(option, value);
            }
        }
        common(plan, &mut group);
        group.set("shutdown-timeout", plan.options.timeouts.shutdown_timeout);
        let log = of(&environment.service_log_file, name);
        Service {
            group,
            file: absolute(file.as_ref()).display().to_string(),
            log: log.map(|log| absolute(log.as_ref()).display().to_string()),
        }
    });
    services.collect()
}

/// A service: its group, its script and its log.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) group: Group,
    pub(crate) file: String,
    pub(crate) log: Option<String>,
}

/// What applications and services share: directories, Python, environment.
fn common(plan: &Plan, group: &mut Group) {
    let environment = &plan.options.environment;
    group.set("home", plan.working_directory.display());
    if let Some(python) = plan
        .python
        .as_ref()
        .filter(|python| !python.home.as_os_str().is_empty())
    {
        group.set("python-home", python.home.display());
    }
    if !environment.python_path.is_empty() {
        let paths: Vec<String> = environment
            .python_path
            .iter()
            .map(|path| absolute(path).display().to_string())
            .collect();
        group.set("python-path", paths.join(":"));
    }
    let eggs = environment
        .python_eggs
        .as_deref()
        .map_or_else(|| plan.root.join("python-eggs"), absolute);
    group.set("python-eggs", eggs.display());
    group.set("lang", environment.lang.as_deref().unwrap_or(&plan.locale));
    group.set("locale", &plan.locale);
    group.set("env-file", plan.root.join("environment").display());
    for (name, value) in facts(plan) {
        group.set("env", format!("{name}={value}"));
    }
}

/// The variables by which an application knows how it was started.
fn facts(plan: &Plan) -> Vec<(&'static str, String)> {
    let (network, develop) = (&plan.options.network, &plan.options.develop);
    let mut facts = vec![("MOD_WSGI_EXPRESS", "true".to_owned())];
    facts.extend(
        network
            .server_name
            .clone()
            .map(|name| ("MOD_WSGI_SERVER_NAME", name)),
    );
    if !network.server_aliases.is_empty() {
        facts.push(("MOD_WSGI_SERVER_ALIASES", network.server_aliases.join(" ")));
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
    facts.extend(
        flags
            .into_iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| (name, "true".to_owned())),
    );
    facts
}
