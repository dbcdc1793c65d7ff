//! When each pool has to be looked at although nothing happened. Set after each
//! event of a pool, read by the loop. Knows nothing of what is waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use wsgid_policy::ids::PoolId;

/// The next time of each pool that has one.
#[derive(Default)]
pub(super) struct Waits {
    by_time: BTreeSet<(Instant, PoolId)>,
    by_pool: BTreeMap<PoolId, Instant>,
}

impl Waits {
    /// The pool is looked at then, or not without an event.
    pub(super) fn set(&mut self, pool: PoolId, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_pool.insert(pool, at),
            None => self.by_pool.remove(&pool),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, pool));
        }
        if let Some(at) = at {
            self.by_time.insert((at, pool));
        }
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(super) fn take_due(&mut self, now: Instant) -> Option<PoolId> {
        let (_, pool) = *self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.set(pool, None);
        Some(pool)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_pool_is_due_once_at_its_last_time() {
        let mut waits = Waits::default();
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        waits.set(1, Some(start));
        waits.set(2, Some(later));
        waits.set(3, Some(start));
        waits.set(1, Some(later));
        waits.set(3, None);
        assert_eq!(waits.first(), Some(later));
        assert_eq!(waits.take_due(start), None);
        assert_eq!(waits.take_due(later), Some(1));
        assert_eq!(waits.take_due(later), Some(2));
        assert_eq!((waits.take_due(later), waits.first()), (None, None));
    }
}
