//! A request's filter chains: reading the body, passing the response on.

#![expect(unsafe_code, reason = "walks ap_filter_t")]

use std::ffi::c_int;

use crate::apr::brigade::Brigade;
use crate::httpd::request::Request;
use crate::sys;

impl<'r> Request<'r> {
    /// A new brigade for this request.
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
        // SAFETY: the request is alive.
        let filters = unsafe { (*self.as_raw()).input_filters };
        // SAFETY: filters and brigade are this request's.
        match unsafe {
            sys::ap_get_brigade(filters, into.as_raw(), sys::AP_MODE_READBYTES, block, len)
        } {
            0 => Ok(()),
            status => Err(status),
        }
    }

    /// Hands the brigade to the output filters and empties it.
    pub(crate) fn pass(self, brigade: &mut Brigade<'r>) -> Result<(), c_int> {
        // SAFETY: the request is alive.
        let filters = unsafe { (*self.as_raw()).output_filters };
        // SAFETY: filters and brigade are this request's.
        let status = unsafe { sys::ap_pass_brigade(filters, brigade.as_raw()) };
        brigade.clear();
        if status == 0 { Ok(()) } else { Err(status) }
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
        self.any_output_filter(|filter| std::ptr::eq(filter.frec, header_filter))
    }

    /// Whether the first output filter belongs to the content (DEFLATE …).
    pub(crate) fn content_is_filtered(self) -> bool {
        // SAFETY: the request is alive, its first filter is null or alive.
        let first = unsafe { (*self.as_raw()).output_filters };
        // SAFETY: null, or a filter that lives as long as the request.
        let first = unsafe { first.as_ref() };
        // SAFETY: every filter has a record.
        first.is_some_and(|filter| unsafe { (*filter.frec).ftype } < sys::AP_FTYPE_PROTOCOL)
    }

    /// Whether something stands between the request and the network (TLS).
    pub(crate) fn is_sent_by_filters(self) -> bool {
        self.any_output_filter(|filter| {
            // SAFETY: every filter has a record.
            let kind = unsafe { (*filter.frec).ftype };
            (sys::AP_FTYPE_CONNECTION..sys::AP_FTYPE_NETWORK).contains(&kind)
        })
    }

    fn any_output_filter(self, wanted: impl Fn(&sys::ap_filter_t) -> bool) -> bool {
        // SAFETY: the request is alive.
        let mut next = unsafe { (*self.as_raw()).output_filters };
        // SAFETY: the chain's members are alive while the request is.
        while let Some(filter) = unsafe { next.as_ref() } {
            if wanted(filter) {
                return true;
            }
            next = filter.next;
        }
        false
    }
}
