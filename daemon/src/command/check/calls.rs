//! Calls of the kernel that isolation may deny, and what they were to do: which path, which
//! address, which kind of socket. Used by `failed_calls.rs`, which reads the process that made
//! the call; whether something may be done is `outside.rs`'s affair.

use libc::{AF_INET, AF_INET6, AF_UNIX, c_long};
use serde::{Deserialize, Serialize};

/// What was to be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// Find out that it is there.
    See,
    /// Read a file, or list a directory.
    Read,
    Execute,
    /// Connect to a socket.
    Connect,
    /// Write to what is there.
    Write,
    /// Make or remove an entry of its directory.
    Make,
}

/// What a call was to do, with addresses in the memory of who called.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallTarget {
    Path {
        /// The descriptor of the directory that the path counts from.
        directory: i32,
        path: u64,
        wanted: Wanted,
    },
    /// The socket's address, and its length.
    Connect {
        address: u64,
        len: usize,
    },
    Bind {
        address: u64,
        len: usize,
    },
    Socket {
        family: i32,
    },
    /// The process that a signal is for.
    Signal {
        pid: i32,
    },
}

/// Which arguments of a call say what.
#[derive(Clone, Copy)]
enum Shape {
    /// Directory, path.
    At(usize, usize, Wanted),
    /// Path.
    Of(usize, Wanted),
    /// Directory, path, flags.
    OpenAt(usize, usize, usize),
    /// Path, flags.
    Open(usize, usize),
    /// Directory, path, mode.
    AccessAt(usize, usize, usize),
    /// Path, mode.
    Access(usize, usize),
    Connect,
    Bind,
    Socket,
    Signal,
}

use Shape::{Access, AccessAt, At, Bind, Connect, Of, Open, OpenAt, Signal, Socket};
use Wanted::{Execute, Make, Read, See, Write};

const ALL: &[(c_long, Shape)] = &[
    (libc::SYS_openat, OpenAt(0, 1, 2)),
    (libc::SYS_openat2, At(0, 1, Read)),
    (libc::SYS_newfstatat, At(0, 1, See)),
    (libc::SYS_statx, At(0, 1, See)),
    (libc::SYS_readlinkat, At(0, 1, See)),
    (libc::SYS_faccessat, AccessAt(0, 1, 2)),
    (libc::SYS_faccessat2, AccessAt(0, 1, 2)),
    (libc::SYS_statfs, Of(0, See)),
    (libc::SYS_getxattr, Of(0, See)),
    (libc::SYS_chdir, Of(0, See)),
    (libc::SYS_inotify_add_watch, Of(1, Read)),
    (libc::SYS_execve, Of(0, Execute)),
    (libc::SYS_execveat, At(0, 1, Execute)),
    (libc::SYS_truncate, Of(0, Write)),
    (libc::SYS_fchmodat, At(0, 1, Write)),
    (libc::SYS_fchownat, At(0, 1, Write)),
    (libc::SYS_utimensat, At(0, 1, Write)),
    (libc::SYS_mkdirat, At(0, 1, Make)),
    (libc::SYS_mknodat, At(0, 1, Make)),
    (libc::SYS_unlinkat, At(0, 1, Make)),
    (libc::SYS_symlinkat, At(1, 2, Make)),
    (libc::SYS_linkat, At(0, 1, See)),
    (libc::SYS_linkat, At(2, 3, Make)),
    (libc::SYS_renameat2, At(0, 1, Make)),
    (libc::SYS_renameat2, At(2, 3, Make)),
    (libc::SYS_connect, Connect),
    (libc::SYS_bind, Bind),
    (libc::SYS_socket, Socket),
    (libc::SYS_socketpair, Socket),
    (libc::SYS_kill, Signal),
    (libc::SYS_tgkill, Signal),
];

