//! Random orders of everything that can happen to preloaders: no worker is
//! forgotten or started twice, there is one preloader for a generation, and
//! none is left where nobody needs it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::pool::tests_definition as definition;

/// What may happen next; numbers choose among what there is.
#[derive(Clone, Debug)]
enum Happening {
    Want(u64),
    Cancel(usize),
    Ready(usize, bool),
    Cannot(usize),
    Exits(usize),
    Forked(usize),
    NotForked(usize),
    Keep(u64),
    LoadFailed(u64),
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening as H;
    prop_oneof![
        6 => (1..4_u64).prop_map(H::Want),
        1 => any::<usize>().prop_map(H::Cancel),
        5 => (any::<usize>(), any::<bool>()).prop_map(|(n, flawed)| H::Ready(n, flawed)),
        1 => any::<usize>().prop_map(H::Cannot),
        3 => any::<usize>().prop_map(H::Exits),
        4 => any::<usize>().prop_map(H::Forked),
        1 => any::<usize>().prop_map(H::NotForked),
        1 => (1..4_u64).prop_map(H::Keep),
        1 => (1..4_u64).prop_map(H::LoadFailed),
        3 => (1..20_000_u64).prop_map(H::Pass),
    ]
}

/// Keeps its own books.
struct World {
    preloaders: Preloaders,
    now: Instant,
    definition: Arc<Definition>,
    last: u64,
    /// Workers that were asked for and are neither started nor cancelled.
    open: BTreeSet<WorkerId>,
    /// Of them, those that a preloader was told to fork.
    forking: BTreeMap<WorkerId, WorkerId>,
    /// Preloaders that run.
    alive: BTreeMap<WorkerId, GenerationKey>,
    ready: BTreeSet<WorkerId>,
    ended: BTreeSet<WorkerId>,
}

impl World {
    fn new() -> Self {
        Self {
            preloaders: Preloaders::default(),
            now: Instant::now(),
            definition: definition(&[("startup-timeout", "30")]),
            last: 0,
            open: BTreeSet::new(),
            forking: BTreeMap::new(),
            alive: BTreeMap::new(),
            ready: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    fn carry_out(&mut self, actions: Actions) {
        for action in actions {
            match action {
                PreloaderAction::Start { preloader, key, .. } => {
                    let running = self
                        .alive
                        .iter()
                        .filter(|(id, of)| **of == key && !self.ended.contains(id))
                        .count();
                    assert_eq!(running, 0, "two preloaders for one generation");
                    assert!(
                        self.alive.insert(preloader, key).is_none(),
                        "an id was used twice"
                    );
                }
                PreloaderAction::Fork { preloader, worker } => {
                    assert!(
                        self.ready.contains(&preloader) && !self.ended.contains(&preloader),
                        "it cannot fork"
                    );
                    assert!(self.open.contains(&worker), "a worker that nobody wants");
                    assert!(
                        self.forking.insert(worker, preloader).is_none(),
                        "forked twice"
                    );
                }
                PreloaderAction::Plain(worker) => {
                    self.forking.remove(&worker);
                    assert!(self.open.remove(&worker), "started twice, or never wanted");
                }
                PreloaderAction::End(preloader) | PreloaderAction::Overdue(preloader) => {
                    // One that has ended by itself just now may be ended again.
                    assert!(self.ended.insert(preloader), "ended twice");
                }
            }
        }
    }

    fn pick<T: Copy + Ord>(of: &BTreeSet<T>, n: usize) -> Option<T> {
        of.iter().nth(n.checked_rem(of.len())?).copied()
    }

    fn step(&mut self, happening: &Happening) {
        use Happening as H;
        let alive: BTreeSet<WorkerId> = self.alive.keys().copied().collect();
        let forking: BTreeSet<WorkerId> = self.forking.keys().copied().collect();
        let actions = match *happening {
            H::Want(generation) => {
                self.last += 1;
                let worker = WorkerId(1 << 32 | self.last);
                self.open.insert(worker);
                self.preloaders
                    .want((1, generation), worker, &self.definition, self.now)
            }
            H::Cancel(n) => {
                let Some(worker) = Self::pick(&self.open, n) else {
                    return;
                };
                self.open.remove(&worker);
                self.forking.remove(&worker);
                self.preloaders.cancel(worker);
                return;
            }
            H::Ready(n, flawed) => {
                let Some(id) = Self::pick(&alive, n) else {
                    return;
                };
                self.ready.insert(id);
                self.preloaders.ready(id, flawed, self.now)
            }
            H::Cannot(n) => Self::pick(&alive, n)
                .map(|id| self.preloaders.cannot(id))
                .unwrap_or_default(),
            H::Exits(n) => {
                let Some(id) = Self::pick(&alive, n) else {
                    return;
                };
                self.alive.remove(&id);
                self.preloaders.exited(id, self.now)
            }
            H::Forked(n) => {
                let Some(worker) = Self::pick(&forking, n) else {
                    return;
                };
                self.forking.remove(&worker);
                self.open.remove(&worker);
                self.preloaders.forked(worker);
                return;
            }
            H::NotForked(n) => Self::pick(&forking, n)
                .map(|worker| self.preloaders.not_forked(worker, self.now))
                .unwrap_or_default(),
            H::LoadFailed(generation) => return self.preloaders.load_failed((1, generation)),
            H::Keep(generation) => self.preloaders.keep(1, &[generation]),
            H::Pass(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.preloaders.tick(self.now)
            }
        };
        self.carry_out(actions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 5000 }))]

    #[test]
    fn whatever_happens_every_worker_is_started_once(happenings in proptest::collection::vec(happening(), 1..150)) {
        let mut world = World::new();
        for happening in &happenings {
            world.step(happening);
        }
        // Everything works from now on.
        for _ in 0..8 {
            for n in 0..world.alive.len() {
                world.step(&Happening::Ready(n, false));
            }
            while !world.forking.is_empty() {
                world.step(&Happening::Forked(0));
            }
            world.step(&Happening::Pass(100_000));
        }
        prop_assert!(world.open.is_empty(), "workers that wait for ever: {:?} {:?}", world.open, world.preloaders);
        let actions = world.preloaders.keep(1, &[]);
        world.carry_out(actions);
        let left: Vec<_> = world.alive.keys().filter(|id| !world.ended.contains(id)).collect();
        prop_assert!(left.is_empty(), "preloaders that nobody ends: {left:?}");
    }
}
