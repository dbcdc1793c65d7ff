//! What an operator asks: status, restart, stop, start, dump. Root and the
//! supervisor's own user may do everything; the user of a group sees and
//! commands that group.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Value, json};
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot;
use wsgid_protocol::control::{Command, ToWorker};
use wsgid_protocol::limits::REPORTS_TIMEOUT;

use super::workers::cut;
use super::{GivenUp, Group, PoolEntry, Supervisor, WorkerEntry};
use crate::channel::operator::{OperatorCommand, error, may_everything};
use crate::log;
use wsgid_policy::ids::PoolId;
use wsgid_policy::ids::WorkerId;
use wsgid_policy::pool::{Event, Member, Mode, Phase};

/// How long a dump waits for workers that do not answer.
const DUMP_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of tracebacks in one status. As JSON they may be six times as long, and
/// an answer has to fit into one frame.
const TRACEBACKS_MAX: usize = 2 << 20;
/// The same for the stacks of one dump.
const STACKS_MAX: usize = 2 << 20;

/// A status that waits for the reports of workers.
pub(super) struct PendingStatus {
    uid: u32,
    waits_for: BTreeSet<WorkerId>,
    pub(super) until: Instant,
    answer: oneshot::Sender<Value>,
}

impl Supervisor {
    pub(super) fn asked(&mut self, asked: OperatorCommand) {
        let OperatorCommand {
            command,
            uid,
            answer,
        } = asked;
        if let Command::Dump { group } = &command {
            match self.permitted(uid, group) {
                Ok(()) => self.dump(&group.clone(), answer),
                Err(refusal) => drop(answer.send(refusal)),
            }
            return;
        }
        if command == Command::Status {
            self.begin_status(uid, answer);
            return;
        }
        let value = match command {
            Command::Restart { group } => self.command(uid, &group, Event::Restart),
            Command::Stop { group } => self.command(uid, &group, Event::Stop),
            Command::Start { group } => self.command(uid, &group, Event::Start),
            Command::Status | Command::Dump { .. } => Value::Null,
            Command::Reload | Command::Reexec if !may_everything(uid) => error(
                "denied",
                &format!("uid {uid} may not command the supervisor"),
            ),
            Command::Reload if self.source.is_some() => {
                json!({ "ok": true, "problems": self.reload() })
            }
            Command::Reload => error(
                "unsupported",
                "this supervisor is configured by httpd; say apachectl graceful",
            ),
            Command::Reexec => self.begin_reexec(),
        };
        let _ = answer.send(value);
    }

    fn may(uid: u32, group: &Group) -> bool {
        let owner = group
            .definition
            .identity
            .as_ref()
            .map(|identity| identity.uid);
        // A group that runs as httpd's user has no owner of its own.
        may_everything(uid)
            || owner.is_ok_and(|owner| owner == uid && owner != group.definition.httpd_uid)
    }

    fn permitted(&self, uid: u32, name: &str) -> Result<(), Value> {
        match self.groups.get(name) {
            Some(group) if Self::may(uid, group) => Ok(()),
            None if may_everything(uid) => Err(error(
                "no-such-group",
                &format!("process group `{name}` is not defined"),
            )),
            // Whether it exists is nobody's business.
            _ => Err(error("denied", &self.denial(uid, name))),
        }
    }

    /// The same words whether the group exists or not.
    fn denial(&self, uid: u32, name: &str) -> String {
        let who = match self.allowed.get() == Some(uid) {
            true => "it is httpd's own user, which owns none",
            false => "only root and the user that it runs as may",
        };
        format!("uid {uid} may not command process group `{name}`: {who}")
    }

    fn command(&mut self, uid: u32, name: &str, event: Event) -> Value {
        if let Err(refusal) = self.permitted(uid, name) {
            return refusal;
        }
        let Some(group) = self.groups.get_mut(name) else {
            return Value::Null;
        };
        match event {
            Event::Stop => group.stopped = true,
            Event::Start | Event::Restart => group.stopped = false,
            _ => {}
        }
        let pools: Vec<PoolId> = group.pools.values().copied().collect();
        tracing::info!("uid {uid} commands process group `{name}`: {event:?}");
        for pool in &pools {
            self.pool_event(*pool, event.clone());
        }
        json!({ "ok": true, "group": name, "pools": pools.len() })
    }

