//! From httpd's command table to `directives/` and back: makes the context that a
//! directive works in. httpd calls it for the rows of the table in `hooks.rs`.

#![expect(unsafe_code, reason = "wraps command_rec and cmd_parms")]

use std::ffi::{CStr, c_char, c_void};

use crate::apr::pool::AprPool;
use crate::apr::text::optional;
use crate::configuration::config::{DirConfig, ServerConfig};
use crate::configuration::words::Words;
use crate::configuration::{report, settings};
use crate::directives::context::Context;
use crate::directives::handlers::{OBSERVED, ObservedDirective};
use crate::directives::{self, DirectiveScope, TABLE};
use crate::entry::trampoline::callbacks;
use crate::httpd::server::Server;
use crate::sys;

callbacks! {
    /// A row of the command table.
    "a directive", or c"a defect in mod_wsgid; see the error log".as_ptr() =>
    fn directive(cmd: *mut sys::cmd_parms, dir: *mut c_void, line: *const c_char) -> *const c_char {
        // SAFETY: httpd calls this for rows of our table only.
        unsafe { run(cmd, dir, line) }
    }
}

/// Carries out one directive. Null, or an error text in the command's pool.
///
/// # Safety
/// The arguments are those httpd gives to a `RAW_ARGS` directive of this module.
unsafe fn run(cmd: *mut sys::cmd_parms, dir: *mut c_void, line: *const c_char) -> *const c_char {
    // SAFETY: null or a C string.
    let line = unsafe { optional(line) }.unwrap_or_default().to_bytes();
    // SAFETY: httpd passes a record that outlives the call.
    let parms = unsafe { &*cmd };
    // SAFETY: as `run`'s own contract.
    let mut cx = unsafe { context(parms, dir) };
    // SAFETY: the directive that is carried out is a row of the module's table.
    let index = unsafe { (*parms.cmd).cmd_data }.addr();
    let Some(directive) = TABLE.get(index) else {
        return index
            .checked_sub(TABLE.len())
            .and_then(|at| OBSERVED.get(at))
            .map_or(c"unknown directive".as_ptr(), |row| {
                observe(row, &mut cx, line)
            });
    };
    if directive.scope == DirectiveScope::Global {
        // SAFETY: the record is alive.
        let error = unsafe { sys::ap_check_cmd_context(cmd, sys::GLOBAL_ONLY) };
        // SAFETY: null or a C string in the command's pool.
        if let Some(error) = unsafe { optional(error) } {
            return refused(&cx, &error.to_string_lossy());
        }
    }
    cx.name = directive.name.to_str().unwrap_or_default();
    if let Err(error) = directives::apply(directive, &mut cx, line) {
        return refused(&cx, &format!("{}: {error}", cx.name));
    }
    if !directive.container {
        return std::ptr::null();
    }
    // The directives inside have the same record of the section.
    drop(cx);
    // SAFETY: as `run`'s own contract.
    unsafe { run_inside(cmd) }
}

/// An error for httpd, unless a report collects them.
fn refused(cx: &Context<'_, '_>, text: &str) -> *const c_char {
    if report::collect(&cx.origin, text) {
        std::ptr::null()
    } else {
        cx.string(text).as_ptr()
    }
}

/// Remembers what a directive of another module says, if that module is there
/// to carry it out. A wrong value is that module's affair.
fn observe(
    observed: &'static ObservedDirective,
    cx: &mut Context<'_, '_>,
    line: &[u8],
) -> *const c_char {
    cx.name = observed.name.to_str().unwrap_or_default();
    let is_absent = |owner: &CStr| {
        // SAFETY: the name is a C string.
        unsafe { sys::ap_find_linked_module(owner.as_ptr()) }.is_null()
    };
    if observed.owner.is_some_and(is_absent) {
        // httpd's own words where no module has the directive.
        let text = format!(
            "Invalid command '{}', perhaps misspelled or defined by a module not included in the server \
             configuration",
            cx.name
        );
        return cx.string(&text).as_ptr();
    }
    (observed.remember)(cx, &mut Words::new(line));
    std::ptr::null()
}

/// What a directive works in.
///
/// # Safety
/// As [`run`], which `'c` does not outlive; `'p` is the life of the pool.
unsafe fn context<'c, 'p>(parms: &sys::cmd_parms, dir: *mut c_void) -> Context<'c, 'p> {
    // SAFETY: the server of the configuration being read.
    let server = unsafe { Server::from_raw(parms.server) };
    Context {
        name: "",
        origin: origin(parms),
        // SAFETY: the pool lives as long as what the directive configures.
        pool: unsafe { AprPool::from_raw(parms.pool) },
        // SAFETY: httpd passes the section's record of this module, which nobody
        // else uses while the directive runs.
        dir: unsafe { &mut *dir.cast::<DirConfig<'p>>() },
        // SAFETY: made by `create_server_config` for this server; one thread reads
        // the configuration.
        server_config: unsafe { &mut *server.own_record().cast::<ServerConfig<'p>>() },
        server,
        // httpd's own test for it: only there both pools are the request's.
        in_htaccess: std::ptr::eq(parms.pool, parms.temp_pool),
    }
}

fn origin(parms: &sys::cmd_parms) -> String {
    // SAFETY: null, or the directive that is carried out.
    let Some(node) = (unsafe { parms.directive.as_ref() }) else {
        return "configuration".to_owned();
    };
    // SAFETY: null or a C string of the configuration.
    let file =
        unsafe { optional(node.filename) }.map_or_else(Default::default, CStr::to_string_lossy);
    format!("{file}:{}", node.line_num)
}

/// Carries out the directives inside a section of ours.
///
/// # Safety
/// As [`run`].
unsafe fn run_inside(cmd: *mut sys::cmd_parms) -> *const c_char {
    // SAFETY: httpd passes a record that outlives the call.
    let parms = unsafe { &*cmd };
    // SAFETY: null, or the node of the section.
    let first =
        unsafe { parms.directive.as_ref() }.map_or(std::ptr::null_mut(), |node| node.first_child);
    // SAFETY: the children of the section, in the section's own context.
    let error = unsafe { sys::ap_walk_config(first, cmd, parms.context) };
    settings::with(|settings| settings.interpreters.extend(settings.container.take()));
    error
}
