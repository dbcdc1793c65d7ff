//! Takes the supervisor apart for `wsgid reexec`, and puts it together again
//! in the next program (or in this one, if there is no next). Nothing that
//! happens meanwhile is acted upon: it is written down and done afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgid_protocol::Failure;
use wsgid_protocol::control::ToWorker;

use super::run::Inputs;
use super::snapshot::{
    self, ConnectionState, GroupState, Handover, KnownState, PoolState, SpawnState, State,
    WorkerState,
};
use super::{Group, Known, PoolEntry, Supervisor, WorkerEntry};
use crate::channel::closing::Guarded;
use crate::channel::parent::ParentMessage;
use crate::channel::worker::Outgoing;
use crate::connection::connections::{Connection, ConnectionHolder};
use crate::log::Output;
use crate::log::OutputTarget;
use crate::process::child::Running;
use crate::process::identity;
use crate::process::worker_task::{self, WorkerEvent};
use crate::reexec::Kept;
use wsgid_policy::definition::Definition;
use wsgid_policy::ids::PoolId;
use wsgid_policy::ids::WorkerId;
use wsgid_policy::pool::WorkerPool;
use wsgid_policy::spawn_queue::Pending;

/// How long tasks may take to stand still.
const PATIENCE: Duration = Duration::from_secs(3);

impl Supervisor {
    /// Lets every task stand still and writes everything down.
    pub(super) async fn take_apart(&mut self, inputs: &mut Inputs) -> io::Result<Handover> {
        let deadline = Instant::now() + PATIENCE;
        inputs.frozen.ask();
        inputs.accepting.ask();
        let mut messages = Vec::new();
        let mut incoming = Vec::new();
        for task in std::mem::take(&mut inputs.bridges) {
            let _ = tokio::time::timeout_at(deadline.into(), task).await;
        }
        while let Ok(message) = inputs.parent.try_recv() {
            messages.push(message);
        }
        while let Ok(greeted) = inputs.incoming.try_recv() {
            incoming.push(greeted);
        }
        incoming.extend(self.take_waiting_for_room());
        incoming.extend(
            self.early
                .take_out(|_| true)
                .into_iter()
                .map(|(_, incoming)| incoming),
        );
        self.preloading.end_all();
        self.give_priorities_back();
        self.workers
            .values()
            .for_each(|entry| entry.handle.quiesce());
        let (mut kept, mut workers, mut events) = (Kept::default(), Vec::new(), Vec::new());
        for (id, entry) in std::mem::take(&mut self.workers) {
            workers.push(
                self.write_worker(id, entry, (&mut kept, &mut events), (inputs, deadline))
                    .await?,
            );
        }
        while let Ok(event) = inputs.workers.try_recv() {
            events.push(event);
        }
        let parent = inputs
            .parent_pid
            .is_some()
            .then_some(inputs.sockets.1.as_ref())
            .flatten();
        let state = State {
            version: snapshot::VERSION,
            readable_by: 1,
            listener: kept.keep(inputs.sockets.0.as_fd())?,
            parent: parent.map(|fd| kept.keep(fd.as_fd())).transpose()?,
            messages: messages
                .into_iter()
                .map(|ParentMessage { message, files }| {
                    Ok((message, keep_files(&files, &mut kept)?))
                })
                .collect::<io::Result<_>>()?,
            control: inputs.control.clone(),
            source: self
                .source
                .as_ref()
                .map(|source| source.path().to_path_buf()),
            allowed: self
                .allowed
                .get()
                .unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
            known: self
                .known
                .iter()
                .map(|(generation, known)| write_known(*generation, known))
                .collect(),
            files: keep_files(&self.files, &mut kept)?,
            log: self.log.clone(),
            groups: self.groups.values().map(write_group).collect(),
            pools: self.write_pools(),
            workers,
            spawns: self
                .spawns
                .pending()
                .chain(self.preloading.parked())
                .map(write_spawn)
                .collect(),
            connections: self.write_connections(&mut kept)?,
            last_connection: self.connections.iter().1,
            last_pool: self.last_pool,
            incoming: incoming
                .into_iter()
                .map(|one| {
                    one.fd.leave();
                    Ok((kept.keep(one.fd.as_fd())?, one.hello))
                })
                .collect::<io::Result<_>>()?,
            events: events
                .into_iter()
                .filter_map(|(id, event)| self.write_event(id, event))
                .collect(),
            started: self.started,
            count: self.reexecs + 1,
            shut_down: self.leaving,
            problem: None,
        };
        self.connections.let_go();
        Ok(Handover { state, kept })
    }