    fn dump(&mut self, name: &str, answer: oneshot::Sender<Value>) {
        let pools: Vec<PoolId> = self
            .groups
            .get(name)
            .map(|group| group.pools.values().copied().collect())
            .unwrap_or_default();
        let (dumps, mut stacks) = channel(1024);
        let mut asked: usize = 0;
        // Those that are being started too: it shows what they wait for.
        for worker in self
            .workers
            .values_mut()
            .filter(|worker| pools.contains(&worker.pool))
        {
            worker.dumps.push(dumps.clone());
            worker.handle.send(ToWorker::Dump);
            asked += 1;
        }
        drop(dumps);
        tokio::spawn(async move {
            let mut got = Vec::new();
            let collect = async {
                while let Some((pid, text)) = stacks.recv().await {
                    got.push(json!({ "pid": pid, "stacks": cut(text, STACKS_MAX / asked) }));
                }
            };
            let _ = tokio::time::timeout(DUMP_TIMEOUT, collect).await;
            let _ = answer.send(json!({ "ok": true, "asked": asked, "workers": got }));
        });
    }

    /// Opens the log files of groups again, after a rotation.
    pub(super) fn reopen_logs(&mut self) {
        tracing::info!("SIGHUP: log files are opened again");
        for group in self.groups.values() {
            let wsgid_protocol::config::LogTarget::File(path) = &group.definition.config.log else {
                continue;
            };
            let Ok(identity) = &group.definition.identity else {
                continue;
            };
            match log::open_as(path, Some(identity)) {
                Ok(file) => group
                    .target
                    .set(log::LogDestination::File(std::sync::Arc::new(file))),
                Err(error) => {
                    tracing::error!("failed to open the log `{}` again: {error}", path.display())
                }
            }
        }
    }

    /// The loop ends for it as soon as the answer is on its way.
    fn begin_reexec(&mut self) -> Value {
        // Each descriptor is there twice for a moment.
        let wanted =
            2 * (self.connections.len() + 6 * self.workers.len() + self.files.len() + 64) as u64;
        let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        if wanted > most {
            return error(
                "failed",
                &format!(
                    "{wanted} descriptors are needed for it and {most} are allowed; raise LimitNOFILE"
                ),
            );
        }
        if self.leaving {
            return error("failed", "the supervisor is about to end");
        }
        self.reexec = true;
        json!({ "ok": true, "pid": std::process::id(), "reexecs": self.reexecs })
    }

    /// Asks the workers what they do just now, and answers when all have said
    /// it, or after a short while.
    fn begin_status(&mut self, uid: u32, answer: oneshot::Sender<Value>) {
        let visible = |worker: &WorkerEntry| {
            let group = self
                .pools
                .get(&worker.pool)
                .and_then(|pool| self.groups.get(&pool.group));
            worker.python.is_some() && group.is_some_and(|group| Self::may(uid, group))
        };
        let asked = self
            .workers
            .iter()
            .filter(|(_, worker)| visible(worker) && worker.handle.send(ToWorker::Query));
        let waits_for = asked.map(|(id, _)| *id).collect();
        self.statuses.push(PendingStatus {
            uid,
            waits_for,
            until: Instant::now() + REPORTS_TIMEOUT,
            answer,
        });
        self.finish_statuses(Instant::now());
    }

    /// A worker has said what it does, or has ended.
    pub(super) fn reported(&mut self, worker: WorkerId) {
        for status in &mut self.statuses {
            status.waits_for.remove(&worker);
        }
    }

    pub(super) fn finish_statuses(&mut self, now: Instant) {
        let done = |status: &PendingStatus| status.waits_for.is_empty() || status.until <= now;
        let (done, rest) = std::mem::take(&mut self.statuses)
            .into_iter()
            .partition(done);
        self.statuses = rest;
        let done: Vec<PendingStatus> = done;
        for status in done {
            let _ = status
                .answer
                .send(self.status(status.uid, &status.waits_for));
        }
    }

    /// `silent`: those that did not answer; what is said of them is older.
    fn status(&self, uid: u32, silent: &BTreeSet<WorkerId>) -> Value {
        let visible = || {
            self.groups
                .iter()
                .filter(|(_, group)| Self::may(uid, group))
        };
        let pools: BTreeSet<PoolId> = visible()
            .flat_map(|(_, group)| group.pools.values().copied())
            .collect();
        let telling = Telling {
            silent,
            tracebacks: self.len_of_tracebacks(&pools) <= TRACEBACKS_MAX,
        };
        let groups: Vec<Value> = visible()
            .map(|(name, group)| self.group_status(name, group, telling))
            .collect();
        let mut status = json!({
            "ok": true,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs(),
            "shortened": !telling.tracebacks,
            "groups": groups,
        });
        if may_everything(uid)
            && let Some(map) = status.as_object_mut()
        {
            map.insert("reexec_problem".to_owned(), json!(self.reexec_problem));
            map.insert("reexecs".to_owned(), json!(self.reexecs));
            map.insert(
                "control_groups_problem".to_owned(),
                json!(self.resources.groups.problem()),
            );
            map.insert("connections".to_owned(), json!(self.connections.len()));
            map.insert(
                "generations".to_owned(),
                json!(self.known.keys().collect::<Vec<_>>()),
            );
        }
        status
    }

