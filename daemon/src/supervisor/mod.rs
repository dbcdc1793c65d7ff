//! The supervisor: owns all state and runs the one loop over everything that
//! can happen. Its parts are in the files beside: what a configuration changes
//! (`configure`), how requests find a worker (`requests`), what becomes of
//! workers (`workers`) and preloaders (`preload`), what they share of the machine (`resources`), what an operator asks
//! (`commands`), and how another program goes on with it (`restore`).

mod callables;
mod commands;
mod configure;
mod endings;
mod preload;
mod requested;
mod requests;
mod resources;
mod restore;
mod run;
pub(crate) mod snapshot;
pub(crate) mod start;
mod status_page;
mod workers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use wsgid_protocol::Failure;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::WorkerReport;

use crate::config::standalone::Source;
use crate::connection::connections::Connections;
use crate::connection::listener::{Allowed, NewConnection};
use crate::log::{OutputTarget, Sink};
use crate::notify;
use crate::process::spawn::Launcher;
use crate::process::worker_task::{Handle, WorkerEvent};
pub(crate) use callables::Callables;
use wsgid_policy::definition::Definition;
use wsgid_policy::ids::WorkerId;
use wsgid_policy::ids::{ConnectionId, Owner, PoolId};
use wsgid_policy::peer_quota::PeerQuota;
use wsgid_policy::pool::{Event, WorkerPool};
use wsgid_policy::spawn_queue::SpawnQueue;

/// Causes that are kept for the status.
const CAUSES_MAX: usize = 10;
/// How many HELLOs may be ahead of their configuration.
const EARLY_MAX: usize = 1024;
/// The same of one httpd child, or of one other user.
const EARLY_EACH: usize = 512;
/// How long a HELLO may be ahead of its configuration.
const EARLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A generation of httpd that has children.
struct Known {
    /// `None`: the user of the peer is proof enough (standalone).
    secret: Option<[u8; 32]>,
    groups: BTreeSet<String>,
    /// Its last child has gone before the next one was configured.
    ended: bool,
}

/// A process group.
struct Group {
    definition: Arc<Definition>,
    /// Who may connect for it beside httpd's user (`socket-user=`).
    visitor: Option<u32>,
    target: OutputTarget,
    pools: BTreeMap<String, PoolId>,
    stopped: bool,
    removed: bool,
}

/// The workers of one application group, with what the state machine does not
/// know.
struct PoolEntry {
    group: String,
    application_group: String,
    /// Only requests have named the application group, see `requested`.
    from_request: bool,
    /// Another of its name may be made: this one is on its way out.
    is_forgotten: bool,
    /// When a connection last came for it.
    used: Instant,
    machine: WorkerPool,
    /// What every request is answered with.
    refusing: Option<(Failure, String)>,
    /// When the first held request has waited long enough.
    held_deadline: Option<Instant>,
    /// When held requests may be tried again although nothing happened.
    retry_at: Option<Instant>,
    timer: Option<Instant>,
    /// Whether the state machine believes that requests wait.
    told_waiting: bool,
    restarts: u64,
    causes: VecDeque<(SystemTime, String)>,
    /// Scripts that its workers had to load for requests.
    scripts: BTreeSet<PathBuf>,
    /// What requests called in scripts since this generation has served.
    callables: Callables,
    /// The last new worker that was given up, until one takes over.
    given_up: Option<GivenUp>,
}

/// A new worker or generation that did not take over from the old one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    #[serde(default = "SystemTime::now")]
    pub(crate) at: SystemTime,
    #[serde(default)]
    pub(crate) generation: u64,
    #[serde(default)]
    pub(crate) why: String,
    /// It was to have a definition that is not in force.
    #[serde(default)]
    pub(crate) other_definition: bool,
    /// Scripts that failed to load, with their tracebacks.
    #[serde(default)]
    pub(crate) failed: BTreeMap<PathBuf, String>,
}

/// A running worker.
struct WorkerEntry {
    pool: PoolId,
    slot: u32,
    generation: u64,
    handle: Handle,
    /// Who it runs as.
    owner: Owner,
    started: Instant,
    python: Option<(u32, u32, u32)>,
    connections: BTreeSet<ConnectionId>,
    /// When it last gave a request back because it had no thread for it.
    gave_back: Option<Instant>,
    /// Since when its control socket has been closed.
    broken: Option<Instant>,
    heartbeat: Option<Instant>,
    report: WorkerReport,
    /// When the number of requests it reported last changed.
    active_at: Instant,
    /// Why the supervisor ended it, if it did.
    ended_for: Option<Failure>,
    /// It said that a request takes too long and cannot be stopped.
    overtime: bool,
    failed: BTreeMap<PathBuf, String>,
    /// Who waits for its stacks.
    dumps: Vec<Sender<(u32, String)>>,
}

