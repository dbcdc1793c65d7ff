//! Brigades: what a request's body arrives in and a response leaves in. The
//! ring arithmetic that the headers do in macros is here.

#![expect(unsafe_code, reason = "wraps apr_bucket_brigade")]

use std::ffi::c_int;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;

use crate::apr::file::PoolFile;
use crate::apr::pool::AprPool;
use crate::sys;

/// A brigade in a request's pool.
pub(crate) struct Brigade<'r> {
    raw: NonNull<sys::apr_bucket_brigade>,
    pool: AprPool<'r>,
    life: PhantomData<&'r sys::apr_bucket_brigade>,
}

/// What one bucket of a request body holds.
pub(crate) enum Piece<'b> {
    /// Bytes; valid until the brigade is emptied.
    Data(&'b [u8]),
    /// The end of the body.
    End,
    /// Nothing that matters here.
    Other,
}

impl<'r> Brigade<'r> {
    /// # Safety
    /// `list` is the allocator of the connection the pool's request is on.
    pub(crate) unsafe fn new(pool: AprPool<'r>, list: *mut sys::apr_bucket_alloc_t) -> Self {
        // SAFETY: both are alive for 'r.
        let raw = unsafe { sys::apr_brigade_create(pool.as_raw(), list) };
        let raw = NonNull::new(raw).expect("APR aborts when memory is short");
        Self {
            raw,
            pool,
            life: PhantomData,
        }
    }

    pub(crate) fn as_raw(&mut self) -> *mut sys::apr_bucket_brigade {
        self.raw.as_ptr()
    }

    fn list(&self) -> *mut sys::apr_bucket_alloc_t {
        // SAFETY: the brigade is alive.
        unsafe { (*self.raw.as_ptr()).bucket_alloc }
    }

    /// The address that ends the ring: the link is a bucket's first member, so
    /// the head counts as a bucket.
    fn sentinel(&self) -> *mut sys::apr_bucket {
        // SAFETY: the brigade is alive; only an address is computed.
        unsafe { (&raw mut (*self.raw.as_ptr()).list).cast() }
    }

    fn append(&mut self, bucket: *mut sys::apr_bucket) {
        let sentinel = self.sentinel();
        // SAFETY: the sentinel's link is the brigade's list head.
        let last = unsafe { (*sentinel).link.prev };
        // SAFETY: `bucket` is fresh, in no ring.
        unsafe {
            (*bucket).link = sys::ring_link {
                next: sentinel,
                prev: last,
            }
        };
        // SAFETY: `last` is a bucket of this brigade, or the sentinel.
        unsafe { (*last).link.next = bucket };
        // SAFETY: as the first.
        unsafe { (*sentinel).link.prev = bucket };
    }

    /// Appends bytes that stay where they are only until the brigade is passed
    /// on or emptied; whoever keeps them longer copies them.
    ///
    /// # Safety
    /// The brigade is passed on or emptied before the bytes go away.
    pub(crate) unsafe fn append_borrowed(&mut self, bytes: &[u8]) {
        let list = self.list();
        // SAFETY: the bytes are readable; the caller answers for how long.
        let bucket =
            unsafe { sys::apr_bucket_transient_create(bytes.as_ptr().cast(), bytes.len(), list) };
        self.append(bucket);
    }

    /// Appends a copy of bytes.
    pub(crate) fn append_copy(&mut self, bytes: &[u8]) {
        let list = self.list();
        // SAFETY: the bytes are readable; without a function to free them APR
        // copies them.
        let bucket =
            unsafe { sys::apr_bucket_heap_create(bytes.as_ptr().cast(), bytes.len(), None, list) };
        self.append(bucket);
    }

    /// Appends the end of the response.
    pub(crate) fn append_eos(&mut self) {
        let list = self.list();
        // SAFETY: the allocator is alive.
        let bucket = unsafe { sys::apr_bucket_eos_create(list) };
        self.append(bucket);
    }

    /// Appends the wish that everything so far leaves now.
    pub(crate) fn append_flush(&mut self) {
        let list = self.list();
        // SAFETY: the allocator is alive.
        let bucket = unsafe { sys::apr_bucket_flush_create(list) };
        self.append(bucket);
    }

    /// Appends an error bucket: with 502 the chunk filter leaves out the last
    /// chunk and the connection is closed.
    pub(crate) fn append_error(&mut self, status: c_int) {
        let list = self.list();
        let pool = self.pool.as_raw();
        // SAFETY: pool and allocator are alive; no text is given.
        let bucket = unsafe { sys::ap_bucket_error_create(status, std::ptr::null(), pool, list) };
        self.append(bucket);
    }

    /// Appends the end of the connection.
    pub(crate) fn append_eoc(&mut self) {
        let list = self.list();
        // SAFETY: the allocator is alive.
        let bucket = unsafe { sys::ap_bucket_eoc_create(list) };
        self.append(bucket);
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
        let file = PoolFile::adopt(fd, sendfile, self.pool)?;
        // SAFETY: file, brigade and pool are alive; the bucket is appended by APR.
        let bucket = unsafe {
            sys::apr_brigade_insert_file(
                self.raw.as_ptr(),
                file.as_raw(),
                offset,
                len,
                self.pool.as_raw(),
            )
        };
        // SAFETY: the call above made a file bucket.
        unsafe { sys::apr_bucket_file_enable_mmap(bucket, 0) };
        Ok(())
    }

