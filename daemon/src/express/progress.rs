//! Tells the person at the terminal how the start goes: that the application is
//! still loading, that it is ready, that it failed to load. Asks the supervisor
//! at its control socket; `foreground` starts it and says when to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wsgid_protocol::control::Command;
use wsgid_protocol::status::{GroupState, Status, WorkerStatus};

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
            let stage = match client::exchange::<Status>(&start.socket, &Command::Status) {
                Ok(Ok(status)) => StartStage::of(&status, &start.group),
                Ok(Err(_)) | Err(_) => StartStage::Loading,
            };
            let elapsed = started.elapsed();
            if let Some(text) = stage.text(&start, elapsed) {
                say(&format!("wsgid: {text}"));
            }
            if stage != StartStage::Loading {
                return;
            }
            if elapsed >= next_word && !stop.load(Ordering::Relaxed) {
                let seconds = next_word.as_secs();
                let text = format!("wsgid: the application is still loading ({seconds} s)");
                say(&text);
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
    /// A script could not be loaded.
    Broken,
    /// No process can be started.
    Failed(String),
}

impl StartStage {
    fn of(status: &Status, name: &str) -> Self {
        let Some(group) = status.group(name) else {
            return Self::Loading;
        };
        if let Some(problem) = &group.problem {
            return Self::Failed(problem.clone());
        }
        if group.workers().any(WorkerStatus::is_ready) {
            let mut workers = group.workers();
            let broken = workers.any(|worker| !worker.failed_scripts.is_empty());
            return if broken { Self::Broken } else { Self::Ready };
        }
        let mut pools = group.pools.iter();
        let failed = pools.find(|pool| pool.state == GroupState::Failed);
        let cause = failed.and_then(|pool| pool.cause.clone());
        cause.map_or(Self::Loading, Self::Failed)
    }

    /// What is said about it; a start that is as fast as expected says nothing.
    fn text(&self, start: &ApplicationStart, elapsed: Duration) -> Option<String> {
        let log = &start.error_log;
        let text = match self {
            Self::Loading => return None,
            Self::Ready if elapsed < SLOW => return None,
            Self::Ready => {
                let seconds = elapsed.as_secs_f64();
                format!("the application is ready after {seconds:.1} s")
            }
            Self::Broken => format!("the application failed to load; the reason is in {log}"),
            Self::Failed(cause) => {
                let cause = wsgid_protocol::readable::escaped(cause.as_bytes());
                format!("the application's process cannot be started: {cause}; see {log}")
            }
        };
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::status::{FailedScript, GroupStatus, PoolStatus, WorkerPhase};

    use super::*;

    fn stage(group: GroupStatus) -> StartStage {
        let groups = vec![GroupStatus::default(), group];
        let status = Status {
            groups,
            ..Status::default()
        };
        StartStage::of(&status, "site")
    }

    fn site(pool: PoolStatus) -> GroupStatus {
        GroupStatus {
            name: "site".to_owned(),
            pools: vec![pool],
            ..GroupStatus::default()
        }
    }

    fn with_workers(workers: &[(WorkerPhase, &[&str])]) -> StartStage {
        let failed = |script: &&str| FailedScript {
            script: (*script).to_owned(),
            ..FailedScript::default()
        };
        let worker = |(state, scripts): &(WorkerPhase, &[&str])| WorkerStatus {
            state: *state,
            failed_scripts: scripts.iter().map(failed).collect(),
            ..WorkerStatus::default()
        };
        stage(site(PoolStatus {
            state: GroupState::Running,
            workers: workers.iter().map(worker).collect(),
            ..PoolStatus::default()
        }))
    }

    #[test]
    fn stages_are_told_apart() {
        use WorkerPhase::{Ready, Starting};
        assert_eq!(
            StartStage::of(&Status::default(), "site"),
            StartStage::Loading
        );
        assert_eq!(with_workers(&[]), StartStage::Loading);
        assert_eq!(with_workers(&[(Starting, &[])]), StartStage::Loading);
        assert_eq!(
            with_workers(&[(Starting, &[]), (Ready, &[])]),
            StartStage::Ready
        );
        assert_eq!(with_workers(&[(Ready, &["/a.py"])]), StartStage::Broken);
        let failed = stage(site(PoolStatus {
            state: GroupState::Failed,
            cause: Some("no python".to_owned()),
            ..PoolStatus::default()
        }));
        assert_eq!(failed, StartStage::Failed("no python".to_owned()));
        let problem = stage(GroupStatus {
            problem: Some("no user".to_owned()),
            ..site(PoolStatus::default())
        });
        assert_eq!(problem, StartStage::Failed("no user".to_owned()));
    }
}
