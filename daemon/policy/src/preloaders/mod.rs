//! `preload=On`: which preloader each worker is forked from, as a pure state
//! machine beside the pools. A pool asks for a worker as ever; this decides
//! whether it is forked, waits for a preloader that is still loading, or is
//! started in the plain way because there is none to be had. It does no I/O;
//! `supervisor/preload.rs` feeds it and does what it says.
//!
//! There is one preloader for each generation of a pool that has workers.

#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::definition::Definition;
use crate::ids::PoolId;
use crate::ids::WorkerId;

/// A pool's generation.
pub type Key = (PoolId, u64);

/// A preloader that was ready for so long has proved itself.
const PROVED_AFTER: Duration = Duration::from_secs(10);
/// Pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start a preloader.
    Start {
        /// Its number.
        preloader: WorkerId,
        /// For what.
        key: Key,
        /// What it is started from.
        definition: Arc<Definition>,
    },
    /// Have this worker forked.
    Fork {
        /// From this preloader.
        preloader: WorkerId,
        /// The worker's number.
        worker: WorkerId,
    },
    /// Start this worker without a preloader.
    Plain(WorkerId),
    /// Kill a preloader.
    End(WorkerId),
}

/// Where a preloader is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It loads the application.
    Loading {
        /// When its patience ends, if it has an end.
        until: Option<Instant>,
    },
    /// Workers can be forked from it.
    Ready {
        /// It has been so since then.
        since: Instant,
        /// A script failed in it, and so does it in each worker forked from it.
        flawed: bool,
        /// It is time to try that script again.
        spent: bool,
    },
    /// There is none until then, or as long as the generation lives.
    Resting {
        /// When the next is tried.
        until: Option<Instant>,
    },
}

/// All that concerns one generation.
#[derive(Debug)]
struct Nest {
    definition: Arc<Definition>,
    phase: Phase,
    /// Its process.
    preloader: Option<WorkerId>,
    /// Workers that wait for it.
    waiting: VecDeque<WorkerId>,
    /// Workers that it was told to fork.
    forking: BTreeSet<WorkerId>,
    failures: u32,
    /// It was ready once, so that it is worth another start in the background.
    worked: bool,
}

/// All preloaders.
#[derive(Debug, Default)]
pub struct Nursery {
    nests: BTreeMap<Key, Nest>,
    ids: u64,
}

type Actions = Vec<Action>;

impl Nursery {
    /// A worker is wanted.
    pub fn want(
        &mut self,
        key: Key,
        worker: WorkerId,
        definition: &Arc<Definition>,
        now: Instant,
    ) -> Actions {
        let mut out = Actions::new();
        let nest = self
            .nests
            .entry(key)
            .or_insert_with(|| Nest::new(definition));
        match nest.phase {
            Phase::Ready { spent: true, .. } => {
                out.extend(nest.preloader.take().map(Action::End));
                nest.waiting.push_back(worker);
                nest.start(key, &mut self.ids, now, &mut out);
            }
            Phase::Ready { .. } => nest.fork(worker, &mut out),
            Phase::Loading { .. } => nest.waiting.push_back(worker),
            Phase::Resting { until } if until.is_some_and(|at| at <= now) || nest.is_new() => {
                nest.waiting.push_back(worker);
                nest.start(key, &mut self.ids, now, &mut out);
            }
            Phase::Resting { .. } => out.push(Action::Plain(worker)),
        }
        out
    }

    /// Starts a preloader for workers that are there already.
    pub fn warm(&mut self, key: Key, definition: &Arc<Definition>, now: Instant) -> Actions {
        let mut out = Actions::new();
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.nests.entry(key) {
            vacant
                .insert(Nest::new(definition))
                .start(key, &mut self.ids, now, &mut out);
        }
        out
    }

    /// A worker is not wanted any more.
    pub fn cancel(&mut self, worker: WorkerId) {
        for nest in self.nests.values_mut() {
            nest.waiting.retain(|waiting| *waiting != worker);
            nest.forking.remove(&worker);
        }
    }

    /// A preloader has loaded the application; scripts may have failed.
    pub fn ready(&mut self, preloader: WorkerId, flawed: bool, now: Instant) -> Actions {
        let mut out = Actions::new();
        let Some(nest) = self.nest_of(preloader) else {
            return out;
        };
        if matches!(nest.phase, Phase::Loading { .. }) {
            nest.phase = Phase::Ready {
                since: now,
                flawed,
                spent: false,
            };
            nest.worked = true;
            for worker in std::mem::take(&mut nest.waiting) {
                nest.fork(worker, &mut out);
            }
        }
        out
    }

    /// A worker asks for a successor because a script failed in it. One that
    /// was forked from the same preloader would be no better.
    pub fn load_failed(&mut self, key: Key) {
        if let Some(Phase::Ready {
            flawed: true,
            spent,
            ..
        }) = self.nests.get_mut(&key).map(|nest| &mut nest.phase)
        {
            *spent = true;
        }
    }

    /// A preloader cannot fork: nor could the next one of this generation.
    pub fn cannot(&mut self, preloader: WorkerId) -> Actions {
        let mut out = Actions::new();
        if let Some(nest) = self.nest_of(preloader) {
            nest.give_up(None, &mut out);
        }
        out
    }

