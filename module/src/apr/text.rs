//! Texts of C that may be missing. Used by all that reads httpd's structures.

#![expect(unsafe_code, reason = "C strings")]

use std::ffi::{CStr, c_char};

/// # Safety
/// `raw` is null or a C string that lives for `'a`.
pub(crate) unsafe fn optional<'a>(raw: *const c_char) -> Option<&'a CStr> {
    // SAFETY: as the caller says.
    (!raw.is_null()).then(|| unsafe { CStr::from_ptr(raw) })
}

/// # Safety
/// `raw` is null, which is an empty text, or a C string.
pub(crate) unsafe fn owned(raw: *const c_char) -> String {
    // SAFETY: as the caller says.
    let text = unsafe { optional(raw) };
    text.unwrap_or_default().to_string_lossy().into_owned()
}
