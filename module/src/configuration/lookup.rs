//! What directives left behind, found again from a request or a server: httpd keeps
//! this module's records as untyped pointers, and `entry/` makes and merges them.

#![expect(unsafe_code, reason = "httpd keeps records as untyped pointers")]

use crate::configuration::config::{DirConfig, ServerConfig};
use crate::httpd::request::Request;
use crate::httpd::server::Server;

impl<'p> DirConfig<'p> {
    /// The directives of the request's scope.
    pub(crate) fn of(r: Request<'p>) -> &'p Self {
        // SAFETY: create and merge in `entry/` make every such record of this module,
        // in a pool that outlives the request.
        unsafe { &*r.own_record().cast::<Self>() }
    }

    /// What holds in a server outside all sections.
    pub(crate) fn defaults_of(server: Server<'p>) -> &'p Self {
        // SAFETY: likewise, in the configuration's pool.
        unsafe { &*server.own_defaults().cast::<Self>() }
    }
}

impl<'p> ServerConfig<'p> {
    pub(crate) fn of(server: Server<'p>) -> &'p Self {
        // SAFETY: as for the servers' defaults.
        unsafe { &*server.own_record().cast::<Self>() }
    }
}
