//! httpd's core: requests, connections, servers, filters, logging, and the
//! functions of `ap_*`.

use std::ffi::{c_char, c_int, c_uint, c_void};

use crate::sys::apr::*;
use crate::sys::bucket::*;

opaque! { ap_conf_vector_t ap_regex_t ap_expr_info_t }

#[repr(C)]
pub(crate) struct process_rec {
    _1: Gap<1>,
    pub(crate) pconf: *mut apr_pool_t,
}

#[repr(C)]
pub(crate) struct server_rec {
    pub(crate) process: *mut process_rec,
    pub(crate) next: *mut server_rec,
    pub(crate) error_fname: *mut c_char,
    pub(crate) error_log: *mut apr_file_t,
    _1: Gap<2>,
    pub(crate) module_config: *mut ap_conf_vector_t,
    pub(crate) lookup_defaults: *mut ap_conf_vector_t,
    pub(crate) defn_name: *const c_char,
    pub(crate) defn_line_number: c_uint,
    pub(crate) is_virtual: c_char,
    _2: Gap<1>,
    pub(crate) server_admin: *mut c_char,
    pub(crate) server_hostname: *mut c_char,
    _3: Gap<1>,
    pub(crate) timeout: apr_time_t,
    _4: Gap<2>,
    pub(crate) names: *mut apr_array_header_t,
}

/// `master` is newer than 2.4.1, but older than the oldest server that is supported.
#[repr(C)]
pub(crate) struct conn_rec {
    _1: Gap<3>,
    pub(crate) local_addr: *mut apr_sockaddr_t,
    _2: Gap<4>,
    pub(crate) local_ip: *mut c_char,
    _3: Gap<7>,
    pub(crate) bucket_alloc: *mut apr_bucket_alloc_t,
    _4: Gap<2>,
    _bits: c_uint,
    pub(crate) aborted: c_uint,
    pub(crate) keepalive: c_int,
    _5: Gap<1>,
    pub(crate) log_id: *const c_char,
    _6: Gap<1>,
    pub(crate) master: *mut conn_rec,
}

#[repr(C)]
pub(crate) struct request_rec {
    pub(crate) pool: *mut apr_pool_t,
    pub(crate) connection: *mut conn_rec,
    pub(crate) server: *mut server_rec,
    _1: Gap<1>,
    pub(crate) prev: *mut request_rec,
    pub(crate) main: *mut request_rec,
    pub(crate) the_request: *mut c_char,
    _2: Gap<1>,
    pub(crate) header_only: c_int,
    pub(crate) proto_num: c_int,
    pub(crate) protocol: *mut c_char,
    pub(crate) hostname: *const c_char,
    pub(crate) request_time: apr_time_t,
    pub(crate) status_line: *const c_char,
    pub(crate) status: c_int,
    pub(crate) method_number: c_int,
    pub(crate) method: *const c_char,
    _3: Gap<8>,
    pub(crate) chunked: c_int,
    _4: [c_int; 2],
    pub(crate) expecting_100: c_uint,
    _5: Gap<4>,
    pub(crate) headers_in: *mut apr_table_t,
    pub(crate) headers_out: *mut apr_table_t,
    pub(crate) err_headers_out: *mut apr_table_t,
    pub(crate) subprocess_env: *mut apr_table_t,
    pub(crate) notes: *mut apr_table_t,
    pub(crate) content_type: *const c_char,
    pub(crate) handler: *const c_char,
    pub(crate) content_encoding: *const c_char,
    pub(crate) content_languages: *mut apr_array_header_t,
    _6: Gap<1>,
    pub(crate) user: *mut c_char,
    pub(crate) ap_auth_type: *mut c_char,
    pub(crate) unparsed_uri: *mut c_char,
    pub(crate) uri: *mut c_char,
    pub(crate) filename: *mut c_char,
    _7: Gap<1>,
    pub(crate) path_info: *mut c_char,
    pub(crate) args: *mut c_char,
    pub(crate) used_path_info: c_int,
    pub(crate) per_dir_config: *mut ap_conf_vector_t,
    pub(crate) request_config: *mut ap_conf_vector_t,
    _8: Gap<1>,
    pub(crate) log_id: *const c_char,
    pub(crate) htaccess: *const htaccess_result,
    pub(crate) output_filters: *mut ap_filter_t,
    pub(crate) input_filters: *mut ap_filter_t,
    _9: Gap<2>,
    pub(crate) no_cache: c_int,
    _10: Gap<12>,
    pub(crate) finfo: apr_finfo_t,
    pub(crate) useragent_addr: *mut apr_sockaddr_t,
    pub(crate) useragent_ip: *mut c_char,
}

