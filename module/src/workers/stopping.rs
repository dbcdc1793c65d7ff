//! Whether this child is about to stop at once, and the sockets on which its threads
//! wait, so that a stop ends the waits. Asked wherever something waits.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::sys::socket::{Shutdown, shutdown};

/// Sockets on which a thread of this child waits, so that `stop` can end the
/// waits. A table of atomics, for `stop` may run inside a signal handler.
static WAITING: [AtomicI32; WAITING_MAX] = [const { AtomicI32::new(-1) }; WAITING_MAX];
const WAITING_MAX: usize = 1024;

static STOPPING: AtomicBool = AtomicBool::new(false);

/// httpd's child_stopping hook. After a graceful one requests go on.
pub(crate) fn stop(graceful: bool) {
    if graceful {
        return;
    }
    STOPPING.store(true, Ordering::SeqCst);
    for cell in &WAITING {
        let fd = cell.load(Ordering::SeqCst);
        if fd >= 0 {
            // One system call, as a signal handler may make; a closed number gives an error.
            let _ = shutdown(fd, Shutdown::Both);
        }
    }
}

pub(crate) fn is_stopping() -> bool {
    STOPPING.load(Ordering::SeqCst)
}

/// A socket that `stop` may shut down; ends when dropped.
pub(crate) struct WaitingSocket(Option<&'static AtomicI32>);

impl WaitingSocket {
    /// Enters `fd`. With the table full the wait ends at its next tick instead.
    pub(crate) fn on(fd: i32) -> Self {
        // Threads begin at different cells, so that they seldom meet.
        let start = usize::try_from(fd).unwrap_or(0) % WAITING_MAX;
        let cells = WAITING[start..].iter().chain(&WAITING[..start]);
        let mut free = cells.filter(|cell| {
            cell.compare_exchange(-1, fd, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        });
        Self(free.next())
    }
}

impl Drop for WaitingSocket {
    fn drop(&mut self) {
        if let Some(cell) = self.0 {
            cell.store(-1, Ordering::SeqCst);
        }
    }
}
