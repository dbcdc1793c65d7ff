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
use crate::directives::{self, Directive, DirectiveScope};
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
    // SAFETY: httpd passes a record that outlives the call.
    let parms = unsafe { &*cmd };
    // SAFETY: the directive that is carried out is a row of the table above.
    let index = unsafe { (*parms.cmd).cmd_data }.addr();
    let Some(directive) = directives::TABLE.get(index) else {
        let Some(observed) = index
            .checked_sub(directives::TABLE.len())
            .and_then(|at| OBSERVED.get(at))
        else {
            return c"unknown directive".as_ptr();
        };
        // SAFETY: as `run`'s own contract.
        return unsafe { observe(observed, cmd, dir, line) };
    };
    if directive.scope == DirectiveScope::Global {
        // SAFETY: the record is alive.
        let error = unsafe { sys::ap_check_cmd_context(cmd, sys::GLOBAL_ONLY) };
        if !error.is_null() {
            // SAFETY: a C string in the command's pool.
            let text = unsafe { optional(error) }
                .unwrap_or_default()
                .to_string_lossy();
            return if report::collect(&origin(parms), &text) {
                std::ptr::null()
            } else {
                error
            };
        }
    }
    // SAFETY: the pool lives as long as what the directive configures.
    let pool = unsafe { AprPool::from_raw(parms.pool) };
    // SAFETY: null or a C string.
    let line = unsafe { optional(line) }.unwrap_or_default().to_bytes();
    let line = if directive.container {
        line.strip_suffix(b">").unwrap_or(line)
    } else {
        line
    };
    // SAFETY: as `run`'s own contract.
    let outcome = unsafe { apply(directive, parms, dir, pool, line) };
    if let Err(error) = outcome {
        let text = format!("{}: {error}", directive.name.to_string_lossy());
        return if report::collect(&origin(parms), &text) {
            std::ptr::null()
        } else {
            pool.string(text.as_bytes()).as_ptr()
        };
    }
    if directive.container {
        // SAFETY: as `run`'s own contract.
        return unsafe { run_inside(cmd) };
    }
    std::ptr::null()
}

/// Remembers what a directive of another module says, if that module is there
/// to carry it out. A wrong value is that module's affair.
///
/// # Safety
/// As [`run`].
unsafe fn observe(
    observed: &'static ObservedDirective,
    cmd: *mut sys::cmd_parms,
    dir: *mut c_void,
    line: *const c_char,
) -> *const c_char {
    // SAFETY: httpd passes a record that outlives the call.
    let parms = unsafe { &*cmd };
    // SAFETY: the pool lives as long as what the directive configures.
    let pool = unsafe { AprPool::from_raw(parms.pool) };
    let name = observed.name.to_str().unwrap_or_default();
    let is_absent = |owner: &CStr| {
        // SAFETY: the name is a C string.
        unsafe { sys::ap_find_linked_module(owner.as_ptr()) }.is_null()
    };
    if observed.owner.is_some_and(is_absent) {
        // httpd's own words where no module has the directive.
        let text = format!(
            "Invalid command '{name}', perhaps misspelled or defined by a module not included in the server \
             configuration"
        );
        return pool.string(text.as_bytes()).as_ptr();
    }
    // SAFETY: null or a C string.
    let line = unsafe { optional(line) }.unwrap_or_default().to_bytes();
    let remember = |cx: &mut Context<'_, '_>| (observed.remember)(cx, &mut Words::new(line));
    // SAFETY: as `run`'s own contract.
    unsafe { with_context(name, parms, dir, pool, remember) };
    std::ptr::null()
}

/// # Safety
/// As [`run`].
unsafe fn apply<'p>(
    directive: &'static Directive,
    parms: &sys::cmd_parms,
    dir: *mut c_void,
    pool: AprPool<'p>,
    line: &[u8],
) -> Result<(), String> {
    let name = directive.name.to_str().unwrap_or_default();
    let apply = |cx: &mut Context<'_, '_>| directives::apply(directive, cx, line);
    // SAFETY: as `run`'s own contract.
    unsafe { with_context(name, parms, dir, pool, apply) }
}

/// What a directive works in.
///
/// # Safety
/// As [`run`].
unsafe fn with_context<'p, T>(
    name: &'static str,
    parms: &sys::cmd_parms,
    dir: *mut c_void,
    pool: AprPool<'p>,
    work: impl FnOnce(&mut Context<'_, '_>) -> T,
) -> T {
    // SAFETY: the server of the configuration being read.
    let server = unsafe { Server::from_raw(parms.server) };
    // SAFETY: made by `create_server_config` for this server; one thread reads
    // the configuration.
    let server_config = unsafe { &mut *server.own_record().cast::<ServerConfig<'p>>() };
    // SAFETY: httpd passes the section's record of this module, which nobody
    // else uses while the directive runs.
    let dir = unsafe { &mut *dir.cast::<DirConfig<'p>>() };
    let absolute = |path: &CStr| -> Option<&'p CStr> {
        // SAFETY: pool and path are alive.
        let raw = unsafe { sys::ap_server_root_relative(pool.as_raw(), path.as_ptr()) };
        // SAFETY: null, or a C string in the pool.
        unsafe { optional(raw) }
    };
    let mut cx = Context {
        name,
        origin: origin(parms),
        pool,
        dir,
        server_config,
        server,
        // httpd's own test for it: only there both pools are the request's.
        in_htaccess: std::ptr::eq(parms.pool, parms.temp_pool),
        absolute: &absolute,
    };
    work(&mut cx)
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
    let context = parms.context;
    // SAFETY: null, or the node of the section.
    let first =
        unsafe { parms.directive.as_ref() }.map_or(std::ptr::null_mut(), |node| node.first_child);
    // SAFETY: the children of the section, in the section's own context.
    let error = unsafe { sys::ap_walk_config(first, cmd, context) };
    settings::with(|settings| settings.interpreters.extend(settings.container.take()));
    error
}
