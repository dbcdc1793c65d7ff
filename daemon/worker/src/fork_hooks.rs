//! What is done before and after a fork: a child that the application forks
//! (multiprocessing, a daemon of its own) must not hold the connections of this
//! worker, nor speak on them. Registered by `runtime.py` with
//! `os.register_at_fork`, through `core`.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::worker::Worker;
use crate::{log, sys};

thread_local! {
    static DESCRIPTORS: RefCell<Vec<RawFd>> = const { RefCell::new(Vec::new()) };
}

/// Set in the helper of a preloader, whose child is a worker.
static CHILD_IS_WORKER: AtomicBool = AtomicBool::new(false);

/// Before the fork, in the thread that forks. The child may not take any lock:
/// a thread that does not exist there may hold it.
pub(crate) fn before(worker: &Worker) {
    let mut descriptors = worker.scheduler.descriptors();
    let control = &worker.control;
    descriptors.extend([control.as_fd(), control.wake_fd()].map(|fd| fd.as_raw_fd()));
    DESCRIPTORS.set(descriptors);
}

/// The next child is to be a worker, and none of the application's.
pub(crate) fn expect_worker() {
    CHILD_IS_WORKER.store(true, Ordering::Relaxed);
}

/// After the fork, in the child. Whether the child is the application's.
pub(crate) fn after_in_child() -> bool {
    log::set_forked(true);
    if let Ok(null) = File::open("/dev/null") {
        DESCRIPTORS.with_borrow_mut(|kept| {
            for number in kept.drain(..) {
                sys::replace(null.as_fd(), number);
            }
        });
    }
    !CHILD_IS_WORKER.swap(false, Ordering::Relaxed)
}

/// After the fork, in this process.
pub(crate) fn after_in_parent() {
    DESCRIPTORS.take();
}
