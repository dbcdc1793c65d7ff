//! One limit on starting processes for the whole supervisor, so that fifty
//! groups that fall do not take the machine from the one that stands. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connections::PoolId;
use crate::definition::Definition;
use crate::pool::WorkerId;

/// A worker that loads for longer than this no longer counts as starting: it
/// waits for something, and others need not wait with it.
const STARTING_COUNTS_FOR: Duration = Duration::from_secs(10);

/// A spawn that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) pool: PoolId,
    pub(super) worker: WorkerId,
    pub(super) slot: u32,
    pub(super) generation: u64,
    pub(super) definition: Arc<Definition>,
}

/// The queue and what is being started.
#[derive(Debug)]
pub(super) struct SpawnQueue {
    limit: usize,
    pending: VecDeque<Pending>,
    starting: BTreeMap<WorkerId, Instant>,
    last_pool: Option<PoolId>,
}

impl SpawnQueue {
    /// As many at a time as there are processors.
    pub(super) fn new() -> Self {
        let limit = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { limit, pending: VecDeque::new(), starting: BTreeMap::new(), last_pool: None }
    }

    pub(super) fn push(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    pub(super) fn cancel(&mut self, worker: WorkerId) {
        self.pending.retain(|pending| pending.worker != worker);
    }

    /// The worker is ready, or has ended.
    pub(super) fn done(&mut self, worker: WorkerId) {
        self.starting.remove(&worker);
    }

    /// The next spawn that may be done now. Pools take turns.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Pending> {
        self.starting.retain(|_, since| now.duration_since(*since) < STARTING_COUNTS_FOR);
        if self.starting.len() >= self.limit {
            return None;
        }
        let other = self.pending.iter().position(|pending| Some(pending.pool) != self.last_pool);
        let next = self.pending.remove(other.unwrap_or(0))?;
        self.last_pool = Some(next.pool);
        self.starting.insert(next.worker, now);
        Some(next)
    }

    /// What waits.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// When `pop` may give more without any event.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.starting.values().min().map(|since| *since + STARTING_COUNTS_FOR);
        first.filter(|_| !self.pending.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::GroupConfig;
    use wsgid_protocol::control::ServerFacts;

    use super::*;

    fn pending(pool: PoolId, worker: u64) -> Pending {
        let definition = Definition {
            config: GroupConfig::new("g", "test"),
            identity: Err("none".into()),
            server: ServerFacts::default(),
            httpd_uid: 1,
        };
        Pending { pool, worker: WorkerId(worker), slot: 0, generation: 1, definition: Arc::new(definition) }
    }

    #[test]
    fn pools_take_turns_within_the_limit() {
        let (mut queue, now) = (SpawnQueue::new(), Instant::now());
        queue.limit = 2;
        for (pool, worker) in [(1, 1), (1, 2), (1, 3), (2, 4)] {
            queue.push(pending(pool, worker));
        }
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(1));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(4));
        assert!(queue.pop(now).is_none());
        queue.done(WorkerId(1));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(2));
        assert!(queue.pop(now).is_none());
        assert_eq!(queue.pop(now + STARTING_COUNTS_FOR).unwrap().worker, WorkerId(3));
    }
}
