//! The open connections of one child, by process group and application group.
//! `placement.rs` says which is taken, by what all children have running (`loads.rs`).
//! Closes what lies unused, and the oldest where all groups together have many. Looks
//! at no connection: one that died shows when it is used.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::workers::connection::WorkerConnection;
use crate::workers::loads::Loads;
use crate::workers::placement;

/// How long a connection may lie unused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often is looked for such connections, in the pools that nobody uses too.
const SWEEP: Duration = Duration::from_secs(10);

pub(crate) struct ConnectionPools {
    idle: Mutex<Idle<WorkerConnection>>,
    loads: Loads,
}

/// The idle ones, and how many there may be.
struct Idle<C> {
    pools: HashMap<String, GroupPool<C>>,
    count: usize,
    swept: Instant,
    /// In one pool.
    pool_max: usize,
    /// In all of them: many sites, each with a few, are many descriptors.
    max: usize,
}

trait Pooled {
    /// The worker that served it last; 0 is not known.
    fn worker(&self) -> u32;
}

impl Pooled for WorkerConnection {
    fn worker(&self) -> u32 {
        self.worker()
    }
}

/// The connections of one pair of groups; the one used last comes last.
struct GroupPool<C>(Vec<(C, Instant)>);

impl<C: Pooled> GroupPool<C> {
    fn take(&mut self, loads: &Loads) -> Option<C> {
        let requests = self.0.iter();
        let at = placement::choose(requests.map(|(one, _)| loads.of(one.worker())))?;
        let (connection, _) = self.0.remove(at);
        loads.begin(connection.worker());
        Some(connection)
    }

    /// Takes out those that lie unused since then or longer, and the oldest of
    /// more than `max`.
    fn take_old(&mut self, since: Option<Instant>, max: usize) -> Vec<C> {
        let old = since.map_or(0, |since| self.0.partition_point(|(_, at)| *at <= since));
        let surplus = self.0.len().saturating_sub(max);
        let taken = self.0.drain(..old.max(surplus));
        taken.map(|(connection, _)| connection).collect()
    }
}

impl<C: Pooled> Idle<C> {
    fn new(pool_max: usize, max: usize) -> Self {
        Self {
            pools: HashMap::new(),
            count: 0,
            swept: Instant::now(),
            pool_max: pool_max.max(1),
            max: max.max(1),
        }
    }

    fn take(&mut self, key: &str, loads: &Loads) -> Option<C> {
        let taken = self.pools.get_mut(key)?.take(loads)?;
        self.count -= 1;
        Some(taken)
    }

    /// Takes a connection back; returns those that are to be closed.
    fn give_back(&mut self, key: &str, connection: C, now: Instant) -> Vec<C> {
        let old = now.checked_sub(IDLE_TIMEOUT);
        let pool = match self.pools.get_mut(key) {
            Some(pool) => pool,
            None => self
                .pools
                .entry(key.to_owned())
                .or_insert(GroupPool(Vec::new())),
        };
        pool.0.push((connection, now));
        let mut closed = pool.take_old(old, self.pool_max);
        self.count = self.count + 1 - closed.len();
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            closed.extend(self.sweep(old));
        }
        if self.count > self.max {
            closed.extend(self.sweep(self.age_of_the_oldest(self.max / 4 + 1)));
        }
        closed
    }

    /// Takes what lies unused since then or longer out of all pools.
    fn sweep(&mut self, since: Option<Instant>) -> Vec<C> {
        let pools = self.pools.values_mut();
        let closed: Vec<C> = pools
            .flat_map(|pool| pool.take_old(since, usize::MAX))
            .collect();
        self.pools.retain(|_, pool| !pool.0.is_empty());
        self.count -= closed.len();
        closed
    }

    /// Since when the `wanted` oldest lie unused.
    fn age_of_the_oldest(&self, wanted: usize) -> Option<Instant> {
        let all = self.pools.values().flat_map(|pool| &pool.0);
        let mut all: Vec<Instant> = all.map(|(_, at)| *at).collect();
        all.sort_unstable();
        all.get(wanted - 1).copied()
    }
}

impl ConnectionPools {
    /// So many connections may be idle in one pool, and in all of them.
    pub(crate) fn new(pool_max: usize, max: usize, loads: Loads) -> Self {
        Self {
            idle: Mutex::new(Idle::new(pool_max, max)),
            loads,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle<WorkerConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, group: &str, application_group: &str) -> PoolOf<'_> {
        PoolOf {
            pools: self,
            // A NUL is in neither name.
            key: [group, application_group].join("\0"),
        }
    }
}

