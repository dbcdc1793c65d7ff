//! The directory of everything that is generated. Called by `mod`; it must be
//! safe in a world-writable place under a name that others can foresee.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, chown, geteuid};

use crate::atomic_write::write_whole;

/// Why the server root could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootError {
    #[error("server root `{0}` is a symbolic link; remove it or choose another with --server-root")]
    Symlink(PathBuf),
    #[error(
        "server root `{0}` exists and is not a directory; remove it or choose another with --server-root"
    )]
    NotADirectory(PathBuf),
    #[error(
        "server root `{0}` belongs to uid {1}, not to uid {2} who starts this server; choose another with --server-root"
    )]
    Owner(PathBuf, u32, u32),
    #[error(
        "server root `{0}` is writable by others (mode {1:o}); make it yours alone with chmod go-w"
    )]
    Writable(PathBuf, u32),
    #[error(
        "server root `{0}` is too long a name for the socket in it ({1} bytes, at most {2}); choose a shorter one with --server-root"
    )]
    TooLong(PathBuf, usize, usize),
    #[error("failed to make `{0}`: {1}")]
    Make(PathBuf, io::Error),
    #[error("failed to write `{0}`: {1}")]
    Write(PathBuf, io::Error),
}

/// What the longest socket name in the root may add, and what `sun_path` holds.
const SOCKET_NAME_LEN: usize = "/control.sock".len();
const SUN_PATH_LEN: usize = 107;

/// A server root that belongs to this user and to nobody else.
#[derive(Clone, Debug)]
pub(crate) struct ServerRoot {
    path: PathBuf,
}

impl ServerRoot {
    /// Makes the directory, or takes it over if it is safe.
    pub(crate) fn claim(path: &Path) -> Result<Self, RootError> {
        let most = SUN_PATH_LEN - SOCKET_NAME_LEN;
        let len = path.as_os_str().len();
        if len > most {
            return Err(RootError::TooLong(path.into(), len, most));
        }
        let facts = create(path).map_err(|error| RootError::Make(path.into(), error))?;
        let mode = facts.mode() & 0o7777;
        let me = geteuid().as_raw();
        if facts.is_symlink() {
            Err(RootError::Symlink(path.into()))
        } else if !facts.is_dir() {
            Err(RootError::NotADirectory(path.into()))
        } else if facts.uid() != me {
            Err(RootError::Owner(path.into(), facts.uid(), me))
        } else if mode & 0o022 != 0 {
            Err(RootError::Writable(path.into(), mode))
        } else {
            Ok(Self {
                path: path.to_path_buf(),
            })
        }
    }

    /// Writes a file as a whole: a reader sees the old or the new one.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), RootError> {
        let path = self.path.join(name);
        write_whole(&path, text.as_bytes(), mode).map_err(|error| RootError::Write(path, error))
    }

    /// Writes a file unless it is there, for what people edit.
    pub(crate) fn write_once(&self, name: &str, text: &str, mode: u32) -> Result<(), RootError> {
        if self.path.join(name).exists() {
            return Ok(());
        }
        self.write(name, text, mode)
    }

    /// Makes a directory in the root; with an account, one that it may write to.
    pub(crate) fn directory(&self, name: &str, owner: Option<(Uid, Gid)>) -> Result<(), RootError> {
        own_directory(&self.path.join(name), owner)
    }
}

/// Makes a directory (its parents must exist or be makeable) and gives it away.
pub(crate) fn own_directory(path: &Path, owner: Option<(Uid, Gid)>) -> Result<(), RootError> {
    make_and_give(path, owner).map_err(|error| RootError::Make(path.into(), error))
}

fn make_and_give(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    fs::create_dir_all(path)?;
    if let Some((uid, gid)) = owner {
        // The link itself would be changed, never what it points to.
        if fs::symlink_metadata(path)?.is_dir() {
            chown(path, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

/// Makes the directory of the root unless something is there; says what is there.
fn create(path: &Path) -> io::Result<fs::Metadata> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => fs::symlink_metadata(path),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        (place, root)
    }

    #[test]
    fn a_root_is_made_and_taken_over_again() {
        let (_place, root) = place();
        let claimed = ServerRoot::claim(&root).unwrap();
        let file = root.join("x");
        claimed.write("x", "one", 0o640).unwrap();
        claimed.write("x", "two", 0o755).unwrap();
        claimed.write_once("x", "three", 0o755).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        ServerRoot::claim(&root).unwrap();
    }

    #[test]
    fn a_link_is_refused() {
        let (place, root) = place();
        std::os::unix::fs::symlink(place.path(), &root).unwrap();
        assert!(matches!(
            ServerRoot::claim(&root),
            Err(RootError::Symlink(_))
        ));
    }

    #[test]
    fn a_file_and_an_open_directory_are_refused() {
        let (_place, root) = place();
        fs::write(&root, "").unwrap();
        assert!(matches!(
            ServerRoot::claim(&root),
            Err(RootError::NotADirectory(_))
        ));
        fs::remove_file(&root).unwrap();
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            ServerRoot::claim(&root),
            Err(RootError::Writable(_, 0o777))
        ));
    }

    #[test]
    fn another_owner_is_refused() {
        let (_place, root) = place();
        fs::create_dir(&root).unwrap();
        if !geteuid().is_root() {
            return; // Only root can give a directory away.
        }
        chown(&root, Some(Uid::from_raw(65534)), None).unwrap();
        assert!(matches!(
            ServerRoot::claim(&root),
            Err(RootError::Owner(_, 65534, 0))
        ));
    }

    #[test]
    fn a_name_too_long_for_a_socket_is_refused() {
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(100)));
        assert!(matches!(
            ServerRoot::claim(&long),
            Err(RootError::TooLong(..))
        ));
    }
}
