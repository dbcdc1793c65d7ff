//! What mod_ssl knows of a request, by the optional function that it offers. Called by
//! `request/script_call.rs`; knows nothing of who asks, or what he may know.

#![expect(unsafe_code, reason = "calls a function that mod_ssl registers")]

use std::mem::transmute;

use crate::apr::text::optional;
use crate::httpd::request::Request;
use crate::sys;

impl Request<'_> {
    /// mod_ssl's value of the variable with this name, which ends at a NUL: empty where the
    /// name means nothing, `None` where mod_ssl is not loaded (a newer httpd has a function of
    /// its own there, which says so).
    pub(crate) fn ssl_variable(self, name: &[u8]) -> Option<Vec<u8>> {
        // SAFETY: a look-up among what was registered before there were requests.
        let function = unsafe { sys::apr_dynamic_fn_retrieve(c"ssl_var_lookup".as_ptr()) }?;
        // SAFETY: mod_ssl registers it by this name, with this type, in each 2.4 release.
        let look_up = unsafe { transmute::<sys::AnyHook, sys::SslVarLookup>(function) };
        let r = self.as_raw();
        let server = self.get().server;
        let connection = self.get().connection;
        // Whoever asks may ask for ever: nothing of it stays in the request's pool.
        self.pool().with_temporary(|pool| {
            let name = pool.string(name).as_ptr().cast_mut();
            // SAFETY: the request, its server and its connection are alive, and so is the
            // pool that the copy of the name is in.
            let raw = unsafe { look_up(pool.as_raw(), server, connection, r, name) };
            // SAFETY: null, or a C string of that pool or of the request's.
            let value = unsafe { optional(raw) };
            value.map(|value| value.to_bytes().to_vec())
        })
    }
}
