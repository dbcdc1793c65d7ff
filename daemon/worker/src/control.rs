//! The control socket: messages from and to the supervisor, and waking the two threads
//! that wait (the control thread, `monitor`, and the main thread). Knows nothing of
//! Python.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, send};

use wsgid_protocol::blocking::{FrameReader, ReadError};
use wsgid_protocol::control::{FromWorker, ToWorker, WorkerSpec};
use wsgid_protocol::limits::MAX_WORKER_CONTROL_LEN;
use wsgid_protocol::payload::{decode_message, encode};
use wsgid_protocol::{FrameHead, Kind};

use crate::lock;

/// Why a message cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The supervisor has gone, or the bytes are no frames.
    #[error("failed to read from the supervisor")]
    Read(#[from] ReadError),
    #[error("failed to understand the supervisor: {0}")]
    Message(String),
}

pub(crate) struct Control {
    socket: OwnedFd,
    /// What the socket did not take at once.
    pending: Mutex<VecDeque<u8>>,
    wake: EventFd,
    /// Whether the ticker waits for a request without ticking.
    pub(crate) asleep: AtomicBool,
    main: Mutex<Option<OwnedFd>>,
}

impl Control {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket,
            pending: Mutex::default(),
            wake: EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?,
            asleep: AtomicBool::new(false),
            main: Mutex::default(),
        })
    }

    /// The descriptor that wakes the main thread when a byte is written to it.
    pub(crate) fn set_main(&self, descriptor: OwnedFd) {
        *lock::detached(&self.main) = Some(descriptor);
    }

    pub(crate) fn wake_main(&self) {
        if let Some(descriptor) = lock::detached(&self.main).as_ref() {
            // A full pipe wakes it too.
            let _ = nix::unistd::write(descriptor, &[0]);
        }
    }

    /// The first message, which waits in the socket: who the worker is, and
    /// whether it is a preloader.
    pub(crate) fn receive(
        socket: BorrowedFd<'_>,
        reader: &mut FrameReader,
    ) -> Result<(Box<WorkerSpec>, bool), ControlError> {
        let frame = reader.next(socket)?;
        check_kind(frame.head)?;
        ToWorker::read_spec(frame.payload).map_err(ControlError::Message)
    }

    /// Says something to the supervisor. Never waits: what does not fit now
    /// leaves later, in order. Without a supervisor it is lost.
    pub(crate) fn send(&self, message: &FromWorker) {
        let Ok(payload) = encode(message) else { return };
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        if len > MAX_WORKER_CONTROL_LEN {
            return;
        }
        let mut pending = lock::detached(&self.pending);
        pending.extend(FrameHead::new(Kind::Control, 0, len).encode());
        pending.extend(payload);
        if self.send_pending(&mut pending) {
            drop(pending);
            self.wake();
        }
    }

    /// Waits until `wake` or `events` is readable, or the supervisor has spoken if one is
    /// `heard`, and sends what is pending meanwhile.
    pub(crate) fn wait(
        &self,
        wake: BorrowedFd<'_>,
        events: Option<BorrowedFd<'_>>,
        heard: bool,
        timeout: PollTimeout,
    ) -> nix::Result<Heard> {
        let mut wanted = PollFlags::POLLIN;
        if !lock::detached(&self.pending).is_empty() {
            wanted |= PollFlags::POLLOUT;
        }
        let mut fds = [
            PollFd::new(wake, PollFlags::POLLIN),
            PollFd::new(events.unwrap_or(wake), PollFlags::POLLIN),
            PollFd::new(self.as_fd(), wanted),
        ];
        // Without a supervisor its socket would be readable for ever.
        let watched = if heard { &mut fds[..] } else { &mut fds[..2] };
        poll(watched, timeout)?;
        let [woken, happened, ready] = fds.map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if ready.contains(PollFlags::POLLOUT) {
            self.send_pending(&mut lock::detached(&self.pending));
        }
        Ok(Heard {
            woken: !woken.is_empty(),
            happened: events.is_some() && !happened.is_empty(),
            spoken: ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR),
        })
    }

    /// Sends what is pending; returns whether some is left.
    fn send_pending(&self, pending: &mut VecDeque<u8>) -> bool {
        while !pending.is_empty() {
            let bytes = pending.make_contiguous();
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(self.socket.as_raw_fd(), bytes, flags) {
                Ok(count) => drop(pending.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return true,
                // The supervisor has gone; the control thread will see that.
                Err(_) => pending.clear(),
            }
        }
        false
    }

    /// Wakes the control thread if it sleeps.
    pub(crate) fn wake_if_asleep(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }

    pub(crate) fn wake(&self) {
        // It can only fail if the thread has been woken very often already.
        let _ = self.wake.write(1);
    }

    /// The descriptor that becomes readable when the control thread is woken.
    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    pub(crate) fn woken(&self) {
        let _ = self.wake.read();
    }
}

/// What a wait has found: a wake-up, something to read in `events`, and something of the
/// supervisor's, or its end.
pub(crate) struct Heard {
    pub(crate) woken: bool,
    pub(crate) happened: bool,
    pub(crate) spoken: bool,
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The message in a frame; `None`: a supervisor of another release says what this
/// one does not know. Its descriptors are still in the reader.
pub(crate) fn message(head: FrameHead, payload: &[u8]) -> Result<Option<ToWorker>, ControlError> {
    check_kind(head)?;
    decode_message(payload).map_err(|error| ControlError::Message(error.to_string()))
}

fn check_kind(head: FrameHead) -> Result<(), ControlError> {
    if head.kind == Kind::Control {
        return Ok(());
    }
    let text = format!("unexpected frame {:?}", head.kind);
    Err(ControlError::Message(text))
}
