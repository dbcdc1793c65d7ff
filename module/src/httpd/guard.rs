//! Keeps httpd's own answer to a broken request body from the client. httpd's
//! input filter sends an error page through the output filters; in the middle
//! of a response that page would end it as if it were complete. While a body is
//! read, this filter swallows such a page and remembers its status.

#![expect(unsafe_code, reason = "an output filter, called by httpd")]

use std::cell::Cell;
use std::ffi::{CStr, c_int};

use crate::httpd::filters::FilterCall;
use crate::httpd::request::Request;
use crate::sys;

pub(crate) const NAME: &CStr = c"WSGID_BODY_GUARD";

/// In front of every other filter.
pub(crate) const KIND: c_int = sys::AP_FTYPE_RESOURCE - 1;

/// The filter's state, in the request's pool.
#[derive(Default)]
pub(crate) struct Guard {
    reading: Cell<bool>,
    status: Cell<c_int>,
}

impl<'r> Request<'r> {
    /// Puts the guard in front of the request's output filters.
    pub(crate) fn guard_body(self) -> &'r Guard {
        self.add_filter(NAME, Guard::default())
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

/// # Safety
/// For httpd, with a filter that [`Request::guard_body`] added.
pub(crate) unsafe fn filter(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> c_int {
    // SAFETY: as the caller says.
    let call = unsafe { FilterCall::<Guard>::new(filter, brigade) };
    if call.state.reading.get()
        && let Some(status) = call.brigade.error_status()
    {
        call.state.status.set(status);
        call.brigade.clear();
        return sys::AP_FILTER_ERROR;
    }
    call.pass(call.brigade)
}
