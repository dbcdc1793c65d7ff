//! Tells the person at the terminal how the start goes: that the application is
//! still loading, that it is ready, that it failed to load. Asks the supervisor
//! at its control socket; `foreground` starts it and says when to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use wsgid_protocol::control::Command;

use super::terminal::say;
use crate::command::client;

/// How often the supervisor is asked.
const INTERVAL: Duration = Duration::from_millis(250);
/// From here on a start is slow. Each further word waits twice as long.
const SLOW: Duration = Duration::from_secs(3);

/// The start that is watched.
#[derive(Debug)]
pub(crate) struct ApplicationStart {
    /// The supervisor's control socket; it appears with the supervisor.
    pub(crate) socket: PathBuf,
    /// The process group of the application.
    pub(crate) group: String,
    /// Where the reasons of failures are.
    pub(crate) error_log: String,
}

/// Watches the start in a thread of its own until it is over or `stop` is set.
pub(crate) fn watch(start: ApplicationStart, stop: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let started = Instant::now();
        let mut next_word = SLOW;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(INTERVAL);
            let group = client::exchange(&start.socket, &Command::Status)
                .ok()
                .and_then(|mut answer| {
                    let groups = answer.get_mut("groups")?.as_array_mut()?;
                    groups
                        .iter_mut()
                        .find(|group| group["name"] == start.group.as_str())
                        .map(Value::take)
                });
            let stage = group.as_ref().map_or(StartStage::Loading, StartStage::of);
            if let Some(text) = stage.text(&start, started.elapsed()) {
                say(&format!("wsgid: {text}"));
            }
            if !matches!(stage, StartStage::Loading) {
                return;
            }
            if started.elapsed() >= next_word && !stop.load(Ordering::Relaxed) {
                say(&format!(
                    "wsgid: the application is still loading ({} s)",
                    next_word.as_secs()
                ));
                next_word *= 2;
            }
        }
    });
}

/// How far the start has come.
#[derive(Debug, PartialEq, Eq)]
enum StartStage {
    Loading,
    Ready,
    /// These scripts could not be loaded.
    Broken(Vec<String>),
    /// No process can be started.
    Failed(String),
}

impl StartStage {
    fn of(group: &Value) -> Self {
        if let Some(problem) = group["problem"].as_str() {
            return Self::Failed(problem.to_owned());
        }
        let pools = || group["pools"].as_array().into_iter().flatten();
        let workers = || pools().flat_map(|pool| pool["workers"].as_array().into_iter().flatten());
        if workers().any(|worker| worker["state"] == "ready") {
            let scripts = workers()
                .flat_map(|worker| worker["failed_scripts"].as_array().into_iter().flatten());
            let mut failed: Vec<String> = scripts
                .filter_map(|script| script["script"].as_str().map(str::to_owned))
                .collect();
            failed.sort();
            failed.dedup();
            return if failed.is_empty() {
                Self::Ready
            } else {
                Self::Broken(failed)
            };
        }
        let cause = pools()
            .find(|pool| pool["state"] == "failed")
            .and_then(|pool| pool["cause"].as_str());
        cause.map_or(Self::Loading, |cause| Self::Failed(cause.to_owned()))
    }

    /// What is said about it; a start that is as fast as expected says nothing.
    fn text(&self, start: &ApplicationStart, elapsed: Duration) -> Option<String> {
        let log = &start.error_log;
        match self {
            Self::Loading => None,
            Self::Ready if elapsed < SLOW => None,
            Self::Ready => Some(format!(
                "the application is ready after {:.1} s",
                elapsed.as_secs_f64()
            )),
            Self::Broken(_) => Some(format!(
                "the application failed to load; the reason is in {log}"
            )),
            Self::Failed(cause) => {
                let cause = crate::log::escaped(cause.as_bytes());
                Some(format!(
                    "the application's process cannot be started: {cause}; see {log}"
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stages_are_told_apart() {
        let of = |workers: Value| {
            StartStage::of(&json!({ "pools": [{ "state": "running", "workers": workers }] }))
        };
        assert_eq!(of(json!([])), StartStage::Loading);
        assert_eq!(of(json!([{ "state": "starting" }])), StartStage::Loading);
        assert_eq!(
            of(json!([{ "state": "starting" }, { "state": "ready", "failed_scripts": [] }])),
            StartStage::Ready
        );
        let failed = json!([{ "state": "ready", "failed_scripts": [{ "script": "/a.py" }] }]);
        assert_eq!(of(failed), StartStage::Broken(vec!["/a.py".to_owned()]));
        let none = json!({ "pools": [{ "state": "failed", "cause": "no python", "workers": [] }] });
        assert_eq!(
            StartStage::of(&none),
            StartStage::Failed("no python".to_owned())
        );
        assert_eq!(
            StartStage::of(&json!({ "problem": "no user" })),
            StartStage::Failed("no user".to_owned())
        );
    }
}
