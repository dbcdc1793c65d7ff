//! Thousands of random event orders against a spawner and a clock that are not
//! real: whatever happens, the rules of the pool hold, and a world that calms
//! down is served again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use wsgid_protocol::control::RecycleReason;

use super::tests::{Bench, definition};
use super::{Action, Event, Mode};
use crate::ids::WorkerId;

/// The most of each kind of group below.
const PROCESSES: u32 = 3;
/// `restart-window`.
const WINDOW: Duration = Duration::from_secs(60);

/// A group with a fixed number, one with a range, one that comes and goes, and
/// a service.
const KINDS: &[(&[(&str, &str)], bool)] = &[
    (&[("processes", "3"), ("restart-burst", "5")], true),
    (&[("processes", "1..3"), ("restart-burst", "5")], true),
    (
        &[
            ("processes", "0..3"),
            ("restart-burst", "5"),
            ("idle-stop", "5"),
        ],
        false,
    ),
    (
        &[("processes", "3"), ("restart-burst", "5"), ("threads", "0")],
        true,
    ),
    (
        &[
            ("processes", "3"),
            ("restart-burst", "5"),
            ("reload-surge", "1"),
        ],
        true,
    ),
];

/// What may happen next; numbers choose among the workers there are.
#[derive(Clone, Debug)]
enum Happening {
    Spawned(usize),
    SpawnFails(usize),
    Ready(usize),
    ReadyBroken(usize),
    NotWarmed(usize),
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
        1 => any::<usize>().prop_map(H::NotWarmed),
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
    kind: usize,
    queued: BTreeMap<WorkerId, u64>,
    running: BTreeMap<WorkerId, u64>,
    ready: BTreeSet<WorkerId>,
    draining: BTreeSet<WorkerId>,
    killed: BTreeSet<WorkerId>,
    /// Told to end, in whatever way.
    told: BTreeSet<WorkerId>,
    /// The generation that serves, as the pool has said.
    serving: u64,
    /// The last start of a group that was failed before and after.
    tried: Option<Instant>,
    refusing: bool,
    gone: usize,
}

impl World {
    fn after(kind: usize, happenings: &[Happening]) -> Self {
        let mut world = Self::new(kind);
        happenings
            .iter()
            .for_each(|happening| world.step(happening));
        world
    }

    fn new(kind: usize) -> Self {
        let (options, eager) = KINDS[kind];
        let mut world = Self {
            bench: Bench::new(options, eager),
            kind,
            queued: BTreeMap::new(),
            running: BTreeMap::new(),
            ready: BTreeSet::new(),
            draining: BTreeSet::new(),
            killed: BTreeSet::new(),
            told: BTreeSet::new(),
            serving: 1,
            tried: None,
            refusing: false,
            gone: 0,
        };
        world.obey(false);
        world
    }

    /// Whether the workers take no requests.
    fn service(&self) -> bool {
        KINDS[self.kind].0.contains(&("threads", "0"))
    }

    /// Whether one worker more is the most.
    fn surges(&self) -> bool {
        KINDS[self.kind].0.contains(&("reload-surge", "1"))
    }

    fn event(&mut self, event: Event) {
        let failed = self.has_failed();
        self.bench.event(event);
        self.obey(failed);
        self.check();
    }

    fn has_failed(&self) -> bool {
        matches!(self.bench.pool.mode(), Mode::Failed { .. })
    }

