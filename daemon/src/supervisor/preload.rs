//! Does what the state machine of preloaders says (`wsgid_policy`): starts and ends
//! them, has workers forked, and takes in those that were born.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use wsgid_protocol::control::{FromWorker, ToWorker};
use wsgid_protocol::runs::Runs;

use super::workers::{FAILED_LEN_MAX, believable, cut};
use super::{PoolEntry, Supervisor};
use crate::channel::worker::Outgoing;
use crate::exit_code::launcher;
use crate::log::escaped;
use crate::process::child::Running;
use crate::process::forked::Expected;
use crate::process::subreaper;
use crate::process::worker_task::{self, Handle, WorkerEvent};
use wsgid_policy::ids::WorkerId;
use wsgid_policy::ids::{Owner, PoolId};
use wsgid_policy::pool::{Event, Mode};
use wsgid_policy::preloaders::{GenerationKey, PreloaderAction, PreloaderPhase, Preloaders};
use wsgid_policy::spawn_queue::Pending;

/// All about preloaders that is not a decision.
#[derive(Default)]
pub(super) struct Preloading {
    policy: Preloaders,
    preloaders: BTreeMap<WorkerId, Preloader>,
    /// Spawns that wait for a preloader, or are being forked.
    parked: BTreeMap<WorkerId, Pending>,
}

/// A preloader's process.
struct Preloader {
    key: GenerationKey,
    handle: Handle,
    owner: Owner,
    started: Instant,
    /// It has said that it is ready.
    ready: bool,
    ended: bool,
}

impl Preloading {
    /// Spawns that wait, for the program that goes on.
    pub(super) fn parked(&self) -> impl Iterator<Item = &Pending> {
        self.parked.values()
    }

    /// Tells the preloaders of these pools what their group may run.
    pub(super) fn tell(&self, is_its: impl Fn(&PoolId) -> bool, runs: &Runs) {
        for preloader in self
            .preloaders
            .values()
            .filter(|preloader| is_its(&preloader.key.0))
        {
            preloader.handle.send(ToWorker::Runs(runs.clone()));
        }
    }

    /// Whether no process is left.
    pub(super) fn is_empty(&self) -> bool {
        self.preloaders.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.policy.deadline()
    }

    pub(super) fn cancel(&mut self, worker: WorkerId) {
        self.parked.remove(&worker);
        self.policy.cancel(worker);
    }

    /// A worker of this generation asks for one in which its scripts load.
    pub(super) fn load_failed(&mut self, key: GenerationKey) {
        self.policy.load_failed(key);
    }

    /// Whether these events are about a preloader.
    pub(super) fn owns(&self, id: WorkerId) -> bool {
        self.preloaders.contains_key(&id)
    }

    /// The pools that have preloaders, and the preloaders' numbers.
    pub(super) fn processes(&self) -> impl Iterator<Item = (PoolId, u32)> {
        self.preloaders
            .values()
            .map(|preloader| (preloader.key.0, preloader.handle.pid))
    }

    /// The process of one.
    pub(super) fn process_of(&self, id: WorkerId) -> Option<u32> {
        self.preloaders
            .get(&id)
            .map(|preloader| preloader.handle.pid)
    }

    pub(super) fn has_process(&self, pid: u32) -> bool {
        self.preloaders
            .values()
            .any(|preloader| preloader.handle.pid == pid)
    }

    /// Before another program goes on: it starts preloaders of its own.
    pub(super) fn end_all(&self) {
        self.preloaders
            .values()
            .for_each(|preloader| preloader.handle.signal(Signal::SIGKILL));
    }

    /// For the status of a pool.
    pub(super) fn status(&self, key: GenerationKey) -> Value {
        let Some((phase, preloader)) = self.policy.phase(key) else {
            return Value::Null;
        };
        let state = match phase {
            PreloaderPhase::Loading { .. } => "loading",
            PreloaderPhase::Ready { .. } => "ready",
            PreloaderPhase::Resting { .. } => "none",
        };
        let pid = preloader
            .and_then(|id| self.preloaders.get(&id))
            .map(|preloader| preloader.handle.pid);
        json!({ "state": state, "pid": pid })
    }
}

impl Supervisor {
    /// Gives a spawn back if it is to be started in the plain way.
    pub(super) fn preloaded(&mut self, pending: Pending, now: Instant) -> Option<Pending> {
        let config = &pending.definition.config;
        if !config.preload
            || config.threads == 0
            || pending.plain
            || pending.definition.identity.is_err()
        {
            return Some(pending);
        }
        let (key, worker) = ((pending.pool, pending.generation), pending.worker);
        let definition = std::sync::Arc::clone(&pending.definition);
        // Its place in the queue of starts is the preloader's from here on.
        self.spawns.done(worker);
        self.preloading.parked.insert(worker, pending);
        let actions = self.preloading.policy.want(key, worker, &definition, now);
        self.nurse(actions, now);
        None
    }

