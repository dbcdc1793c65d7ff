//! What a process group is: the same definition whether it comes from
//! `WSGIDaemonProcess`, from a site file or from `start-server`.
//!
//! Options arrive as text and are set by name through
//! [`GroupConfig::set`](crate::option), so all three sources give the same
//! errors. The supervisor compares definitions to find what a reload changed.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration of zero switches the timer off, as in mod_wsgi.
pub type Timeout = Duration;

/// A script that is loaded before the first request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preload {
    /// The script's absolute path.
    pub script: PathBuf,
    /// The application group it belongs to; empty is the main one.
    pub application_group: String,
    /// Whether its callable is looked up too (WSGIScriptAlias), or it is only
    /// imported (WSGIImportScript). Empty: nobody named the script, a worker
    /// had to load it for a request; that it is missing now is no failure.
    pub callable: Option<String>,
}

/// Where process-level output of a group goes. What belongs to a request
/// travels as LOG frames instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogTarget {
    /// The supervisor's own log (standard error; httpd's main ErrorLog).
    #[default]
    Supervisor,
    /// The descriptor with this index among those sent beside the configuration.
    Descriptor(usize),
    /// A file that is opened with the rights of the group's user.
    File(PathBuf),
    /// The system's log.
    Syslog {
        /// Number of the facility: 0 is `kern`, 23 `local7`.
        facility: u8,
        /// The program's name there.
        tag: String,
    },
}

/// The facilities of the system's log, by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

impl LogTarget {
    /// Reads `syslog`, `syslog:FACILITY`, `syslog:FACILITY:TAG` or
    /// `syslog::TAG` as httpd's `ErrorLog` does; `None` if it is something else.
    ///
    /// # Errors
    /// If there is no such facility.
    pub fn syslog(text: &str, usual_tag: &str) -> Option<Result<Self, String>> {
        let rest = match text.get(..6) {
            Some(word) if word.eq_ignore_ascii_case("syslog") => text.get(6..).unwrap_or_default(),
            _ => return None,
        };
        let rest = match rest.strip_prefix(':') {
            Some(rest) => rest,
            None if rest.is_empty() => "",
            None => return None,
        };
        let (facility, tag) = rest.split_once(':').unwrap_or((rest, ""));
        let facility = if facility.is_empty() { "local7" } else { facility };
        let number = FACILITIES.iter().position(|known| known.eq_ignore_ascii_case(facility));
        let tag = if tag.is_empty() { usual_tag } else { tag }.to_owned();
        Some(match number.and_then(|number| u8::try_from(number).ok()) {
            Some(facility) => Ok(Self::Syslog { facility, tag }),
            None => Err(format!("`{facility}` is no facility of syslog; take one such as daemon or local7")),
        })
    }
}

