//! The status: what an operator or httpd's page sees of groups, pools and workers.
//! Built when the workers have reported, for `commands`; that it becomes JSON is not
//! known here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::pool::{Member, Mode, Phase};
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::status::{
    CauseStatus, EndCount, FailedScript, GivenUpStatus, GroupStatus, PoolStatus, Status,
    SupervisorStatus, WorkerPhase, WorkerStatus,
};

use super::in_flight::RequestRoom;
use super::isolated_groups;
use super::operators::StatusQuestion;
use super::pools::{Cause, GivenUp, PoolEntry};
use super::state_time::seconds;
use super::{Supervisor, groups::ProcessGroup};
use crate::channel::operator::may_everything;

/// Bytes of tracebacks in one status. As JSON they may be six times as long, and
/// an answer has to fit into one frame.
const TRACEBACKS_MAX: usize = 2 << 20;

impl Supervisor {
    /// `silent`: those that did not answer; what is said of them is older.
    pub(super) fn status(&self, question: &StatusQuestion, silent: &BTreeSet<WorkerId>) -> Status {
        let uid = question.uid;
        let groups = self.groups.iter();
        let visible = groups.filter(|(name, group)| question.is_about(name) && group.obeys(uid));
        let pools: BTreeSet<PoolId> = visible
            .clone()
            .flat_map(|(_, group)| group.pools.values().copied())
            .collect();
        let told = self
            .workers
            .values()
            .filter(|worker| pools.contains(&worker.record.pool))
            .filter_map(|worker| worker.requests.known(question.asked, question.stacks));
        let room = RequestRoom::new(told.map(|told| told.requests.running.len()).collect());
        let telling = Telling {
            silent,
            // Stacks take their room.
            tracebacks: !question.stacks && self.len_of_tracebacks(&pools) <= TRACEBACKS_MAX,
            question,
            room,
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: self.lifetime.started.elapsed().as_secs(),
            shortened: !telling.tracebacks,
            groups: {
                let mut groups: Vec<GroupStatus> = visible
                    .map(|(name, group)| self.group_status(name, group, telling))
                    .collect();
                // They come in the order of names; the worst first.
                groups.sort_by_key(|group| group.state);
                groups
            },
            users: self.users_status(uid),
            supervisor: may_everything(uid).then(|| self.supervisor_status()),
        }
    }

    fn supervisor_status(&self) -> SupervisorStatus {
        SupervisorStatus {
            reexec_problem: self.lifetime.reexec_problem.clone(),
            reexecs: self.lifetime.reexecs,
            control_groups_problem: self.resources.groups.problem().map(str::to_owned),
            connections: self.connections.len() as u64,
            generations: self.access.generations.keys().copied().collect(),
            failures: self.totals.of("").unwrap_or_default().failures,
        }
    }

    /// Of all that these pools would tell of scripts that failed to load, and of workers that
    /// took too long.
    fn len_of_tracebacks(&self, pools: &BTreeSet<PoolId>) -> usize {
        let workers = self
            .workers
            .iter()
            .filter(|(_, worker)| pools.contains(&worker.record.pool))
            .map(|(_, worker)| &worker.record.failed);
        let given_up = pools
            .iter()
            .filter_map(|pool| Some(&self.pools.get(pool)?.given_up.as_ref()?.failed));
        let causes = pools.iter().filter_map(|pool| self.pools.get(pool));
        let causes = causes.flat_map(|pool| &pool.causes);
        let stacks = causes.filter_map(|cause| cause.stacks.as_ref());
        let failed = workers
            .chain(given_up)
            .flatten()
            .map(|(path, text)| path.as_os_str().len() + text.len());
        failed.chain(stacks.map(String::len)).sum()
    }

    fn group_status(&self, name: &str, group: &ProcessGroup, telling: Telling<'_>) -> GroupStatus {
        let pools = group.pools.values();
        let config = &group.definition.config;
        let identity = group.definition.identity.as_ref();
        let left_out = group.target.left_out();
        let (condition, since) = self.condition_of_group(group);
        GroupStatus {
            name: name.to_owned(),
            state: condition.state,
            since: since.or_else(|| group.since.at()),
            why: condition.why,
            origin: config.origin.clone(),
            user: identity.map(|identity| identity.user.clone()).ok(),
            problem: identity.err().map(ToString::to_string),
            processes: config.processes,
            processes_max: config.processes_limit(),
            threads: config.threads,
            stopped: group.stopped,
            removed: group.removed,
            control_group: self.resources.groups.status(name),
            gives_way: self.resources.fairness.gives_way(name),
            log_dropped_lines: left_out.lines,
            log_dropped_bytes: left_out.bytes,
            log: own_log(&config.log),
            memory: self.memory_of(name, group),
            totals: self.totals.of(name),
            isolation: isolated_groups::status(group),
            pools: pools
                .filter_map(|pool| Some(self.pool_status(self.pools.get(pool)?, telling)))
                .collect(),
            waiting_for_room: self.arrivals.len_without_room(name) as u64,
            waiting_in_httpd: 0,
        }
    }

