//! The supervisor: owns all state, and holds the one turn after each event. What it
//! owns is in types of their own, which do not know it: who may connect (`access`),
//! what is logged where (`logs`), `groups`, `pools`, `workers`, `preloaders`, what
//! they share of the machine (`resources`), what is counted of them (`totals`), connections without a pool
//! (`arrivals`), `operators`, and its own `lifetime`. The flows that need several of
//! them are in the files beside, by what begins them: the loop (`run`), HELLOs
//! (`requests`, `requested`), held connections (`placing`), what state machines say
//! (`actions`, `launch`, `preload`), changed files (`reloading`), workers (`messages`, `warming`, `health`, `endings`), spans (`spans`),
//! a configuration (`configure`), limits of users (`users`), operators (`commands`, `status`), probes (`readiness`, `ready_file`), and another
//! program (`snapshot`, `restore`). `start` is the command.

mod access;
mod actions;
mod arrivals;
mod callables;
mod commands;
mod condition;
mod configure;
mod counting;
mod endings;
mod groups;
mod health;
mod hold_limits;
mod in_flight;
mod inputs;
mod isolated_groups;
mod isolation;
mod launch;
mod lifetime;
mod limited_users;
mod logs;
mod messages;
mod open_log;
mod operators;
mod placing;
mod pools;
mod preload;
mod preloaders;
mod readiness;
mod ready_file;
mod records;
mod reloading;
mod requested;
mod requests;
mod resources;
mod restore;
mod run;
mod sharing;
mod snapshot;
mod spans;
pub(crate) mod start;
mod state_time;
mod status;
mod status_for_httpd;
mod totals;
mod users;
mod waits;
mod warming;
mod worker_end;
mod workers;

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::mpsc::Sender;

use crate::config::standalone::Source;
use crate::connection::connections::Connections;
use crate::process::{spawn::Launcher, worker_task::WorkerEvent};
use crate::sys;
use crate::traces::Traces;
use access::Access;
use arrivals::Arrivals;
use groups::ProcessGroups;
use isolated_groups::IsolatedGroups;
use lifetime::Lifetime;
use limited_users::LimitedUsers;
use logs::SupervisorLogs;
use operators::Operators;
use pools::PoolEntries;
use preloaders::PreloaderProcesses;
use ready_file::ReadyFile;
use resources::Resources;
use totals::Totals;
use waits::Waits;
use workers::Workers;
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::{pool::Event, spawn_queue::SpawnQueue};

/// How often what users may have is shared anew after an event; the rest waits for the next.
const SHARINGS: usize = 8;

struct Supervisor {
    access: Access,
    logs: SupervisorLogs,
    groups: ProcessGroups,
    pools: PoolEntries,
    workers: Workers,
    preloaders: PreloaderProcesses,
    resources: Resources,
    users: LimitedUsers,
    isolation: IsolatedGroups,
    totals: Totals,
    connections: Connections,
    arrivals: Arrivals,
    operators: Operators,
    lifetime: Lifetime,
    ready_file: ReadyFile,
    waits: Waits,
    spawns: SpawnQueue,
    /// Events of pools that are not handled yet.
    todo: VecDeque<(PoolId, Event)>,
    launcher: Launcher,
    traces: Traces,
    worker_events: Sender<(WorkerId, WorkerEvent)>,
    /// Its own configuration files, if it is not configured by httpd.
    source: Option<Source>,
}

impl Supervisor {
    fn new(
        access: Access,
        logs: SupervisorLogs,
        connections: Connections,
        isolation: IsolatedGroups,
        source: Option<Source>,
        worker_events: Sender<(WorkerId, WorkerEvent)>,
    ) -> Self {
        Self {
            access,
            logs,
            groups: ProcessGroups::default(),
            pools: PoolEntries::default(),
            workers: Workers::default(),
            preloaders: PreloaderProcesses::default(),
            resources: Resources::new(),
            users: LimitedUsers::default(),
            isolation,
            totals: Totals::default(),
            connections,
            arrivals: Arrivals::new(),
            operators: Operators::default(),
            lifetime: Lifetime::new(),
            ready_file: ReadyFile::default(),
            waits: Waits::default(),
            spawns: SpawnQueue::new(sys::processors()),
            todo: VecDeque::new(),
            launcher: Launcher::new(),
            traces: Traces::default(),
            worker_events,
            source,
        }
    }