    /// Preloaders end, and what they were about to fork is asked for again.
    fn write_event(&self, id: WorkerId, event: WorkerEvent) -> Option<(WorkerId, snapshot::Event)> {
        let event = match event {
            _ if self.preloading.owns(id) => return None,
            WorkerEvent::Says(message) => snapshot::Event::Says(message),
            WorkerEvent::Broken(why) => snapshot::Event::Broken(why),
            WorkerEvent::Exited(status) => snapshot::Event::Exited(status.into_raw()),
            WorkerEvent::Forked(_) | WorkerEvent::NotForked(_) => return None,
        };
        Some((id, event))
    }

    async fn write_worker(
        &self,
        id: WorkerId,
        entry: WorkerEntry,
        (kept, events): (&mut Kept, &mut Vec<(WorkerId, WorkerEvent)>),
        (inputs, deadline): (&mut Inputs, Instant),
    ) -> io::Result<WorkerState> {
        let pid = entry.handle.pid;
        let still = entry.handle.quiesced(deadline.into());
        tokio::pin!(still);
        // Its last words must find room.
        let still = loop {
            tokio::select! {
                still = &mut still => break still,
                Some(event) = inputs.workers.recv() => events.push(event),
            }
        };
        still.control.leave();
        let [out, err] = [still.pipes.first(), still.pipes.get(1)]
            .map(|pipe| pipe.ok_or(io::ErrorKind::NotFound));
        Ok(WorkerState {
            id,
            pid,
            pool: entry.pool,
            slot: entry.slot,
            generation: entry.generation,
            owner: entry.owner,
            control: kept.keep(still.control.socket())?,
            pipes: [kept.keep(out?.as_fd())?, kept.keep(err?.as_fd())?],
            inbox: still.inbox,
            outbox: still.outbox.into_iter().map(|out| out.message).collect(),
            started: entry.started,
            python: entry.python,
            broken: entry.broken.or_else(|| still.broken.then(Instant::now)),
            heartbeat: entry.heartbeat,
            active_at: entry.active_at,
            report: entry.report,
            ended_for: entry.ended_for.map(Failure::code),
            overtime: entry.overtime,
            failed: entry.failed,
        })
    }

    fn write_pools(&mut self) -> Vec<PoolState> {
        let pools = std::mem::take(&mut self.pools).into_iter();
        pools
            .map(|(id, entry)| PoolState {
                id,
                group: entry.group,
                application_group: entry.application_group,
                from_request: entry.from_request,
                is_forgotten: entry.is_forgotten,
                machine: Some(entry.machine),
                refusing: entry.refusing.map(|(failure, text)| (failure.code(), text)),
                restarts: entry.restarts,
                causes: entry.causes,
                scripts: entry.scripts,
                callables: entry.callables,
                given_up: entry.given_up,
            })
            .collect()
    }

    fn write_connections(&self, kept: &mut Kept) -> io::Result<Vec<ConnectionState>> {
        let write = |(id, connection): (u64, &Connection)| {
            let worker = match connection.holder {
                ConnectionHolder::Worker(worker) => Some(worker),
                ConnectionHolder::Held { .. } => None,
            };
            let fd = kept.keep(connection.fd.as_fd())?;
            let (nonce, pool, owner) = (connection.nonce, connection.pool, connection.owner);
            Ok(ConnectionState {
                id,
                fd,
                nonce,
                pool,
                worker,
                owner,
            })
        };
        self.connections.iter().0.map(write).collect()
    }

