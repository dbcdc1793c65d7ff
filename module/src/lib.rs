//! `mod_wsgid.so`: forwards requests to the supervisor's workers.
//!
//! This file holds the record that httpd loads and the hooks it registers,
//! nothing else. It takes the place of mod_wsgi, so it has its names:
//! `LoadModule wsgi_module`, `<IfModule mod_wsgi.c>`, `LogLevel wsgi:…`.

#![expect(
    unsafe_code,
    reason = "the exported record, and the calls that register hooks"
)]

mod apr;
mod configuration;
mod directives;
mod entry;
mod httpd;
mod launch;
mod request;
mod status;
mod sys;
mod workers;

use std::ffi::c_int;

/// The module's record. httpd writes to it (its index, the next module), so it
/// is a mutable static.
#[unsafe(no_mangle)]
pub static mut wsgi_module: sys::module = sys::module {
    version: sys::MODULE_MAGIC_NUMBER_MAJOR,
    minor_version: sys::MODULE_MAGIC_NUMBER_MINOR,
    module_index: -1,
    name: c"mod_wsgi.c".as_ptr(),
    dynamic_load_handle: std::ptr::null_mut(),
    next: std::ptr::null_mut(),
    magic: sys::MODULE_MAGIC_COOKIE,
    rewrite_args: None,
    create_dir_config: Some(entry::trampoline::create_dir_config),
    merge_dir_config: Some(entry::trampoline::merge_dir_config),
    create_server_config: Some(entry::trampoline::create_server_config),
    merge_server_config: Some(entry::trampoline::merge_server_config),
    cmds: entry::commands::COMMANDS.as_ptr(),
    register_hooks: Some(register_hooks),
    flags: 0,
};

/// The record, for httpd's look-ups of configuration.
pub(crate) fn module_record() -> *const sys::module {
    &raw const wsgi_module
}

/// The module's number, for its log level.
pub(crate) fn module_index() -> c_int {
    // SAFETY: httpd writes it once while it loads the module.
    unsafe { (*module_record()).module_index }
}

/// A list of module names for httpd's ordering of hooks.
struct Neighbours<const N: usize>([*const std::ffi::c_char; N]);

// SAFETY: constants that point to constants.
unsafe impl<const N: usize> Sync for Neighbours<N> {}

/// Alias, Redirect and ScriptAlias come first: `Alias /static` inside a
/// `WSGIScriptAlias /` is everybody's idiom.
static BEFORE_MAPPING: Neighbours<2> = Neighbours([c"mod_alias.c".as_ptr(), std::ptr::null()]);
static AFTER_MAPPING: Neighbours<3> = Neighbours([
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
    // SAFETY: httpd is loading the module, when hooks are registered; each
    // function has the type of its hook.
    unsafe {
        sys::ap_hook_pre_config(entry::trampoline::pre_config, none, none, MIDDLE);
        sys::ap_hook_check_config(entry::trampoline::check_config, none, none, MIDDLE);
        // Modules that fork here, as mod_cgid does, must not take the supervisor's
        // control socket with them.
        sys::ap_hook_post_config(
            entry::trampoline::post_config,
            none,
            none,
            sys::APR_HOOK_LAST,
        );
        sys::ap_hook_child_init(entry::trampoline::child_init, none, none, MIDDLE);
        sys::ap_hook_monitor(entry::trampoline::monitor, none, none, MIDDLE);
        sys::ap_hook_child_status(entry::trampoline::child_status, none, none, MIDDLE);
        sys::ap_hook_check_access(
            entry::trampoline::check_access,
            none,
            none,
            MIDDLE,
            sys::AP_AUTH_INTERNAL_PER_CONF,
        );
        sys::ap_hook_fixups(entry::trampoline::fixups, none, none, sys::APR_HOOK_LAST);
        sys::ap_hook_handler(entry::trampoline::handle, none, none, MIDDLE);
        sys::ap_hook_translate_name(
            entry::trampoline::translate_name,
            BEFORE_MAPPING.0.as_ptr(),
            AFTER_MAPPING.0.as_ptr(),
            MIDDLE,
        );
        // httpd's own comes last of all.
        sys::ap_hook_map_to_storage(
            entry::trampoline::map_to_storage,
            none,
            none,
            sys::APR_HOOK_LAST,
        );
    }
    httpd::guard::register();
    httpd::file_reader::register();
    // SAFETY: the pool in which hooks and providers are registered.
    entry::providers::register(unsafe { apr::pool::Pool::from_raw(pool) });
    httpd::process::hook_child_stopping(entry::trampoline::child_stopping);
    httpd::process::hook_status(entry::trampoline::status_section);
}
