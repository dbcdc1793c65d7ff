//! What one program tells the next about itself, and how the supervisor writes it
//! down for `wsgid reexec`. The two programs are of different releases: every field
//! has a default for a program that does not write it, and what a program does not
//! know is ignored. Fields are only ever added; none changes its meaning.
//! `tests/states/` has what each release wrote. Called by `run` and `start`; it is
//! read again in `restore`.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wsgid_protocol::config::{LogFormat, LogTarget};
use wsgid_protocol::control::{FromParent, ToWorker};
use wsgid_protocol::request::Hello;
use wsgid_protocol::user_limits::UserLimits;

use super::Supervisor;
use super::access::HttpdGeneration;
use super::groups::ProcessGroup;
use super::inputs::{Inputs, take_until, waiting_in};
use super::pools::PoolEntry;
use super::records;
use super::workers::{WorkerEntry, WorkerRecord};
use crate::channel::parent::ParentMessage;
use crate::connection::connections::{ConnectionHolder, ConnectionRecord};
use crate::process::worker_task::{QuiescedWorker, WorkerEvent};
use crate::reexec::InheritedFds;
use wsgid_policy::ids::{ConnectionId, PoolId, WorkerId};
use wsgid_policy::instant;
use wsgid_policy::spawn_queue::Pending;

/// What this program writes.
const VERSION: u32 = 1;
/// How long tasks may take to stand still.
const PATIENCE: Duration = Duration::from_secs(3);

/// A supervisor that has been written down: nothing is lost as long as this is.
pub(crate) struct Snapshot {
    pub(super) state: State,
    /// What the numbers in the state mean.
    pub(super) fds: InheritedFds,
}

