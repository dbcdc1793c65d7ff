//! Goes on in this program with what the one before has written (`snapshot`): the
//! parts take their records back, workers and connections get their tasks, and what
//! happened meanwhile is done. Called by `run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use wsgid_protocol::control::ToWorker;

use super::snapshot::{ConnectionSnapshot, Snapshot, State, WorkerSnapshot};
use super::totals::Totals;
use super::{Supervisor, groups::ProcessGroup, pools::PoolEntry, workers::WorkerEntry};
use crate::channel::{closing::Guarded, parent::ParentMessage, worker::Outgoing};
use crate::connection::{connections::RequestConnection, listener::NewConnection};
use crate::process::worker_task::{self, WorkerEvent};
use crate::process::{child::Running, identity};
use crate::reexec::InheritedFds;
use wsgid_policy::{ids::WorkerId, pool::Event};

impl Supervisor {
    pub(super) fn restore(&mut self, state: State, fds: &mut InheritedFds) -> io::Result<()> {
        // A user that nobody has, if it was not written.
        self.access.allowed.set(state.allowed.unwrap_or(u32::MAX));
        self.logs
            .resume(take_files(&state.files, fds)?, state.log, state.log_format);
        if let Some(number) = state.totals {
            self.totals = Totals::taken(Some(Arc::new(File::from(fds.take(number)?))));
        }
        for generation in state.known {
            self.access.resume(generation);
        }
        self.pools.last = state.last_pool;
        self.lifetime.started = state.started.unwrap_or_else(Instant::now);
        self.lifetime.reexecs = state.count;
        self.lifetime.reexec_problem = state.problem;
        self.lifetime.drains = state.drains;
        self.take_limits(state.users.into_iter().collect());
        for group in state.groups {
            self.restore_group(group, &state.pools);
        }
        self.resources.groups.adopt_rest();
        self.isolation.directories.resume();
        if let Some(problem) = self.set_socket_users() {
            log_line!(SOCKET_USERS_NOT_ADMITTED, "{problem}");
        }
        self.restore_pools(state.pools);
        self.limit_pools();
        let ids = state.connections.iter().map(|one| one.id);
        self.connections
            .count_from(ids.fold(state.last_connection, u64::max));
        for one in &state.connections {
            self.restore_connection(one, fds)?;
        }
        // An end is told again by the worker's own task, as the last of its events.
        let mut ended = BTreeMap::new();
        for (id, event) in &state.events {
            if let WorkerEvent::Exited(status) = event {
                ended.insert(*id, *status);
            }
        }
        for worker in state.workers {
            let ended = ended.get(&worker.id).copied();
            self.restore_worker(worker, ended, fds)?;
        }
        for one in state.connections {
            if let Some(id) = one.worker
                && let Some(worker) = self.workers.get_mut(&id)
            {
                worker.connections.insert(one.id);
                self.connections.assign(one.id, id, worker.record.owner);
            }
        }
        for spawn in state.spawns {
            // A spawn without definition is not asked for again.
            if !spawn.definition.is_missing() {
                self.spawns.push(spawn);
            }
        }
        self.drain_strangers();
        for (id, event) in state.events {
            if !matches!(event, WorkerEvent::Exited(_)) {
                self.worker_event(id, event);
            }
        }
        for (fd, hello) in state.incoming {
            let fd = Guarded::of_many(fds.take(fd)?, hello.group.as_str());
            self.incoming(NewConnection { fd, hello }, None);
        }
        self.warm_again();
        self.place_restored();
        self.warm_preloaders(Instant::now());
        if state.shut_down {
            self.leave(&Event::Shutdown);
        }
        Ok(())
    }

    fn restore_group(&mut self, mut group: ProcessGroup, pools: &[PoolEntry]) {
        if group.definition.is_missing() {
            let its = pools
                .iter()
                .find(|entry| group.pools.values().any(|id| *id == entry.id));
            if let Some(entry) = its {
                group.definition = Arc::clone(entry.machine.definition());
            }
        }
        let definition = &group.definition;
        if definition.is_missing() {
            log_line!(
                GROUP_NOT_KEPT,
                "the program before did not say how a process group is defined; reload httpd"
            );
            return;
        }
        if let Some(why) = definition.config.not_understood() {
            log_line!(
                GROUP_CANNOT_START,
                "process group `{}`: no new worker can start: {why}",
                definition.config.name
            );
        }
        self.logs.aim(&group);
        let owner = definition.identity.as_ref().ok().map(|user| user.uid);
        self.resources.groups.adopt(&definition.config, owner);
        group.socket_uid = identity::socket_uid(&definition.config).ok().flatten();
        let name = group.definition.config.name.clone();
        self.groups.insert(name, group);
    }