    /// Goes on where the program before has stopped.
    pub(super) fn put_together(&mut self, state: State, kept: &mut Kept) -> io::Result<()> {
        self.allowed.set(state.allowed);
        self.files = take_files(&state.files, kept)?;
        self.log = state.log;
        self.follow_syslog();
        self.known = state
            .known
            .into_iter()
            .map(|known| (known.generation, read_known(known)))
            .collect();
        (self.last_pool, self.started, self.reexecs) =
            (state.last_pool, state.started, state.count);
        self.reexec_problem = state.problem;
        for group in state.groups {
            self.read_group(group, &state.pools);
        }
        if let Some(problem) = self.admit_visitors() {
            tracing::error!("{problem}");
        }
        self.read_pools(state.pools);
        self.connections.count_from(
            state
                .connections
                .iter()
                .map(|one| one.id)
                .fold(state.last_connection, u64::max),
        );
        for one in &state.connections {
            if one.id == 0 || one.fd < 0 || !self.pools.contains_key(&one.pool) {
                tracing::error!(
                    "the program before did not say whose connection {} is: it is closed",
                    one.id
                );
                continue;
            }
            let fd = Guarded::of_many(kept.take(one.fd)?, self.owner_of(one.pool));
            self.connections
                .adopt(one.id, fd, one.nonce, one.pool, one.owner)?;
        }
        let (ended, events) = split_ends(state.events);
        for worker in state.workers {
            if !worker.is_whole() {
                tracing::error!(
                    "the program before did not say how worker {} is reached: it ends by itself",
                    worker.pid
                );
                continue;
            }
            let ended = ended.get(&worker.id).copied();
            self.read_worker(worker, ended, kept)?;
        }
        for one in state.connections {
            if let Some((worker, entry)) = one
                .worker
                .and_then(|id| self.workers.get_mut(&id).map(|entry| (id, entry)))
            {
                entry.connections.insert(one.id);
                self.connections.assign(one.id, worker, entry.owner);
            }
        }
        state
            .spawns
            .into_iter()
            .filter_map(read_spawn)
            .for_each(|spawn| self.spawns.push(spawn));
        self.drain_strangers();
        for (id, event) in events {
            self.worker_event(id, event);
        }
        for (fd, hello) in state.incoming {
            let fd = Guarded::of_many(kept.take(fd)?, hello.group.as_str());
            self.incoming(
                crate::connection::listener::NewConnection { fd, hello },
                None,
            );
        }
        for pool in self.pools.keys().copied().collect::<Vec<_>>() {
            for id in self.connections.held(pool) {
                let request = self
                    .connections
                    .get(id)
                    .is_some_and(Connection::has_request);
                self.place(id, request, Instant::now());
            }
            self.pool_event(pool, wsgid_policy::pool::Event::Tick);
        }
        self.warm_preloaders(Instant::now());
        if state.shut_down {
            self.shut_down();
        }
        Ok(())
    }

    /// Whose affair the connections of a pool are.
    fn owner_of(&self, pool: PoolId) -> Arc<str> {
        self.pools
            .get(&pool)
            .map_or_else(|| "a group".into(), |entry| entry.group.as_str().into())
    }