    /// Does what the pool says, and complains about what makes no sense.
    fn obey(&mut self, had_failed: bool) {
        let is_failed = self.has_failed();
        if !is_failed {
            self.tried = None;
        }
        for action in std::mem::take(&mut self.bench.actions) {
            match action {
                Action::Spawn {
                    worker, generation, ..
                } => {
                    assert!(
                        self.queued.insert(worker, generation).is_none(),
                        "a worker was asked for twice"
                    );
                    if had_failed && is_failed {
                        let last = self.tried.replace(self.bench.now);
                        let early = last.is_some_and(|last| self.bench.now < last + WINDOW);
                        assert!(!early, "a failed group is tried once in a window");
                    }
                }
                Action::CancelSpawn(id) => {
                    assert!(self.queued.remove(&id).is_some(), "nothing to cancel")
                }
                Action::Drain(id) => {
                    assert!(
                        self.running.contains_key(&id) && self.draining.insert(id),
                        "drained twice or not there"
                    );
                    self.told.insert(id);
                }
                Action::Stop(id, _)
                | Action::Overdue(id)
                | Action::Terminate(id)
                | Action::Abort(id) => {
                    assert!(self.running.contains_key(&id));
                    self.told.insert(id);
                }
                Action::Kill(id) => {
                    assert!(
                        self.running.contains_key(&id) && self.killed.insert(id),
                        "killed twice"
                    );
                    self.told.insert(id);
                }
                Action::Refuse(..) => self.refusing = true,
                Action::Serve => self.refusing = false,
                Action::Switched(generation) => self.serving = generation,
                Action::Discarded(..) | Action::TakenBack(_) => {}
                Action::Gone => self.gone += 1,
            }
        }
        if *self.bench.pool.mode() == Mode::Stopped {
            // Nobody serves; whoever does next is of the pool's generation.
            self.serving = self.bench.pool.generation();
        }
    }

    fn check(&self) {
        let pool = &self.bench.pool;
        for (id, member) in pool.members().filter(|(id, _)| pool.accepts(*id)) {
            assert!(
                member.generation == self.serving || (member.outgoing && self.surges()),
                "one accepts that does not belong to what serves"
            );
            assert!(self.ready.contains(&id), "one accepts that was never ready");
            assert!(!self.told.contains(&id), "one accepts that was told to end");
        }
        let wanted: Vec<u64> = [Some(pool.generation()), pool.next_generation()]
            .into_iter()
            .flatten()
            .collect();
        let outgoing = |wanted: &WorkerId| {
            pool.members()
                .any(|(id, member)| id == *wanted && member.outgoing)
        };
        for (id, generation) in &self.running {
            assert!(
                wanted.contains(generation) || self.told.contains(id) || outgoing(id),
                "one of a generation that nobody wants was not told to end"
            );
        }
        assert!(
            self.queued
                .values()
                .all(|generation| wanted.contains(generation)),
            "one starts that nobody wants"
        );
        for number in wanted {
            let live = pool
                .members()
                .filter(|(_, member)| member.generation == number && member.is_live());
            let (extra, plain): (Vec<_>, Vec<_>) =
                live.partition(|(_, member)| member.replaces.is_some());
            assert!(
                plain.len() <= PROCESSES as usize,
                "too many workers of one generation"
            );
            assert!(extra.len() <= plain.len(), "more replacements than workers");
        }
        let live = pool.members().map(|(_, member)| member);
        let live = live.filter(|member| member.is_live() && member.replaces.is_none());
        let most = PROCESSES as usize + 1;
        assert!(
            !self.surges() || live.count() <= most,
            "more workers at once than reload-surge allows"
        );
        for (id, member) in pool.members().filter(|(_, member)| member.is_ready()) {
            let forgotten = !member.outgoing
                && member.recycle.is_some_and(|recycle| recycle.at.is_none())
                && !pool
                    .members()
                    .any(|(_, other)| other.replaces == Some(id) && other.is_live());
            assert!(!forgotten, "one is to be replaced, and nothing will do it");
        }
        let all = pool.members().count();
        assert!(
            !self.service() || all <= PROCESSES as usize,
            "a service runs once, also while it is replaced"
        );
        let known: BTreeSet<WorkerId> = pool.members().map(|(id, _)| id).collect();
        let books: BTreeSet<WorkerId> = self
            .queued
            .keys()
            .chain(self.running.keys())
            .copied()
            .collect();
        assert_eq!(
            known, books,
            "every worker is waited for, and none is forgotten"
        );
    }

