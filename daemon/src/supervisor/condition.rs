//! Looks how pools and process groups are, once a second and when somebody asks, so that
//! the status can say since when. What they are is decided by `wsgid_policy::condition`.

use std::time::{Duration, Instant, SystemTime};

use super::{Supervisor, groups::ProcessGroup, pools::PoolEntry};
use wsgid_policy::condition::{self, Condition, GroupFacts, PoolFacts, WorkerFacts};
use wsgid_policy::ids::WorkerId;
use wsgid_protocol::readable::escaped;

/// Crashes within this time count.
const CRASHES_WITHIN: Duration = Duration::from_secs(60);
/// A worker that was asked and has said nothing for this long does not answer.
const SILENT_AFTER: Duration = Duration::from_secs(5);

impl Supervisor {
    /// How a pool is now.
    pub(super) fn condition_of(&self, entry: &PoolEntry) -> Condition {
        let now = Instant::now();
        let shortage = self.shortage(entry, now);
        let facts = PoolFacts {
            shortage: shortage.as_deref(),
            workers: &|id| self.worker_facts(id, now),
            given_up: entry
                .given_up
                .as_ref()
                .map(|given_up| given_up.why.as_str()),
            crashes: entry.crashes(SystemTime::now(), CRASHES_WITHIN),
            waiting: self.connections.waiting(entry.id),
        };
        let mut condition = condition::of_pool(&entry.machine, &facts);
        if let Some(why) = &mut condition.why {
            // Whoever shows it says whose it is.
            *why = why.replace(&format!("{}: ", entry.name()), "");
        }
        condition
    }

    fn worker_facts(&self, id: WorkerId, now: Instant) -> WorkerFacts {
        let Some(worker) = self.workers.get(&id) else {
            return WorkerFacts::default();
        };
        let failed = worker.record.failed.iter().next();
        WorkerFacts {
            failed_script: failed.map(|(path, traceback)| {
                let path = escaped(path.as_os_str().as_encoded_bytes());
                let error = traceback.lines().rfind(|line| !line.trim().is_empty());
                let error = escaped(error.unwrap_or_default().as_bytes());
                format!("`{path}` failed to load: {error}")
            }),
            is_silent: worker
                .silent
                .is_some_and(|since| now.duration_since(since) >= SILENT_AFTER),
            in_flight: worker.record.report.in_flight,
        }
    }

    /// How a group is: the worst of its pools, and since when.
    pub(super) fn condition_of_group(&self, group: &ProcessGroup) -> (Condition, Option<u64>) {
        let pools = group.pools.values().filter_map(|pool| self.pools.get(pool));
        let pools = pools.map(|entry| {
            let since = entry.since.at().unwrap_or_default();
            (self.condition_of(entry), since)
        });
        let problem = group.definition.identity.as_ref().err();
        let problem = problem.map(ToString::to_string);
        let facts = GroupFacts {
            problem: problem.as_deref(),
            stopped: group.stopped,
            removed: group.removed,
        };
        condition::of_group(facts, pools)
    }

    /// Notes how everything is.
    pub(super) fn note_conditions(&mut self) {
        let now = SystemTime::now();
        for id in self.pools.ids() {
            let state = self
                .pools
                .get(&id)
                .map(|entry| self.condition_of(entry).state);
            if let (Some(state), Some(entry)) = (state, self.pools.get_mut(&id)) {
                entry.since.note(state, now);
            }
        }
        // The time of the others is that of their pools.
        let alone = self.groups.iter();
        let alone =
            alone.filter(|(_, group)| group.pools.is_empty() || group.definition.identity.is_err());
        let names: Vec<String> = alone.map(|(name, _)| name.clone()).collect();
        for name in names {
            let state = self
                .groups
                .get(&name)
                .map(|group| self.condition_of_group(group));
            if let (Some((now_is, _)), Some(group)) = (state, self.groups.get_mut(&name)) {
                group.since.note(now_is.state, now);
            }
        }
    }
}
