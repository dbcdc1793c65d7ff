//! APR: pools, tables, arrays, files, sockets, processes.

use std::ffi::{c_char, c_int, c_void};

/// Fields that this module does not use: words of 8 bytes.
pub(super) type Gap<const WORDS: usize> = [u64; WORDS];

pub(crate) type apr_status_t = c_int;
pub(crate) type apr_off_t = i64;
pub(crate) type apr_time_t = i64;
pub(crate) type apr_port_t = u16;

opaque! { apr_pool_t apr_table_t apr_file_t apr_socket_t apr_hash_t }

#[repr(C)]
pub(crate) struct apr_array_header_t {
    _1: Gap<1>,
    _elt_size: c_int,
    pub(crate) nelts: c_int,
    _2: Gap<1>,
    pub(crate) elts: *mut c_char,
}

#[repr(C)]
pub(crate) struct apr_table_entry_t {
    pub(crate) key: *mut c_char,
    pub(crate) val: *mut c_char,
    pub(crate) key_checksum: u32,
}

#[repr(C)]
pub(crate) struct apr_finfo_t {
    _1: Gap<2>,
    pub(crate) filetype: c_int,
    _2: Gap<12>,
}

#[repr(C)]
pub(crate) struct apr_sockaddr_t {
    _1: Gap<3>,
    pub(crate) port: apr_port_t,
}

#[repr(C)]
pub(crate) struct apr_proc_t {
    pub(crate) pid: libc::pid_t,
    pub(crate) stdin: *mut apr_file_t,
    pub(crate) stdout: *mut apr_file_t,
    pub(crate) stderr: *mut apr_file_t,
}

pub(crate) type Cleanup = unsafe extern "C" fn(*mut c_void) -> apr_status_t;
pub(crate) type Maintenance = unsafe extern "C" fn(c_int, *mut c_void, c_int);

imports! {
    fn apr_palloc(pool: *mut apr_pool_t, size: usize) -> *mut c_void;
    fn apr_pstrmemdup(pool: *mut apr_pool_t, s: *const c_char, n: usize) -> *mut c_char;
    fn apr_pool_create_ex(
        new: *mut *mut apr_pool_t,
        parent: *mut apr_pool_t,
        abort: Option<unsafe extern "C" fn(c_int) -> c_int>,
        allocator: *mut c_void,
    ) -> apr_status_t;
    fn apr_pool_destroy(pool: *mut apr_pool_t);
    fn apr_pool_cleanup_register(pool: *mut apr_pool_t, data: *const c_void, plain: Cleanup, child: Cleanup);
    fn apr_pool_cleanup_null(data: *mut c_void) -> apr_status_t;
    fn apr_table_make(pool: *mut apr_pool_t, nelts: c_int) -> *mut apr_table_t;
    fn apr_table_elts(table: *const apr_table_t) -> *const apr_array_header_t;
    fn apr_hash_get(hash: *mut apr_hash_t, key: *const c_void, len: isize) -> *mut c_void;
    fn apr_table_get(table: *const apr_table_t, key: *const c_char) -> *const c_char;
    fn apr_table_setn(table: *mut apr_table_t, key: *const c_char, val: *const c_char);
    fn apr_table_addn(table: *mut apr_table_t, key: *const c_char, val: *const c_char);
    fn apr_table_unset(table: *mut apr_table_t, key: *const c_char);
    fn apr_stat(facts: *mut apr_finfo_t, name: *const c_char, wanted: i32, pool: *mut apr_pool_t) -> apr_status_t;
    fn apr_os_file_put(file: *mut *mut apr_file_t, fd: *mut c_int, flags: i32, pool: *mut apr_pool_t) -> apr_status_t;
    fn apr_os_file_get(fd: *mut c_int, file: *mut apr_file_t) -> apr_status_t;
    fn apr_file_dup(new: *mut *mut apr_file_t, old: *mut apr_file_t, pool: *mut apr_pool_t) -> apr_status_t;
    fn apr_socket_timeout_get(socket: *mut apr_socket_t, timeout: *mut apr_time_t) -> apr_status_t;
    fn apr_socket_timeout_set(socket: *mut apr_socket_t, timeout: apr_time_t) -> apr_status_t;
    fn apr_os_sock_get(fd: *mut c_int, socket: *mut apr_socket_t) -> apr_status_t;
    fn apr_proc_other_child_register(
        proc: *mut apr_proc_t,
        maintenance: Maintenance,
        data: *mut c_void,
        write_fd: *mut apr_file_t,
        pool: *mut apr_pool_t,
    );
    fn apr_proc_other_child_unregister(data: *mut c_void);
}
