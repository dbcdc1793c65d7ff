//! Memory that httpd's parent makes and all its children share. Used by
//! `loads.rs` and `crowd.rs`, which decide what the numbers mean.

#![expect(unsafe_code, reason = "a mapping becomes a slice of atomics")]

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU32;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// Zeros that every process forked from now on shares with this one, as long
/// as any of them lives. `None` if the system refuses.
pub(crate) fn zeros(count: usize) -> Option<&'static [AtomicU32]> {
    let bytes = NonZeroUsize::new(count.checked_mul(size_of::<AtomicU32>())?)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice.
    let start = unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) }.ok()?;
    // SAFETY: `bytes` zeroed bytes, aligned to a page and never unmapped; atomics
    // may be shared between threads and processes, and zero is one of their values.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU32>().as_ptr(), count) })
}
