//! The functions that httpd calls, but for those of directives (`commands.rs`) and
//! providers (`providers.rs`), and what all of them have in common: each catches panics.
//! A panic that left an `extern "C"` function would end the whole process and with it
//! every connection of the child.

#![expect(unsafe_code, reason = "C calls these functions with raw pointers")]

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::apr::pool::AprPool;
use crate::configuration::config::{DirConfig, ServerConfig};
use crate::configuration::{check, settings};
use crate::httpd::log;
use crate::httpd::request::Request;
use crate::httpd::server::Server;
use crate::httpd::{file_reader, guard as body_guard};
use crate::log_ids;
use crate::request::{auth, handler, injected, mapping, response, upgrades};
use crate::status::health;
use crate::workers::{child, stopping};
use crate::{launch, status, sys};

thread_local! {
    /// What the last panic of this thread said, kept by the hook for the log.
    static LAST_PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

/// One line for the log instead of the default hook's many on stderr.
fn quieten_panics() {
    std::panic::set_hook(Box::new(|info| {
        LAST_PANIC.set(Some(info.to_string().replace('\n', " ")))
    }));
}

/// Calls `f`; the error is what a panic said.
fn caught<T>(what: &str, f: impl FnOnce() -> T) -> Result<T, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        injected::panic_in(what);
        f()
    }));
    outcome.map_err(|_| LAST_PANIC.take().unwrap_or_default())
}

/// Calls `f`; a panic is a line in the log, and `otherwise` the result.
pub(super) fn guard<T>(what: &str, otherwise: T, f: impl FnOnce() -> T) -> T {
    caught(what, f).unwrap_or_else(|cause| {
        log::server(log_ids::DEFECT, || {
            format!("a defect in mod_wsgid was caught in {what}: {cause}; please report it")
        });
        otherwise
    })
}

