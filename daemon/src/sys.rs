//! The daemon's only unsafe code: descriptors that arrive by number, and calls of the
//! kernel that have no safe form. Used by `supervisor/start.rs`, by the launcher, and
//! where processes, sockets and logs need such a call.
#![expect(
    unsafe_code,
    reason = "inherited descriptors and some calls of the kernel have no safe form"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Takes over a descriptor that this process inherited, and makes it close on
/// exec. Each number may be taken once.
///
/// # Errors
/// If no such descriptor is open.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends with this function, and F_GETFD on a number that
    // is not open fails without any effect.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_GETFD)?;
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is open, as the line before found, and the caller is the one
    // place that takes this number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A new descriptor of what is open at `number`, closed on exec.
///
/// # Errors
/// If nothing is open there.
pub(crate) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends with this call, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned()
}

/// The same descriptor under a number of at least `least`.
///
/// # Errors
/// As `fcntl(2)`.
pub(crate) fn duplicate_above(fd: OwnedFd, least: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts a descriptor at exactly this number, open over exec, and gives up
/// ownership: it stays for the program that is executed next.
///
/// # Errors
/// As `dup2(2)`.
pub(crate) fn put_at(fd: OwnedFd, number: RawFd) -> io::Result<()> {
    let at = fd.into_raw_fd();
    if at == number {
        // SAFETY: `at` was owned until the line before and is still open.
        let borrowed = unsafe { BorrowedFd::borrow_raw(at) };
        fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::empty()))?;
        return Ok(());
    }
    // SAFETY: `at` is open; whatever was at `number` is closed, which the
    // callers (the launcher, before it owns anything else) want.
    if unsafe { libc::dup2(at, number) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: ownership of `at` was given up above, and it has a copy now.
    unsafe { libc::close(at) };
    Ok(())
}

#[cfg(target_pointer_width = "64")]
const SETGROUPS: libc::c_long = libc::SYS_setgroups;
/// The other one has numbers of 16 bits.
#[cfg(target_pointer_width = "32")]
const SETGROUPS: libc::c_long = libc::SYS_setgroups32;

/// Sets the supplementary groups of the calling thread alone; the C library
/// would set those of all threads.
///
/// # Errors
/// As `setgroups(2)`.
pub(crate) fn set_thread_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: a slice with its length, alive for the call.
    let outcome = unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The extended attribute that is the access list of a file.
const ACCESS_LIST: &CStr = c"system.posix_acl_access";

/// Sets the access list of a file.
///
/// # Errors
/// As `setxattr(2)`.
pub(crate) fn set_access_list(path: &Path, list: &[u8]) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: two C strings and a slice with its length, alive for the call.
    let outcome = unsafe {
        libc::setxattr(
            path.as_ptr(),
            ACCESS_LIST.as_ptr(),
            list.as_ptr().cast(),
            list.len(),
            0,
        )
    };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether a file has one. To look needs no capability.
///
/// # Errors
/// As `getxattr(2)`.
pub(crate) fn has_access_list(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: two C strings, alive for the call; no room is given for the value.
    let size =
        unsafe { libc::getxattr(path.as_ptr(), ACCESS_LIST.as_ptr(), std::ptr::null_mut(), 0) };
    if size >= 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENODATA | libc::EOPNOTSUPP) => Ok(false),
        _ => Err(error),
    }
}

/// Takes it away.
///
/// # Errors
/// As `removexattr(2)`.
pub(crate) fn remove_access_list(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: two C strings, alive for the call.
    let outcome = unsafe { libc::removexattr(path.as_ptr(), ACCESS_LIST.as_ptr()) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives up the controlling terminal, which the descriptor is. Only for a
/// process that does not lead its session: others of the session keep theirs.
pub(crate) fn give_up_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a system call on a number, without an argument.
    let outcome = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    if outcome < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Sets the scheduling priority of a process's first thread, and of what that
/// starts later. 0 is this process.
///
/// # Errors
/// As `setpriority(2)`.
pub(crate) fn set_nice(process: u32, nice: i32) -> io::Result<()> {
    // SAFETY: plain numbers in, a plain number out.
    let outcome = unsafe { libc::setpriority(libc::PRIO_PROCESS, process, nice) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Enters a new, empty session keyring: what is in that of whoever started the
/// supervisor (of root's login, perhaps) can be read by all who have inherited it.
///
/// # Errors
/// As `keyctl(2)`; a kernel, or a container, without keyrings has none to inherit.
pub(crate) fn leave_keyring() -> io::Result<()> {
    let join = i64::from(libc::KEYCTL_JOIN_SESSION_KEYRING);
    let unnamed = std::ptr::null::<libc::c_char>();
    // SAFETY: the operation takes a name or NULL, and no other argument.
    match unsafe { libc::syscall(libc::SYS_keyctl, join, unnamed) } {
        outcome if outcome >= 0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOSYS | libc::EPERM | libc::EACCES)
                ) =>
            {
                Ok(())
            }
            error => Err(error),
        },
    }
}

/// Gives up all capabilities, also those that a change of user leaves: the
/// inheritable and the ambient ones, and all where `securebits` say so.
///
/// # Errors
/// As `capset(2)`.
pub(crate) fn clear_capabilities() -> io::Result<()> {
    /// The kernel's header and sets of version 3.
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let none = [0_u32; 6];
    let ambient = libc::PR_CAP_AMBIENT;
    let clear = libc::c_ulong::from(libc::PR_CAP_AMBIENT_CLEAR_ALL as u32);
    // SAFETY: plain numbers. A kernel without ambient capabilities says EINVAL.
    unsafe { libc::prctl(ambient, clear, 0_u64, 0_u64, 0_u64) };
    // SAFETY: the kernel reads two numbers of the header and three sets twice.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has a program begin in a session of its own, without the terminal of this one.
pub(crate) fn leave_terminal(command: &mut std::process::Command) {
    let leave = || nix::unistd::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: a system call on nothing, which may be made between fork and exec.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, leave) };
}

