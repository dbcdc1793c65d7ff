//! The error log of a request or of the server. The module's own lines begin as
//! `log_ids.rs` says: nobody else puts an id in front of a message.

#![expect(unsafe_code, reason = "wraps ap_log_*error_")]

use std::ffi::{CString, c_char, c_int};
use std::fmt::Display;

use wsgid_protocol::text::cut;

use crate::httpd::record;
use crate::httpd::request::Request;
use crate::log_ids::LogLine;
use crate::sys;

/// A level that a worker named; what httpd does not have becomes ERR, and
/// nothing a site says is above CRIT.
fn claimed(code: u16) -> c_int {
    let level = c_int::from(code);
    if level > sys::APLOG_TRACE8 {
        sys::APLOG_ERR
    } else {
        level.max(sys::APLOG_CRIT)
    }
}

const FORMAT: *const c_char = c"%s".as_ptr();
const FILE: *const c_char = c"mod_wsgid".as_ptr();

fn text(message: &str) -> CString {
    CString::new(message.replace('\0', "\\0")).unwrap_or_default()
}

/// Whether a record of a worker's with this level is written at all.
pub(crate) fn is_written(r: Request<'_>, code: u16) -> bool {
    is_logged(r, claimed(code))
}

fn is_logged(r: Request<'_>, level: c_int) -> bool {
    // SAFETY: the request is alive.
    let logged = unsafe { sys::ap_get_request_module_loglevel(r.as_raw(), record::index()) };
    level <= sys::APLOG_NOTICE || logged >= level
}

/// Writes to the error log of the request's virtual host. The message is made
/// only if the level is logged.
pub(crate) fn request<M: Display>(r: Request<'_>, line: LogLine, message: impl FnOnce() -> M) {
    write(r, line.level(), || format!("{line}{}", message()));
}

fn write(r: Request<'_>, level: c_int, message: impl FnOnce() -> String) {
    if is_logged(r, level) {
        let index = record::index();
        let text = text(&message());
        let r = r.as_raw();
        // SAFETY: the format takes one C string; the request is alive.
        unsafe { sys::ap_log_rerror_(FILE, 0, index, level, 0, r, FORMAT, text.as_ptr()) };
    }
}

/// httpd cuts a record at 8 KiB, what it puts in front included.
const RECORD_MAX: usize = 7 * 1024;

/// What a worker logs for a request: `wsgi.errors`, tracebacks.
pub(crate) fn from_worker(r: Request<'_>, code: u16, bytes: &[u8]) {
    for line in lines(bytes) {
        let text = String::from_utf8_lossy(line);
        let mut rest = text.as_ref();
        while !rest.is_empty() {
            let record = cut(rest, RECORD_MAX);
            write(r, claimed(code), || record.to_owned());
            rest = rest.split_at(record.len()).1;
        }
    }
}

/// The lines of a record; empty ones are not written.
pub(crate) fn lines(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = record.split(|byte| *byte == b'\n');
    lines.filter(|line| !line.is_empty())
}

/// The LogLevel of this module in the main server, as httpd counts.
pub(crate) fn level_of_main() -> Option<u8> {
    // SAFETY: a pointer that httpd sets before any module runs, or null.
    let main = unsafe { sys::ap_server_conf };
    if main.is_null() {
        return None;
    }
    // SAFETY: the main server lives as long as the configuration.
    let level = unsafe { sys::ap_get_server_module_loglevel(main, record::index()) };
    u8::try_from(level).ok()
}

/// Writes to the main server's error log.
pub(crate) fn server<M: Display>(line: LogLine, message: impl FnOnce() -> M) {
    let index = record::index();
    let level = line.level();
    let logged = level_of_main().map_or(sys::APLOG_WARNING, c_int::from);
    if level <= sys::APLOG_NOTICE || logged >= level {
        // SAFETY: a pointer that httpd sets before any module runs, or null.
        let main = unsafe { sys::ap_server_conf };
        let text = text(&format!("{line}{}", message()));
        // SAFETY: the format takes one C string; a null server means stderr.
        unsafe { sys::ap_log_error_(FILE, 0, index, level, 0, main, FORMAT, text.as_ptr()) };
    }
}
