//! The life of workers: starting them as the state machines ask, and hearing
//! what they claim. Their end is in `endings`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use wsgid_protocol::Failure;
use wsgid_protocol::config::Preload;
use wsgid_protocol::control::{FromWorker, RecycleReason, ToWorker, WorkerReport, WorkerSpec};
use wsgid_protocol::request::VERSIONS;
use wsgid_protocol::text;

use super::{CAUSES_MAX, GivenUp, PoolEntry, Supervisor, WorkerEntry};
use crate::log::Output;
use crate::log::escaped;
use crate::process::procfs;
use crate::process::worker_task::{self, Handle, WorkerEvent};
use wsgid_policy::ids::WorkerId;
use wsgid_policy::ids::{Owner, PoolId};
use wsgid_policy::pool::{Action, Event};
use wsgid_policy::spawn_queue::Pending;

/// Scripts of one pool that are remembered: a site may have many, and what a
/// worker says about them is a claim.
const SCRIPTS_MAX: usize = 32;
/// Scripts of one worker that failed to load, and lines about them in the log.
const FAILED_MAX: usize = 64;
const FAILED_LINES_MAX: usize = 300;
/// Bytes of their names and tracebacks together.
pub(super) const FAILED_LEN_MAX: usize = 32 * 1024;
/// Buckets of a histogram: a duration has so many powers of two.
const BUCKETS_MAX: usize = 64;
/// How long a worker may live on without its control socket.
const BROKEN_PATIENCE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Does what a state machine says.
    pub(super) fn act(&mut self, pool: PoolId, action: Action, now: Instant) {
        match action {
            Action::Spawn {
                worker,
                slot,
                generation,
                definition,
            } => {
                let failing = self
                    .pools
                    .get(&pool)
                    .is_some_and(|entry| entry.machine.is_failing());
                let from_request = self
                    .pools
                    .get(&pool)
                    .is_some_and(|entry| entry.from_request);
                let plain = false;
                self.spawns.push(Pending {
                    pool,
                    worker,
                    slot,
                    generation,
                    definition,
                    failing,
                    from_request,
                    plain,
                });
            }
            Action::CancelSpawn(worker) => {
                self.spawns.cancel(worker);
                self.preloading.cancel(worker);
            }
            Action::Drain(worker) => self.tell(worker, ToWorker::Drain),
            Action::Stop(worker, within) => {
                self.ended_for(worker, Failure::WorkerStopped);
                let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
                self.tell(worker, ToWorker::Stop { within_ms });
            }
            Action::Terminate(worker) => self.signal(worker, Signal::SIGTERM),
            Action::Abort(worker) => self.signal(worker, Signal::SIGABRT),
            Action::Kill(worker) => {
                self.ended_for(worker, Failure::WorkerStopped);
                self.signal(worker, Signal::SIGKILL);
            }
            Action::Refuse(failure, text) => self.refuse_all(pool, failure, text, now),
            Action::Serve => {
                if let Some(entry) = self.pools.get_mut(&pool) {
                    entry.refusing = None;
                }
            }
            Action::Switched(generation) => {
                if let Some(entry) = self.pools.get_mut(&pool) {
                    entry.given_up = None;
                    entry.callables.clear();
                    tracing::info!("{}: generation {generation} serves", entry.name());
                }
            }
            Action::Discarded(generation, why) => {
                if let Some(entry) = self.pools.get_mut(&pool) {
                    tracing::error!(
                        "{}: a new worker of generation {generation} was given up, the old ones serve on: {why}",
                        entry.name()
                    );
                    let other_definition = !entry.machine.has_latest();
                    let (at, failed) = (SystemTime::now(), BTreeMap::new());
                    entry.given_up = Some(GivenUp {
                        at,
                        generation,
                        why,
                        other_definition,
                        failed,
                    });
                }
            }
            Action::TakenBack(generation) => {
                if let Some(entry) = self.pools.get(&pool) {
                    tracing::info!(
                        "{}: generation {generation} is not needed: its definition was taken back",
                        entry.name()
                    );
                }
            }
            Action::Gone => self.forget_pool(pool),
        }
    }

    fn refuse_all(&mut self, pool: PoolId, failure: Failure, text: String, _now: Instant) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        if entry.is_forgotten || self.is_followed {
            entry.refusing = Some((
                Failure::NotStarted,
                Failure::NotStarted.row().text.to_owned(),
            ));
            return;
        }
        let text = format!("{}: {}: {text}", entry.name(), failure.row().text);
        match failure {
            // That was the administrator's wish, or httpd's end.
            Failure::GroupStopped if self.leaving => tracing::debug!("{text}"),
            Failure::GroupStopped => tracing::info!("{text}"),
            _ => tracing::error!("{text}; {}", failure.row().cure),
        }
        entry.refusing = Some((failure, text));
        // `assign_held`, which follows every event, answers what waits.
    }

    fn tell(&mut self, worker: WorkerId, message: ToWorker) {
        if let Some(entry) = self.workers.get(&worker) {
            entry.handle.send(message);
        }
    }

    fn signal(&mut self, worker: WorkerId, signal: Signal) {
        if let Some(entry) = self.workers.get(&worker) {
            entry.handle.signal(signal);
        }
    }

    /// Notes why the supervisor ends a worker; the first reason stays. One that
    /// asked to be replaced because of a request that takes too long, and did
    /// not get rid of it, ends for that.
    fn ended_for(&mut self, worker: WorkerId, failure: Failure) {
        let Some(entry) = self.workers.get_mut(&worker) else {
            return;
        };
        entry.ended_for.get_or_insert(if entry.overtime {
            Failure::RequestTimeout
        } else {
            failure
        });
    }

    /// Starts what the limit allows.
    pub(super) fn start_workers(&mut self, now: Instant) {
        for worker in self.spawns.unseen(now) {
            let pid = self.workers.get(&worker).map(|entry| entry.handle.pid);
            let pid = pid.or_else(|| self.preloading.process_of(worker));
            self.spawns.seen(worker, pid.and_then(procfs::doing), now);
        }
        while let Some(pending) = self.spawns.pop(now) {
            let Some(pending) = self.preloaded(pending, now) else {
                continue;
            };
            let (pool, worker) = (pending.pool, pending.worker);
            match self.start_worker(&pending, now) {
                Ok(()) => self.todo.push_back((pool, Event::Spawned(worker))),
                Err(why) => {
                    self.spawns.done(worker);
                    self.note_cause(pool, &why);
                    self.todo.push_back((pool, Event::SpawnFailed(worker, why)));
                }
            }
        }
    }

    fn start_worker(&mut self, pending: &Pending, now: Instant) -> Result<(), String> {
        let (handle, owner) = self.launch(pending, |spec| ToWorker::Spec(Box::new(spec)))?;
        tracing::debug!(
            "{}: worker {} started (slot {}, generation {})",
            self.pools
                .get(&pending.pool)
                .map(PoolEntry::name)
                .unwrap_or_default(),
            handle.pid,
            pending.slot,
            pending.generation
        );
        self.enlist(pending, handle, owner, now);
        Ok(())
    }

    /// Starts a process and tells it who it is to be.
    pub(super) fn launch(
        &mut self,
        pending: &Pending,
        first: impl Fn(WorkerSpec) -> ToWorker,
    ) -> Result<(Handle, Owner), String> {
        let (output, owner) = self.output_for(pending)?;
        let entry = self
            .pools
            .get(&pending.pool)
            .ok_or("the process group has gone")?;
        let identity = pending.definition.identity.clone();
        let identity = identity.map_err(|error| error.to_string())?;
        if let Some(why) = pending.definition.config.not_understood() {
            return Err(why);
        }
        let several = self.has_several_users();
        let entrances = self
            .resources
            .groups
            .entrances(&pending.definition.config, several)?;
        let spawned = self
            .launcher
            .spawn(identity.uid != pending.definition.httpd_uid, &entrances)?;
        let spec = WorkerSpec {
            versions: VERSIONS,
            group: self.may_run_now(config_for(pending, entry)),
            application_group: entry.application_group.clone(),
            identity,
            slot: pending.slot,
            generation: pending.generation,
            server: pending.definition.server.clone(),
            log_level: tracing::level_filters::LevelFilter::current().to_string(),
            callables: entry.callables.list(),
        };
        let handle =
            worker_task::attend(pending.worker, spawned, output, self.worker_events.clone())
                .map_err(|error| format!("failed to look after the launcher: {error}"))?;
        self.start_behind(&pending.definition.config.name, handle.pid);
        // Once for the launcher, once for the extension inside Python.
        handle.send(first(spec.clone()));
        handle.send(first(spec));
        Ok((handle, owner))
    }

    /// With what the group may run by now: an old generation serves the children of
    /// httpd that know the newest.
    fn may_run_now(&self, mut config: wsgid_protocol::GroupConfig) -> wsgid_protocol::GroupConfig {
        if let Some(group) = self.groups.get(&config.name) {
            let now = &group.definition.config.runs;
            config.runs.files.extend(now.files.iter().cloned());
            config
                .runs
                .directories
                .extend(now.directories.iter().cloned());
        }
        config
    }

    /// Where the output of a pool's workers goes, and who they are.
    pub(super) fn output_for(&self, pending: &Pending) -> Result<(Output, Owner), String> {
        let entry = self
            .pools
            .get(&pending.pool)
            .ok_or("the process group has gone")?;
        let identity = pending.definition.identity.as_ref();
        let identity = identity.map_err(ToString::to_string)?;
        let target = self
            .groups
            .get(&entry.group)
            .map(|group| group.target.clone())
            .unwrap_or_default();
        let output = Output {
            group: entry.group.clone(),
            sink: self.sink.clone(),
            target,
        };
        Ok((
            output,
            Owner {
                uid: identity.uid,
                gid: identity.gid,
            },
        ))
    }

    /// Takes a process in as a worker.
    pub(super) fn enlist(&mut self, pending: &Pending, handle: Handle, owner: Owner, now: Instant) {
        // A replacement is as idle as the worker that it replaces.
        let machine = self.pools.get(&pending.pool).map(|entry| &entry.machine);
        let replaced = machine
            .and_then(|machine| machine.replaces(pending.worker))
            .and_then(|old| self.workers.get(&old));
        let active_at = replaced.map_or(now, |old| old.active_at);
        let worker = WorkerEntry {
            pool: pending.pool,
            slot: pending.slot,
            generation: pending.generation,
            handle,
            owner,
            started: now,
            python: None,
            connections: BTreeSet::new(),
            gave_back: None,
            broken: None,
            heartbeat: None,
            report: WorkerReport::default(),
            active_at,
            ended_for: None,
            overtime: false,
            failed: BTreeMap::new(),
            dumps: Vec::new(),
        };
        self.workers.insert(pending.worker, worker);
    }

    /// Something came from a worker's task.
    pub(super) fn worker_event(&mut self, id: WorkerId, event: WorkerEvent) {
        if self.preloading.owns(id) {
            return self.preloader_event(id, event);
        }
        match event {
            WorkerEvent::Forked(running) => self.born(id, running, Instant::now()),
            WorkerEvent::NotForked(why) => self.not_born(id, &why, Instant::now()),
            WorkerEvent::Says(message) => self.heard(id, message),
            WorkerEvent::Broken(why) => {
                // Usually it ends, and closes its socket a moment before it
                // can be reaped; `look_around` ends it if it does not.
                let Some(entry) = self.workers.get_mut(&id) else {
                    return;
                };
                tracing::debug!("worker {}: control socket: {why}", entry.handle.pid);
                entry.broken.get_or_insert_with(Instant::now);
            }
            WorkerEvent::Exited(status) => self.exited(id, status),
        }
    }

    fn heard(&mut self, id: WorkerId, message: FromWorker) {
        let now = Instant::now();
        let Some(entry) = self.workers.get_mut(&id) else {
            return;
        };
        let pool = entry.pool;
        match message {
            FromWorker::Ready { python, failed } => self.ready(id, python, failed),
            FromWorker::Release { connection } => self.released(id, connection),
            FromWorker::Closed { connection } => self.closed(id, connection),
            FromWorker::Recycle(reason) => {
                tracing::debug!(
                    "worker {} asks to be replaced: {reason:?}",
                    entry.handle.pid
                );
                let key = (pool, entry.generation);
                entry.overtime |= reason == RecycleReason::RequestTimeout;
                if reason == RecycleReason::LoadFailed {
                    self.preloading.load_failed(key);
                }
                self.pool_event(pool, Event::Recycle(id, reason));
            }
            FromWorker::Report(mut report) => {
                report.histogram.truncate(BUCKETS_MAX);
                if report.requests != entry.report.requests || report.in_flight > 0 {
                    entry.active_at = now;
                }
                entry.gave_back = None;
                entry.report = report;
                self.reported(id);
                self.todo.push_back((pool, Event::Tick));
                self.settle();
            }
            FromWorker::Dumped { text } => {
                let pid = entry.handle.pid;
                for waiting in entry.dumps.drain(..) {
                    let _ = waiting.try_send((pid, text.clone()));
                }
            }
            FromWorker::Heartbeat => entry.heartbeat = Some(now),
            FromWorker::Loaded { script } => self.loaded(pool, script),
            FromWorker::Called { script, callable } => self.called(id, script, callable),
            FromWorker::Forked | FromWorker::CannotFork { .. } => {}
        }
    }

    /// A script was loaded for a request. The next generation is to load it
    /// before it takes over, so that it cannot replace one that works by one
    /// that does not.
    fn loaded(&mut self, pool: PoolId, script: PathBuf) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        if entry.scripts.len() < SCRIPTS_MAX && script.is_absolute() {
            entry.scripts.insert(script);
        }
    }

    fn ready(
        &mut self,
        id: WorkerId,
        python: (u32, u32, u32),
        failed: Vec<(std::path::PathBuf, String)>,
    ) {
        let Some(entry) = self.workers.get_mut(&id) else {
            return;
        };
        if entry.python.is_some() {
            // It was said before; what is said again changes nothing.
            return;
        }
        entry.python = Some(python);
        // The interpreter may be locked before the first heartbeat comes.
        entry.heartbeat = Some(Instant::now());
        let (pool, pid, took) = (entry.pool, entry.handle.pid, entry.started.elapsed());
        entry.failed = believable(failed);
        let scripts: BTreeSet<_> = entry.failed.keys().cloned().collect();
        let Some(group) = self.pools.get(&pool) else {
            return;
        };
        let (major, minor, patch) = python;
        let name = group.name();
        tracing::info!(
            "{name}: worker {pid} is ready after {:.2} s (Python {major}.{minor}.{patch})",
            took.as_secs_f64()
        );
        let mut lines = entry.failed.iter().flat_map(|(path, traceback)| {
            let path = escaped(path.as_os_str().as_encoded_bytes());
            std::iter::once(format!("`{path}` failed to load"))
                .chain(traceback.lines().map(|l| escaped(l.as_bytes())))
        });
        for line in lines.by_ref().take(FAILED_LINES_MAX) {
            tracing::error!("{name}: worker {pid}: {line}");
        }
        if lines.next().is_some() {
            tracing::error!("{name}: worker {pid}: and more, which is left out");
        }
        self.spawns.done(id);
        let before = self
            .pools
            .get_mut(&pool)
            .and_then(|pool| pool.given_up.take());
        self.pool_event(pool, Event::Ready(id, scripts));
        self.note_given_up(pool, id, before);
    }

    /// A worker was ready. If that was the end of it, the status says why, also
    /// when it has gone; if it serves, what was given up `before` is history.
    fn note_given_up(&mut self, pool: PoolId, id: WorkerId, before: Option<GivenUp>) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        match &mut entry.given_up {
            Some(given_up) => {
                let failed = self.workers.get(&id).map(|worker| worker.failed.clone());
                given_up.failed = failed.unwrap_or_default();
            }
            None if !(entry.machine.accepts(id) && entry.machine.has_latest()) => {
                entry.given_up = before
            }
            None => {}
        }
    }

    pub(super) fn note_cause(&mut self, pool: PoolId, text: &str) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        entry.restarts += 1;
        if entry.causes.len() == CAUSES_MAX {
            entry.causes.pop_front();
        }
        entry.causes.push_back((SystemTime::now(), text.to_owned()));
    }

    /// Once a second: deadlocks, and workers without requests.
    pub(super) fn look_around(&mut self) {
        let now = Instant::now();
        let mut events = Vec::new();
        for (id, entry) in &mut self.workers {
            if entry
                .broken
                .is_some_and(|since| now.duration_since(since) > BROKEN_PATIENCE)
            {
                if entry.ended_for.is_none() {
                    tracing::error!(
                        "{}: worker {} is ended: it has closed its control socket (descriptor 3), or does not read it",
                        self.pools
                            .get(&entry.pool)
                            .map(PoolEntry::name)
                            .unwrap_or_default(),
                        entry.handle.pid
                    );
                }
                events.push((entry.pool, Event::Lost(*id)));
                continue;
            }
            let Some(pool) = self
                .pools
                .get(&entry.pool)
                .filter(|pool| pool.machine.works(*id))
            else {
                continue;
            };
            let Some(group) = self.groups.get(&pool.group) else {
                continue;
            };
            let config = &group.definition.config;
            let silent = entry
                .heartbeat
                .map(|at| now.duration_since(at))
                .unwrap_or_default();
            if !config.deadlock_timeout.is_zero() && silent > config.deadlock_timeout {
                entry.ended_for = Some(Failure::Deadlock);
                tracing::error!(
                    "{}: worker {}: the interpreter has been locked for {:.0} s (deadlock-timeout)",
                    pool.name(),
                    entry.handle.pid,
                    silent.as_secs_f64()
                );
                events.push((entry.pool, Event::Locked(*id)));
                continue;
            }
            if let Some(limit) = idle_limit(config).filter(|_| pool.machine.accepts(*id)) {
                // Workers report by themselves when they turn busy or idle, so
                // that nobody has to be woken here.
                if entry.report.in_flight == 0 && now.duration_since(entry.active_at) >= limit {
                    events.push((entry.pool, Event::Idle(*id)));
                }
            }
        }
        self.todo.extend(events);
        self.settle();
    }
}