/// A whole supervisor. Descriptors stand for themselves by their numbers.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// What this is written in; 0 is one that had no number.
    pub(super) version: u32,
    /// The lowest version whose programs may go on with it: raised only if what
    /// was added must not be ignored.
    pub(super) readable_by: u32,
    pub(super) listener: Option<RawFd>,
    pub(super) parent: Option<RawFd>,
    /// The parent's messages that were not done yet.
    #[serde(deserialize_with = "records::readable")]
    pub(super) messages: Vec<(FromParent, Vec<RawFd>)>,
    pub(super) control: Option<PathBuf>,
    /// Its own configuration file.
    pub(super) source: Option<PathBuf>,
    pub(super) allowed: Option<u32>,
    pub(super) known: Vec<HttpdGeneration>,
    pub(super) files: Vec<RawFd>,
    /// The memory of totals.
    pub(super) totals: Option<RawFd>,
    /// Where its own lines go.
    pub(super) log: LogTarget,
    pub(super) log_format: LogFormat,
    pub(super) groups: Vec<ProcessGroup>,
    pub(super) pools: Vec<PoolEntry>,
    pub(super) workers: Vec<WorkerSnapshot>,
    pub(super) spawns: Vec<Pending>,
    pub(super) connections: Vec<ConnectionSnapshot>,
    pub(super) last_connection: ConnectionId,
    pub(super) last_pool: PoolId,
    /// Connections whose HELLO was read and not looked at yet.
    pub(super) incoming: Vec<(RawFd, Hello)>,
    /// What workers did in the meantime.
    #[serde(deserialize_with = "records::readable")]
    pub(super) events: Vec<(WorkerId, WorkerEvent)>,
    #[serde(with = "instant")]
    pub(super) started: Option<Instant>,
    /// How often it has become another program.
    pub(super) count: u32,
    /// Its end was asked for in the meantime.
    pub(super) shut_down: bool,
    /// Why it did not become another program.
    pub(super) problem: Option<String>,
    /// It is not ready, by command.
    pub(super) drains: bool,
    /// What users may have, by their numbers.
    #[serde(deserialize_with = "records::readable")]
    pub(super) users: Vec<(u32, UserLimits)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WorkerSnapshot {
    #[serde(default)]
    pub(super) id: WorkerId,
    #[serde(default)]
    pub(super) control: Option<RawFd>,
    /// Standard output and standard error.
    #[serde(default)]
    pub(super) pipes: Option<[RawFd; 2]>,
    /// Bytes from it that are no whole message yet.
    #[serde(default)]
    pub(super) inbox: Vec<u8>,
    /// What it was not told yet.
    #[serde(default, deserialize_with = "records::readable")]
    pub(super) outbox: Vec<ToWorker>,
    #[serde(flatten)]
    pub(super) record: WorkerRecord,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ConnectionSnapshot {
    pub(super) id: ConnectionId,
    pub(super) fd: Option<RawFd>,
    /// Who has it; nobody if it waits.
    pub(super) worker: Option<WorkerId>,
    #[serde(flatten)]
    pub(super) record: ConnectionRecord,
}

impl WorkerSnapshot {
    fn new(
        id: WorkerId,
        mut record: WorkerRecord,
        still: QuiescedWorker,
        fds: &mut InheritedFds,
    ) -> io::Result<Self> {
        if still.broken {
            record.broken.get_or_insert_with(Instant::now);
        }
        still.control.leave();
        let [out, err] = still.pipes.as_slice() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        Ok(Self {
            id,
            control: Some(fds.keep(still.control.socket())?),
            pipes: Some([fds.keep(out.as_fd())?, fds.keep(err.as_fd())?]),
            inbox: still.inbox,
            outbox: still.outbox.into_iter().map(|out| out.message).collect(),
            record,
        })
    }

    /// Whether it names what no worker can be looked after without.
    pub(super) fn is_whole(&self) -> bool {
        self.id.0 != 0 && self.record.pid != 0 && self.control.is_some() && self.pipes.is_some()
    }
}

impl State {
    /// Why no program of this release can go on with it.
    fn refusal(&self) -> Option<String> {
        if self.readable_by > VERSION {
            return Some(format!(
                "it is of version {} and for programs of version {} or later; this one is of version {VERSION}",
                self.version, self.readable_by
            ));
        }
        let is_unnamed = self.listener.is_none();
        is_unnamed.then(|| "it names no listening socket".to_owned())
    }

    fn descriptors(&self) -> Vec<RawFd> {
        let mut all: Vec<RawFd> = self.listener.into_iter().chain(self.parent).collect();
        all.extend(self.messages.iter().flat_map(|(_, files)| files));
        all.extend(&self.files);
        all.extend(self.totals);
        for worker in &self.workers {
            all.extend(worker.control);
            all.extend(worker.pipes.iter().flatten());
        }
        all.extend(self.connections.iter().filter_map(|one| one.fd));
        all.extend(self.incoming.iter().map(|(fd, _)| fd));
        all.retain(|number| *number >= 0);
        all
    }
}

impl Supervisor {
    /// Lets every task stand still and writes everything down. Nothing that
    /// happens meanwhile is acted upon: it is done by who reads the snapshot.
    pub(super) async fn snapshot(&mut self, inputs: &mut Inputs) -> io::Result<Snapshot> {
        let deadline = Instant::now() + PATIENCE;
        let mut fds = InheritedFds::default();
        let messages = inputs.quiesce(deadline).await;
        let mut incoming = waiting_in(&mut inputs.incoming.receiver);
        incoming.extend(self.arrivals.take_all());
        self.preloaders.end_all();
        self.give_priorities_back();
        let (workers, events) = self.quiesce_workers(inputs, deadline, &mut fds).await?;
        let parent = inputs.parent_socket.as_ref();
        let parent = parent.filter(|_| inputs.parent_pid.is_some());
        let spawns = self.spawns.pending().chain(self.preloaders.parked.values());
        let allowed = self.access.allowed.get();
        let allowed = allowed.unwrap_or_else(|| nix::unistd::geteuid().as_raw());
        let state = State {
            version: VERSION,
            readable_by: 1,
            listener: Some(fds.keep(inputs.listener.as_fd())?),
            parent: parent.map(|fd| fds.keep(fd.as_fd())).transpose()?,
            messages: keep_messages(messages, &mut fds)?,
            control: inputs.control.clone(),
            source: self
                .source
                .as_ref()
                .map(|source| source.path().to_path_buf()),
            allowed: Some(allowed),
            known: std::mem::take(&mut self.access.generations)
                .into_values()
                .collect(),
            files: keep_files(&self.logs.files, &mut fds)?,
            totals: self
                .totals
                .0
                .as_ref()
                .map(|file| fds.keep(file.as_fd()))
                .transpose()?,
            log: self.logs.own.clone(),
            log_format: self.logs.format,
            groups: std::mem::take(&mut *self.groups).into_values().collect(),
            spawns: spawns.cloned().collect(),
            last_pool: self.pools.last,
            pools: std::mem::take(&mut *self.pools).into_values().collect(),
            workers,
            connections: self.keep_connections(&mut fds)?,
            last_connection: self.connections.last(),
            incoming: incoming
                .into_iter()
                .map(|one| {
                    one.fd.leave();
                    Ok((fds.keep(one.fd.as_fd())?, one.hello))
                })
                .collect::<io::Result<_>>()?,
            events,
            started: Some(self.lifetime.started),
            count: self.lifetime.reexecs + 1,
            shut_down: self.lifetime.is_leaving,
            problem: None,
            drains: self.lifetime.drains,
            users: self.users.all(),
        };
        self.connections.let_go();
        Ok(Snapshot { state, fds })
    }

    /// Ends the tasks of all workers, which run on. Returns also what these said
    /// meanwhile.
    async fn quiesce_workers(
        &mut self,
        inputs: &mut Inputs,
        deadline: Instant,
        fds: &mut InheritedFds,
    ) -> io::Result<(Vec<WorkerSnapshot>, Vec<(WorkerId, WorkerEvent)>)> {
        let running = std::mem::take(&mut *self.workers);
        for worker in running.values() {
            worker.handle.quiesce();
        }
        let mut events = Vec::new();
        let mut workers = Vec::new();
        for (id, WorkerEntry { record, handle, .. }) in running {
            // The last words of its tasks must find room.
            let ended = handle.quiesced(deadline.into());
            let still = take_until(ended, &mut inputs.workers.receiver, &mut events).await;
            workers.push(WorkerSnapshot::new(id, record, still, fds)?);
        }
        events.extend(waiting_in(&mut inputs.workers.receiver));
        // Preloaders end, and what they were about to fork is asked for again.
        events.retain(|(id, event)| {
            let is_asked_again = matches!(
                event,
                WorkerEvent::Forked(_) | WorkerEvent::NotForked(_) | WorkerEvent::Warmed(_)
            );
            !is_asked_again && !self.preloaders.running.contains_key(id)
        });
        Ok((workers, events))
    }

    fn keep_connections(&self, fds: &mut InheritedFds) -> io::Result<Vec<ConnectionSnapshot>> {
        let mut kept = Vec::with_capacity(self.connections.len());
        for (id, connection) in self.connections.iter() {
            kept.push(ConnectionSnapshot {
                id,
                fd: Some(fds.keep(connection.fd.as_fd())?),
                worker: match connection.holder {
                    ConnectionHolder::Worker(worker) => Some(worker),
                    ConnectionHolder::Held { .. } => None,
                },
                record: connection.record.clone(),
            });
        }
        Ok(kept)
    }
}

fn keep_messages(
    messages: Vec<ParentMessage>,
    fds: &mut InheritedFds,
) -> io::Result<Vec<(FromParent, Vec<RawFd>)>> {
    let mut kept = Vec::new();
    for ParentMessage { message, files } in messages {
        kept.push((message, keep_files(&files, fds)?));
    }
    Ok(kept)
}

fn keep_files(files: &[Arc<File>], fds: &mut InheritedFds) -> io::Result<Vec<RawFd>> {
    files.iter().map(|file| fds.keep(file.as_fd())).collect()
}

/// Reads what the program before wrote.
pub(super) fn read(file: OwnedFd) -> io::Result<State> {
    let mut file = File::from(file);
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let state: State = serde_json::from_str(&text)?;
    match state.refusal() {
        None => Ok(state),
        Some(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why)),
    }
}

/// Takes over the descriptors that the state names. Each of them is open:
/// the program before inherited them to this one.
pub(super) fn take_over(state: State) -> io::Result<Snapshot> {
    let fds = InheritedFds::inherited(&state.descriptors())?;
    Ok(Snapshot { state, fds })
}
