//! Handles of files and directories that are not opened. Used where the launcher looks at
//! what a site has, and where it mounts over it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};

/// A handle of a file or directory that is not opened, without following any link.
pub(super) fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    Ok(openat2(AT_FDCWD, path, how)?)
}

pub(super) fn is_directory(fd: &OwnedFd) -> bool {
    kind_of(fd).is_ok_and(|kind| kind.is_dir())
}

pub(super) fn kind_of(fd: &OwnedFd) -> io::Result<std::fs::Metadata> {
    File::from(fd.try_clone()?).metadata()
}
