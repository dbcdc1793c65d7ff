//! The options of a process group: one table, one row an option. From its row
//! follow the name, the field of [`GroupConfig`], the default, how a text is
//! read, how the value is written as a text again, and whether a change of it
//! replaces running workers. One parser and one kind
//! of error for `WSGIDaemonProcess`, site files, the command line, and what
//! travels between processes (`by_name.rs`).

use std::path::PathBuf;
use std::time::Duration;

use crate::byte_rate;
use crate::endpoint::Endpoint;
use crate::group_syntax::{LogFile, NamedScript, OtherLog, ScriptDirectories};
use crate::isolation::{Isolation, PortRange};
use crate::runs::Runs;
use crate::syntax::{
    ABSOLUTE, ABSOLUTE_PATHS, Bytes, CALLS, COUNT, ENDPOINT, Each, FAMILIES, ISOLATION, LEVEL,
    LOG_FORMAT, MILLISECONDS, Maybe, NAME, NAMES, NICE, Number, OCTAL, ON_OFF, PATHS, PORTS,
    PYTHON_HOME, RATIO, SECONDS, SWITCH_INTERVAL, Syntax, TEXT, VARIABLE, WARM_UP, json, number,
};
use crate::values::{ApplicationOptions, LogFormat, LogTarget, Preload, Timeout};

/// One row of the option table.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    /// The name, as in `name=value`.
    pub name: &'static str,
    /// What the value looks like.
    pub syntax: &'static str,
    /// What it does, in one line.
    pub text: &'static str,
    /// Whether mod_wsgi has it too.
    pub in_mod_wsgi: bool,
    /// No option of people: what other directives say about a group.
    internal: bool,
    set: fn(&mut GroupConfig, &str) -> Result<(), String>,
    texts: fn(&GroupConfig) -> Result<Vec<String>, String>,
}

impl OptionRow {
    /// Texts that give a fresh group this option's value in `group` when they
    /// are set one after the other; none if it is the default. A path that is not
    /// UTF-8 cannot be written so.
    pub fn texts(&self, group: &GroupConfig) -> Result<Vec<String>, OptionError> {
        (self.texts)(group).map_err(|reason| self.error(reason))
    }

    fn error(&self, reason: String) -> OptionError {
        OptionError::Value {
            name: self.name,
            reason,
        }
    }
}

/// Why an option could not be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No option has this name.
    #[error("unknown option `{name}`{hint}")]
    Unknown {
        /// What was given.
        name: String,
        /// `; did you mean …`, or nothing.
        hint: String,
    },
    /// The value does not fit.
    #[error("option `{name}`: {reason}")]
    Value {
        /// The option.
        name: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

/// An option of another release, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Why it is not understood.
    pub reason: String,
}

/// Whose an option is.
enum Whose {
    /// mod_wsgi has it.
    ModWsgi,
    /// Only this project has it.
    Ours,
    /// Directives and site files set it under other names.
    Internal,
}

/// Running workers serve on when the option changes.
const IN_PLACE: bool = false;
/// Workers are started with the option: a change of it replaces them.
const RESTARTS: bool = true;

/// Reads a text into the field of a row; a row without a field has the whole group.
macro_rules! set {
    ($group:ident, $text:ident, $syntax:expr) => {
        $syntax.set($group, $text)
    };
    ($group:ident, $text:ident, $syntax:expr, $field:ident) => {
        $syntax.set(&mut $group.$field, $text)
    };
}

/// Writes the field of a row, unless it has its default. The syntax of a row that
/// shares the field of another one knows what is its own.
macro_rules! texts {
    ($group:ident, $syntax:expr) => {
        $syntax.texts($group)
    };
    ($group:ident, $syntax:expr, $field:ident) => {
        $syntax.texts(&$group.$field)
    };
    ($group:ident, $syntax:expr, $field:ident: $type:ty = $default:expr) => {{
        let default: $type = $default;
        if $group.$field == default {
            Ok(Vec::new())
        } else {
            $syntax.texts(&$group.$field)
        }
    }};
}

