//! Does what the policy of preloaders says: starts and ends
//! them, has workers forked, and registers those that were.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_protocol::control::{FromWorker, ToWorker};

use super::workers::{FAILED_LEN_MAX, believable, cut};
use super::{Supervisor, pools::PoolEntry, preloaders::PreloaderProcess};
use crate::channel::worker::Outgoing;
use crate::exit_code::launcher;
use crate::process::worker_task::{self, WorkerEvent};
use crate::process::{child::Running, forked::Expected, subreaper};
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::pool::{Event, Mode, WorkerPool};
use wsgid_policy::preloaders::{GenerationKey, PreloaderAction};
use wsgid_policy::spawn_queue::Pending;
use wsgid_protocol::readable::escaped;

impl Supervisor {
    /// Gives a spawn back if it is to be started in the plain way.
    pub(super) fn preloaded(&mut self, pending: Pending, now: Instant) -> Option<Pending> {
        let definition = Arc::clone(&pending.definition);
        let config = &definition.config;
        let is_plain = pending.plain || !config.preload || config.threads == 0;
        if is_plain || definition.identity.is_err() {
            return Some(pending);
        }
        let worker = pending.worker;
        let key = (pending.pool, pending.generation);
        // Its place in the queue of starts is the preloader's from here on.
        self.spawns.done(worker);
        self.preloaders.parked.insert(worker, pending);
        let actions = self.preloaders.policy.want(key, worker, &definition, now);
        self.carry_out_preloading(actions, now);
        None
    }

    fn carry_out_preloading(&mut self, actions: Vec<PreloaderAction>, now: Instant) {
        for action in actions {
            match action {
                PreloaderAction::Start {
                    preloader,
                    key: (pool, generation),
                    definition,
                } => {
                    let pending = Pending {
                        pool,
                        worker: preloader,
                        generation,
                        definition,
                        failing: self.is_failing(pool),
                        ..Pending::default()
                    };
                    if let Err(why) = self.start_preloader(&pending, now) {
                        log_line!(
                            PRELOADER_NOT_STARTED,
                            "a preloader could not be started: {why}"
                        );
                        let actions = self.preloaders.policy.exited(preloader, now);
                        self.carry_out_preloading(actions, now);
                    }
                }
                PreloaderAction::Fork { preloader, worker } => self.fork(preloader, worker, now),
                PreloaderAction::Plain(worker) => {
                    if let Some(mut pending) = self.preloaders.parked.remove(&worker) {
                        pending.plain = true;
                        self.spawns.push(pending);
                    }
                }
                PreloaderAction::Overdue(preloader) => self.preloader_overdue(preloader),
                PreloaderAction::End(preloader) => {
                    self.spawns.done(preloader);
                    if let Some(preloader) = self.preloaders.running.get_mut(&preloader) {
                        preloader.ended = true;
                        preloader.handle.signal(Signal::SIGKILL);
                    }
                }
            }
        }
    }

    fn preloader_overdue(&mut self, id: WorkerId) {
        self.spawns.done(id);
        let Some(preloader) = self.preloaders.running.get_mut(&id) else {
            return;
        };
        preloader.ended = true;
        preloader.handle.abort();
        let entry = self.pools.get(&preloader.key.0);
        let config = entry.map(|entry| &entry.machine.definition().config);
        log_line!(
            PRELOADER_TOO_SLOW,
            "{}: preloader {} is killed because it was not ready within startup-timeout ({} s); workers load the application themselves",
            entry.map(PoolEntry::name).unwrap_or_default(),
            preloader.handle.pid,
            config
                .map_or(Duration::ZERO, |config| config.startup_timeout)
                .as_secs_f64()
        );
    }

    fn start_preloader(&mut self, pending: &Pending, now: Instant) -> Result<(), String> {
        let handle = self.launch(pending, |spec| ToWorker::Preload(Box::new(spec)))?;
        subreaper::adopt_all();
        tracing::debug!(
            "preloader {} started (generation {})",
            handle.pid,
            pending.generation
        );
        let preloader = PreloaderProcess {
            key: (pending.pool, pending.generation),
            handle,
            owner: pending.owner(),
            started: now,
            ready: false,
            ended: false,
        };
        self.preloaders.running.insert(pending.worker, preloader);
        self.spawns.begin(pending, now);
        Ok(())
    }

