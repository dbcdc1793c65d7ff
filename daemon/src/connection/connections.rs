//! The duplicates of all request connections: who serves each, which wait for
//! a worker, and what their sockets show. Owned by the supervisor. Reads never
//! take a byte off a socket (PROTOCOL.md §5: unread bytes are the proof that a
//! request has not begun).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Instant;

use nix::sys::socket::{MsgFlags, Shutdown, shutdown};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;
use wsgid_protocol::{
    Failure, FrameHead, Kind, blocking::send_all, head::FLAG_CLOSE, limits::MAX_FAIL_LEN, text,
};

use crate::channel::closing::{Guarded, Polled};
use crate::connection::queue_front::{self, QueueFront};
use wsgid_policy::ids::{ConnectionId, Owner, PoolId, WorkerId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldEvent {
    /// A request arrived on it.
    Readable,
    /// The module closed it.
    Gone,
}

#[derive(Debug)]
pub(crate) enum ConnectionHolder {
    /// Nobody yet. The number tells this wait from earlier ones.
    Held {
        since: Instant,
        wait: u64,
        watch: AbortHandle,
        request: bool,
    },
    Worker(WorkerId),
}

/// What is known of a connection; crosses `wsgid reexec`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ConnectionRecord {
    pub(crate) nonce: u32,
    pub(crate) pool: PoolId,
    /// Who has had it; `None` while no worker has.
    pub(crate) owner: Option<Owner>,
}

#[derive(Debug)]
pub(crate) struct RequestConnection {
    pub(crate) fd: Arc<Guarded>,
    pub(crate) record: ConnectionRecord,
    pub(crate) holder: ConnectionHolder,
    /// The request that waited last, and since when: a worker without a free
    /// thread gives it back, and its wait does not begin anew.
    waited: Option<(u64, Instant)>,
}

impl Drop for RequestConnection {
    fn drop(&mut self) {
        if let ConnectionHolder::Held { watch, .. } = &self.holder {
            watch.abort();
        }
        // Whoever else has a copy (a child of a worker) must not keep it open
        // for the module. A supervisor that fails lets its workers go on.
        if self.record.owner.is_some() && !std::thread::panicking() {
            let _ = shutdown(self.fd.as_fd().as_raw_fd(), Shutdown::Both);
        }
    }
}

pub(crate) struct Connections {
    all: BTreeMap<ConnectionId, RequestConnection>,
    held: BTreeMap<PoolId, BTreeSet<ConnectionId>>,
    last: ConnectionId,
    waits: u64,
    events: Sender<(ConnectionId, u64, HeldEvent)>,
}

