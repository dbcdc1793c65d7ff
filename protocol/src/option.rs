//! The options of a process group by name: one table, one parser, one kind of
//! error for `WSGIDaemonProcess`, site files and the command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{GroupConfig, LogTarget};

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
    set: fn(&mut GroupConfig, &str) -> Result<(), String>,
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

macro_rules! options {
    ($($name:literal, $syntax:literal, $whose:ident, |$c:ident, $v:ident| $set:expr, $text:literal;)*) => {
        /// All options, in the order of the documentation.
        pub const TABLE: &[OptionRow] = &[
            $(OptionRow {
                name: $name, syntax: $syntax, text: $text, in_mod_wsgi: $whose,
                set: |$c: &mut GroupConfig, $v: &str| -> Result<(), String> { $set; Ok(()) },
            },)*
        ];
    };
}

const MOD_WSGI: bool = true;
const OURS: bool = false;

options! {
    "user", "name or #uid", MOD_WSGI, |c, v| c.user = Some(name(v)?), "user the processes run as";
    "group", "name or #gid", MOD_WSGI, |c, v| c.group = Some(name(v)?), "primary group of the processes; otherwise that of the user";
    "supplementary-groups", "comma list", MOD_WSGI, |c, v| c.supplementary_groups = Some(names(v)?), "further groups; otherwise those of the user";
    "umask", "octal", MOD_WSGI, |c, v| c.umask = Some(octal(v)?), "file mode creation mask";
    "home", "absolute directory", MOD_WSGI, |c, v| c.home = Some(absolute(v)?), "working directory, also searched for modules";
    "chroot", "absolute directory", MOD_WSGI, |c, v| c.chroot = Some(absolute(v)?), "root directory of the processes";
    "script-user", "name or #uid", MOD_WSGI, |c, v| c.script_user = Some(name(v)?), "owner that scripts must have";
    "script-group", "name or #gid", MOD_WSGI, |c, v| c.script_group = Some(name(v)?), "group that scripts must have";
    "socket-user", "name or #uid", MOD_WSGI, |c, v| c.socket_user = Some(name(v)?), "user that may connect too, where a module changes the user of httpd's children (MPM-ITK)";
    "lang", "locale name", MOD_WSGI, |c, v| c.lang = Some(name(v)?), "LANG of the processes";
    "locale", "locale name", MOD_WSGI, |c, v| c.locale = Some(name(v)?), "LC_ALL of the processes";
    "env", "NAME=VALUE", OURS, |c, v| c.env.push(variable(v)?), "environment variable; may be repeated";
    "env-file", "absolute file", OURS, |c, v| c.env_file = Some(absolute(v)?), "file of NAME=VALUE lines for the environment";
    "log-file", "absolute file", OURS, |c, v| c.log = LogTarget::File(absolute(v)?), "where what the processes print goes, opened with the user's rights; otherwise the ErrorLog";
    "display-name", "text or %{GROUP}", MOD_WSGI, |c, v| c.display_name = Some(name(v)?), "what ps shows";
    "python-home", "absolute directory", MOD_WSGI, |c, v| c.python_home = Some(python_home(v)?), "virtual environment or installation to run";
    "python-path", "colon list of directories", MOD_WSGI, |c, v| c.python_path = path_list(v)?, "directories put in front of sys.path";
    "python-eggs", "absolute directory", MOD_WSGI, |c, v| c.python_eggs = Some(absolute(v)?), "PYTHON_EGG_CACHE";
    "switch-interval", "seconds", MOD_WSGI, |c, v| c.switch_interval_us = Some(switch_interval(v)?), "how often threads take turns";
    "server-metrics", "On or Off", MOD_WSGI, |c, v| c.server_metrics = on_off(v)?, "read; `server_metrics()` is None: workers do not see httpd's scoreboard";
    "processes", "number, or MIN..MAX", MOD_WSGI, |c, v| processes(c, v)?, "worker processes";
    "threads", "number", MOD_WSGI, |c, v| c.threads = number(v, 0, 65533)?, "request threads per process; 0 is a service";
    "stack-size", "bytes", MOD_WSGI, |c, v| c.stack_size = Some(bytes(v, 32768)?), "stack of a thread; 0 is the system's";
    "listen-backlog", "number", MOD_WSGI, |c, v| c.listen_backlog = number(v, 1, 65535)?, "requests that may wait for a worker";
    "cpu-priority", "nice value", MOD_WSGI, |c, v| c.cpu_priority = Some(nice(v)?), "scheduling priority, -20 to 19";
    "startup-timeout", "seconds", MOD_WSGI, |c, v| c.startup_timeout = seconds(v)?, "time to load the application";
    "queue-timeout", "seconds", MOD_WSGI, |c, v| c.queue_timeout = seconds(v)?, "time a request may wait for a worker";
    "connect-timeout", "seconds", MOD_WSGI, |c, v| c.connect_timeout = seconds(v)?, "time to reach the supervisor";
    "socket-timeout", "seconds", MOD_WSGI, |c, v| c.socket_timeout = seconds(v)?, "time without a byte from the worker; 0 is httpd's Timeout";
    "response-socket-timeout", "seconds", MOD_WSGI, |c, v| c.response_socket_timeout = seconds(v)?, "time without a byte to the client";
    "request-timeout", "seconds", MOD_WSGI, |c, v| c.request_timeout = seconds(v)?, "time a request may run, times 1 + ln(threads)";
    "interrupt-timeout", "seconds", MOD_WSGI, |c, v| c.interrupt_timeout = seconds(v)?, "time an interrupted request has to end";
    "deadlock-timeout", "seconds", MOD_WSGI, |c, v| c.deadlock_timeout = seconds(v)?, "time the interpreter may be locked";
    "inactivity-timeout", "seconds", MOD_WSGI, |c, v| c.inactivity_timeout = seconds(v)?, "time without requests after which a worker that had some is replaced";
    "idle-stop", "seconds", OURS, |c, v| c.idle_stop = seconds(v)?, "time without requests after which workers are stopped until the next one";
    "graceful-timeout", "seconds", MOD_WSGI, |c, v| c.graceful_timeout = seconds(v)?, "time to finish requests when a worker is replaced; 0 is none";
    "eviction-timeout", "seconds", MOD_WSGI, |c, v| c.eviction_timeout = seconds(v)?, "the same for SIGUSR1; 0 is graceful-timeout";
    "shutdown-timeout", "seconds", MOD_WSGI, |c, v| c.shutdown_timeout = seconds(v)?, "time to end when a worker is stopped; 0 is none";
    "restart-interval", "seconds", MOD_WSGI, |c, v| c.restart_interval = seconds(v)?, "age at which a worker is replaced";
    "cpu-time-limit", "seconds", MOD_WSGI, |c, v| c.cpu_time_limit = seconds(v)?, "CPU time after which a worker is replaced";
    "response-flush-delay", "milliseconds", MOD_WSGI, |c, v| c.response_flush_delay = milliseconds(v)?, "time response bytes may be held back";
    "maximum-requests", "number", MOD_WSGI, |c, v| c.maximum_requests = number(v, 0, u32::MAX)?.into(), "requests after which a worker is replaced";
    "maximum-requests-jitter", "number", OURS, |c, v| c.maximum_requests_jitter = number(v, 0, u32::MAX)?.into(), "up to so many requests more, chosen per worker";
    "memory-recycle", "bytes", OURS, |c, v| c.memory_recycle = bytes(v, 0)?, "resident size after which a worker is replaced";
    "memory-limit", "bytes", MOD_WSGI, |c, v| c.memory_limit = bytes(v, 0)?, "RLIMIT_DATA";
    "virtual-memory-limit", "bytes", MOD_WSGI, |c, v| c.virtual_memory_limit = bytes(v, 0)?, "RLIMIT_AS";
    "process-limit", "number", OURS, |c, v| c.process_limit = number(v, 0, u32::MAX)?, "RLIMIT_NPROC: processes and threads that the user may have; 0 is no limit";
    "cpu-weight", "1 to 10000", OURS, |c, v| c.cpu_weight = number(v, 1, 10_000)?, "share of the processors against other groups; 100 is usual";
    "memory-max", "bytes", OURS, |c, v| c.memory_max = bytes(v, 4 << 20)?, "memory of all processes of the group together";
    "tasks-max", "number", OURS, |c, v| c.tasks_max = number(v, 0, 4_194_304)?, "processes and threads of the group together; 0 is no limit";
    "no-new-privileges", "On or Off", OURS, |c, v| c.no_new_privileges = on_off(v)?, "programs such as sudo gain no privileges when a worker starts them";
    "restart-burst", "number", OURS, |c, v| c.restart_burst = number(v, 1, 1_000_000)?, "failed starts within restart-window after which the group is failed";
    "restart-window", "seconds", OURS, |c, v| c.restart_window = seconds(v)?, "see restart-burst";
    "preload", "On or Off", OURS, |c, v| c.preload = on_off(v)?, "load the application once and fork the workers from it";
    "send-buffer-size", "bytes", MOD_WSGI, |c, v| c.send_buffer_size = bytes(v, 512)?, "SO_SNDBUF; 0 is the system's";
    "receive-buffer-size", "bytes", MOD_WSGI, |c, v| c.receive_buffer_size = bytes(v, 512)?, "SO_RCVBUF; 0 is the system's";
    "header-buffer-size", "bytes", MOD_WSGI, |c, v| c.header_buffer_size = bytes(v, 8192)?, "longest header field of a response; 0 is 32768";
    "response-buffer-size", "bytes", MOD_WSGI, |c, v| c.response_buffer_size = bytes(v, 65536)?, "bytes held for the client before a flush; 0 is 8 MiB";
}