    fn fork(&mut self, preloader: WorkerId, worker: WorkerId, now: Instant) {
        let Some(pending) = self.preloaders.parked.get(&worker) else {
            return;
        };
        let Some(preloader) = self.preloaders.running.get(&preloader) else {
            return;
        };
        let group = pending.definition.config.name.as_str();
        let (expected, fds) = match Expected::new(group) {
            Ok(made) => made,
            Err(error) => {
                log_line!(
                    NO_DESCRIPTORS_TO_FORK,
                    "failed to make descriptors for a worker: {error}"
                );
                let actions = self.preloaders.policy.not_forked(worker, now);
                return self.carry_out_preloading(actions, now);
            }
        };
        let fds = fds.map(|fd| fd as Arc<dyn AsFd + Send + Sync>).to_vec();
        // A preloader that does not read is found out by the wait for the worker.
        preloader.handle.send(Outgoing {
            message: ToWorker::Fork { slot: pending.slot },
            fds,
        });
        let owner = preloader.owner;
        let events = self.worker_events.clone();
        tokio::spawn(async move {
            let event = match expected.wait(owner).await {
                Ok(running) => WorkerEvent::Forked(running),
                Err(why) => WorkerEvent::NotForked(why),
            };
            let _ = events.send((worker, event)).await;
        });
    }

    /// A worker was forked. One that is not wanted any more ends with its control socket.
    pub(super) fn forked(&mut self, worker: WorkerId, running: Running, now: Instant) {
        let Some(pending) = self.preloaders.parked.get(&worker).cloned() else {
            return;
        };
        if self.knows_process(running.pid) {
            let why = format!("process {} is another worker", running.pid);
            return self.not_forked(worker, &why, now);
        }
        match self.register_forked(&pending, running, now) {
            Ok(()) => {
                self.preloaders.parked.remove(&worker);
                self.preloaders.policy.forked(worker);
                self.pool_event(pending.pool, Event::Spawned(worker));
            }
            Err(why) => self.not_forked(worker, &why, now),
        }
    }

    fn register_forked(
        &mut self,
        pending: &Pending,
        running: Running,
        now: Instant,
    ) -> Result<(), String> {
        let group = self.pools.group_of(pending.pool);
        let output = self.output_of(group.ok_or("the process group has gone")?);
        let pid = running.pid;
        let events = self.worker_events.clone();
        let handle = worker_task::adopt(pending.worker, running, None, output, events)
            .map_err(|error| format!("failed to look after process {pid}: {error}"))?;
        self.register(pending, handle, now);
        Ok(())
    }

    pub(super) fn not_forked(&mut self, worker: WorkerId, why: &str, now: Instant) {
        let Some(pending) = self.preloaders.parked.get(&worker) else {
            return;
        };
        let name = self.pools.name(pending.pool);
        log_line!(
            NOT_FORKED,
            "{name}: a worker was not forked, and is started without its preloader: {why}"
        );
        let actions = self.preloaders.policy.not_forked(worker, now);
        self.carry_out_preloading(actions, now);
        self.start_workers(now);
    }

    pub(super) fn preloader_event(&mut self, id: WorkerId, event: WorkerEvent) {
        let now = Instant::now();
        match event {
            WorkerEvent::Says(FromWorker::Ready { failed, .. }) => {
                self.preloader_ready(id, failed, now);
            }
            WorkerEvent::Says(FromWorker::CannotFork { why }) => {
                self.preloader_cannot(id, &cut(why, FAILED_LEN_MAX));
            }
            WorkerEvent::Says(_) | WorkerEvent::Forked(_) | WorkerEvent::NotForked(_) => {}
            WorkerEvent::Broken(_) => {
                if let Some(preloader) = self.preloaders.running.get(&id) {
                    preloader.handle.signal(Signal::SIGKILL);
                }
            }
            WorkerEvent::Exited(status) => self.preloader_exited(id, status, now),
            WorkerEvent::Warmed(_) => {}
        }
        self.start_workers(now);
        self.settle();
    }

