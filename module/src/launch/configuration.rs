//! From what directives said to what the supervisor and the children get.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::unistd::{getegid, geteuid};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::{ApplicationOptions, LogTarget};
use wsgid_protocol::control::{Configuration, FromParent, ServerFacts};
use wsgid_protocol::limits::LOGS_MAX;
use wsgid_protocol::request::VERSIONS;

use crate::configuration::groups;
use crate::configuration::permitted::{self, Permitted};
use crate::configuration::settings::{DEFAULT_GROUP, Interpreter, Settings};
use crate::httpd::log::{self, Level};
use crate::httpd::server::{self, Server};
use crate::launch::talk::{self, Message};
use crate::workers::child::Plan;

/// The implicit group: httpd's user, mod_wsgi's defaults. It costs nothing
/// until a request needs it. With `WSGIRestrictEmbedded On` no application may
/// use it, but scripts for access and authentication still do, as in mod_wsgi.
fn default_group() -> GroupConfig {
    GroupConfig::new(DEFAULT_GROUP, "implicit")
}

/// The application groups that imports and containers name.
fn application_groups(settings: &Settings) -> HashSet<String> {
    let imported = settings
        .imports
        .iter()
        .map(|import| import.preload.application_group.clone());
    imported
        .chain(
            settings
                .interpreters
                .iter()
                .filter_map(|one| one.application_group.clone()),
        )
        .collect()
}

/// For the children. The socket and the secret are filled in later.
pub(super) fn plan(settings: &Settings) -> Plan {
    Plan {
        groups: groups::freeze(&settings.groups, &default_group()),
        application_groups: application_groups(settings),
        socket: None,
        secret: [0; 32],
        generation: server::generation(),
        restrict_embedded: settings.restrict_embedded,
        slow_requests: settings.slow_requests,
    }
}

/// For the supervisor; and how long its end may take.
pub(super) fn message(
    settings: &Settings,
    main: Server<'_>,
    secret: [u8; 32],
    generation: u64,
) -> Result<(Message, Duration), String> {
    let mut logs = Logs::new(main);
    let mut permitted = permitted::collect(settings, main);
    let mut groups = Vec::new();
    for definition in &settings.groups {
        let mut config = complete(settings, definition.config.clone());
        permit(&mut config, &mut permitted);
        let home = definition
            .scopes
            .first()
            .and_then(|scope| main.all().find(|server| server.id() == scope.server));
        if config.log == LogTarget::default() {
            config.log = home.map_or(LogTarget::Supervisor, |server| logs.target(server));
        }
        groups.push(config);
    }
    let mut implicit = complete(settings, default_group());
    permit(&mut implicit, &mut permitted);
    groups.push(implicit);
    let slack = Duration::from_secs(3);
    let stop_timeout = groups
        .iter()
        .map(|group| group.shutdown_timeout)
        .max()
        .unwrap_or_default()
        + slack;

    let (uid, gid) = if geteuid().is_root() {
        server::children_identity()
    } else {
        (geteuid().as_raw(), getegid().as_raw())
    };
    let (version, description, mpm) = server::facts();
    let configuration = Configuration {
        versions: VERSIONS,
        generation,
        secret,
        httpd_uid: uid,
        httpd_gid: gid,
        server: ServerFacts {
            version,
            description,
            mpm,
            maximum_processes: server::most_children(),
            threads_per_process: server::threads_per_child(),
        },
        groups,
        log: syslog(main).unwrap_or_default(),
        unreadable: None,
    };
    Ok((
        talk::encode(&FromParent::Configure(configuration), logs.descriptors)?,
        stop_timeout,
    ))
}

/// Adds what the configuration lets a group run.
fn permit(config: &mut GroupConfig, permitted: &mut Permitted) {
    if let Some(named) = permitted.remove(&config.name) {
        config.runs.files.extend(named.files);
        config.runs.directories.extend(named.directories);
    }
}

/// All process groups as the supervisor gets them, but for their logs and for what
/// they may run.
pub(crate) fn groups(settings: &Settings) -> Vec<GroupConfig> {
    let defined = settings
        .groups
        .iter()
        .map(|definition| complete(settings, definition.config.clone()));
    defined
        .chain([complete(settings, default_group())])
        .collect()
}

/// A group with what other directives say about all groups, and its scripts.
fn complete(settings: &Settings, mut config: GroupConfig) -> GroupConfig {
    if config.python_home.is_none()
        && let Some(home) = &settings.python_home
    {
        // The option's own reading of the path; it was absolute already.
        let _ = config.set("python-home", home);
    }
    if config.python_eggs.is_none() {
        config.python_eggs.clone_from(&settings.python_eggs);
    }
    config.python_optimize = settings.python_optimize;
    config.python_warnings.clone_from(&settings.python_warnings);
    config
        .python_hash_seed
        .clone_from(&settings.python_hash_seed);
    config.dont_write_bytecode = settings.dont_write_bytecode;
    let own_interval = config.switch_interval_us;
    let plain = settings.interpreter.clone();
    // Outside of a container both are for applications inside httpd, whose
    // place the implicit group takes.
    if config.name == DEFAULT_GROUP {
        apply(&mut config, &plain);
        config.server_metrics = settings.server_metrics;
    } else {
        apply(
            &mut config,
            &Interpreter {
                python_path: Vec::new(),
                switch_interval: None,
                ..plain
            },
        );
    }
    let mut matching: Vec<&Interpreter> = settings
        .interpreters
        .iter()
        .filter(|one| concerns(one, &config))
        .collect();
    // The most specific last, so that it wins; of equals the later one.
    matching.sort_by_key(|one| one.process_group.is_some());
    for one in matching {
        apply(&mut config, one);
    }
    // The option of the group itself comes before all containers.
    config.switch_interval_us = own_interval.or(config.switch_interval_us);
    config.applications = applications(settings, &config.name);
    if own_interval.is_some() {
        config
            .applications
            .iter_mut()
            .for_each(|one| one.switch_interval_us = None);
    }
    for import in settings
        .imports
        .iter()
        .filter(|import| import.process_group == config.name)
    {
        let known = |other: &wsgid_protocol::config::Preload| {
            other.script == import.preload.script
                && other.application_group == import.preload.application_group
        };
        if !config.preload_scripts.iter().any(known) {
            config.preload_scripts.push(import.preload.clone());
        }
    }
    config
}