impl GroupConfig {
    /// Sets one option from its text.
    ///
    /// # Errors
    /// If there is no such option, or the value does not fit it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let row = TABLE.iter().find(|row| row.name == name).ok_or_else(|| unknown(name))?;
        (row.set)(self, value).map_err(|reason| OptionError::Value { name: row.name, reason })
    }
}

fn unknown(name: &str) -> OptionError {
    let close = |row: &&OptionRow| {
        let fold = |name: &str| name.to_ascii_lowercase().replace(['_', '-'], "");
        let (given, known) = (fold(name), fold(row.name));
        given == known || known.strip_suffix('s') == Some(&given) || given.strip_suffix('s') == Some(&known)
    };
    let hint = TABLE.iter().find(close).map(|row| format!("; did you mean `{}`?", row.name)).unwrap_or_default();
    OptionError::Unknown { name: name.to_owned(), hint }
}

fn name(value: &str) -> Result<String, String> {
    if value.is_empty() || value.contains(['\0', '\n', '\r']) {
        return Err(format!("`{value}` is not a name"));
    }
    Ok(value.to_owned())
}

fn names(value: &str) -> Result<Vec<String>, String> {
    value.split(',').map(|part| name(part.trim())).collect()
}

fn absolute(value: &str) -> Result<PathBuf, String> {
    if !value.starts_with('/') || value.contains('\0') {
        return Err(format!("`{value}` is not an absolute path"));
    }
    Ok(PathBuf::from(value))
}