    fn preloader_ready(&mut self, id: WorkerId, failed: Vec<(PathBuf, String)>, now: Instant) {
        let is_flawed = !failed.is_empty();
        let Some(preloader) = self.preloaders.running.get_mut(&id) else {
            return;
        };
        if preloader.ended || std::mem::replace(&mut preloader.ready, true) {
            return;
        }
        let name = self.pools.name(preloader.key.0);
        let pid = preloader.handle.pid;
        let took = preloader.started.elapsed().as_secs_f64();
        tracing::debug!("{name}: preloader {pid} is ready after {took:.2} s");
        for path in believable(failed).keys() {
            // The workers forked from it say how.
            log_line!(
                PRELOADED_SCRIPT_FAILED,
                "{name}: preloader {pid}: `{}` failed to load",
                escaped(path.as_os_str().as_encoded_bytes())
            );
        }
        self.spawns.done(id);
        let actions = self.preloaders.policy.ready(id, is_flawed, now);
        self.carry_out_preloading(actions, now);
    }

    fn preloader_cannot(&mut self, id: WorkerId, why: &str) {
        let Some(preloader) = self.preloaders.running.get(&id).filter(|one| !one.ended) else {
            return;
        };
        log_line!(
            PRELOAD_WITHOUT_EFFECT,
            "{}: preload=On has no effect, each worker loads the application itself: preloader {} cannot be forked, {}",
            self.pools.name(preloader.key.0),
            preloader.handle.pid,
            escaped(why.as_bytes())
        );
        let actions = self.preloaders.policy.cannot(id);
        self.carry_out_preloading(actions, Instant::now());
    }

    fn preloader_exited(&mut self, id: WorkerId, status: ExitStatus, now: Instant) {
        let Some(preloader) = self.preloaders.running.remove(&id) else {
            return;
        };
        self.spawns.done(id);
        if !preloader.ended {
            let why = status
                .code()
                .and_then(launcher::text)
                .map_or_else(|| status.to_string(), str::to_owned);
            log_line!(
                PRELOADER_ENDED,
                "{}: preloader {} ended ({why}); workers are not affected",
                self.pools.name(preloader.key.0),
                preloader.handle.pid
            );
        }
        let actions = self.preloaders.policy.exited(id, now);
        self.carry_out_preloading(actions, now);
    }

    /// Ends preloaders that nobody needs any more.
    pub(super) fn keep_preloaders(&mut self, pool: PoolId, now: Instant) {
        if !self.preloaders.policy.knows(pool) {
            return;
        }
        let machine = self.pools.get(&pool).map(|entry| &entry.machine);
        let generations = machine
            .filter(|machine| matches!(machine.mode(), Mode::Running | Mode::Failed { .. }))
            .map(WorkerPool::living_generations)
            .unwrap_or_default();
        let actions = self.preloaders.policy.keep(pool, &generations);
        self.carry_out_preloading(actions, now);
    }

    pub(super) fn tick_preloaders(&mut self, now: Instant) {
        let actions = self.preloaders.policy.tick(now);
        self.carry_out_preloading(actions, now);
    }

    /// Starts preloaders for the workers that the program before has left.
    pub(super) fn warm_preloaders(&mut self, now: Instant) {
        let mut wanted: Vec<(GenerationKey, Arc<_>)> = Vec::new();
        for entry in self.pools.values() {
            let definition = entry.machine.definition();
            let generation = entry.machine.generation();
            if definition.config.preload
                && definition.config.threads > 0
                && entry.machine.living_generations().contains(&generation)
            {
                wanted.push(((entry.id, generation), Arc::clone(definition)));
            }
        }
        for (key, definition) in wanted {
            let actions = self.preloaders.policy.warm(key, &definition, now);
            self.carry_out_preloading(actions, now);
        }
    }

    /// Whether somebody here waits for this process.
    fn knows_process(&self, pid: u32) -> bool {
        self.preloaders.has_process(pid) || self.workers.has_process(pid)
    }

    pub(super) fn reap_orphans(&self) {
        subreaper::reap(|pid| self.knows_process(pid));
    }
}
