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

use nix::errno::{Errno, ErrnoSentinel};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What a call of the kernel says that gives nothing but an error.
fn done<S: ErrnoSentinel + PartialEq>(outcome: S) -> io::Result<()> {
    Ok(Errno::result(outcome).map(drop)?)
}

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Takes over a descriptor that this process inherited, and makes it close on
/// exec. Each number may be taken once.
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
pub(crate) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrow ends with this call, which fails if it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned()
}

/// The same descriptor under a number of at least `least`.
pub(crate) fn duplicate_above(fd: OwnedFd, least: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts a descriptor at exactly this number, open over exec, and gives up
/// ownership: it stays for the program that is executed next.
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
    done(unsafe { libc::dup2(at, number) })?;
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
pub(crate) fn set_thread_groups(groups: &[u32]) -> io::Result<()> {
    // SAFETY: a slice with its length, alive for the call.
    done(unsafe { libc::syscall(SETGROUPS, groups.len(), groups.as_ptr()) })
}

const ACCESS_LIST: &CStr = c"system.posix_acl_access";

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
    done(outcome)
}

/// Whether a file has an access list. To look needs no capability.
pub(crate) fn has_access_list(path: &Path) -> io::Result<bool> {
    let found = read_attribute(path, ACCESS_LIST, &mut []);
    match found.as_ref().map_err(io::Error::raw_os_error) {
        Err(Some(libc::ENODATA | libc::EOPNOTSUPP)) => Ok(false),
        _ => found.map(|_| true),
    }
}

pub(crate) fn remove_access_list(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: two C strings, alive for the call.
    done(unsafe { libc::removexattr(path.as_ptr(), ACCESS_LIST.as_ptr()) })
}

/// Gives up the controlling terminal, which the descriptor is. Only for a
/// process that does not lead its session: others of the session keep theirs.
pub(crate) fn give_up_terminal(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a system call on a number, without an argument.
    done(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) })
}

/// Sets the scheduling priority of a process's first thread, and of what that
/// starts later. 0 is this process.
pub(crate) fn set_nice(process: u32, nice: i32) -> io::Result<()> {
    // SAFETY: plain numbers in, a plain number out.
    done(unsafe { libc::setpriority(libc::PRIO_PROCESS, process, nice) })
}

/// Sets the priority of all threads of all processes in the process group that
/// `leader` leads; those that they fork later have it too.
pub(crate) fn set_nice_of_group(leader: u32, nice: i32) -> io::Result<()> {
    // SAFETY: plain numbers in, a plain number out.
    done(unsafe { libc::setpriority(libc::PRIO_PGRP, leader, nice) })
}

/// Enters a new, empty session keyring: what is in that of whoever started the
/// supervisor (of root's login, perhaps) can be read by all who have inherited it.
pub(crate) fn leave_keyring() -> io::Result<()> {
    let join = i64::from(libc::KEYCTL_JOIN_SESSION_KEYRING);
    let unnamed = std::ptr::null::<libc::c_char>();
    // SAFETY: the operation takes a name or NULL, and no other argument.
    let joined = done(unsafe { libc::syscall(libc::SYS_keyctl, join, unnamed) });
    match joined.as_ref().map_err(io::Error::raw_os_error) {
        // A kernel, or a container, without keyrings has none to inherit.
        Err(Some(libc::ENOSYS | libc::EPERM | libc::EACCES)) => Ok(()),
        _ => joined,
    }
}

/// Gives up all capabilities, also those that a change of user leaves: the
/// inheritable and the ambient ones, and all where `securebits` say so.
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
    done(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })
}

/// Has a program begin in a session of its own, without the terminal of this one.
pub(crate) fn leave_terminal(command: &mut std::process::Command) {
    let leave = || nix::unistd::setsid().map(drop).map_err(io::Error::from);
    // SAFETY: a system call on nothing, which may be made between fork and exec.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, leave) };
}

/// Marks every descriptor from `first` on to be closed on exec, whoever
/// opened it.
pub(crate) fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    let first_unsigned = u64::try_from(first).unwrap_or(0);
    let flag = u64::from(libc::CLOSE_RANGE_CLOEXEC);
    let last = u64::from(u32::MAX);
    // SAFETY: CLOSE_RANGE_CLOEXEC only sets a flag; no descriptor is closed
    // under an owner.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first_unsigned, last, flag) };
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

/// Ends this process quietly when nobody reads what it prints (`wsgid status | head`).
pub(crate) fn end_without_reader() {
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Gives every signal its default action back: an ignored one stays ignored over exec.
/// By system call, for the C library hides two signals that httpd leaves ignored.
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
pub(crate) fn poll_reads<T: Into<OwnedFd>>(fd: T) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps the same number open until it is dropped, and
    // the `AsyncFd` that owns it takes it out of the poll set before that.
    Ok(unsafe { AsyncFd::register_with_interest(fd.into(), Interest::READABLE) }?)
}

/// A descriptor that becomes readable when this child ends.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain numbers in, a descriptor or an error out.
    let number = unsafe { libc::syscall(libc::SYS_pidfd_open, i64::from(pid), 0_i64) };
    let number = RawFd::try_from(Errno::result(number)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The raw status of this child if it has ended; it is reaped then.
pub(crate) fn reap(pid: u32) -> io::Result<Option<i32>> {
    let number = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut status = 0;
    // SAFETY: the pointer is valid for the call.
    let outcome = unsafe { libc::waitpid(number, &raw mut status, libc::WNOHANG) };
    Ok((Errno::result(outcome)? != 0).then_some(status))
}

/// Kills the process behind this descriptor, which no other can have become.
pub(crate) fn kill_at(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let number = i64::from(pidfd.as_raw_fd());
    let signal = i64::from(libc::SIGKILL);
    // SAFETY: the descriptor is open for the call; no information is passed.
    done(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, number, signal, 0_i64, 0_i64) })
}

