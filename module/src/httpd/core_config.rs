//! What httpd's core keeps for a request's scope and has no accessor for: read where
//! it lies in the core's record, which the layout test compares with the headers.

#![expect(unsafe_code, reason = "reads inside the core's record")]

use std::ffi::{CStr, c_void};

use crate::apr::text::optional;
use crate::httpd::request::Request;
use crate::httpd::server;
use crate::sys;

impl<'r> Request<'r> {
    fn core_record(self) -> *mut c_void {
        // SAFETY: every request has a core configuration.
        unsafe { sys::ap_get_core_module_config(self.get().per_dir_config) }
    }

    /// A switch of httpd's core that has no accessor.
    fn core_bit(self, bits: sys::CoreBits) -> bool {
        let core = self.core_record();
        // SAFETY: the byte lies inside the structure (see the layout test).
        let place = unsafe { core.cast::<u8>().add(bits.byte) };
        // SAFETY: core's record is initialised as a whole.
        let byte = unsafe { place.read() };
        byte & bits.mask == bits.on
    }

    pub(crate) fn enable_sendfile(self) -> bool {
        self.core_bit(sys::CORE_ENABLE_SENDFILE)
    }

    pub(crate) fn cgi_pass_auth(self) -> bool {
        self.core_bit(sys::CORE_CGI_PASS_AUTH)
    }

    /// What `CGIVar` says about a variable.
    pub(crate) fn cgi_var_rule(self, name: &CStr) -> Option<&'r CStr> {
        if !server::has_cgi_var() {
            return None;
        }
        let core = self.core_record();
        // SAFETY: the pointer lies inside the structure (see the layout test).
        let place = unsafe { core.cast::<u8>().add(sys::CORE_CGI_VAR_RULES) }
            .cast::<*mut sys::apr_hash_t>();
        // SAFETY: core's record is initialised as a whole, and aligned.
        let rules = unsafe { place.read() };
        if rules.is_null() {
            return None;
        }
        let len = isize::try_from(name.count_bytes()).ok()?;
        // SAFETY: a table of the configuration, from C strings to C strings.
        let rule = unsafe { sys::apr_hash_get(rules, name.as_ptr().cast(), len) };
        // SAFETY: null or such a string.
        unsafe { optional(rule.cast()) }
    }
}
