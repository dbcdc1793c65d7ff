//! A structure of httpd's or APR's that is alive for a lifetime. The safe faces of pools,
//! tables, servers and requests are this type, each with methods of its own.

#![expect(unsafe_code, reason = "wraps pointers of C")]

use std::marker::PhantomData;
use std::ptr::NonNull;

/// A pointer to a `T` that lives for `'a`.
pub(crate) struct Foreign<'a, T> {
    raw: NonNull<T>,
    life: PhantomData<&'a T>,
}

impl<T> Clone for Foreign<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Foreign<'_, T> {}

impl<T> Foreign<'_, T> {
    /// # Safety
    /// `raw` is null or alive during the lifetime, in which this thread alone uses it.
    pub(crate) unsafe fn optional(raw: *mut T) -> Option<Self> {
        let life = PhantomData;
        NonNull::new(raw).map(|raw| Self { raw, life })
    }

    /// # Safety
    /// As for [`Self::optional`].
    ///
    /// # Panics
    /// If `raw` is null, which httpd and APR do not pass.
    pub(crate) unsafe fn from_raw(raw: *mut T) -> Self {
        // SAFETY: as the caller says.
        unsafe { Self::optional(raw) }.expect("httpd and APR pass no null here")
    }

    pub(crate) fn as_raw(self) -> *mut T {
        self.raw.as_ptr()
    }
}