macro_rules! options {
    ($(
        $name:literal $(=> $field:ident $(: $type:ty = $default:expr)?)?, $whose:ident $restarts:ident, $form:literal, $syntax:expr, $text:literal;
    )*) => {
        /// A process group.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct GroupConfig {
            /// Its name.
            pub name: String,
            /// Where it was defined (`file:line`), for messages.
            pub origin: String,
            /// Worker processes; with `processes_max` the least number.
            pub processes: u32,
            /// Most worker processes, if the number may change (`processes=1..8`).
            pub processes_max: Option<u32>,
            /// Whether `processes` was given at all: it decides `wsgi.multiprocess`.
            pub multiprocess: bool,
            $($($(#[doc = concat!("`", $name, "`: ", $text, ".")] pub $field: $type,)?)?)*
            /// What came from another release and is not understood: such a
            /// definition is not put in force, and no worker starts with it.
            pub unread: Vec<Unread>,
        }

        impl GroupConfig {
            /// A group with mod_wsgi's defaults.
            pub fn new(name: impl Into<String>, origin: impl Into<String>) -> Self {
                Self {
                    name: name.into(),
                    origin: origin.into(),
                    processes: 1,
                    processes_max: None,
                    multiprocess: false,
                    $($($($field: $default,)?)?)*
                    unread: Vec::new(),
                }
            }

            /// The definition with the default of every option that running workers
            /// need not know.
            pub(crate) fn as_workers_see_it(&self) -> Self {
                let mut group = self.clone();
                group.origin.clear();
                $($($(if $restarts == IN_PLACE {
                    group.$field = $default;
                })?)?)*
                group
            }
        }

        /// All rows, also those that no directive or site file may name: the options of
        /// people first, in the order of the documentation.
        pub const ROWS: &[OptionRow] = &[
            $(OptionRow {
                name: $name,
                syntax: $form,
                text: $text,
                in_mod_wsgi: matches!(Whose::$whose, Whose::ModWsgi),
                internal: matches!(Whose::$whose, Whose::Internal),
                set: |group: &mut GroupConfig, text: &str| set!(group, text, $syntax $(, $field)?),
                texts: |group: &GroupConfig| texts!(group, $syntax $(, $field $(: $type = $default)?)?),
            },)*
        ];
    };
}

const OFF: Timeout = Duration::ZERO;

options! {
    "user" => user: Option<String> = None, ModWsgi RESTARTS, "name or #uid", Maybe(NAME), "user the processes run as";
    "group" => group: Option<String> = None, ModWsgi RESTARTS, "name or #gid", Maybe(NAME), "primary group of the processes; otherwise that of the user";
    "supplementary-groups" => supplementary_groups: Option<Vec<String>> = None, ModWsgi RESTARTS, "comma list", Maybe(NAMES), "further groups; otherwise those of the user";
    "umask" => umask: Option<u32> = None, ModWsgi RESTARTS, "octal", Maybe(OCTAL), "file mode creation mask";
    "home" => home: Option<PathBuf> = None, ModWsgi RESTARTS, "absolute directory", Maybe(ABSOLUTE), "working directory, also searched for modules";
    "chroot" => chroot: Option<PathBuf> = None, ModWsgi RESTARTS, "absolute directory", Maybe(ABSOLUTE), "root directory of the processes";
    "script-user" => script_user: Option<String> = None, ModWsgi RESTARTS, "name or #uid", Maybe(NAME), "owner that scripts must have";
    "script-group" => script_group: Option<String> = None, ModWsgi RESTARTS, "name or #gid", Maybe(NAME), "group that scripts must have";
    "script-directories" => runs: Runs = Runs::default(), Ours IN_PLACE, "colon list of absolute directories", ScriptDirectories, "directories whose scripts may be run beside what the configuration names; may be repeated";
    "socket-user" => socket_user: Option<String> = None, ModWsgi IN_PLACE, "name or #uid", Maybe(NAME), "user that may connect too, where a module changes the user of httpd's children (MPM-ITK)";
    "lang" => lang: Option<String> = None, ModWsgi RESTARTS, "locale name", Maybe(NAME), "LANG of the processes";
    "locale" => locale: Option<String> = None, ModWsgi RESTARTS, "locale name", Maybe(NAME), "LC_ALL of the processes";
    "env" => env: Vec<(String, String)> = Vec::new(), Ours RESTARTS, "NAME=VALUE", Each(VARIABLE), "environment variable; may be repeated";
    "env-file" => env_file: Option<PathBuf> = None, Ours RESTARTS, "absolute file", Maybe(ABSOLUTE), "file of NAME=VALUE lines for the environment";
    "log-file" => log: LogTarget = LogTarget::Supervisor, Ours IN_PLACE, "absolute file", LogFile, "where what the processes print goes, opened with the user's rights; otherwise the ErrorLog";
    "request-log" => request_log: bool = false, Ours RESTARTS, "On or Off", ON_OFF, "what requests write goes where the processes print too, beside the ErrorLog of their virtual host; On in a site file with a log";
    "display-name" => display_name: Option<String> = None, ModWsgi RESTARTS, "text or %{GROUP}", Maybe(NAME), "what ps shows; `(wsgid: GROUP)` if nothing is said";
    "log-rate" => log_rate: u64 = byte_rate::DEFAULT_PER_SECOND, Ours IN_PLACE, "bytes", Bytes { min: 0 }, "bytes a second that may be logged, 16 times as many at once; 0 is no limit";
    "log-format" => log_format: Option<LogFormat> = None, Ours IN_PLACE, "text or json", Maybe(LOG_FORMAT), "how what the processes print is written; otherwise as WSGILogFormat says";
    "otlp-endpoint" => otlp_endpoint: Option<Endpoint> = None, Ours IN_PLACE, "http URL", Maybe(ENDPOINT), "collector that gets a span of each traced request, by OTLP/HTTP";
    "trace-ratio" => trace_ratio: u32 = 1_000_000, Ours IN_PLACE, "0 to 1", RATIO, "part of the requests without a traceparent that otlp-endpoint= traces; 1 is all";
    "python-home" => python_home: Option<PathBuf> = None, ModWsgi RESTARTS, "absolute directory", Maybe(PYTHON_HOME), "virtual environment or installation to run";
    "python-path" => python_path: Vec<PathBuf> = Vec::new(), ModWsgi RESTARTS, "colon list of directories", PATHS, "directories put in front of sys.path";
    "python-eggs" => python_eggs: Option<PathBuf> = None, ModWsgi RESTARTS, "absolute directory", Maybe(ABSOLUTE), "PYTHON_EGG_CACHE";
    "switch-interval" => switch_interval_us: Option<u64> = None, ModWsgi RESTARTS, "seconds", Maybe(SWITCH_INTERVAL), "how often threads take turns";
    "server-metrics" => server_metrics: bool = false, ModWsgi RESTARTS, "On or Off", ON_OFF, "read; `server_metrics()` is None: workers do not see httpd's scoreboard";
    "processes", ModWsgi RESTARTS, "number, or MIN..MAX", ProcessNumber, "worker processes";
    "threads" => threads: u32 = 15, ModWsgi RESTARTS, "number", Number { min: 0, max: 65533 }, "request threads per process; 0 is a service";
    "stack-size" => stack_size: Option<u64> = None, ModWsgi RESTARTS, "bytes", Maybe(Bytes { min: 32768 }), "stack of a thread; 0 is the system's";
    "listen-backlog" => listen_backlog: u32 = 100, ModWsgi RESTARTS, "number", Number { min: 1, max: 65535 }, "requests that may wait for a worker";
    "cpu-priority" => cpu_priority: Option<i32> = None, ModWsgi RESTARTS, "nice value", Maybe(NICE), "scheduling priority, -20 to 19";
    "startup-timeout" => startup_timeout: Timeout = OFF, ModWsgi IN_PLACE, "seconds", SECONDS, "time to load the application";
    "queue-timeout" => queue_timeout: Timeout = OFF, ModWsgi RESTARTS, "seconds", SECONDS, "time a request may wait for a worker";
    "connect-timeout" => connect_timeout: Timeout = Duration::from_secs(15), ModWsgi RESTARTS, "seconds", SECONDS, "time to reach the supervisor, and to find a place among listen-backlog";
    "socket-timeout" => socket_timeout: Timeout = OFF, ModWsgi IN_PLACE, "seconds", SECONDS, "time without a byte from the worker; 0 is httpd's Timeout";
    "response-socket-timeout" => response_socket_timeout: Timeout = OFF, ModWsgi IN_PLACE, "seconds", SECONDS, "time without a byte to the client";
    "request-timeout" => request_timeout: Timeout = OFF, ModWsgi RESTARTS, "seconds", SECONDS, "time a request may run, times 1 + ln(threads)";
    "slow-request" => slow_request: Timeout = OFF, Ours RESTARTS, "seconds", SECONDS, "time after which a request that still runs is logged with its Python stack; 0 is none";
    "interrupt-timeout" => interrupt_timeout: Timeout = OFF, ModWsgi RESTARTS, "seconds", SECONDS, "time an interrupted request has to end";
    "deadlock-timeout" => deadlock_timeout: Timeout = Duration::from_secs(300), ModWsgi RESTARTS, "seconds", SECONDS, "time the interpreter may be locked";
    "inactivity-timeout" => inactivity_timeout: Timeout = OFF, ModWsgi RESTARTS, "seconds", SECONDS, "time without requests after which a worker that had some is replaced";
    "idle-stop" => idle_stop: Timeout = OFF, Ours IN_PLACE, "seconds", SECONDS, "time without requests after which workers are stopped until the next one";
    "graceful-timeout" => graceful_timeout: Timeout = Duration::from_secs(15), ModWsgi RESTARTS, "seconds", SECONDS, "time to finish requests when a worker is replaced; 0 is none";
    "eviction-timeout" => eviction_timeout: Timeout = OFF, ModWsgi RESTARTS, "seconds", SECONDS, "the same for SIGUSR1; 0 is graceful-timeout";
    "shutdown-timeout" => shutdown_timeout: Timeout = Duration::from_secs(5), ModWsgi RESTARTS, "seconds", SECONDS, "time to end when a worker is stopped; 0 is none";
    "restart-interval" => restart_interval: Timeout = OFF, ModWsgi RESTARTS, "seconds", SECONDS, "age at which a worker is replaced";
    "cpu-time-limit" => cpu_time_limit: Timeout = OFF, ModWsgi RESTARTS, "seconds", SECONDS, "CPU time after which a worker is replaced";
    "response-flush-delay" => response_flush_delay: Timeout = Duration::from_millis(5), ModWsgi IN_PLACE, "milliseconds", MILLISECONDS, "time response bytes may be held back";
    "maximum-requests" => maximum_requests: u64 = 0, ModWsgi RESTARTS, "number", COUNT, "requests after which a worker is replaced";
    "maximum-requests-jitter" => maximum_requests_jitter: u64 = 0, Ours RESTARTS, "number", COUNT, "up to so many requests more, chosen per worker";
    "memory-recycle" => memory_recycle: u64 = 0, Ours RESTARTS, "bytes", Bytes { min: 0 }, "resident size after which a worker is replaced";
    "memory-limit" => memory_limit: u64 = 0, ModWsgi RESTARTS, "bytes", Bytes { min: 0 }, "RLIMIT_DATA";
    "virtual-memory-limit" => virtual_memory_limit: u64 = 0, ModWsgi RESTARTS, "bytes", Bytes { min: 0 }, "RLIMIT_AS";
    "process-limit" => process_limit: u32 = 0, Ours RESTARTS, "number", Number { min: 0, max: u32::MAX }, "RLIMIT_NPROC: processes and threads that the user may have; 0 is no limit";
    "cpu-weight" => cpu_weight: u32 = 0, Ours IN_PLACE, "1 to 10000", Number { min: 1, max: 10_000 }, "share of the processors against other groups; 100 is usual";
    "memory-max" => memory_max: u64 = 0, Ours IN_PLACE, "bytes", Bytes { min: 4 << 20 }, "memory of all processes of the group together";
    "tasks-max" => tasks_max: u32 = 0, Ours IN_PLACE, "number", Number { min: 0, max: 4_194_304 }, "processes and threads of the group together; 0 is no limit";
    "no-new-privileges" => no_new_privileges: bool = true, Ours RESTARTS, "On or Off", ON_OFF, "programs such as sudo gain no privileges when a worker starts them";
    "isolation" => isolation: Isolation = Isolation::None, Ours RESTARTS, "none, private or strict", ISOLATION, "how far the processes are kept apart from other sites, also of the same user";
    "isolation-fallback" => isolation_fallback: bool = false, Ours RESTARTS, "On or Off", ON_OFF, "isolation=strict starts with what the kernel has, where it lacks something";
    "private-tmp" => private_tmp: Option<bool> = None, Ours RESTARTS, "On or Off", Maybe(ON_OFF), "/tmp, /var/tmp and /dev/shm of the group's own; otherwise as isolation says";
    "protect-system" => protect_system: Option<bool> = None, Ours RESTARTS, "On or Off", Maybe(ON_OFF), "all is read-only but the site's home and what read-write-paths names; otherwise as isolation says";
    "protect-home" => protect_home: Option<bool> = None, Ours RESTARTS, "On or Off", Maybe(ON_OFF), "homes, sites and sockets of others are not there; otherwise as isolation says";
    "private-devices" => private_devices: Option<bool> = None, Ours RESTARTS, "On or Off", Maybe(ON_OFF), "/dev has null, zero, full, random, urandom, tty and terminals only; otherwise as isolation says";
    "protect-proc" => protect_proc: Option<bool> = None, Ours RESTARTS, "On or Off", Maybe(ON_OFF), "/proc shows no other site's processes; otherwise as isolation says";
    "read-write-paths" => read_write_paths: Vec<PathBuf> = Vec::new(), Ours RESTARTS, "colon list of absolute paths", ABSOLUTE_PATHS, "what an isolated site may reach and write besides";
    "read-only-paths" => read_only_paths: Vec<PathBuf> = Vec::new(), Ours RESTARTS, "colon list of absolute paths", ABSOLUTE_PATHS, "what an isolated site may reach and read besides, sockets too";
    "inaccessible-paths" => inaccessible_paths: Vec<PathBuf> = Vec::new(), Ours RESTARTS, "colon list of absolute paths", ABSOLUTE_PATHS, "what an isolated site does not reach";
    "restrict-address-families" => restrict_address_families: Vec<String> = Vec::new(), Ours RESTARTS, "comma list", FAMILIES, "sockets that may be made, such as unix,inet,inet6; otherwise all, and with isolation=strict unix,inet,inet6,netlink";
    "connect-ports" => connect_ports: Vec<PortRange> = Vec::new(), Ours RESTARTS, "comma list of ports and ranges", PORTS, "TCP ports that may be connected to; otherwise all";
    "allow-system-calls" => allow_system_calls: Vec<String> = Vec::new(), Ours RESTARTS, "comma list", CALLS, "system calls that isolation would refuse";
    "reload-files" => reload_files: Vec<PathBuf> = Vec::new(), Ours RESTARTS, "colon list of absolute files", ABSOLUTE_PATHS, "files beside the scripts whose change starts new workers";
    "reload-wait" => reload_wait: Timeout = OFF, Ours RESTARTS, "seconds", SECONDS, "time a request waits for new workers after a change; 0: the old ones serve it";
    "reload-surge" => reload_surge: u32 = 0, Ours IN_PLACE, "number", Number { min: 0, max: 10_000 }, "workers more than processes while new ones take over, old and new serving together; 0: all new ones first, then at once";
    "warm-up" => warm_up: Option<String> = None, Ours IN_PLACE, "/path, or a URL", Maybe(WARM_UP), "request that a new worker has to answer before it serves; 5xx or startup-timeout is a failed start";
    "restart-burst" => restart_burst: u32 = 10, Ours IN_PLACE, "number", Number { min: 1, max: 1_000_000 }, "failed starts within restart-window after which the group is failed";
    "restart-window" => restart_window: Timeout = Duration::from_secs(60), Ours IN_PLACE, "seconds", SECONDS, "see restart-burst";
    "preload" => preload: bool = false, Ours RESTARTS, "On or Off", ON_OFF, "load the application once and fork the workers from it";
    "send-buffer-size" => send_buffer_size: u64 = 0, ModWsgi RESTARTS, "bytes", Bytes { min: 512 }, "SO_SNDBUF; 0 is the system's";
    "receive-buffer-size" => receive_buffer_size: u64 = 0, ModWsgi RESTARTS, "bytes", Bytes { min: 512 }, "SO_RCVBUF; 0 is the system's";
    "header-buffer-size" => header_buffer_size: u64 = 0, ModWsgi RESTARTS, "bytes", Bytes { min: 8192 }, "longest header field of a response; 0 is 32768";
    "response-buffer-size" => response_buffer_size: u64 = 0, ModWsgi RESTARTS, "bytes", Bytes { min: 65536 }, "bytes held for the client before a flush; 0 is 8 MiB";

    // What other directives say, and what is no single value.
    "multiprocess", Internal RESTARTS, "On or Off", Multiprocess, "whether processes= was given";
    "log" => log, Internal IN_PLACE, "JSON", OtherLog, "a log that is no file";
    "python-optimize" => python_optimize: u8 = 0, Internal RESTARTS, "level", LEVEL, "WSGIPythonOptimize";
    "python-warnings" => python_warnings: Vec<String> = Vec::new(), Internal RESTARTS, "filter", Each(TEXT), "WSGIPythonWarnings";
    "python-hash-seed" => python_hash_seed: Option<String> = None, Internal RESTARTS, "seed", Maybe(TEXT), "WSGIPythonHashSeed";
    "dont-write-bytecode" => dont_write_bytecode: bool = false, Internal RESTARTS, "On or Off", ON_OFF, "WSGIDontWriteBytecode";
    "restrict-stdin" => restrict_stdin: bool = false, Internal RESTARTS, "On or Off", ON_OFF, "WSGIRestrictStdin: reading sys.stdin raises";
    "restrict-stdout" => restrict_stdout: bool = false, Internal RESTARTS, "On or Off", ON_OFF, "WSGIRestrictStdout: using sys.stdout raises";
    "restrict-signal" => restrict_signal: bool = true, Internal RESTARTS, "On or Off", ON_OFF, "WSGIRestrictSignal: signal.signal does nothing and says so";
    "preload-script" => preload_scripts: Vec<Preload> = Vec::new(), Internal RESTARTS, "JSON", Each(json()), "a script that is loaded before the first request";
    "apart-from" => apart_from: Vec<PathBuf> = Vec::new(), Internal RESTARTS, "absolute path", Each(ABSOLUTE), "what other sites of the same user have where isolation would not hide it";
    "script" => runs, Internal IN_PLACE, "path", NamedScript, "a script that may be run; behind a slash a directory of them";
    "application" => applications: Vec<ApplicationOptions> = Vec::new(), Internal RESTARTS, "JSON", Each(json()), "what one application group has otherwise";
}

/// How many rows are options of people.
const PUBLIC: usize = {
    let mut count = 0;
    while count < ROWS.len() && !ROWS[count].internal {
        count += 1;
    }
    count
};

/// All options that directives, site files and the command line may set, in the
/// order of the documentation.
pub const TABLE: &[OptionRow] = ROWS.split_at(PUBLIC).0;

impl GroupConfig {
    /// Sets one option from its text.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        self.set_in(TABLE, name, value)
    }

    /// Sets what any row names: for what another process of this project wrote.
    pub(crate) fn set_any(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        self.set_in(ROWS, name, value)
    }

    fn set_in(&mut self, rows: &[OptionRow], name: &str, value: &str) -> Result<(), OptionError> {
        let row = rows
            .iter()
            .find(|row| row.name == name)
            .ok_or_else(|| unknown(name))?;
        (row.set)(self, value).map_err(|reason| row.error(reason))
    }
}

fn unknown(name: &str) -> OptionError {
    let hint = TABLE
        .iter()
        .find(|row| is_close(name, row.name))
        .map(|row| format!("; did you mean `{}`?", row.name))
        .unwrap_or_default();
    OptionError::Unknown {
        name: name.to_owned(),
        hint,
    }
}

/// Whether the names are the same but for case, separators and a plural.
fn is_close(given: &str, known: &str) -> bool {
    let given = given.to_ascii_lowercase().replace(['_', '-'], "");
    let known = known.to_ascii_lowercase().replace(['_', '-'], "");
    given == known
        || known.strip_suffix('s') == Some(&given)
        || given.strip_suffix('s') == Some(&known)
}

/// A number of processes, or the least and the most of them.
struct ProcessNumber;

impl Syntax for ProcessNumber {
    type Value = GroupConfig;

    fn set(&self, group: &mut GroupConfig, text: &str) -> Result<(), String> {
        const MAX: u32 = 10_000;
        (group.processes, group.processes_max) = match text.split_once("..") {
            Some((min, max)) => {
                let min = number(min, 0, MAX)?;
                (min, Some(number(max, min.max(1), MAX)?))
            }
            None => (number(text, 1, MAX)?, None),
        };
        group.multiprocess = true;
        Ok(())
    }

    fn texts(&self, group: &GroupConfig) -> Result<Vec<String>, String> {
        Ok(match (group.processes, group.processes_max) {
            (1, None) => Vec::new(),
            (number, None) => vec![number.to_string()],
            (min, Some(max)) => vec![format!("{min}..{max}")],
        })
    }
}

/// Whether `processes` was given: also if it has its default, which does not travel.
struct Multiprocess;

impl Syntax for Multiprocess {
    type Value = GroupConfig;

    fn set(&self, group: &mut GroupConfig, text: &str) -> Result<(), String> {
        ON_OFF.set(&mut group.multiprocess, text)
    }

    fn texts(&self, group: &GroupConfig) -> Result<Vec<String>, String> {
        let implied = (group.processes, group.processes_max) != (1, None);
        if group.multiprocess == implied {
            Ok(Vec::new())
        } else {
            ON_OFF.texts(&group.multiprocess)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: &str) -> Result<GroupConfig, OptionError> {
        let mut config = GroupConfig::new("site", "test");
        config.set(name, value).map(|()| config)
    }

    #[test]
    fn every_name_is_there_once() {
        for row in TABLE {
            assert_eq!(
                TABLE.iter().filter(|other| other.name == row.name).count(),
                1,
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn units_mean_what_they_say() {
        assert_eq!(set("memory-limit", "512M").unwrap().memory_limit, 512 << 20);
        assert_eq!(
            set("request-timeout", "60s").unwrap().request_timeout,
            Duration::from_secs(60)
        );
        assert_eq!(
            set("response-flush-delay", "20")
                .unwrap()
                .response_flush_delay,
            Duration::from_millis(20)
        );
        assert_eq!(
            set("response-flush-delay", "2s")
                .unwrap()
                .response_flush_delay,
            Duration::from_secs(2)
        );
        assert_eq!(
            set("socket-timeout", "2147483647").unwrap().socket_timeout,
            Duration::from_secs(2_147_483_647)
        );
    }

    #[test]
    fn garbage_is_refused_and_named() {
        for (name, value) in [
            ("threads", "abc"),
            ("threads", "-1"),
            ("umask", "9"),
            ("home", "relative"),
            ("processes", "0"),
            ("memory-limit", "1Q"),
            ("stack-size", "100"),
            ("response-flush-delay", "x"),
            ("response-flush-delay", "61m"),
            ("header-buffer-size", "100"),
        ] {
            let error = set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert_eq!(
            set("thread", "1").unwrap_err().to_string(),
            "unknown option `thread`; did you mean `threads`?"
        );
    }

    #[test]
    fn python_home_is_the_prefix_whatever_was_given() {
        for given in [
            "/srv/venv",
            "/srv/venv/bin/python",
            "/srv/venv/bin/python3.12",
            "/srv/venv/lib/python3.12",
        ] {
            assert_eq!(
                set("python-home", given).unwrap().python_home.unwrap(),
                PathBuf::from("/srv/venv")
            );
        }
    }

    #[test]
    fn a_range_of_processes() {
        let config = set("processes", "0..8").unwrap();
        assert_eq!(
            (
                config.processes,
                config.processes_limit(),
                config.multiprocess
            ),
            (0, 8, true)
        );
        assert!(set("processes", "4..2").is_err());
    }
}
