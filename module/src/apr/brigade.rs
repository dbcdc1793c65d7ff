//! Brigades: what a request's body arrives in and a response leaves in. The
//! ring arithmetic that the headers do in macros is here.

#![expect(unsafe_code, reason = "wraps apr_bucket_brigade")]

use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use crate::apr::foreign::Foreign;
use crate::apr::outcome;
use crate::apr::pool::AprPool;
use crate::sys;

/// A brigade of this module, in a request's pool.
pub(crate) struct Brigade<'r> {
    ring: PassedBrigade<'r>,
    pool: AprPool<'r>,
}

/// A brigade that httpd passed to a filter, to be taken apart.
pub(crate) type PassedBrigade<'b> = Foreign<'b, sys::apr_bucket_brigade>;

impl<'r> Brigade<'r> {
    /// # Safety
    /// `list` is the allocator of the connection the pool's request is on.
    pub(crate) unsafe fn new(pool: AprPool<'r>, list: *mut sys::apr_bucket_alloc_t) -> Self {
        // SAFETY: both are alive for 'r.
        let raw = unsafe { sys::apr_brigade_create(pool.as_raw(), list) };
        // SAFETY: made in a pool that lives for 'r.
        let ring = unsafe { Foreign::from_raw(raw) };
        Self { ring, pool }
    }

    /// For a filter, which takes it apart.
    pub(crate) fn passed(&mut self) -> PassedBrigade<'_> {
        self.ring
    }

    pub(crate) fn as_raw(&mut self) -> *mut sys::apr_bucket_brigade {
        self.ring.as_raw()
    }

    fn list(&self) -> *mut sys::apr_bucket_alloc_t {
        // SAFETY: the brigade is alive.
        unsafe { (*self.ring.as_raw()).bucket_alloc }
    }

    /// Appends bytes that stay where they are only until the brigade is passed
    /// on or emptied; whoever keeps them longer copies them.
    ///
    /// # Safety
    /// The brigade is passed on or emptied before the bytes go away.
    pub(crate) unsafe fn append_borrowed(&mut self, bytes: &[u8]) {
        let start = bytes.as_ptr().cast();
        // SAFETY: the bytes are readable; the caller answers for how long.
        self.ring
            .append(unsafe { sys::apr_bucket_transient_create(start, bytes.len(), self.list()) });
    }

    pub(crate) fn append_copy(&mut self, bytes: &[u8]) {
        let start = bytes.as_ptr().cast();
        // SAFETY: the bytes are readable; without a function to free them APR
        // copies them.
        self.ring
            .append(unsafe { sys::apr_bucket_heap_create(start, bytes.len(), None, self.list()) });
    }

    pub(crate) fn append_eos(&mut self) {
        // SAFETY: the allocator is alive.
        self.ring
            .append(unsafe { sys::apr_bucket_eos_create(self.list()) });
    }

    /// Appends the wish that everything so far leaves now.
    pub(crate) fn append_flush(&mut self) {
        // SAFETY: the allocator is alive.
        self.ring
            .append(unsafe { sys::apr_bucket_flush_create(self.list()) });
    }

    /// Appends an error bucket: with 502 the chunk filter leaves out the last
    /// chunk and the connection is closed.
    pub(crate) fn append_error(&mut self, status: c_int) {
        let pool = self.pool.as_raw();
        // SAFETY: pool and allocator are alive; no text is given.
        self.ring
            .append(unsafe { sys::ap_bucket_error_create(status, ptr::null(), pool, self.list()) });
    }

    pub(crate) fn append_eoc(&mut self) {
        // SAFETY: the allocator is alive.
        self.ring
            .append(unsafe { sys::ap_bucket_eoc_create(self.list()) });
    }

    /// Appends part of a file. mmap is off: the file belongs to a site, which
    /// may cut it short while it is being sent.
    pub(crate) fn append_file(
        &mut self,
        fd: OwnedFd,
        offset: i64,
        len: i64,
        sendfile: bool,
    ) -> Result<(), c_int> {
        let file = file_in_pool(fd, sendfile, self.pool)?;
        let pool = self.pool.as_raw();
        // SAFETY: file, brigade and pool are alive; the bucket is appended by APR.
        let bucket =
            unsafe { sys::apr_brigade_insert_file(self.as_raw(), file, offset, len, pool) };
        // SAFETY: the call above made a file bucket.
        unsafe { sys::apr_bucket_file_enable_mmap(bucket, 0) };
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.ring.clear();
    }

    /// Shows the bytes of a request's body to `see`, in order; whether the end of the body
    /// came. Reading a bucket may block.
    pub(crate) fn read_all(&mut self, mut see: impl FnMut(&[u8])) -> Result<bool, c_int> {
        for bucket in self.ring.buckets() {
            // SAFETY: a bucket of this brigade.
            let kind = unsafe { kind_of(bucket) };
            if ptr::eq(kind, &raw const sys::apr_bucket_type_eos) {
                return Ok(true);
            }
            if kind.is_metadata == 0 {
                // SAFETY: a bucket of this brigade, which is not changed while `see` looks.
                see(unsafe { read(bucket, kind) }?);
            }
        }
        Ok(false)
    }
}

impl Drop for Brigade<'_> {
    fn drop(&mut self) {
        // SAFETY: made by apr_brigade_create and not destroyed before; this
        // also takes its cleanup off the pool.
        unsafe { sys::apr_brigade_destroy(self.as_raw()) };
    }
}

