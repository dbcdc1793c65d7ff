//! The process this code runs in: what the loader knows, random bytes, hooks
//! that only newer servers have.

#![expect(unsafe_code, reason = "calls into the loader and the kernel")]

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::apr::text::optional;
use crate::httpd::record;
use crate::sys;

/// The directory this module was loaded from.
pub(crate) fn module_directory() -> Option<PathBuf> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: an address inside this module, and a record to fill.
    unsafe { libc::dladdr(record::get().cast(), info.as_mut_ptr()) };
    // SAFETY: all-zero bytes are a valid record of pointers, and so is what was written.
    let info = unsafe { info.assume_init() };
    // SAFETY: null, or the loader's own C string, alive while the module is loaded.
    let name = unsafe { optional(info.dli_fname) }?;
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
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
    unsafe { register(hook, ptr::null(), ptr::null(), sys::APR_HOOK_FIRST) };
}

/// Registers `hook` for a section of mod_status's page, if that is loaded.
pub(crate) fn hook_status(hook: sys::StatusHook) {
    let name = c"status_hook".as_ptr();
    let none = ptr::null();
    // SAFETY: APR keeps the function without its type; mod_status, which alone
    // runs this hook, calls it with the type it has.
    let hook = unsafe { std::mem::transmute::<sys::StatusHook, sys::AnyHook>(hook) };
    // SAFETY: httpd is loading the module, when hooks are registered.
    unsafe { sys::apr_optional_hook_add(name, hook, none, none, sys::APR_HOOK_MIDDLE) };
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

/// The clock of all processes, which only goes forward: to some milliseconds.
pub(crate) fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)
        .map(Duration::from)
        .unwrap_or_default()
}

/// Seconds of that clock.
pub(crate) fn monotonic_seconds() -> u64 {
    monotonic().as_secs()
}

/// Whether the other end of a Unix socket has left something unread.
pub(crate) fn has_unread(socket: BorrowedFd<'_>) -> bool {
    let mut bytes: libc::c_int = 0;
    // SAFETY: an open descriptor, and a number to fill.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    asked == 0 && bytes > 0
}
