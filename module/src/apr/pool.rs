//! Pool memory with a lifetime. Values are plain data: a pool never runs a
//! destructor.

#![expect(unsafe_code, reason = "wraps apr_pool_t")]

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::apr::foreign::Foreign;
use crate::sys;

/// A pool that is not cleared during `'p`.
pub(crate) type AprPool<'p> = Foreign<'p, sys::apr_pool_t>;

impl<'p> AprPool<'p> {
    /// A copy of `bytes` as a C string. Bytes from a NUL on are left out: C
    /// could not see them.
    pub(crate) fn string(self, bytes: &[u8]) -> &'p CStr {
        let nul = bytes.iter().position(|byte| *byte == 0);
        let end = nul.unwrap_or(bytes.len());
        // SAFETY: the pool is alive, and `end` bytes can be read.
        let copy = unsafe { sys::apr_pstrmemdup(self.as_raw(), bytes.as_ptr().cast(), end) };
        // SAFETY: apr_pstrmemdup ends its copy with a NUL, and the copy lives
        // as long as the pool.
        unsafe { CStr::from_ptr(copy) }
    }

    /// Uninitialised room for `len` values.
    fn room<T>(self, len: usize) -> NonNull<T> {
        assert!(align_of::<T>() <= 8, "APR aligns to 8 bytes");
        let size = size_of::<T>().checked_mul(len);
        let size = size.expect("the length comes from this crate");
        // SAFETY: the pool is alive; APR aborts when memory is short.
        let raw = unsafe { sys::apr_palloc(self.as_raw(), size.max(1)) };
        NonNull::new(raw.cast::<T>()).expect("APR aborts when memory is short")
    }

    pub(crate) fn value<T>(self, value: T) -> &'p mut T {
        const { assert!(!std::mem::needs_drop::<T>(), "a pool runs no destructors") };
        let mut room = self.room::<T>(1);
        // SAFETY: the room is fresh, aligned and large enough.
        unsafe { room.write(value) };
        // SAFETY: it was just initialised, is not aliased, and lives for 'p.
        unsafe { room.as_mut() }
    }

    /// The parts joined, in memory of their own.
    pub(crate) fn join<T: Copy>(self, parts: &[&[T]]) -> &'p mut [T] {
        let len = parts.iter().map(|part| part.len()).sum();
        let room = self.room::<T>(len);
        let mut at = 0;
        for part in parts {
            // SAFETY: the room holds all parts.
            let target = unsafe { room.add(at) };
            // SAFETY: likewise.
            unsafe { target.copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len()) };
            at += part.len();
        }
        // SAFETY: all of it was initialised above, is not aliased, and lives for 'p.
        unsafe { std::slice::from_raw_parts_mut(room.as_ptr(), len) }
    }

    /// A copy of `first` followed by `second`.
    pub(crate) fn concat<T: Copy>(self, first: &[T], second: &[T]) -> &'p [T] {
        self.join(&[first, second])
    }

    /// `map(byte)` for each byte of `bytes`, after `prefix`.
    pub(crate) fn mapped(self, prefix: &[u8], bytes: &[u8], map: impl Fn(u8) -> u8) -> &'p [u8] {
        let joined = self.join(&[prefix, bytes]);
        for byte in &mut joined[prefix.len()..] {
            *byte = map(*byte);
        }
        joined
    }

    /// Works with a pool inside this one, which is gone afterwards; without one if memory
    /// is short.
    pub(crate) fn with_temporary<T>(
        self,
        work: impl FnOnce(AprPool<'_>) -> Option<T>,
    ) -> Option<T> {
        let mut raw = ptr::null_mut();
        // SAFETY: the parent is alive; null stands for its own abort function and allocator.
        let status =
            unsafe { sys::apr_pool_create_ex(&raw mut raw, self.as_raw(), None, ptr::null_mut()) };
        if status != 0 {
            return None;
        }
        // SAFETY: alive until it is destroyed below; nothing that `work` returns borrows from it.
        let result = work(unsafe { AprPool::from_raw(raw) });
        // SAFETY: made above.
        unsafe { sys::apr_pool_destroy(raw) };
        result
    }

    /// Keeps `value` until the pool is cleared, by whatever thread.
    pub(crate) fn drop_at_end<T: Send + 'static>(self, value: T) {
        let data = Box::into_raw(Box::new(value)).cast();
        // SAFETY: `dropped` takes the box back, once.
        unsafe { self.on_clear(data, dropped::<T>) };
    }

    /// Has `cleanup` called with `data` when the pool is cleared in this
    /// process; a child that execs does not call it.
    ///
    /// # Safety
    /// `cleanup` may be called with `data` until the pool is cleared.
    pub(crate) unsafe fn on_clear(self, data: *mut c_void, cleanup: sys::Cleanup) {
        // SAFETY: the pool is alive; the caller answers for the rest.
        unsafe {
            sys::apr_pool_cleanup_register(self.as_raw(), data, cleanup, sys::apr_pool_cleanup_null)
        };
    }
}

/// # Safety
/// `data` is a box of a `T` that nobody else owns.
unsafe extern "C" fn dropped<T>(data: *mut c_void) -> sys::apr_status_t {
    // SAFETY: as the caller says.
    drop(unsafe { Box::from_raw(data.cast::<T>()) });
    0
}

/// What a directive gathers: plain values in file order.
pub(crate) struct PoolVec<'p, T> {
    room: NonNull<T>,
    len: usize,
    capacity: usize,
    life: PhantomData<&'p T>,
}

impl<'p, T: Copy> PoolVec<'p, T> {
    pub(crate) const fn new() -> Self {
        Self {
            room: NonNull::dangling(),
            len: 0,
            capacity: 0,
            life: PhantomData,
        }
    }

    pub(crate) fn push(&mut self, pool: AprPool<'p>, value: T) {
        if self.len == self.capacity {
            self.capacity = (self.capacity * 2).max(8);
            let room = pool.room::<T>(self.capacity);
            // SAFETY: the new room is larger than the old one and apart from it.
            unsafe { room.copy_from_nonoverlapping(self.room, self.len) };
            self.room = room;
        }
        // SAFETY: `len` is below the capacity here.
        let target = unsafe { self.room.add(self.len) };
        // SAFETY: as above.
        unsafe { target.write(value) };
        self.len += 1;
    }

    pub(crate) fn as_slice(&self) -> &'p [T] {
        // SAFETY: `len` values were written; they live in the pool and are
        // never changed afterwards (`push` writes behind them).
        unsafe { std::slice::from_raw_parts(self.room.as_ptr(), self.len) }
    }
}
