//! Accepts request connections: checks the peer, reads exactly HELLO and not a
//! byte more, and hands both to the supervisor. Knows nothing of groups. A silent
//! connection counts against its own user or process, and keeps none of the others
//! out.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::socket::{UnixCredentials, getsockopt, sockopt};
use tokio::io::Interest;
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use wsgid_protocol::refusal::{self, Refusal};
use wsgid_protocol::{
    Failure, FrameHead, Kind, head::HeadError, limits::HEAD_LEN, payload, payload::PayloadError,
    request::Hello,
};

use crate::channel::closing::{self, Guarded, Polled};
use crate::channel::quiesce::Quiesce;
use crate::connection::connections::send_fail;
use crate::sys;
use wsgid_policy::peer_quota::{Peer, PeerQuota};

/// A module sends HELLO with `connect`; whoever needs longer is stuck.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections whose HELLO is not complete.
const HALF_OPEN_MAX: usize = 256;
/// Those of one process of httpd's, or of one other user.
const HALF_OPEN_EACH: usize = 64;
/// So many are accepted before those that came first are read again.
const ACCEPT_BURST: u32 = 16;
/// How long quiescing waits for HELLOs that have begun.
const FREEZE_PATIENCE: Duration = Duration::from_millis(500);
/// Pause after a failure to accept (descriptors have run out).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that has said HELLO.
#[derive(Debug)]
pub(crate) struct NewConnection {
    pub(crate) fd: Guarded,
    pub(crate) hello: Hello,
}

/// Who may connect beside root and the supervisor's own user: httpd's user, and
/// those of `socket-user=`.
#[derive(Clone, Debug)]
pub(crate) struct Allowed(Arc<watch::Sender<(Option<u32>, BTreeSet<u32>)>>);

impl Allowed {
    /// Nobody, until a configuration names httpd's user. Connects wait in the
    /// backlog meanwhile: httpd starts a supervisor that has died again, and
    /// its children are sooner here than the configuration.
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::channel((None, BTreeSet::new())).0))
    }

    pub(crate) fn set(&self, uid: u32) {
        self.0.send_modify(|(httpd, _)| *httpd = Some(uid));
    }

    pub(crate) fn set_socket_uids(&self, uids: BTreeSet<u32>) {
        self.0.send_modify(|(_, socket_uids)| *socket_uids = uids);
    }

    pub(crate) fn get(&self) -> Option<u32> {
        self.0.borrow().0
    }

    /// Waits for `set`.
    async fn known(&self) {
        // The sender lives as long as this.
        let _ = self
            .0
            .subscribe()
            .wait_for(|(httpd, _)| httpd.is_some())
            .await;
    }

    /// Whether this user may have every process group.
    pub(crate) fn is_httpd(&self, uid: u32) -> bool {
        uid == 0 || self.get() == Some(uid) || uid == nix::unistd::geteuid().as_raw()
    }

    /// Whose connections a peer's counts among: all of httpd's children are the same user.
    pub(crate) fn peer(&self, credentials: &UnixCredentials) -> Peer {
        let uid = credentials.uid();
        let pid = self.is_httpd(uid).then_some(credentials.pid());
        Peer { uid, pid }
    }

    fn permits(&self, uid: u32) -> bool {
        self.is_httpd(uid) || self.0.borrow().1.contains(&uid)
    }
}

/// Why a connection was turned away before it could be answered.
#[derive(Debug, thiserror::Error)]
enum HelloError {
    #[error("the connection ended within HELLO")]
    Ended,
    #[error("HELLO was not complete after {} s", HELLO_TIMEOUT.as_secs())]
    Timeout,
    #[error("{0:?} came instead of HELLO")]
    Unexpected(Kind),
    #[error("{0}; stop and start httpd, so that both come from the same release")]
    Version(String),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Payload(#[from] PayloadError),
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for HelloError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

/// The connections without HELLO, and what reads it.
#[derive(Clone)]
struct HalfOpen(Arc<Mutex<PeerQuota<AbortHandle>>>);

impl HalfOpen {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(PeerQuota::new(
            HALF_OPEN_EACH,
            HALF_OPEN_MAX,
        ))))
    }

    fn lock(&self) -> MutexGuard<'_, PeerQuota<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the task that reads a HELLO; another may have to go.
    fn take(&self, peer: Peer, reads: AbortHandle) -> u64 {
        let (number, gone) = self.lock().take(peer, reads);
        if let Some(gone) = gone {
            tracing::trace!("a connection that said no HELLO made room for another");
            gone.abort();
        }
        number
    }
}