    fn pick(of: &BTreeMap<WorkerId, u64>, n: usize) -> Option<WorkerId> {
        of.keys().nth(n.checked_rem(of.len())?).copied()
    }

    fn step(&mut self, happening: &Happening) {
        use Happening as H;
        match happening {
            H::Spawned(n) => {
                if let Some(id) = Self::pick(&self.queued, *n) {
                    self.spawned(id);
                }
            }
            H::SpawnFails(n) => {
                if let Some(id) = Self::pick(&self.queued, *n) {
                    self.queued.remove(&id);
                    self.event(Event::SpawnFailed(id, "refused".into()));
                }
            }
            H::Ready(n) => self.on(*n, |world, id| world.is_ready(id, BTreeSet::new())),
            H::ReadyBroken(n) if self.service() => {
                self.on(*n, |world, id| world.is_ready(id, BTreeSet::new()))
            }
            H::ReadyBroken(n) => self.on(*n, |world, id| {
                world.is_ready(id, BTreeSet::from(["/app.py".into()]))
            }),
            H::NotWarmed(n) => self.on(*n, |world, id| {
                world.event(Event::NotWarmed(id, "answered with 500".into()));
            }),
            H::Exits(n) => self.on(*n, |world, id| world.exits(id, n % 5 == 0)),
            H::Lost(n) => self.on(*n, |world, id| world.event(Event::Lost(id))),
            H::Locked(n) => self.on(*n, |world, id| world.event(Event::Locked(id))),
            H::Recycle(n, reason) => {
                self.on(*n, |world, id| world.event(Event::Recycle(id, *reason)))
            }
            H::Idle(n) => self.on(*n, |world, id| world.event(Event::Idle(id))),
            H::Waiting(count) => self.event(Event::Waiting(*count)),
            H::Define(number) => {
                let number = format!("NUMBER={number}");
                let options = [KINDS[self.kind].0, &[("env", number.as_str())][..]].concat();
                self.event(Event::Define(definition(&options)));
            }
            H::Restart => self.event(Event::Restart),
            H::Stop => self.event(Event::Stop),
            H::Start => self.event(Event::Start),
            H::Pass(milliseconds) => self.pass(Duration::from_millis(*milliseconds)),
        }
    }

    fn on(&mut self, n: usize, happens: impl FnOnce(&mut Self, WorkerId)) {
        if let Some(id) = Self::pick(&self.running, n) {
            happens(self, id);
        }
    }

    fn spawned(&mut self, id: WorkerId) {
        let generation = self.queued.remove(&id).unwrap_or_default();
        self.running.insert(id, generation);
        self.event(Event::Spawned(id));
    }

    fn is_ready(&mut self, id: WorkerId, failed: BTreeSet<std::path::PathBuf>) {
        self.ready.insert(id);
        self.event(Event::Ready(id, failed));
    }

    fn exits(&mut self, id: WorkerId, hopeless: bool) {
        if self.running.remove(&id).is_some() {
            self.event(Event::Exited(id, "ended".into(), hopeless));
        }
    }

    /// Timer by timer, so that none can hide behind another.
    fn pass(&mut self, time: Duration) {
        let end = self.bench.now + time;
        while let Some(at) = self
            .bench
            .pool
            .deadline(self.bench.now)
            .filter(|at| *at <= end)
        {
            self.bench.now = self.bench.now.max(at);
            self.event(Event::Tick);
        }
        self.bench.now = end;
        self.event(Event::Tick);
    }

    /// Everything works from now on, and whoever is told to end does.
    fn calm(&mut self, turns: usize) {
        for _ in 0..turns {
            for id in self.queued.keys().copied().collect::<Vec<_>>() {
                // One start may call another off.
                if self.queued.contains_key(&id) {
                    self.spawned(id);
                }
            }
            for id in self.running.keys().copied().collect::<Vec<_>>() {
                self.is_ready(id, BTreeSet::new());
            }
            for id in self
                .draining
                .iter()
                .chain(&self.killed)
                .copied()
                .collect::<BTreeSet<_>>()
            {
                self.exits(id, false);
            }
            self.pass(Duration::from_secs(2));
        }
    }