impl PoolEntry {
    /// Whether any worker takes requests.
    pub(super) fn serves(&self) -> bool {
        self.machine.accepting().next().is_some()
    }

    /// The pool in words. A client may have written the application group's name.
    pub(super) fn name(&self) -> String {
        let group = escaped(self.group.as_bytes());
        match escaped(self.application_group.as_bytes()).as_str() {
            "" => format!("process group `{group}`"),
            application => format!("process group `{group}`, application group `{application}`"),
        }
    }
}

/// After how long without requests a worker may be stopped, if at all.
fn idle_limit(config: &wsgid_protocol::GroupConfig) -> Option<Duration> {
    /// For groups that shrink because they have a range of processes.
    const SHRINK_AFTER: Duration = Duration::from_secs(60);
    match config.idle_stop.is_zero() {
        // No request would ever start it again.
        _ if config.threads == 0 => None,
        false => Some(config.idle_stop),
        true => config.processes_max.map(|_| SHRINK_AFTER),
    }
}

/// The group's definition with the scripts of this application group alone:
/// those that were named, and those that workers had to load for requests.
fn config_for(pending: &Pending, entry: &PoolEntry) -> wsgid_protocol::GroupConfig {
    let mut config = Arc::unwrap_or_clone(Arc::clone(&pending.definition)).config;
    let application_group = &entry.application_group;
    config.narrow_to(application_group);
    config
        .preload_scripts
        .retain(|preload| preload.application_group == *application_group);
    if config.threads > 0 {
        for script in &entry.scripts {
            if !config
                .preload_scripts
                .iter()
                .any(|preload| preload.script == *script)
            {
                let application_group = application_group.clone();
                let callable = Some(String::new());
                config.preload_scripts.push(Preload {
                    script: script.clone(),
                    application_group,
                    callable,
                });
            }
        }
    }
    config
}