/// Accepts until the receiver has gone, or until `quiesce` asks.
pub(crate) async fn listen(
    socket: OwnedFd,
    allowed: Allowed,
    incoming: Sender<NewConnection>,
    mut quiesce: Quiesce,
) -> io::Result<()> {
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    // Whoever connects from now on cannot send descriptors.
    let _ = Refusal::on(listener.as_fd());
    let readable = sys::poll_reads(listener.try_clone()?)?;
    let half_open = HalfOpen::new();
    let mut reading = JoinSet::new();
    tokio::select! {
        () = quiesce.asked() => return Ok(()),
        () = allowed.known() => {}
    }
    let mut burst = 0;
    while !incoming.is_closed() {
        while reading.try_join_next().is_some() {}
        // As long as the supervisor does not get to what has been read, nothing is accepted.
        let accept = async {
            let _ = incoming.reserve().await;
            readable
                .async_io(Interest::READABLE, |_| listener.accept())
                .await
        };
        let accepted = tokio::select! {
            biased;
            () = quiesce.asked() => {
                // Those that are just saying HELLO are waited for.
                let all = async { while reading.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(FREEZE_PATIENCE, all).await;
                reading.detach_all();
                return Ok(());
            }
            accepted = accept => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                log_line!(
                    CONNECTION_NOT_ACCEPTED,
                    "failed to accept a connection: {error}"
                );
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = permitted_peer(&stream, &allowed);
        let owner = peer.map_or_else(|| "a stranger".into(), |peer| closing::user(peer.uid));
        let stream = Guarded::new(stream.into(), owner);
        let Some(peer) = peer else { continue };
        let own = half_open.clone();
        let incoming = incoming.clone();
        let (tell, number) = tokio::sync::oneshot::channel();
        let task = reading.spawn(async move {
            let outcome = greet(stream, peer).await;
            if let Ok(number) = number.await {
                own.lock().free(peer, number);
            }
            match outcome {
                Ok(greeted) => drop(incoming.send(greeted).await),
                Err(HelloError::Ended) => tracing::trace!("a connection ended within HELLO"),
                Err(error) => log_line!(HELLO_REFUSED, "a connection was turned away: {error}"),
            }
        });
        let _ = tell.send(half_open.take(peer, task));
        burst += 1;
        if burst % ACCEPT_BURST == 0 {
            // An honest peer has said it by now.
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Who has connected, if that user may.
fn permitted_peer(stream: &UnixStream, allowed: &Allowed) -> Option<Peer> {
    match getsockopt(stream, sockopt::PeerCredentials) {
        Ok(peer) if allowed.permits(peer.uid()) => Some(allowed.peer(&peer)),
        Ok(peer) => {
            log_line!(
                PEER_NOT_ALLOWED,
                "a connection from uid {} (pid {}) was turned away: it is neither httpd's user nor named by socket-user=",
                peer.uid(),
                peer.pid()
            );
            None
        }
        Err(errno) => {
            log_line!(
                PEER_UNKNOWN,
                "a connection was turned away: its peer cannot be told: {errno}"
            );
            None
        }
    }
}

async fn greet(stream: Guarded, peer: Peer) -> Result<NewConnection, HelloError> {
    let outcome = tokio::time::timeout(HELLO_TIMEOUT, read_hello(stream)).await;
    match outcome.unwrap_or(Err(HelloError::Timeout)) {
        Err(HelloError::Io(error)) if refusal::is_unwanted(&error) => {
            closing::tell_of(&error, &closing::user(peer.uid), "request socket");
            Err(HelloError::Ended)
        }
        other => other,
    }
}

/// The descriptor itself stays blocking: httpd's peer is a worker soon.
async fn read_hello(stream: Guarded) -> Result<NewConnection, HelloError> {
    let stream = Polled::new(Arc::new(stream))?;
    let mut head = [0; HEAD_LEN];
    stream.read_exact(&mut head).await?;
    let head = FrameHead::parse(&head)?;
    if head.kind != Kind::Hello {
        return Err(HelloError::Unexpected(head.kind));
    }
    let mut bytes = vec![0; head.len as usize];
    stream.read_exact(&mut bytes).await?;
    if let Some(mismatch) = Hello::foreign(&bytes) {
        // The child is told, whatever stands behind the versions.
        let fd = stream.readiness().get_ref();
        send_fail(fd, Failure::VersionMismatch, &mismatch);
        return Err(HelloError::Version(mismatch));
    }
    let hello = payload::decode(&bytes)?;
    let fd = Arc::into_inner(stream.into_guarded()).ok_or(HelloError::Ended)?;
    Ok(NewConnection { hello, fd })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn hello() -> Hello {
        Hello {
            version_min: 2,
            version_max: 2,
            group: "site".into(),
            application_group: String::new(),
            pid: 1,
            generation: 1,
            nonce: 5,
            secret: [0; 32],
            from_request: false,
        }
    }

    #[tokio::test]
    async fn not_a_byte_behind_hello_is_taken() {
        let (ours, mut module) = UnixStream::pair().unwrap();
        let bytes = payload::encode(&hello()).unwrap();
        let head = FrameHead::new(Kind::Hello, 0, u32::try_from(bytes.len()).unwrap());
        module
            .write_all(&[&head.encode()[..], &bytes, b"REQUEST"].concat())
            .unwrap();
        let got = read_hello(Guarded::new(ours.into(), "a module"))
            .await
            .unwrap();
        assert_eq!(got.hello, hello());
        let mut rest = [0; 7];
        UnixStream::from(got.fd.as_fd().try_clone_to_owned().unwrap())
            .read_exact(&mut rest)
            .unwrap();
        assert_eq!(&rest, b"REQUEST");
    }

    #[tokio::test]
    async fn another_frame_is_refused() {
        let (ours, mut module) = UnixStream::pair().unwrap();
        module
            .write_all(&FrameHead::new(Kind::Request, 1, 0).encode())
            .unwrap();
        assert!(matches!(
            read_hello(Guarded::new(ours.into(), "a module")).await,
            Err(HelloError::Unexpected(Kind::Request))
        ));
    }
}
