//! Reads the files of an answer where httpd's own way cannot be trusted with one
//! that is shorter than it was: mod_http2 announces a DATA frame before it reads,
//! and mod_ssl takes the end of a file for the end of what was to come. In front of
//! them this filter reads, a bounded piece at a time, and passes on bytes that are
//! there; at a short read it passes on nothing more. `response.rs` adds it, and
//! breaks the answer off.

#![expect(unsafe_code, reason = "an output filter, called by httpd")]

use std::cell::Cell;
use std::ffi::{CStr, c_int};

use crate::httpd::filters::FilterCall;
use crate::httpd::request::Request;
use crate::sys;

pub(crate) const NAME: &CStr = c"WSGID_FILE_READER";

/// Behind what cuts ranges and counts lengths.
pub(crate) const KIND: c_int = sys::AP_FTYPE_PROTOCOL + 5;

/// So much is read before it is passed on.
const PIECE: usize = 64 * 1024;

/// The filter's state, in the request's pool.
pub(crate) struct Reader<'r> {
    r: Request<'r>,
    is_short: Cell<bool>,
}

impl<'r> Request<'r> {
    /// Has the files of the response read here, if whoever sends them must not.
    pub(crate) fn read_files(self) -> Option<&'r Reader<'r>> {
        if !self.is_secondary() && !self.is_sent_by_filters() {
            return None;
        }
        Some(self.add_filter(
            NAME,
            Reader {
                r: self,
                is_short: Cell::new(false),
            },
        ))
    }
}

impl Reader<'_> {
    pub(crate) fn is_short(&self) -> bool {
        self.is_short.get()
    }

    /// Passes on what came, files as bytes.
    fn pass(&self, call: &FilterCall<'_, Self>) -> c_int {
        let incoming = call.brigade;
        let mut out = self.r.brigade();
        let mut gathered = 0;
        while let Some(read) = incoming.read_if_file() {
            let Ok(len) = read else {
                self.is_short.set(true);
                incoming.clear();
                return sys::AP_FILTER_ERROR;
            };
            incoming.move_first(&mut out);
            gathered += len;
            if gathered >= PIECE {
                gathered = 0;
                let status = call.pass(out.passed());
                out.clear();
                if status != 0 {
                    incoming.clear();
                    return status;
                }
            }
        }
        let status = call.pass(out.passed());
        out.clear();
        status
    }
}

/// # Safety
/// For httpd, with a filter that [`Request::read_files`] added.
pub(crate) unsafe fn filter(
    filter: *mut sys::ap_filter_t,
    brigade: *mut sys::apr_bucket_brigade,
) -> c_int {
    // SAFETY: as the caller says.
    let call = unsafe { FilterCall::<Reader<'_>>::new(filter, brigade) };
    call.state.pass(&call)
}
