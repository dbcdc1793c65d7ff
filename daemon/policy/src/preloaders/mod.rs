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

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::definition::Definition;
use crate::ids::{PoolId, WorkerId};

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
        /// The definition it is started from.
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
    /// Kill a preloader that was not ready in time, and say so.
    Overdue(WorkerId),
}

/// Where a preloader is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreloaderPhase {
    /// The preloader loads the application.
    Loading {
        /// When its patience ends, if it has an end.
        until: Option<Instant>,
    },
    /// Workers can be forked from it.
    Ready {
        /// When it became ready.
        since: Instant,
        /// A script failed in it, and so does it in each worker forked from it.
        flawed: bool,
        /// The script is to be tried again, in another preloader.
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
        let preloader = self
            .all
            .entry(key)
            .or_insert_with(|| Preloader::new(definition));
        match preloader.phase {
            PreloaderPhase::Ready { spent: false, .. } => {
                preloader.fork(worker).into_iter().collect()
            }
            PreloaderPhase::Loading { .. } => {
                preloader.waiting.push_back(worker);
                Actions::new()
            }
            PreloaderPhase::Resting { until }
                if !preloader.is_new() && until.is_none_or(|at| at > now) =>
            {
                vec![PreloaderAction::Plain(worker)]
            }
            PreloaderPhase::Ready { .. } | PreloaderPhase::Resting { .. } => {
                preloader.waiting.push_back(worker);
                preloader.start(key, &mut self.ids, now)
            }
        }
    }

    /// Starts a preloader for workers that are there already.
    pub fn warm(
        &mut self,
        key: GenerationKey,
        definition: &Arc<Definition>,
        now: Instant,
    ) -> Actions {
        match self.all.entry(key) {
            Entry::Vacant(vacant) => {
                let preloader = vacant.insert(Preloader::new(definition));
                preloader.start(key, &mut self.ids, now)
            }
            Entry::Occupied(_) => Actions::new(),
        }
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
        let Some(preloader) = self.find(id) else {
            return Actions::new();
        };
        if !matches!(preloader.phase, PreloaderPhase::Loading { .. }) {
            return Actions::new();
        }
        preloader.phase = PreloaderPhase::Ready {
            since: now,
            flawed,
            spent: false,
        };
        preloader.worked = true;
        let waiting = std::mem::take(&mut preloader.waiting).into_iter();
        waiting
            .filter_map(|worker| preloader.fork(worker))
            .collect()
    }

    /// A worker asks for a successor because a script failed in it. One that
    /// was forked from the same preloader would be no better.
    pub fn load_failed(&mut self, key: GenerationKey) {
        let phase = self.all.get_mut(&key).map(|preloader| &mut preloader.phase);
        if let Some(PreloaderPhase::Ready {
            flawed: true,
            spent,
            ..
        }) = phase
        {
            *spent = true;
        }
    }

    /// A preloader cannot fork: nor could the next one of this generation.
    pub fn cannot(&mut self, id: WorkerId) -> Actions {
        let preloader = self.find(id);
        preloader.map_or_else(Actions::new, |preloader| preloader.give_up(None))
    }

    /// A preloader has ended, or could not be started.
    pub fn exited(&mut self, id: WorkerId, now: Instant) -> Actions {
        let mut all = self.all.iter_mut();
        let Some((key, preloader)) = all.find(|(_, preloader)| preloader.process == Some(id))
        else {
            return Actions::new();
        };
        preloader.process = None;
        let proved = matches!(preloader.phase, PreloaderPhase::Ready { since, .. } if now.duration_since(since) >= PROVED_AFTER);
        if !proved {
            return preloader.fail(now);
        }
        preloader.failures = 0;
        let mut actions = preloader.give_up(Some(now));
        actions.extend(preloader.start(*key, &mut self.ids, now));
        actions
    }

    /// A worker was forked.
    pub fn forked(&mut self, worker: WorkerId) {
        for preloader in self.all.values_mut() {
            preloader.forking.remove(&worker);
        }
    }

    /// A worker was not forked in time.
    pub fn not_forked(&mut self, worker: WorkerId, now: Instant) -> Actions {
        let mut all = self.all.values_mut();
        let preloader = all.find(|preloader| preloader.forking.contains(&worker));
        preloader.map_or_else(Actions::new, |preloader| preloader.fail(now))
    }

    /// Ends the preloaders of a pool's generations that have no workers.
    pub fn keep(&mut self, pool: PoolId, generations: &[u64]) -> Actions {
        let known = self.of_pool(pool).copied();
        let gone: Vec<GenerationKey> = known
            .filter(|(_, generation)| !generations.contains(generation))
            .collect();
        let gone = gone.iter().filter_map(|key| self.all.remove(key));
        gone.flat_map(|mut preloader| preloader.give_up(None))
            .collect()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) -> Actions {
        let mut actions = Actions::new();
        for (key, preloader) in &mut self.all {
            match preloader.phase {
                PreloaderPhase::Loading { until: Some(at) } if at <= now => {
                    actions.extend(preloader.process.take().map(PreloaderAction::Overdue));
                    actions.extend(preloader.fail(now));
                }
                PreloaderPhase::Resting { until: Some(at) } if at <= now && preloader.worked => {
                    actions.extend(preloader.start(*key, &mut self.ids, now));
                }
                _ => {}
            }
        }
        actions
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
        let preloader = self.all.get(&key)?;
        Some((preloader.phase, preloader.process))
    }

    /// Whether a pool has any.
    pub fn knows(&self, pool: PoolId) -> bool {
        self.of_pool(pool).next().is_some()
    }

    fn of_pool(&self, pool: PoolId) -> impl Iterator<Item = &GenerationKey> {
        let all = self.all.range((pool, 0)..=(pool, u64::MAX));
        all.map(|(key, _)| key)
    }

    fn find(&mut self, id: WorkerId) -> Option<&mut Preloader> {
        let mut all = self.all.values_mut();
        all.find(|preloader| preloader.process == Some(id))
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
        self.phase == PreloaderPhase::Resting { until: None } && self.failures == 0
    }

    /// Starts it in the place of the process that there may be.
    fn start(&mut self, key: GenerationKey, ids: &mut u64, now: Instant) -> Actions {
        *ids += 1;
        let limit = self.definition.config.startup_timeout;
        self.phase = PreloaderPhase::Loading {
            until: (!limit.is_zero()).then(|| now + limit),
        };
        // Pools count from 1, so that these ids are nobody else's.
        let preloader = WorkerId(*ids);
        let before = self.process.replace(preloader).map(PreloaderAction::End);
        let start = PreloaderAction::Start {
            preloader,
            key,
            definition: Arc::clone(&self.definition),
        };
        before.into_iter().chain([start]).collect()
    }

    fn fork(&mut self, worker: WorkerId) -> Option<PreloaderAction> {
        let preloader = self.process?;
        self.forking.insert(worker);
        Some(PreloaderAction::Fork { preloader, worker })
    }

    /// Ends it and rests for a while, longer each time.
    fn fail(&mut self, now: Instant) -> Actions {
        self.failures = self.failures.saturating_add(1);
        let pause = FIRST_PAUSE
            .saturating_mul(1 << (self.failures - 1).min(10))
            .min(LONGEST_PAUSE);
        self.give_up(Some(now + pause))
    }

    fn give_up(&mut self, until: Option<Instant>) -> Actions {
        self.phase = PreloaderPhase::Resting { until };
        if until.is_none() {
            // Not to be taken for one that was never tried.
            self.failures = self.failures.max(1);
        }
        let process = self.process.take().map(PreloaderAction::End);
        let waiting = self.waiting.drain(..);
        let workers = waiting.chain(std::mem::take(&mut self.forking));
        process
            .into_iter()
            .chain(workers.map(PreloaderAction::Plain))
            .collect()
    }
}