    /// Of all that these pools would tell of scripts that failed to load.
    fn len_of_tracebacks(&self, pools: &BTreeSet<PoolId>) -> usize {
        let workers = self
            .workers
            .values()
            .filter(|worker| pools.contains(&worker.pool))
            .map(|worker| &worker.failed);
        let given_up = pools
            .iter()
            .filter_map(|pool| Some(&self.pools.get(pool)?.given_up.as_ref()?.failed));
        workers
            .chain(given_up)
            .flatten()
            .map(|(path, text)| path.as_os_str().len() + text.len())
            .sum()
    }

    fn group_status(&self, name: &str, group: &Group, telling: Telling<'_>) -> Value {
        let pools = group.pools.values();
        let pools: Vec<Value> = pools
            .filter_map(|pool| Some(self.pool_status(*pool, self.pools.get(pool)?, telling)))
            .collect();
        let config = &group.definition.config;
        json!({
            "name": name,
            "origin": config.origin,
            "user": group.definition.identity.as_ref().map(|identity| identity.user.as_str()).ok(),
            "problem": group.definition.identity.as_ref().err().map(ToString::to_string),
            "processes": config.processes,
            "processes_max": config.processes_limit(),
            "threads": config.threads,
            "stopped": group.stopped,
            "removed": group.removed,
            "control_group": self.resources.groups.status(name),
            "gives_way": self.gives_way(name),
            "pools": pools,
        })
    }

    fn pool_status(&self, id: PoolId, pool: &PoolEntry, telling: Telling<'_>) -> Value {
        let members = pool.machine.members();
        let workers: Vec<Value> = members
            .filter_map(|(worker, member)| self.worker_status(worker, member, telling))
            .collect();
        let causes: Vec<Value> = pool
            .causes
            .iter()
            .map(|(at, text)| {
                let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                json!({ "at": at, "text": text })
            })
            .collect();
        let (state, cause) = match pool.machine.mode() {
            Mode::Running => ("running", None),
            Mode::Stopped => ("stopped", None),
            Mode::Failed { cause, .. } => ("failed", Some(cause.as_str())),
            Mode::Leaving { .. } => ("leaving", None),
        };
        json!({
            "application_group": pool.application_group,
            "from_request": pool.from_request,
            "state": state,
            "cause": cause,
            "generation": pool.machine.generation(),
            "next_generation": pool.machine.next_generation(),
            "last_problem": pool.machine.last_problem(),
            "given_up": pool.given_up.as_ref().map(|given_up| telling.of_given_up(given_up)),
            "waiting": self.connections.waiting(id),
            "preloader": self.preloading.status((id, pool.machine.generation())),
            "restarts": pool.restarts,
            "causes": causes,
            "workers": workers,
        })
    }

    fn worker_status(&self, id: WorkerId, member: &Member, telling: Telling<'_>) -> Option<Value> {
        let worker: &WorkerEntry = self.workers.get(&id)?;
        let state = match member.phase {
            Phase::Queued => "queued",
            Phase::Starting { .. } => "starting",
            Phase::Ready { .. } => "ready",
            Phase::Draining { .. } => "draining",
            Phase::Stopping { .. } | Phase::Terminated { .. } | Phase::Killed => "stopping",
        };
        let failed = telling.of(&worker.failed);
        Some(json!({
            "pid": worker.handle.pid,
            "slot": worker.slot,
            "generation": worker.generation,
            "state": state,
            "replacing": member.recycling().map(|reason| format!("{reason:?}")),
            "python": worker.python.map(|(major, minor, patch)| format!("{major}.{minor}.{patch}")),
            "uptime_s": worker.started.elapsed().as_secs(),
            "answers": !telling.silent.contains(&id),
            "requests": worker.report.requests,
            "in_flight": worker.report.in_flight,
            "busy_us": worker.report.busy_us,
            "histogram": worker.report.histogram,
            "connections": worker.connections.len(),
            "failed_scripts": failed,
        }))
    }
}

/// What a status is to hold.
#[derive(Clone, Copy)]
struct Telling<'a> {
    /// Workers that did not answer.
    silent: &'a BTreeSet<WorkerId>,
    /// Whether what scripts failed with fits in.
    tracebacks: bool,
}

impl Telling<'_> {
    fn of_given_up(self, given_up: &GivenUp) -> Value {
        json!({
            "at": given_up.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            "generation": given_up.generation,
            "why": given_up.why,
            "failed_scripts": self.of(&given_up.failed),
        })
    }

    /// Scripts that failed to load.
    fn of(self, failed: &BTreeMap<PathBuf, String>) -> Vec<Value> {
        let told = failed.iter().filter(|_| self.tracebacks);
        told.map(|(script, traceback)| json!({ "script": script, "traceback": traceback }))
            .collect()
    }
}