/// A process group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// Where it was defined (`file:line`), for messages.
    pub origin: String,

    // Identity.
    /// User name, or `#uid`. `None`: the user of httpd's children.
    pub user: Option<String>,
    /// Group name, or `#gid`. `None`: the user's primary group, or httpd's.
    pub group: Option<String>,
    /// Supplementary groups. `None`: those of the user.
    pub supplementary_groups: Option<Vec<String>>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Working directory, also first on `sys.path`.
    pub home: Option<PathBuf>,
    /// Root directory (deprecated in mod_wsgi).
    pub chroot: Option<PathBuf>,
    /// Owner that a script must have.
    pub script_user: Option<String>,
    /// Group that a script must have.
    pub script_group: Option<String>,
    /// User that connects (mpm-itk).
    pub socket_user: Option<String>,

    // Environment and Python.
    /// `LANG`.
    pub lang: Option<String>,
    /// `LC_ALL`.
    pub locale: Option<String>,
    /// Further environment variables (`env=NAME=VALUE`, ours).
    pub env: Vec<(String, String)>,
    /// A file of further environment variables (ours).
    pub env_file: Option<PathBuf>,
    /// What `ps` shows; `%{GROUP}` is `(wsgi:NAME)`.
    pub display_name: Option<String>,
    /// Prefix of the Python to run (a virtual environment or an installation).
    pub python_home: Option<PathBuf>,
    /// Directories to add to the front of `sys.path`.
    pub python_path: Vec<PathBuf>,
    /// `PYTHON_EGG_CACHE`.
    pub python_eggs: Option<PathBuf>,
    /// `-O` level (WSGIPythonOptimize).
    pub python_optimize: u8,
    /// `-W` options (WSGIPythonWarnings).
    pub python_warnings: Vec<String>,
    /// `PYTHONHASHSEED` (WSGIPythonHashSeed).
    pub python_hash_seed: Option<String>,
    /// `-B` (WSGIDontWriteBytecode).
    pub dont_write_bytecode: bool,
    /// `sys.setswitchinterval`, in microseconds.
    pub switch_interval_us: Option<u64>,
    /// WSGIRestrictStdin / Stdout / Signal.
    pub restrict_stdin: bool,
    /// Using `sys.stdout` raises.
    pub restrict_stdout: bool,
    /// `signal.signal` does nothing and says so.
    pub restrict_signal: bool,

    // Concurrency.
    /// Worker processes; with `processes_max` the least number.
    pub processes: u32,
    /// Most worker processes, if the number may change (`processes=1..8`, ours).
    pub processes_max: Option<u32>,
    /// Whether `processes` was given at all: it decides `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// Request threads per process; 0 is a service without requests.
    pub threads: u32,
    /// Stack size of a thread in bytes.
    pub stack_size: Option<u64>,
    /// Requests that may wait in the supervisor for a worker.
    pub listen_backlog: u32,
    /// Nice value.
    pub cpu_priority: Option<i32>,

    // Timers.
    /// Time to load the application.
    pub startup_timeout: Timeout,
    /// Time a request may wait for a worker.
    pub queue_timeout: Timeout,
    /// Time to reach the supervisor.
    pub connect_timeout: Timeout,
    /// Time without a byte between module and worker.
    pub socket_timeout: Timeout,
    /// Time without a byte to the client.
    pub response_socket_timeout: Timeout,
    /// Time a request may run (times 1 + ln(threads)).
    pub request_timeout: Timeout,
    /// Time an interrupted request has to end.
    pub interrupt_timeout: Timeout,
    /// Time the interpreter may be locked.
    pub deadlock_timeout: Timeout,
    /// Time without requests after which a worker is replaced.
    pub inactivity_timeout: Timeout,
    /// Time without requests after which a worker is stopped and not replaced (ours).
    pub idle_stop: Timeout,
    /// Time a worker has to finish its requests when it is replaced.
    pub graceful_timeout: Timeout,
    /// The same for SIGUSR1; zero: as `graceful_timeout`.
    pub eviction_timeout: Timeout,
    /// Time a worker has to end when it is stopped.
    pub shutdown_timeout: Timeout,
    /// Age at which a worker is replaced.
    pub restart_interval: Timeout,
    /// CPU time after which a worker is replaced.
    pub cpu_time_limit: Timeout,
    /// Time without new response bytes after which those held are flushed.
    pub response_flush_delay: Timeout,

    // Recycling and restart policy.
    /// Requests after which a worker is replaced; 0: never.
    pub maximum_requests: u64,
    /// Up to so many requests more, chosen per worker (ours).
    pub maximum_requests_jitter: u64,
    /// Resident bytes after which a worker is replaced; 0: never (ours).
    pub memory_recycle: u64,
    /// `RLIMIT_DATA` in bytes; 0: none.
    pub memory_limit: u64,
    /// `RLIMIT_AS` in bytes; 0: none.
    pub virtual_memory_limit: u64,
    /// Failures within `restart_window` after which the group is failed (ours).
    pub restart_burst: u32,
    /// See `restart_burst` (ours).
    pub restart_window: Timeout,
    /// Load the application in a parent and fork the workers from it (ours).
    pub preload: bool,

    // Buffers.
    /// `SO_SNDBUF` in bytes; 0: the system's.
    pub send_buffer_size: u64,
    /// `SO_RCVBUF` in bytes; 0: the system's.
    pub receive_buffer_size: u64,
    /// Longest header field of a response in bytes; 0: 32768.
    pub header_buffer_size: u64,
    /// Bytes held for the client before a flush is forced; 0: 8 MiB.
    pub response_buffer_size: u64,
    /// Give `mod_wsgi.server_metrics()` data.
    pub server_metrics: bool,

    // Not options: filled in by whoever defines the group.
    /// Scripts to load before the first request.
    pub preload_scripts: Vec<Preload>,
    /// Where process-level output goes.
    pub log: LogTarget,

    // Options again: new ones go to the end, since the order is the layout.
    /// `RLIMIT_NPROC`; 0: none (ours).
    pub process_limit: u32,
    /// What one application group has otherwise.
    pub applications: Vec<ApplicationOptions>,
    /// Share of the processors against other groups, 1 to 10000; 0: the
    /// default, or what `cpu_priority` says (ours).
    pub cpu_weight: u32,
    /// Bytes that all processes of the group may have together; 0: no limit (ours).
    pub memory_max: u64,
    /// Processes and threads of the group, whatever their user; 0: no limit (ours).
    pub tasks_max: u32,
    /// Programs that workers start gain no privileges (ours).
    pub no_new_privileges: bool,
}

impl GroupConfig {
    /// Whether an option bounds or weighs all processes of the group together.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.cpu_weight > 0 || self.memory_max > 0 || self.tasks_max > 0
    }
}