    /// Of its control group, or what its workers say.
    fn memory_of(&self, name: &str, group: &ProcessGroup) -> u64 {
        let control_group = self.resources.groups.status(name);
        control_group.and_then(|own| own.memory).unwrap_or_else(|| {
            let pools = group.pools.values().filter_map(|pool| self.pools.get(pool));
            pools
                .flat_map(|pool| pool.machine.members())
                .filter_map(|(id, _)| self.workers.get(&id)?.record.report.memory)
                .fold(0, u64::saturating_add)
        })
    }

    fn pool_status(&self, pool: &PoolEntry, telling: Telling<'_>) -> PoolStatus {
        let members = pool.machine.members();
        let condition = self.condition_of(pool);
        let cause = match pool.machine.mode() {
            Mode::Failed { cause, .. } => Some(cause.clone()),
            _ => None,
        };
        let ends = pool.ends.iter();
        PoolStatus {
            application_group: pool.application_group.clone(),
            from_request: pool.from_request,
            state: condition.state,
            since: pool.since.at(),
            why: condition.why,
            cause,
            generation: pool.machine.generation(),
            next_generation: pool.machine.next_generation(),
            last_problem: pool.machine.last_problem().map(str::to_owned),
            given_up: pool
                .given_up
                .as_ref()
                .map(|given_up| telling.of_given_up(given_up)),
            waiting: self.connections.waiting(pool.id) as u64,
            preloader: self.preloaders.status((pool.id, pool.machine.generation())),
            restarts: pool.restarts,
            causes: pool
                .causes
                .iter()
                .map(|cause| telling.of_cause(cause))
                .collect(),
            ends: ends
                .map(|(&reason, &count)| EndCount { reason, count })
                .collect(),
            workers: members
                .filter_map(|(worker, member)| self.worker_status(worker, member, telling))
                .collect(),
        }
    }

    fn worker_status(
        &self,
        id: WorkerId,
        member: &Member,
        telling: Telling<'_>,
    ) -> Option<WorkerStatus> {
        let worker = self.workers.get(&id)?;
        let record = &worker.record;
        let state = match member.phase {
            Phase::Queued => WorkerPhase::Queued,
            Phase::Starting { .. } => WorkerPhase::Starting,
            Phase::Ready { .. } => WorkerPhase::Ready,
            Phase::Draining { .. } => WorkerPhase::Draining,
            Phase::Stopping { .. } | Phase::Terminated { .. } | Phase::Killed => {
                WorkerPhase::Stopping
            }
        };
        let question = telling.question;
        let told = worker.requests.known(question.asked, question.stacks);
        Some(WorkerStatus {
            pid: record.pid,
            slot: record.slot,
            generation: record.generation,
            state,
            replacing: member.recycling().map(|reason| format!("{reason:?}")),
            python: record
                .python
                .map(|(major, minor, patch)| format!("{major}.{minor}.{patch}")),
            uptime_s: record.started.elapsed().as_secs(),
            answers: !telling.silent.contains(&id),
            requests: record.report.requests,
            in_flight: record.report.in_flight.into(),
            busy_us: record.report.busy_us,
            histogram: record.report.histogram.clone(),
            connections: worker.connections.len() as u64,
            memory: record.report.memory.unwrap_or_default(),
            cpu_us: record.report.cpu_us.unwrap_or_default(),
            failed_scripts: telling.of(&record.failed),
            queued: told.map_or(0, |told| told.requests.queued.into()),
            running: told.map_or_else(Vec::new, |told| telling.room.take(told, Instant::now())),
        })
    }
}

/// The log of a group that has one for itself.
fn own_log(log: &LogTarget) -> Option<String> {
    match log {
        LogTarget::File(path) => Some(path.to_string_lossy().into_owned()),
        LogTarget::Syslog { tag, .. } => Some(format!("syslog:{tag}")),
        LogTarget::Supervisor | LogTarget::Descriptor(_) => None,
    }
}

/// What a status is to hold.
#[derive(Clone, Copy)]
struct Telling<'a> {
    silent: &'a BTreeSet<WorkerId>,
    /// Whether what scripts failed with fits in.
    tracebacks: bool,
    question: &'a StatusQuestion,
    room: RequestRoom,
}

impl Telling<'_> {
    fn of_given_up(self, given_up: &GivenUp) -> GivenUpStatus {
        GivenUpStatus {
            at: seconds(given_up.at),
            generation: given_up.generation,
            why: given_up.why.clone(),
            failed_scripts: self.of(&given_up.failed),
        }
    }

    fn of_cause(self, cause: &Cause) -> CauseStatus {
        CauseStatus {
            at: seconds(cause.at),
            text: cause.text.clone(),
            reason: cause.reason,
            stacks: cause.stacks.clone().filter(|_| self.tracebacks),
        }
    }

    fn of(self, failed: &BTreeMap<PathBuf, String>) -> Vec<FailedScript> {
        let told = failed.iter().filter(|_| self.tracebacks);
        told.map(|(script, traceback)| FailedScript {
            script: script.to_string_lossy().into_owned(),
            traceback: traceback.clone(),
        })
        .collect()
    }
}