    /// Empties the brigade.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the brigade is alive; its buckets are destroyed.
        unsafe { sys::apr_brigade_cleanup(self.raw.as_ptr().cast()) };
    }

    /// Shows every bucket to `see`, in order; reading one may block.
    pub(crate) fn for_each(&mut self, mut see: impl FnMut(Piece<'_>)) -> Result<(), c_int> {
        let sentinel = self.sentinel();
        // SAFETY: the sentinel's link is the brigade's list head.
        let mut bucket = unsafe { (*sentinel).link.next };
        while bucket != sentinel {
            self.see_one(bucket, &mut see)?;
            // SAFETY: still a bucket of this brigade; reading may have put new
            // ones behind it.
            bucket = unsafe { (*bucket).link.next };
        }
        Ok(())
    }

    fn see_one(
        &mut self,
        bucket: *mut sys::apr_bucket,
        see: &mut impl FnMut(Piece<'_>),
    ) -> Result<(), c_int> {
        // SAFETY: a bucket of this brigade has a type for its whole life.
        let kind = unsafe { (*bucket).kind };
        // SAFETY: a bucket's type is a constant of the library that made it.
        let kind = unsafe { &*kind };
        if std::ptr::eq(kind, &raw const sys::apr_bucket_type_eos) {
            see(Piece::End);
            return Ok(());
        }
        let (Some(read), 0) = (kind.read, kind.is_metadata) else {
            see(Piece::Other);
            return Ok(());
        };
        let mut bytes = std::ptr::null();
        let mut len = 0;
        // SAFETY: the vtable's own function, given one of its buckets.
        let status = unsafe { read(bucket, &raw mut bytes, &raw mut len, sys::APR_BLOCK_READ) };
        if status != 0 {
            return Err(status);
        }
        if len > 0 {
            // SAFETY: the read says that `len` bytes are there until the bucket goes.
            see(Piece::Data(unsafe {
                std::slice::from_raw_parts(bytes.cast::<u8>(), len)
            }));
        }
        Ok(())
    }
}

/// A brigade that httpd passed to a filter, to be taken apart.
pub(crate) struct IncomingBrigade<'b> {
    raw: *mut sys::apr_bucket_brigade,
    life: PhantomData<&'b mut sys::apr_bucket_brigade>,
}

impl IncomingBrigade<'_> {
    /// # Safety
    /// `raw` is a brigade that is alive while this is, and nobody else's.
    pub(crate) unsafe fn new(raw: *mut sys::apr_bucket_brigade) -> Self {
        Self {
            raw,
            life: PhantomData,
        }
    }

    fn first(&self) -> Option<*mut sys::apr_bucket> {
        // SAFETY: the brigade is alive; only an address is computed.
        let sentinel: *mut sys::apr_bucket = unsafe { &raw mut (*self.raw).list }.cast();
        // SAFETY: the sentinel's link is the brigade's list head.
        let first = unsafe { (*sentinel).link.next };
        (first != sentinel).then_some(first)
    }

    /// `None` at the end. A file that comes first becomes bytes, so many, with the
    /// rest of it behind; the error is that it has none, or cannot be read.
    pub(crate) fn read_if_file(&mut self) -> Option<Result<usize, c_int>> {
        let bucket = self.first()?;
        // SAFETY: a bucket of this brigade.
        let kind = unsafe { (*bucket).kind };
        if !std::ptr::eq(kind, &raw const sys::apr_bucket_type_file) {
            return Some(Ok(0));
        }
        // SAFETY: a bucket's type is a constant of the library that made it.
        let Some(read) = (unsafe { (*kind).read }) else {
            return Some(Ok(0));
        };
        let mut bytes = std::ptr::null();
        let mut len = 0;
        // SAFETY: the vtable's own function, given one of its buckets.
        let status = unsafe { read(bucket, &raw mut bytes, &raw mut len, sys::APR_BLOCK_READ) };
        Some(if status == 0 && len > 0 {
            Ok(len)
        } else {
            Err(status)
        })
    }

    /// Moves the first bucket to the end of another brigade.
    pub(crate) fn move_first(&mut self, to: &mut Brigade<'_>) {
        let Some(bucket) = self.first() else { return };
        // SAFETY: a bucket of this brigade.
        let next = unsafe { (*bucket).link.next };
        // SAFETY: likewise.
        let prev = unsafe { (*bucket).link.prev };
        // SAFETY: its neighbours, or the sentinel.
        unsafe { (*prev).link.next = next };
        // SAFETY: as above.
        unsafe { (*next).link.prev = prev };
        to.append(bucket);
    }

    /// Empties it.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the brigade is alive; its buckets are destroyed.
        unsafe { sys::apr_brigade_cleanup(self.raw.cast()) };
    }
}

impl Drop for Brigade<'_> {
    fn drop(&mut self) {
        // SAFETY: made by apr_brigade_create and not destroyed before; this
        // also takes its cleanup off the pool.
        unsafe { sys::apr_brigade_destroy(self.raw.as_ptr()) };
    }
}
