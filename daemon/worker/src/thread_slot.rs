//! What one thread shows of itself: what it serves and since when. Written by
//! the thread, read by the ticker, the timers and `Query`.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::exchange::Exchange;
use crate::lock;

#[derive(Default)]
pub(crate) struct ThreadSlot {
    /// `threading.get_ident()`.
    pub(crate) ident: AtomicU64,
    /// The kernel's id of the thread.
    pub(crate) thread: AtomicI32,
    /// Requests begun; together with `serving` it tells one from the next.
    pub(crate) begun: AtomicU64,
    serving: Mutex<Option<Arc<Exchange>>>,
}

impl ThreadSlot {
    pub(crate) fn begin(&self, exchange: &Arc<Exchange>) {
        *lock::detached(&self.serving) = Some(Arc::clone(exchange));
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        // Dropped outside of the lock.
        let _exchange = lock::detached(&self.serving).take();
    }

    pub(crate) fn serving(&self) -> Option<Arc<Exchange>> {
        lock::detached(&self.serving).clone()
    }
}