    fn nurse(&mut self, actions: Vec<PreloaderAction>, now: Instant) {
        for action in actions {
            match action {
                PreloaderAction::Start {
                    preloader,
                    key,
                    definition,
                } => {
                    let failing = self
                        .pools
                        .get(&key.0)
                        .is_some_and(|entry| entry.machine.is_failing());
                    let pending = Pending {
                        pool: key.0,
                        worker: preloader,
                        slot: 0,
                        generation: key.1,
                        definition,
                        failing,
                        from_request: false,
                        plain: false,
                    };
                    if let Err(why) = self.start_preloader(&pending, now) {
                        tracing::error!("a preloader could not be started: {why}");
                        let actions = self.preloading.policy.exited(preloader, now);
                        self.nurse(actions, now);
                    }
                }
                PreloaderAction::Fork { preloader, worker } => self.fork(preloader, worker, now),
                PreloaderAction::Plain(worker) => {
                    if let Some(pending) = self.preloading.parked.remove(&worker) {
                        self.spawns.push(Pending {
                            plain: true,
                            ..pending
                        });
                    }
                }
                PreloaderAction::End(preloader) => {
                    self.spawns.done(preloader);
                    if let Some(preloader) = self.preloading.preloaders.get_mut(&preloader) {
                        preloader.ended = true;
                        preloader.handle.signal(Signal::SIGKILL);
                    }
                }
            }
        }
    }

    fn start_preloader(&mut self, pending: &Pending, now: Instant) -> Result<(), String> {
        let (handle, owner) = self.launch(pending, |spec| ToWorker::Preload(Box::new(spec)))?;
        subreaper::adopt_all();
        tracing::debug!(
            "preloader {} started (generation {})",
            handle.pid,
            pending.generation
        );
        let key = (pending.pool, pending.generation);
        let preloader = Preloader {
            key,
            handle,
            owner,
            started: now,
            ready: false,
            ended: false,
        };
        self.preloading.preloaders.insert(pending.worker, preloader);
        self.spawns.begin(pending, now);
        Ok(())
    }

    fn fork(&mut self, preloader: WorkerId, worker: WorkerId, now: Instant) {
        let Some(pending) = self.preloading.parked.get(&worker) else {
            return;
        };
        let Some(preloader) = self.preloading.preloaders.get(&preloader) else {
            return;
        };
        let group = pending.definition.config.name.as_str();
        let (expected, fds) = match Expected::new(group) {
            Ok(made) => made,
            Err(error) => {
                tracing::error!("failed to make descriptors for a worker: {error}");
                let actions = self.preloading.policy.not_forked(worker, now);
                return self.nurse(actions, now);
            }
        };
        let fds = fds.map(|fd| fd as Arc<dyn AsFd + Send + Sync>).to_vec();
        // One that does not read is found out by the wait for the birth.
        preloader.handle.send(Outgoing {
            message: ToWorker::Fork { slot: pending.slot },
            fds,
        });
        let (events, owner) = (self.worker_events.clone(), preloader.owner);
        tokio::spawn(async move {
            let event = match expected.wait(owner).await {
                Ok(running) => WorkerEvent::Forked(running),
                Err(why) => WorkerEvent::NotForked(why),
            };
            let _ = events.send((worker, event)).await;
        });
    }

    /// A worker was forked. If it is not wanted any more, its control socket is
    /// closed, and it ends.
    pub(super) fn born(&mut self, worker: WorkerId, running: Running, now: Instant) {
        let Some(pending) = self.preloading.parked.get(&worker).cloned() else {
            return;
        };
        if self.knows_process(running.pid) {
            return self.not_born(
                worker,
                &format!("process {} is another worker", running.pid),
                now,
            );
        }
        match self.take_in(&pending, running, now) {
            Ok(()) => {
                self.preloading.parked.remove(&worker);
                self.preloading.policy.forked(worker);
                self.todo.push_back((pending.pool, Event::Spawned(worker)));
                self.settle();
            }
            Err(why) => self.not_born(worker, &why, now),
        }
    }

    fn take_in(&mut self, pending: &Pending, running: Running, now: Instant) -> Result<(), String> {
        let (output, owner) = self.output_for(pending)?;
        let pid = running.pid;
        let events = self.worker_events.clone();
        let handle = worker_task::adopt(pending.worker, running, None, output, events)
            .map_err(|error| format!("failed to look after process {pid}: {error}"))?;
        self.enlist(pending, handle, owner, now);
        Ok(())
    }

    pub(super) fn not_born(&mut self, worker: WorkerId, why: &str, now: Instant) {
        let Some(pending) = self.preloading.parked.get(&worker) else {
            return;
        };
        let name = self
            .pools
            .get(&pending.pool)
            .map(PoolEntry::name)
            .unwrap_or_default();
        tracing::error!(
            "{name}: a worker was not forked, and is started without its preloader: {why}"
        );
        let actions = self.preloading.policy.not_forked(worker, now);
        self.nurse(actions, now);
        self.start_workers(now);
    }