impl Connections {
    pub(crate) const fn new(events: Sender<(ConnectionId, u64, HeldEvent)>) -> Self {
        Self {
            all: BTreeMap::new(),
            held: BTreeMap::new(),
            last: 0,
            waits: 0,
            events,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&RequestConnection> {
        self.all.get(&id)
    }

    /// Takes in a new connection; it is held. Gives it back if that fails.
    pub(crate) fn add(
        &mut self,
        fd: Arc<Guarded>,
        nonce: u32,
        pool: PoolId,
        now: Instant,
    ) -> Result<ConnectionId, (io::Error, Arc<Guarded>)> {
        self.last += 1;
        let record = ConnectionRecord {
            nonce,
            pool,
            owner: None,
        };
        match self.insert(self.last, &fd, record, now) {
            Ok(()) => Ok(self.last),
            Err(error) => Err((error, fd)),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &RequestConnection)> {
        self.all.iter().map(|(id, connection)| (*id, connection))
    }

    /// The number that was given last.
    pub(crate) const fn last(&self) -> ConnectionId {
        self.last
    }

    /// Closes our descriptors; another program goes on with the connections.
    pub(crate) fn let_go(&mut self) {
        for connection in self.all.values_mut() {
            connection.record.owner = None;
            connection.fd.leave();
        }
        self.all.clear();
        self.held.clear();
    }

    /// Goes on with a connection of the program before, which is held at first.
    pub(crate) fn adopt(
        &mut self,
        id: ConnectionId,
        fd: Guarded,
        record: ConnectionRecord,
    ) -> io::Result<()> {
        self.insert(id, &Arc::new(fd), record, Instant::now())
    }

    fn insert(
        &mut self,
        id: ConnectionId,
        fd: &Arc<Guarded>,
        record: ConnectionRecord,
        now: Instant,
    ) -> io::Result<()> {
        let connection = RequestConnection {
            fd: Arc::clone(fd),
            holder: self.watch(id, fd, now)?,
            record,
            waited: None,
        };
        let held = self.held.entry(connection.record.pool).or_default();
        held.insert(id);
        self.all.insert(id, connection);
        Ok(())
    }

    /// Connections have numbers up to this one.
    pub(crate) fn count_from(&mut self, last: ConnectionId) {
        self.last = last;
    }

    /// The connection has no worker any more and waits.
    pub(crate) fn hold(&mut self, id: ConnectionId, now: Instant) -> io::Result<()> {
        let Some(connection) = self.all.get_mut(&id) else {
            return Ok(());
        };
        let waits = queue_front::waiting_request(connection.fd.as_fd(), connection.record.nonce);
        let since = match (connection.waited, waits) {
            (Some((before, since)), Some(number)) if before == number => since,
            _ => now,
        };
        connection.waited = waits.map(|number| (number, since));
        let fd = Arc::clone(&connection.fd);
        let holder = self.watch(id, &fd, since)?;
        if let Some(connection) = self.all.get_mut(&id) {
            connection.holder = holder;
            self.held
                .entry(connection.record.pool)
                .or_default()
                .insert(id);
        }
        Ok(())
    }

    /// The connection goes to this worker.
    pub(crate) fn assign(&mut self, id: ConnectionId, worker: WorkerId, owner: Owner) {
        let Some(connection) = self.all.get_mut(&id) else {
            return;
        };
        if let ConnectionHolder::Held { watch, .. } = &connection.holder {
            watch.abort();
        }
        connection.holder = ConnectionHolder::Worker(worker);
        connection.record.owner = Some(owner);
        connection.fd.is_shared();
        if let Some(held) = self.held.get_mut(&connection.record.pool) {
            held.remove(&id);
        }
    }

    /// Forgets a connection; it is closed for all if a worker has had it.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<RequestConnection> {
        let connection = self.all.remove(&id)?;
        if let Some(held) = self.held.get_mut(&connection.record.pool) {
            held.remove(&id);
        }
        Some(connection)
    }

    /// Forgets a pool that has ended, with the connections that it still holds.
    pub(crate) fn forget_pool(&mut self, pool: PoolId) {
        for id in self.held.remove(&pool).into_iter().flatten() {
            self.all.remove(&id);
        }
    }

    /// The held connections of a pool, oldest first.
    pub(crate) fn held(&self, pool: PoolId) -> Vec<ConnectionId> {
        let held = self.held.get(&pool).into_iter().flatten();
        held.copied().collect()
    }

    /// How many are held, each with a second descriptor.
    pub(crate) fn held_len(&self) -> usize {
        self.held.values().map(BTreeSet::len).sum()
    }

    /// The held connections on which nothing has come since then.
    pub(crate) fn unused_since(&self, then: Instant) -> Vec<ConnectionId> {
        let held = self.held.values().flatten().copied();
        held.filter(|id| self.get(*id).is_some_and(|one| one.is_unused_since(then)))
            .collect()
    }

    /// How many held connections of a pool have a request.
    pub(crate) fn waiting(&self, pool: PoolId) -> usize {
        let ids = self.held.get(&pool).into_iter().flatten();
        ids.filter(|id| self.get(**id).is_some_and(RequestConnection::has_request))
            .count()
    }

    /// Notes what a held connection did. Returns whether it is news.
    pub(crate) fn note(
        &mut self,
        id: ConnectionId,
        number: u64,
        event: HeldEvent,
    ) -> Option<PoolId> {
        let connection = self.all.get_mut(&id)?;
        let ConnectionHolder::Held {
            wait,
            request,
            since,
            ..
        } = &mut connection.holder
        else {
            return None;
        };
        if *wait != number {
            return None;
        }
        let pool = connection.record.pool;
        match event {
            HeldEvent::Readable if !*request => (*request, *since) = (true, Instant::now()),
            HeldEvent::Readable => return None,
            HeldEvent::Gone => drop(self.remove(id)),
        }
        Some(pool)
    }

    fn watch(
        &mut self,
        id: ConnectionId,
        fd: &Arc<Guarded>,
        now: Instant,
    ) -> io::Result<ConnectionHolder> {
        self.waits += 1;
        let wait = self.waits;
        // A descriptor of its own: the previous watch of this connection may
        // not have been taken out of the poll set yet.
        let watched = Polled::new(Arc::clone(fd))?;
        let request = queue_front::is_there(fd.as_fd());
        let task = tokio::spawn(watch(watched, id, wait, self.events.clone()));
        Ok(ConnectionHolder::Held {
            since: now,
            wait,
            watch: task.abort_handle(),
            request,
        })
    }
}

impl RequestConnection {
    pub(crate) const fn has_request(&self) -> bool {
        matches!(self.holder, ConnectionHolder::Held { request: true, .. })
    }

    fn is_unused_since(&self, then: Instant) -> bool {
        matches!(self.holder, ConnectionHolder::Held { since, request: false, .. } if since <= then)
    }

    /// Since when its request waits for a worker.
    pub(crate) const fn waits_since(&self) -> Option<Instant> {
        match self.holder {
            ConnectionHolder::Held {
                since,
                request: true,
                ..
            } => Some(since),
            _ => None,
        }
    }

    pub(crate) fn front(&self) -> QueueFront {
        queue_front::of(self.fd.as_fd(), self.record.nonce)
    }

    /// Whether workers of this identity may have it.
    pub(crate) fn may_go_to(&self, owner: Owner) -> bool {
        self.record.owner.is_none_or(|first| first == owner)
    }

    /// No byte can come after this; what came before can still be seen.
    pub(crate) fn close_for_sending(&self) {
        let _ = shutdown(self.fd.as_fd().as_raw_fd(), Shutdown::Read);
    }

    /// Tells the module why there is no (complete) answer.
    pub(crate) fn fail(&self, failure: Failure, text: &str) {
        send_fail(&*self.fd, failure, text);
    }
}

/// Reports what happens to a held connection until it is aborted.
async fn watch(
    fd: Polled,
    id: ConnectionId,
    wait: u64,
    events: Sender<(ConnectionId, u64, HeldEvent)>,
) {
    let mut told = false;
    loop {
        let Ok(mut ready) = fd.readiness().readable().await else {
            return;
        };
        if ready.ready().is_read_closed() {
            let _ = events.send((id, wait, HeldEvent::Gone)).await;
            return;
        }
        ready.clear_ready();
        if !told && queue_front::is_there(fd.readiness().get_ref().as_fd()) {
            told = true;
            let _ = events.send((id, wait, HeldEvent::Readable)).await;
        }
    }
}

/// Tells a module to send its request again, on another connection.
pub(crate) fn send_back(fd: impl AsFd) {
    send_fail(fd, Failure::NotStarted, Failure::NotStarted.row().text);
}

/// Sends FAIL about a connection. Where its socket is full, or the module has gone,
/// that sees the end of the connection instead (`worker-lost`).
pub(crate) fn send_fail(fd: impl AsFd, failure: Failure, text: &str) {
    let text = text::cut(text, MAX_FAIL_LEN as usize).as_bytes();
    let len = u32::try_from(text.len()).unwrap_or_default();
    let head = FrameHead::new(Kind::Fail, 0, len)
        .with_code(failure.code())
        .with_flags(FLAG_CLOSE)
        .encode();
    let parts = &mut [IoSlice::new(&head), IoSlice::new(text)];
    let _ = send_all(fd.as_fd(), parts, &[], MsgFlags::MSG_DONTWAIT);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_is_unused_is_known_by_the_time_and_by_what_came() {
        let (events, _inbox) = tokio::sync::mpsc::channel(8);
        let mut connections = Connections::new(events);
        let start = Instant::now();
        let later = start + std::time::Duration::from_secs(9);
        let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
        (&pairs[1].1).write_all(b"x").unwrap();
        let ids: Vec<_> = pairs
            .iter()
            .zip([start, start, later])
            .map(|((ours, _), since)| {
                let fd = Arc::new(Guarded::new(
                    ours.as_fd().try_clone_to_owned().unwrap(),
                    "a group",
                ));
                connections
                    .add(fd, 7, 1, since)
                    .map_err(|(error, _)| error)
                    .unwrap()
            })
            .collect();
        assert_eq!(connections.held_len(), 3);
        assert_eq!(connections.unused_since(start), ids[..1]);
        assert_eq!(connections.unused_since(later), [ids[0], ids[2]]);
        connections.assign(ids[0], WorkerId(1), Owner { uid: 1, gid: 1 });
        assert_eq!(
            (connections.held_len(), connections.unused_since(later)),
            (2, vec![ids[2]])
        );
    }

    #[test]
    fn after_shutdown_the_module_cannot_send_and_still_reads() {
        let (ours, mut module) = UnixStream::pair().unwrap();
        shutdown(ours.as_raw_fd(), Shutdown::Read).unwrap();
        assert_eq!(
            module.write(b"x").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        send_fail(&ours, Failure::WorkerExited, "gone");
        drop(ours);
        let mut got = Vec::new();
        io::Read::read_to_end(&mut module, &mut got).unwrap();
        assert!(got.ends_with(b"gone"));
    }
}
