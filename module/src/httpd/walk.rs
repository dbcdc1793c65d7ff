//! The walk from the root to a file, which finds the sections and `.htaccess`
//! files in force: httpd's own, run from `mapping.rs` with the part of the path
//! behind the file set aside. With that part on the path httpd's first look
//! fails, and it looks at every directory on the way in every request.

#![expect(unsafe_code, reason = "fills a request's facts about its file")]

use std::ffi::CStr;

use crate::httpd::request::Request;
use crate::sys;

/// Looks at the request's file; the walk will not look again. Whether there is
/// one, and it is an ordinary file.
pub(crate) fn look(r: Request<'_>) -> bool {
    // SAFETY: the request is alive, and this thread alone serves it.
    let record = unsafe { &mut *r.as_raw() };
    // SAFETY: the facts are the request's own; name and pool live as long.
    let status = unsafe {
        sys::apr_stat(
            &raw mut record.finfo,
            record.filename,
            sys::APR_FINFO_MIN,
            record.pool,
        )
    };
    let is_file = status == 0 && record.finfo.filetype == sys::APR_REG;
    if !is_file {
        record.finfo.filetype = sys::APR_NOFILE;
    }
    is_file
}

/// Does what httpd's own map_to_storage hook does, and then puts `path_info`
/// where that finds nothing.
pub(crate) fn walk<'r>(r: Request<'r>, path_info: &'r CStr) -> i32 {
    // SAFETY: the request is alive.
    let mut status = unsafe { sys::ap_directory_walk(r.as_raw()) };
    if status == sys::OK {
        // SAFETY: likewise.
        status = unsafe { sys::ap_file_walk(r.as_raw()) };
    }
    if status == sys::OK {
        r.edit(|r| r.path_info = path_info.as_ptr().cast_mut());
    }
    status
}
