//! The workers of one process group and application group, as a pure state
//! machine: events and the time go in, actions come out. It does no I/O, so
//! that thousands of event orders can be tried. The supervisor feeds it, does
//! what it says, and knows everything about descriptors that it does not.
//!
//! A *generation* is a set of workers started from one definition and one
//! state of the site's files. The next one takes over when all its workers are
//! ready; then the old one drains. With `reload-surge` it takes over when so many are ready,
//! and the old ones drain one after the other.

mod admin;
mod allowance;
mod backoff;
mod demand;
mod ending;
mod failure;
mod filling;
mod member;
#[cfg(test)]
mod random_tests;
mod rolling;
mod step;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::definition as tests_definition;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wsgid_protocol::Failure;
use wsgid_protocol::control::RecycleReason;

use crate::definition::Definition;
use crate::ids::WorkerId;
use crate::instant;
use backoff::Backoff;
pub use demand::{Allowance, Demand};
pub use member::{Member, Phase};

/// Tries that a new generation has to become ready while an old one serves.
const NEXT_TRIES: u32 = 3;
/// A worker that served for so long has proved itself.
const PROVED_AFTER: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL.
const TERM_PATIENCE: Duration = Duration::from_millis(500);
/// Between SIGABRT, which writes the stacks, and SIGKILL, for a worker that nobody asked to end.
const ABORT_PATIENCE: Duration = Duration::from_secs(2);
/// Between the question what a worker that is to be killed is doing and SIGABRT.
const TELL_PATIENCE: Duration = Duration::from_secs(1);
/// Between Stop and SIGTERM for a worker that was never ready.
const NEVER_READY_PATIENCE: Duration = Duration::from_millis(200);
/// A new generation hangs that loads for longer than this and `HANGS_TIMES` what
/// the serving one took.
const HANGS_AFTER: Duration = Duration::from_secs(10);
/// See `HANGS_AFTER`.
const HANGS_TIMES: u32 = 3;
/// Pause before the next replacement of the same worker is tried.
const REPLACE_PAUSE: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The spawn that was asked for has been done.
    Spawned(WorkerId),
    /// The spawn could not be done.
    SpawnFailed(WorkerId, String),
    /// A worker is ready; some scripts may have failed to load.
    Ready(WorkerId, BTreeSet<PathBuf>),
    /// A worker is loaded, and did not answer the request that it was to be warmed with.
    NotWarmed(WorkerId, String),
    /// A worker has ended. The text says how; the flag says that the site's code
    /// never ran, so that nothing but the configuration can help.
    Exited(WorkerId, String, bool),
    /// A worker wants to be replaced.
    Recycle(WorkerId, RecycleReason),
    /// A worker must not serve any longer (broken control socket).
    Lost(WorkerId),
    /// The interpreter of a worker has been locked for too long.
    Locked(WorkerId),
    /// A worker has said what its threads are doing.
    Told(WorkerId),
    /// So many requests wait for a worker of this pool.
    Waiting(usize),
    /// A worker has had no request for so long that it may be stopped.
    Idle(WorkerId),
    /// The definition changed.
    Define(Arc<Definition>),
    /// It may have this; `None`: whatever it wants.
    Allow(Option<Allowance>),
    /// Replace all workers; forget failures.
    Restart,
    /// Stop until `Start`.
    Stop,
    /// Undo `Stop`.
    Start,
    /// Drain and be gone.
    Remove,
    /// End within the shutdown timeout and be gone.
    Shutdown,
    /// Only time passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start a worker as soon as the limit on spawns allows.
    Spawn {
        /// Its number.
        worker: WorkerId,
        /// Its place among those of its generation.
        slot: u32,
        /// The generation it belongs to.
        generation: u64,
        /// The definition it is started from.
        definition: Arc<Definition>,
    },
    /// The spawn is not wanted any more.
    CancelSpawn(WorkerId),
    /// Assign no more connections; tell it to drain.
    Drain(WorkerId),
    /// Tell it to end within this time.
    Stop(WorkerId, Duration),
    /// It was not ready in time and is killed: ask it what it is doing, and say
    /// `Event::Told` when it has told.
    Overdue(WorkerId),
    /// SIGTERM: it did not end within its time.
    Terminate(WorkerId),
    /// SIGABRT: it writes the Python stacks of its threads and ends.
    Abort(WorkerId),
    /// SIGKILL to its process group.
    Kill(WorkerId),
    /// Answer everything that waits, now and until `Serve`.
    Refuse(Failure, String),
    /// Requests may wait again.
    Serve,
    /// The generation that serves has changed.
    Switched(u64),
    /// A new generation or replacement was given up; the old one goes on.
    Discarded(u64, String),
    /// A new generation is not needed any more: its definition was taken back.
    TakenBack(u64),
    /// Nothing is left; the pool may be forgotten.
    Gone,
}

/// One event being handled: its time, and what is found to be done.
struct PoolStep {
    now: Instant,
    actions: Vec<Action>,
}

impl PoolStep {
    fn push(&mut self, action: Action) {
        self.actions.push(action);
    }
}

