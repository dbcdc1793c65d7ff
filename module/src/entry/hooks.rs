//! The record that httpd loads, with the table of directives, and the hooks and
//! providers it registers: what httpd calls, and when. Nothing else uses it.

#![expect(
    unsafe_code,
    reason = "the exported record, and the calls that register hooks"
)]

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::apr::pool::AprPool;
use crate::directives::TABLE;
use crate::directives::handlers::OBSERVED;
use crate::entry::{commands, providers, trampoline};
use crate::httpd::{file_reader, filters, guard, process, record};
use crate::sys;

/// The module's record. httpd writes to it (its index, the next module), so it
/// is a mutable static.
#[unsafe(no_mangle)]
pub(crate) static mut wsgi_module: sys::module = sys::module {
    version: sys::MODULE_MAGIC_NUMBER_MAJOR,
    minor_version: sys::MODULE_MAGIC_NUMBER_MINOR,
    module_index: -1,
    name: c"mod_wsgi.c".as_ptr(),
    dynamic_load_handle: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
    magic: sys::MODULE_MAGIC_COOKIE,
    rewrite_args: None,
    create_dir_config: Some(trampoline::create_dir_config),
    merge_dir_config: Some(trampoline::merge_dir_config),
    create_server_config: Some(trampoline::create_server_config),
    merge_server_config: Some(trampoline::merge_server_config),
    cmds: COMMANDS.as_ptr(),
    register_hooks: Some(register_hooks),
    flags: 0,
};

/// A list for httpd that points to constants.
struct Constants<T, const N: usize>([T; N]);

// SAFETY: constants that point to constants; httpd only reads them.
unsafe impl<T, const N: usize> Sync for Constants<T, N> {}

impl<T, const N: usize> Constants<T, N> {
    const fn as_ptr(&self) -> *const T {
        self.0.as_ptr()
    }
}

/// Our own directives, then those that are read along.
const ROWS: usize = TABLE.len() + OBSERVED.len();

/// A row of the table; where httpd carries it out, `cmd_data` tells which it is.
const fn row(index: usize, name: &CStr, place: c_int, usage: &CStr) -> sys::command_rec {
    sys::command_rec {
        name: name.as_ptr(),
        func: Some(commands::directive),
        cmd_data: std::ptr::without_provenance_mut(index),
        req_override: place,
        args_how: sys::RAW_ARGS,
        errmsg: usage.as_ptr(),
    }
}

const END: sys::command_rec = sys::command_rec {
    name: std::ptr::null(),
    func: None,
    ..row(0, c"", 0, c"")
};

/// The table in httpd's form; the last row is empty.
static COMMANDS: Constants<sys::command_rec, { ROWS + 1 }> = {
    let mut rows = [const { END }; ROWS + 1];
    let mut at = 0;
    while at < TABLE.len() {
        let directive = &TABLE[at];
        rows[at] = row(at, directive.name, directive.scope.bits(), directive.usage);
        at += 1;
    }
    while at < ROWS {
        let observed = &OBSERVED[at - TABLE.len()];
        let usage = c"as httpd has it; read along";
        rows[at] = row(at, observed.name, observed.place, usage);
        at += 1;
    }
    Constants(rows)
};

/// Alias, Redirect and ScriptAlias come first: `Alias /static` inside a
/// `WSGIScriptAlias /` is everybody's idiom.
static BEFORE_MAPPING: Constants<*const c_char, 2> =
    Constants([c"mod_alias.c".as_ptr(), std::ptr::null()]);
static AFTER_MAPPING: Constants<*const c_char, 3> = Constants([
    c"mod_userdir.c".as_ptr(),
    c"mod_vhost_alias.c".as_ptr(),
    std::ptr::null(),
]);

/// # Safety
/// For httpd alone, while it loads the module.
#[expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one call for each hook"
)]
unsafe extern "C" fn register_hooks(pool: *mut sys::apr_pool_t) {
    use sys::APR_HOOK_MIDDLE as MIDDLE;
    let none = std::ptr::null();
    record::set(&raw mut wsgi_module);
    // SAFETY: httpd is loading the module, when hooks are registered; each
    // function has the type of its hook.
    unsafe {
        sys::ap_hook_pre_config(trampoline::pre_config, none, none, MIDDLE);
        sys::ap_hook_check_config(trampoline::check_config, none, none, MIDDLE);
        // Modules that fork here, as mod_cgid does, must not take the supervisor's
        // control socket with them.
        sys::ap_hook_post_config(trampoline::post_config, none, none, sys::APR_HOOK_LAST);
        sys::ap_hook_child_init(trampoline::child_init, none, none, MIDDLE);
        sys::ap_hook_monitor(trampoline::monitor, none, none, MIDDLE);
        sys::ap_hook_child_status(trampoline::child_status, none, none, MIDDLE);
        sys::ap_hook_check_access(
            trampoline::check_access,
            none,
            none,
            MIDDLE,
            sys::AP_AUTH_INTERNAL_PER_CONF,
        );
        sys::ap_hook_fixups(trampoline::fixups, none, none, sys::APR_HOOK_LAST);
        sys::ap_hook_handler(trampoline::handle, none, none, MIDDLE);
        sys::ap_hook_translate_name(
            trampoline::translate_name,
            BEFORE_MAPPING.as_ptr(),
            AFTER_MAPPING.as_ptr(),
            MIDDLE,
        );
        // httpd's own comes last of all.
        sys::ap_hook_map_to_storage(trampoline::map_to_storage, none, none, sys::APR_HOOK_LAST);
    }
    filters::register(guard::NAME, trampoline::guard_body, guard::KIND);
    filters::register(file_reader::NAME, trampoline::read_files, file_reader::KIND);
    // SAFETY: the pool in which hooks and providers are registered.
    register_providers(unsafe { AprPool::from_raw(pool) });
    process::hook_child_stopping(trampoline::child_stopping);
    process::hook_status(trampoline::status_section);
}

static AUTHN: sys::authn_provider = sys::authn_provider {
    check_password: providers::check_password,
    get_realm_hash: providers::get_realm_hash,
};

static AUTHZ: sys::authz_provider = sys::authz_provider {
    check_authorization: providers::check_authorization,
    parse_require_line: providers::parse_require_line,
};

fn register_providers(pool: AprPool<'_>) {
    let providers: [(&CStr, &CStr, *const c_void); 2] = [
        (c"authn", c"wsgi", (&raw const AUTHN).cast()),
        (c"authz", c"wsgi-group", (&raw const AUTHZ).cast()),
    ];
    for (group, name, provider) in providers {
        // SAFETY: the names and records are constants.
        unsafe {
            sys::ap_register_auth_provider(
                pool.as_raw(),
                group.as_ptr(),
                name.as_ptr(),
                c"0".as_ptr(),
                provider,
                sys::AP_AUTH_INTERNAL_PER_CONF,
            );
        }
    }
}
