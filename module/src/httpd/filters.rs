//! A request's filter chains: reading the body, passing the response on, and the module's
//! own output filters (`guard.rs`, `file_reader.rs`).

#![expect(unsafe_code, reason = "walks ap_filter_t")]

use std::ffi::{CStr, c_int};

use crate::apr::brigade::{Brigade, PassedBrigade};
use crate::apr::foreign::Foreign;
use crate::apr::outcome;
use crate::httpd::request::Request;
use crate::sys;

impl<'r> Request<'r> {
    pub(crate) fn brigade(self) -> Brigade<'r> {
        // SAFETY: the allocator is that of the request's connection.
        unsafe { Brigade::new(self.pool(), self.connection().bucket_alloc) }
    }

    /// Reads up to `len` bytes of the body. With `block` it waits for the
    /// first; otherwise an empty brigade means that none has come.
    pub(crate) fn read_body(
        self,
        into: &mut Brigade<'r>,
        block: bool,
        len: u64,
    ) -> Result<(), c_int> {
        let block = if block {
            sys::APR_BLOCK_READ
        } else {
            sys::APR_NONBLOCK_READ
        };
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        let filters = self.get().input_filters;
        let brigade = into.as_raw();
        // SAFETY: filters and brigade are this request's.
        outcome(unsafe {
            sys::ap_get_brigade(filters, brigade, sys::AP_MODE_READBYTES, block, len)
        })
    }

    /// Hands the brigade to the output filters and empties it.
    pub(crate) fn pass(self, brigade: &mut Brigade<'r>) -> Result<(), c_int> {
        let filters = self.get().output_filters;
        // SAFETY: filters and brigade are this request's.
        let status = unsafe { sys::ap_pass_brigade(filters, brigade.as_raw()) };
        brigade.clear();
        outcome(status)
    }

    /// Hands the brigade and then `bytes` to the output filters.
    pub(crate) fn pass_with(self, brigade: &mut Brigade<'r>, bytes: &[u8]) -> Result<(), c_int> {
        // SAFETY: the next call passes the brigade on and empties it, while
        // the bytes are borrowed.
        unsafe { brigade.append_borrowed(bytes) };
        self.pass(brigade)
    }

    /// Whether the response's head has not left: its filter is still there.
    pub(crate) fn head_is_pending(self) -> bool {
        // SAFETY: set once when httpd starts.
        let header_filter = unsafe { sys::ap_http_header_filter_handle };
        self.output_filters()
            .any(|filter| std::ptr::eq(filter.frec, header_filter))
    }

    /// Whether the client asks for a part of the answer. httpd knows the older name too.
    pub(crate) fn asks_for_range(self) -> bool {
        let headers = self.headers_in();
        headers.get(c"Range").is_some() || headers.get(c"Request-Range").is_some()
    }

    /// Has httpd send the whole answer.
    pub(crate) fn forbid_ranges(self) {
        // SAFETY: set once when httpd starts.
        let byterange_filter = unsafe { sys::ap_byterange_filter_handle };
        let found = self
            .output_filters()
            .find(|filter| std::ptr::eq(filter.frec, byterange_filter));
        if let Some(filter) = found {
            let filter = std::ptr::from_ref(filter).cast_mut();
            // SAFETY: it is in the chain of this request, and not being called.
            unsafe { sys::ap_remove_output_filter(filter) };
        }
    }

    /// Whether the first output filter belongs to the content (DEFLATE …).
    pub(crate) fn content_is_filtered(self) -> bool {
        let first = self.output_filters().next();
        first.is_some_and(|filter| kind_of(filter) < sys::AP_FTYPE_PROTOCOL)
    }

    /// Whether something stands between the request and the network (TLS).
    pub(crate) fn is_sent_by_filters(self) -> bool {
        let below = sys::AP_FTYPE_CONNECTION..sys::AP_FTYPE_NETWORK;
        self.output_filters()
            .any(|filter| below.contains(&kind_of(filter)))
    }

    fn output_filters(self) -> impl Iterator<Item = &'r sys::ap_filter_t> {
        // SAFETY: null, or a filter that lives as long as the request.
        let first = unsafe { self.get().output_filters.as_ref() };
        // SAFETY: likewise.
        std::iter::successors(first, |filter| unsafe { filter.next.as_ref() })
    }

    /// Puts an output filter of this module in front of the request's, with its state.
    pub(super) fn add_filter<T>(self, name: &'static CStr, state: T) -> &'r T {
        let state: &'r T = self.pool().value(state);
        let context = std::ptr::from_ref(state).cast_mut().cast();
        let connection = self.get().connection;
        // SAFETY: request and connection are alive, the context lives as long.
        unsafe { sys::ap_add_output_filter(name.as_ptr(), context, self.as_raw(), connection) };
        state
    }
}

fn kind_of(filter: &sys::ap_filter_t) -> c_int {
    // SAFETY: every filter has a record.
    unsafe { (*filter.frec).ftype }
}

/// Makes an output filter known while httpd loads the module; httpd calls `entry` for it.
pub(crate) fn register(name: &'static CStr, entry: sys::OutputFilter, kind: c_int) {
    // SAFETY: name and function live as long as the process.
    unsafe { sys::ap_register_output_filter(name.as_ptr(), entry, None, kind) };
}

/// One call of an output filter of this module, by httpd.
pub(super) struct FilterCall<'c, T> {
    /// What [`Request::add_filter`] was given.
    pub(super) state: &'c T,
    pub(super) brigade: PassedBrigade<'c>,
    next: *mut sys::ap_filter_t,
}

impl<T> FilterCall<'_, T> {
    /// # Safety
    /// httpd passed both to a filter that was added with a state of this type.
    pub(super) unsafe fn new(
        filter: *mut sys::ap_filter_t,
        brigade: *mut sys::apr_bucket_brigade,
    ) -> Self {
        // SAFETY: the filter is alive while it is called.
        let filter = unsafe { &*filter };
        Self {
            // SAFETY: the state that was given when the filter was added.
            state: unsafe { &*filter.ctx.cast::<T>() },
            // SAFETY: httpd passes a brigade that is alive, to this filter alone.
            brigade: unsafe { Foreign::from_raw(brigade) },
            next: filter.next,
        }
    }

    pub(super) fn pass(&self, brigade: PassedBrigade<'_>) -> c_int {
        // SAFETY: the next filter of the same chain.
        unsafe { sys::ap_pass_brigade(self.next, brigade.as_raw()) }
    }
}