    /// Something came from a preloader.
    pub(super) fn preloader_event(&mut self, id: WorkerId, event: WorkerEvent) {
        let now = Instant::now();
        match event {
            WorkerEvent::Says(FromWorker::Ready { failed, .. }) => {
                self.preloader_ready(id, failed, now)
            }
            WorkerEvent::Says(FromWorker::CannotFork { why }) => {
                self.preloader_cannot(id, &cut(why, FAILED_LEN_MAX), now)
            }
            WorkerEvent::Says(_) | WorkerEvent::Forked(_) | WorkerEvent::NotForked(_) => {}
            WorkerEvent::Broken(_) => {
                if let Some(preloader) = self.preloading.preloaders.get(&id) {
                    preloader.handle.signal(Signal::SIGKILL);
                }
            }
            WorkerEvent::Exited(status) => self.preloader_exited(id, status, now),
        }
        self.start_workers(now);
        self.settle();
    }

    fn preloader_ready(
        &mut self,
        id: WorkerId,
        failed: Vec<(std::path::PathBuf, String)>,
        now: Instant,
    ) {
        let (flawed, failed) = (!failed.is_empty(), believable(failed));
        let Some(preloader) = self.preloading.preloaders.get_mut(&id) else {
            return;
        };
        if preloader.ended || std::mem::replace(&mut preloader.ready, true) {
            return;
        }
        let name = self
            .pools
            .get(&preloader.key.0)
            .map(PoolEntry::name)
            .unwrap_or_default();
        let (pid, took) = (
            preloader.handle.pid,
            preloader.started.elapsed().as_secs_f64(),
        );
        tracing::info!("{name}: preloader {pid} is ready after {took:.2} s");
        for path in failed.keys() {
            // The workers forked from it say how.
            tracing::error!(
                "{name}: preloader {pid}: `{}` failed to load",
                escaped(path.as_os_str().as_encoded_bytes())
            );
        }
        self.spawns.done(id);
        let actions = self.preloading.policy.ready(id, flawed, now);
        self.nurse(actions, now);
    }

    fn preloader_cannot(&mut self, id: WorkerId, why: &str, now: Instant) {
        let Some(preloader) = self
            .preloading
            .preloaders
            .get(&id)
            .filter(|preloader| !preloader.ended)
        else {
            return;
        };
        let name = self
            .pools
            .get(&preloader.key.0)
            .map(PoolEntry::name)
            .unwrap_or_default();
        tracing::warn!(
            "{name}: preload=On has no effect, each worker loads the application itself: preloader {} cannot be forked, {}",
            preloader.handle.pid,
            escaped(why.as_bytes())
        );
        let actions = self.preloading.policy.cannot(id);
        self.nurse(actions, now);
    }

    fn preloader_exited(&mut self, id: WorkerId, status: ExitStatus, now: Instant) {
        let Some(preloader) = self.preloading.preloaders.remove(&id) else {
            return;
        };
        self.spawns.done(id);
        if !preloader.ended {
            let name = self
                .pools
                .get(&preloader.key.0)
                .map(PoolEntry::name)
                .unwrap_or_default();
            let why = status
                .code()
                .and_then(launcher::text)
                .map_or_else(|| status.to_string(), str::to_owned);
            tracing::error!(
                "{name}: preloader {} ended ({why}); workers are not affected",
                preloader.handle.pid
            );
        }
        let actions = self.preloading.policy.exited(id, now);
        self.nurse(actions, now);
    }

    /// Ends preloaders that nobody needs any more.
    pub(super) fn keep_preloaders(&mut self, pool: PoolId, now: Instant) {
        if !self.preloading.policy.knows(pool) {
            return;
        }
        let machine = self.pools.get(&pool).map(|entry| &entry.machine);
        let machine =
            machine.filter(|machine| matches!(machine.mode(), Mode::Running | Mode::Failed { .. }));
        let generations = machine
            .map(wsgid_policy::pool::WorkerPool::living_generations)
            .unwrap_or_default();
        let actions = self.preloading.policy.keep(pool, &generations);
        self.nurse(actions, now);
    }

    pub(super) fn tick_preloaders(&mut self, now: Instant) {
        let actions = self.preloading.policy.tick(now);
        self.nurse(actions, now);
    }

    /// Starts preloaders for the workers that the program before has left.
    pub(super) fn warm_preloaders(&mut self, now: Instant) {
        let pools: Vec<(GenerationKey, std::sync::Arc<_>)> = self
            .pools
            .iter()
            .filter(|(_, entry)| {
                entry.machine.definition().config.preload
                    && entry.machine.definition().config.threads > 0
            })
            .filter(|(_, entry)| {
                entry
                    .machine
                    .living_generations()
                    .contains(&entry.machine.generation())
            })
            .map(|(id, entry)| {
                (
                    (*id, entry.machine.generation()),
                    std::sync::Arc::clone(entry.machine.definition()),
                )
            })
            .collect();
        for (key, definition) in pools {
            let actions = self.preloading.policy.warm(key, &definition, now);
            self.nurse(actions, now);
        }
    }

    /// Whether somebody here waits for this process.
    fn knows_process(&self, pid: u32) -> bool {
        self.preloading.has_process(pid)
            || self.workers.values().any(|worker| worker.handle.pid == pid)
    }

    /// Reaps what nobody waits for.
    pub(super) fn reap_orphans(&self) {
        subreaper::reap(|pid| self.knows_process(pid));
    }
}
