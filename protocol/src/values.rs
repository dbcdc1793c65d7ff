//! Values of options that are more than a number, a text or a list of texts: where
//! output goes, scripts that are loaded beforehand, what one application group has
//! otherwise. Fields of `GroupConfig`; knows no option and no group.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration of zero switches the timer off, as in mod_wsgi.
pub type Timeout = Duration;

/// A script that is loaded before the first request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

/// How lines are written to files and to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    /// An object in JSON for each line.
    #[serde(rename = "json")]
    Json,
    /// As httpd's error log.
    #[default]
    #[serde(rename = "text", other)]
    Text,
}

impl LogFormat {
    /// Reads its name.
    pub fn named(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("`{name}` is neither text nor json")),
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// The facilities of the system's log, by number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

impl LogTarget {
    /// Reads `syslog`, `syslog:FACILITY`, `syslog:FACILITY:TAG` or
    /// `syslog::TAG` as httpd's `ErrorLog` does; `None` if it is something else. The
    /// error says that there is no such facility.
    pub fn syslog(text: &str, usual_tag: &str) -> Option<Result<Self, String>> {
        let mut parts = text.splitn(3, ':');
        if !parts.next()?.eq_ignore_ascii_case("syslog") {
            return None;
        }
        let facility = parts.next().filter(|facility| !facility.is_empty());
        let facility = facility.unwrap_or("local7");
        let tag = parts.next().filter(|tag| !tag.is_empty());
        let known = (0..).zip(FACILITIES);
        let mut known = known.filter(|(_, name)| name.eq_ignore_ascii_case(facility));
        Some(match known.next() {
            Some((facility, _)) => Ok(Self::Syslog {
                facility,
                tag: tag.unwrap_or(usual_tag).to_owned(),
            }),
            None => Err(format!(
                "`{facility}` is no facility of syslog; take one such as daemon or local7"
            )),
        })
    }
}

/// Options of one application group (`<WSGIInterpreterOptions>`); what is
/// `None` is as in the process group. What another release has more is an option
/// that is not understood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApplicationOptions {
    /// Its name; empty is the main one.
    pub application_group: String,
    /// Directories behind those of the process group.
    pub python_path: Vec<PathBuf>,
    /// `sys.setswitchinterval` in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switch_interval_us: Option<u64>,
    /// Reading `sys.stdin` raises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restrict_stdin: Option<bool>,
    /// Using `sys.stdout` raises.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restrict_stdout: Option<bool>,
    /// `signal.signal` does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restrict_signal: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::LogTarget;

    #[test]
    fn the_systems_log_is_named_as_httpd_does() {
        let read = |text| LogTarget::syslog(text, "httpd").map(|one| one.ok());
        let log = |facility, tag: &str| {
            Some(Some(LogTarget::Syslog {
                facility,
                tag: tag.to_owned(),
            }))
        };
        assert_eq!(read("syslog"), log(23, "httpd"));
        assert_eq!(read("Syslog:DAEMON"), log(3, "httpd"));
        assert_eq!(read("syslog:local0:shop"), log(16, "shop"));
        assert_eq!(read("syslog::shop"), log(23, "shop"));
        assert_eq!(read("syslog:nonsense"), Some(None));
        assert_eq!(
            (
                read("syslogs"),
                read("/var/log/x"),
                read("|/bin/x"),
                read("süslog")
            ),
            (None, None, None, None)
        );
    }
}
