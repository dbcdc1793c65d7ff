//! This module's record, which httpd keeps: look-ups of configuration and log levels
//! go by it. `entry/hooks.rs` owns it and says where it is while httpd loads the module.

#![expect(unsafe_code, reason = "reads a record that httpd writes to")]

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::sys;

static RECORD: AtomicPtr<sys::module> = AtomicPtr::new(ptr::null_mut());

/// Once, while httpd loads the module.
pub(crate) fn set(record: *mut sys::module) {
    RECORD.store(record, Ordering::Relaxed);
}

/// The record, for httpd's look-ups of configuration.
pub(crate) fn get() -> *const sys::module {
    RECORD.load(Ordering::Relaxed)
}

/// The module's number, for its log level; -1 outside httpd is none.
pub(crate) fn index() -> c_int {
    let record = get();
    if record.is_null() {
        return -1;
    }
    // SAFETY: the module's own record, whose number httpd writes once while it loads it.
    unsafe { (*record).module_index }
}
