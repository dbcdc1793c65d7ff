//! Pools of one user under a limit, against random events: never are more processes started
//! than allowed, sharing comes to an end, and once the world is calm everybody serves and
//! every reload is done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use wsgid_protocol::control::RecycleReason;

use super::{Claim, share};
use crate::ids::{PoolId, WorkerId};
use crate::pool::{Action, Allowance, Event, WorkerPool, tests_definition as definition};

/// What the pools are: a fixed number, one that grows, one worker, bounded reloads, and one
/// that comes and goes.
const KINDS: &[&[(&str, &str)]] = &[
    &[("processes", "3")],
    &[("processes", "1..4")],
    &[("processes", "1")],
    &[("processes", "2"), ("reload-surge", "1")],
    &[("processes", "0..2"), ("idle-stop", "5")],
    &[("processes", "2"), ("threads", "0")],
];
/// Rounds in which sharing has to come to an end.
const ROUNDS: usize = 12;

#[derive(Clone, Debug)]
enum Happening {
    Spawned(usize),
    Ready(usize),
    Broken(usize),
    Exits(usize),
    Recycle(usize),
    Changed(usize),
    Waiting(usize, usize),
    Restart(usize),
    Stop(usize),
    Start(usize),
    Limit(usize),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    let any = any::<usize>;
    prop_oneof![
        6 => any().prop_map(H::Spawned),
        6 => any().prop_map(H::Ready),
        1 => any().prop_map(H::Broken),
        5 => any().prop_map(H::Exits),
        2 => any().prop_map(H::Recycle),
        1 => any().prop_map(H::Changed),
        3 => (any(), 0..3_usize).prop_map(|(n, count)| H::Waiting(n, count)),
        2 => any().prop_map(H::Restart),
        1 => any().prop_map(H::Stop),
        2 => any().prop_map(H::Start),
        1 => (KINDS.len()..12).prop_map(H::Limit),
        4 => (1..20_000_u64).prop_map(H::Pass),
    ]
}

struct World {
    pools: BTreeMap<PoolId, WorkerPool>,
    most: usize,
    now: Instant,
    /// All processes before the last event.
    before: usize,
    queued: BTreeSet<(PoolId, WorkerId)>,
    running: BTreeSet<(PoolId, WorkerId)>,
    ending: BTreeSet<(PoolId, WorkerId)>,
}

impl World {
    fn new(most: usize) -> Self {
        let ids = 1..=KINDS.len() as PoolId;
        let pools = ids.zip(KINDS).map(|(id, options)| {
            let mut pool = WorkerPool::new(id, definition(options), true);
            // Nobody starts anything before it is known what there is room for.
            pool.handle(Event::Allow(Some(Allowance::default())), Instant::now());
            (id, pool)
        });
        let mut world = Self {
            pools: pools.collect(),
            most,
            now: Instant::now(),
            before: 0,
            queued: BTreeSet::new(),
            running: BTreeSet::new(),
            ending: BTreeSet::new(),
        };
        world.share();
        world
    }

    fn all(&self) -> usize {
        self.queued.len() + self.running.len()
    }

    fn handle(&mut self, id: PoolId, event: Event) {
        let actions = self.pools.get_mut(&id).unwrap().handle(event, self.now);
        for action in actions {
            match action {
                Action::Spawn { worker, .. } => {
                    self.queued.insert((id, worker));
                    assert!(
                        self.all() <= self.most.max(self.before),
                        "{} processes, {} allowed",
                        self.all(),
                        self.most
                    );
                }
                Action::CancelSpawn(worker) => {
                    self.queued.remove(&(id, worker));
                }
                Action::Drain(worker) | Action::Stop(worker, _) | Action::Kill(worker) => {
                    self.ending.insert((id, worker));
                }
                _ => {}
            }
        }
        self.before = self.all();
    }

    fn event(&mut self, id: PoolId, event: Event) {
        self.handle(id, event);
        self.share();
    }

    fn share(&mut self) {
        for _ in 0..ROUNDS {
            let claims: Vec<Claim> = self
                .pools
                .iter()
                .map(|(id, pool)| Claim {
                    pool: *id,
                    demand: pool.demand(self.now),
                    idle: if pool.waiting() == 0 {
                        pool.accepting().count()
                    } else {
                        0
                    },
                })
                .collect();
            let mut is_over = true;
            for (id, allowed) in share(self.most, &claims) {
                let pool = &self.pools[&id];
                if pool.allowance() != Some(allowed) || pool.is_stuck(self.now) {
                    is_over = false;
                    self.handle(id, Event::Allow(Some(allowed)));
                }
            }
            if is_over {
                return;
            }
        }
        panic!("sharing does not come to an end");
    }

    fn pick(set: &BTreeSet<(PoolId, WorkerId)>, n: usize) -> Option<(PoolId, WorkerId)> {
        (!set.is_empty()).then(|| *set.iter().nth(n % set.len()).unwrap())
    }

