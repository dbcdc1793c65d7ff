//! Thousands of random event orders against a spawner and a clock that are not
//! real: whatever happens, the rules of the pool hold, and a world that calms
//! down is served again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use wsgid_protocol::control::RecycleReason;

use super::tests::{Bench, definition};
use super::{Action, Event, Mode, WorkerId};

const PROCESSES: u32 = 3;

/// What may happen next; numbers choose among the workers there are.
#[derive(Clone, Debug)]
enum Happening {
    Spawned(usize),
    SpawnFails(usize),
    Ready(usize),
    ReadyBroken(usize),
    Exits(usize),
    Lost(usize),
    Locked(usize),
    Recycle(usize, RecycleReason),
    Idle(usize),
    Waiting(usize),
    Define(u32),
    Restart,
    Stop,
    Start,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    prop_oneof![
        6 => any::<usize>().prop_map(H::Spawned),
        1 => any::<usize>().prop_map(H::SpawnFails),
        6 => any::<usize>().prop_map(H::Ready),
        1 => any::<usize>().prop_map(H::ReadyBroken),
        3 => any::<usize>().prop_map(H::Exits),
        1 => any::<usize>().prop_map(H::Lost),
        1 => any::<usize>().prop_map(H::Locked),
        1 => any::<usize>().prop_map(|n| H::Recycle(n, RecycleReason::ScriptChanged)),
        2 => any::<usize>().prop_map(|n| H::Recycle(n, RecycleReason::MaximumRequests)),
        1 => any::<usize>().prop_map(H::Idle),
        2 => (0..5_usize).prop_map(H::Waiting),
        1 => (1..4_u32).prop_map(H::Define),
        1 => Just(H::Restart),
        1 => Just(H::Stop),
        2 => Just(H::Start),
        4 => (1..20_000_u64).prop_map(H::Pass),
    ]
}

/// A spawner that keeps its own books about what the pool said.
struct World {
    bench: Bench,
    queued: BTreeMap<WorkerId, u64>,
    running: BTreeMap<WorkerId, u64>,
    draining: BTreeSet<WorkerId>,
    killed: BTreeSet<WorkerId>,
    refusing: bool,
    /// The workers take no requests.
    service: bool,
}

impl World {
    fn new(options: &[(&str, &str)]) -> Self {
        let (bench, queued, running) = (Bench::new(options, true), BTreeMap::new(), BTreeMap::new());
        let (draining, killed) = (BTreeSet::new(), BTreeSet::new());
        let service = options.contains(&("threads", "0"));
        let mut world = Self { bench, queued, running, draining, killed, refusing: false, service };
        world.obey();
        world
    }

    fn event(&mut self, event: Event) {
        self.bench.event(event);
        self.obey();
        self.check();
    }

    /// Does what the pool says, and complains about what makes no sense.
    fn obey(&mut self) {
        for action in std::mem::take(&mut self.bench.actions) {
            match action {
                Action::Spawn { worker, generation, .. } => {
                    assert!(self.queued.insert(worker, generation).is_none(), "a worker was asked for twice");
                }
                Action::CancelSpawn(id) => assert!(self.queued.remove(&id).is_some(), "nothing to cancel"),
                Action::Drain(id) => {
                    assert!(self.running.contains_key(&id) && self.draining.insert(id), "drained twice or not there");
                }
                Action::Stop(id, _) | Action::Terminate(id) | Action::Abort(id) => {
                    assert!(self.running.contains_key(&id))
                }
                Action::Kill(id) => assert!(self.running.contains_key(&id) && self.killed.insert(id), "killed twice"),
                Action::Refuse(..) => self.refusing = true,
                Action::Serve => self.refusing = false,
                Action::Switched(_) | Action::Discarded(..) | Action::Gone => {}
            }
        }
    }

    fn check(&self) {
        let pool = &self.bench.pool;
        let accepting: Vec<u64> =
            pool.members().filter(|(id, _)| pool.accepts(*id)).map(|(_, member)| member.generation).collect();
        assert!(accepting.iter().all(|number| *number == pool.generation()), "two generations accept");
        for number in [Some(pool.generation()), pool.next_generation()].into_iter().flatten() {
            let live = pool.members().filter(|(_, member)| member.generation == number && member.is_live());
            let (extra, plain): (Vec<_>, Vec<_>) = live.partition(|(_, member)| member.replaces.is_some());
            assert!(plain.len() <= PROCESSES as usize, "too many workers of one generation");
            assert!(extra.len() <= plain.len(), "more replacements than workers");
        }
        let all = pool.members().count();
        assert!(!self.service || all <= PROCESSES as usize, "a service runs once, also while it is replaced");
        let known: BTreeSet<WorkerId> = pool.members().map(|(id, _)| id).collect();
        let books: BTreeSet<WorkerId> = self.queued.keys().chain(self.running.keys()).copied().collect();
        assert_eq!(known, books, "every worker is waited for, and none is forgotten");
    }

