//! One limit on starting processes for the whole supervisor, so that fifty
//! groups that fall or hang do not take the machine from the one that stands.
//! Pure: what starting processes do is told by `supervisor/launch.rs`, which looks at them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::definition::Definition;
use crate::ids::{Owner, PoolId, WorkerId};

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
    /// The process neither runs, nor would run if it could, nor reads from a disk.
    pub waits: bool,
}

/// A spawn that was asked for. It crosses `wsgid reexec`, but for what its pool
/// says of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// Whose worker it is.
    pub pool: PoolId,
    /// Its number.
    pub worker: WorkerId,
    /// Its place among those of its generation.
    pub slot: u32,
    /// The generation it belongs to.
    pub generation: u64,
    /// The definition it is started from.
    pub definition: Arc<Definition>,
    /// The last start of its pool came to nothing.
    #[serde(skip)]
    pub failing: bool,
    /// Only requests have named its application group: others come first.
    #[serde(skip)]
    pub from_request: bool,
    /// Not to be forked from a preloader.
    #[serde(skip)]
    pub plain: bool,
}

impl Pending {
    fn user(&self) -> Option<u32> {
        let identity = self.definition.identity.as_ref();
        identity.ok().map(|identity| identity.uid)
    }

    /// Who its process becomes.
    pub fn owner(&self) -> Owner {
        match &self.definition.identity {
            Ok(identity) => Owner {
                uid: identity.uid,
                gid: identity.gid,
            },
            Err(_) => Owner::default(),
        }
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
    /// Whether it takes one of the slots.
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

    /// A spawn is not wanted any more.
    pub fn cancel(&mut self, worker: WorkerId) {
        self.pending.retain(|pending| pending.worker != worker);
    }

    /// A process starts; without having waited, unless `pop` gave it.
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

    /// The starting processes to be looked at now, because spawns wait for them.
    pub fn unseen(&self, now: Instant) -> Vec<WorkerId> {
        let due = |start: &Start| start.counts && now.duration_since(start.looked) >= LOOK_INTERVAL;
        let wanted = !self.pending.is_empty();
        self.starting
            .iter()
            .filter(|(_, start)| wanted && due(start))
            .map(|(worker, _)| *worker)
            .collect()
    }

    /// What a starting process does; `None` if that cannot be seen.
    pub fn seen(&mut self, worker: WorkerId, doing: Option<Doing>, now: Instant) {
        let Some(start) = self.starting.get_mut(&worker) else {
            return;
        };
        start.looked = now;
        let idle = doing.is_some_and(|doing| doing.waits && start.seen == Some(doing));
        start.counts &= !idle;
        start.seen = doing;
    }

    /// The next spawn that may be done now. Those that fail have fewer slots, of
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

    /// Where in the queue the next is among those that fail, or among the
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
        let most = if failing {
            (self.limit / 2).max(1)
        } else {
            self.limit
        };
        let starts = self.starting.values();
        let taken: Vec<Option<u32>> = starts
            .filter(|start| start.counts && start.failing == failing)
            .map(|start| start.user)
            .collect();
        let users: BTreeSet<&Option<u32>> = taken.iter().collect();
        // A user who has none gets one while they are few, so that no user keeps all
        // the others waiting. Whoever fails has no right to more.
        let may_be_more = !failing && users.len() < most.max(2);
        let waiting = self.pending.iter().enumerate();
        waiting
            .filter(|(_, pending)| pending.failing == failing)
            .filter(|(_, pending)| {
                taken.len() < most || may_be_more && !users.contains(&pending.user())
            })
            .min_by_key(|(_, pending)| order(pending))
            .map(|(at, _)| at)
    }

    /// The spawns that wait.
    pub fn pending(&self) -> impl Iterator<Item = &Pending> {
        self.pending.iter()
    }

    /// When `pop` may give more without any event.
    pub fn deadline(&self) -> Option<Instant> {
        let next =
            |start: &Start| (start.since + STARTING_COUNTS_FOR).min(start.looked + LOOK_INTERVAL);
        let starts = self.starting.values().filter(|start| start.counts);
        starts.map(next).min().filter(|_| !self.pending.is_empty())
    }
}
