//! Which component of a path is closed, for whom, in words. Used after the
//! change of user, by the launcher and by `wsgid check`; looks with the rights that
//! the process has at that moment.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Uid, User, access};

/// A path that cannot be used, with the component that is to blame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    path: PathBuf,
    component: PathBuf,
    errno: Errno,
    wanted: &'static str,
}

impl std::error::Error for Closed {}

impl fmt::Display for Closed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, component) = (self.path.display(), self.component.display());
        write!(out, "`{path}`: ")?;
        match self.errno {
            Errno::ENOENT => write!(out, "`{component}` does not exist"),
            Errno::ENOTDIR => write!(out, "`{component}` is not a directory"),
            Errno::EACCES => write!(
                out,
                "`{component}` cannot be {} by {}; let that user or one of its groups in with chmod or chown",
                self.wanted,
                own_name()
            ),
            errno => write!(out, "`{component}`: {}", errno.desc()),
        }
    }
}

/// The user that this process is, for people.
fn own_name() -> String {
    let uid = Uid::effective();
    match User::from_uid(uid) {
        Ok(Some(user)) => format!("user `{}` (uid {uid})", user.name),
        _ => format!("uid {uid}"),
    }
}

/// Checks that every directory down to `path` can be searched and `path`
/// itself entered.
pub(crate) fn enterable(path: &Path) -> Result<(), Closed> {
    reachable(path)?;
    usable(path, path, AccessFlags::X_OK, "entered")?;
    match path.is_dir() {
        true => Ok(()),
        false => Err(Closed { path: path.into(), component: path.into(), errno: Errno::ENOTDIR, wanted: "entered" }),
    }
}

/// Checks that `path` can be reached and executed.
pub(crate) fn executable(path: &Path) -> Result<(), Closed> {
    reachable(path)?;
    usable(path, path, AccessFlags::X_OK, "executed")
}

/// Checks that `path` can be reached and read.
pub(crate) fn readable(path: &Path) -> Result<(), Closed> {
    reachable(path)?;
    usable(path, path, AccessFlags::R_OK, "read")
}

fn reachable(path: &Path) -> Result<(), Closed> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|part| !part.as_os_str().is_empty()).collect();
    above.reverse();
    above.into_iter().try_for_each(|part| usable(path, part, AccessFlags::X_OK, "entered"))
}

fn usable(path: &Path, component: &Path, how: AccessFlags, wanted: &'static str) -> Result<(), Closed> {
    access(component, how).map_err(|errno| Closed { path: path.into(), component: component.into(), errno, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_component_is_named() {
        let error = enterable(Path::new("/usr/no-such-place/app")).unwrap_err().to_string();
        assert_eq!(error, "`/usr/no-such-place/app`: `/usr/no-such-place` does not exist");
        assert!(enterable(Path::new("/usr/lib")).is_ok());
        assert!(enterable(Path::new("/etc/passwd")).is_err());
    }
}
