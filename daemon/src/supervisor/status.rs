//! The status as JSON: what an operator or httpd's page sees of groups, pools and
//! workers. Built by `commands` when the workers have reported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::Supervisor;
use super::groups::ProcessGroup;
use super::pools::{GivenUp, PoolEntry};
use crate::channel::operator::may_everything;
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::pool::{Member, Mode, Phase};

/// Bytes of tracebacks in one status. As JSON they may be six times as long, and
/// an answer has to fit into one frame.
const TRACEBACKS_MAX: usize = 2 << 20;

impl Supervisor {
    /// `silent`: those that did not answer; what is said of them is older.
    pub(super) fn status(&self, uid: u32, silent: &BTreeSet<WorkerId>) -> Value {
        let visible = self.groups.iter().filter(|(_, group)| group.obeys(uid));
        let pools: BTreeSet<PoolId> = visible
            .clone()
            .flat_map(|(_, group)| group.pools.values().copied())
            .collect();
        let telling = Telling {
            silent,
            tracebacks: self.len_of_tracebacks(&pools) <= TRACEBACKS_MAX,
        };
        let groups: Vec<Value> = visible
            .map(|(name, group)| self.group_status(name, group, telling))
            .collect();
        let mut status = json!({
            "ok": true,
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": self.lifetime.started.elapsed().as_secs(),
            "shortened": !telling.tracebacks,
            "groups": groups,
        });
        if may_everything(uid)
            && let Some(map) = status.as_object_mut()
        {
            map.insert(
                "reexec_problem".to_owned(),
                json!(self.lifetime.reexec_problem),
            );
            map.insert("reexecs".to_owned(), json!(self.lifetime.reexecs));
            map.insert(
                "control_groups_problem".to_owned(),
                json!(self.resources.groups.problem()),
            );
            map.insert("connections".to_owned(), json!(self.connections.len()));
            map.insert(
                "generations".to_owned(),
                json!(self.access.generations.keys().collect::<Vec<_>>()),
            );
        }
        status
    }

    /// Of all that these pools would tell of scripts that failed to load.
    fn len_of_tracebacks(&self, pools: &BTreeSet<PoolId>) -> usize {
        let workers = self
            .workers
            .iter()
            .filter(|(_, worker)| pools.contains(&worker.record.pool))
            .map(|(_, worker)| &worker.record.failed);
        let given_up = pools
            .iter()
            .filter_map(|pool| Some(&self.pools.get(pool)?.given_up.as_ref()?.failed));
        workers
            .chain(given_up)
            .flatten()
            .map(|(path, text)| path.as_os_str().len() + text.len())
            .sum()
    }

    fn group_status(&self, name: &str, group: &ProcessGroup, telling: Telling<'_>) -> Value {
        let pools = group.pools.values();
        let pools: Vec<Value> = pools
            .filter_map(|pool| Some(self.pool_status(self.pools.get(pool)?, telling)))
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
            "gives_way": self.resources.gives_way(name),
            "pools": pools,
        })
    }

    fn pool_status(&self, pool: &PoolEntry, telling: Telling<'_>) -> Value {
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
            "waiting": self.connections.waiting(pool.id),
            "preloader": self.preloaders.status((pool.id, pool.machine.generation())),
            "restarts": pool.restarts,
            "causes": causes,
            "workers": workers,
        })
    }

    fn worker_status(&self, id: WorkerId, member: &Member, telling: Telling<'_>) -> Option<Value> {
        let worker = self.workers.get(&id)?;
        let record = &worker.record;
        let state = match member.phase {
            Phase::Queued => "queued",
            Phase::Starting { .. } => "starting",
            Phase::Ready { .. } => "ready",
            Phase::Draining { .. } => "draining",
            Phase::Stopping { .. } | Phase::Terminated { .. } | Phase::Killed => "stopping",
        };
        let failed = telling.of(&record.failed);
        Some(json!({
            "pid": record.pid,
            "slot": record.slot,
            "generation": record.generation,
            "state": state,
            "replacing": member.recycling().map(|reason| format!("{reason:?}")),
            "python": record.python.map(|(major, minor, patch)| format!("{major}.{minor}.{patch}")),
            "uptime_s": record.started.elapsed().as_secs(),
            "answers": !telling.silent.contains(&id),
            "requests": record.report.requests,
            "in_flight": record.report.in_flight,
            "busy_us": record.report.busy_us,
            "histogram": record.report.histogram,
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