    fn pick(of: &BTreeMap<WorkerId, u64>, n: usize) -> Option<WorkerId> {
        of.keys().nth(n.checked_rem(of.len())?).copied()
    }

    fn step(&mut self, happening: &Happening) {
        use Happening as H;
        match happening {
            H::Spawned(n) => {
                if let Some(id) = Self::pick(&self.queued, *n) {
                    let generation = self.queued.remove(&id).unwrap_or_default();
                    self.running.insert(id, generation);
                    self.event(Event::Spawned(id));
                }
            }
            H::SpawnFails(n) => {
                if let Some(id) = Self::pick(&self.queued, *n) {
                    self.queued.remove(&id);
                    self.event(Event::SpawnFailed(id, "refused".into()));
                }
            }
            H::Ready(n) => self.on(*n, |id| Event::Ready(id, BTreeSet::new())),
            H::ReadyBroken(n) if self.service => self.on(*n, |id| Event::Ready(id, BTreeSet::new())),
            H::ReadyBroken(n) => self.on(*n, |id| Event::Ready(id, BTreeSet::from(["/app.py".into()]))),
            H::Exits(n) => {
                if let Some(id) = Self::pick(&self.running, *n) {
                    self.running.remove(&id);
                    self.event(Event::Exited(id, "ended".into(), n % 5 == 0));
                }
            }
            H::Lost(n) => self.on(*n, Event::Lost),
            H::Locked(n) => self.on(*n, Event::Locked),
            H::Recycle(n, reason) => self.on(*n, |id| Event::Recycle(id, *reason)),
            H::Idle(n) => self.on(*n, Event::Idle),
            H::Waiting(count) => self.event(Event::Waiting(*count)),
            H::Define(threads) => {
                let number = threads.to_string();
                let threads = if self.service { "0" } else { &number };
                let options = [("processes", "3"), ("threads", threads), ("env", &format!("NUMBER={number}"))];
                self.event(Event::Define(definition(&options)));
            }
            H::Restart => self.event(Event::Restart),
            H::Stop => self.event(Event::Stop),
            H::Start => self.event(Event::Start),
            H::Pass(milliseconds) => self.pass(Duration::from_millis(*milliseconds)),
        }
    }

    fn on(&mut self, n: usize, event: impl FnOnce(WorkerId) -> Event) {
        if let Some(id) = Self::pick(&self.running, n) {
            self.event(event(id));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.bench.pass(time);
        self.obey();
        self.check();
    }

    /// Everything works from now on.
    fn calm(&mut self) {
        self.event(Event::Start);
        self.event(Event::Restart);
        self.event(Event::Waiting(1));
        for _ in 0..40 {
            for id in self.queued.keys().copied().collect::<Vec<_>>() {
                self.queued.remove(&id).map(|generation| self.running.insert(id, generation));
                self.event(Event::Spawned(id));
            }
            for id in self.running.keys().copied().collect::<Vec<_>>() {
                self.event(Event::Ready(id, BTreeSet::new()));
            }
            for id in self.draining.iter().chain(&self.killed).copied().collect::<BTreeSet<_>>() {
                if self.running.remove(&id).is_some() {
                    self.event(Event::Exited(id, "as asked".into(), false));
                }
            }
            self.pass(Duration::from_secs(2));
        }
    }
}

/// More in the release profile, where they take a second.
const fn cases() -> u32 {
    if cfg!(debug_assertions) { 300 } else { 5000 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn whatever_happens_the_rules_hold_and_calm_is_served(
        happenings in proptest::collection::vec(happening(), 1..120)
    ) {
        let mut world = World::new(&[("processes", "3"), ("restart-burst", "5")]);
        for happening in &happenings {
            world.step(happening);
        }
        world.calm();
        prop_assert_eq!(world.bench.pool.mode(), &Mode::Running);
        let pool = &world.bench.pool;
        let serving = pool.members().filter(|(id, _)| pool.accepts(*id)).count();
        prop_assert_eq!(serving, PROCESSES as usize);
        prop_assert!(!world.refusing, "a group that serves refuses nobody");
    }

    #[test]
    fn whatever_happens_a_service_runs_once(happenings in proptest::collection::vec(happening(), 1..120)) {
        let mut world = World::new(&[("processes", "3"), ("threads", "0"), ("restart-burst", "5")]);
        for happening in &happenings {
            world.step(happening);
        }
        world.calm();
        prop_assert_eq!(world.bench.pool.members().count(), PROCESSES as usize);
    }

    #[test]
    fn whatever_happens_shutdown_ends_everything_in_time(
        happenings in proptest::collection::vec(happening(), 1..60)
    ) {
        let mut world = World::new(&[("processes", "3"), ("shutdown-timeout", "5")]);
        for happening in &happenings {
            world.step(happening);
        }
        world.event(Event::Shutdown);
        world.pass(Duration::from_secs(6));
        let left: Vec<WorkerId> = world.running.keys().copied().filter(|id| !world.killed.contains(id)).collect();
        prop_assert!(left.is_empty() && world.queued.is_empty(), "not ended: {left:?}");
    }
}
