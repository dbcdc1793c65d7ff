//! What one program tells the next about itself. The two are of different
//! releases: every field has a default for a program that does not write it, and
//! what a program does not know is ignored. Fields are only ever added; none
//! changes its meaning. `tests/states/` has what each release wrote.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::{FromParent, FromWorker, ToWorker, WorkerReport};
use wsgid_protocol::request::Hello;

use super::{Callables, GivenUp};
use crate::reexec::Kept;
use wsgid_policy::definition::Definition;
use wsgid_policy::ids::WorkerId;
use wsgid_policy::ids::{ConnectionId, Owner, PoolId};
use wsgid_policy::instant;
use wsgid_policy::pool::WorkerPool;

/// What this program writes.
pub(crate) const VERSION: u32 = 1;

/// A supervisor that has been taken apart: nothing is lost as long as this is.
pub(crate) struct Handover {
    pub(crate) state: State,
    /// What the numbers in the state mean.
    pub(crate) kept: Kept,
}

/// A whole supervisor.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    /// What this is written in; 0 is one that had no number.
    #[serde(default)]
    pub(crate) version: u32,
    /// The lowest version whose programs may go on with it: raised only if what
    /// was added must not be ignored.
    #[serde(default)]
    pub(crate) readable_by: u32,
    #[serde(default = "no_descriptor")]
    pub(crate) listener: RawFd,
    #[serde(default)]
    pub(crate) parent: Option<RawFd>,
    /// The parent's messages that were not done yet.
    #[serde(default, deserialize_with = "readable")]
    pub(crate) messages: Vec<(FromParent, Vec<RawFd>)>,
    #[serde(default)]
    pub(crate) control: Option<PathBuf>,
    /// Its own configuration file.
    #[serde(default)]
    pub(crate) source: Option<PathBuf>,
    #[serde(default = "no_user")]
    pub(crate) allowed: u32,
    #[serde(default)]
    pub(crate) known: Vec<KnownState>,
    #[serde(default)]
    pub(crate) files: Vec<RawFd>,
    /// Where its own lines go.
    #[serde(default)]
    pub(crate) log: LogTarget,
    #[serde(default)]
    pub(crate) groups: Vec<GroupState>,
    #[serde(default)]
    pub(crate) pools: Vec<PoolState>,
    #[serde(default)]
    pub(crate) workers: Vec<WorkerState>,
    #[serde(default)]
    pub(crate) spawns: Vec<SpawnState>,
    #[serde(default)]
    pub(crate) connections: Vec<ConnectionState>,
    #[serde(default)]
    pub(crate) last_connection: ConnectionId,
    #[serde(default)]
    pub(crate) last_pool: PoolId,
    /// Connections whose HELLO was read and not looked at yet.
    #[serde(default)]
    pub(crate) incoming: Vec<(RawFd, Hello)>,
    /// What workers did in the meantime.
    #[serde(default, deserialize_with = "readable")]
    pub(crate) events: Vec<(WorkerId, Event)>,
    #[serde(with = "instant", default = "instant::now")]
    pub(crate) started: Instant,
    /// How often it has become another program.
    #[serde(default)]
    pub(crate) count: u32,
    /// Its end was asked for in the meantime.
    #[serde(default)]
    pub(crate) shut_down: bool,
    /// Why it did not become another program.
    #[serde(default)]
    pub(crate) problem: Option<String>,
}

/// A generation of httpd.
#[derive(Serialize, Deserialize)]
pub(crate) struct KnownState {
    #[serde(default)]
    pub(crate) generation: u64,
    #[serde(default = "nobodys")]
    pub(crate) secret: Option<[u8; 32]>,
    #[serde(default)]
    pub(crate) groups: BTreeSet<String>,
    /// Its last child has gone, and none is newer.
    #[serde(default)]
    pub(crate) ended: bool,
}

/// A process group.
#[derive(Serialize, Deserialize)]
pub(crate) struct GroupState {
    /// `None`: as its pools have it.
    #[serde(default)]
    pub(crate) definition: Option<Arc<Definition>>,
    #[serde(default)]
    pub(crate) pools: BTreeMap<String, PoolId>,
    #[serde(default)]
    pub(crate) stopped: bool,
    #[serde(default)]
    pub(crate) removed: bool,
}

