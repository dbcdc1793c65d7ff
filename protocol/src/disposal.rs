//! Closes what strangers have sent or filled, without anybody waiting for it:
//! the last close of a descriptor may sleep as long as its sender likes. Used by
//! the supervisor and by httpd's children; there is a thread only while
//! somebody misbehaves.
//!
//! A task that is about to end does not linger on a TCP connection. So the
//! descriptors go into a table that belongs to one thread, the process closes
//! its own copies (never the last), and the thread ends. Files of a FUSE daemon
//! that were *received* are flushed all the same, and that may never end: each
//! owner has a queue of its own, at most two threads, and callers look at
//! [`waiting`]. What is only lying unread in a socket is not flushed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::socket::{Shutdown, shutdown};

use crate::fds;

/// Owners whose received descriptors are being closed at a time; the others wait.
/// What is unread in a socket waits for nobody, since its close does not sleep.
const RUNNING_MAX: usize = 64;
/// Descriptors that are closed together.
const BATCH: usize = 64;
/// These threads call nothing deep.
const STACK: usize = 128 * 1024;

/// Whose descriptors, and whether this process has received them.
type QueueKey = (Arc<str>, bool);

/// What waits to be closed for one owner.
#[derive(Default)]
struct Queue {
    fds: Vec<OwnedFd>,
    /// Taken out and not closed yet.
    closing: usize,
    running: bool,
}

/// How many queues there are: what is asked for each request takes no lock.
static QUEUED: AtomicUsize = AtomicUsize::new(0);
static QUEUES: Mutex<BTreeMap<QueueKey, Queue>> = Mutex::new(BTreeMap::new());

fn queues() -> MutexGuard<'static, BTreeMap<QueueKey, Queue>> {
    QUEUES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes descriptors that `owner` has sent.
pub fn dispose(owner: &str, fds: Vec<OwnedFd>) {
    if !fds.is_empty() {
        push((owner.into(), true), fds);
    }
}

/// Closes a Unix socket that `owner` could fill: at once if nothing is unread
/// in it. Nobody can send to it any more, whoever else has a copy.
pub fn close_socket(owner: &str, socket: OwnedFd) {
    // After this nothing can be added to what is unread.
    let is_shut = shutdown(socket.as_raw_fd(), Shutdown::Read).is_ok();
    if !is_shut || !matches!(fds::unread(socket.as_fd()), Ok(0)) {
        push((owner.into(), false), vec![socket]);
    }
}

/// How many received descriptors of this owner are not closed yet.
pub fn waiting(owner: &str) -> usize {
    // Nearly always there is no queue.
    if QUEUED.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    queues()
        .get(&(owner.into(), true))
        .map_or(0, |queue| queue.fds.len() + queue.closing)
}

fn push(key: QueueKey, fds: Vec<OwnedFd>) {
    let mut queues = queues();
    let running = queues
        .iter()
        .filter(|((_, received), queue)| *received && queue.running)
        .count();
    let may_run = !key.1 || running < RUNNING_MAX;
    let queue = queues.entry(key.clone()).or_default();
    queue.fds.extend(fds);
    let is_idle = !queue.running && may_run;
    queue.running |= is_idle;
    QUEUED.store(queues.len(), Ordering::Relaxed);
    drop(queues);
    if !is_idle {
        return;
    }
    let other = key.clone();
    if spawn(move || run(key)).is_none()
        && let Some(queue) = self::queues().get_mut(&other)
    {
        // The next one that is pushed tries again.
        queue.running = false;
    }
}

/// A thread that no signal is delivered to: handlers of httpd's are not for it.
fn spawn(work: impl FnOnce() + Send + 'static) -> Option<thread::JoinHandle<()>> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok();
    let thread = thread::Builder::new()
        .name("wsgid-closing".to_owned())
        .stack_size(STACK)
        .spawn(work);
    if let Some(before) = before {
        let _ = before.thread_set_mask();
    }
    thread.ok()
}

