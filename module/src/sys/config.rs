//! The records a module gives to httpd, and what a directive is told.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

use crate::sys::apr::*;
use crate::sys::core::*;

pub(crate) type CreateDirConfig = unsafe extern "C" fn(*mut apr_pool_t, *mut c_char) -> *mut c_void;
pub(crate) type CreateServerConfig =
    unsafe extern "C" fn(*mut apr_pool_t, *mut server_rec) -> *mut c_void;
pub(crate) type MergeConfig =
    unsafe extern "C" fn(*mut apr_pool_t, *mut c_void, *mut c_void) -> *mut c_void;
pub(crate) type RegisterHooks = unsafe extern "C" fn(*mut apr_pool_t);
/// A `RAW_ARGS` directive: it gets the rest of the line.
pub(crate) type RawArgs =
    unsafe extern "C" fn(*mut cmd_parms, *mut c_void, *const c_char) -> *const c_char;

/// Up to the last field that every 2.4 release has. httpd writes to it.
#[repr(C)]
pub(crate) struct module {
    pub(crate) version: c_int,
    pub(crate) minor_version: c_int,
    pub(crate) module_index: c_int,
    pub(crate) name: *const c_char,
    pub(crate) dynamic_load_handle: *mut c_void,
    pub(crate) next: *mut module,
    pub(crate) magic: c_ulong,
    pub(crate) rewrite_args: Option<unsafe extern "C" fn(*mut process_rec)>,
    pub(crate) create_dir_config: Option<CreateDirConfig>,
    pub(crate) merge_dir_config: Option<MergeConfig>,
    pub(crate) create_server_config: Option<CreateServerConfig>,
    pub(crate) merge_server_config: Option<MergeConfig>,
    pub(crate) cmds: *const command_rec,
    pub(crate) register_hooks: Option<RegisterHooks>,
    /// Since MMN 20120211.70; 0 on all servers.
    pub(crate) flags: c_int,
}

#[repr(C)]
pub(crate) struct command_rec {
    pub(crate) name: *const c_char,
    pub(crate) func: Option<RawArgs>,
    pub(crate) cmd_data: *mut c_void,
    pub(crate) req_override: c_int,
    pub(crate) args_how: c_uint,
    pub(crate) errmsg: *const c_char,
}

#[repr(C)]
pub(crate) struct cmd_parms {
    _1: Gap<7>,
    pub(crate) directive: *mut ap_directive_t,
    pub(crate) pool: *mut apr_pool_t,
    pub(crate) temp_pool: *mut apr_pool_t,
    pub(crate) server: *mut server_rec,
    pub(crate) path: *mut c_char,
    pub(crate) cmd: *const command_rec,
    pub(crate) context: *mut ap_conf_vector_t,
}

#[repr(C)]
pub(crate) struct ap_directive_t {
    pub(crate) directive: *const c_char,
    pub(crate) args: *const c_char,
    pub(crate) next: *mut ap_directive_t,
    pub(crate) first_child: *mut ap_directive_t,
    _1: Gap<2>,
    pub(crate) filename: *const c_char,
    pub(crate) line_num: c_int,
}

/// Of the group `authn`.
#[repr(C)]
pub(crate) struct authn_provider {
    pub(crate) check_password:
        unsafe extern "C" fn(*mut request_rec, *const c_char, *const c_char) -> c_int,
    pub(crate) get_realm_hash: unsafe extern "C" fn(
        *mut request_rec,
        *const c_char,
        *const c_char,
        *mut *mut c_char,
    ) -> c_int,
}

/// Of the group `authz`.
#[repr(C)]
pub(crate) struct authz_provider {
    pub(crate) check_authorization:
        unsafe extern "C" fn(*mut request_rec, *const c_char, *const c_void) -> c_int,
    pub(crate) parse_require_line:
        unsafe extern "C" fn(*mut cmd_parms, *const c_char, *mut *const c_void) -> *const c_char,
}

imports! {
    fn ap_check_cmd_context(cmd: *mut cmd_parms, forbidden: c_uint) -> *const c_char;
    fn ap_walk_config(
        directives: *mut ap_directive_t,
        cmd: *mut cmd_parms,
        vector: *mut ap_conf_vector_t,
    ) -> *const c_char;
    fn ap_find_linked_module(name: *const c_char) -> *mut module;
    fn ap_get_module_config(vector: *const ap_conf_vector_t, module: *const module) -> *mut c_void;
    fn ap_set_module_config(vector: *mut ap_conf_vector_t, module: *const module, value: *mut c_void);
    fn ap_expr_parse_cmd_mi(
        cmd: *const cmd_parms,
        text: *const c_char,
        flags: c_uint,
        error: *mut *const c_char,
        lookup: *mut c_void,
        index: c_int,
    ) -> *mut ap_expr_info_t;
    fn ap_exists_config_define(name: *const c_char) -> c_int;
}

#[cfg(not(test))]
unsafe extern "C" {
    pub(crate) static ap_conftree: *mut ap_directive_t;
}

/// Stands in for httpd's, which a unit test has not.
#[cfg(test)]
#[expect(non_upper_case_globals, reason = "it is C's")]
pub(crate) static mut ap_conftree: *mut ap_directive_t = std::ptr::null_mut();