/// Sets that of all threads of all processes in the process group that this one
/// leads; those that they fork later have it too.
///
/// # Errors
/// As `setpriority(2)`.
pub(crate) fn set_nice_of_group(leader: u32, nice: i32) -> io::Result<()> {
    // SAFETY: plain numbers in, a plain number out.
    let outcome = unsafe { libc::setpriority(libc::PRIO_PGRP, leader, nice) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Marks every descriptor from `first` on to be closed on exec, whoever
/// opened it.
///
/// # Errors
/// If neither the system call nor `/proc/self/fd` works.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let first_unsigned = u64::try_from(first).unwrap_or(0);
    let flag = u64::from(libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: CLOSE_RANGE_CLOEXEC only sets a flag; no descriptor is closed
    // under an owner.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first_unsigned,
            u64::from(u32::MAX),
            flag,
        )
    };
    if outcome == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<RawFd>().ok());
        if let Some(number) = number.filter(|number| *number >= first) {
            // SAFETY: the borrow lasts for one fcntl, which fails harmlessly
            // if the descriptor has gone (as that of the directory will).
            let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok();
        }
    }
    Ok(())
}

/// Ends this process quietly when nobody reads what it prints: for the command
/// line, whose output goes through `head`.
pub(crate) fn end_without_reader() {
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Gives every signal its default action back. An ignored signal would stay
/// ignored over exec. By system call: the C library hides two of them, which
/// httpd leaves ignored.
pub(crate) fn reset_signals() {
    /// The kernel's structure, at least: no handler, no flags, an empty mask.
    const DEFAULT: [u64; 8] = [0; 8];
    const MASK_LEN: usize = 8;
    for number in 1..=64_i64 {
        let action = DEFAULT.as_ptr();
        let old = std::ptr::null_mut::<u64>();
        // SAFETY: the kernel reads a structure shorter than `DEFAULT` and
        // writes nothing; the default action installs no code. SIGKILL and
        // SIGSTOP just fail.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, action, old, MASK_LEN) };
    }
}

/// Registers a descriptor with the runtime for reading. It need not be
/// non-blocking: its users read with `MSG_DONTWAIT`, or it is a listener.
///
/// # Errors
/// If it cannot be polled.
pub(crate) fn poll_reads<T: Into<OwnedFd>>(fd: T) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps the same number open until it is dropped, and
    // the `AsyncFd` that owns it takes it out of the poll set before that.
    Ok(unsafe { AsyncFd::register_with_interest(fd.into(), Interest::READABLE) }?)
}

/// A descriptor that becomes readable when this child ends.
///
/// # Errors
/// As `pidfd_open(2)`.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers in, a descriptor or an error out.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, i64::from(pid), 0_i64) };
    match RawFd::try_from(number) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(number) if number >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The raw status of this child if it has ended; it is reaped then.
///
/// # Errors
/// If it is no child.
pub(crate) fn reap(pid: u32) -> io::Result<Option<i32>> {
    let number = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut status = 0;
    // SAFETY: the pointer is valid for the call.
    match unsafe { libc::waitpid(number, &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        outcome if outcome == number => Ok(Some(status)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Kills the process behind this descriptor, which no other can have become.
///
/// # Errors
/// As `pidfd_send_signal(2)`.
pub(crate) fn kill_at(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let number = i64::from(pidfd.as_raw_fd());
    let signal = i64::from(libc::SIGKILL);
    // SAFETY: the descriptor is open for the call; no information is passed.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, 0_i64, 0_i64) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A short extended attribute of a file, if it has it.
pub(crate) fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let name = CString::new(name).ok()?;
    let mut value = vec![0_u8; 64];
    // SAFETY: both names end with NUL, and the kernel writes at most as many
    // bytes as it is told.
    let len = unsafe {
        libc::getxattr(
            path.as_ptr(),
            name.as_ptr(),
            value.as_mut_ptr().cast(),
            value.len(),
        )
    };
    value.truncate(usize::try_from(len).ok()?);
    Some(value)
}
