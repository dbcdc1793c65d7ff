//! httpd's regular expressions, for WSGIScriptAliasMatch.

#![expect(unsafe_code, reason = "wraps ap_regex_t")]

use std::ffi::CStr;

use crate::apr::foreign::Foreign;
use crate::apr::pool::AprPool;
use crate::apr::text::optional;
use crate::sys;

/// A compiled expression of a configuration.
pub(crate) type Regex<'p> = Foreign<'p, sys::ap_regex_t>;

impl<'p> Regex<'p> {
    pub(crate) fn compile(pool: AprPool<'p>, pattern: &CStr) -> Option<Self> {
        // SAFETY: pool and pattern are alive; 0 is the extended syntax.
        let raw = unsafe { sys::ap_pregcomp(pool.as_raw(), pattern.as_ptr(), 0) };
        // SAFETY: null, or in a pool that lives for 'p.
        unsafe { Self::optional(raw) }
    }

    /// `target` with `$1` … replaced, if the expression matches `text`; and
    /// where the match ends.
    pub(crate) fn substitute<'r>(
        self,
        pool: AprPool<'r>,
        text: &CStr,
        target: &CStr,
    ) -> Option<(&'r CStr, usize)> {
        let mut matches = [sys::ap_regmatch_t::default(); sys::AP_MAX_REG_MATCH];
        // SAFETY: the expression lives as long as the configuration; the array
        // has as many members as are announced.
        let status = unsafe {
            sys::ap_regexec(
                self.as_raw(),
                text.as_ptr(),
                matches.len(),
                matches.as_mut_ptr(),
                0,
            )
        };
        if status != 0 {
            return None;
        }
        // SAFETY: as above, with the matches the call before has filled.
        let result = unsafe {
            sys::ap_pregsub(
                pool.as_raw(),
                target.as_ptr(),
                text.as_ptr(),
                matches.len(),
                matches.as_mut_ptr(),
            )
        };
        let end = usize::try_from(matches[0].rm_eo).unwrap_or(0);
        // SAFETY: null or a C string in the pool.
        let result = unsafe { optional(result) }?;
        Some((result, end.min(text.count_bytes())))
    }
}
