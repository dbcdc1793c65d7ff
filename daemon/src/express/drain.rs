//! From SIGTERM until httpd is told to end (`--drain-delay`): the server serves on and says that
//! it is not ready, so that whoever balances load sends nothing more. And the file that is
//! there as long as it is ready. Owned by `foreground`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use wsgid_protocol::control::Command;

use super::plan::ServerPlan;
use super::terminal::say;
use crate::atomic_write::write_whole;
use crate::command::client;

/// `timeout` and others signal a process and its group: that is one wish.
pub(crate) const SAME_WISH: Duration = Duration::from_secs(1);

/// `--ready-file`.
#[derive(Clone, Debug)]
pub(crate) struct ReadyMark(Option<PathBuf>);

impl ReadyMark {
    /// One that a server before has left behind says nothing of this one.
    pub(crate) fn of(plan: &ServerPlan) -> Self {
        let mark = Self(plan.options.deploy.ready_file.clone());
        mark.remove();
        mark
    }

    pub(crate) fn make(&self, url: &str) {
        let Some(path) = &self.0 else { return };
        if let Err(error) = write_whole(path, format!("{url}\n").as_bytes(), 0o644) {
            let path = path.display();
            say(&format!(
                "wsgid: failed to write `{path}` (--ready-file): {error}"
            ));
        }
    }

    pub(crate) fn remove(&self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The time between the wish that the server ends and the end.
#[derive(Debug)]
pub(crate) struct DrainDelay {
    delay: Duration,
    socket: PathBuf,
    since: Option<Instant>,
}

impl DrainDelay {
    pub(crate) fn new(plan: &ServerPlan, socket: &Path) -> Self {
        let delay = if plan.uses_wsgi() {
            plan.options.deploy.drain_delay
        } else {
            0
        };
        Self {
            delay: Duration::from_secs(delay.into()),
            socket: socket.to_owned(),
            since: None,
        }
    }

    /// SIGTERM came. Returns whether the end can wait.
    pub(crate) fn puts_off(&mut self) -> bool {
        match self.since {
            None if self.delay.is_zero() => false,
            None => {
                self.since = Some(Instant::now());
                self.begin();
                true
            }
            Some(since) => since.elapsed() < SAME_WISH,
        }
    }

    /// How long until the end, if it is on its way.
    pub(crate) fn left(&self) -> Option<Duration> {
        Some(self.delay.saturating_sub(self.since?.elapsed()))
    }

    fn begin(&self) {
        let seconds = self.delay.as_secs();
        say(&format!(
            "wsgid: no longer ready; it serves on for {seconds} s and then ends (another signal: now)"
        ));
        let socket = self.socket.clone();
        // A supervisor that does not answer puts nothing off.
        std::thread::spawn(move || {
            let command = Command::Drain {
                group: None,
                on: true,
            };
            let told = client::exchange::<Value>(&socket, &command);
            let problem = match told {
                Ok(Ok(_)) => return,
                Ok(Err(refused)) => refused.to_string(),
                Err(error) => error.to_string(),
            };
            say(&format!("wsgid: probes were not told of it: {problem}"));
        });
    }
}
