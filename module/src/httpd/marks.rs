//! What is remembered of a request while it is served. It lies with the request and not with the
//! thread, for a thread may serve several, one inside another: output filters ask for more of them
//! (mod_include), and httpd redirects internally in the middle. Used by `request/`, which decides
//! what the marks mean; knows nothing of workers.

#![expect(unsafe_code, reason = "this module's place in a request")]

use crate::httpd::record;
use crate::httpd::request::Request;
use crate::sys;

/// Something of the response was passed to the filters.
const STARTED: usize = 1;
/// It holds the thread, counted where those are, until its answer is complete.
const HOLDS_THREAD: usize = 2;

impl Request<'_> {
    /// Whether anything of the response was passed to the filters.
    pub(crate) fn has_started(self) -> bool {
        self.marks() & STARTED != 0
    }

    pub(crate) fn note_started(self) {
        self.mark(STARTED, true);
    }

    pub(crate) fn note_thread(self, holds: bool) {
        self.mark(HOLDS_THREAD, holds);
    }

    /// Whether a request around this one holds the thread: the one that includes it, or the one
    /// that was redirected to it in the middle.
    pub(crate) fn runs_inside_another(self) -> bool {
        let around = |r: &Self| r.main_request().or_else(|| r.previous());
        std::iter::successors(around(&self), around).any(|r| r.marks() & HOLDS_THREAD != 0)
    }

    /// Nothing but bits: the place holds a pointer for other modules.
    fn marks(self) -> usize {
        // SAFETY: the vector is the request's, the place is this module's.
        unsafe { sys::ap_get_module_config(self.get().request_config, record::get()) }.addr()
    }

    fn mark(self, bit: usize, on: bool) {
        let marks = if on {
            self.marks() | bit
        } else {
            self.marks() & !bit
        };
        let value = std::ptr::without_provenance_mut(marks);
        // SAFETY: as above; httpd keeps the value and does not look behind it.
        unsafe { sys::ap_set_module_config(self.get().request_config, record::get(), value) };
    }
}
