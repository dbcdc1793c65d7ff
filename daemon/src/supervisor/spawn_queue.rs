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
    /// The last start of its pool came to nothing.
    pub(super) failing: bool,
    /// Not to be forked from a preloader.
    pub(super) plain: bool,
}

/// The queue and what is being started.
#[derive(Debug)]
pub(super) struct SpawnQueue {
    limit: usize,
    pending: VecDeque<Pending>,
    /// Since when, and whether for a pool that fails.
    starting: BTreeMap<WorkerId, (Instant, bool)>,
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

    /// This one starts too, without having waited.
    pub(super) fn begin(&mut self, worker: WorkerId, failing: bool, now: Instant) {
        self.starting.insert(worker, (now, failing));
    }

    /// The worker is ready, or has ended.
    pub(super) fn done(&mut self, worker: WorkerId) {
        self.starting.remove(&worker);
    }

    /// The next spawn that may be done now. Pools take turns; those that fail
    /// have fewer places, of their own, and never stand before the others.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Pending> {
        self.starting.retain(|_, (since, _)| now.duration_since(*since) < STARTING_COUNTS_FOR);
        let next = self.next_of(false).or_else(|| self.next_of(true))?;
        let next = self.pending.remove(next)?;
        self.last_pool = Some(next.pool);
        self.starting.insert(next.worker, (now, next.failing));
        Some(next)
    }

    /// The place in the queue of who is next among those that fail, or among
    /// the others; `None` if none may start now.
    fn next_of(&self, failing: bool) -> Option<usize> {
        let most = if failing { (self.limit / 2).max(1) } else { self.limit };
        if self.starting.values().filter(|(_, of_failing)| *of_failing == failing).count() >= most {
            return None;
        }
        let waits = |pending: &Pending| pending.failing == failing;
        let other = |pending: &Pending| waits(pending) && Some(pending.pool) != self.last_pool;
        self.pending.iter().position(other).or_else(|| self.pending.iter().position(waits))
    }

    /// What waits.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// When `pop` may give more without any event.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let first = self.starting.values().min().map(|(since, _)| *since + STARTING_COUNTS_FOR);
        first.filter(|_| !self.pending.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use wsgid_protocol::GroupConfig;
    use wsgid_protocol::control::ServerFacts;

    use super::*;
    use crate::pool::{Action, Event, Pool};

    fn pending(pool: PoolId, worker: u64) -> Pending {
        let definition = Definition {
            config: GroupConfig::new("g", "test"),
            identity: Err("none".into()),
            server: ServerFacts::default(),
            httpd_uid: 1,
        };
        Pending {
            pool,
            worker: WorkerId(worker),
            slot: 0,
            generation: 1,
            definition: Arc::new(definition),
            failing: false,
            plain: false,
        }
    }

    #[test]
    fn pools_that_fail_do_not_stand_before_others() {
        let (mut queue, now) = (SpawnQueue::new(), Instant::now());
        queue.limit = 2;
        for worker in 1..=5 {
            queue.push(Pending { failing: true, ..pending(1, worker) });
        }
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(1));
        assert!(queue.pop(now).is_none(), "they have one place of two");
        queue.push(pending(2, 6));
        queue.push(pending(3, 7));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(6));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(7));
        assert!(queue.pop(now).is_none());
        queue.done(WorkerId(1));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(2), "and that one nobody takes from them");
    }

    /// Pools with a queue and a clock that are not real.
    struct Simulation {
        now: Instant,
        queue: SpawnQueue,
        pools: Vec<Pool>,
        /// When which worker of which pool is through with its start.
        starting: BTreeMap<(Instant, WorkerId), usize>,
        /// How long each start of the last pool waited for its turn.
        waits: Vec<Duration>,
        asked: Instant,
    }

    impl Simulation {
        const LOADING: Duration = Duration::from_millis(500);

        fn event(&mut self, at: usize, event: Event) {
            for action in self.pools[at].handle(event, self.now) {
                if let Action::Spawn { worker, slot, generation, definition } = action {
                    let failing = self.pools[at].is_failing();
                    let pool = PoolId::try_from(at).unwrap();
                    self.queue.push(Pending { pool, worker, slot, generation, definition, failing, plain: false });
                    self.asked = if at + 1 == self.pools.len() { self.now } else { self.asked };
                }
            }
        }

        fn start(&mut self) {
            while let Some(next) = self.queue.pop(self.now) {
                let at = next.pool as usize;
                if at + 1 == self.pools.len() {
                    self.waits.push(self.now - self.asked);
                }
                self.starting.insert((self.now + Self::LOADING, next.worker), at);
                self.event(at, Event::Spawned(next.worker));
            }
        }

        /// What is due at this time: all but the last pool crash as they start.
        fn turn(&mut self) {
            let healthy = self.pools.len() - 1;
            while let Some(((_, worker), at)) = self.starting.first_key_value().map(|(key, at)| (*key, *at)) {
                if self.starting.first_key_value().is_some_and(|((due, _), _)| *due > self.now) {
                    break;
                }
                self.starting.pop_first();
                self.queue.done(worker);
                match at == healthy {
                    true => self.event(at, Event::Ready(worker, BTreeSet::new())),
                    false => self.event(at, Event::Exited(worker, "crashed".into(), false)),
                }
            }
            (0..self.pools.len()).for_each(|at| self.event(at, Event::Tick));
            self.start();
        }
    }

    #[test]
    fn a_healthy_pool_does_not_wait_behind_fifty_that_crash() {
        let definition = crate::pool::tests_definition(&[("restart-burst", "1000000")]);
        let start = Instant::now();
        let mut world = Simulation {
            now: start,
            queue: SpawnQueue { limit: 2, ..SpawnQueue::new() },
            pools: (0..51).map(|number| Pool::new(number, Arc::clone(&definition), true)).collect(),
            starting: BTreeMap::new(),
            waits: Vec::new(),
            asked: start,
        };
        for step in 1..=30_000_u32 {
            world.turn();
            if step.is_multiple_of(300) {
                // Killed every three seconds.
                let serving = world.pools[50].members().map(|(id, _)| id).find(|id| world.pools[50].accepts(*id));
                serving.into_iter().for_each(|id| world.event(50, Event::Exited(id, "killed".into(), false)));
            }
            world.now = start + Duration::from_millis(10) * step;
        }
        let (boot, later) = world.waits.split_first().unwrap();
        // All 51 start for the first time: two at a time.
        assert!(*boot <= Simulation::LOADING * 26, "{boot:?}");
        assert!(later.len() > 80 && later.iter().all(|wait| *wait <= Duration::from_millis(10)), "{later:?}");
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
