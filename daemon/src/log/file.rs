//! Opens the log file of a group with the rights of the group's user, so that
//! a tenant who plants a link in a directory of its own reaches nothing that
//! it could not write anyway.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid};
use wsgid_protocol::control::Identity;

/// Opens `path` for appending as `who`; as ourselves if that is not known.
pub(crate) fn open_as(path: &Path, who: Option<&Identity>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Neither a link nor a FIFO without a reader may hold root up.
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = match who.filter(|who| who.change) {
        None => options.open(path),
        Some(who) => {
            // For this thread and this one call alone.
            setfsgid(Gid::from_raw(who.gid));
            setfsuid(Uid::from_raw(who.uid));
            let opened = options.open(path);
            setfsuid(geteuid());
            setfsgid(getegid());
            opened
        }
    }?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}