/// People give the interpreter itself, or its library directory: take the
/// prefix that they meant.
fn python_home(value: &str) -> Result<PathBuf, String> {
    let path = absolute(value)?;
    let is = |part: &Path, prefix: &str| {
        part.file_name().and_then(|last| last.to_str()).is_some_and(|last| last.starts_with(prefix))
    };
    let parent_is = |part: &Path, dir: &str| part.parent().is_some_and(|up| up.file_name() == Some(dir.as_ref()));
    let grandparent = path.parent().and_then(Path::parent);
    match grandparent {
        Some(prefix) if is(&path, "python") && (parent_is(&path, "bin") || parent_is(&path, "lib")) => {
            Ok(prefix.to_path_buf())
        }
        _ => Ok(path),
    }
}

fn path_list(value: &str) -> Result<Vec<PathBuf>, String> {
    if value.contains('\0') {
        return Err(format!("`{value}` contains a NUL"));
    }
    Ok(value.split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect())
}

fn variable(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some((key, text)) if !key.is_empty() && !value.contains('\0') => Ok((key.to_owned(), text.to_owned())),
        _ => Err(format!("`{value}` is not NAME=VALUE")),
    }
}

fn octal(value: &str) -> Result<u32, String> {
    match u32::from_str_radix(value, 8) {
        Ok(mask) if mask <= 0o777 => Ok(mask),
        _ => Err(format!("`{value}` is not an octal number from 0 to 0777")),
    }
}

