//! Buckets and brigades of APR-util. What the headers do with macros is done
//! in `apr/brigade.rs`.

use std::ffi::{c_char, c_int, c_void};

use crate::sys::apr::*;

opaque! { apr_bucket_alloc_t }

/// `APR_RING_ENTRY(apr_bucket)`; a brigade's head has the same shape.
#[repr(C)]
pub(crate) struct ring_link {
    pub(crate) next: *mut apr_bucket,
    pub(crate) prev: *mut apr_bucket,
}

#[repr(C)]
pub(crate) struct apr_bucket {
    pub(crate) link: ring_link,
    pub(crate) kind: *const apr_bucket_type_t,
    _1: Gap<2>,
    pub(crate) data: *mut c_void,
}

#[repr(C)]
pub(crate) struct apr_bucket_type_t {
    pub(crate) name: *const c_char,
    pub(crate) num_func: c_int,
    pub(crate) is_metadata: c_int,
    pub(crate) destroy: Option<unsafe extern "C" fn(*mut c_void)>,
    pub(crate) read: Option<
        unsafe extern "C" fn(
            *mut apr_bucket,
            *mut *const c_char,
            *mut usize,
            c_int,
        ) -> apr_status_t,
    >,
}

#[repr(C)]
pub(crate) struct apr_bucket_brigade {
    _1: Gap<1>,
    pub(crate) list: ring_link,
    pub(crate) bucket_alloc: *mut apr_bucket_alloc_t,
}

imports! {
    fn apr_brigade_create(pool: *mut apr_pool_t, list: *mut apr_bucket_alloc_t) -> *mut apr_bucket_brigade;
    fn apr_brigade_cleanup(brigade: *mut c_void) -> apr_status_t;
    fn apr_brigade_destroy(brigade: *mut apr_bucket_brigade) -> apr_status_t;
    fn apr_brigade_insert_file(
        brigade: *mut apr_bucket_brigade,
        file: *mut apr_file_t,
        start: apr_off_t,
        len: apr_off_t,
        pool: *mut apr_pool_t,
    ) -> *mut apr_bucket;
    fn apr_bucket_file_enable_mmap(bucket: *mut apr_bucket, enabled: c_int) -> apr_status_t;
    fn apr_bucket_transient_create(
        bytes: *const c_char,
        len: usize,
        list: *mut apr_bucket_alloc_t,
    ) -> *mut apr_bucket;
    fn apr_bucket_heap_create(
        bytes: *const c_char,
        len: usize,
        free: Option<unsafe extern "C" fn(*mut c_void)>,
        list: *mut apr_bucket_alloc_t,
    ) -> *mut apr_bucket;
    fn apr_bucket_eos_create(list: *mut apr_bucket_alloc_t) -> *mut apr_bucket;
    fn apr_bucket_flush_create(list: *mut apr_bucket_alloc_t) -> *mut apr_bucket;
}
