//! Memory that httpd's parent makes and all its children share. Used by
//! `loads.rs`, `thread_reserve.rs`, `thread_table.rs`, `group_log.rs` and `totals.rs`, which
//! decide what the numbers mean.

#![expect(unsafe_code, reason = "a mapping becomes a slice of atomics")]

use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};

/// Numbers that processes may share.
///
/// # Safety
/// Any bytes are a value of the type, and it may be shared between threads and processes.
pub(crate) unsafe trait Shared: Sync + 'static {}

// SAFETY: an atomic number.
unsafe impl Shared for AtomicU32 {}
// SAFETY: an atomic number.
unsafe impl Shared for AtomicU64 {}
// SAFETY: nothing but its elements.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// Zeros that every process forked from now on shares with this one, as long
/// as any of them lives. `None` if the system refuses.
pub(crate) fn zeros<T: Shared>(count: usize) -> Option<&'static [T]> {
    let bytes = NonZeroUsize::new(count.checked_mul(size_of::<T>())?)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }.ok()?;
    // SAFETY: zeroed bytes for `count` of them, aligned to a page and never unmapped.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<T>().as_ptr(), count) })
}

/// Memory that is in a file of these numbers, at least `count` of them, shared with whoever
/// maps it too. `None` if the system refuses.
pub(crate) fn of_file<T: Shared>(file: BorrowedFd<'_>, count: usize) -> Option<&'static [T]> {
    let bytes = NonZeroUsize::new(count.checked_mul(size_of::<T>())?)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let start = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, file, 0) }.ok()?;
    // SAFETY: bytes for `count` of them, aligned to a page and never unmapped; any bytes are
    // a value of the numbers that are `Shared`.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<T>().as_ptr(), count) })
}

/// Shared memory that the parent has made; children inherit it. Empty where there is none.
pub(crate) struct Inherited<T>(OnceLock<Option<T>>);

impl<T: Copy> Inherited<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Before children are forked.
    pub(crate) fn prepare(&self, make: impl FnOnce() -> Option<T>) {
        self.0.get_or_init(make);
    }

    pub(crate) fn get(&self) -> Option<T> {
        self.0.get().copied().flatten()
    }
}
