//! A table of strings in a request's pool: headers, environment, notes.

#![expect(unsafe_code, reason = "wraps apr_table_t")]

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::apr::pool::AprPool;
use crate::sys;

/// A table that lives for `'r`.
#[derive(Clone, Copy)]
pub(crate) struct Table<'r> {
    raw: NonNull<sys::apr_table_t>,
    life: PhantomData<&'r sys::apr_table_t>,
}

impl<'r> Table<'r> {
    /// # Safety
    /// `raw` is a table whose pool is not cleared during `'r`, used by this
    /// thread alone.
    pub(crate) unsafe fn from_raw(raw: *mut sys::apr_table_t) -> Self {
        Self {
            raw: NonNull::new(raw).expect("a request's tables are never null"),
            life: PhantomData,
        }
    }

    pub(crate) fn new(pool: AprPool<'r>) -> Self {
        // SAFETY: the pool lives for 'r.
        let raw = unsafe { sys::apr_table_make(pool.as_raw(), 8) };
        // SAFETY: made in a pool that lives for 'r.
        unsafe { Self::from_raw(raw) }
    }

    pub(crate) fn as_raw(self) -> *mut sys::apr_table_t {
        self.raw.as_ptr()
    }

    /// The first value of `key`; names are compared without case.
    pub(crate) fn get(self, key: &CStr) -> Option<&'r CStr> {
        // SAFETY: both are alive.
        let value = unsafe { sys::apr_table_get(self.raw.as_ptr(), key.as_ptr()) };
        // SAFETY: a table's values are C strings that live as long as its pool.
        (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
    }

    /// All rows in order. The table must not be changed meanwhile.
    pub(crate) fn rows(self) -> impl Iterator<Item = (&'r CStr, &'r CStr)> {
        // SAFETY: the table is alive.
        let array = unsafe { sys::apr_table_elts(self.raw.as_ptr()) };
        // SAFETY: the table's own array, alive as long as it.
        let array = unsafe { &*array };
        let rows: &'r [sys::apr_table_entry_t] = if array.nelts > 0 {
            // SAFETY: `nelts` entries lie at `elts`; only this thread changes the table.
            unsafe {
                std::slice::from_raw_parts(array.elts.cast(), array.nelts.unsigned_abs() as usize)
            }
        } else {
            &[]
        };
        rows.iter()
            .filter(|row| !row.key.is_null() && !row.val.is_null())
            .map(|row| {
                // SAFETY: keys are C strings in the pool.
                let key = unsafe { CStr::from_ptr(row.key) };
                // SAFETY: values are C strings in the pool.
                let value = unsafe { CStr::from_ptr(row.val) };
                (key, value)
            })
    }

    /// Replaces all rows of `key` by one.
    pub(crate) fn set(self, key: &'r CStr, value: &'r CStr) {
        // SAFETY: the strings live as long as the table, which stores pointers.
        unsafe { sys::apr_table_setn(self.raw.as_ptr(), key.as_ptr(), value.as_ptr()) };
    }

    /// Adds a row.
    pub(crate) fn add(self, key: &'r CStr, value: &'r CStr) {
        // SAFETY: the strings live as long as the table, which stores pointers.
        unsafe { sys::apr_table_addn(self.raw.as_ptr(), key.as_ptr(), value.as_ptr()) };
    }

    /// Removes all rows of `key`.
    pub(crate) fn unset(self, key: &CStr) {
        // SAFETY: both are alive.
        unsafe { sys::apr_table_unset(self.raw.as_ptr(), key.as_ptr()) };
    }
}
