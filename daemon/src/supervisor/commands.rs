//! What an operator asks: status, restart, stop, start, dump. Root and the
//! supervisor's own user may do everything; the user of a group sees and
//! commands that group.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc::channel;
use wsgid_protocol::control::{Command, ToWorker};

use super::{Group, PoolEntry, Supervisor, WorkerEntry};
use crate::connections::PoolId;
use crate::control::{Asked, error};
use crate::log;
use crate::pool::{Event, Member, Mode, Phase, WorkerId};

/// How long a dump waits for workers that do not answer.
const DUMP_TIMEOUT: Duration = Duration::from_secs(5);

impl Supervisor {
    pub(super) fn asked(&mut self, asked: Asked) {
        let Asked { command, uid, answer } = asked;
        if let Command::Dump { group } = &command {
            match self.permitted(uid, group) {
                Ok(()) => self.dump(&group.clone(), answer),
                Err(refusal) => drop(answer.send(refusal)),
            }
            return;
        }
        let value = match command {
            Command::Status => self.status(uid),
            Command::Restart { group } => self.command(uid, &group, Event::Restart),
            Command::Stop { group } => self.command(uid, &group, Event::Stop),
            Command::Start { group } => self.command(uid, &group, Event::Start),
            Command::Dump { .. } => Value::Null,
            Command::Reload | Command::Reexec if !Self::may_everything(uid) => {
                error("denied", &format!("uid {uid} may not command the supervisor"))
            }
            Command::Reload if self.source.is_some() => json!({ "ok": true, "problems": self.reload() }),
            Command::Reload => error("unsupported", "this supervisor is configured by httpd; say apachectl graceful"),
            Command::Reexec => error("unsupported", "this supervisor cannot replace its own program; restart it"),
        };
        let _ = answer.send(value);
    }

    fn may_everything(uid: u32) -> bool {
        uid == 0 || uid == nix::unistd::geteuid().as_raw()
    }

    fn may(uid: u32, group: &Group) -> bool {
        let owner = group.definition.identity.as_ref().map(|identity| identity.uid);
        // A group that runs as httpd's user has no owner of its own.
        Self::may_everything(uid) || owner.is_ok_and(|owner| owner == uid && owner != group.definition.httpd_uid)
    }

    fn permitted(&self, uid: u32, name: &str) -> Result<(), Value> {
        match self.groups.get(name) {
            Some(group) if Self::may(uid, group) => Ok(()),
            None if Self::may_everything(uid) => {
                Err(error("no-such-group", &format!("process group `{name}` is not defined")))
            }
            // Whether it exists is nobody's business.
            _ => Err(error("denied", &format!("uid {uid} may not command process group `{name}`"))),
        }
    }

    fn command(&mut self, uid: u32, name: &str, event: Event) -> Value {
        if let Err(refusal) = self.permitted(uid, name) {
            return refusal;
        }
        let Some(group) = self.groups.get_mut(name) else { return Value::Null };
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

    fn dump(&mut self, name: &str, answer: tokio::sync::oneshot::Sender<Value>) {
        let pools: Vec<PoolId> =
            self.groups.get(name).map(|group| group.pools.values().copied().collect()).unwrap_or_default();
        let (dumps, mut stacks) = channel(1024);
        let mut asked = 0;
        for worker in self.workers.values_mut().filter(|worker| pools.contains(&worker.pool) && worker.python.is_some())
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
                    got.push(json!({ "pid": pid, "stacks": text }));
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
            let wsgid_protocol::config::LogTarget::File(path) = &group.definition.config.log else { continue };
            match log::open_as(path, group.definition.identity.as_ref().ok()) {
                Ok(file) => group.target.set(Some(std::sync::Arc::new(file))),
                Err(error) => tracing::error!("failed to open the log `{}` again: {error}", path.display()),
            }
        }
    }

    fn status(&self, uid: u32) -> Value {
        let groups: Vec<Value> = self
            .groups
            .iter()
            .filter(|(_, group)| Self::may(uid, group))
            .map(|(name, group)| self.group_status(name, group))
            .collect();
        let mut status = json!({
            "ok": true,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs(),
            "groups": groups,
        });
        if Self::may_everything(uid)
            && let Some(map) = status.as_object_mut()
        {
            map.insert("connections".to_owned(), json!(self.connections.len()));
            map.insert("generations".to_owned(), json!(self.known.keys().collect::<Vec<_>>()));
        }
        status
    }

    fn group_status(&self, name: &str, group: &Group) -> Value {
        let pools: Vec<Value> =
            group.pools.values().filter_map(|pool| Some(self.pool_status(*pool, self.pools.get(pool)?))).collect();
        let config = &group.definition.config;
        json!({
            "name": name,
            "origin": config.origin,
            "user": group.definition.identity.as_ref().map(|identity| identity.user.as_str()).ok(),
            "problem": group.definition.identity.as_ref().err(),
            "processes": config.processes,
            "processes_max": config.processes_limit(),
            "threads": config.threads,
            "stopped": group.stopped,
            "removed": group.removed,
            "pools": pools,
        })
    }

    fn pool_status(&self, id: PoolId, pool: &PoolEntry) -> Value {
        let workers: Vec<Value> =
            pool.machine.members().filter_map(|(worker, member)| self.worker_status(worker, member)).collect();
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
            "state": state,
            "cause": cause,
            "generation": pool.machine.generation(),
            "next_generation": pool.machine.next_generation(),
            "last_problem": pool.machine.last_problem(),
            "waiting": self.connections.waiting(id),
            "restarts": pool.restarts,
            "causes": causes,
            "workers": workers,
        })
    }

    fn worker_status(&self, id: WorkerId, member: &Member) -> Option<Value> {
        let worker: &WorkerEntry = self.workers.get(&id)?;
        let state = match member.phase {
            Phase::Queued => "queued",
            Phase::Starting { .. } => "starting",
            Phase::Ready { .. } => "ready",
            Phase::Draining { .. } => "draining",
            Phase::Stopping { .. } | Phase::Terminated { .. } | Phase::Killed => "stopping",
        };
        let failed: Vec<Value> = worker
            .failed
            .iter()
            .map(|(script, traceback)| json!({ "script": script, "traceback": traceback }))
            .collect();
        Some(json!({
            "pid": worker.handle.pid,
            "slot": worker.slot,
            "generation": worker.generation,
            "state": state,
            "replacing": member.recycling().map(|reason| format!("{reason:?}")),
            "python": worker.python.map(|(major, minor, patch)| format!("{major}.{minor}.{patch}")),
            "uptime_s": worker.started.elapsed().as_secs(),
            "requests": worker.report.requests,
            "in_flight": worker.report.in_flight,
            "connections": worker.connections.len(),
            "failed_scripts": failed,
        }))
    }
}