fn on_off(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{value}` is neither On nor Off")),
    }
}

fn number(value: &str, min: u32, max: u32) -> Result<u32, String> {
    match value.parse::<u32>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("`{value}` is not a whole number from {min} to {max}")),
    }
}

fn processes(config: &mut GroupConfig, value: &str) -> Result<(), String> {
    const MAX: u32 = 10_000;
    (config.processes, config.processes_max) = match value.split_once("..") {
        Some((min, max)) => {
            let min = number(min, 0, MAX)?;
            (min, Some(number(max, min.max(1), MAX)?))
        }
        None => (number(value, 1, MAX)?, None),
    };
    config.multiprocess = true;
    Ok(())
}

fn nice(value: &str) -> Result<i32, String> {
    match value.parse::<i32>() {
        Ok(nice) if (-20..=19).contains(&nice) => Ok(nice),
        _ => Err(format!("`{value}` is not a nice value from -20 to 19")),
    }
}

fn switch_interval(value: &str) -> Result<u64, String> {
    match value.parse::<f64>() {
        // Python refuses an interval that rounds to no microsecond at all.
        Ok(seconds) if (1e-6..=3600.0).contains(&seconds) => Ok((seconds * 1e6).round() as u64),
        _ => Err(format!("`{value}` is not a number of seconds from 0.000001 to 3600")),
    }
}

/// Seconds, with an optional unit of `ms`, `s`, `m` or `h`.
fn seconds(value: &str) -> Result<Duration, String> {
    let at = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(at);
    let scale_ms = match unit {
        "" | "s" => 1000,
        "ms" => 1,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("`{unit}` is not a unit of time; use s, ms, m or h")),
    };
    // The largest that C's int holds, which people write for "never".
    match digits.parse::<u64>() {
        Ok(count) if count <= u64::from(u32::MAX) => Ok(Duration::from_millis(count * scale_ms)),
        _ => Err(format!("`{value}` is not a whole number, 0 or more, with or without a unit of ms, s, m or h")),
    }
}

/// Milliseconds, or a time with its unit; an hour at most.
fn milliseconds(value: &str) -> Result<Duration, String> {
    const HOUR: Duration = Duration::from_secs(3600);
    let has_unit = value.ends_with(|c: char| c.is_ascii_alphabetic());
    let time = if has_unit { seconds(value)? } else { seconds(&format!("{value}ms"))? };
    if time <= HOUR { Ok(time) } else { Err(format!("`{value}` is more than an hour")) }
}

/// Bytes, with an optional unit of `K`, `M` or `G` (powers of 1024). Zero is
/// always allowed and means the default.
fn bytes(value: &str, min: u64) -> Result<u64, String> {
    let at = value.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(at);
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(format!("`{unit}` is not a unit of size; use K, M or G")),
    };
    let count = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(1 << shift));
    match count {
        Some(count) if count == 0 || count >= min => Ok(count),
        Some(_) => Err(format!("`{value}` is below the least value of {min} bytes (0 is the default)")),
        None => Err(format!("`{value}` is not a number of bytes")),
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
            assert_eq!(TABLE.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
    }

    #[test]
    fn units_mean_what_they_say() {
        assert_eq!(set("memory-limit", "512M").unwrap().memory_limit, 512 << 20);
        assert_eq!(set("request-timeout", "60s").unwrap().request_timeout, Duration::from_secs(60));
        assert_eq!(set("response-flush-delay", "20").unwrap().response_flush_delay, Duration::from_millis(20));
        assert_eq!(set("response-flush-delay", "2s").unwrap().response_flush_delay, Duration::from_secs(2));
        assert_eq!(set("socket-timeout", "2147483647").unwrap().socket_timeout, Duration::from_secs(2_147_483_647));
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
        assert_eq!(set("thread", "1").unwrap_err().to_string(), "unknown option `thread`; did you mean `threads`?");
    }

    #[test]
    fn python_home_is_the_prefix_whatever_was_given() {
        for given in ["/srv/venv", "/srv/venv/bin/python", "/srv/venv/bin/python3.12", "/srv/venv/lib/python3.12"] {
            assert_eq!(set("python-home", given).unwrap().python_home.unwrap(), PathBuf::from("/srv/venv"));
        }
    }

    #[test]
    fn a_range_of_processes() {
        let config = set("processes", "0..8").unwrap();
        assert_eq!((config.processes, config.processes_limit(), config.multiprocess), (0, 8, true));
        assert!(set("processes", "4..2").is_err());
    }
}
