//! One limit on starting processes for the whole supervisor, so that fifty
//! groups that fall or hang do not take the machine from the one that stands.
//! Pure: what starting processes do is told by `workers`, which looks at them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::definition::Definition;
use crate::ids::PoolId;
use crate::ids::WorkerId;

/// A worker that loads for longer than this no longer counts as starting.
const STARTING_COUNTS_FOR: Duration = Duration::from_secs(10);
/// How often those that start are looked at while others wait. One that has done
/// nothing between two looks waits for something, and others need not wait with it.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What a process does at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doing {
    /// Processor time of all its threads, with that of children it has waited for.
    pub used: Duration,
    /// It neither runs, nor would run if it could, nor reads from a disk.
    pub waits: bool,
}

/// A spawn that was asked for.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Whose worker it is.
    pub pool: PoolId,
    /// Its number.
    pub worker: WorkerId,
    /// Its place among those of its generation.
    pub slot: u32,
    /// What it belongs to.
    pub generation: u64,
    /// What it is started from.
    pub definition: Arc<Definition>,
    /// The last start of its pool came to nothing.
    pub failing: bool,
    /// Only requests have named its application group: others come first.
    pub from_request: bool,
    /// Not to be forked from a preloader.
    pub plain: bool,
}

impl Pending {
    fn user(&self) -> Option<u32> {
        self.definition
            .identity
            .as_ref()
            .ok()
            .map(|identity| identity.uid)
    }
}

/// A process from its start until it is ready or has ended.
#[derive(Debug)]
struct Start {
    since: Instant,
    user: Option<u32>,
    pool: PoolId,
    /// For a pool that fails.
    failing: bool,
    /// Whether it takes one of the places.
    counts: bool,
    looked: Instant,
    seen: Option<Doing>,
}

/// The queue and what is being started.
#[derive(Debug)]
pub struct SpawnQueue {
    limit: usize,
    pending: VecDeque<Pending>,
    starting: BTreeMap<WorkerId, Start>,
    last_pool: Option<PoolId>,
}

impl SpawnQueue {
    /// As many at a time as there are processors.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            pending: VecDeque::new(),
            starting: BTreeMap::new(),
            last_pool: None,
        }
    }

    /// A spawn is asked for.
    pub fn push(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    /// It is not wanted any more.
    pub fn cancel(&mut self, worker: WorkerId) {
        self.pending.retain(|pending| pending.worker != worker);
    }

    /// This one starts; without having waited, unless `pop` gave it.
    pub fn begin(&mut self, pending: &Pending, now: Instant) {
        let start = Start {
            since: now,
            user: pending.user(),
            pool: pending.pool,
            failing: pending.failing,
            counts: true,
            looked: now,
            seen: None,
        };
        self.starting.insert(pending.worker, start);
    }

    /// The worker is ready, or has ended.
    pub fn done(&mut self, worker: WorkerId) {
        self.starting.remove(&worker);
    }

    /// Those to be looked at now, because others wait for them.
    pub fn unseen(&self, now: Instant) -> Vec<WorkerId> {
        let due = |start: &Start| start.counts && now.duration_since(start.looked) >= LOOK_INTERVAL;
        let wanted = !self.pending.is_empty();
        self.starting
            .iter()
            .filter(|(_, start)| wanted && due(start))
            .map(|(worker, _)| *worker)
            .collect()
    }

    /// What one of them does; `None` if that cannot be seen.
    pub fn seen(&mut self, worker: WorkerId, doing: Option<Doing>, now: Instant) {
        let Some(start) = self.starting.get_mut(&worker) else {
            return;
        };
        start.looked = now;
        let idle = doing.is_some_and(|doing| doing.waits && start.seen == Some(doing));
        start.counts &= !idle;
        start.seen = doing;
    }

    /// The next spawn that may be done now. Those that fail have fewer places, of
    /// their own, and never stand before the others.
    pub fn pop(&mut self, now: Instant) -> Option<Pending> {
        for start in self.starting.values_mut() {
            start.counts &= now.duration_since(start.since) < STARTING_COUNTS_FOR;
        }
        let next = self.next_of(false).or_else(|| self.next_of(true))?;
        let next = self.pending.remove(next)?;
        self.last_pool = Some(next.pool);
        self.begin(&next, now);
        Some(next)
    }

    /// The place in the queue of who is next among those that fail, or among the
    /// others; `None` if none may start now. Who has the fewest starting comes
    /// first, by user and then by pool; pools that are equal take turns. Within a
    /// user, what the configuration names comes before what requests have named.
    fn next_of(&self, failing: bool) -> Option<usize> {
        let (mut of_user, mut of_pool) = (BTreeMap::<_, usize>::new(), BTreeMap::<_, usize>::new());
        for start in self.starting.values() {
            *of_user.entry(start.user).or_default() += 1;
            *of_pool.entry(start.pool).or_default() += 1;
        }
        let order = |pending: &Pending| {
            let user = of_user.get(&pending.user()).copied().unwrap_or(0);
            let pool = of_pool.get(&pending.pool).copied().unwrap_or(0);
            (
                user,
                pending.from_request,
                pool,
                Some(pending.pool) == self.last_pool,
            )
        };
        let places = self.places(failing);
        let waiting = self.pending.iter().enumerate();
        let may = waiting.filter(|(_, pending)| {
            pending.failing == failing && places.has_one_for(pending.user())
        });
        may.min_by_key(|(_, pending)| order(pending))
            .map(|(at, _)| at)
    }

    fn places(&self, failing: bool) -> Places {
        let most = if failing {
            (self.limit / 2).max(1)
        } else {
            self.limit
        };
        let taken = || {
            self.starting
                .values()
                .filter(|start| start.counts && start.failing == failing)
        };
        let users: BTreeSet<Option<u32>> = taken().map(|start| start.user).collect();
        // Whoever fails has no right to more.
        let users_most = if failing { 0 } else { most.max(2) };
        Places {
            free: taken().count() < most,
            users,
            users_most,
        }
    }

    /// What waits.
    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// When `pop` may give more without any event.
    pub fn deadline(&self) -> Option<Instant> {
        let next =
            |start: &Start| (start.since + STARTING_COUNTS_FOR).min(start.looked + LOOK_INTERVAL);
        let first = self
            .starting
            .values()
            .filter(|start| start.counts)
            .map(next)
            .min();
        first.filter(|_| !self.pending.is_empty())
    }
}

