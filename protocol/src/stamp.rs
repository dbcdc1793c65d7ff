//! What tells one state of a file from another: where it is, how long, and when it was
//! written. Taken by workers of what they load; compared by them and by the supervisor,
//! which never looks at a site's files itself.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The state of a file. Links are followed: one that is switched to another file is a
/// change, whatever time that file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct FileStamp {
    /// The file system.
    pub device: u64,
    /// The file on it.
    pub inode: u64,
    /// Its length in bytes.
    pub size: u64,
    /// When it was written last: seconds, and nanoseconds beside them.
    pub modified: (i64, i64),
}

/// A file and its state; `None`: it is not there.
pub type StampedFile = (PathBuf, Option<FileStamp>);

impl FileStamp {
    /// Of what is there now; `None` if there is nothing, or it cannot be seen.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|data| Self::from(&data))
    }

    /// Of an open file, whatever its name says by now.
    pub fn of_open(file: &File) -> Option<Self> {
        file.metadata().ok().map(|data| Self::from(&data))
    }
}

impl From<&Metadata> for FileStamp {
    fn from(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn another_file_with_the_same_time_is_another_state() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["one", "two"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("app"), name).unwrap();
        }
        let time = fs::metadata(at("one/app")).unwrap().modified().unwrap();
        let second = File::options().write(true).open(at("two/app")).unwrap();
        second.set_modified(time).unwrap();
        symlink("one", at("current")).unwrap();
        let before = FileStamp::of(&at("current/app"));
        assert_eq!(before, FileStamp::of(&at("one/app")));
        symlink("two", at("next")).unwrap();
        fs::rename(at("next"), at("current")).unwrap();
        assert_ne!(FileStamp::of(&at("current/app")), before);
        assert_eq!(
            FileStamp::of(&at("current/app")),
            FileStamp::of_open(&second)
        );
        assert_eq!(FileStamp::of(&at("none")), None);
    }
}
