//! Memory that httpd's parent makes and all its children share. Used by
//! `loads.rs`, `thread_reserve.rs`, `thread_table.rs` and `group_log.rs`, which decide what the
//! numbers mean.

#![expect(unsafe_code, reason = "a mapping becomes a slice of atomics")]

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// Zeros that every process forked from now on shares with this one, as long
/// as any of them lives. `None` if the system refuses.
pub(crate) fn zeros(count: usize) -> Option<&'static [AtomicU32]> {
    let start = map(count.checked_mul(size_of::<AtomicU32>())?)?;
    // SAFETY: zeroed bytes for `count` of them, aligned to a page and never unmapped;
    // atomics may be shared between threads and processes, and zero is one of their
    // values.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU32>().as_ptr(), count) })
}

/// The same, of 64 bits each.
pub(crate) fn wide_zeros(count: usize) -> Option<&'static [AtomicU64]> {
    let start = map(count.checked_mul(size_of::<AtomicU64>())?)?;
    // SAFETY: as in `zeros`.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>().as_ptr(), count) })
}

/// So many zeroed bytes that are never unmapped.
fn map(bytes: usize) -> Option<NonNull<c_void>> {
    let bytes = NonZeroUsize::new(bytes)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }.ok()
}