/// Whether the pool serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The pool serves, or tries to.
    #[default]
    Running,
    /// The pool was stopped by command.
    Stopped,
    /// The pool failed too often; the next try is at this time, if there is one.
    Failed {
        /// When.
        #[serde(with = "instant", default = "instant::now")]
        until: Option<Instant>,
        /// Why it failed.
        #[serde(default)]
        cause: String,
    },
    /// The pool ends.
    Leaving {
        /// The supervisor has been told that nothing is left.
        #[serde(default)]
        gone: bool,
    },
}

/// A generation.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct PoolGeneration {
    number: u64,
    definition: Arc<Definition>,
    failures: u32,
    /// Begun because the site's files changed.
    for_files: bool,
}

impl PoolGeneration {
    /// Whether its workers take no requests (`threads=0`). Two of them at a time
    /// would be in each other's way: they listen on the same port, or do the same
    /// work twice. So there is never one more than configured.
    fn is_service(&self) -> bool {
        self.definition.config.threads == 0
    }
}

/// The state.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerPool {
    mode: Mode,
    current: PoolGeneration,
    next: Option<PoolGeneration>,
    /// What was defined last; a generation that was to have it may have been
    /// given up.
    defined: Option<Arc<Definition>>,
    members: BTreeMap<WorkerId, Member>,
    waiting: usize,
    /// Workers wanted in the serving generation.
    #[serde(default = "as_many_as_there_are")]
    target: u32,
    backoff: Backoff,
    ids: u64,
    generations: u64,
    last_problem: Option<String>,
    /// The site's code never ran in the last worker that failed: nothing but the
    /// configuration can help.
    hopeless: bool,
    refusing: bool,
    /// The site's files changed again while a generation was being started.
    changed_again: bool,
    /// Until then no gap is filled as long as somebody serves: what would fill
    /// it cannot load a script that works in those.
    #[serde(with = "instant")]
    held_until: Option<Instant>,
    /// What it may have, where its user has a limit.
    allowed: Option<Allowance>,
}

/// No pool wants so many; `complete` counts.
const fn as_many_as_there_are() -> u32 {
    u32::MAX
}

impl WorkerPool {
    /// Fills in what the program before did not write: so that its workers serve
    /// on, and new ones are not taken for them. `definition`: the group's.
    pub fn complete(&mut self, number: u32, definition: &Arc<Definition>) {
        let generations = self.members.values().map(|member| member.generation);
        let newest = generations.max().unwrap_or_default();
        let known = |own: &Arc<Definition>| {
            let kept = if own.is_missing() { definition } else { own };
            Arc::clone(kept)
        };
        if self.current.number == 0 {
            self.current.number = newest.max(1);
        }
        let current = self.current.number;
        self.current.definition = known(&self.current.definition);
        for member in self.members.values_mut() {
            member.definition = known(&member.definition);
            if member.generation == 0 {
                member.generation = current;
            }
        }
        if let Some(next) = &mut self.next {
            next.definition = known(&next.definition);
            if next.number == 0 {
                next.number = newest.max(current + 1);
            }
        }
        let last = self.next_generation().unwrap_or(current);
        self.generations = self.generations.max(last);
        let last = self.members.keys().next_back().map_or(0, |id| id.0);
        self.ids = self.ids.max(last).max(u64::from(number) << 32);
        if self.target == as_many_as_there_are() {
            self.target = u32::try_from(self.live_of(current)).unwrap_or_default();
        }
    }

    /// Whether it knows this worker.
    pub fn has(&self, id: WorkerId) -> bool {
        self.members.contains_key(&id)
    }