/// Closes until nothing waits that no other thread is at.
fn run(key: QueueKey) {
    let mut next = Some(key);
    while let Some(key) = next {
        while let Some(batch) = next_batch(&key) {
            close(batch);
            if let Some(queue) = queues().get_mut(&key) {
                queue.closing = 0;
            }
        }
        next = another();
    }
}

/// Forgets the queue if it is empty.
fn next_batch(key: &QueueKey) -> Option<Vec<OwnedFd>> {
    let mut queues = queues();
    let queue = queues.get_mut(key)?;
    if queue.fds.is_empty() {
        queues.remove(key);
        QUEUED.store(queues.len(), Ordering::Relaxed);
        return None;
    }
    let count = queue.fds.len().min(BATCH);
    queue.closing = count;
    Some(queue.fds.drain(..count).collect())
}

/// A queue that had to wait for a thread.
fn another() -> Option<QueueKey> {
    let mut queues = queues();
    let (key, queue) = queues.iter_mut().find(|(_, queue)| !queue.running)?;
    queue.running = true;
    Some(key.clone())
}

/// Closes them, as far as possible by the end of a thread.
fn close(batch: Vec<OwnedFd>) {
    let numbers: Vec<RawFd> = batch.iter().map(AsRawFd::as_raw_fd).collect();
    let (ready, is_ready) = channel();
    let (closed, is_closed) = channel::<()>();
    let last = spawn(move || {
        // The copies of this thread, which its end closes.
        let own = fds::own_table(&numbers);
        let _ = ready.send(());
        if own.is_ok() {
            let _ = is_closed.recv();
        }
    });
    if last.is_some() {
        let _ = is_ready.recv();
    }
    drop(batch);
    drop(closed);
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    use nix::sys::socket::{MsgFlags, setsockopt, sockopt};

    use super::*;
    use crate::fds::send_with_fds;

    /// A connection whose last close sleeps for 45 seconds, and its other end.
    fn sleeper() -> (OwnedFd, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 45,
        };
        setsockopt(&stream, sockopt::Linger, &linger).unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 65536]).is_ok() {}
        stream.set_nonblocking(false).unwrap();
        (stream.into(), listener)
    }

    fn wait_until(mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done() {
            assert!(Instant::now() < deadline, "it is not done after 20 s");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_forgotten(owner: &str) -> bool {
        !queues().keys().any(|(known, _)| &**known == owner)
    }

    #[test]
    fn what_sleeps_when_it_is_closed_is_closed_soon_and_nobody_waits() {
        let (fd, listener) = sleeper();
        let begun = Instant::now();
        dispose("received", vec![fd]);
        assert!(begun.elapsed() < Duration::from_secs(1));
        wait_until(|| waiting("received") == 0 && is_forgotten("received"));
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
        drop(listener);
    }

    #[test]
    fn a_socket_full_of_it_is_closed_soon_and_its_peer_sees_it() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (fd, _listener) = sleeper();
        for _ in 0..3 {
            send_with_fds(
                theirs.as_fd(),
                &[IoSlice::new(b"x")],
                &[fd.as_fd()],
                MsgFlags::empty(),
            )
            .unwrap();
        }
        // Only those in the socket are left.
        drop(fd);
        let begun = Instant::now();
        close_socket("filled", ours.into());
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );
        wait_until(|| is_forgotten("filled"));
        // Bytes were unread, so the end is a reset.
        let error = std::io::Read::read(&mut theirs, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn an_empty_socket_is_closed_at_once() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        close_socket("empty", ours.into());
        assert!(is_forgotten("empty"));
        assert_eq!(
            (&theirs).write(b"x").unwrap_err().kind(),
            std::io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn what_is_closed_is_closed_for_good() {
        let (reader, writer) = std::io::pipe().unwrap();
        dispose("pipe", vec![writer.into()]);
        let mut reader = reader;
        let mut out = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut out).unwrap();
        assert!(out.is_empty());
    }
}