/// A child's connections to one pair of groups.
pub(crate) struct PoolOf<'c> {
    pools: &'c ConnectionPools,
    key: String,
}

impl PoolOf<'_> {
    /// An idle connection, from now on in use.
    pub(crate) fn take(&self) -> Option<WorkerConnection> {
        self.pools.lock().take(&self.key, &self.pools.loads)
    }

    /// The request on a connection that was taken for `worker` is over.
    pub(crate) fn end(&self, worker: u32) {
        self.pools.loads.end(worker);
    }

    /// A connection that was taken, or a new one, is free again.
    pub(crate) fn give_back(&self, connection: WorkerConnection) {
        let mut idle = self.pools.lock();
        let closed = idle.give_back(&self.key, connection, Instant::now());
        drop(idle);
        // Closed outside of the lock.
        drop(closed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Fake(u32, &'static str);

    impl Pooled for Fake {
        fn worker(&self) -> u32 {
            self.0
        }
    }

    fn pool(connections: Vec<Fake>) -> GroupPool<Fake> {
        let now = Instant::now();
        GroupPool(connections.into_iter().map(|one| (one, now)).collect())
    }

    #[test]
    fn the_worker_with_the_fewest_requests_is_taken() {
        let loads = Loads::private();
        let mut pool = pool(vec![Fake(1, "a"), Fake(2, "b"), Fake(1, "c"), Fake(2, "d")]);
        assert_eq!(pool.take(&loads), Some(Fake(2, "d")));
        assert_eq!(pool.take(&loads), Some(Fake(1, "c")));
        assert_eq!(pool.take(&loads), Some(Fake(2, "b")));
        loads.end(1);
        assert_eq!(pool.take(&loads), Some(Fake(1, "a")));
        assert_eq!(pool.take(&loads), None);
    }

    #[test]
    fn requests_of_other_children_count() {
        let loads = Loads::private();
        loads.begin(2);
        let mut pool = pool(vec![Fake(1, "idle"), Fake(2, "busy elsewhere")]);
        assert_eq!(pool.take(&loads), Some(Fake(1, "idle")));
    }

    #[test]
    fn of_equals_the_one_used_last_is_taken() {
        let mut pool = pool(vec![Fake(1, "old"), Fake(2, "new")]);
        assert_eq!(pool.take(&Loads::private()), Some(Fake(2, "new")));
    }

    #[test]
    fn old_and_surplus_connections_are_closed() {
        let mut idle = Idle::new(2, 100);
        let now = Instant::now();
        assert!(idle.give_back("one", Fake(1, "a"), now).is_empty());
        assert!(idle.give_back("one", Fake(1, "b"), now).is_empty());
        assert_eq!(idle.give_back("one", Fake(1, "c"), now), [Fake(1, "a")]);
        assert!(idle.give_back("two", Fake(1, "d"), now).is_empty());
        assert_eq!((idle.count, idle.pools.len()), (3, 2));
        // Of the pool that nobody uses, too.
        let mut closed = idle.give_back("two", Fake(1, "e"), now + IDLE_TIMEOUT * 2);
        closed.sort_by_key(|fake| fake.1);
        assert_eq!(closed, [Fake(1, "b"), Fake(1, "c"), Fake(1, "d")]);
        assert_eq!((idle.count, idle.pools.len()), (1, 1));
        assert_eq!(idle.take("two", &Loads::private()), Some(Fake(1, "e")));
        assert_eq!((idle.count, idle.take("one", &Loads::private())), (0, None));
    }

    #[test]
    fn many_pools_together_have_a_limit() {
        let mut idle = Idle::new(2, 8);
        let start = Instant::now();
        let at = |turn: u64| start + Duration::from_millis(turn);
        for turn in 0..8 {
            assert!(
                idle.give_back(&turn.to_string(), Fake(1, "old"), at(turn))
                    .is_empty()
            );
        }
        let closed = idle.give_back("8", Fake(1, "new"), at(8));
        assert_eq!((closed.len(), idle.count), (3, 6));
        assert!(
            ["0", "1", "2"]
                .iter()
                .all(|key| !idle.pools.contains_key(*key))
        );
        assert!(idle.take("8", &Loads::private()).is_some());
    }
}
