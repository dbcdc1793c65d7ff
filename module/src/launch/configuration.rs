//! From what directives said to what the supervisor and the children get.

use std::collections::HashSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::{Configuration, FromParent, ServerFacts};
use wsgid_protocol::limits::LOGS_MAX;
use wsgid_protocol::request::VERSIONS;

use crate::configuration::permitted;
use crate::configuration::settings::ServerSettings;
use crate::configuration::{group_options, groups};
use crate::httpd::log;
use crate::httpd::server::{self, Server};
use crate::httpd::tree;
use crate::launch::talk::{self, Message};
use crate::log_ids;
use crate::request::outcome;
use crate::workers::plan::ServingPlan;

/// The application groups that imports and containers name.
fn application_groups(settings: &ServerSettings) -> HashSet<String> {
    let imports = settings.imports.iter();
    let containers = settings.interpreters.iter();
    imports
        .map(|import| import.preload.application_group.clone())
        .chain(containers.filter_map(|one| one.application_group.clone()))
        .collect()
}

/// For the children. The socket and the secret are filled in later.
pub(super) fn plan(settings: &ServerSettings) -> ServingPlan {
    ServingPlan {
        groups: groups::freeze(&settings.groups, &group_options::default_group()),
        misnamed: settings.misnamed.clone(),
        application_groups: application_groups(settings),
        socket: None,
        secret: [0; 32],
        generation: server::generation(),
        restrict_embedded: settings.restrict_embedded,
        slow_requests: settings.slow_requests,
        notes: tree::names_any(&outcome::NOTES),
        is_probed: settings.is_probed,
    }
}

/// For the supervisor; and how long its end may take.
pub(super) fn message(
    settings: &ServerSettings,
    main: Server<'_>,
    secret: [u8; 32],
    generation: u64,
) -> Result<(Message, Duration), String> {
    let mut logs = GroupLogs::new(main);
    let mut permitted = permitted::collect(settings, main);
    let mut groups = group_options::all(settings);
    for config in &mut groups {
        if let Some(named) = permitted.remove(&config.name) {
            config.runs.files.extend(named.files);
            config.runs.directories.extend(named.directories);
        }
    }
    for (config, definition) in groups.iter_mut().zip(&settings.groups) {
        let home = definition
            .scopes
            .first()
            .and_then(|scope| main.with_id(scope.server));
        if config.log == LogTarget::default() {
            config.log = home.map_or(LogTarget::Supervisor, |server| logs.target(server));
        }
    }
    let shutdown_timeout = groups.iter().map(|group| group.shutdown_timeout).max();
    let stop_timeout = shutdown_timeout.unwrap_or_default() + Duration::from_secs(3);
    let (httpd_uid, httpd_gid) = server::children_identity();
    let configuration = Configuration {
        versions: VERSIONS,
        generation,
        secret,
        httpd_uid,
        httpd_gid,
        server: ServerFacts {
            version: server::version(),
            description: server::description(),
            mpm: server::mpm(),
            maximum_processes: server::most_children(),
            threads_per_process: server::threads_per_child(),
        },
        groups,
        log: syslog(main).unwrap_or_default(),
        log_level: log::level_of_main(),
        log_format: settings.log_format,
        unreadable: None,
    };
    Ok((
        talk::encode(&FromParent::Configure(configuration), logs.descriptors)?,
        stop_timeout,
    ))
}

/// The error logs that groups write to. The first is the main one, which
/// takes the place of the supervisor's standard error after a rotation.
struct GroupLogs {
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

impl GroupLogs {
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
        if let Some(index) = index {
            return LogTarget::Descriptor(index);
        }
        let host = server.name().unwrap_or_default();
        log::server(log_ids::LOG_NOT_PASSED_ON, || {
            format!(
                "the error log of `{host}` cannot be passed on (there are {LOGS_MAX} at most, or no descriptor is \
                 free): what its processes print goes to the main error log"
            )
        });
        LogTarget::Supervisor
    }
}
