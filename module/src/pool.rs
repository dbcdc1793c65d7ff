//! The open connections of one child, by process group and application group.
//! Takes the one whose worker has the fewest of this child's requests running;
//! of equals the one used last, whose worker is warm. Never makes a system
//! call: a connection that died shows when it is used.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::Connection;

/// How long a connection may lie unused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The connections of all groups.
pub(crate) struct Pools {
    pools: Mutex<HashMap<String, GroupPool<Connection>>>,
    idle_max: usize,
}

/// What a pool needs to know of a connection.
pub(crate) trait Pooled {
    /// The worker that served it last; 0 is not known.
    fn worker(&self) -> u32;
}

/// The connections of one pair of groups.
struct GroupPool<C> {
    /// The one used last comes last.
    idle: Vec<(C, Instant)>,
    /// This child's running requests per worker.
    in_flight: Vec<(u32, u32)>,
}

impl<C> Default for GroupPool<C> {
    fn default() -> Self {
        Self { idle: Vec::new(), in_flight: Vec::new() }
    }
}

impl<C: Pooled> GroupPool<C> {
    fn running(&self, worker: u32) -> u32 {
        self.in_flight.iter().find(|(known, _)| *known == worker).map_or(0, |(_, count)| *count)
    }

    fn begin(&mut self, worker: u32) {
        match self.in_flight.iter_mut().find(|(known, _)| *known == worker) {
            Some((_, count)) => *count += 1,
            None => self.in_flight.push((worker, 1)),
        }
    }

    fn end(&mut self, worker: u32) {
        if let Some(at) = self.in_flight.iter().position(|(known, _)| *known == worker) {
            self.in_flight[at].1 = self.in_flight[at].1.saturating_sub(1);
            if self.in_flight[at].1 == 0 {
                self.in_flight.swap_remove(at);
            }
        }
    }

    fn take(&mut self) -> Option<C> {
        let best = (0..self.idle.len()).rev().min_by_key(|at| self.running(self.idle[*at].0.worker()))?;
        let (connection, _) = self.idle.remove(best);
        self.begin(connection.worker());
        Some(connection)
    }

    /// Takes a connection back; returns those that are to be closed.
    fn give_back(&mut self, connection: C, idle_max: usize, now: Instant) -> Vec<C> {
        self.idle.push((connection, now));
        let old = self.idle.iter().take_while(|(_, since)| now.duration_since(*since) > IDLE_TIMEOUT).count();
        let surplus = self.idle.len().saturating_sub(idle_max);
        self.idle.drain(..old.max(surplus)).map(|(connection, _)| connection).collect()
    }
}

/// A name for a pair of groups. A NUL is in neither.
fn key(group: &str, application_group: &str) -> String {
    [group, application_group].join("\0")
}

impl Pools {
    pub(crate) fn new(idle_max: usize) -> Self {
        Self { pools: Mutex::new(HashMap::new()), idle_max: idle_max.max(1) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, GroupPool<Connection>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool of a pair of groups.
    pub(crate) fn of(&self, group: &str, application_group: &str) -> PoolOf<'_> {
        PoolOf { pools: self, key: key(group, application_group) }
    }
}

/// A child's connections to one pair of groups.
pub(crate) struct PoolOf<'c> {
    pools: &'c Pools,
    key: String,
}

impl PoolOf<'_> {
    /// An idle connection, from now on in use.
    pub(crate) fn take(&self) -> Option<Connection> {
        self.pools.lock().get_mut(&self.key)?.take()
    }

    /// Counts a request on a connection that was opened just now.
    pub(crate) fn begin_new(&self) {
        let mut pools = self.pools.lock();
        match pools.get_mut(&self.key) {
            Some(pool) => pool.begin(0),
            None => pools.entry(self.key.clone()).or_default().begin(0),
        }
    }

    /// The request that was counted for `worker` is over.
    pub(crate) fn end(&self, worker: u32) {
        if let Some(pool) = self.pools.lock().get_mut(&self.key) {
            pool.end(worker);
        }
    }

    /// The request that was counted for `worker` is over; the connection is
    /// free again.
    pub(crate) fn give_back(&self, worker: u32, connection: Connection) {
        let surplus = {
            let mut pools = self.pools.lock();
            let Some(pool) = pools.get_mut(&self.key) else { return };
            pool.end(worker);
            pool.give_back(connection, self.pools.idle_max, Instant::now())
        };
        // Closed outside of the lock.
        drop(surplus);
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
        GroupPool { idle: connections.into_iter().map(|one| (one, now)).collect(), in_flight: Vec::new() }
    }

    #[test]
    fn the_worker_with_the_fewest_requests_is_taken() {
        let mut pool = pool(vec![Fake(1, "a"), Fake(2, "b"), Fake(1, "c"), Fake(2, "d")]);
        assert_eq!(pool.take(), Some(Fake(2, "d")));
        assert_eq!(pool.take(), Some(Fake(1, "c")));
        assert_eq!(pool.take(), Some(Fake(2, "b")));
        pool.end(1);
        assert_eq!(pool.take(), Some(Fake(1, "a")));
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn of_equals_the_one_used_last_is_taken() {
        let mut pool = pool(vec![Fake(1, "old"), Fake(2, "new")]);
        assert_eq!(pool.take(), Some(Fake(2, "new")));
    }

    #[test]
    fn old_and_surplus_connections_are_closed() {
        let mut pool = pool(vec![Fake(1, "a"), Fake(1, "b")]);
        let closed = pool.give_back(Fake(1, "c"), 2, Instant::now());
        assert_eq!(closed, [Fake(1, "a")]);
        let later = Instant::now() + IDLE_TIMEOUT * 2;
        assert_eq!(pool.give_back(Fake(1, "d"), 9, later), [Fake(1, "b"), Fake(1, "c")]);
    }

    #[test]
    fn counts_go_back_to_nothing() {
        let mut pool = pool(vec![]);
        pool.begin(7);
        pool.begin(7);
        pool.end(7);
        assert_eq!(pool.running(7), 1);
        pool.end(7);
        pool.end(7);
        assert_eq!(pool.running(7), 0);
        assert!(pool.in_flight.is_empty());
    }
}
