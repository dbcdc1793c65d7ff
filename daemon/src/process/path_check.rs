//! Which component of a path is closed, for whom, in words. Used after the
//! change of user, by the launcher and by `wsgid check`; looks with the rights that
//! the process has at that moment.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, Uid, User, access};

/// Links that are followed in one path, as the kernel has it.
const LINKS_MAX: usize = 40;

/// A path that cannot be used, with the component that is to blame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    path: PathBuf,
    component: PathBuf,
    /// The last link on the way to it, and where that leads.
    link: Option<(PathBuf, PathBuf)>,
    errno: Errno,
    wanted: &'static str,
}

impl std::error::Error for Closed {}

impl fmt::Display for Closed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let component = self.component.display();
        write!(out, "`{path}`: ")?;
        if let Some((link, target)) = &self.link {
            let link = link.display();
            write!(out, "`{link}` is a link to `{}`, and ", target.display())?;
        }
        match self.errno {
            Errno::ENOENT => write!(out, "`{component}` does not exist"),
            Errno::ENOTDIR => write!(out, "`{component}` is not a directory"),
            Errno::EISDIR => write!(out, "`{component}` is a directory; name the file in it"),
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
    let mut walk = Walk::along(path)?;
    if walk.at.is_dir() {
        walk.usable(AccessFlags::X_OK, "entered")
    } else {
        Err(walk.closed(Errno::ENOTDIR, "entered"))
    }
}

/// Checks that `path` can be reached and executed.
pub(crate) fn executable(path: &Path) -> Result<(), Closed> {
    Walk::along(path)?.usable(AccessFlags::X_OK, "executed")
}

/// Checks that `path` can be reached and read.
pub(crate) fn readable(path: &Path) -> Result<(), Closed> {
    Walk::along(path)?.usable(AccessFlags::R_OK, "read")
}

/// Checks that `path` can be written to, or made.
pub(crate) fn appendable(path: &Path) -> Result<(), Closed> {
    match (Walk::along(path), path.parent()) {
        (Ok(mut walk), _) if walk.at.is_dir() => Err(walk.closed(Errno::EISDIR, "written to")),
        (Ok(mut walk), _) => walk.usable(AccessFlags::W_OK, "written to"),
        (Err(closed), Some(parent)) if closed.errno == Errno::ENOENT => {
            let how = AccessFlags::W_OK | AccessFlags::X_OK;
            let way = Walk::along(parent).and_then(|mut walk| walk.usable(how, "written to"));
            way.map_err(|closed| Closed {
                path: path.into(),
                ..closed
            })
        }
        (Err(closed), _) => Err(closed),
    }
}

/// A way along a path, as the kernel goes: link by link, so that what is closed
/// is named by its own name.
struct Walk<'p> {
    path: &'p Path,
    /// Where it has come to, without links.
    at: PathBuf,
    link: Option<(PathBuf, PathBuf)>,
}

impl<'p> Walk<'p> {
    /// Goes to the end; every directory on the way can be searched.
    fn along(path: &'p Path) -> Result<Self, Closed> {
        let mut walk = Self {
            path,
            at: PathBuf::new(),
            link: None,
        };
        let mut left = parts(path);
        let mut links = 0;
        while let Some(part) = left.pop() {
            let before = walk.at.clone();
            match part.as_os_str().as_bytes() {
                b".." => drop(walk.at.pop()),
                _ => walk.at.push(&part),
            }
            let facts = match walk.at.symlink_metadata() {
                Ok(facts) => facts,
                Err(error) => {
                    let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
                    return Err(walk.closed(errno, "reached"));
                }
            };
            if facts.is_symlink() {
                links += 1;
                let target = walk.at.read_link().unwrap_or_default();
                if links > LINKS_MAX {
                    return Err(walk.closed(Errno::ELOOP, "reached"));
                }
                walk.link = Some((std::mem::replace(&mut walk.at, before), target.clone()));
                left.extend(parts(&target));
                continue;
            }
            if !left.is_empty() {
                walk.usable(AccessFlags::X_OK, "entered")?;
                if !facts.is_dir() {
                    return Err(walk.closed(Errno::ENOTDIR, "entered"));
                }
            }
        }
        Ok(walk)
    }

    fn usable(&mut self, how: AccessFlags, wanted: &'static str) -> Result<(), Closed> {
        access(&self.at, how).map_err(|errno| self.closed(errno, wanted))
    }

    fn closed(&mut self, errno: Errno, wanted: &'static str) -> Closed {
        Closed {
            path: self.path.into(),
            component: self.at.clone(),
            link: self.link.take(),
            errno,
            wanted,
        }
    }
}

/// The components of a path, the last first.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .map(|part| part.as_os_str().into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_component_is_named() {
        let error = enterable(Path::new("/usr/no-such-place/app"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`/usr/no-such-place/app`: `/usr/no-such-place` does not exist"
        );
        assert!(enterable(Path::new("/usr/lib")).is_ok());
        assert!(enterable(Path::new("/etc/passwd")).is_err());
    }

    #[test]
    fn what_is_behind_a_link_is_named_by_its_own_name() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().canonicalize().unwrap().join(name);
        std::fs::create_dir_all(at("releases/5")).unwrap();
        std::fs::write(at("releases/5/app.wsgi"), "").unwrap();
        std::os::unix::fs::symlink("releases/5", at("current")).unwrap();
        assert_eq!(readable(&at("current/app.wsgi")), Ok(()));
        assert_eq!(readable(&at("current/../5/app.wsgi")), Ok(()));
        assert_eq!(appendable(&at("current/new.log")), Ok(()));
        std::fs::rename(at("releases/5"), at("releases/6")).unwrap();
        let text = readable(&at("current/app.wsgi")).unwrap_err().to_string();
        let link = at("current");
        let gone = at("releases/5");
        let wanted = format!(
            "`{}` is a link to `releases/5`, and `{}` does not exist",
            link.display(),
            gone.display()
        );
        assert!(text.ends_with(&wanted), "{text}");
        std::os::unix::fs::symlink("round", at("round")).unwrap();
        assert!(readable(&at("round")).is_err());
    }
}