    fn read_group(&mut self, state: GroupState, states: &[PoolState]) {
        let GroupState {
            definition,
            pools,
            stopped,
            removed,
        } = state;
        let of_pool = || {
            let pool = states
                .iter()
                .find(|pool| pools.values().any(|id| *id == pool.id))?;
            Some(Arc::clone(pool.machine.as_ref()?.definition()))
        };
        let Some(definition) = definition
            .or_else(of_pool)
            .filter(|definition| !definition.is_missing())
        else {
            tracing::error!(
                "the program before did not say how a process group is defined; reload httpd"
            );
            return;
        };
        if let Some(why) = definition.config.not_understood() {
            tracing::error!(
                "process group `{}`: no new worker can start: {why}",
                definition.config.name
            );
        }
        let target = OutputTarget::default();
        target.set(self.log_place(&definition));
        let name = definition.config.name.clone();
        self.resources.groups.adopt(&definition.config);
        let visitor = identity::socket_uid(&definition.config).ok().flatten();
        self.groups.insert(
            name,
            Group {
                definition,
                visitor,
                target,
                pools,
                stopped,
                removed,
            },
        );
    }

    fn read_pools(&mut self, states: Vec<PoolState>) {
        for state in states {
            let group = self.groups.get_mut(&state.group);
            let Some(group) = group.filter(|_| state.id != 0) else {
                tracing::error!(
                    "the program before did not say what pool {} belongs to",
                    state.id
                );
                continue;
            };
            if !state.is_forgotten {
                group
                    .pools
                    .entry(state.application_group.clone())
                    .or_insert(state.id);
            }
            self.last_pool = self.last_pool.max(state.id);
            let (id, definition) = (state.id, Arc::clone(&group.definition));
            self.pools.insert(id, read_pool(state, &definition));
        }
        for group in self.groups.values_mut() {
            group.pools.retain(|_, pool| self.pools.contains_key(pool));
        }
    }

