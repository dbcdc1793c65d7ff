//! Accepts request connections: checks the peer, reads exactly HELLO and not a
//! byte more, and hands both to the supervisor. Knows nothing of groups.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, getsockopt, recv, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio::sync::{Semaphore, watch};
use wsgid_protocol::Failure;
use wsgid_protocol::head::HeadError;
use wsgid_protocol::limits::HEAD_LEN;
use wsgid_protocol::payload::PayloadError;
use wsgid_protocol::request::Hello;
use wsgid_protocol::{FrameHead, Kind, payload};

use crate::connections::send_fail;
use crate::freeze::Freeze;
use crate::sys;

/// A module sends HELLO with `connect`; whoever needs longer is stuck.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections whose HELLO is not complete.
const HALF_OPEN_MAX: usize = 256;
/// How long a freeze waits for HELLOs that have begun.
const FREEZE_PATIENCE: Duration = Duration::from_millis(500);
/// Pause after a failure to accept (descriptors have run out).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection that has said HELLO.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) fd: OwnedFd,
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

    pub(crate) fn set_visitors(&self, uids: BTreeSet<u32>) {
        self.0.send_modify(|(_, visitors)| *visitors = uids);
    }

    pub(crate) fn get(&self) -> Option<u32> {
        self.0.borrow().0
    }

    /// Waits for `set`.
    async fn known(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|(httpd, _)| httpd.is_some()).await;
    }

    /// Whether this user may have every process group.
    pub(crate) fn is_httpd(&self, uid: u32) -> bool {
        uid == 0 || self.get() == Some(uid) || uid == nix::unistd::geteuid().as_raw()
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
    Io(#[from] io::Error),
}

/// Accepts until the receiver has gone, or until `frozen`.
pub(crate) async fn listen(
    socket: OwnedFd,
    allowed: Allowed,
    incoming: Sender<Incoming>,
    mut frozen: Freeze,
) -> io::Result<()> {
    let listener = UnixListener::from(socket);
    listener.set_nonblocking(true)?;
    let readable = sys::poll_reads(listener.try_clone()?)?;
    let half_open = Arc::new(Semaphore::new(HALF_OPEN_MAX));
    tokio::select! {
        () = frozen.asked() => return Ok(()),
        () = allowed.known() => {}
    }
    loop {
        let Ok(permit) = Arc::clone(&half_open).acquire_owned().await else { return Ok(()) };
        let accepted = tokio::select! {
            biased;
            () = frozen.asked() => {
                drop(permit);
                // Those that are just saying HELLO are waited for.
                let all = half_open.acquire_many(u32::try_from(HALF_OPEN_MAX).unwrap_or(u32::MAX));
                let _ = tokio::time::timeout(FREEZE_PATIENCE, all).await;
                return Ok(());
            }
            accepted = readable.async_io(Interest::READABLE, |_| listener.accept()) => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!("failed to accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if !peer_permitted(&stream, &allowed) {
            continue;
        }
        let incoming = incoming.clone();
        tokio::spawn(async move {
            match greet(stream).await {
                Ok(greeted) => drop(incoming.send(greeted).await),
                Err(HelloError::Ended) => tracing::debug!("a connection ended within HELLO"),
                Err(error) => tracing::warn!("a connection was turned away: {error}"),
            }
            drop(permit);
        });
    }
}

fn peer_permitted(stream: &UnixStream, allowed: &Allowed) -> bool {
    match getsockopt(stream, sockopt::PeerCredentials) {
        Ok(peer) if allowed.permits(peer.uid()) => true,
        Ok(peer) => {
            tracing::warn!(
                "a connection from uid {} (pid {}) was turned away: it is neither httpd's user nor named by socket-user=",
                peer.uid(),
                peer.pid()
            );
            false
        }
        Err(errno) => {
            tracing::warn!("a connection was turned away: its peer cannot be told: {errno}");
            false
        }
    }
}

async fn greet(stream: UnixStream) -> Result<Incoming, HelloError> {
    match tokio::time::timeout(HELLO_TIMEOUT, read_hello(stream)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(HelloError::Timeout),
    }
}

/// The descriptor itself stays blocking: httpd's peer is a worker soon.
async fn read_hello(stream: UnixStream) -> Result<Incoming, HelloError> {
    let stream = sys::poll_reads(stream)?;
    let mut head = [0; HEAD_LEN];
    read_exact(&stream, &mut head).await?;
    let head = FrameHead::parse(&head)?;
    if head.kind != Kind::Hello {
        return Err(HelloError::Unexpected(head.kind));
    }
    let mut bytes = vec![0; head.len as usize];
    read_exact(&stream, &mut bytes).await?;
    if let Some(mismatch) = Hello::foreign(&bytes) {
        // Whatever stands behind the versions: its child is told.
        let _ = send_fail(stream.get_ref().as_fd(), Failure::VersionMismatch, &mismatch);
        return Err(HelloError::Version(mismatch));
    }
    Ok(Incoming { hello: payload::decode(&bytes)?, fd: stream.into_inner() })
}

async fn read_exact(stream: &AsyncFd<OwnedFd>, mut buffer: &mut [u8]) -> Result<(), HelloError> {
    while !buffer.is_empty() {
        let space = &mut *buffer;
        let count = stream
            .async_io(Interest::READABLE, |fd| {
                recv(fd.as_fd().as_raw_fd(), space, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from)
            })
            .await;
        let count = match count {
            Ok(0) => return Err(HelloError::Ended),
            Ok(count) => count,
            Err(error) if error.raw_os_error() == Some(Errno::ECONNRESET as i32) => return Err(HelloError::Ended),
            Err(error) => return Err(error.into()),
        };
        buffer = buffer.get_mut(count..).unwrap_or_default();
    }
    Ok(())
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
        module.write_all(&[&head.encode()[..], &bytes, b"REQUEST"].concat()).unwrap();
        let got = read_hello(ours).await.unwrap();
        assert_eq!(got.hello, hello());
        let mut rest = [0; 7];
        UnixStream::from(got.fd).read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"REQUEST");
    }

    #[tokio::test]
    async fn another_frame_is_refused() {
        let (ours, mut module) = UnixStream::pair().unwrap();
        module.write_all(&FrameHead::new(Kind::Request, 1, 0).encode()).unwrap();
        assert!(matches!(read_hello(ours).await, Err(HelloError::Unexpected(Kind::Request))));
    }
}