/// What containers say about single application groups of this process group.
fn applications(settings: &Settings, group: &str) -> Vec<ApplicationOptions> {
    let is_for_group =
        |one: &&Interpreter| one.process_group.as_ref().is_none_or(|name| name == group);
    let mut names: Vec<&String> = settings
        .interpreters
        .iter()
        .filter(is_for_group)
        .filter_map(|one| one.application_group.as_ref())
        .collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| application(settings, group, name))
        .collect()
}

fn application(settings: &Settings, group: &str, name: &str) -> ApplicationOptions {
    let fits = |named: &Option<String>, name: &str| named.as_ref().is_none_or(|own| own == name);
    let named = |one: &Interpreter| {
        usize::from(one.process_group.is_some()) + usize::from(one.application_group.is_some())
    };
    let mut matching: Vec<&Interpreter> = settings
        .interpreters
        .iter()
        .filter(|one| fits(&one.process_group, group) && fits(&one.application_group, name))
        .collect();
    // As for groups: the most specific wins, of equals the later one.
    matching.sort_by_key(|one| named(one));
    let own = if name == "%{GLOBAL}" { "" } else { name };
    let mut options = ApplicationOptions {
        application_group: own.to_owned(),
        ..ApplicationOptions::default()
    };
    for one in matching {
        options.restrict_stdin = one.restrict_stdin.or(options.restrict_stdin);
        options.restrict_stdout = one.restrict_stdout.or(options.restrict_stdout);
        options.restrict_signal = one.restrict_signal.or(options.restrict_signal);
        if let Some(interval) = &one.switch_interval {
            let mut reading = GroupConfig::new("", "");
            // Checked where the directive was read.
            let _ = reading.set("switch-interval", interval);
            options.switch_interval_us = reading.switch_interval_us.or(options.switch_interval_us);
        }
        if one.application_group.is_some() {
            options.python_path.extend(one.python_path.iter().cloned());
        }
    }
    options
}

/// Whether a container is about the whole process group.
fn concerns(one: &Interpreter, config: &GroupConfig) -> bool {
    one.application_group.is_none()
        && one
            .process_group
            .as_ref()
            .is_none_or(|name| *name == config.name)
}

fn apply(config: &mut GroupConfig, one: &Interpreter) {
    if let Some(on) = one.restrict_stdin {
        config.restrict_stdin = on;
    }
    if let Some(on) = one.restrict_stdout {
        config.restrict_stdout = on;
    }
    if let Some(on) = one.restrict_signal {
        config.restrict_signal = on;
    }
    if let Some(interval) = &one.switch_interval {
        // Checked where the directive was read.
        let _ = config.set("switch-interval", interval);
    }
    config.python_path.extend(one.python_path.iter().cloned());
}

/// The error logs that groups write to. The first is the main one, which
/// takes the place of the supervisor's standard error after a rotation.
struct Logs {
    descriptors: Vec<OwnedFd>,
    known: Vec<i32>,
    main: Option<i32>,
}

/// The system's log, if the server writes there: under the name that httpd
/// itself has without a tag.
pub(super) fn syslog(server: Server<'_>) -> Option<LogTarget> {
    let name = server.log_name()?.to_str().ok()?;
    let program = std::env::current_exe().ok()?;
    let program = program.file_name().unwrap_or_default().to_string_lossy();
    LogTarget::syslog(name, &program)?.ok()
}

impl Logs {
    fn new(main: Server<'_>) -> Self {
        let mut logs = Self {
            descriptors: Vec::new(),
            known: Vec::new(),
            main: main.error_log().map(|log| log.as_raw_fd()),
        };
        // httpd makes its main log its standard error at each start and reload.
        logs.add(std::io::stderr().as_fd());
        logs
    }

    fn add(&mut self, fd: BorrowedFd<'_>) -> Option<usize> {
        if self.descriptors.len() >= LOGS_MAX {
            return None;
        }
        self.descriptors.push(fd.try_clone_to_owned().ok()?);
        self.known.push(fd.as_raw_fd());
        Some(self.descriptors.len() - 1)
    }

    /// Where a group that was defined in `server` writes to.
    fn target(&mut self, server: Server<'_>) -> LogTarget {
        let Some(log) = server.error_log() else {
            return syslog(server).unwrap_or_default();
        };
        let number = log.as_raw_fd();
        if self.main == Some(number) {
            return LogTarget::Supervisor;
        }
        let index = self
            .known
            .iter()
            .position(|known| *known == number)
            .or_else(|| self.add(log));
        index.map_or_else(
            || {
                let host = server.hostname().map(|name| name.to_string_lossy()).unwrap_or_default();
                let text = format!("WSGID0032: the error log of `{host}` cannot be passed on (there are {LOGS_MAX} at most, or no descriptor is free): what its processes print goes to the main error log");
                log::server(Level::ERR, || text);
                LogTarget::Supervisor
            },
            LogTarget::Descriptor,
        )
    }
}