/// A pool.
#[derive(Serialize, Deserialize)]
pub(crate) struct PoolState {
    #[serde(default)]
    pub(crate) id: PoolId,
    #[serde(default)]
    pub(crate) group: String,
    #[serde(default)]
    pub(crate) application_group: String,
    /// Only requests have named it.
    #[serde(default)]
    pub(crate) from_request: bool,
    /// It is on its way out, and another of its name may be there.
    #[serde(default)]
    pub(crate) is_forgotten: bool,
    /// `None`: one without workers, as its group is defined.
    #[serde(default)]
    pub(crate) machine: Option<WorkerPool>,
    /// A failure's code and its text.
    #[serde(default)]
    pub(crate) refusing: Option<(u16, String)>,
    #[serde(default)]
    pub(crate) restarts: u64,
    #[serde(default)]
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
    #[serde(default)]
    pub(crate) id: WorkerId,
    #[serde(default)]
    pub(crate) pid: u32,
    #[serde(default)]
    pub(crate) pool: PoolId,
    #[serde(default)]
    pub(crate) slot: u32,
    #[serde(default)]
    pub(crate) generation: u64,
    #[serde(default)]
    pub(crate) owner: Owner,
    #[serde(default = "no_descriptor")]
    pub(crate) control: RawFd,
    /// Standard output and standard error.
    #[serde(default = "no_descriptors")]
    pub(crate) pipes: [RawFd; 2],
    /// Bytes from it that are no whole message yet.
    #[serde(default)]
    pub(crate) inbox: Vec<u8>,
    /// What it was not told yet.
    #[serde(default, deserialize_with = "readable")]
    pub(crate) outbox: Vec<ToWorker>,
    #[serde(with = "instant", default = "instant::now")]
    pub(crate) started: Instant,
    #[serde(default)]
    pub(crate) python: Option<(u32, u32, u32)>,
    #[serde(with = "instant::option", default)]
    pub(crate) broken: Option<Instant>,
    #[serde(with = "instant::option", default)]
    pub(crate) heartbeat: Option<Instant>,
    #[serde(with = "instant", default = "instant::now")]
    pub(crate) active_at: Instant,
    #[serde(default)]
    pub(crate) report: WorkerReport,
    #[serde(default)]
    pub(crate) ended_for: Option<u16>,
    #[serde(default)]
    pub(crate) overtime: bool,
    #[serde(default)]
    pub(crate) failed: BTreeMap<PathBuf, String>,
}

/// A spawn that waits for its turn.
#[derive(Serialize, Deserialize)]
pub(crate) struct SpawnState {
    #[serde(default)]
    pub(crate) pool: PoolId,
    #[serde(default)]
    pub(crate) worker: WorkerId,
    #[serde(default)]
    pub(crate) slot: u32,
    #[serde(default)]
    pub(crate) generation: u64,
    /// `None`: it is not asked for again.
    #[serde(default)]
    pub(crate) definition: Option<Arc<Definition>>,
}

/// A connection.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConnectionState {
    #[serde(default)]
    pub(crate) id: ConnectionId,
    #[serde(default = "no_descriptor")]
    pub(crate) fd: RawFd,
    #[serde(default)]
    pub(crate) nonce: u32,
    #[serde(default)]
    pub(crate) pool: PoolId,
    /// Who has it; nobody if it waits.
    #[serde(default)]
    pub(crate) worker: Option<WorkerId>,
    #[serde(default)]
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

/// No descriptor has this number.
const NO_DESCRIPTOR: RawFd = -1;

const fn no_descriptor() -> RawFd {
    NO_DESCRIPTOR
}

const fn no_descriptors() -> [RawFd; 2] {
    [NO_DESCRIPTOR; 2]
}

/// No user has this number.
const fn no_user() -> u32 {
    u32::MAX
}

/// A secret that nobody can know: that of a generation whose own was not told.
#[expect(
    clippy::unnecessary_wraps,
    reason = "serde wants the type of the field"
)]
fn nobodys() -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    for part in secret.chunks_exact_mut(8) {
        part.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
    }
    Some(secret)
}

/// Those elements that this program understands: of another release's messages,
/// what is not understood is ignored as on a socket.
fn readable<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let mut known = Vec::new();
    for value in Vec::<Value>::deserialize(from)? {
        match serde_json::from_value(value) {
            Ok(element) => known.push(element),
            Err(error) => tracing::warn!(
                "the program before has left a message that is not understood: {error}"
            ),
        }
    }
    Ok(known)
}

impl WorkerState {
    /// Whether it names what no worker can be looked after without.
    pub(crate) fn is_whole(&self) -> bool {
        self.id.0 != 0
            && self.pid != 0
            && self.control >= 0
            && self.pipes.iter().all(|number| *number >= 0)
    }
}

impl State {
    /// Why no program of this release can go on with it.
    pub(super) fn refusal(&self) -> Option<String> {
        if self.readable_by > VERSION {
            return Some(format!(
                "it is of version {} and for programs of version {} or later; this one is of version {VERSION}",
                self.version, self.readable_by
            ));
        }
        (self.listener < 0).then(|| "it names no listening socket".to_owned())
    }

    /// All numbers in it.
    pub(super) fn descriptors(&self) -> Vec<RawFd> {
        let mut all = vec![self.listener];
        all.extend(self.parent);
        all.extend(self.messages.iter().flat_map(|(_, files)| files));
        all.extend(&self.files);
        all.extend(
            self.workers
                .iter()
                .flat_map(|worker| [worker.control, worker.pipes[0], worker.pipes[1]]),
        );
        all.extend(self.connections.iter().map(|connection| connection.fd));
        all.extend(self.incoming.iter().map(|(fd, _)| fd));
        all.retain(|number| *number >= 0);
        all
    }
}

/// Reads what the program before wrote.
pub(crate) fn read(file: OwnedFd) -> io::Result<State> {
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
pub(crate) fn take_over(state: State) -> io::Result<Handover> {
    let kept = Kept::inherited(&state.descriptors())?;
    Ok(Handover { state, kept })
}
