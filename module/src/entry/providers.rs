//! httpd's providers of authentication and authorisation named `wsgi` and
//! `wsgi-group`: what they are asked, and expressions in `Require wsgi-group`.
//! `auth.rs` decides.

#![expect(unsafe_code, reason = "wraps provider records and httpd's expressions")]

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::apr::text::optional;
use crate::entry::trampoline::callbacks;
use crate::httpd::log;
use crate::httpd::record;
use crate::httpd::request::Request;
use crate::log_ids;
use crate::request::auth;
use crate::sys;

callbacks! {
    "check_password", or sys::AUTH_GENERAL_ERROR =>
    fn check_password(
        r: *mut sys::request_rec,
        user: *const c_char,
        password: *const c_char,
    ) -> c_int {
        // SAFETY: httpd passes a request that this thread serves.
        let r = unsafe { Request::from_raw(r) };
        // SAFETY: null or a C string of the request.
        let user = unsafe { optional(user) };
        // SAFETY: likewise.
        let password = unsafe { optional(password) };
        match (user, password) {
            (Some(user), Some(password)) => auth::check_password(r, user, password),
            _ => sys::AUTH_GENERAL_ERROR,
        }
    }

    "get_realm_hash", or sys::AUTH_GENERAL_ERROR =>
    fn get_realm_hash(
        r: *mut sys::request_rec,
        user: *const c_char,
        realm: *const c_char,
        hash: *mut *mut c_char,
    ) -> c_int {
        // SAFETY: httpd passes a request that this thread serves.
        let r = unsafe { Request::from_raw(r) };
        // SAFETY: null or a C string of the request.
        let user = unsafe { optional(user) };
        // SAFETY: likewise.
        let realm = unsafe { optional(realm) };
        let (Some(user), Some(realm)) = (user, realm) else {
            return sys::AUTH_GENERAL_ERROR;
        };
        match auth::realm_hash(r, user, realm) {
            Ok(found) => {
                // SAFETY: httpd passes a place for the hash.
                unsafe { hash.write(found.as_ptr().cast_mut()) };
                sys::AUTH_USER_FOUND
            }
            Err(status) => status,
        }
    }

    "check_authorization", or sys::AUTHZ_GENERAL_ERROR =>
    fn check_authorization(
        r: *mut sys::request_rec,
        _: *const c_char,
        parsed: *const c_void,
    ) -> c_int {
        // SAFETY: httpd passes a request that this thread serves.
        let request = unsafe { Request::from_raw(r) };
        if request.user().is_none() {
            return sys::AUTHZ_DENIED_NO_USER;
        }
        let mut error = std::ptr::null();
        // SAFETY: what `parse_require_line` left for this line.
        let groups = unsafe { sys::ap_expr_str_exec(r, parsed.cast(), &raw mut error) };
        // SAFETY: null or a C string of the request.
        let error = unsafe { optional(error) };
        // SAFETY: likewise.
        match (unsafe { optional(groups) }, error) {
            (Some(groups), None) => auth::check_groups(request, groups),
            (_, error) => {
                let error = error.map_or_else(Default::default, CStr::to_string_lossy);
                log::request(request, log_ids::GROUPS_NOT_EVALUATED, || {
                    format!("Require wsgi-group: {error}")
                });
                sys::AUTHZ_GENERAL_ERROR
            }
        }
    }

    "Require wsgi-group", or c"a defect in mod_wsgid; see the error log".as_ptr() =>
    fn parse_require_line(
        cmd: *mut sys::cmd_parms,
        line: *const c_char,
        parsed: *mut *const c_void,
    ) -> *const c_char {
        let mut error = std::ptr::null();
        // SAFETY: httpd passes a directive that is being read.
        let parms = unsafe { &*cmd };
        // httpd's own test for `.htaccess`, whose author must not read with httpd's rights.
        let in_htaccess = std::ptr::eq(parms.pool, parms.temp_pool);
        let restricted = if in_htaccess {
            sys::AP_EXPR_FLAG_RESTRICTED_FILE_FUNC
        } else {
            0
        };
        let flags = sys::AP_EXPR_FLAG_STRING_RESULT | restricted;
        let lookup = std::ptr::null_mut();
        // SAFETY: httpd passes a directive that is being read, and its line.
        let expr = unsafe {
            sys::ap_expr_parse_cmd_mi(cmd, line, flags, &raw mut error, lookup, record::index())
        };
        if error.is_null() {
            // SAFETY: httpd passes a place for what was parsed.
            unsafe { parsed.write(expr.cast()) };
        }
        error
    }
}