    fn serving(&self) -> usize {
        self.bench
            .pool
            .members()
            .filter(|(id, _)| self.bench.pool.accepts(*id))
            .count()
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
        kind in 0..KINDS.len(), happenings in proptest::collection::vec(happening(), 1..120)
    ) {
        let mut world = World::after(kind, &happenings);
        world.event(Event::Start);
        world.event(Event::Restart);
        world.event(Event::Waiting(5));
        world.calm(40);
        prop_assert_eq!(world.bench.pool.mode(), &Mode::Running);
        prop_assert_eq!(world.serving(), PROCESSES as usize);
        prop_assert!(!world.refusing, "a group that serves refuses nobody");
    }

    /// Nobody commands anything: time alone has to bring everything back.
    #[test]
    fn whatever_happens_no_timer_is_lost(
        kind in 0..KINDS.len(), happenings in proptest::collection::vec(happening(), 1..120)
    ) {
        let mut world = World::after(kind, &happenings);
        if *world.bench.pool.mode() == Mode::Stopped {
            world.event(Event::Start);
        }
        world.event(Event::Waiting(1));
        world.calm(80);
        prop_assert_eq!(world.bench.pool.mode(), &Mode::Running);
        prop_assert_eq!(world.serving(), PROCESSES as usize);
        prop_assert!(!world.refusing, "a group that serves refuses nobody");
        let pool = &world.bench.pool;
        prop_assert_eq!(pool.next_generation(), None);
        let left: Vec<_> = pool.members().filter(|(_, member)| member.recycle.is_some()).collect();
        prop_assert!(left.is_empty(), "still to be replaced: {left:?}");
    }

    #[test]
    fn whatever_happens_shutdown_ends_everything_in_time(
        kind in 0..KINDS.len(), happenings in proptest::collection::vec(happening(), 1..60)
    ) {
        let mut world = World::after(kind, &happenings);
        world.event(Event::Shutdown);
        world.pass(Duration::from_secs(6));
        let left: Vec<WorkerId> = world.running.keys().copied().filter(|id| !world.killed.contains(id)).collect();
        prop_assert!(left.is_empty() && world.queued.is_empty(), "not ended: {left:?}");
        world.calm(1);
        prop_assert_eq!((world.gone, world.running.len()), (1, 0));
    }

    /// The workers finish what they have; none is started again.
    #[test]
    fn whatever_happens_a_removed_group_goes_once(
        kind in 0..KINDS.len(), happenings in proptest::collection::vec(happening(), 1..60), late in 0..3_usize
    ) {
        let mut world = World::after(kind, &happenings);
        world.event(Event::Remove);
        for _ in 0..late {
            world.step(&Happening::Exits(0));
        }
        prop_assert!(world.queued.is_empty() && world.refusing);
        world.calm(20);
        prop_assert_eq!((world.gone, world.running.len(), world.queued.len()), (1, 0, 0));
    }

    /// `restart-burst` in `restart-window`, however the failures are spread.
    #[test]
    fn a_group_that_never_starts_is_tried_with_restraint(
        pauses in proptest::collection::vec(0..4_000_u64, 1..200)
    ) {
        let mut world = World::new(0);
        let mut starts = Vec::new();
        for pause in pauses {
            for id in world.queued.keys().copied().collect::<Vec<_>>() {
                if world.queued.contains_key(&id) {
                    starts.push(world.bench.now);
                    world.spawned(id);
                }
            }
            for id in world.running.keys().copied().collect::<Vec<_>>() {
                world.exits(id, false);
            }
            world.pass(Duration::from_millis(pause));
        }
        // The burst, those that started beside the last of it, and the one try.
        let most = 5 + 1 + PROCESSES as usize;
        for (at, first) in starts.iter().enumerate() {
            let within = starts[at..].iter().take_while(|start| **start < *first + WINDOW).count();
            prop_assert!(within <= most, "{within} starts in a window");
        }
    }
}
