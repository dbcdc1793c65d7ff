//! Connections that httpd's proxy upgrades (WebSockets to another server, with
//! `upgrade=` or mod_proxy_wstunnel) hold a thread of httpd for as long as they
//! like, and belong to no process group: they count for their virtual host, which
//! has the same share of all threads as a group (`thread_reserve.rs`). Asked by httpd before
//! its handlers.

use std::ffi::CStr;

use wsgid_protocol::Failure;

use crate::configuration::groups::key_of;
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::log_ids::LogLine;
use crate::sys;
use crate::workers::admission::ThreadClaim;
use crate::workers::child;

/// The handler of mod_proxy.
const PROXY: &CStr = c"proxy-server";
/// What begins a handler that names where to go.
const PROXY_URL: &[u8] = b"proxy:";

/// httpd's fixups hook, after mod_proxy's.
pub(crate) fn check(r: Request<'_>) -> i32 {
    let is_proxied = r
        .handler()
        .is_some_and(|name| name == PROXY || name.to_bytes().starts_with(PROXY_URL));
    let is_upgrade = is_proxied && r.headers_in().get(c"Upgrade").is_some();
    if !is_upgrade || r.is_subrequest() {
        return sys::DECLINED;
    }
    let Some(child) = child::get() else {
        return sys::DECLINED;
    };
    let claim = ThreadClaim {
        key: key_of(&host(r)),
        capacity: 0,
        for_long: true,
    };
    match child.reserve.admit(claim) {
        Ok(held) => {
            r.pool().drop_at_end(held);
            sys::DECLINED
        }
        Err(full) => {
            r.free_thread();
            let row = Failure::QueueFull.row();
            let name = row.name;
            log::request(r, LogLine::of(row.failure), || {
                format!("{name}: an upgrade of this virtual host is refused: {full}")
            });
            i32::from(row.status)
        }
    }
}

/// A name that no process group has, for a name with a NUL cannot be configured.
fn host(r: Request<'_>) -> String {
    let server = r.server();
    let name = server.hostname().unwrap_or_default().to_string_lossy();
    format!("\0{name}:{}", server.id())
}
