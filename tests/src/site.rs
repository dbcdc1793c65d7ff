//! One site: a directory with scripts that belongs to a user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cache::make_readable_directory;
use crate::users::{self, TestUser};

/// A site. Its directory goes when it is dropped.
#[derive(Debug)]
pub struct Site {
    directory: TempDir,
    user: Option<TestUser>,
}

impl Site {
    /// A site that holds all of `tests/apps` and belongs to whoever runs the
    /// tests, readable for all.
    ///
    /// # Panics
    /// If the directory cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let directory = temporary_directory("wsgid-site-");
        for entry in fs::read_dir(apps()).expect("tests/apps is there").flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "py")
            {
                fs::copy(entry.path(), directory.path().join(entry.file_name()))
                    .expect("a script can be copied");
            }
        }
        Self {
            directory,
            user: None,
        }
    }

    /// The same, owned by a user and closed to all others.
    #[must_use]
    pub fn of(user: &TestUser) -> Self {
        let mut site = Self::new();
        site.user = Some(user.clone());
        let _ = fs::set_permissions(site.path(), fs::Permissions::from_mode(0o711));
        users::give(site.path(), user);
        site
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The option that lets its scripts import each other.
    #[must_use]
    pub fn python_path(&self) -> String {
        format!("python-path={}", self.path().display())
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        if let Some(parent) = path.parent() {
            make_readable_directory(parent);
        }
        fs::write(&path, text).expect("a site's file can be written");
        let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o644));
        if let Some(user) = &self.user {
            users::give(&path, user);
        }
        path
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// The applications that come with the tests.
#[must_use]
pub fn apps() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("apps")
}

/// A temporary directory that other users can enter.
pub(crate) fn temporary_directory(prefix: &str) -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .expect("a temporary directory can be made");
    let _ = fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755));
    directory
}
