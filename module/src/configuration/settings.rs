//! What directives say about the server as a whole: process groups, imports, the Python
//! settings, where things are. One record, emptied before the configuration is read; the
//! parent reads it in `check.rs` and `launch/`, and children keep a frozen copy
//! (`groups.rs`). Requests never come here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::{ApplicationOptions, LogFormat, Preload};
use wsgid_protocol::report::Remark;

use crate::log_ids::LogLine;

/// Where a group was defined: it decides from where it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefinitionScope {
    /// The server, as a number.
    pub(crate) server: usize,
    /// Whether it is a virtual host; groups of the main server are for all.
    pub(crate) is_virtual: bool,
    /// Its ServerName, known once the configuration has been read.
    pub(crate) hostname: Option<String>,
}

/// WSGIDaemonProcess.
#[derive(Clone, Debug)]
pub(crate) struct GroupDefinition {
    pub(crate) config: GroupConfig,
    /// One per definition; certbot copies whole virtual hosts.
    pub(crate) scopes: Vec<DefinitionScope>,
}

/// A script to be loaded before the first request.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) process_group: String,
    /// The directive's place and server, as [`Naming`] has them.
    pub(crate) origin: String,
    pub(crate) server: usize,
    pub(crate) preload: Preload,
}

/// A directive that names a process group.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    pub(crate) directive: &'static str,
    pub(crate) process_group: String,
    pub(crate) origin: String,
    /// The server whose directive it was.
    pub(crate) server: usize,
    /// WSGIImportScript names any group that exists, and WSGIProcessGroup at server level
    /// is for all virtual hosts; the others name only one that their own server may use.
    pub(crate) checks_server: bool,
}

/// `<WSGIInterpreterOptions>`, and the same settings outside of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interpreter {
    /// The group it is for; `None` is all.
    pub(crate) process_group: Option<String>,
    /// The application group it is for; `None` is all.
    pub(crate) application_group: Option<String>,
    /// What it says; `application_group` is not looked at.
    pub(crate) options: ApplicationOptions,
}

/// What a directive is about that makes sense together with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    ProxyHeaders,
    Proxies,
    /// A process group that a variable of the request names.
    VariableGroup,
    /// WSGIRestrictProcess.
    Restriction,
}

/// Where such a directive was seen.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) subject: Subject,
    /// The section, as a number.
    pub(crate) section: usize,
    /// The server, as a number.
    pub(crate) server: usize,
    pub(crate) origin: String,
}

/// What the cross checks found: its line of the log, and the sentence.
#[derive(Debug)]
pub(crate) struct CheckRemark {
    pub(crate) line: LogLine,
    pub(crate) remark: Remark,
}

#[derive(Debug, Default)]
pub(crate) struct ServerSettings {
    pub(crate) groups: Vec<GroupDefinition>,
    pub(crate) imports: Vec<Import>,
    pub(crate) namings: Vec<Naming>,
    pub(crate) executable: Option<PathBuf>,
    pub(crate) daemon_socket: Option<PathBuf>,
    pub(crate) socket_prefix: Option<PathBuf>,
    pub(crate) restrict_embedded: bool,
    pub(crate) slow_requests: Option<Duration>,
    /// Whether a place has the handler of probes.
    pub(crate) is_probed: bool,
    pub(crate) log_format: LogFormat,
    pub(crate) python_home: Option<String>,
    pub(crate) python_eggs: Option<PathBuf>,
    pub(crate) python_optimize: u8,
    pub(crate) python_warnings: Vec<String>,
    pub(crate) python_hash_seed: Option<String>,
    pub(crate) dont_write_bytecode: bool,
    pub(crate) server_metrics: bool,
    /// Outside of a container, then one per container.
    pub(crate) interpreter: Interpreter,
    pub(crate) interpreters: Vec<Interpreter>,
    /// The container that is being read.
    pub(crate) container: Option<Interpreter>,
    pub(crate) sightings: Vec<Sighting>,
    /// What deserves a line in the log once there is one.
    pub(crate) remarks: Vec<Remark>,
    /// What deserves a warning there.
    pub(crate) warnings: Vec<CheckRemark>,
    /// What does not work, and keeps nothing else from working: one site's mistake.
    pub(crate) problems: Vec<CheckRemark>,
    /// The directives that name a group which not every request may have, by its name;
    /// known once the configuration has been read.
    pub(crate) misnamed: HashMap<String, Vec<String>>,
    /// What would have been refused, if errors are collected for a report.
    pub(crate) refused: Vec<Remark>,
}

impl ServerSettings {
    pub(crate) fn group(&self, name: &str) -> Option<&GroupDefinition> {
        self.groups.iter().find(|group| group.config.name == name)
    }
}

static SETTINGS: Mutex<Option<ServerSettings>> = Mutex::new(None);

/// The record; made on first use.
pub(crate) fn with<T>(f: impl FnOnce(&mut ServerSettings) -> T) -> T {
    let mut settings = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    f(settings.get_or_insert_default())
}

/// Forgets everything, before the configuration is read.
pub(crate) fn reset() {
    with(|settings| *settings = ServerSettings::default());
}

/// Keeps a mistake that stops nothing else.
pub(crate) fn problem(line: LogLine, origin: &str, text: String) {
    let origin = origin.to_owned();
    let remark = Remark { origin, text };
    with(|settings| settings.problems.push(CheckRemark { line, remark }));
}

/// Keeps a sentence for the log. `.htaccess` is read again for each request,
/// so there is a limit.
pub(crate) fn remark(origin: &str, text: String) {
    const MAX: usize = 500;
    let remark = Remark {
        origin: origin.to_owned(),
        text,
    };
    with(|settings| {
        if settings.remarks.len() < MAX && !settings.remarks.contains(&remark) {
            settings.remarks.push(remark);
        }
    });
}
