//! The status of a supervisor, as JSON: the supervisor builds these types, the
//! command line, the module's status page and the tests read them. Pure data: who
//! may see what is not decided here.
//!
//! Both sides may be of different releases. Fields are only ever added: a reader
//! passes over those that it does not know and takes the default of those that
//! are missing; of an enum it takes `Unknown` for a word of a newer release.
//! docs/many-sites.md lists the fields for people.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::in_flight::RequestInFlight;
use crate::isolation::IsolationStatus;
use crate::totals::GroupTotals;
pub use crate::user_status::{ControlGroupStatus, UserStatus};
use crate::words::words;

/// How everything is. An answer to somebody who may see some groups only holds
/// those.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Release of the supervisor.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether the tracebacks were too long for one answer and were left out.
    pub shortened: bool,
    /// The process groups that the asker may see, by name.
    pub groups: Vec<GroupStatus>,
    /// Users that have limits, as far as the asker may see them.
    pub users: Vec<UserStatus>,
    /// For those who may command the supervisor.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<SupervisorStatus>,
}

impl Status {
    /// The process group of this name.
    pub fn group(&self, name: &str) -> Option<&GroupStatus> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// What belongs to no process group. Its fields stand in the JSON beside those of
/// [`Status`], all or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorStatus {
    /// Why the last `wsgid reexec` left the program as it was.
    pub reexec_problem: Option<String>,
    /// How often it has become another program.
    pub reexecs: u32,
    /// Why there are no or not all control groups.
    pub control_groups_problem: Option<String>,
    /// Connections of httpd's children.
    pub connections: u64,
    /// httpd's configurations that still have children.
    pub generations: Vec<u64>,
    /// Requests that failed and belong to no process group, by the failures' names.
    #[serde(default)]
    pub failures: BTreeMap<String, u64>,
}

/// A process group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// How it is: as the worst of its pools.
    pub state: GroupState,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// Why, in one line; `None` where the word says all.
    pub why: Option<String>,
    /// File and line of its definition.
    pub origin: String,
    /// The user that it runs as; `None` where `problem` says why there is none.
    pub user: Option<String>,
    /// Why it cannot start.
    pub problem: Option<String>,
    /// Workers that it has at least.
    pub processes: u32,
    /// Workers that it has at most.
    pub processes_max: u32,
    /// Request threads of each worker.
    pub threads: u32,
    /// Whether `wsgid stop` has stopped it.
    pub stopped: bool,
    /// Whether it is no longer configured.
    pub removed: bool,
    /// Its control group, if it has one.
    pub control_group: Option<ControlGroupStatus>,
    /// Whether it runs only when no other group wants to.
    pub gives_way: bool,
    /// Lines that `log-rate=` has kept out of the log.
    pub log_dropped_lines: u64,
    /// Their bytes.
    pub log_dropped_bytes: u64,
    /// The log of its own: a file, or `syslog:TAG`.
    pub log: Option<String>,
    /// Bytes of memory of its workers: of its control group, or as they say.
    pub memory: u64,
    /// What has been counted; `None` where nothing can be.
    pub totals: Option<GroupTotals>,
    /// How it is kept apart from others, if an option asks for it.
    pub isolation: Option<IsolationStatus>,
    /// One for each application group in use.
    pub pools: Vec<PoolStatus>,
    /// Requests that wait until an application group that they name has room.
    pub waiting_for_room: u64,
    /// Requests that wait in httpd until it may spend a thread on them: httpd alone, whose
    /// page says it, knows of them.
    pub waiting_in_httpd: u64,
}

impl GroupStatus {
    /// The workers of all its pools.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerStatus> {
        self.pools.iter().flat_map(|pool| &pool.workers)
    }

    /// Requests that wait, wherever they do. A worker may claim any number.
    pub fn waiting(&self) -> u64 {
        let pools = self.pools.iter().map(PoolStatus::waiting_requests);
        let all = pools.chain([self.waiting_for_room, self.waiting_in_httpd]);
        all.fold(0, u64::saturating_add)
    }
}

