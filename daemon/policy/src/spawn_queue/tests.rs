//! Who starts next, one by one and in a simulation of 51 pools.

use std::path::PathBuf;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::{Identity, ServerFacts};

use super::*;
use crate::pool::{Action, Event, WorkerPool};

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
    assert!(queue.pop(now).is_none(), "they have one slot of two");
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
        "both slots are of another user"
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
    pools: Vec<WorkerPool>,
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
            .map(|number| WorkerPool::new(number, Arc::clone(&definition), true))
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