/// A `.htaccess` file that was looked for on the way to the request's file.
#[repr(C)]
pub(crate) struct htaccess_result {
    _1: Gap<3>,
    /// Null if there is none.
    pub(crate) htaccess: *mut ap_conf_vector_t,
    pub(crate) next: *const htaccess_result,
}

#[repr(C)]
pub(crate) struct ap_filter_t {
    pub(crate) frec: *mut ap_filter_rec_t,
    pub(crate) ctx: *mut c_void,
    pub(crate) next: *mut ap_filter_t,
}

#[repr(C)]
pub(crate) struct ap_filter_rec_t {
    _1: Gap<5>,
    pub(crate) ftype: c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct ap_regmatch_t {
    pub(crate) rm_so: c_int,
    pub(crate) rm_eo: c_int,
}

/// The data of an error bucket.
#[repr(C)]
pub(crate) struct ap_bucket_error {
    _refcount: c_int,
    pub(crate) status: c_int,
}

#[repr(C)]
pub(crate) struct ap_version_t {
    pub(crate) major: c_int,
    pub(crate) minor: c_int,
    pub(crate) patch: c_int,
    pub(crate) add_string: *const c_char,
}

#[repr(C)]
pub(crate) struct unixd_config_rec {
    pub(crate) user_name: *const c_char,
    pub(crate) group_name: *const c_char,
    pub(crate) user_id: libc::uid_t,
    pub(crate) group_id: libc::gid_t,
}

imports! {
    fn ap_state_query(code: c_int) -> c_int;
    fn ap_mpm_query(code: c_int, result: *mut c_int) -> apr_status_t;
    fn ap_show_mpm() -> *const c_char;
    fn ap_retained_data_create(key: *const c_char, size: usize) -> *mut c_void;
    fn ap_retained_data_get(key: *const c_char) -> *mut c_void;
    fn ap_get_server_revision(version: *mut ap_version_t);
    fn ap_get_server_description() -> *const c_char;
    fn ap_get_server_banner() -> *const c_char;
    fn ap_add_version_component(pconf: *mut apr_pool_t, component: *const c_char);
    fn ap_server_root_relative(pool: *mut apr_pool_t, path: *const c_char) -> *mut c_char;
    fn ap_runtime_dir_relative(pool: *mut apr_pool_t, path: *const c_char) -> *mut c_char;
    fn ap_get_core_module_config(vector: *const ap_conf_vector_t) -> *mut c_void;
    fn ap_get_brigade(
        filter: *mut ap_filter_t,
        brigade: *mut apr_bucket_brigade,
        mode: c_int,
        block: c_int,
        bytes: apr_off_t,
    ) -> apr_status_t;
    fn ap_pass_brigade(filter: *mut ap_filter_t, brigade: *mut apr_bucket_brigade) -> apr_status_t;
    fn ap_get_limit_req_body(r: *const request_rec) -> apr_off_t;
    fn ap_map_http_request_error(rv: apr_status_t, status: c_int) -> c_int;
    fn ap_send_interim_response(r: *mut request_rec, send_headers: c_int);
    fn ap_set_content_type(r: *mut request_rec, content_type: *const c_char);
    fn ap_set_content_length(r: *mut request_rec, len: apr_off_t);
    fn ap_internal_redirect_handler(uri: *const c_char, r: *mut request_rec);
    fn ap_bucket_error_create(
        status: c_int,
        text: *const c_char,
        pool: *mut apr_pool_t,
        list: *mut apr_bucket_alloc_t,
    ) -> *mut apr_bucket;
    fn ap_register_output_filter(
        name: *const c_char,
        filter: OutputFilter,
        init: Option<unsafe extern "C" fn(*mut ap_filter_t) -> c_int>,
        kind: c_int,
    ) -> *mut ap_filter_rec_t;
    fn ap_add_output_filter(
        name: *const c_char,
        context: *mut c_void,
        r: *mut request_rec,
        c: *mut conn_rec,
    ) -> *mut ap_filter_t;
    fn ap_remove_output_filter(filter: *mut ap_filter_t);
    fn ap_bucket_eoc_create(list: *mut apr_bucket_alloc_t) -> *mut apr_bucket;
    fn ap_allow_options(r: *mut request_rec) -> c_int;
    fn ap_directory_walk(r: *mut request_rec) -> c_int;
    fn ap_file_walk(r: *mut request_rec) -> c_int;
    fn ap_find_path_info(uri: *const c_char, path_info: *const c_char) -> c_int;
    fn ap_document_root(r: *mut request_rec) -> *const c_char;
    fn ap_context_prefix(r: *mut request_rec) -> *const c_char;
    fn ap_context_document_root(r: *mut request_rec) -> *const c_char;
    fn ap_get_server_name_for_url(r: *mut request_rec) -> *const c_char;
    fn ap_get_server_port(r: *const request_rec) -> apr_port_t;
    fn ap_run_http_scheme(r: *const request_rec) -> *const c_char;
    fn ap_run_generate_log_id(c: *const conn_rec, r: *const request_rec, id: *mut *const c_char) -> c_int;
    fn ap_pregcomp(pool: *mut apr_pool_t, pattern: *const c_char, flags: c_int) -> *mut ap_regex_t;
    fn ap_regexec(
        regex: *const ap_regex_t,
        text: *const c_char,
        nmatch: usize,
        matches: *mut ap_regmatch_t,
        flags: c_int,
    ) -> c_int;
    fn ap_pregsub(
        pool: *mut apr_pool_t,
        input: *const c_char,
        source: *const c_char,
        nmatch: usize,
        matches: *mut ap_regmatch_t,
    ) -> *mut c_char;
    fn ap_get_conn_socket(c: *mut conn_rec) -> *mut apr_socket_t;
    fn ap_get_request_module_loglevel(r: *const request_rec, index: c_int) -> c_int;
    fn ap_get_server_module_loglevel(s: *const server_rec, index: c_int) -> c_int;
    fn ap_hook_pre_config(f: PoolsHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_check_config(f: ConfigHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_post_config(f: ConfigHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_child_init(f: ChildHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_translate_name(f: RequestHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_map_to_storage(f: RequestHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_check_access(f: RequestHook, pre: ModuleNames, succ: ModuleNames, order: c_int, kind: c_int);
    fn ap_register_auth_provider(
        pool: *mut apr_pool_t,
        group: *const c_char,
        name: *const c_char,
        version: *const c_char,
        provider: *const c_void,
        kind: c_int,
    ) -> apr_status_t;
    fn ap_rwrite(bytes: *const c_void, len: c_int, r: *mut request_rec) -> c_int;
    fn apr_dynamic_fn_retrieve(name: *const c_char) -> Option<AnyHook>;
    fn apr_optional_hook_add(name: *const c_char, hook: AnyHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_satisfies(r: *mut request_rec) -> c_int;
    fn ap_some_auth_required(r: *mut request_rec) -> c_int;
    fn ap_get_useragent_host(r: *mut request_rec, kind: c_int, is_address: *mut c_int) -> *const c_char;
    fn ap_expr_str_exec(r: *mut request_rec, expr: *const ap_expr_info_t, error: *mut *const c_char) -> *const c_char;
    fn ap_hook_fixups(f: RequestHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_handler(f: RequestHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_child_status(f: ChildStatusHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
    fn ap_hook_monitor(f: MonitorHook, pre: ModuleNames, succ: ModuleNames, order: c_int);
}

/// Of mod_status: the request, and what kind of page it is.
pub(crate) type StatusHook = unsafe extern "C" fn(*mut request_rec, c_int) -> c_int;
/// A function whose type its caller knows.
pub(crate) type AnyHook = unsafe extern "C" fn();
/// Of mod_ssl: pool of the result, server, connection, request, and the variable's name.
pub(crate) type SslVarLookup = unsafe extern "C" fn(
    *mut apr_pool_t,
    *mut server_rec,
    *mut conn_rec,
    *mut request_rec,
    *mut c_char,
) -> *const c_char;
pub(crate) type OutputFilter =
    unsafe extern "C" fn(*mut ap_filter_t, *mut apr_bucket_brigade) -> apr_status_t;
pub(crate) type ModuleNames = *const *const c_char;
pub(crate) type PoolsHook =
    unsafe extern "C" fn(*mut apr_pool_t, *mut apr_pool_t, *mut apr_pool_t) -> c_int;
pub(crate) type ConfigHook = unsafe extern "C" fn(
    *mut apr_pool_t,
    *mut apr_pool_t,
    *mut apr_pool_t,
    *mut server_rec,
) -> c_int;
pub(crate) type ChildHook = unsafe extern "C" fn(*mut apr_pool_t, *mut server_rec);
pub(crate) type RequestHook = unsafe extern "C" fn(*mut request_rec) -> c_int;
pub(crate) type ChildStatusHook =
    unsafe extern "C" fn(*mut server_rec, libc::pid_t, c_int, c_int, c_int);
pub(crate) type MonitorHook = unsafe extern "C" fn(*mut apr_pool_t, *mut server_rec) -> c_int;
pub(crate) type ChildStoppingHook = unsafe extern "C" fn(*mut apr_pool_t, c_int);

/// `ap_hook_child_stopping` is younger than the oldest supported server, so it
/// is looked up at run time.
pub(crate) type HookChildStopping =
    unsafe extern "C" fn(ChildStoppingHook, ModuleNames, ModuleNames, c_int);

#[cfg(not(test))]
unsafe extern "C" {
    pub(crate) static apr_bucket_type_eos: apr_bucket_type_t;
    pub(crate) static apr_bucket_type_file: apr_bucket_type_t;
    pub(crate) static ap_bucket_type_error: apr_bucket_type_t;
    pub(crate) static ap_server_conf: *mut server_rec;
    pub(crate) static ap_server_root: *const c_char;
    pub(crate) static ap_unixd_config: unixd_config_rec;
    pub(crate) static ap_http_header_filter_handle: *mut ap_filter_rec_t;
    pub(crate) static ap_byterange_filter_handle: *mut ap_filter_rec_t;
    pub(crate) fn ap_log_rerror_(
        file: *const c_char,
        line: c_int,
        module_index: c_int,
        level: c_int,
        status: apr_status_t,
        r: *const request_rec,
        format: *const c_char,
        ...
    );
    pub(crate) fn ap_log_error_(
        file: *const c_char,
        line: c_int,
        module_index: c_int,
        level: c_int,
        status: apr_status_t,
        s: *const server_rec,
        format: *const c_char,
        ...
    );
}

#[cfg(test)]
pub(crate) use self::outside::*;

/// Stand-ins for what a unit test, which runs outside httpd, must not use.
#[cfg(test)]
#[expect(
    non_upper_case_globals,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    reason = "they are C's"
)]
mod outside {
    use super::*;

    pub(crate) static mut apr_bucket_type_eos: apr_bucket_type_t = apr_bucket_type_t {
        name: std::ptr::null(),
        num_func: 0,
        is_metadata: 1,
        destroy: None,
        read: None,
    };
    pub(crate) static mut apr_bucket_type_file: apr_bucket_type_t = apr_bucket_type_t {
        name: std::ptr::null(),
        num_func: 0,
        is_metadata: 0,
        destroy: None,
        read: None,
    };
    pub(crate) static mut ap_bucket_type_error: apr_bucket_type_t = apr_bucket_type_t {
        name: std::ptr::null(),
        num_func: 0,
        is_metadata: 1,
        destroy: None,
        read: None,
    };
    pub(crate) static mut ap_server_conf: *mut server_rec = std::ptr::null_mut();
    pub(crate) static mut ap_server_root: *const c_char = std::ptr::null();
    pub(crate) static mut ap_http_header_filter_handle: *mut ap_filter_rec_t = std::ptr::null_mut();
    pub(crate) static mut ap_byterange_filter_handle: *mut ap_filter_rec_t = std::ptr::null_mut();
    pub(crate) static mut ap_unixd_config: unixd_config_rec = unixd_config_rec {
        user_name: std::ptr::null(),
        group_name: std::ptr::null(),
        user_id: 0,
        group_id: 0,
    };

    pub(crate) unsafe fn ap_log_rerror_(
        _: *const c_char,
        _: c_int,
        _: c_int,
        _: c_int,
        _: apr_status_t,
        _: *const request_rec,
        _: *const c_char,
        _: *const c_char,
    ) {
        unreachable!("a request exists inside httpd only")
    }

    pub(crate) unsafe fn ap_log_error_(
        _: *const c_char,
        _: c_int,
        _: c_int,
        _: c_int,
        _: apr_status_t,
        _: *const server_rec,
        _: *const c_char,
        _: *const c_char,
    ) {
    }
}
