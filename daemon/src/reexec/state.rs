//! What one program tells the next about itself. Fields may be added (with a
//! default), never change their meaning: the two programs are of different
//! releases.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::{FromParent, FromWorker, ToWorker, WorkerReport};
use wsgid_protocol::request::Hello;

use super::instant;
use crate::connections::{ConnectionId, Owner, PoolId};
use crate::definition::Definition;
use crate::pool::{Pool, WorkerId};
use crate::supervisor::{Callables, GivenUp};

/// A whole supervisor.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) listener: RawFd,
    pub(crate) parent: Option<RawFd>,
    /// The parent's messages that were not done yet.
    pub(crate) messages: Vec<(FromParent, Vec<RawFd>)>,
    pub(crate) control: Option<PathBuf>,
    /// Its own configuration file.
    pub(crate) source: Option<PathBuf>,
    pub(crate) allowed: u32,
    pub(crate) known: Vec<KnownState>,
    pub(crate) files: Vec<RawFd>,
    /// Where its own lines go.
    #[serde(default)]
    pub(crate) log: LogTarget,
    pub(crate) groups: Vec<GroupState>,
    pub(crate) pools: Vec<PoolState>,
    pub(crate) workers: Vec<WorkerState>,
    pub(crate) spawns: Vec<SpawnState>,
    pub(crate) connections: Vec<ConnectionState>,
    pub(crate) last_connection: ConnectionId,
    pub(crate) last_pool: PoolId,
    /// Connections whose HELLO was read and not looked at yet.
    pub(crate) incoming: Vec<(RawFd, Hello)>,
    /// What workers did in the meantime.
    pub(crate) events: Vec<(WorkerId, Event)>,
    #[serde(with = "instant")]
    pub(crate) started: Instant,
    /// How often it has become another program.
    pub(crate) count: u32,
    /// Its end was asked for in the meantime.
    pub(crate) shut_down: bool,
    /// Why it did not become another program.
    #[serde(default)]
    pub(crate) problem: Option<String>,
}

/// A generation of httpd.
#[derive(Serialize, Deserialize)]
pub(crate) struct KnownState {
    pub(crate) generation: u64,
    pub(crate) secret: Option<[u8; 32]>,
    pub(crate) groups: BTreeSet<String>,
}

/// A process group.
#[derive(Serialize, Deserialize)]
pub(crate) struct GroupState {
    pub(crate) definition: Arc<Definition>,
    pub(crate) pools: BTreeMap<String, PoolId>,
    pub(crate) stopped: bool,
    pub(crate) removed: bool,
}

/// A pool.
#[derive(Serialize, Deserialize)]
pub(crate) struct PoolState {
    pub(crate) id: PoolId,
    pub(crate) group: String,
    pub(crate) application_group: String,
    pub(crate) machine: Pool,
    /// A failure's code and its text.
    pub(crate) refusing: Option<(u16, String)>,
    pub(crate) restarts: u64,
    pub(crate) causes: VecDeque<(SystemTime, String)>,
    #[serde(default)]
    pub(crate) scripts: BTreeSet<PathBuf>,
    #[serde(default)]
    pub(crate) callables: Callables,
    #[serde(default)]
    pub(crate) given_up: Option<GivenUp>,
}

/// A worker process.
#[derive(Serialize, Deserialize)]
pub(crate) struct WorkerState {
    pub(crate) id: WorkerId,
    pub(crate) pid: u32,
    pub(crate) pool: PoolId,
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    pub(crate) owner: Owner,
    pub(crate) control: RawFd,
    /// Standard output and standard error.
    pub(crate) pipes: [RawFd; 2],
    /// Bytes from it that are no whole message yet.
    pub(crate) inbox: Vec<u8>,
    /// What it was not told yet.
    pub(crate) outbox: Vec<ToWorker>,
    #[serde(with = "instant")]
    pub(crate) started: Instant,
    pub(crate) python: Option<(u32, u32, u32)>,
    #[serde(with = "instant::option")]
    pub(crate) broken: Option<Instant>,
    #[serde(with = "instant::option")]
    pub(crate) heartbeat: Option<Instant>,
    #[serde(with = "instant")]
    pub(crate) active_at: Instant,
    pub(crate) report: WorkerReport,
    pub(crate) ended_for: Option<u16>,
    #[serde(default)]
    pub(crate) overtime: bool,
    pub(crate) failed: BTreeMap<PathBuf, String>,
}

/// A spawn that waits for its turn.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpawnState {
    pub(crate) pool: PoolId,
    pub(crate) worker: WorkerId,
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    pub(crate) definition: Arc<Definition>,
}

/// A connection.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConnectionState {
    pub(crate) id: ConnectionId,
    pub(crate) fd: RawFd,
    pub(crate) nonce: u32,
    pub(crate) pool: PoolId,
    /// Who has it; nobody if it waits.
    pub(crate) worker: Option<WorkerId>,
    pub(crate) owner: Option<Owner>,
}

/// What a worker did.
#[derive(Serialize, Deserialize)]
pub(crate) enum Event {
    Says(FromWorker),
    Broken(String),
    /// The raw status.
    Exited(i32),
}

impl State {
    /// All numbers in it.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.listener];
        all.extend(self.parent);
        all.extend(self.messages.iter().flat_map(|(_, files)| files));
        all.extend(&self.files);
        all.extend(self.workers.iter().flat_map(|worker| [worker.control, worker.pipes[0], worker.pipes[1]]));
        all.extend(self.connections.iter().map(|connection| connection.fd));
        all.extend(self.incoming.iter().map(|(fd, _)| fd));
        all
    }
}
