//! Starts processes as the queue of spawns allows, and tells each who it is to be.
//! Called after each event.

use std::collections::BTreeMap;
use std::time::Instant;

use wsgid_protocol::control::{ToWorker, WorkerReport, WorkerSpec};
use wsgid_protocol::{GroupConfig, config::Preload, request::VERSIONS, status::EndReason};

use super::Supervisor;
use super::pools::{Cause, PoolEntry};
use super::workers::{WorkerEntry, WorkerRecord};
use crate::log::Output;
use crate::process::procfs;
use crate::process::worker_task::{self, Handle};
use wsgid_policy::{pool::Event, spawn_queue::Pending, watching::Stamps};

impl Supervisor {
    pub(super) fn start_workers(&mut self, now: Instant) {
        for id in self.spawns.unseen(now) {
            let worker = self.workers.get(&id);
            let pid = worker
                .map(|worker| worker.record.pid)
                .or_else(|| self.preloaders.process_of(id));
            self.spawns.seen(id, pid.and_then(procfs::doing), now);
        }
        while let Some(pending) = self.spawns.pop(now) {
            let Some(pending) = self.preloaded(pending, now) else {
                continue;
            };
            let event = match self.start_worker(&pending, now) {
                Ok(()) => Event::Spawned(pending.worker),
                Err(why) => {
                    self.spawns.done(pending.worker);
                    if let Some(entry) = self.pools.get_mut(&pending.pool) {
                        let name = entry.name();
                        log_line!(
                            WORKER_NOT_STARTED,
                            "{name}: a worker could not be started: {why}"
                        );
                        entry.note_end(Cause {
                            text: why.clone(),
                            reason: EndReason::NotStarted,
                            ..Cause::default()
                        });
                    }
                    Event::SpawnFailed(pending.worker, why)
                }
            };
            self.todo.push_back((pending.pool, event));
        }
    }

    fn start_worker(&mut self, pending: &Pending, now: Instant) -> Result<(), String> {
        let handle = self.launch(pending, |spec| ToWorker::Spec(Box::new(spec)))?;
        tracing::debug!(
            "{}: worker {} started (slot {}, generation {})",
            self.pools.name(pending.pool),
            handle.pid,
            pending.slot,
            pending.generation
        );
        self.register(pending, handle, now);
        Ok(())
    }

    /// Starts a process and tells it who it is to be.
    pub(super) fn launch(
        &mut self,
        pending: &Pending,
        first: impl Fn(WorkerSpec) -> ToWorker,
    ) -> Result<Handle, String> {
        let definition = &pending.definition;
        let places = self.isolation_places(&definition.config)?;
        let entry = self
            .pools
            .get(&pending.pool)
            .ok_or("the process group has gone")?;
        let identity = definition.identity.clone();
        let identity = identity.map_err(|error| error.to_string())?;
        if let Some(why) = definition.config.not_understood() {
            return Err(why);
        }
        let several = self.groups.have_several_users();
        let owner = self.groups.owner(&definition.config.name);
        let entrances = self
            .resources
            .groups
            .entrances(&definition.config, owner, several)?;
        let title = definition.config.title();
        let spawned =
            self.launcher
                .spawn(&title, identity.uid != definition.httpd_uid, &entrances)?;
        let spec = WorkerSpec {
            versions: VERSIONS,
            group: self.config_for(pending, entry),
            application_group: entry.application_group.clone(),
            identity,
            slot: pending.slot,
            generation: pending.generation,
            server: definition.server.clone(),
            log_level: tracing::level_filters::LevelFilter::current().to_string(),
            callables: entry.callables.list(),
            places,
        };
        let handle = worker_task::attend(
            pending.worker,
            spawned,
            self.output_of(&entry.group),
            self.worker_events.clone(),
        )
        .map_err(|error| format!("failed to look after the launcher: {error}"))?;
        self.await_isolation(pending.worker, &definition.config);
        self.resources
            .start_behind(&definition.config.name, handle.pid);
        // Once for the launcher, once for the extension inside Python.
        handle.send(first(spec.clone()));
        handle.send(first(spec));
        Ok(handle)
    }

    /// Where the output of a group's workers goes.
    pub(super) fn output_of(&self, group: &str) -> Output {
        Output {
            group: group.to_owned(),
            sink: self.logs.sink.clone(),
            target: self.groups.target_of(group),
        }
    }

    /// Takes a process in as a worker.
    pub(super) fn register(&mut self, pending: &Pending, handle: Handle, now: Instant) {
        // A replacement is as idle as the worker that it replaces.
        let replaced = self
            .pools
            .get(&pending.pool)
            .and_then(|entry| entry.machine.replaces(pending.worker))
            .and_then(|old| self.workers.get(&old));
        let record = WorkerRecord {
            pid: handle.pid,
            pool: pending.pool,
            slot: pending.slot,
            generation: pending.generation,
            owner: pending.owner(),
            started: now,
            python: None,
            broken: None,
            heartbeat: None,
            active_at: replaced.map_or(now, |old| old.record.active_at),
            report: WorkerReport::default(),
            counted_cpu_us: 0,
            ended_for: None,
            ended_by: None,
            stacks: None,
            overtime: false,
            failed: BTreeMap::new(),
            stamps: Stamps::default(),
        };
        self.workers
            .insert(pending.worker, WorkerEntry::new(record, handle));
    }

    /// The group's definition with the scripts of this application group alone:
    /// those that were named, and those that workers had to load for requests.
    fn config_for(&self, pending: &Pending, entry: &PoolEntry) -> GroupConfig {
        let mut config = pending.definition.config.clone();
        let application_group = &entry.application_group;
        config.narrow_to(application_group);
        config
            .preload_scripts
            .retain(|preload| preload.application_group == *application_group);
        if config.threads > 0 {
            for script in &entry.scripts {
                let mut named = config.preload_scripts.iter();
                if named.all(|preload| preload.script != *script) {
                    config.preload_scripts.push(Preload {
                        script: script.clone(),
                        application_group: application_group.clone(),
                        callable: Some(String::new()),
                    });
                }
            }
        }
        // An old generation serves the children of httpd that know the newest.
        if let Some(newest) = self.groups.config(&config.name) {
            let runs = newest.runs.clone();
            config.runs.files.extend(runs.files);
            config.runs.directories.extend(runs.directories);
        }
        config
    }
}