/// Options of one application group (`<WSGIInterpreterOptions>`); what is
/// `None` is as in the process group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationOptions {
    /// Its name; empty is the main one.
    pub application_group: String,
    /// Directories behind those of the process group.
    pub python_path: Vec<PathBuf>,
    /// `sys.setswitchinterval` in microseconds.
    pub switch_interval_us: Option<u64>,
    /// Reading `sys.stdin` raises.
    pub restrict_stdin: Option<bool>,
    /// Using `sys.stdout` raises.
    pub restrict_stdout: Option<bool>,
    /// `signal.signal` does nothing.
    pub restrict_signal: Option<bool>,
}

impl GroupConfig {
    /// A group with mod_wsgi's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, origin: impl Into<String>) -> Self {
        const OFF: Timeout = Duration::ZERO;
        Self {
            name: name.into(),
            origin: origin.into(),
            user: None,
            group: None,
            supplementary_groups: None,
            umask: None,
            home: None,
            chroot: None,
            script_user: None,
            script_group: None,
            socket_user: None,
            lang: None,
            locale: None,
            env: Vec::new(),
            env_file: None,
            display_name: None,
            python_home: None,
            python_path: Vec::new(),
            python_eggs: None,
            python_optimize: 0,
            python_warnings: Vec::new(),
            python_hash_seed: None,
            dont_write_bytecode: false,
            switch_interval_us: None,
            restrict_stdin: false,
            restrict_stdout: false,
            restrict_signal: true,
            processes: 1,
            processes_max: None,
            multiprocess: false,
            threads: 15,
            stack_size: None,
            listen_backlog: 100,
            cpu_priority: None,
            startup_timeout: OFF,
            queue_timeout: OFF,
            connect_timeout: Duration::from_secs(15),
            socket_timeout: OFF,
            response_socket_timeout: OFF,
            request_timeout: OFF,
            interrupt_timeout: OFF,
            deadlock_timeout: Duration::from_secs(300),
            inactivity_timeout: OFF,
            idle_stop: OFF,
            graceful_timeout: Duration::from_secs(15),
            eviction_timeout: OFF,
            shutdown_timeout: Duration::from_secs(5),
            restart_interval: OFF,
            cpu_time_limit: OFF,
            response_flush_delay: Duration::from_millis(5),
            maximum_requests: 0,
            maximum_requests_jitter: 0,
            memory_recycle: 0,
            memory_limit: 0,
            virtual_memory_limit: 0,
            restart_burst: 10,
            restart_window: Duration::from_secs(60),
            preload: false,
            send_buffer_size: 0,
            receive_buffer_size: 0,
            header_buffer_size: 0,
            response_buffer_size: 0,
            server_metrics: false,
            preload_scripts: Vec::new(),
            log: LogTarget::default(),
            process_limit: 0,
            applications: Vec::new(),
            cpu_weight: 0,
            memory_max: 0,
            tasks_max: 0,
            no_new_privileges: true,
        }
    }

    /// The definition as one application group has it.
    pub fn narrow_to(&mut self, application_group: &str) {
        let applications = std::mem::take(&mut self.applications);
        for own in applications.into_iter().filter(|own| own.application_group == application_group) {
            self.python_path.extend(own.python_path);
            self.switch_interval_us = own.switch_interval_us.or(self.switch_interval_us);
            self.restrict_stdin = own.restrict_stdin.unwrap_or(self.restrict_stdin);
            self.restrict_stdout = own.restrict_stdout.unwrap_or(self.restrict_stdout);
            self.restrict_signal = own.restrict_signal.unwrap_or(self.restrict_signal);
        }
    }

    /// Most worker processes of one generation.
    #[must_use]
    pub fn processes_limit(&self) -> u32 {
        self.processes_max.unwrap_or(self.processes)
    }

    /// What `ps` shows for a worker, or `None` to leave it as it is.
    #[must_use]
    pub fn title(&self) -> Option<String> {
        self.display_name.as_ref().map(|name| match name.as_str() {
            "%{GROUP}" => format!("(wsgi:{})", self.name),
            other => other.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::LogTarget;

    #[test]
    fn the_systems_log_is_named_as_httpd_does() {
        let read = |text| LogTarget::syslog(text, "httpd").map(|one| one.ok());
        let log = |facility, tag: &str| Some(Some(LogTarget::Syslog { facility, tag: tag.to_owned() }));
        assert_eq!(read("syslog"), log(23, "httpd"));
        assert_eq!(read("Syslog:DAEMON"), log(3, "httpd"));
        assert_eq!(read("syslog:local0:shop"), log(16, "shop"));
        assert_eq!(read("syslog::shop"), log(23, "shop"));
        assert_eq!(read("syslog:nonsense"), Some(None));
        assert_eq!((read("syslogs"), read("/var/log/x"), read("|/bin/x"), read("süslog")), (None, None, None, None));
    }
}
