//! One step of a check: a process of this program that is given a task on its standard
//! input, and whose answer is read from its output. Nothing of it stays.

use std::process::Command;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::process::bounded;

/// What a process of a check is there for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum CheckStep {
    /// Looks at the group's files, and asks its Python which one it is.
    Probe,
    /// Sees what the next one is denied.
    Trace,
    /// Enters the isolation and becomes the site's Python.
    Enter,
}

impl CheckStep {
    const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Trace => "trace",
            Self::Enter => "enter",
        }
    }

    /// This program, to take the step.
    pub(super) fn command(self) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["check", "--step", self.name()]).env_clear();
        command
    }
}

/// Has it taken.
pub(super) fn take<T: DeserializeOwned>(
    step: CheckStep,
    task: &impl Serialize,
    limit: Duration,
) -> Result<T, String> {
    let failed = |error: &dyn std::fmt::Display| format!("it could not be tried: {error}");
    let text = serde_json::to_vec(task).map_err(|error| failed(&error))?;
    let outcome = bounded::run_whole(&mut step.command(), &text, limit);
    let outcome = outcome.map_err(|error| failed(&error))?;
    let Some(status) = outcome.status else {
        return Err(failed(&format!(
            "there was no answer for {} s",
            limit.as_secs()
        )));
    };
    serde_json::from_slice(&outcome.out).map_err(|_| failed(&status))
}
