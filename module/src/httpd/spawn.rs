//! Starts the supervisor: fork, then only what is safe between fork and exec.

#![expect(unsafe_code, reason = "fork and exec")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "fixed sequences of system calls"
)]

use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// What the new process is.
pub(crate) struct SpawnProgram<'a> {
    pub(crate) path: CString,
    pub(crate) arguments: Vec<CString>,
    pub(crate) environment: Vec<CString>,
    /// Become its descriptors 3, 4, …
    pub(crate) descriptors: [BorrowedFd<'a>; 2],
}

/// The first descriptor that is handed over.
const FIRST: c_int = 3;
/// Copies are made from here on, out of the way of those to be replaced.
const ASIDE: c_int = 64;

/// Starts the program in a process group of its own; returns its process id.
pub(crate) fn spawn(program: &SpawnProgram<'_>) -> io::Result<i32> {
    let arguments = pointers(&program.arguments);
    let environment = pointers(&program.environment);
    let descriptors = program.descriptors.map(|fd| fd.as_raw_fd());
    // SAFETY: the parent of httpd has one thread; the child below does nothing
    // but system calls before it execs.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => become_program(&program.path, &arguments, &environment, descriptors),
        pid => Ok(pid),
    }
}

/// The texts as C wants a list: null ends it.
fn pointers(list: &[CString]) -> Vec<*const c_char> {
    let texts = list.iter().map(|text| text.as_ptr());
    texts.chain([ptr::null()]).collect()
}

/// In the child. Allocates nothing, never returns, runs no destructor.
fn become_program(
    path: &CString,
    arguments: &[*const c_char],
    environment: &[*const c_char],
    descriptors: [c_int; 2],
) -> ! {
    // SAFETY: system calls on numbers; path and lists are C strings and lists
    // of them that end with null.
    unsafe {
        leave();
        libc::umask(0o022);
        libc::chdir(c"/".as_ptr());
        reset_signals();
        if arrange_descriptors(descriptors) {
            libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        }
        libc::_exit(126)
    }
}

/// Out of httpd's process group, which is signalled as a whole, and away from the
/// terminal. The session stays httpd's where that can be: the kernel may share out
/// the processors by session, and switches dearly between two.
///
/// # Safety
/// Only between fork and exec.
unsafe fn leave() {
    // SAFETY: system calls on a name and on numbers.
    unsafe {
        let terminal = libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        let none = terminal < 0 && *libc::__errno_location() == libc::ENXIO;
        if none || (terminal >= 0 && libc::ioctl(terminal, libc::TIOCNOTTY) == 0) {
            libc::setpgid(0, 0);
        } else {
            libc::setsid();
        }
        if terminal >= 0 {
            libc::close(terminal);
        }
    }
}

/// Default actions and nothing blocked: httpd ignores SIGPIPE and others, and
/// an exec would hand that on.
///
/// # Safety
/// Only between fork and exec.
unsafe fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: a system call; fails harmlessly for SIGKILL and SIGSTOP.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: a set on the stack.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// 0 is /dev/null, 1 and 2 the error log, then the given ones, nothing else.
///
/// # Safety
/// Only between fork and exec.
unsafe fn arrange_descriptors(descriptors: [c_int; 2]) -> bool {
    let mut aside = [-1; 2];
    for (place, fd) in aside.iter_mut().zip(descriptors) {
        // SAFETY: a system call on a number.
        *place = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, ASIDE) };
        if *place < 0 {
            return false;
        }
    }
    // SAFETY: system calls on numbers. dup2 leaves a new descriptor open across exec.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        let has_log = libc::fcntl(2, libc::F_GETFD) >= 0;
        let is_arranged = null >= 0
            && libc::dup2(null, 0) >= 0
            && (has_log || libc::dup2(null, 2) >= 0)
            && libc::dup2(2, 1) >= 0
            && libc::dup2(aside[0], FIRST) >= 0
            && libc::dup2(aside[1], FIRST + 1) >= 0;
        close_from(FIRST + 2);
        is_arranged
    }
}

/// # Safety
/// Only between fork and exec.
unsafe fn close_from(first: c_int) {
    // SAFETY: a system call on numbers. Kernels before 5.9 do not have it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, c_int::MAX, 0) };
    if closed != 0 {
        // SAFETY: as above.
        let most = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) }.clamp(1024, 1 << 20);
        for fd in first..c_int::try_from(most).unwrap_or(1024) {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
}
