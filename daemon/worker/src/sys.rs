//! The one file with unsafe code of the worker: descriptors that arrive as numbers,
//! ending the process and its end by a signal, an exception for another thread, CPU clocks and the state of a
//! thread. Called by `core`, `fork`, `fork_hooks`, `monitor`, `ticker` and others.
#![expect(
    unsafe_code,
    reason = "the operating system and CPython know these things by number only"
)]

use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use pyo3::ffi::{PyThreadState_SetAsyncExc, PyUnicode_AsLatin1String};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};

/// Takes over a descriptor that the launcher left at an agreed number, and
/// keeps it from programs the application starts.
///
/// # Errors
/// If nothing is open at that number.
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: not -1, and only looked at by fcntl, which refuses a number that
    // is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, and by agreement with the launcher nobody else in
    // this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A copy of a descriptor that a Python object has named; `None` if it is not
/// open.
pub(crate) fn duplicate(number: RawFd) -> Option<OwnedFd> {
    if number < 0 {
        return None;
    }
    // SAFETY: not -1, and only looked at by fcntl, which refuses a number that
    // is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().ok()
}

/// Puts `/dev/null` in the place of a descriptor whose number is still owned by
/// some value of this process: in a forked child, which must not hold the
/// connections of its parent.
pub(crate) fn replace(null: BorrowedFd<'_>, number: RawFd) {
    // SAFETY: dup3 takes numbers; it cannot touch memory. A number that is not
    // open becomes a descriptor of /dev/null, which harms nobody.
    let _ = unsafe { libc::dup3(null.as_raw_fd(), number, libc::O_CLOEXEC) };
}

/// Ends the process at once, without running anything.
pub(crate) fn exit_now(code: c_int) -> ! {
    // SAFETY: _exit runs no handlers and never returns.
    unsafe { libc::_exit(code) }
}

/// Forks, and waits in the parent until the child has ended. Returns whether
/// this is the child, which is to fork once more and end. No hook runs: nothing
/// of Python changes in either.
///
/// # Errors
/// As `fork(2)`.
pub(crate) fn fork_helper(_py: Python<'_>) -> io::Result<bool> {
    // SAFETY: the caller has made sure that this is the only thread, so the
    // child finds no lock that nobody will open.
    let child = unsafe { libc::fork() };
    match child {
        0 => return Ok(true),
        ..0 => return Err(io::Error::last_os_error()),
        _ => {}
    }
    // Any other error: the application reaps children it does not know.
    while waitpid(Pid::from_raw(child), None) == Err(Errno::EINTR) {}
    Ok(false)
}

/// Raises `exception` in the Python thread with this ident, or takes back what
/// was raised and has not arrived.
pub(crate) fn raise_in_thread(_py: Python<'_>, ident: u64, exception: Option<&Bound<'_, PyType>>) {
    if let Ok(ident) = c_long::try_from(ident) {
        let exception = exception.map_or(std::ptr::null_mut(), |class| class.as_ptr());
        // SAFETY: this thread is attached (`_py`), and the class is alive for the
        // call; CPython takes a reference of its own.
        unsafe { PyThreadState_SetAsyncExc(ident, exception) };
    }
}

/// A native string as PEP 3333 has it: each character is the byte with its number.
///
/// # Errors
/// The `UnicodeEncodeError` that says which character is none.
pub(crate) fn latin1<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    // SAFETY: this thread is attached, and `text` is a str.
    let bytes = unsafe { PyUnicode_AsLatin1String(text.as_ptr()) };
    // SAFETY: a new reference, or null with an exception set.
    let bytes = unsafe { Bound::from_owned_ptr_or_err(text.py(), bytes) }?;
    Ok(bytes.cast_into()?)
}

/// CPU time in nanoseconds that a thread of this process has used.
pub(crate) fn thread_cpu_ns(thread: i32) -> Option<u64> {
    /// How Linux derives the clock of a thread from its id.
    const PER_THREAD_SCHED: i32 = 6;
    clock_ns(ClockId::from_raw((!thread << 3) | PER_THREAD_SCHED))
}

/// CPU time in nanoseconds that the calling thread has used.
pub(crate) fn own_cpu_ns() -> u64 {
    clock_ns(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// CPU time in nanoseconds that this process has used.
pub(crate) fn process_cpu_ns() -> u64 {
    clock_ns(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

/// Whether a signal has come that ends this process as soon as its stacks are written.
static CRASHED: AtomicBool = AtomicBool::new(false);
/// What writes the stacks: the handler of `faulthandler`.
static STACKS: AtomicUsize = AtomicUsize::new(0);

/// From now on a signal that ends the process is noted before its stacks are written: that
/// takes a while, and if the signal was sent, other threads run on meanwhile.
pub(crate) fn note_crashes() {
    for signal in [
        libc::SIGSEGV,
        libc::SIGABRT,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
    ] {
        // SAFETY: all bits zero is a value of this structure of numbers.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to the structure above.
        let is_known = unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) } == 0;
        let is_handled = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
        if !is_known || !is_handled || action.sa_flags & libc::SA_SIGINFO != 0 {
            continue;
        }
        STACKS.store(action.sa_sigaction, Ordering::Relaxed);
        let noting: extern "C" fn(c_int) = crashed;
        action.sa_sigaction = noting as usize;
        // SAFETY: the structure came from the kernel, and the handler has the type that its flags say.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

/// The handler: nothing but what one may do in it.
extern "C" fn crashed(signal: c_int) {
    CRASHED.store(true, Ordering::Relaxed);
    // SAFETY: it was the handler of this signal, of this type, and the same for all of them.
    let stacks: extern "C" fn(c_int) =
        unsafe { std::mem::transmute(STACKS.load(Ordering::Relaxed)) };
    stacks(signal);
}

/// Waits for the end of a process that a signal ends. Returns all the same if nobody takes
/// its stacks: that may be another thread of the application.
pub(crate) fn wait_if_crashed() {
    const WRITTEN_BY_THEN: Duration = Duration::from_secs(5);
    if CRASHED.load(Ordering::Relaxed) {
        std::thread::sleep(WRITTEN_BY_THEN);
    }
}

/// Whether a thread of this process has a processor or waits for one. False
/// where that cannot be read.
pub(crate) fn thread_runs(thread: i32) -> bool {
    let facts = std::fs::read(format!("/proc/self/task/{thread}/stat")).unwrap_or_default();
    // The state follows the name, which is in brackets and may hold any byte.
    let name_end = facts.iter().rposition(|byte| *byte == b')');
    name_end.and_then(|at| facts.get(at + 2)) == Some(&b'R')
}

fn clock_ns(clock: ClockId) -> Option<u64> {
    let time = Duration::from(clock_gettime(clock).ok()?);
    u64::try_from(time.as_nanos()).ok()
}