/// Those that newer machines do without.
#[cfg(target_arch = "x86_64")]
const OLDER: &[(c_long, Shape)] = &[
    (libc::SYS_open, Open(0, 1)),
    (libc::SYS_creat, Of(0, Make)),
    (libc::SYS_stat, Of(0, See)),
    (libc::SYS_lstat, Of(0, See)),
    (libc::SYS_readlink, Of(0, See)),
    (libc::SYS_access, Access(0, 1)),
    (libc::SYS_chmod, Of(0, Write)),
    (libc::SYS_chown, Of(0, Write)),
    (libc::SYS_lchown, Of(0, Write)),
    (libc::SYS_utime, Of(0, Write)),
    (libc::SYS_utimes, Of(0, Write)),
    (libc::SYS_mkdir, Of(0, Make)),
    (libc::SYS_rmdir, Of(0, Make)),
    (libc::SYS_mknod, Of(0, Make)),
    (libc::SYS_unlink, Of(0, Make)),
    (libc::SYS_symlink, Of(1, Make)),
    (libc::SYS_link, Of(0, See)),
    (libc::SYS_link, Of(1, Make)),
    (libc::SYS_rename, Of(0, Make)),
    (libc::SYS_rename, Of(1, Make)),
    (libc::SYS_renameat, At(0, 1, Make)),
    (libc::SYS_renameat, At(2, 3, Make)),
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[(c_long, Shape)] = &[];

/// What a call was to do, by its number and arguments: mostly one thing or none.
pub(super) fn attempts(number: u64, arguments: [u64; 6]) -> impl Iterator<Item = CallTarget> {
    let shapes = ALL.iter().chain(OLDER);
    let shapes = shapes.filter(move |(one, _)| u64::try_from(*one) == Ok(number));
    shapes.map(move |(_, shape)| attempt(*shape, arguments))
}

fn attempt(shape: Shape, arguments: [u64; 6]) -> CallTarget {
    let number = |at: usize| low_half(arguments[at]);
    let path = |directory: i32, path: usize, wanted: Wanted| CallTarget::Path {
        directory,
        path: arguments[path],
        wanted,
    };
    let len = || usize::try_from(arguments[2]).unwrap_or(usize::MAX);
    match shape {
        At(directory, at, wanted) => path(number(directory), at, wanted),
        Of(at, wanted) => path(libc::AT_FDCWD, at, wanted),
        OpenAt(directory, at, flags) => path(number(directory), at, opened(number(flags))),
        Open(at, flags) => path(libc::AT_FDCWD, at, opened(number(flags))),
        AccessAt(directory, at, mode) => path(number(directory), at, asked(number(mode))),
        Access(at, mode) => path(libc::AT_FDCWD, at, asked(number(mode))),
        Connect => CallTarget::Connect {
            address: arguments[1],
            len: len(),
        },
        Bind => CallTarget::Bind {
            address: arguments[1],
            len: len(),
        },
        Socket => CallTarget::Socket { family: number(0) },
        Signal => CallTarget::Signal { pid: number(0) },
    }
}

/// The kernel looks at 32 bits of most numbers.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the kernel takes no more than these bits"
)]
const fn low_half(argument: u64) -> i32 {
    argument as i32
}

fn opened(flags: i32) -> Wanted {
    if flags & libc::O_CREAT != 0 {
        Make
    } else if flags & libc::O_ACCMODE != libc::O_RDONLY {
        Write
    } else if flags & libc::O_PATH != 0 {
        See
    } else {
        Read
    }
}

fn asked(mode: i32) -> Wanted {
    if mode & libc::W_OK != 0 {
        Write
    } else if mode & libc::R_OK != 0 {
        Read
    } else if mode & libc::X_OK != 0 {
        Execute
    } else {
        See
    }
}

/// A socket's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A path, not always absolute.
    Path(Vec<u8>),
    /// A name that no file system has.
    Abstract(Vec<u8>),
    Port(u16),
}

/// The address in these bytes, if it is of a kind that isolation knows.
pub(super) fn address(bytes: &[u8]) -> Option<Address> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    match i32::from(u16::from_ne_bytes(*family)) {
        AF_UNIX => match rest {
            [] => None,
            [0, name @ ..] => Some(Address::Abstract(name.to_vec())),
            path => Some(Address::Path(
                path.split(|byte| *byte == 0).next()?.to_vec(),
            )),
        },
        AF_INET | AF_INET6 => Some(Address::Port(u16::from_be_bytes(*rest.first_chunk()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_call_was_to_do_is_read_from_its_arguments() {
        let of = |number: c_long, arguments: [u64; 6]| -> Vec<CallTarget> {
            attempts(number.unsigned_abs(), arguments).collect()
        };
        let write = u64::from((libc::O_WRONLY | libc::O_CREAT).unsigned_abs());
        let opened = of(
            libc::SYS_openat,
            [
                u64::from(libc::AT_FDCWD.cast_unsigned()),
                0x1000,
                write,
                0o644,
                0,
                0,
            ],
        );
        assert_eq!(
            opened,
            [CallTarget::Path {
                directory: libc::AT_FDCWD,
                path: 0x1000,
                wanted: Make
            }]
        );
        assert_eq!(of(libc::SYS_renameat2, [3, 1, 4, 2, 0, 0]).len(), 2);
        assert_eq!(of(libc::SYS_getpid, [0; 6]), []);
    }

    #[test]
    fn addresses_are_paths_names_and_ports() {
        let unix = AF_UNIX as u16;
        let with = |family: u16, rest: &[u8]| [&family.to_ne_bytes()[..], rest].concat();
        assert_eq!(
            address(&with(unix, b"/run/db.sock\0\0")),
            Some(Address::Path(b"/run/db.sock".to_vec()))
        );
        assert_eq!(
            address(&with(unix, b"\0name")),
            Some(Address::Abstract(b"name".to_vec()))
        );
        assert_eq!(
            address(&with(AF_INET as u16, &[0x15, 0x38, 127, 0, 0, 1])),
            Some(Address::Port(5432))
        );
        for bytes in [&b""[..], &[1], &unix.to_ne_bytes(), &[0xff, 0xff, 1, 2]] {
            assert_eq!(address(bytes), None);
        }
    }
}
