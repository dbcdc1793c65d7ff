//! A descriptor that a worker sent, as an APR file that its pool closes.

#![expect(unsafe_code, reason = "wraps apr_file_t")]

use std::ffi::c_int;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::apr::pool::AprPool;
use crate::sys;

/// A file in a pool.
pub(crate) struct PoolFile<'p> {
    raw: *mut sys::apr_file_t,
    life: PhantomData<&'p sys::apr_file_t>,
}

impl<'p> PoolFile<'p> {
    /// Puts a duplicate of `fd` into the pool and closes `fd`. APR closes no
    /// descriptor that was put into it; it does close its own duplicate, and
    /// can hand it to another pool when a filter sets the bucket aside.
    pub(crate) fn adopt(fd: OwnedFd, sendfile: bool, pool: AprPool<'p>) -> Result<Self, c_int> {
        let flag = if sendfile {
            sys::APR_FOPEN_SENDFILE_ENABLED
        } else {
            0
        };
        let flags = sys::APR_FOPEN_READ | sys::APR_FOPEN_BINARY | flag;
        let mut number = fd.as_raw_fd();
        let mut foreign = std::ptr::null_mut();
        // SAFETY: the descriptor is open; the pool is alive.
        let status = unsafe {
            sys::apr_os_file_put(&raw mut foreign, &raw mut number, flags, pool.as_raw())
        };
        if status != 0 {
            return Err(status);
        }
        let mut raw = std::ptr::null_mut();
        // SAFETY: `foreign` was made just now.
        match unsafe { sys::apr_file_dup(&raw mut raw, foreign, pool.as_raw()) } {
            0 => Ok(Self {
                raw,
                life: PhantomData,
            }),
            status => Err(status),
        }
    }

    pub(crate) fn as_raw(&self) -> *mut sys::apr_file_t {
        self.raw
    }
}
