//! The process this code runs in: what the loader knows, random bytes, hooks
//! that only newer servers have.

#![expect(unsafe_code, reason = "calls into the loader and the kernel")]

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::httpd::record;
use crate::sys;

/// The directory this module was loaded from.
pub(crate) fn module_directory() -> Option<PathBuf> {
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: std::ptr::null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: std::ptr::null_mut(),
    };
    // SAFETY: an address inside this module, and a record to fill.
    let found = unsafe { libc::dladdr(record::get().cast(), &raw mut info) };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own C string, alive while the module is loaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
    path.parent().map(PathBuf::from)
}

/// Registers `hook` where httpd has child_stopping (2.4.49 and newer).
pub(crate) fn hook_child_stopping(hook: sys::ChildStoppingHook) {
    // SAFETY: a look-up by name among all loaded objects.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"ap_hook_child_stopping".as_ptr()) };
    if symbol.is_null() {
        return;
    }
    // SAFETY: httpd declares the function with this type since it exists.
    let register =
        unsafe { std::mem::transmute::<*mut libc::c_void, sys::HookChildStopping>(symbol) };
    // SAFETY: httpd is loading the module, when hooks are registered.
    unsafe {
        register(
            hook,
            std::ptr::null(),
            std::ptr::null(),
            sys::APR_HOOK_FIRST,
        )
    };
}

/// Registers `hook` for a section of mod_status's page, if that is loaded.
pub(crate) fn hook_status(hook: sys::StatusHook) {
    let none = std::ptr::null();
    // SAFETY: APR keeps the function without its type; mod_status, which alone
    // runs this hook, calls it with the type it has.
    let hook = unsafe { std::mem::transmute::<sys::StatusHook, sys::AnyHook>(hook) };
    // SAFETY: httpd is loading the module, when hooks are registered.
    unsafe {
        sys::apr_optional_hook_add(
            c"status_hook".as_ptr(),
            hook,
            none,
            none,
            sys::APR_HOOK_MIDDLE,
        )
    };
}

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut have = 0;
    while have < N {
        // SAFETY: the rest of the array can be written to.
        let got = unsafe { libc::getrandom(bytes[have..].as_mut_ptr().cast(), N - have, 0) };
        // Fails only when interrupted, once the system has started.
        have += usize::try_from(got).unwrap_or(0);
    }
    bytes
}

/// Ends every wait on a socket, for both sides.
///
/// Also used inside a signal handler, so it must stay one system call.
pub(crate) fn shut_down_socket(fd: i32) {
    // SAFETY: a system call on a number; a closed one gives an error that does
    // not matter.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// Seconds of a clock that only goes forward.
pub(crate) fn monotonic_seconds() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a record to fill; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs()
}