/// All state.
pub(crate) struct Supervisor {
    sink: Sink,
    launcher: Launcher,
    /// Where the socket of requests is.
    socket: Option<PathBuf>,
    allowed: Allowed,
    known: BTreeMap<u64, Known>,
    files: Vec<Arc<File>>,
    /// Where its own lines go.
    log: LogTarget,
    groups: BTreeMap<String, Group>,
    pools: BTreeMap<PoolId, PoolEntry>,
    workers: BTreeMap<WorkerId, WorkerEntry>,
    connections: Connections,
    spawns: SpawnQueue,
    preloading: preload::Preloading,
    resources: resources::Resources,
    timers: BTreeSet<(Instant, PoolId)>,
    todo: VecDeque<(PoolId, Event)>,
    early: PeerQuota<(Instant, NewConnection)>,
    waiting_for_room: Vec<requested::Waiting>,
    looked_for_room: Instant,
    statuses: Vec<commands::PendingStatus>,
    worker_events: Sender<(WorkerId, WorkerEvent)>,
    last_pool: PoolId,
    leaving: bool,
    /// It ends and another one follows: what no worker has begun is for that one.
    is_followed: bool,
    /// Its own configuration files, if it is not configured by httpd.
    source: Option<Source>,
    oom_kills: u64,
    started: Instant,
    /// It is to become the program that is now on disk.
    reexec: bool,
    /// How often it has.
    reexecs: u32,
    /// Why it is still the same program.
    reexec_problem: Option<String>,
    /// Since when httpd has been reading another configuration.
    unconfigured: Option<Instant>,
}

impl Supervisor {
    /// Feeds a pool's state machine, does what it says, and gives waiting
    /// requests to workers that became ready.
    fn pool_event(&mut self, pool: PoolId, event: Event) {
        self.todo.push_back((pool, event));
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((pool, event)) = self.todo.pop_front() {
            let now = Instant::now();
            let Some(entry) = self.pools.get_mut(&pool) else {
                continue;
            };
            let actions = entry.machine.handle(event, now);
            for action in actions {
                self.act(pool, action, now);
            }
            self.assign_held(pool, now);
            self.reschedule(pool, now);
            self.keep_preloaders(pool, now);
            self.start_workers(now);
        }
    }

    /// Brings the pool's timer up to date.
    fn reschedule(&mut self, pool: PoolId, now: Instant) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        let next = [
            entry.machine.deadline(now),
            entry.held_deadline,
            entry.retry_at,
        ]
        .into_iter()
        .flatten()
        .min();
        if next == entry.timer {
            return;
        }
        if let Some(old) = entry.timer.take() {
            self.timers.remove(&(old, pool));
        }
        if let Some(next) = next {
            self.timers.insert((next, pool));
        }
        entry.timer = next;
    }

    /// When the loop has to wake up without any event.
    fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let early = self.early.iter().map(|(at, _)| *at).min();
        let status = self.statuses.iter().map(|status| status.until).min();
        let room = self.next_look_for_room();
        [
            timer,
            self.spawns.deadline(),
            self.preloading.deadline(),
            self.next_look(),
            early,
            status,
            room,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    fn tick(&mut self) {
        let now = Instant::now();
        while let Some((at, pool)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, pool));
            if let Some(entry) = self.pools.get_mut(&pool) {
                entry.timer = None;
            }
            self.expire_held(pool, now);
            self.pool_event(pool, Event::Tick);
        }
        self.expire_early(now);
        self.look_for_room(now);
        self.finish_statuses(now);
        self.tick_preloaders(now);
        self.look_at_use(now);
        self.start_workers(now);
    }

    fn begin_to_leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            notify::stopping();
        }
    }

    /// Everything ends within the longest shutdown timeout.
    fn shut_down(&mut self) {
        self.begin_to_leave();
        for pool in self.pools.keys().copied().collect::<Vec<_>>() {
            self.pool_event(pool, Event::Shutdown);
        }
    }

    /// The same, and another supervisor is expected to follow: what no worker has
    /// begun is repeated there.
    fn make_way(&mut self) {
        self.is_followed = true;
        self.send_back_unplaced();
        self.shut_down();
    }

    /// Everything finishes what it has; the parent has gone.
    fn drain_and_leave(&mut self) {
        self.begin_to_leave();
        for pool in self.pools.keys().copied().collect::<Vec<_>>() {
            self.pool_event(pool, Event::Remove);
        }
    }

    fn has_left(&self) -> bool {
        self.leaving
            && self.workers.is_empty()
            && self.pools.is_empty()
            && self.preloading.is_empty()
    }
}
