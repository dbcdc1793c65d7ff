//! The listening socket: made once, kept in the parent, so that connections
//! wait in its backlog while there is no supervisor.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown};
use std::path::Path;
use std::{fs, io};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, geteuid, getpid};
use wsgid_protocol::readiness;
use wsgid_protocol::refusal::Refusal;

use crate::apr::pool::AprPool;
use crate::configuration::paths;
use crate::configuration::settings::ServerSettings;
use crate::httpd::retained::{self, Retained, SOCKET_PATH_MAX};
use crate::httpd::server;

/// Connections that may wait while there is no supervisor.
const BACKLOG: i32 = 4096;

/// What the socket's directory is named after.
pub(super) fn prefix(settings: &ServerSettings, pool: AprPool<'_>) -> Result<String, String> {
    match &settings.socket_prefix {
        Some(prefix) => Ok(prefix.to_string_lossy().into_owned()),
        None => retained::runtime_path(pool, c"wsgid").ok_or_else(|| {
            "httpd has no runtime directory; name one with DefaultRuntimeDir".to_owned()
        }),
    }
}

/// Makes the socket if there is none, and gives it to the children's user,
/// whom a reload may have changed.
pub(super) fn ensure(retained: &mut Retained, prefix: &str) -> Result<(), String> {
    if retained.listener().is_none() {
        let directory = paths::socket_directory(prefix, getpid().as_raw().unsigned_abs());
        let path = paths::socket_path(&directory, SOCKET_PATH_MAX)?;
        make(retained, &path)?;
        remove_abandoned(prefix);
    }
    give_away(&retained.socket_path())
}

/// Whether somebody has removed the socket from where children look for it.
pub(super) fn is_lost(retained: &Retained) -> bool {
    let found = fs::symlink_metadata(retained.socket_path());
    retained.listener().is_some() && !found.is_ok_and(|found| found.file_type().is_socket())
}

/// Makes a lost socket anew, where it was.
pub(super) fn renew(retained: &mut Retained) -> Result<(), String> {
    let path = retained.socket_path();
    make(retained, &path)?;
    give_away(&path)
}

fn make(retained: &mut Retained, path: &str) -> Result<(), String> {
    if let Some(directory) = Path::new(path).parent() {
        make_directory(directory)?;
    }
    let fd = open(path).map_err(|error| format!("failed to make the socket `{path}`: {error}"))?;
    retained.set_listener(Some((fd, path)));
    Ok(())
}

fn give_away(path: &str) -> Result<(), String> {
    if geteuid().is_root() {
        let (uid, gid) = server::children_identity();
        lchown(path, Some(uid), Some(gid))
            .map_err(|error| format!("failed to give `{path}` to user {uid}: {error}"))?;
    }
    Ok(())
}

/// A directory that only we can write to. One that is there already must be
/// ours: in a directory like /tmp anybody could have made it.
fn make_directory(path: &Path) -> Result<(), String> {
    let explain = |what: &str, error: &dyn std::fmt::Display| {
        format!(
            "failed to {what} the directory `{}`: {error}; choose another place with WSGISocketPrefix",
            path.display()
        )
    };
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(|error| explain("look at", &error))?;
            if !found.is_dir() || found.uid() != geteuid().as_raw() {
                return Err(explain("use", &"it belongs to somebody else"));
            }
        }
        Err(error) => return Err(explain("make", &error)),
    }
    // The process's umask may have taken away what children need to get in.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|error| explain("open", &error))?;
    if geteuid().is_root() {
        chown(path, Some(0), Some(0)).map_err(|error| explain("own", &error))?;
    }
    Ok(())
}

fn open(path: &str) -> io::Result<OwnedFd> {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // The supervisor's ends refuse descriptors from their first moment.
    let _ = Refusal::on(fd.as_fd());
    let old = umask(Mode::from_bits_truncate(0o177));
    let bound = UnixAddr::new(path).and_then(|address| bind(fd.as_raw_fd(), &address));
    umask(old);
    bound?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

/// Removes the socket, at the end of httpd.
pub(super) fn remove(retained: &mut Retained) {
    let path = retained.socket_path();
    retained.set_listener(None);
    if !path.is_empty() {
        remove_sockets(Path::new(&path));
    }
}

/// Whatever is left may stay: the next httpd removes it.
fn remove_sockets(path: &Path) {
    let _ = fs::remove_file(path);
    if let Some(directory) = path.parent() {
        // The supervisor's, which one that was killed leaves behind.
        let _ = fs::remove_file(directory.join("control.sock"));
        let _ = fs::remove_file(directory.join(readiness::FILE));
        let _ = fs::remove_dir(directory);
    }
}

/// Removes what is left of servers that were killed together with their
/// supervisors: nobody else ever would.
fn remove_abandoned(prefix: &str) {
    let prefix = Path::new(prefix);
    let (Some(top), Some(name)) = (prefix.parent(), prefix.file_name().and_then(OsStr::to_str))
    else {
        return;
    };
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        let pid = entry
            .file_name()
            .to_str()
            .and_then(|file| file.strip_prefix(name)?.strip_prefix('.')?.parse().ok());
        let ours = entry
            .metadata()
            .is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw());
        if let Some(pid) = pid.filter(|pid: &i32| ours && *pid > 0) {
            let socket = entry.path().join(paths::SOCKET_NAME);
            // The number alone proves nothing: it may be that of another container.
            if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) && nobody_listens(&socket) {
                remove_sockets(&socket);
            }
        }
    }
}

/// A full backlog is no answer, and is not waited for.
fn nobody_listens(path: &Path) -> bool {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let Ok(probe) = socket(AddressFamily::Unix, SockType::Stream, flags, None) else {
        return false;
    };
    UnixAddr::new(path).and_then(|address| connect(probe.as_raw_fd(), &address))
        == Err(Errno::ECONNREFUSED)
}
