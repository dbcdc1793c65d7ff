//! What a call that failed inside of the isolation says: reads the path or the address from
//! the memory of who called, and asks whether the same could be done here. Called by
//! `trace.rs`, as the site's user, while the process that called is stopped.

use std::ffi::OsStr;
use std::io::IoSliceMut;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::Isolation;

use super::calls::{self, Address, CallTarget, Wanted};
use super::denied::Denied;
use super::outside;
use crate::isolation::system_calls;

/// Bytes of a path: what is longer is not told, for what is told has an end, too.
const PATH_MAX: usize = 1024;
/// What a page has at least: memory may end behind each.
const PAGE: u64 = 4096;
/// Bytes of a socket's address that count.
const ADDRESS_MAX: usize = 128;

pub(super) struct FailedCalls<'t> {
    config: &'t GroupConfig,
}

impl<'t> FailedCalls<'t> {
    pub(super) const fn new(config: &'t GroupConfig) -> Self {
        Self { config }
    }

    /// What of this call, which failed with `errno`, would have succeeded here.
    pub(super) fn denied(
        &self,
        pid: Pid,
        number: u64,
        arguments: [u64; 6],
        errno: Errno,
    ) -> Vec<Denied> {
        if errno == Errno::EPERM
            && self.config.isolation > Isolation::None
            && let Some(name) = system_calls::refused(number, arguments)
            && !self.config.allow_system_calls.iter().any(|one| one == name)
        {
            return vec![Denied::Call(name.to_owned())];
        }
        if errno == Errno::EXDEV {
            return denied_move(pid, number, arguments).into_iter().collect();
        }
        calls::attempts(number, arguments)
            .filter_map(|attempt| self.attempt(pid, attempt, errno))
            .collect()
    }

    fn attempt(&self, pid: Pid, attempt: CallTarget, errno: Errno) -> Option<Denied> {
        match attempt {
            CallTarget::Path {
                directory,
                path,
                wanted,
            } => denied_path(pid, directory, &text(pid, path)?, wanted, errno),
            CallTarget::Connect { address, len } => {
                match calls::address(&memory(pid, address, len.min(ADDRESS_MAX)))? {
                    Address::Path(path) => {
                        denied_path(pid, libc::AT_FDCWD, &path, Wanted::Connect, errno)
                    }
                    Address::Abstract(name) => (errno == Errno::EPERM)
                        .then(|| Denied::Abstract(String::from_utf8_lossy(&name).into_owned())),
                    Address::Port(port) => self.closed_port(port, errno),
                }
            }
            CallTarget::Bind { address, len } => {
                match calls::address(&memory(pid, address, len.min(ADDRESS_MAX)))? {
                    Address::Path(path) => {
                        denied_path(pid, libc::AT_FDCWD, &path, Wanted::Make, errno)
                    }
                    _ => None,
                }
            }
            CallTarget::Socket { family, .. } => (errno == Errno::EAFNOSUPPORT)
                .then(|| system_calls::family_name(family))
                .filter(|name| self.is_closed_family(name))
                .map(Denied::Family),
            CallTarget::Signal { pid } => (errno == Errno::EPERM)
                .then(|| kill(Pid::from_raw(pid), None).ok())
                .flatten()
                .and_then(|()| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok())
                .map(|name| Denied::Signal(name.trim_end().to_owned())),
        }
    }

    fn is_closed_family(&self, name: &str) -> bool {
        let open = system_calls::families(self.config);
        !open.is_empty() && !open.contains(&name)
    }

    fn closed_port(&self, port: u16, errno: Errno) -> Option<Denied> {
        let open = &self.config.connect_ports;
        let is_closed = !open.is_empty()
            && !open
                .iter()
                .any(|range| (range.first..=range.last).contains(&port));
        (errno == Errno::EACCES && is_closed).then_some(Denied::Port(port))
    }
}

