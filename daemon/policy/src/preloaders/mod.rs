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
pub type GenerationKey = (PoolId, u64);

/// A preloader that was ready for so long has proved itself.
const PROVED_AFTER: Duration = Duration::from_secs(10);
/// Pause after the first failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Clone, Debug)]
pub enum PreloaderAction {
    /// Start a preloader.
    Start {
        /// Its number.
        preloader: WorkerId,
        /// For what.
        key: GenerationKey,
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
pub enum PreloaderPhase {
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
struct Preloader {
    definition: Arc<Definition>,
    phase: PreloaderPhase,
    /// Its process.
    process: Option<WorkerId>,
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
pub struct Preloaders {
    all: BTreeMap<GenerationKey, Preloader>,
    ids: u64,
}

type Actions = Vec<PreloaderAction>;

impl Preloaders {
    /// A worker is wanted.
    pub fn want(
        &mut self,
        key: GenerationKey,
        worker: WorkerId,
        definition: &Arc<Definition>,
        now: Instant,
    ) -> Actions {
        let mut out = Actions::new();
        let preloader = self
            .all
            .entry(key)
            .or_insert_with(|| Preloader::new(definition));
        match preloader.phase {
            PreloaderPhase::Ready { spent: true, .. } => {
                out.extend(preloader.process.take().map(PreloaderAction::End));
                preloader.waiting.push_back(worker);
                preloader.start(key, &mut self.ids, now, &mut out);
            }
            PreloaderPhase::Ready { .. } => preloader.fork(worker, &mut out),
            PreloaderPhase::Loading { .. } => preloader.waiting.push_back(worker),
            PreloaderPhase::Resting { until }
                if until.is_some_and(|at| at <= now) || preloader.is_new() =>
            {
                preloader.waiting.push_back(worker);
                preloader.start(key, &mut self.ids, now, &mut out);
            }
            PreloaderPhase::Resting { .. } => out.push(PreloaderAction::Plain(worker)),
        }
        out
    }

    /// Starts a preloader for workers that are there already.
    pub fn warm(
        &mut self,
        key: GenerationKey,
        definition: &Arc<Definition>,
        now: Instant,
    ) -> Actions {
        let mut out = Actions::new();
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.all.entry(key) {
            vacant
                .insert(Preloader::new(definition))
                .start(key, &mut self.ids, now, &mut out);
        }
        out
    }

    /// A worker is not wanted any more.
    pub fn cancel(&mut self, worker: WorkerId) {
        for preloader in self.all.values_mut() {
            preloader.waiting.retain(|waiting| *waiting != worker);
            preloader.forking.remove(&worker);
        }
    }

    /// A preloader has loaded the application; scripts may have failed.
    pub fn ready(&mut self, id: WorkerId, flawed: bool, now: Instant) -> Actions {
        let mut out = Actions::new();
        let Some(preloader) = self.find(id) else {
            return out;
        };
        if matches!(preloader.phase, PreloaderPhase::Loading { .. }) {
            preloader.phase = PreloaderPhase::Ready {
                since: now,
                flawed,
                spent: false,
            };
            preloader.worked = true;
            for worker in std::mem::take(&mut preloader.waiting) {
                preloader.fork(worker, &mut out);
            }
        }
        out
    }

    /// A worker asks for a successor because a script failed in it. One that
    /// was forked from the same preloader would be no better.
    pub fn load_failed(&mut self, key: GenerationKey) {
        if let Some(PreloaderPhase::Ready {
            flawed: true,
            spent,
            ..
        }) = self.all.get_mut(&key).map(|preloader| &mut preloader.phase)
        {
            *spent = true;
        }
    }

    /// A preloader cannot fork: nor could the next one of this generation.
    pub fn cannot(&mut self, id: WorkerId) -> Actions {
        let mut out = Actions::new();
        if let Some(preloader) = self.find(id) {
            preloader.give_up(None, &mut out);
        }
        out
    }

    /// A preloader has ended, or could not be started.
    pub fn exited(&mut self, id: WorkerId, now: Instant) -> Actions {
        let mut out = Actions::new();
        let ids = &mut self.ids;
        let Some((key, preloader)) = self
            .all
            .iter_mut()
            .find(|(_, preloader)| preloader.process == Some(id))
        else {
            return out;
        };
        preloader.process = None;
        let proved = matches!(preloader.phase, PreloaderPhase::Ready { since, .. } if now.duration_since(since) >= PROVED_AFTER);
        if proved {
            preloader.failures = 0;
            preloader.give_up(Some(now), &mut out);
            preloader.start(*key, ids, now, &mut out);
        } else {
            preloader.fail(now, &mut out);
        }
        out
    }

    /// A worker was forked.
    pub fn forked(&mut self, worker: WorkerId) {
        for preloader in self.all.values_mut() {
            preloader.forking.remove(&worker);
        }
    }

    /// A worker was not forked in time.
    pub fn not_forked(&mut self, worker: WorkerId, now: Instant) -> Actions {
        let mut out = Actions::new();
        if let Some(preloader) = self
            .all
            .values_mut()
            .find(|preloader| preloader.forking.contains(&worker))
        {
            preloader.fail(now, &mut out);
        }
        out
    }

    /// Ends the preloaders of a pool's generations that have no workers.
    pub fn keep(&mut self, pool: PoolId, generations: &[u64]) -> Actions {
        let mut out = Actions::new();
        let of_pool = self
            .all
            .range((pool, 0)..=(pool, u64::MAX))
            .map(|(key, _)| *key);
        let gone: Vec<GenerationKey> = of_pool
            .filter(|(_, generation)| !generations.contains(generation))
            .collect();
        for key in gone {
            if let Some(mut preloader) = self.all.remove(&key) {
                preloader.give_up(None, &mut out);
            }
        }
        out
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Actions {
        let mut out = Actions::new();
        for (key, preloader) in &mut self.all {
            match preloader.phase {
                PreloaderPhase::Loading { until: Some(at) } if at <= now => {
                    preloader.fail(now, &mut out)
                }
                PreloaderPhase::Resting { until: Some(at) } if at <= now && preloader.worked => {
                    preloader.start(*key, &mut self.ids, now, &mut out);
                }
                _ => {}
            }
        }
        out
    }

    /// When `tick` is due, at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let due = |preloader: &Preloader| match preloader.phase {
            PreloaderPhase::Loading { until } => until,
            PreloaderPhase::Resting { until } => until.filter(|_| preloader.worked),
            PreloaderPhase::Ready { .. } => None,
        };
        self.all.values().filter_map(due).min()
    }

    /// The preloader of a generation, for the status.
    pub fn phase(&self, key: GenerationKey) -> Option<(PreloaderPhase, Option<WorkerId>)> {
        self.all
            .get(&key)
            .map(|preloader| (preloader.phase, preloader.process))
    }

    /// Whether a pool has any.
    pub fn knows(&self, pool: PoolId) -> bool {
        self.all
            .range((pool, 0)..=(pool, u64::MAX))
            .next()
            .is_some()
    }

    fn find(&mut self, id: WorkerId) -> Option<&mut Preloader> {
        self.all
            .values_mut()
            .find(|preloader| preloader.process == Some(id))
    }
}

impl Preloader {
    fn new(definition: &Arc<Definition>) -> Self {
        Self {
            definition: Arc::clone(definition),
            phase: PreloaderPhase::Resting { until: None },
            process: None,
            waiting: VecDeque::new(),
            forking: BTreeSet::new(),
            failures: 0,
            worked: false,
        }
    }

    /// Whether it has never been tried.
    fn is_new(&self) -> bool {
        self.phase == PreloaderPhase::Resting { until: None }
            && self.failures == 0
            && !self.worked
            && self.process.is_none()
    }

    fn start(&mut self, key: GenerationKey, ids: &mut u64, now: Instant, out: &mut Actions) {
        *ids += 1;
        let limit = self.definition.config.startup_timeout;
        self.phase = PreloaderPhase::Loading {
            until: (!limit.is_zero()).then(|| now + limit),
        };
        // Pools count from 1, so that these ids are nobody else's.
        let id = WorkerId(*ids);
        self.process = Some(id);
        out.push(PreloaderAction::Start {
            preloader: id,
            key,
            definition: Arc::clone(&self.definition),
        });
    }

    fn fork(&mut self, worker: WorkerId, out: &mut Actions) {
        if let Some(preloader) = self.process {
            self.forking.insert(worker);
            out.push(PreloaderAction::Fork { preloader, worker });
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
        out.extend(self.process.take().map(PreloaderAction::End));
        self.phase = PreloaderPhase::Resting { until };
        if until.is_none() {
            // Not to be taken for one that was never tried.
            self.failures = self.failures.max(1);
        }
        out.extend(self.waiting.drain(..).map(PreloaderAction::Plain));
        out.extend(
            std::mem::take(&mut self.forking)
                .into_iter()
                .map(PreloaderAction::Plain),
        );
    }
}