/// The workers of one application group in a process group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolStatus {
    /// Name of the application group; empty for `%{GLOBAL}`.
    pub application_group: String,
    /// Whether only requests have named it.
    pub from_request: bool,
    /// How it is.
    pub state: GroupState,
    /// Since when, in seconds since 1970.
    pub since: Option<u64>,
    /// Why, in one line; `None` where the word says all.
    pub why: Option<String>,
    /// Why it is [`GroupState::Failed`].
    pub cause: Option<String>,
    /// The generation of workers that serves.
    pub generation: u64,
    /// The one that is being made ready.
    pub next_generation: Option<u64>,
    /// The last failure.
    pub last_problem: Option<String>,
    /// A new worker or generation that did not take over.
    pub given_up: Option<GivenUpStatus>,
    /// Requests that wait for a worker.
    pub waiting: u64,
    /// Its preloader, with `preload=On`.
    pub preloader: Option<PreloaderStatus>,
    /// Workers that ended unasked.
    pub restarts: u64,
    /// Why its last workers ended, the newest last.
    pub causes: Vec<CauseStatus>,
    /// How many ended for which reason, those that were asked to included.
    pub ends: Vec<EndCount>,
    /// Its workers.
    pub workers: Vec<WorkerStatus>,
}

impl PoolStatus {
    /// Requests that wait for a worker, or in one for a thread.
    pub fn waiting_requests(&self) -> u64 {
        let queued = self.workers.iter().map(|worker| worker.queued);
        queued.fold(self.waiting, u64::saturating_add)
    }

    /// Its workers that are ready.
    pub fn ready(&self) -> impl Iterator<Item = &WorkerStatus> {
        self.workers.iter().filter(|worker| worker.is_ready())
    }
}

words! {
    /// How a pool or process group is, in one word. The worst comes first: the order is
    /// that in which they are shown. `wsgid_policy::condition` decides which one it is.
    GroupState {
        /// Its workers failed too often; they are tried again later.
        Failed = "failed",
        /// Nothing but another configuration helps: no such user, no Python there.
        CannotStart = "cannot start",
        /// Nobody serves, and the last start came to nothing; the next one is due.
        Failing = "failing",
        /// Workers serve, and a script failed to load in them.
        ScriptFailed = "script failed",
        /// Workers that serve end unasked, again and again.
        Crashing = "crashing",
        /// No worker that serves answers: their interpreters are locked.
        NotAnswering = "not answering",
        /// A new generation was given up; the one before serves on.
        ServingOldCode = "serving old code",
        /// Fewer workers serve than are configured, because starts fail.
        Degraded = "degraded",
        /// All request threads of all its workers are taken, or requests wait for a worker.
        Busy = "busy",
        /// Nobody serves yet.
        Starting = "starting",
        /// A new generation starts beside the one that serves.
        Replacing = "replacing",
        /// It was stopped by command, and finishes what it has.
        Stopping = "stopping",
        /// It was stopped by command.
        Stopped = "stopped",
        /// It is no longer configured, and finishes what it has.
        Leaving = "leaving",
        /// It serves.
        Running = "running",
        /// It has no workers; the first request starts them.
        Idle = "idle",
    }
}

impl GroupState {
    /// How much it wants somebody's attention.
    pub const fn urgency(self) -> Urgency {
        match self {
            Self::Failed
            | Self::CannotStart
            | Self::Failing
            | Self::ScriptFailed
            | Self::Crashing
            | Self::NotAnswering
            | Self::ServingOldCode
            | Self::Degraded => Urgency::Bad,
            Self::Busy | Self::Starting | Self::Replacing | Self::Stopping => Urgency::Passing,
            Self::Running => Urgency::Good,
            Self::Stopped | Self::Leaving | Self::Idle | Self::Unknown => Urgency::Resting,
        }
    }

    /// Whether somebody has to look at it.
    pub const fn is_bad(self) -> bool {
        matches!(self.urgency(), Urgency::Bad)
    }
}

/// How much a state wants somebody's attention: what colour it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Something is broken.
    Bad,
    /// It should pass by itself.
    Passing,
    /// It serves.
    Good,
    /// It does nothing, as it should.
    Resting,
}