    fn pool(n: usize) -> PoolId {
        (n % KINDS.len()) as PoolId + 1
    }

    fn exits(&mut self, of: (PoolId, WorkerId)) {
        self.running.remove(&of);
        self.ending.remove(&of);
        self.before = self.all();
        self.event(of.0, Event::Exited(of.1, "ended".into(), false));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        loop {
            let due = self.pools.iter();
            let due = due.filter_map(|(id, pool)| Some((pool.deadline(self.now)?, *id)));
            let Some((at, id)) = due.min().filter(|(at, _)| *at <= end) else {
                break;
            };
            turns += 1;
            assert!(
                turns < 10_000,
                "a timer that never ends: {:?}",
                self.pools[&id]
            );
            self.now = self.now.max(at);
            self.event(id, Event::Tick);
        }
        self.now = end;
        for id in 1..=KINDS.len() as PoolId {
            self.event(id, Event::Tick);
        }
    }

    fn step(&mut self, happening: &Happening) {
        match *happening {
            Happening::Spawned(n) => {
                if let Some(one) = Self::pick(&self.queued, n) {
                    self.queued.remove(&one);
                    self.running.insert(one);
                    self.event(one.0, Event::Spawned(one.1));
                }
            }
            Happening::Ready(n) => {
                if let Some((id, worker)) = Self::pick(&self.running, n) {
                    self.event(id, Event::Ready(worker, BTreeSet::new()));
                }
            }
            Happening::Broken(n) => {
                if let Some((id, worker)) = Self::pick(&self.running, n) {
                    self.event(id, Event::Ready(worker, BTreeSet::from(["/a".into()])));
                }
            }
            Happening::Exits(n) => {
                let ending = Self::pick(&self.ending, n).filter(|one| self.running.contains(one));
                if let Some(one) = ending.or_else(|| Self::pick(&self.running, n)) {
                    self.exits(one);
                }
            }
            Happening::Recycle(n) => {
                if let Some((id, worker)) = Self::pick(&self.running, n) {
                    self.event(id, Event::Recycle(worker, RecycleReason::MaximumRequests));
                }
            }
            Happening::Changed(n) => {
                if let Some((id, worker)) = Self::pick(&self.running, n) {
                    self.event(id, Event::Recycle(worker, RecycleReason::ScriptChanged));
                }
            }
            Happening::Waiting(n, count) => self.event(Self::pool(n), Event::Waiting(count)),
            Happening::Restart(n) => self.event(Self::pool(n), Event::Restart),
            Happening::Stop(n) => self.event(Self::pool(n), Event::Stop),
            Happening::Start(n) => self.event(Self::pool(n), Event::Start),
            Happening::Limit(most) => {
                self.most = most;
                self.share();
            }
            Happening::Pass(ms) => self.pass(Duration::from_millis(ms)),
        }
    }

    /// Whatever starts is ready, whatever is to end ends, and time passes.
    fn calm_down(&mut self) {
        for id in 1..=KINDS.len() as PoolId {
            self.event(id, Event::Start);
            self.event(id, Event::Waiting(1));
        }
        for _ in 0..200 {
            while let Some((id, worker)) = self.queued.pop_first() {
                self.running.insert((id, worker));
                self.event(id, Event::Spawned(worker));
            }
            for (id, worker) in self.running.clone() {
                if self.ending.contains(&(id, worker)) {
                    self.exits((id, worker));
                } else if self.pools[&id].starts(worker) {
                    self.event(id, Event::Ready(worker, BTreeSet::new()));
                }
            }
            self.pass(Duration::from_secs(2));
        }
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(60, |text| text.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]
    #[test]
    fn a_limit_holds_and_nobody_is_left_out(
        most in KINDS.len()..14,
        happenings in prop::collection::vec(happening(), 0..120),
    ) {
        let mut world = World::new(most);
        happenings.iter().for_each(|happening| world.step(happening));
        world.calm_down();
        prop_assert!(world.all() <= world.most);
        for (id, pool) in &world.pools {
            prop_assert!(
                pool.accepting().count() > 0,
                "pool {id} has no worker: {pool:?}"
            );
        }
        // A reload of all of them is done, wherever there is room.
        let before: Vec<u64> = world.pools.values().map(WorkerPool::generation).collect();
        for id in 1..=KINDS.len() as PoolId {
            world.event(id, Event::Restart);
        }
        world.calm_down();
        for ((id, pool), before) in world.pools.iter().zip(before) {
            prop_assert!(pool.generation() > before, "pool {id} is not reloaded: {pool:?}");
            prop_assert!(pool.next_generation().is_none() && pool.accepting().count() > 0);
            let old = pool.members().filter(|(_, member)| member.generation <= before);
            prop_assert_eq!(old.count(), 0, "pool {} has old workers: {:?}", id, pool);
        }
    }
}
