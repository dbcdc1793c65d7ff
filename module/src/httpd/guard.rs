//! Keeps httpd's own answer to a broken request body from the client. httpd's
//! input filter sends an error page through the output filters; in the middle
//! of a response that page would end it as if it were complete. While a body is
//! read, this filter swallows such a page and remembers its status.

#![expect(unsafe_code, reason = "an output filter, called by httpd")]

use std::cell::Cell;
use std::ffi::{CStr, c_int};

use crate::httpd::request::Request;
use crate::sys;

const NAME: &CStr = c"WSGID_BODY_GUARD";

/// In front of every other filter.
const KIND: c_int = sys::AP_FTYPE_RESOURCE - 1;

/// The filter's state, in the request's pool.
pub(crate) struct Guard {
    reading: Cell<bool>,
    status: Cell<c_int>,
}

/// While httpd loads the module; `entry` is to call [`filter`].
pub(crate) fn register(entry: sys::OutputFilter) {
    // SAFETY: name and function live as long as the process.
    unsafe {
        sys::ap_register_output_filter(NAME.as_ptr(), entry, None, KIND);
    }
}

impl<'r> Request<'r> {
    /// Puts the guard in front of the request's output filters.
    pub(crate) fn guard_body(self) -> &'r Guard {
        let guard: &'r Guard = self.pool().value(Guard {
            reading: Cell::new(false),
            status: Cell::new(0),
        });
        let context = std::ptr::from_ref(guard).cast_mut().cast();
        // SAFETY: the request is alive.
        let connection = unsafe { (*self.as_raw()).connection };
        // SAFETY: request and connection are alive, the context lives as long.
        unsafe { sys::ap_add_output_filter(NAME.as_ptr(), context, self.as_raw(), connection) };
        guard
    }
}

impl Guard {
    /// Reads with the guard up. The status of the page that httpd wanted to
    /// send, if it did.
    pub(crate) fn during<T>(&self, read: impl FnOnce() -> T) -> (T, Option<c_int>) {
        self.reading.set(true);
        let outcome = read();
        self.reading.set(false);
        let status = self.status.take();
        (outcome, (status != 0).then_some(status))
    }
}

/// The filter.
///
/// # Safety
/// For httpd, with a filter that [`Request::guard_body`] added.
pub(crate) unsafe fn filter(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> c_int {
    // SAFETY: the filter is alive while it is called.
    let filter = unsafe { &*filter };
    // SAFETY: the context that was given when the filter was added.
    let guard = unsafe { &*filter.ctx.cast::<Guard>() };
    if guard.reading.get() {
        // SAFETY: httpd passes a brigade that is alive.
        if let Some(status) = unsafe { error_status(brigade) } {
            guard.status.set(status);
            // SAFETY: as above.
            unsafe { sys::apr_brigade_cleanup(brigade.cast()) };
            return sys::AP_FILTER_ERROR;
        }
    }
    // SAFETY: the next filter of the same chain.
    unsafe { sys::ap_pass_brigade(filter.next, brigade) }
}

/// The status of the first error bucket.
///
/// # Safety
/// The brigade is alive.
unsafe fn error_status(brigade: *mut sys::apr_bucket_brigade) -> Option<c_int> {
    // SAFETY: only an address is computed; the ring's head counts as a bucket.
    let sentinel: *mut sys::apr_bucket = unsafe { &raw mut (*brigade).list }.cast();
    // SAFETY: the head's link.
    let mut bucket = unsafe { (*sentinel).link.next };
    while bucket != sentinel {
        // SAFETY: a bucket of the brigade.
        let this = unsafe { &*bucket };
        if std::ptr::eq(this.kind, &raw const sys::ap_bucket_type_error) {
            // SAFETY: the data of an error bucket.
            return Some(unsafe { (*this.data.cast::<sys::ap_bucket_error>()).status });
        }
        bucket = this.link.next;
    }
    None
}
