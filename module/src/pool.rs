//! The open connections of one child, by process group and application group.
//! Takes the one whose worker has the fewest requests running, those of other
//! children included (`loads.rs`); of equals the one used last, whose worker is
//! warm. Never makes a system call: a connection that died shows when it is used.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::loads::Loads;

/// How long a connection may lie unused.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The connections of all groups.
pub(crate) struct Pools {
    pools: Mutex<HashMap<String, GroupPool<Connection>>>,
    loads: Loads,
    idle_max: usize,
}

/// What a pool needs to know of a connection.
pub(crate) trait Pooled {
    /// The worker that served it last; 0 is not known.
    fn worker(&self) -> u32;
}

/// The connections of one pair of groups; the one used last comes last.
struct GroupPool<C>(Vec<(C, Instant)>);

impl<C> Default for GroupPool<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C: Pooled> GroupPool<C> {
    fn take(&mut self, loads: &Loads) -> Option<C> {
        let mut best = None;
        for (at, (connection, _)) in self.0.iter().enumerate().rev() {
            let load = loads.of(connection.worker());
            if best.is_none_or(|(_, least)| load < least) {
                best = Some((at, load));
            }
            if load == 0 {
                break;
            }
        }
        let (at, _) = best?;
        let (connection, _) = self.0.remove(at);
        loads.begin(connection.worker());
        Some(connection)
    }

    /// Takes a connection back; returns those that are to be closed.
    fn give_back(&mut self, connection: C, idle_max: usize, now: Instant) -> Vec<C> {
        self.0.push((connection, now));
        let old = self.0.iter().take_while(|(_, since)| now.duration_since(*since) > IDLE_TIMEOUT).count();
        let surplus = self.0.len().saturating_sub(idle_max);
        self.0.drain(..old.max(surplus)).map(|(connection, _)| connection).collect()
    }
}

/// A name for a pair of groups. A NUL is in neither.
fn key(group: &str, application_group: &str) -> String {
    [group, application_group].join("\0")
}

impl Pools {
    pub(crate) fn new(idle_max: usize, loads: Loads) -> Self {
        Self { pools: Mutex::new(HashMap::new()), loads, idle_max: idle_max.max(1) }
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
        self.pools.lock().get_mut(&self.key)?.take(&self.pools.loads)
    }

    /// The request on a connection that was taken for `worker` is over.
    pub(crate) fn end(&self, worker: u32) {
        self.pools.loads.end(worker);
    }

    /// The same; the connection is free again.
    pub(crate) fn give_back(&self, worker: u32, connection: Connection) {
        self.end(worker);
        let surplus = {
            let mut pools = self.pools.lock();
            let now = Instant::now();
            match pools.get_mut(&self.key) {
                Some(pool) => pool.give_back(connection, self.pools.idle_max, now),
                None => {
                    let pool = pools.entry(self.key.clone()).or_default();
                    pool.give_back(connection, self.pools.idle_max, now)
                }
            }
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
        let mut pool = pool(vec![Fake(1, "a"), Fake(1, "b")]);
        let closed = pool.give_back(Fake(1, "c"), 2, Instant::now());
        assert_eq!(closed, [Fake(1, "a")]);
        let later = Instant::now() + IDLE_TIMEOUT * 2;
        assert_eq!(pool.give_back(Fake(1, "d"), 9, later), [Fake(1, "b"), Fake(1, "c")]);
    }
}