    /// A pool without workers. `number` tells its workers from those of other
    /// pools; `eager` starts them now and not with the first request.
    pub fn new(number: u32, definition: Arc<Definition>, eager: bool) -> Self {
        let target = if eager {
            definition.config.processes
        } else {
            0
        };
        Self {
            current: PoolGeneration {
                number: 1,
                definition,
                ..PoolGeneration::default()
            },
            target,
            backoff: Backoff::new(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            ids: u64::from(number) << 32,
            generations: 1,
            ..Self::default()
        }
    }

    /// Whether it serves.
    pub const fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Whether it has no worker because nobody has asked for one: the next request starts it.
    pub fn is_idle(&self) -> bool {
        self.mode == Mode::Running
            && self.target == 0
            && self.next.is_none()
            && !self.members.values().any(Member::is_live)
    }

    /// The serving generation.
    pub const fn generation(&self) -> u64 {
        self.current.number
    }

    /// The generation that is being started, if any.
    pub fn next_generation(&self) -> Option<u64> {
        self.next.as_ref().map(|next| next.number)
    }

    /// The generation that is to serve, if workers are wanted now.
    pub fn awaited(&self) -> Option<u64> {
        let to_come = self.next.as_ref().unwrap_or(&self.current);
        let is_on = matches!(self.mode, Mode::Running | Mode::Failed { .. });
        (is_on && self.wanted(to_come) > 0).then_some(to_come.number)
    }

    /// Whether a generation is being started because files changed, beside one that
    /// serves.
    pub fn reloads(&self) -> bool {
        let next = self.next.as_ref();
        let for_files = next.is_some_and(|next| next.for_files && !next.is_service());
        for_files && self.mode == Mode::Running && self.any_serving()
    }

    /// The definition of the serving generation.
    pub const fn definition(&self) -> &Arc<Definition> {
        &self.current.definition
    }

    /// The generations that have workers, or are about to, and are not on
    /// their way out.
    pub fn living_generations(&self) -> Vec<u64> {
        let live = self.members.values().filter(|member| member.is_live());
        let mut numbers: Vec<u64> = live.map(|member| member.generation).collect();
        numbers.dedup();
        numbers
    }

    /// The last thing that went wrong, for the status.
    pub fn last_problem(&self) -> Option<&str> {
        self.last_problem.as_deref()
    }

    /// All workers that have not been reaped.
    pub fn members(&self) -> impl Iterator<Item = (WorkerId, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    /// Whether a worker serves and nothing has asked for its replacement.
    pub fn is_to_stay(&self, id: WorkerId) -> bool {
        let member = self.members.get(&id);
        member.is_some_and(|member| member.is_ready() && member.recycling().is_none())
    }

    /// Whether its last start came to nothing: others go first.
    pub const fn is_failing(&self) -> bool {
        self.backoff.is_failing()
    }

    /// How many starts in a row came to nothing.
    pub const fn failed_starts(&self) -> u32 {
        self.backoff.failed_starts()
    }

    /// Whether nothing but the configuration can help.
    pub const fn is_hopeless(&self) -> bool {
        self.hopeless
    }

    /// Whether it is to have workers before a request asks for them.
    pub const fn wants_workers(&self) -> bool {
        self.target > 0
    }

    /// The worker that this one is to replace.
    pub fn replaces(&self, id: WorkerId) -> Option<WorkerId> {
        self.members.get(&id)?.replaces
    }

    /// Whether this worker has something to do: loading, serving or finishing.
    pub fn works(&self, id: WorkerId) -> bool {
        matches!(
            self.phase_of(id),
            Some(Phase::Starting { .. } | Phase::Ready { .. } | Phase::Draining { .. })
        )
    }

    /// Whether this worker is not ready yet.
    pub fn starts(&self, id: WorkerId) -> bool {
        matches!(self.phase_of(id), Some(Phase::Starting { .. }))
    }

    /// Whether this worker was asked, or is made, to end.
    pub fn is_ending(&self, id: WorkerId) -> bool {
        let member = self.members.get(&id);
        member.is_none_or(|member| !member.is_live())
    }

    /// Whether this worker was asked to finish.
    pub fn drains(&self, id: WorkerId) -> bool {
        matches!(self.phase_of(id), Some(Phase::Draining { .. }))
    }

    fn phase_of(&self, id: WorkerId) -> Option<Phase> {
        self.members.get(&id).map(|member| member.phase)
    }

    /// Whether this worker may be given connections.
    pub fn accepts(&self, id: WorkerId) -> bool {
        self.members
            .get(&id)
            .is_some_and(|member| self.serves(member))
    }

    /// How many requests are said to wait.
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// All that may.
    pub fn accepting(&self) -> impl Iterator<Item = WorkerId> {
        let serving = self.members().filter(|(_, member)| self.serves(member));
        serving.map(|(id, _)| id)
    }

    /// Those of them that are of the newest generation that serves: what others have loaded
    /// is of before.
    pub fn newest(&self) -> impl Iterator<Item = WorkerId> {
        let members = self.members();
        let newest = members.filter(|(_, member)| self.is_current(member) && member.is_ready());
        newest.map(|(id, _)| id)
    }

    /// Whether this worker is one of them.
    pub fn is_newest(&self, id: WorkerId) -> bool {
        self.newest().any(|newest| newest == id)
    }

    fn serves(&self, member: &Member) -> bool {
        (self.is_current(member) || member.outgoing) && member.is_ready()
    }

    /// When `Event::Tick` is due, at the latest.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let members = self.members.values();
        let timers = members.filter_map(|member| member.deadline(now));
        let retry = match &self.mode {
            // What is due and has no room waits for room.
            Mode::Failed { until, .. } => until.filter(|at| *at > now || self.has_room()),
            Mode::Running => {
                let held = self.held_until.filter(|at| *at > now);
                let hangs = self.given_up_at().filter(|at| *at > now);
                let waits = [self.backoff.wait_until(now), held, hangs];
                waits.into_iter().flatten().min()
            }
            Mode::Stopped | Mode::Leaving { .. } => None,
        };
        timers.chain(retry).min()
    }

    /// Takes one event.
    pub fn handle(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let actions = Vec::new();
        let mut step = PoolStep { now, actions };
        // What waited for a worker that has just become ready is not yet given
        // to it: whether more are needed shows when it is.
        let may_grow = !matches!(event, Event::Ready(..));
        self.apply(event, &mut step);
        self.escalate(&mut step);
        self.reconcile(may_grow, &mut step);
        step.actions
    }
}
