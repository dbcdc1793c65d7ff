//! What becomes of a child that the application forks (multiprocessing, a
//! daemon of its own): it must not hold the connections of this worker, nor
//! speak on them.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::worker::Worker;
use crate::{log, sys};

thread_local! {
    static DESCRIPTORS: RefCell<Vec<RawFd>> = const { RefCell::new(Vec::new()) };
}

/// Before the fork, in the thread that forks. The child may not take any lock:
/// a thread that does not exist there may hold it.
pub(crate) fn before(worker: &Worker) {
    let mut descriptors = worker.scheduler.descriptors();
    descriptors.extend([worker.control.as_fd().as_raw_fd(), worker.control.wake_fd().as_raw_fd()]);
    DESCRIPTORS.with(|kept| *kept.borrow_mut() = descriptors);
}

/// After the fork, in the child.
pub(crate) fn after_in_child() {
    log::forget_requests();
    let Ok(null) = File::open("/dev/null") else { return };
    DESCRIPTORS.with(|kept| {
        for number in kept.borrow_mut().drain(..) {
            sys::replace(null.as_fd(), number);
        }
    });
}

/// After the fork, in this process.
pub(crate) fn after_in_parent() {
    DESCRIPTORS.with(|kept| kept.borrow_mut().clear());
}