words! {
    /// Why a worker ended.
    EndReason {
        /// The supervisor asked it to: restart, reload, recycling, stop, idle.
        Asked = "asked",
        /// It exited by itself.
        Exited = "exited",
        /// A signal that the supervisor did not send.
        Signalled = "signalled",
        /// The kernel killed it for memory.
        OutOfMemory = "out-of-memory",
        /// It could not be started.
        NotStarted = "not-started",
        /// It was not ready within `startup-timeout`.
        StartupTimeout = "startup-timeout",
        /// A request ran longer than `request-timeout` and did not stop.
        RequestTimeout = "request-timeout",
        /// Its interpreter was locked for longer than `deadlock-timeout`.
        Deadlock = "deadlock",
        /// It was asked to end, and what it had was not done within `graceful-timeout` and
        /// `shutdown-timeout`.
        ShutdownTimeout = "shutdown-timeout",
        /// It closed its control socket, or did not read it.
        ControlLost = "control-lost",
    }
}

/// How many workers ended for a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndCount {
    /// The reason.
    pub reason: EndReason,
    /// How many.
    pub count: u64,
}

/// Why a worker ended, or could not be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CauseStatus {
    /// When, in seconds since 1970.
    pub at: u64,
    /// The cause.
    pub text: String,
    /// The same in a word.
    pub reason: EndReason,
    /// The Python stacks of a worker that was ended because it took too long, in
    /// several lines: what it was doing.
    pub stacks: Option<String>,
}

/// A new worker or generation that did not take over from the old one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GivenUpStatus {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Its generation.
    pub generation: u64,
    /// Why.
    pub why: String,
    /// Scripts that failed to load in it.
    pub failed_scripts: Vec<FailedScript>,
}

/// A script that failed to load.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedScript {
    /// Its path.
    pub script: String,
    /// What Python says, in several lines.
    pub traceback: String,
}

/// The preloader of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PreloaderStatus {
    /// How far it is.
    pub state: PreloaderState,
    /// Its process, if there is one.
    pub pid: Option<u32>,
}

words! {
    /// How far a preloader is.
    PreloaderState {
        /// It loads the scripts.
        Loading = "loading",
        /// Workers are forked from it.
        Ready = "ready",
        /// There is none: it failed, and is tried again later.
        None = "none",
    }
}

/// A worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// Its process.
    pub pid: u32,
    /// Its number among the workers of the pool, from 0.
    pub slot: u32,
    /// Its generation.
    pub generation: u64,
    /// How far it is.
    pub state: WorkerPhase,
    /// Why it is to be replaced.
    pub replacing: Option<String>,
    /// The version of its Python; `None` until it has said it.
    pub python: Option<String>,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Whether it answered just now; requests, durations and time are older
    /// otherwise.
    pub answers: bool,
    /// Requests completed.
    pub requests: u64,
    /// Requests running.
    pub in_flight: u64,
    /// Microseconds spent in requests.
    pub busy_us: u64,
    /// Requests by duration: entry `n` counts those below 2^n microseconds that
    /// no entry before counts.
    pub histogram: Vec<u64>,
    /// Connections held.
    pub connections: u64,
    /// Resident bytes, as it says.
    pub memory: u64,
    /// Microseconds of processor time, as it says.
    pub cpu_us: u64,
    /// Scripts that failed to load in it.
    pub failed_scripts: Vec<FailedScript>,
    /// Requests that wait in it for a thread.
    pub queued: u64,
    /// Those that run, the oldest first; some are left out where there are very many.
    pub running: Vec<RequestInFlight>,
}

impl WorkerStatus {
    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.state == WorkerPhase::Ready
    }
}

words! {
    /// How far a worker is.
    WorkerPhase {
        /// It will be started when others have started.
        Queued = "queued",
        /// It starts.
        Starting = "starting",
        /// It serves.
        Ready = "ready",
        /// It finishes what it has.
        Draining = "draining",
        /// It ends.
        Stopping = "stopping",
    }
}
