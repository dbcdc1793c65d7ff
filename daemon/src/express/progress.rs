//! Tells the person at the terminal how the start goes: that the application is
//! still loading, that it is ready, that it failed to load. Asks the supervisor
//! at its control socket; `foreground` starts it and says when to stop.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wsgid_protocol::control::Command;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::status::{GroupState, Status};

use super::terminal::say;
use super::traceback;
use crate::command::client;

/// How often the supervisor is asked.
const INTERVAL: Duration = Duration::from_millis(250);
/// From here on a start is slow. Each further word waits twice as long.
const SLOW: Duration = Duration::from_secs(3);

/// Between two questions to one that has failed, which may be mended.
const MENDED_INTERVAL: Duration = Duration::from_secs(1);

/// The start that is watched.
#[derive(Debug)]
pub(crate) struct ApplicationStart {
    /// The supervisor's control socket; it appears with the supervisor.
    pub(crate) socket: PathBuf,
    /// The process group of the application; `None` if only files are served.
    pub(crate) group: Option<String>,
    /// Where the reasons of failures are.
    pub(crate) error_log: String,
    /// Where it is served.
    pub(crate) url: String,
    /// The address and port at which httpd listens.
    pub(crate) address: (String, u16),
    /// The directory of what was generated.
    pub(crate) root: PathBuf,
    /// Whether one that has failed is waited for.
    pub(crate) keep_going: bool,
}

/// Watches the start in a thread of its own until it is over or `stop` is set; `over` hears
/// whether the server is ready.
pub(crate) fn watch(
    start: ApplicationStart,
    stop: Arc<AtomicBool>,
    over: impl FnOnce(bool) + Send + 'static,
) {
    std::thread::spawn(move || {
        let started = Instant::now();
        let mut next_word = SLOW;
        let mut said = None;
        let mut interval = INTERVAL;
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(interval);
            let stage = start.stage();
            let elapsed = started.elapsed();
            let ended = stop.load(Ordering::Relaxed);
            if let Some(text) = stage.text(&start, elapsed).filter(|_| !ended)
                && said.as_ref() != Some(&text)
            {
                say(&format!("wsgid: {text}"));
                said = Some(text);
            }
            match stage {
                _ if ended => return,
                StartStage::Loading => {}
                StartStage::Ready => return over(true),
                _ if start.keep_going => interval = MENDED_INTERVAL,
                _ => return over(false),
            }
            if elapsed >= next_word && said.is_none() {
                let seconds = next_word.as_secs();
                let text = format!("wsgid: the application is still loading ({seconds} s)");
                say(&text);
                next_word *= 2;
            }
        }
    });
}

impl ApplicationStart {
    fn is_listening(&self) -> bool {
        let (host, port) = &self.address;
        TcpStream::connect((host.as_str(), *port)).is_ok()
    }

    fn stage(&self) -> StartStage {
        match &self.group {
            Some(group) => match client::exchange::<Status>(&self.socket, &Command::Status) {
                Ok(Ok(status)) => StartStage::of(&status, group),
                Ok(Err(_)) | Err(_) => StartStage::Loading,
            },
            // httpd closes a port that it was not asked to serve.
            None if self.is_listening() => StartStage::Ready,
            None => StartStage::Loading,
        }
    }
}

/// How far the start has come.
#[derive(Debug, PartialEq, Eq)]
enum StartStage {
    Loading,
    Ready,
    /// A script could not be loaded: what Python says.
    Broken(String),
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
        let ready = group.workers().filter(|worker| worker.is_ready());
        let failed = ready.map(|worker| worker.failed_scripts.first());
        // One that works serves.
        match failed.min_by_key(Option::is_some) {
            Some(None) => return Self::Ready,
            Some(Some(script)) => return Self::Broken(script.traceback.clone()),
            None => {}
        }
        let mut pools = group.pools.iter();
        let is_hopeless = |state| matches!(state, GroupState::Failed | GroupState::CannotStart);
        let failed = pools.find(|pool| is_hopeless(pool.state));
        let cause =
            failed.and_then(|pool| pool.cause.clone().or_else(|| pool.last_problem.clone()));
        cause.map_or(Self::Loading, Self::Failed)
    }

    /// What is said about it.
    fn text(&self, start: &ApplicationStart, elapsed: Duration) -> Option<String> {
        let log = &start.error_log;
        let text = match self {
            Self::Loading => return None,
            Self::Ready => {
                let seconds = elapsed.as_secs_f64();
                format!("ready at {} after {seconds:.1} s", start.url)
            }
            Self::Broken(traceback) => {
                let why = traceback::in_one_line(traceback, &start.root);
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                let why = escaped(why.as_bytes());
                format!("the application failed to load{why}; the traceback is in {log}")
            }
            Self::Failed(cause) => {
                let cause = escaped(cause.as_bytes());
                format!("the application's process cannot be started: {cause}; see {log}")
            }
        };
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::status::{
        FailedScript, GroupStatus, PoolStatus, WorkerPhase, WorkerStatus,
    };

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
            traceback: format!("Traceback of {script}"),
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
        let broken = StartStage::Broken("Traceback of /a.py".to_owned());
        assert_eq!(with_workers(&[(Ready, &["/a.py"])]), broken);
        assert_eq!(
            with_workers(&[(Ready, &["/a.py"]), (Ready, &[])]),
            StartStage::Ready
        );
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