/// Scripts that failed to load and their tracebacks, which a tenant may have
/// made up: kept, but not without bound.
pub(super) fn believable(failed: Vec<(PathBuf, String)>) -> BTreeMap<PathBuf, String> {
    let mut room = FAILED_LEN_MAX;
    let fitting = |(path, text): (PathBuf, String)| {
        room = room.checked_sub(path.as_os_str().len())?;
        let text = cut(text, room);
        room -= text.len();
        Some((path, text))
    };
    failed
        .into_iter()
        .take(FAILED_MAX)
        .map_while(fitting)
        .collect()
}

/// So many bytes of a text at most.
pub(super) fn cut(mut text: String, most: usize) -> String {
    text.truncate(text::cut(&text, most).len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_scripts_is_bounded() {
        let said = |count: usize, text: &str| {
            let named =
                (0..count).map(|number| (PathBuf::from(format!("/srv/{number}")), text.to_owned()));
            believable(named.collect())
        };
        assert_eq!(
            said(2, "why").into_values().collect::<Vec<_>>(),
            ["why", "why"]
        );
        assert_eq!(said(1000, "").len(), FAILED_MAX);
        let long = said(10, &"\u{e9}".repeat(5000));
        let len = |(path, text): (&PathBuf, &String)| path.as_os_str().len() + text.len();
        assert!(long.len() > 1 && long.iter().map(len).sum::<usize>() <= FAILED_LEN_MAX);
        assert!(
            believable(vec![("x".repeat(FAILED_LEN_MAX + 1).into(), String::new())]).is_empty()
        );
    }
}