/// A file that would be moved or linked within one file system here.
fn denied_move(pid: Pid, number: u64, arguments: [u64; 6]) -> Option<Denied> {
    let mut paths = calls::attempts(number, arguments).filter_map(|target| match target {
        CallTarget::Path {
            directory, path, ..
        } => absolute(pid, directory, &text(pid, path)?),
        _ => None,
    });
    let (from, to) = (paths.next()?, paths.next()?);
    let (one, other) = (from.parent()?.metadata(), to.parent()?.metadata());
    // In the site's own temporary directories are others than here.
    (one.ok()?.dev() == other.ok()?.dev()).then(|| Denied::Move {
        from: shown(from),
        to: shown(to),
    })
}

fn denied_path(
    pid: Pid,
    directory: i32,
    raw: &[u8],
    wanted: Wanted,
    errno: Errno,
) -> Option<Denied> {
    use Errno::{EACCES, ENOENT, ENOTDIR, EPERM, EROFS};
    if !matches!(errno, ENOENT | ENOTDIR | EACCES | EPERM | EROFS) {
        return None;
    }
    let path = absolute(pid, directory, raw)?;
    // Python keeps what it has compiled where it may, and does without elsewhere.
    let is_cache = path
        .components()
        .any(|part| part.as_os_str() == "__pycache__");
    if (is_cache && wanted >= Wanted::Write) || !outside::possible(&path, wanted) {
        return None;
    }
    let real = real(&path)?;
    Some(Denied::Path {
        hidden: hidden(pid, &real).map(shown),
        real: shown(real),
        path: shown(path),
        wanted,
    })
}

fn shown(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

/// A path as this process would say it.
fn absolute(pid: Pid, directory: i32, raw: &[u8]) -> Option<PathBuf> {
    if raw.is_empty() {
        return None;
    }
    let path = Path::new(OsStr::from_bytes(raw));
    if path.is_relative() {
        let link = if directory == libc::AT_FDCWD {
            format!("/proc/{pid}/cwd")
        } else {
            format!("/proc/{pid}/fd/{directory}")
        };
        let start = std::fs::read_link(link).ok()?;
        return start.is_absolute().then(|| start.join(path));
    }
    for own in ["/proc/self", "/proc/thread-self"] {
        if let Ok(rest) = path.strip_prefix(own) {
            return Some(Path::new("/proc").join(pid.to_string()).join(rest));
        }
    }
    Some(path.to_owned())
}

/// Without links. The last component need not be there.
fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let directory = path.parent()?.canonicalize().ok()?;
        Some(directory.join(path.file_name()?))
    })
}

/// The first directory on the way that is not there for this process, or the path itself.
fn hidden(pid: Pid, real: &Path) -> Option<PathBuf> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    root.join(".").symlink_metadata().ok()?;
    let mut at = PathBuf::from("/");
    for part in real.components().filter(|part| *part != Component::RootDir) {
        at.push(part);
        let inside = root.join(at.strip_prefix("/").ok()?);
        if inside.symlink_metadata().is_err() {
            // What nobody has made yet hides nothing.
            return at.exists().then_some(at);
        }
    }
    None
}

/// A text in the memory of a process that is stopped.
fn text(pid: Pid, address: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < PATH_MAX {
        let at = address.checked_add(bytes.len() as u64)?;
        let rest = usize::try_from(PAGE - at % PAGE).ok()?;
        let part = memory(pid, at, rest);
        if part.is_empty() {
            return None;
        }
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            bytes.extend_from_slice(&part[..end]);
            return Some(bytes);
        }
        bytes.extend(part);
    }
    None
}

fn memory(pid: Pid, address: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let from = usize::try_from(address).map(|base| RemoteIoVec { base, len });
    let read = from
        .map_err(|_| Errno::EFAULT)
        .and_then(|from| process_vm_readv(pid, &mut [IoSliceMut::new(&mut bytes)], &[from]));
    bytes.truncate(read.unwrap_or(0));
    bytes
}