    /// A preloader has ended, or could not be started.
    pub fn exited(&mut self, preloader: WorkerId, now: Instant) -> Actions {
        let mut out = Actions::new();
        let ids = &mut self.ids;
        let Some((key, nest)) = self
            .nests
            .iter_mut()
            .find(|(_, nest)| nest.preloader == Some(preloader))
        else {
            return out;
        };
        nest.preloader = None;
        let proved = matches!(nest.phase, Phase::Ready { since, .. } if now.duration_since(since) >= PROVED_AFTER);
        if proved {
            nest.failures = 0;
            nest.give_up(Some(now), &mut out);
            nest.start(*key, ids, now, &mut out);
        } else {
            nest.fail(now, &mut out);
        }
        out
    }

    /// A worker was forked.
    pub fn forked(&mut self, worker: WorkerId) {
        for nest in self.nests.values_mut() {
            nest.forking.remove(&worker);
        }
    }

    /// A worker was not forked in time.
    pub fn not_forked(&mut self, worker: WorkerId, now: Instant) -> Actions {
        let mut out = Actions::new();
        if let Some(nest) = self
            .nests
            .values_mut()
            .find(|nest| nest.forking.contains(&worker))
        {
            nest.fail(now, &mut out);
        }
        out
    }

    /// Ends the preloaders of a pool's generations that have no workers.
    pub fn keep(&mut self, pool: PoolId, generations: &[u64]) -> Actions {
        let mut out = Actions::new();
        let of_pool = self
            .nests
            .range((pool, 0)..=(pool, u64::MAX))
            .map(|(key, _)| *key);
        let gone: Vec<Key> = of_pool
            .filter(|(_, generation)| !generations.contains(generation))
            .collect();
        for key in gone {
            if let Some(mut nest) = self.nests.remove(&key) {
                nest.give_up(None, &mut out);
            }
        }
        out
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Actions {
        let mut out = Actions::new();
        for (key, nest) in &mut self.nests {
            match nest.phase {
                Phase::Loading { until: Some(at) } if at <= now => nest.fail(now, &mut out),
                Phase::Resting { until: Some(at) } if at <= now && nest.worked => {
                    nest.start(*key, &mut self.ids, now, &mut out);
                }
                _ => {}
            }
        }
        out
    }

    /// When `tick` is due, at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let due = |nest: &Nest| match nest.phase {
            Phase::Loading { until } => until,
            Phase::Resting { until } => until.filter(|_| nest.worked),
            Phase::Ready { .. } => None,
        };
        self.nests.values().filter_map(due).min()
    }

    /// The preloader of a generation, for the status.
    pub fn phase(&self, key: Key) -> Option<(Phase, Option<WorkerId>)> {
        self.nests
            .get(&key)
            .map(|nest| (nest.phase, nest.preloader))
    }

    /// Whether a pool has any.
    pub fn knows(&self, pool: PoolId) -> bool {
        self.nests
            .range((pool, 0)..=(pool, u64::MAX))
            .next()
            .is_some()
    }

    fn nest_of(&mut self, preloader: WorkerId) -> Option<&mut Nest> {
        self.nests
            .values_mut()
            .find(|nest| nest.preloader == Some(preloader))
    }
}

impl Nest {
    fn new(definition: &Arc<Definition>) -> Self {
        Self {
            definition: Arc::clone(definition),
            phase: Phase::Resting { until: None },
            preloader: None,
            waiting: VecDeque::new(),
            forking: BTreeSet::new(),
            failures: 0,
            worked: false,
        }
    }

    /// Whether it has never been tried.
    fn is_new(&self) -> bool {
        self.phase == Phase::Resting { until: None }
            && self.failures == 0
            && !self.worked
            && self.preloader.is_none()
    }

    fn start(&mut self, key: Key, ids: &mut u64, now: Instant, out: &mut Actions) {
        *ids += 1;
        let limit = self.definition.config.startup_timeout;
        self.phase = Phase::Loading {
            until: (!limit.is_zero()).then(|| now + limit),
        };
        // Pools count from 1, so that these ids are nobody else's.
        let preloader = WorkerId(*ids);
        self.preloader = Some(preloader);
        out.push(Action::Start {
            preloader,
            key,
            definition: Arc::clone(&self.definition),
        });
    }

    fn fork(&mut self, worker: WorkerId, out: &mut Actions) {
        if let Some(preloader) = self.preloader {
            self.forking.insert(worker);
            out.push(Action::Fork { preloader, worker });
        }
    }

    /// Ends it and rests for a while, longer each time.
    fn fail(&mut self, now: Instant, out: &mut Actions) {
        self.failures = self.failures.saturating_add(1);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << (self.failures - 1).min(10))
            .min(LONGEST_PAUSE);
        self.give_up(Some(now + pause), out);
    }

    fn give_up(&mut self, until: Option<Instant>, out: &mut Actions) {
        out.extend(self.preloader.take().map(Action::End));
        self.phase = Phase::Resting { until };
        if until.is_none() {
            // Not to be taken for one that was never tried.
            self.failures = self.failures.max(1);
        }
        out.extend(self.waiting.drain(..).map(Action::Plain));
        out.extend(
            std::mem::take(&mut self.forking)
                .into_iter()
                .map(Action::Plain),
        );
    }
}