/// Who may start beside those that do.
struct Places {
    free: bool,
    /// Those who have a place. One who has none gets one while they are few, so
    /// that no user keeps all the others waiting.
    users: BTreeSet<Option<u32>>,
    users_most: usize,
}

impl Places {
    fn has_one_for(&self, user: Option<u32>) -> bool {
        self.free || (!self.users.contains(&user) && self.users.len() < self.users_most)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use wsgid_protocol::GroupConfig;
    use wsgid_protocol::control::{Identity, ServerFacts};

    use super::*;
    use crate::pool::{Action, Event, Pool};

    fn pending(pool: PoolId, worker: u64) -> Pending {
        of_user(1000, pool, worker)
    }

    fn of_user(uid: u32, pool: PoolId, worker: u64) -> Pending {
        let identity = Identity {
            uid,
            gid: uid,
            groups: Vec::new(),
            user: uid.to_string(),
            home: "/".into(),
            shell: PathBuf::new(),
            change: true,
        };
        let definition = Definition {
            config: GroupConfig::new("g", "test"),
            identity: Ok(identity),
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
            from_request: false,
            plain: false,
        }
    }

    #[test]
    fn what_requests_have_named_comes_after_what_the_configuration_names() {
        let mut queue = SpawnQueue::new(4);
        let now = Instant::now();
        (1..=3).for_each(|worker| {
            queue.push(Pending {
                from_request: true,
                ..pending(worker, u64::from(worker))
            })
        });
        queue.push(pending(9, 9));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(9));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(1));
    }

    #[test]
    fn pools_that_fail_do_not_stand_before_others() {
        let mut queue = SpawnQueue::new(2);
        let now = Instant::now();
        for worker in 1..=5 {
            queue.push(Pending {
                failing: true,
                ..pending(1, worker)
            });
        }
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(1));
        assert!(queue.pop(now).is_none(), "they have one place of two");
        queue.push(pending(2, 6));
        queue.push(pending(3, 7));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(6));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(7));
        assert!(queue.pop(now).is_none());
        queue.done(WorkerId(1));
        assert_eq!(
            queue.pop(now).unwrap().worker,
            WorkerId(2),
            "and that one nobody takes from them"
        );
    }

    #[test]
    fn one_user_keeps_no_other_waiting() {
        let mut queue = SpawnQueue::new(2);
        let now = Instant::now();
        for worker in 1..=20 {
            queue.push(of_user(1, worker % 10, u64::from(worker)));
        }
        assert_eq!(queue.pop(now).unwrap().user(), Some(1));
        assert_eq!(queue.pop(now).unwrap().user(), Some(1));
        assert!(queue.pop(now).is_none());
        queue.push(of_user(2, 100, 101));
        queue.push(of_user(2, 100, 102));
        queue.push(of_user(3, 200, 201));
        assert_eq!(
            queue.pop(now).unwrap().worker,
            WorkerId(101),
            "both places are of another user"
        );
        assert!(queue.pop(now).is_none(), "there are two users now");
        queue.done(WorkerId(101));
        assert_eq!(
            queue.pop(now).unwrap().worker,
            WorkerId(201),
            "the users take turns"
        );
        assert!(queue.pop(now).is_none());
        let later = now + STARTING_COUNTS_FOR;
        assert_eq!(
            queue.pop(later).unwrap().worker,
            WorkerId(102),
            "who has none starting comes first"
        );
    }

    #[test]
    fn who_does_nothing_gives_its_place_back() {
        let mut queue = SpawnQueue::new(1);
        let mut now = Instant::now();
        let doing = |used, waits| {
            Some(Doing {
                used: Duration::from_millis(used),
                waits,
            })
        };
        (1..=4).for_each(|worker| queue.push(pending(worker, u64::from(worker))));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(1));
        let mut look = |queue: &mut SpawnQueue, doing| {
            now += LOOK_INTERVAL;
            let unseen = queue.unseen(now);
            unseen
                .iter()
                .for_each(|worker| queue.seen(*worker, doing, now));
            assert_eq!(queue.unseen(now), []);
            (unseen, queue.pop(now).map(|pending| pending.worker))
        };
        assert_eq!(
            look(&mut queue, doing(10, true)),
            (vec![WorkerId(1)], None),
            "once is no proof"
        );
        assert_eq!(
            look(&mut queue, doing(20, true)),
            (vec![WorkerId(1)], None),
            "it has done something"
        );
        assert_eq!(
            look(&mut queue, doing(20, false)),
            (vec![WorkerId(1)], None),
            "it would like to"
        );
        assert_eq!(look(&mut queue, None), (vec![WorkerId(1)], None));
        assert_eq!(look(&mut queue, doing(30, true)), (vec![WorkerId(1)], None));
        assert_eq!(
            look(&mut queue, doing(30, true)),
            (vec![WorkerId(1)], Some(WorkerId(2)))
        );
        assert!(queue.deadline().is_some());
        (3..=4).for_each(|worker| queue.cancel(WorkerId(worker)));
        assert_eq!(queue.deadline(), None, "nobody waits");
        assert_eq!(look(&mut queue, None), (vec![], None));
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
                if let Action::Spawn {
                    worker,
                    slot,
                    generation,
                    definition,
                } = action
                {
                    let failing = self.pools[at].is_failing();
                    let pool = PoolId::try_from(at).unwrap();
                    self.queue.push(Pending {
                        pool,
                        worker,
                        slot,
                        generation,
                        definition,
                        failing,
                        from_request: false,
                        plain: false,
                    });
                    self.asked = if at + 1 == self.pools.len() {
                        self.now
                    } else {
                        self.asked
                    };
                }
            }
        }

        fn start(&mut self) {
            while let Some(next) = self.queue.pop(self.now) {
                let at = next.pool as usize;
                if at + 1 == self.pools.len() {
                    self.waits.push(self.now - self.asked);
                }
                self.starting
                    .insert((self.now + Self::LOADING, next.worker), at);
                self.event(at, Event::Spawned(next.worker));
            }
        }

        /// What is due at this time: all but the last pool crash as they start.
        fn turn(&mut self) {
            let healthy = self.pools.len() - 1;
            while let Some(((_, worker), at)) =
                self.starting.first_key_value().map(|(key, at)| (*key, *at))
            {
                if self
                    .starting
                    .first_key_value()
                    .is_some_and(|((due, _), _)| *due > self.now)
                {
                    break;
                }
                self.starting.pop_first();
                self.queue.done(worker);
                if at == healthy {
                    self.event(at, Event::Ready(worker, BTreeSet::new()))
                } else {
                    self.event(at, Event::Exited(worker, "crashed".into(), false))
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
            queue: SpawnQueue::new(2),
            pools: (0..51)
                .map(|number| Pool::new(number, Arc::clone(&definition), true))
                .collect(),
            starting: BTreeMap::new(),
            waits: Vec::new(),
            asked: start,
        };
        for step in 1..=30_000_u32 {
            world.turn();
            if step.is_multiple_of(300) {
                // Killed every three seconds.
                let serving = world.pools[50]
                    .members()
                    .map(|(id, _)| id)
                    .find(|id| world.pools[50].accepts(*id));
                serving
                    .into_iter()
                    .for_each(|id| world.event(50, Event::Exited(id, "killed".into(), false)));
            }
            world.now = start + Duration::from_millis(10) * step;
        }
        let (boot, later) = world.waits.split_first().unwrap();
        // All 51 start for the first time: two at a time.
        assert!(*boot <= Simulation::LOADING * 26, "{boot:?}");
        assert!(
            later.len() > 80 && later.iter().all(|wait| *wait <= Duration::from_millis(10)),
            "{later:?}"
        );
    }

    #[test]
    fn pools_take_turns_within_the_limit() {
        let mut queue = SpawnQueue::new(2);
        let now = Instant::now();
        for (pool, worker) in [(1, 1), (1, 2), (1, 3), (2, 4)] {
            queue.push(pending(pool, worker));
        }
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(1));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(4));
        assert!(queue.pop(now).is_none());
        queue.done(WorkerId(1));
        assert_eq!(queue.pop(now).unwrap().worker, WorkerId(2));
        assert!(queue.pop(now).is_none());
        assert_eq!(
            queue.pop(now + STARTING_COUNTS_FOR).unwrap().worker,
            WorkerId(3)
        );
    }
}