/// A short extended attribute of a file, if it has it.
pub(crate) fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0_u8; 64];
    let len = read_attribute(path, &CString::new(name).ok()?, &mut value).ok()?;
    value.truncate(len);
    Some(value)
}

/// Reads an extended attribute and gives its length; with no room, the length alone.
fn read_attribute(path: &Path, name: &CStr, value: &mut [u8]) -> io::Result<usize> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let room = value.as_mut_ptr().cast();
    // SAFETY: both names end with NUL, and the kernel writes at most as many
    // bytes as it is told.
    let len = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), room, value.len()) };
    Ok(Errno::result(len)?.unsigned_abs())
}

/// A property of a mount, for [`set_mount_flags`].
pub(crate) const READ_ONLY: u64 = 0x1;
/// Set-user-ID programs gain nothing.
pub(crate) const NO_SUID: u64 = 0x2;
/// Device nodes are not opened.
pub(crate) const NO_DEVICES: u64 = 0x4;

const EMPTY_PATH: libc::c_long = libc::AT_EMPTY_PATH as libc::c_long;
/// All mounts below too.
const AT_RECURSIVE: libc::c_long = 0x8000;

/// A copy of the mounts at a path and below it, which is nowhere yet.
pub(crate) fn open_tree(at: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_long = 1;
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | EMPTY_PATH | libc::c_long::from(libc::O_CLOEXEC);
    let number = i64::from(at.as_raw_fd());
    // SAFETY: an open descriptor and an empty C string, alive for the call.
    let tree = unsafe { libc::syscall(libc::SYS_open_tree, number, c"".as_ptr(), flags) };
    let tree = RawFd::try_from(Errno::result(tree)?).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(tree) })
}

/// Puts such a copy over what is at a path.
pub(crate) fn move_mount(tree: BorrowedFd<'_>, at: BorrowedFd<'_>) -> io::Result<()> {
    /// Both paths are empty: the descriptors are meant.
    const EMPTY_PATHS: libc::c_long = 0x44;
    let (from, to) = (i64::from(tree.as_raw_fd()), i64::from(at.as_raw_fd()));
    let empty = c"".as_ptr();
    // SAFETY: two open descriptors and an empty C string, alive for the call.
    done(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, EMPTY_PATHS) })
}

/// Adds properties to a mount, and to all below it.
pub(crate) fn add_mount_flags(at: BorrowedFd<'_>, flags: u64, below: bool) -> io::Result<()> {
    // What is set, what is cleared, propagation, a user name space.
    let attributes = [flags, 0, 0, 0_u64];
    let how = if below {
        EMPTY_PATH | AT_RECURSIVE
    } else {
        EMPTY_PATH
    };
    let number = i64::from(at.as_raw_fd());
    let len = size_of_val(&attributes);
    let call = libc::SYS_mount_setattr;
    // SAFETY: an open descriptor, an empty C string, and an array with its length.
    done(unsafe { libc::syscall(call, number, c"".as_ptr(), how, attributes.as_ptr(), len) })
}

/// The version of landlock that the kernel has; 0 is none.
pub(crate) fn landlock_version() -> i32 {
    const VERSION: i64 = 1;
    let none = std::ptr::null::<u8>();
    // SAFETY: with this flag the kernel wants neither an address nor a size.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_i64, VERSION) };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Has the kernel ask this program before each system call of this process, and of what it
/// starts. Needs `no_new_privs`, or a privilege.
pub(crate) fn install_filter(program: &[seccompiler::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        // The same four fields, laid out as the kernel has them.
        filter: program.as_ptr().cast_mut().cast(),
    };
    let (mode, flags) = (i64::from(libc::SECCOMP_SET_MODE_FILTER), 0_i64);
    // SAFETY: the kernel copies the program, whose length is that of the slice.
    done(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter) })
}
/// What a process that is traced was stopped for, of a call of the kernel.
pub(crate) enum CallStop {
    Begins {
        number: u64,
        arguments: [u64; 6],
    },
    /// With the number of the error, if it is one.
    Ends {
        errno: Option<i32>,
    },
    Neither,
}

/// Asks what this process, which the caller traces and which is stopped, was stopped for.
pub(crate) fn call_stop(pid: nix::unistd::Pid) -> io::Result<CallStop> {
    let info = nix::sys::ptrace::syscall_info(pid)?;
    Ok(match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: the kernel says that this is the part it has filled in.
            let entry = unsafe { info.u.entry };
            CallStop::Begins {
                number: entry.nr,
                arguments: entry.args,
            }
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => {
            // SAFETY: the kernel says that this is the part it has filled in.
            let exit = unsafe { info.u.exit };
            let errno = (exit.is_error != 0).then(|| i32::try_from(-exit.sval).unwrap_or(0));
            CallStop::Ends { errno }
        }
        _ => CallStop::Neither,
    })
}

/// Does in a child, which ends then, what cannot be undone, and gives its error. Only in a
/// process of one thread.
pub(crate) fn try_in_child(act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: no other thread holds a lock that the child could want.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => {
            let code = act()
                .err()
                .map_or(0, |error| error.raw_os_error().unwrap_or(libc::EIO));
            // SAFETY: ends the process at once, without what the parent has to do.
            unsafe { libc::_exit(code) }
        }
        nix::unistd::ForkResult::Parent { child } => match nix::sys::wait::waitpid(child, None)? {
            nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(()),
            nix::sys::wait::WaitStatus::Exited(_, errno) => {
                Err(io::Error::from_raw_os_error(errno))
            }
            other => Err(io::Error::other(format!("{other:?}"))),
        },
    }
}
