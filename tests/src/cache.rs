//! A directory for what is dear to make (interpreters, virtual environments),
//! kept between runs and readable by the users that workers run as.
//!
//! It knows nothing of what is kept in it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::artifacts;

/// Where root keeps it if the target directory is closed to other users. Only
/// root can write its parent, so nobody else can have put it there.
const FOR_ALL: &str = "/var/cache/wsgid-tests";

/// The cache directory: below Cargo's target directory if everybody can reach
/// that, or if there is only one user anyway.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn directory() -> PathBuf {
    let beside = artifacts::target_directory();
    let directory = if !nix::unistd::geteuid().is_root() || open_to_all(&beside) {
        beside.join("wsgid-tests")
    } else {
        PathBuf::from(FOR_ALL)
    };
    make_readable_directory(&directory);
    directory.canonicalize().unwrap_or(directory)
}

/// Whether every user can enter this directory and all above it.
#[must_use]
pub fn open_to_all(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    path.ancestors()
        .all(|part| fs::metadata(part).is_ok_and(|meta| meta.permissions().mode() & 0o005 == 0o005))
}

/// Makes a directory that others may read, whatever the umask is.
///
/// # Panics
/// If that fails.
pub fn make_readable_directory(path: &Path) {
    fs::create_dir_all(path)
        .unwrap_or_else(|error| panic!("failed to make `{}`: {error}", path.display()));
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
}

/// Returns `<cache>/<name>`, made by `make` (which gets that path, not existing)
/// if no run before has made it. Test programs that want the same wait.
///
/// # Panics
/// If `make` fails or the cache cannot be written.
pub fn entry(name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> PathBuf {
    let directory = directory();
    let path = directory.join(name);
    let done = directory.join(format!("{name}.done"));
    let lock =
        File::create(directory.join(format!("{name}.lock"))).expect("the cache can be written");
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .expect("a lock is to be had");
    if !done.exists() {
        let _ = fs::remove_dir_all(&path);
        if let Err(reason) = make(&path) {
            let _ = fs::remove_dir_all(&path);
            panic!("failed to make `{}`: {reason}", path.display());
        }
        fs::write(&done, "").expect("the cache can be written");
    }
    path
}
