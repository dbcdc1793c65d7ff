//! Why a worker ended, in a word and in words, and how loudly that is said. Pure, but for
//! the line in the log. Called by `endings`; knows nothing of connections and pools.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::status::EndReason;

use super::resources::OutOfMemory;
use crate::exit_code::launcher;
use wsgid_protocol::readable::escaped;

/// The end of a worker.
pub(super) struct WorkerEnd {
    pub(super) reason: EndReason,
    /// One line.
    pub(super) text: String,
}

impl WorkerEnd {
    /// Writes it into the log.
    pub(super) fn say(&self) {
        let text = &self.text;
        match self.reason {
            EndReason::Asked => tracing::debug!("{text}"),
            // It was to end, and requests were lost with it.
            EndReason::StartupTimeout => log_line!(START_TOO_SLOW, "{text}"),
            EndReason::ShutdownTimeout => log_line!(END_TOO_SLOW, "{text}"),
            _ => log_line!(WORKER_ENDED, "{text}"),
        }
    }

    /// Whether it ended because something took too long: what that was is worth knowing.
    pub(super) const fn is_for_time(&self) -> bool {
        matches!(
            self.reason,
            EndReason::StartupTimeout
                | EndReason::RequestTimeout
                | EndReason::Deadlock
                | EndReason::ShutdownTimeout
        )
    }
}

/// What is known of it beside its exit status.
pub(super) struct EndFacts {
    /// Why the supervisor has ended it.
    pub(super) ended_by: Option<EndReason>,
    pub(super) out_of_memory: Option<OutOfMemory>,
    /// Its user.
    pub(super) user: String,
    /// It ended for a request that took too long.
    pub(super) is_overtime: bool,
    /// Somebody asked it to end.
    pub(super) was_asked: bool,
    pub(super) was_ready: bool,
    /// Requests that it had begun.
    pub(super) unfinished: usize,
}

impl EndFacts {
    pub(super) fn reason(&self, status: ExitStatus) -> EndReason {
        let launcher = status.code().and_then(launcher::text);
        if self.out_of_memory.is_some() {
            EndReason::OutOfMemory
        } else if self.is_overtime {
            EndReason::RequestTimeout
        } else if let Some(reason) = self.ended_by {
            reason
        } else if self.was_asked && self.unfinished > 0 {
            EndReason::ShutdownTimeout
        } else if self.was_asked {
            EndReason::Asked
        } else if status.signal().is_some() {
            EndReason::Signalled
        } else if !self.was_ready && launcher.is_some() {
            EndReason::NotStarted
        } else {
            EndReason::Exited
        }
    }

    /// What comes behind the name of the worker. `config`: its group's.
    pub(super) fn how(
        &self,
        reason: EndReason,
        status: ExitStatus,
        config: Option<&GroupConfig>,
    ) -> String {
        let seconds = |of: fn(&GroupConfig) -> Duration| {
            let time = config.map(of).unwrap_or_default();
            time.as_secs_f64()
        };
        match reason {
            EndReason::StartupTimeout => format!(
                "was killed because it was not ready within startup-timeout ({} s); raise it if the application needs longer to load",
                seconds(|config| config.startup_timeout)
            ),
            EndReason::Deadlock => format!(
                "was killed because its interpreter was locked for longer than deadlock-timeout ({} s)",
                seconds(|config| config.deadlock_timeout)
            ),
            EndReason::ControlLost => {
                "was killed because it closed its control socket, or did not read it".to_owned()
            }
            EndReason::RequestTimeout => {
                "has ended, because a request ran longer than request-timeout and did not stop"
                    .to_owned()
            }
            EndReason::ShutdownTimeout => format!(
                "was ended{} because it was not done within shutdown-timeout ({} s)",
                with_requests(self.unfinished),
                seconds(|config| config.shutdown_timeout)
            ),
            EndReason::Asked => format!("{} as asked", self.plain(status, config)),
            _ => self.plain(status, config),
        }
    }

    /// What the exit status says.
    fn plain(&self, status: ExitStatus, config: Option<&GroupConfig>) -> String {
        match (self.out_of_memory, status.signal()) {
            (Some(OutOfMemory::Group), _) => {
                "was ended by SIGKILL because its process group has used up its memory-max"
                    .to_owned()
            }
            (Some(OutOfMemory::User), _) => {
                let user = &self.user;
                format!(
                    "was ended by SIGKILL because the process groups of user `{user}` have used up the memory-max that [user.NAME] gives them together"
                )
            }
            (Some(OutOfMemory::Machine), _) => {
                "was ended by SIGKILL because memory ran out".to_owned()
            }
            (None, Some(signal)) => {
                let is_short = !self.was_ready && config.is_some_and(has_limited_memory);
                signalled(signal, status.core_dumped(), is_short)
            }
            (None, None) => self.exited(status.code().unwrap_or_default(), config),
        }
    }

    fn exited(&self, code: i32, config: Option<&GroupConfig>) -> String {
        match launcher::text(code).filter(|_| !self.was_ready) {
            Some(why) => {
                let python = python_of(code, config);
                format!(
                    "did not start: {why}{python} (exit code {code}; its own words are in the log)"
                )
            }
            None => format!("exited with code {code}"),
        }
    }
}

/// Which Python was not there, if that was it.
fn python_of(code: i32, config: Option<&GroupConfig>) -> String {
    let is_python = [launcher::NO_PYTHON, launcher::EXEC, launcher::BOOTSTRAP]
        .into_iter()
        .any(|one| i32::from(one) == code);
    let home = config.and_then(|config| config.python_home.as_ref());
    match home.filter(|_| is_python) {
        Some(home) => {
            let home = escaped(home.as_os_str().as_encoded_bytes());
            format!(" in python-home `{home}`")
        }
        None => String::new(),
    }
}

fn with_requests(unfinished: usize) -> String {
    match unfinished {
        0 => String::new(),
        1 => " with 1 request unfinished".to_owned(),
        several => format!(" with {several} requests unfinished"),
    }
}

fn signalled(number: i32, has_dumped: bool, is_short_of_memory: bool) -> String {
    let signal = Signal::try_from(number)
        .map_or_else(|_| format!("signal {number}"), |signal| signal.to_string());
    let core = if has_dumped { " (core dumped)" } else { "" };
    let hint = if is_short_of_memory {
        " before it was ready (memory-limit= or virtual-memory-limit= may be too low)"
    } else {
        ""
    };
    format!("was ended by {signal}{core}{hint}")
}

/// Python does not always live to say that it has too little.
const fn has_limited_memory(config: &GroupConfig) -> bool {
    config.memory_limit > 0 || config.virtual_memory_limit > 0
}
