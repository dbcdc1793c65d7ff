//! Opens the log file of a group with the rights of the group's user, so that
//! a tenant who plants a link in a directory of its own reaches nothing that
//! it could not write anyway. The same for those who read it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use wsgid_protocol::control::Identity;

use crate::user_rights::as_user;

/// Opens `path` for appending as `who`; as ourselves if that is not known.
pub(crate) fn open_as(path: &Path, who: Option<&Identity>) -> io::Result<File> {
    open(
        OpenOptions::new().append(true).create(true).mode(0o640),
        path,
        who,
    )
}

/// The same where no part of the path may be a link.
pub(crate) fn open_without_links_as(path: &Path, who: &Identity) -> io::Result<File> {
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC;
    let how = OpenHow::new()
        .flags(flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .mode(Mode::from_bits_truncate(0o640))
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    regular(as_user(who, || Ok(openat2(AT_FDCWD, path, how)?.into()))?)
}

/// Opens `path` for reading as `who`; as ourselves if that is not known.
pub(crate) fn read_as(path: &Path, who: Option<&Identity>) -> io::Result<File> {
    open(OpenOptions::new().read(true), path, who)
}

fn open(options: &mut OpenOptions, path: &Path, who: Option<&Identity>) -> io::Result<File> {
    // Neither a link nor a FIFO without a reader may hold root up.
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let open = || options.open(path);
    regular(who.map_or_else(open, |who| as_user(who, open))?)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use nix::unistd::{Gid, geteuid, getgroups};

    use super::*;
    use crate::sys::set_thread_groups;

    #[test]
    fn root_nothing_is_opened_that_the_user_could_not() {
        if !geteuid().is_root() {
            return;
        }
        let identity = |gid, groups| Identity {
            uid: 64_005,
            gid,
            groups,
            user: "site".into(),
            home: "/".into(),
            shell: "/".into(),
            change: true,
        };
        let place = tempfile::tempdir().unwrap();
        let set =
            |mode| std::fs::set_permissions(place.path(), Permissions::from_mode(mode)).unwrap();
        let path = place.path().join("log");
        // What root's group may do is nothing to a site, even if root is in it.
        set_thread_groups(&[0]).unwrap();
        set(0o775);
        assert!(open_as(&path, Some(&identity(64_005, Vec::new()))).is_err());
        assert_eq!(getgroups().unwrap(), [Gid::from_raw(0)], "our own are back");
        std::os::unix::fs::chown(place.path(), None, Some(64_006)).unwrap();
        let file = open_as(&path, Some(&identity(64_005, vec![64_006]))).unwrap();
        let made = file.metadata().unwrap();
        assert_eq!(
            (made.uid(), made.gid(), made.mode() & 0o777),
            (64_005, 64_005, 0o640)
        );
        let link = place.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert!(open_as(&link, Some(&identity(64_005, vec![64_006]))).is_err());
        let user = identity(64_005, vec![64_006]);
        let without_links = |path: &Path| open_without_links_as(path, &user);
        without_links(&path.canonicalize().unwrap()).unwrap();
        let around = place.path().join("around");
        std::os::unix::fs::symlink(place.path(), &around).unwrap();
        assert!(open_as(&around.join("log"), Some(&user)).is_ok());
        assert!(without_links(&around.join("log")).is_err());
    }
}