    fn restore_pools(&mut self, entries: Vec<PoolEntry>) {
        for mut entry in entries {
            let group = self.groups.get_mut(&entry.group);
            let Some(group) = group.filter(|_| entry.id != 0) else {
                log_line!(
                    POOL_NOT_KEPT,
                    "the program before did not say what pool {} belongs to",
                    entry.id
                );
                continue;
            };
            if !entry.is_forgotten {
                let application_group = entry.application_group.clone();
                group.pools.entry(application_group).or_insert(entry.id);
            }
            entry.machine.complete(entry.id, &group.definition);
            self.pools.resume(entry);
        }
        for group in self.groups.values_mut() {
            group.pools.retain(|_, pool| self.pools.contains_key(pool));
        }
    }

    fn restore_connection(
        &mut self,
        one: &ConnectionSnapshot,
        fds: &mut InheritedFds,
    ) -> io::Result<()> {
        let group = self.pools.group_of(one.record.pool);
        let Some((group, fd)) = group.zip(one.fd).filter(|_| one.id != 0) else {
            log_line!(
                CONNECTION_NOT_KEPT,
                "the program before did not say whose connection {} is: it is closed",
                one.id
            );
            return Ok(());
        };
        let fd = Guarded::of_many(fds.take(fd)?, group);
        self.connections.adopt(one.id, fd, one.record.clone())
    }

    fn restore_worker(
        &mut self,
        state: WorkerSnapshot,
        ended: Option<ExitStatus>,
        fds: &mut InheritedFds,
    ) -> io::Result<()> {
        let is_whole = state.is_whole();
        let record = state.record;
        let (Some(control), Some([out, err]), true) = (state.control, state.pipes, is_whole) else {
            log_line!(
                WORKER_NOT_KEPT,
                "the program before did not say how worker {} is reached: it ends by itself",
                record.pid
            );
            return Ok(());
        };
        let group = self.pools.group_of(record.pool).unwrap_or_default();
        let output = self.output_of(group);
        let running = Running {
            pid: record.pid,
            control: Guarded::of_many(fds.take(control)?, group),
            pipes: [fds.take(out)?, fds.take(err)?],
            inbox: state.inbox,
        };
        let events = self.worker_events.clone();
        let handle = worker_task::adopt(state.id, running, ended, output, events)?;
        for message in state.outbox {
            let connection = match &message {
                ToWorker::Assign { connection, .. } => self.connections.get(*connection),
                _ => None,
            };
            let fd = connection.map(|one| Arc::clone(&one.fd) as Arc<dyn AsFd + Send + Sync>);
            handle.send(Outgoing {
                message,
                fds: fd.into_iter().collect(),
            });
        }
        self.workers
            .insert(state.id, WorkerEntry::new(record, handle));
        Ok(())
    }

    /// Workers that no pool knows finish what they have, and members that are no
    /// workers are replaced: the program before did not write all of it.
    fn drain_strangers(&mut self) {
        for (id, worker) in &*self.workers {
            let entry = self.pools.get(&worker.record.pool);
            if !entry.is_some_and(|entry| entry.machine.has(*id)) {
                log_line!(
                    WORKER_WITHOUT_GROUP,
                    "worker {} belongs to no process group any more: it finishes and ends",
                    worker.record.pid
                );
                worker.handle.send(ToWorker::Drain);
            }
        }
        let queued: BTreeSet<WorkerId> = self
            .spawns
            .pending()
            .map(|pending| pending.worker)
            .collect();
        let mut lost = Vec::new();
        for entry in self.pools.values() {
            for (id, _) in entry.machine.members() {
                if !self.workers.contains_key(&id) && !queued.contains(&id) {
                    lost.push((entry.id, id));
                }
            }
        }
        for (pool, id) in lost {
            let why = "the program before did not hand it over".to_owned();
            self.pool_event(pool, Event::Exited(id, why, false));
        }
    }

    /// Finds workers for the connections that were held.
    fn place_restored(&mut self) {
        for pool in self.pools.ids() {
            for id in self.connections.held(pool) {
                let connection = self.connections.get(id);
                let request = connection.is_some_and(RequestConnection::has_request);
                self.place(id, request, Instant::now());
            }
            self.pool_event(pool, Event::Tick);
        }
    }
}

/// The parent's messages that the program before did not do.
pub(super) fn take_messages(before: &mut Snapshot) -> io::Result<Vec<ParentMessage>> {
    let mut messages = Vec::new();
    for (message, numbers) in std::mem::take(&mut before.state.messages) {
        let files = take_files(&numbers, &mut before.fds)?;
        messages.push(ParentMessage { message, files });
    }
    Ok(messages)
}

fn take_files(numbers: &[RawFd], fds: &mut InheritedFds) -> io::Result<Vec<Arc<File>>> {
    let files = numbers.iter();
    files
        .map(|number| Ok(Arc::new(File::from(fds.take(*number)?))))
        .collect()
}
