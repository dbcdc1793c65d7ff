//! Sockets that strangers can fill, as the supervisor owns them: whatever lies
//! in one when it is closed, nobody waits for it (`wsgid_protocol::disposal`).
//! Also says, not too often, who sends descriptors where none is due. Used by
//! the listeners, by the links to workers and for request connections.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::MsgFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;
use wsgid_protocol::disposal;
use wsgid_protocol::refusal::{self, Refusal};

/// One line about the same offender in this time.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Offenders that are remembered.
const TOLD_MAX: usize = 256;

/// A socket that others can fill.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// Always there, but while it is dropped.
    fd: Option<OwnedFd>,
    owner: Arc<str>,
    refusal: Refusal,
    /// A stranger has a copy, and may have allowed descriptors again.
    shared: AtomicBool,
    /// Another program goes on with it.
    left: AtomicBool,
}

impl Guarded {
    /// Takes over a socket, which refuses descriptors from here on. One that is slow
    /// to close is the affair of `owner`.
    pub(crate) fn new(fd: OwnedFd, owner: impl Into<Arc<str>>) -> Self {
        Self {
            refusal: Refusal::on(fd.as_fd()),
            fd: Some(fd),
            owner: owner.into(),
            shared: AtomicBool::default(),
            left: AtomicBool::default(),
        }
    }

    /// Takes over a socket that the program before, or a stranger, had too.
    pub(crate) fn of_many(fd: OwnedFd, owner: impl Into<Arc<str>>) -> Self {
        let guarded = Self::new(fd, owner);
        guarded.is_shared();
        guarded
    }

    /// The socket has another owner from now on.
    pub(crate) fn belongs_to(&mut self, owner: impl Into<Arc<str>>) {
        self.owner = owner.into();
    }

    pub(crate) fn is_shared(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// Somebody else has a copy and goes on with it: it stays open for them.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    pub(crate) const fn is_enforced(&self) -> bool {
        self.refusal.is_enforced()
    }

    /// Tells the log if the error means that descriptors came.
    pub(crate) fn tell_of(&self, error: &io::Error, place: &str) {
        tell_of(error, &self.owner, place);
    }

    /// The socket as the runtime has it, by a descriptor of its own that is to be
    /// closed before this one.
    pub(crate) fn stream(&self) -> io::Result<UnixStream> {
        super::stream(self.as_fd().try_clone_to_owned()?)
    }

    /// Receives bytes, never descriptors.
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.refusal
            .recv(self.as_fd(), buffer, MsgFlags::MSG_DONTWAIT)
    }
}

impl AsFd for Guarded {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
            .as_ref()
            .expect("it is there until it is dropped")
            .as_fd()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        let is_harmless = self.refusal.is_enforced() && !self.shared.load(Ordering::Relaxed);
        // A supervisor that fails lets its workers go on.
        if is_harmless || self.left.load(Ordering::Relaxed) || std::thread::panicking() {
            return;
        }
        disposal::close_socket(&self.owner, fd);
    }
}

/// A guarded socket that is polled. The runtime has a descriptor of its own,
/// which is never the last.
#[derive(Debug)]
pub(crate) struct Polled {
    // Dropped in this order.
    polled: AsyncFd<OwnedFd>,
    guarded: Arc<Guarded>,
}

impl Polled {
    pub(crate) fn new(guarded: Arc<Guarded>) -> io::Result<Self> {
        let polled = crate::sys::poll_reads(guarded.as_fd().try_clone_to_owned()?)?;
        Ok(Self { polled, guarded })
    }

    pub(crate) const fn readiness(&self) -> &AsyncFd<OwnedFd> {
        &self.polled
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.polled
            .async_io(Interest::READABLE, |_| self.guarded.recv(buffer))
            .await
    }

    /// Waits until the buffer is full.
    pub(crate) async fn read_exact(&self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.recv(buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// The socket, no longer polled.
    pub(crate) fn into_guarded(self) -> Arc<Guarded> {
        let Self { polled, guarded } = self;
        drop(polled);
        guarded
    }
}

/// How a user is named as an owner.
pub(crate) fn user(uid: u32) -> Arc<str> {
    format!("uid {uid}").into()
}

/// Says who sent descriptors, if that is what the error means.
pub(crate) fn tell_of(error: &io::Error, owner: &str, place: &str) {
    if refusal::is_unwanted(error) && is_news(owner, Instant::now()) {
        log_line!(
            DESCRIPTORS_NOT_DUE,
            "{place}: {owner} sent descriptors where none is due, and loses its connection"
        );
    }
}

fn is_news(owner: &str, now: Instant) -> bool {
    static TOLD: Mutex<BTreeMap<String, Instant>> = Mutex::new(BTreeMap::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.retain(|_, at| now.saturating_duration_since(*at) < TOLD_EVERY);
    if told.len() >= TOLD_MAX || told.contains_key(owner) {
        return false;
    }
    told.insert(owner.to_owned(), now);
    true
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn one_line_a_minute_for_each() {
        let now = Instant::now();
        assert!(is_news("a", now) && is_news("b", now) && !is_news("a", now + TOLD_EVERY / 2));
        assert!(is_news("a", now + TOLD_EVERY * 2));
    }

    #[test]
    fn a_socket_that_another_program_goes_on_with_stays_open() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let copy = ours.try_clone().unwrap();
        let guarded = Guarded::of_many(ours.into(), "somebody");
        guarded.leave();
        drop(guarded);
        std::io::Write::write_all(&mut &theirs, b"x").unwrap();
        (&copy).read_exact(&mut [0]).unwrap();
        drop(Guarded::of_many(copy.into(), "somebody"));
        assert_eq!((&theirs).read(&mut [0]).unwrap(), 0);
    }
}
