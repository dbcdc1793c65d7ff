//! A table of strings in a request's pool: headers, environment, notes.

#![expect(unsafe_code, reason = "wraps apr_table_t")]

use std::ffi::CStr;

use crate::apr::foreign::Foreign;
use crate::apr::pool::AprPool;
use crate::apr::text::optional;
use crate::sys;

/// A table whose pool is not cleared during `'r`.
pub(crate) type Table<'r> = Foreign<'r, sys::apr_table_t>;

impl<'r> Table<'r> {
    pub(crate) fn new(pool: AprPool<'r>) -> Self {
        // SAFETY: the pool lives for 'r.
        let raw = unsafe { sys::apr_table_make(pool.as_raw(), 8) };
        // SAFETY: made in a pool that lives for 'r.
        unsafe { Self::from_raw(raw) }
    }

    /// The first value of `key`; names are compared without case.
    pub(crate) fn get(self, key: &CStr) -> Option<&'r CStr> {
        // SAFETY: both are alive.
        let value = unsafe { sys::apr_table_get(self.as_raw(), key.as_ptr()) };
        // SAFETY: null, or a C string that lives as long as the table's pool.
        unsafe { optional(value) }
    }

    /// All rows in order. The table must not be changed meanwhile.
    pub(crate) fn rows(self) -> impl Iterator<Item = (&'r CStr, &'r CStr)> {
        // SAFETY: the table is alive.
        let array = unsafe { sys::apr_table_elts(self.as_raw()) };
        // SAFETY: the table's own array of entries, which only this thread changes.
        let rows: &'r [sys::apr_table_entry_t] = unsafe { elements(array) };
        rows.iter().filter_map(|row| {
            // SAFETY: null, or a C string in the pool.
            let key = unsafe { optional(row.key) }?;
            // SAFETY: likewise.
            let value = unsafe { optional(row.val) }?;
            Some((key, value))
        })
    }

    /// Replaces all rows of `key` by one.
    pub(crate) fn set(self, key: &'r CStr, value: &'r CStr) {
        // SAFETY: the strings live as long as the table, which stores pointers.
        unsafe { sys::apr_table_setn(self.as_raw(), key.as_ptr(), value.as_ptr()) };
    }

    pub(crate) fn add(self, key: &'r CStr, value: &'r CStr) {
        // SAFETY: the strings live as long as the table, which stores pointers.
        unsafe { sys::apr_table_addn(self.as_raw(), key.as_ptr(), value.as_ptr()) };
    }

    pub(crate) fn unset(self, key: &CStr) {
        // SAFETY: both are alive.
        unsafe { sys::apr_table_unset(self.as_raw(), key.as_ptr()) };
    }
}

/// The elements of an array.
///
/// # Safety
/// `array` is null, or one of `T` that is alive and not changed during `'a`.
pub(crate) unsafe fn elements<'a, T>(array: *const sys::apr_array_header_t) -> &'a [T] {
    // SAFETY: as the caller says.
    match unsafe { array.as_ref() } {
        // SAFETY: `nelts` elements lie at `elts`.
        Some(array) if array.nelts > 0 => unsafe {
            std::slice::from_raw_parts(array.elts.cast(), array.nelts.unsigned_abs() as usize)
        },
        _ => &[],
    }
}
