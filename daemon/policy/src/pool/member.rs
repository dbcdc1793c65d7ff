//! One worker as the pool sees it: `Queued → Starting → Ready → Draining → Stopping →
//! Terminated → Killed`, and the steps by which an unwilling one is brought down.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wsgid_protocol::control::RecycleReason;

use crate::definition::Definition;
use crate::ids::WorkerId;
use crate::instant;

/// Where a worker is in its life. Each later phase is entered once at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its spawn was asked for.
    #[default]
    Queued,
    /// The worker runs and loads the application.
    Starting {
        /// When this phase began.
        #[serde(with = "instant", default = "instant::now")]
        since: Instant,
    },
    /// The worker serves, or waits for its generation to take over.
    Ready {
        /// When this phase began.
        #[serde(with = "instant", default = "instant::now")]
        since: Instant,
    },
    /// The worker finishes its requests.
    Draining {
        /// When the next phase begins.
        #[serde(with = "instant", default = "instant::soon")]
        until: Instant,
    },
    /// The worker was told to end.
    Stopping {
        /// When the next phase begins.
        #[serde(with = "instant", default = "instant::soon")]
        until: Instant,
    },
    /// The worker got SIGTERM, was asked for its stacks, or got SIGABRT.
    Terminated {
        /// When the next phase begins.
        #[serde(with = "instant", default = "instant::soon")]
        until: Instant,
    },
    /// The worker got SIGKILL.
    Killed,
}

/// A wish to be replaced.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Recycle {
    #[serde(default = "unknown")]
    pub(super) reason: RecycleReason,
    /// When the next try may be; `None` while a replacement is under way.
    #[serde(with = "instant", default = "instant::now")]
    pub(super) at: Option<Instant>,
}

const fn unknown() -> RecycleReason {
    RecycleReason::Other
}

/// A worker of which nothing is known serves, since it is there.
fn serving() -> Phase {
    Phase::Ready {
        since: Instant::now(),
    }
}

/// A worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its place among those of its generation.
    pub slot: u32,
    /// The generation it belongs to.
    pub generation: u64,
    /// Where it is in its life.
    #[serde(default = "serving")]
    pub phase: Phase,
    /// The definition it was started from.
    pub(super) definition: Arc<Definition>,
    /// The worker that this one replaces, as long as that one serves.
    pub(super) replaces: Option<WorkerId>,
    pub(super) recycle: Option<Recycle>,
    /// It is of the generation before, and serves on until it is replaced (`reload-surge`).
    pub(super) outgoing: bool,
    /// Scripts that failed to load in it.
    pub(super) failed: BTreeSet<PathBuf>,
    /// How long it took to be ready.
    pub(super) took: Duration,
    /// It was asked what it is doing, and ends when it has said so.
    pub(super) is_to_tell: bool,
    /// It got SIGABRT.
    pub(super) aborted: bool,
}

impl Member {
    /// Why it is to be replaced.
    pub fn recycling(&self) -> Option<RecycleReason> {
        self.recycle.map(|recycle| recycle.reason)
    }

    /// Whether it counts as one of the wanted workers.
    pub(super) const fn is_live(&self) -> bool {
        matches!(
            self.phase,
            Phase::Queued | Phase::Starting { .. } | Phase::Ready { .. }
        )
    }

    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready { .. })
    }

    /// It gets SIGABRT.
    pub(super) fn abort(&mut self, patience: Duration, now: Instant) {
        let until = now + patience;
        self.phase = Phase::Terminated { until };
        self.aborted = true;
    }

    /// When time alone changes something about it.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Queued | Phase::Killed => None,
            Phase::Starting { since } => {
                let limit = self.definition.config.startup_timeout;
                (!limit.is_zero()).then(|| since + limit)
            }
            // A replacement that is due waits for something else than time.
            Phase::Ready { .. } => self.recycle?.at.filter(|at| *at > now),
            Phase::Draining { until } | Phase::Stopping { until } | Phase::Terminated { until } => {
                Some(until)
            }
        }
    }
}