    /// Workers that no pool knows finish what they have, and members that are no
    /// workers are replaced: the program before did not write all of it.
    fn drain_strangers(&mut self) {
        for (id, worker) in &self.workers {
            if !self
                .pools
                .get(&worker.pool)
                .is_some_and(|pool| pool.machine.has(*id))
            {
                tracing::error!(
                    "worker {} belongs to no process group any more: it finishes and ends",
                    worker.handle.pid
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
        for (pool, entry) in &self.pools {
            let members = entry.machine.members().map(|(id, _)| id);
            let gone = members.filter(|id| !self.workers.contains_key(id) && !queued.contains(id));
            lost.extend(gone.map(|id| (*pool, id)));
        }
        for (pool, id) in lost {
            let why = "the program before did not hand it over".to_owned();
            self.pool_event(pool, wsgid_policy::pool::Event::Exited(id, why, false));
        }
    }

    fn read_worker(
        &mut self,
        state: WorkerState,
        ended: Option<ExitStatus>,
        kept: &mut Kept,
    ) -> io::Result<()> {
        let group = self
            .pools
            .get(&state.pool)
            .map(|pool| pool.group.clone())
            .unwrap_or_default();
        let target = self
            .groups
            .get(&group)
            .map(|group| group.target.clone())
            .unwrap_or_default();
        let output = Output {
            group,
            sink: self.sink.clone(),
            target,
        };
        let [out, err] = state.pipes;
        let control = Guarded::of_many(kept.take(state.control)?, output.group.as_str());
        let running = Running {
            pid: state.pid,
            control,
            pipes: [kept.take(out)?, kept.take(err)?],
            inbox: state.inbox,
        };
        let events = self.worker_events.clone();
        let handle = worker_task::adopt(state.id, running, ended, output, events)?;
        for message in state.outbox {
            let fds = match &message {
                ToWorker::Assign { connection, .. } => {
                    let fd = self
                        .connections
                        .get(*connection)
                        .map(|one| Arc::clone(&one.fd));
                    fd.into_iter()
                        .map(|fd| fd as Arc<dyn AsFd + Send + Sync>)
                        .collect()
                }
                _ => Vec::new(),
            };
            handle.send(Outgoing { message, fds });
        }
        let entry = WorkerEntry {
            pool: state.pool,
            slot: state.slot,
            generation: state.generation,
            handle,
            owner: state.owner,
            started: state.started,
            python: state.python,
            connections: BTreeSet::new(),
            gave_back: None,
            broken: state.broken,
            heartbeat: state.heartbeat,
            report: state.report,
            active_at: state.active_at,
            ended_for: state.ended_for.and_then(Failure::from_code),
            overtime: state.overtime,
            failed: state.failed,
            dumps: Vec::new(),
        };
        self.workers.insert(state.id, entry);
        Ok(())
    }
}

/// The parent's messages that the program before did not do.
pub(super) fn read_messages(state: &mut State, kept: &mut Kept) -> io::Result<Vec<ParentMessage>> {
    let messages = std::mem::take(&mut state.messages).into_iter();
    messages
        .map(|(message, files)| {
            Ok(ParentMessage {
                message,
                files: take_files(&files, kept)?,
            })
        })
        .collect()
}

fn keep_files(files: &[Arc<File>], kept: &mut Kept) -> io::Result<Vec<i32>> {
    files.iter().map(|file| kept.keep(file.as_fd())).collect()
}

fn take_files(numbers: &[i32], kept: &mut Kept) -> io::Result<Vec<Arc<File>>> {
    numbers
        .iter()
        .map(|number| Ok(Arc::new(File::from(kept.take(*number)?))))
        .collect()
}

fn write_known(generation: u64, known: &Known) -> KnownState {
    KnownState {
        generation,
        secret: known.secret,
        groups: known.groups.clone(),
        ended: known.ended,
    }
}

fn read_known(state: KnownState) -> Known {
    Known {
        secret: state.secret,
        groups: state.groups,
        ended: state.ended,
    }
}

fn write_group(group: &Group) -> GroupState {
    let (definition, pools) = (Some(Arc::clone(&group.definition)), group.pools.clone());
    GroupState {
        definition,
        pools,
        stopped: group.stopped,
        removed: group.removed,
    }
}

fn read_pool(state: PoolState, definition: &Arc<Definition>) -> PoolEntry {
    let mut machine = state
        .machine
        .unwrap_or_else(|| WorkerPool::new(state.id, Arc::clone(definition), false));
    machine.complete(state.id, definition);
    PoolEntry {
        group: state.group,
        application_group: state.application_group,
        from_request: state.from_request,
        is_forgotten: state.is_forgotten,
        used: Instant::now(),
        machine,
        refusing: state
            .refusing
            .and_then(|(code, text)| Some((Failure::from_code(code)?, text))),
        held_deadline: None,
        retry_at: None,
        timer: None,
        told_waiting: false,
        restarts: state.restarts,
        causes: state.causes,
        scripts: state.scripts,
        callables: state.callables,
        given_up: state.given_up,
    }
}

fn write_spawn(pending: &Pending) -> SpawnState {
    let Pending {
        pool,
        worker,
        slot,
        generation,
        definition,
        ..
    } = pending.clone();
    SpawnState {
        pool,
        worker,
        slot,
        generation,
        definition: Some(definition),
    }
}

fn read_spawn(state: SpawnState) -> Option<Pending> {
    let SpawnState {
        pool,
        worker,
        slot,
        generation,
        definition,
    } = state;
    let definition = definition?;
    Some(Pending {
        pool,
        worker,
        slot,
        generation,
        definition,
        failing: false,
        from_request: false,
        plain: false,
    })
}

/// The ends that were seen, and all other events. An end is told again by the
/// worker's own task, as the last of its events.
fn split_ends(
    all: Vec<(WorkerId, snapshot::Event)>,
) -> (BTreeMap<WorkerId, ExitStatus>, Vec<(WorkerId, WorkerEvent)>) {
    let (mut ended, mut events) = (BTreeMap::new(), Vec::new());
    for (id, event) in all {
        match event {
            snapshot::Event::Says(message) => events.push((id, WorkerEvent::Says(message))),
            snapshot::Event::Broken(why) => events.push((id, WorkerEvent::Broken(why))),
            snapshot::Event::Exited(status) => drop(ended.insert(id, ExitStatus::from_raw(status))),
        }
    }
    (ended, events)
}