/// Defines functions that httpd calls. Each catches panics, by the name that the log has
/// for it, and returns what stands behind `or` then.
macro_rules! callbacks {
    ($(
        $(#[$doc:meta])*
        $what:literal, or $otherwise:expr =>
        fn $name:ident $parameters:tt $(-> $ret:ty)? $body:block
    )*) => {
        $($(#[$doc])*
        ///
        /// # Safety
        /// For httpd alone, with the arguments it gives to such a function.
        pub(crate) unsafe extern "C" fn $name $parameters $(-> $ret)? {
            $crate::entry::trampoline::guard($what, $otherwise, || $body)
        })*
    };
}

pub(super) use callbacks;

callbacks! {
    "create_dir_config", or std::ptr::null_mut() =>
    fn create_dir_config(pool: *mut sys::apr_pool_t, _: *mut c_char) -> *mut c_void {
        // SAFETY: httpd passes the pool the record is to live in.
        let pool = unsafe { AprPool::from_raw(pool) };
        std::ptr::from_mut(pool.value(DirConfig::EMPTY)).cast()
    }

    /// One section on top of another.
    "merge_dir_config", or inner =>
    fn merge_dir_config(
        pool: *mut sys::apr_pool_t,
        outer: *mut c_void,
        inner: *mut c_void,
    ) -> *mut c_void {
        // SAFETY: httpd passes the pool the record is to live in.
        let pool = unsafe { AprPool::from_raw(pool) };
        // SAFETY: a record of `create_dir_config` that outlives the new one.
        let outer = unsafe { &*outer.cast::<DirConfig<'_>>() };
        // SAFETY: likewise.
        let inner = unsafe { &*inner.cast::<DirConfig<'_>>() };
        std::ptr::from_mut(pool.value(DirConfig::merge(pool, outer, inner))).cast()
    }

    "create_server_config", or std::ptr::null_mut() =>
    fn create_server_config(pool: *mut sys::apr_pool_t, _: *mut sys::server_rec) -> *mut c_void {
        // SAFETY: httpd passes the pool the record is to live in.
        let pool = unsafe { AprPool::from_raw(pool) };
        std::ptr::from_mut(pool.value(ServerConfig::empty())).cast()
    }

    /// A virtual host on top of the main server.
    "merge_server_config", or own =>
    fn merge_server_config(
        _: *mut sys::apr_pool_t,
        base: *mut c_void,
        own: *mut c_void,
    ) -> *mut c_void {
        // SAFETY: a record of `create_server_config`, in the same pool.
        let base = unsafe { &*base.cast::<ServerConfig<'_>>() };
        // SAFETY: likewise; one thread reads the configuration.
        let server = unsafe { &mut *own.cast::<ServerConfig<'_>>() };
        server.base = Some(base);
        own
    }

    "pre_config", or sys::OK =>
    fn pre_config(
        _: *mut sys::apr_pool_t,
        _: *mut sys::apr_pool_t,
        _: *mut sys::apr_pool_t,
    ) -> c_int {
        quieten_panics();
        settings::reset();
        sys::OK
    }

    "check_config", or sys::OK =>
    fn check_config(
        _: *mut sys::apr_pool_t,
        _: *mut sys::apr_pool_t,
        _: *mut sys::apr_pool_t,
        main: *mut sys::server_rec,
    ) -> c_int {
        // SAFETY: the main server of the configuration that was just read.
        check::check_config(unsafe { Server::from_raw(main) })
    }

    "post_config", or sys::OK =>
    fn post_config(
        pconf: *mut sys::apr_pool_t,
        _: *mut sys::apr_pool_t,
        _: *mut sys::apr_pool_t,
        main: *mut sys::server_rec,
    ) -> c_int {
        // SAFETY: the configuration's pool.
        let pool = unsafe { AprPool::from_raw(pconf) };
        // SAFETY: the main server of the configuration in force.
        let main = unsafe { Server::from_raw(main) };
        let callbacks = launch::Callbacks {
            maintenance: supervisor_maintenance,
            configuration_ends,
        };
        launch::post_config(pool, main, callbacks);
        sys::OK
    }

    /// The supervisor's process has ended, or httpd asks about it.
    "the supervisor's maintenance", or () =>
    fn supervisor_maintenance(reason: c_int, _: *mut c_void, status: c_int) {
        launch::maintain(reason, status)
    }

    "the end of the configuration", or 0 =>
    fn configuration_ends(_: *mut c_void) -> sys::apr_status_t {
        launch::configuration_ends();
        0
    }

    /// Every few seconds in the parent.
    "monitor", or sys::DECLINED =>
    fn monitor(_: *mut sys::apr_pool_t, _: *mut sys::server_rec) -> c_int {
        let left_out = child::monitor();
        launch::monitor(left_out);
        sys::DECLINED
    }

    /// A child of a generation has started or gone.
    "child_status", or () =>
    fn child_status(
        _: *mut sys::server_rec,
        _: libc::pid_t,
        generation: c_int,
        _: c_int,
        state: c_int,
    ) {
        launch::child_changed(u64::from(generation.unsigned_abs()), state)
    }

    "child_init", or () =>
    fn child_init(_: *mut sys::apr_pool_t, _: *mut sys::server_rec) {
        child::init()
    }

    // Not DECLINED: what the URL would mean without us is not for this client.
    "translate_name", or 500 =>
    fn translate_name(r: *mut sys::request_rec) -> c_int {
        // SAFETY: httpd passes a request that this thread serves.
        mapping::translate(unsafe { Request::from_raw(r) })
    }

    "map_to_storage", or 500 =>
    fn map_to_storage(r: *mut sys::request_rec) -> c_int {
        // SAFETY: httpd passes a request that this thread serves.
        mapping::walk(unsafe { Request::from_raw(r) })
    }

    "fixups", or 500 =>
    fn fixups(r: *mut sys::request_rec) -> c_int {
        // SAFETY: httpd passes a request that this thread serves.
        upgrades::check(unsafe { Request::from_raw(r) })
    }

    /// In front of whoever sends.
    "a filter", or sys::AP_FILTER_ERROR =>
    fn read_files(filter: *mut sys::ap_filter_t, brigade: *mut sys::apr_bucket_brigade) -> c_int {
        // SAFETY: httpd calls this for the filters that `file_reader.rs` added.
        unsafe { file_reader::filter(filter, brigade) }
    }

    /// A section of mod_status's page.
    "the status", or sys::OK =>
    fn status_section(r: *mut sys::request_rec, flags: c_int) -> c_int {
        // SAFETY: mod_status passes a request that this thread serves.
        let r = unsafe { Request::from_raw(r) };
        status::section(r, flags & sys::AP_STATUS_SHORT != 0)
    }

    "check_access", or 500 =>
    fn check_access(r: *mut sys::request_rec) -> c_int {
        // SAFETY: httpd passes a request that this thread serves.
        auth::check_access(unsafe { Request::from_raw(r) })
    }

    /// In front of a response whose request body is being read.
    "a filter", or sys::AP_FILTER_ERROR =>
    fn guard_body(
        filter: *mut sys::ap_filter_t,
        brigade: *mut sys::apr_bucket_brigade,
    ) -> sys::apr_status_t {
        // SAFETY: httpd calls this for filters that this module added.
        unsafe { body_guard::filter(filter, brigade) }
    }
}

/// In prefork this runs inside a signal handler: no locks, no allocation.
///
/// # Safety
/// For httpd alone, with the arguments it gives to such a function.
pub(crate) unsafe extern "C" fn child_stopping(_: *mut sys::apr_pool_t, graceful: c_int) {
    stopping::stop(graceful != 0);
}

/// # Safety
/// For httpd alone, with the arguments it gives to such a function.
pub(crate) unsafe extern "C" fn handle(r: *mut sys::request_rec) -> c_int {
    // SAFETY: httpd passes a request that this thread serves.
    let request = unsafe { Request::from_raw(r) };
    let outcome = caught("the handler", || {
        if request.handler() == Some(status::HANDLER) {
            return status::handle(request);
        }
        if request.handler() == Some(health::HANDLER) {
            return health::handle(request);
        }
        handler::handle(request)
    });
    outcome.unwrap_or_else(|cause| {
        guard("handle", 500, || {
            log::request(request, log_ids::DEFECT, || {
                format!("a defect in mod_wsgid was caught: {cause}; please report it")
            });
            response::break_off(request, 500)
        })
    })
}