    /// Feeds a pool's state machine, does what it says, and gives waiting
    /// requests to workers that became ready.
    fn pool_event(&mut self, pool: PoolId, event: Event) {
        self.todo.push_back((pool, event));
        self.settle();
    }

    fn settle(&mut self) {
        for _ in 0..SHARINGS {
            self.handle_events();
            if !self.share_processes() {
                return;
            }
        }
        self.handle_events();
    }

    fn handle_events(&mut self) {
        while let Some((pool, event)) = self.todo.pop_front() {
            let now = Instant::now();
            let Some(entry) = self.pools.get_mut(&pool) else {
                continue;
            };
            let is_routine = matches!(event, Event::Tick | Event::Waiting(_));
            let waited = entry.machine.waiting() > 0;
            let actions = entry.machine.handle(event, now);
            let waits = entry.machine.waiting() > 0;
            if !is_routine || !actions.is_empty() {
                self.ready_file.may_differ(now);
            }
            if !is_routine || !actions.is_empty() || waits != waited {
                self.note_demand(pool);
            }
            for action in actions {
                self.carry_out(pool, action);
            }
            self.follow_reload(pool, now);
            self.keep_watched(pool);
            self.assign_held(pool, now);
            self.reschedule(pool, now);
            self.keep_preloaders(pool, now);
            self.start_workers(now);
        }
    }

    fn reschedule(&mut self, pool: PoolId, now: Instant) {
        let machine = self.pools.get(&pool).map(|entry| &entry.machine);
        let deadline = machine.and_then(|machine| machine.deadline(now));
        let entry = self.pools.get(&pool);
        let reload = entry.and_then(|entry| entry.reload_wait.deadline());
        let held = self.next_look_at_held(pool, now);
        let times = deadline.into_iter().chain(held).chain(reload);
        self.waits.set(pool, times.min());
    }

    /// When the loop has to wake up without any event.
    fn deadline(&self) -> Option<Instant> {
        [
            self.waits.first(),
            self.spawns.deadline(),
            self.preloaders.policy.deadline(),
            self.next_look(),
            self.arrivals.deadline(),
            self.operators.deadline(),
            self.ready_file.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn tick(&mut self) {
        let now = Instant::now();
        while let Some(pool) = self.waits.take_due(now) {
            self.expire_held(pool, now);
            self.pool_event(pool, Event::Tick);
        }
        self.expire_early(now);
        self.look_for_room(now);
        self.finish_statuses(now);
        self.write_readiness(now);
        self.tick_preloaders(now);
        self.look_at_use(now);
        self.start_workers(now);
    }

    /// Ends, and another supervisor is expected to follow: what no worker has begun
    /// is repeated there.
    fn make_way(&mut self) {
        self.lifetime.is_followed = true;
        self.send_back_unplaced();
        self.leave(&Event::Shutdown);
    }

    /// Ends: with `Shutdown` within the longest shutdown timeout, with `Remove` when
    /// all workers have finished what they have.
    fn leave(&mut self, how: &Event) {
        self.lifetime.begin_to_leave();
        self.ready_file.may_differ(Instant::now());
        for pool in self.pools.ids() {
            self.pool_event(pool, how.clone());
        }
    }

    fn has_left(&self) -> bool {
        self.lifetime.is_leaving
            && self.workers.is_empty()
            && self.pools.is_empty()
            && self.preloaders.running.is_empty()
    }
}