impl PassedBrigade<'_> {
    /// The address that ends the ring: the link is a bucket's first member, so
    /// the head counts as a bucket.
    fn sentinel(self) -> *mut sys::apr_bucket {
        // SAFETY: the brigade is alive; only an address is computed.
        unsafe { (&raw mut (*self.as_raw()).list).cast() }
    }

    /// Its buckets in order. Each is looked for when it is asked for: reading a bucket may
    /// put new ones behind it.
    fn buckets(self) -> impl Iterator<Item = *mut sys::apr_bucket> {
        let sentinel = self.sentinel();
        let mut bucket = sentinel;
        std::iter::from_fn(move || {
            // SAFETY: the head, or a bucket of this brigade.
            bucket = unsafe { (*bucket).link.next };
            (bucket != sentinel).then_some(bucket)
        })
    }

    fn append(self, bucket: *mut sys::apr_bucket) {
        let next = self.sentinel();
        // SAFETY: the sentinel's link is the brigade's list head.
        let prev = unsafe { (*next).link.prev };
        // SAFETY: `bucket` is fresh, in no ring.
        unsafe { (*bucket).link = sys::ring_link { next, prev } };
        // SAFETY: `prev` is a bucket of this brigade, or the sentinel.
        unsafe { (*prev).link.next = bucket };
        // SAFETY: as the first.
        unsafe { (*next).link.prev = bucket };
    }

    pub(crate) fn clear(self) {
        // SAFETY: the brigade is alive; its buckets are destroyed.
        unsafe { sys::apr_brigade_cleanup(self.as_raw().cast()) };
    }

    pub(crate) fn error_status(self) -> Option<c_int> {
        let bucket = self.buckets().find(|bucket| {
            // SAFETY: a bucket of this brigade.
            let kind = unsafe { kind_of(*bucket) };
            ptr::eq(kind, &raw const sys::ap_bucket_type_error)
        })?;
        // SAFETY: a bucket of this brigade.
        let data = unsafe { (*bucket).data };
        // SAFETY: the data of an error bucket.
        Some(unsafe { (*data.cast::<sys::ap_bucket_error>()).status })
    }

    /// `None` at the end. A file that comes first becomes bytes, so many, with the
    /// rest of it behind; the error is that it has none, or cannot be read.
    pub(crate) fn read_if_file(self) -> Option<Result<usize, c_int>> {
        let bucket = self.buckets().next()?;
        // SAFETY: a bucket of this brigade.
        let kind = unsafe { kind_of(bucket) };
        if !ptr::eq(kind, &raw const sys::apr_bucket_type_file) {
            return Some(Ok(0));
        }
        // SAFETY: likewise.
        Some(match unsafe { read(bucket, kind) } {
            Ok([]) => Err(0),
            read => read.map(<[u8]>::len),
        })
    }

    /// Moves the first bucket to the end of another brigade.
    pub(crate) fn move_first(self, to: &mut Brigade<'_>) {
        let Some(bucket) = self.buckets().next() else {
            return;
        };
        // SAFETY: a bucket of this brigade.
        let next = unsafe { (*bucket).link.next };
        let head = self.sentinel();
        // SAFETY: the bucket was the first, between the sentinel and its neighbour.
        unsafe { (*head).link.next = next };
        // SAFETY: as above.
        unsafe { (*next).link.prev = head };
        to.ring.append(bucket);
    }
}

/// # Safety
/// A bucket that is alive.
unsafe fn kind_of(bucket: *mut sys::apr_bucket) -> &'static sys::apr_bucket_type_t {
    // SAFETY: a bucket has a type for its whole life.
    let kind = unsafe { (*bucket).kind };
    // SAFETY: a type is a constant of the library that made the bucket.
    unsafe { &*kind }
}

/// Reads a bucket of this type; may block.
///
/// # Safety
/// A bucket that is alive during `'b`, and not changed then.
unsafe fn read<'b>(
    bucket: *mut sys::apr_bucket,
    kind: &sys::apr_bucket_type_t,
) -> Result<&'b [u8], c_int> {
    let Some(read) = kind.read else {
        return Ok(&[]);
    };
    let mut bytes = ptr::null();
    let mut len = 0;
    // SAFETY: the type's own function, given one of its buckets.
    outcome(unsafe { read(bucket, &raw mut bytes, &raw mut len, sys::APR_BLOCK_READ) })?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: the read says that `len` bytes are there until the bucket goes.
    Ok(unsafe { std::slice::from_raw_parts(bytes.cast(), len) })
}

/// Puts a duplicate of `fd` into the pool and closes `fd`. APR closes no
/// descriptor that was put into it; it does close its own duplicate, and
/// can hand it to another pool when a filter sets the bucket aside.
fn file_in_pool(
    fd: OwnedFd,
    sendfile: bool,
    pool: AprPool<'_>,
) -> Result<*mut sys::apr_file_t, c_int> {
    let mut flags = sys::APR_FOPEN_READ | sys::APR_FOPEN_BINARY;
    if sendfile {
        flags |= sys::APR_FOPEN_SENDFILE_ENABLED;
    }
    let pool = pool.as_raw();
    let mut number = fd.as_raw_fd();
    let mut foreign = ptr::null_mut();
    // SAFETY: the descriptor is open; the pool is alive.
    outcome(unsafe { sys::apr_os_file_put(&raw mut foreign, &raw mut number, flags, pool) })?;
    let mut file = ptr::null_mut();
    // SAFETY: `foreign` was made just now.
    outcome(unsafe { sys::apr_file_dup(&raw mut file, foreign, pool) })?;
    Ok(file)
}
