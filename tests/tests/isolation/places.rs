//! Directories all over the machine for the time of a case: where sites have what others are after.
//! As an ordinary user all of them lie in one temporary directory.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;
use wsgid_tests::{TestUser, users};

/// Those above directories of a case that had to be made, and are in the way of nobody.
static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn made() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One that is removed when it is dropped, and those above it with the last that is in them.
#[derive(Debug)]
pub(crate) struct Directory {
    // First: what is above goes last.
    directory: TempDir,
    _above: Above,
}

#[derive(Debug)]
struct Above;

impl Drop for Above {
    fn drop(&mut self) {
        // Those below first.
        let mut all = made();
        let removed: Vec<PathBuf> = all.iter().rev().cloned().collect();
        for path in removed {
            if fs::remove_dir(&path).is_ok() {
                all.remove(&path);
            }
        }
    }
}

impl Directory {
    /// In this one if root runs the tests, open to all and nobody else's.
    pub(crate) fn below(parent: &str) -> Self {
        let parent = if users::is_root() {
            PathBuf::from(parent)
        } else {
            std::env::temp_dir()
        };
        // Nobody removes one meanwhile.
        let mut all = made();
        let missing = parent.ancestors().take_while(|path| !path.exists());
        let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        missing.reverse();
        for path in missing {
            fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            mode(&path, 0o755);
            all.insert(path);
        }
        let directory = tempfile::Builder::new()
            .prefix("wsgid-isolation-")
            .tempdir_in(&parent)
            .unwrap_or_else(|error| panic!("{}: {error}", parent.display()));
        mode(directory.path(), 0o755);
        Self {
            directory,
            _above: Above,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A directory in it that belongs to a user.
    pub(crate) fn of(&self, name: &str, user: Option<&TestUser>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(&path).expect("a directory can be made");
        mode(&path, 0o755);
        give(&path, user);
        path
    }
}

pub(crate) fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).expect("it is this process's");
}

pub(crate) fn give(path: &Path, user: Option<&TestUser>) {
    if let Some(user) = user.filter(|_| users::is_root()) {
        chown(path, Some(user.uid), Some(user.gid)).expect("root can give it away");
    }
}

/// Writes a file that belongs to a user.
pub(crate) fn write(path: &Path, text: &str, bits: u32, user: Option<&TestUser>) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    mode(path, bits);
    give(path, user);
}

/// All that the sites of a case use.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) sites: Directory,
    pub(crate) etc: Directory,
    /// In `/etc` too, without anything of others.
    pub(crate) own_etc: Directory,
    pub(crate) usr: Directory,
    pub(crate) var: Directory,
    pub(crate) log: Directory,
    pub(crate) elsewhere: Directory,
    /// In `/opt` too; nothing in it is named to anybody.
    pub(crate) unnamed: Directory,
    pub(crate) homes: Directory,
    pub(crate) www: Directory,
    pub(crate) run: Directory,
    /// Open to all, as `setuid` is to be run.
    pub(crate) device: Option<Device>,
}

/// A device node in `/dev`.
#[derive(Debug)]
pub(crate) struct Device(pub(crate) PathBuf);

impl Device {
    /// Another name of the null device, for all to open.
    fn make(name: &OsStr) -> Option<Self> {
        use nix::sys::stat::{Mode, SFlag, makedev, mknod};
        if !users::is_root() {
            return None;
        }
        let path = Path::new("/dev").join(name);
        let bits = Mode::from_bits_truncate(0o666);
        mknod(&path, SFlag::S_IFCHR, bits, makedev(1, 3)).ok()?;
        mode(&path, 0o666);
        Some(Self(path))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Places {
    pub(crate) fn make() -> Self {
        let sites = Directory::below("/srv");
        let places = Self {
            device: Device::make(sites.path().file_name().expect("it has a name")),
            sites,
            etc: Directory::below("/etc"),
            own_etc: Directory::below("/etc"),
            usr: Directory::below("/usr/local/lib"),
            var: Directory::below("/var/lib"),
            log: Directory::below("/var/log"),
            elsewhere: Directory::below("/opt"),
            unnamed: Directory::below("/opt"),
            homes: Directory::below("/home"),
            www: Directory::below("/var/www"),
            run: Directory::below("/run"),
        };
        if users::is_root() {
            let program = places.setuid();
            fs::copy("/usr/bin/id", &program).expect("a program can be copied");
            mode(&program, 0o4755);
        }
        places
    }

    /// A program that runs as root, whoever starts it.
    pub(crate) fn setuid(&self) -> PathBuf {
        self.usr.path().join("id")
    }
}
