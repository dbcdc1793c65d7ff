//! Files beside the scripts that this process depends on, and their states when it
//! read them: those that options name, and those that the application has named
//! (`core`). Reported before `Ready`, watched by `monitor`.

use std::path::PathBuf;
use std::sync::Mutex;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::stamp::{FileStamp, StampedFile};

use crate::lock;

#[derive(Default)]
pub(crate) struct LoadedFiles {
    of_options: Mutex<Vec<StampedFile>>,
    /// Not handed over to who watches yet.
    of_application: Mutex<Vec<StampedFile>>,
}

impl LoadedFiles {
    /// The files that the group's options name, as they are now.
    pub(crate) fn note_options(&self, group: &GroupConfig) {
        let paths = group.env_file.iter().chain(&group.reload_files);
        *lock::detached(&self.of_options) = stamped(paths.cloned());
    }

    pub(crate) fn options(&self) -> Vec<StampedFile> {
        lock::detached(&self.of_options).clone()
    }

    /// The application names files, as they are now.
    pub(crate) fn note_application(&self, paths: Vec<PathBuf>) {
        lock::detached(&self.of_application).extend(stamped(paths.into_iter()));
    }

    pub(crate) fn take_application(&self) -> Vec<StampedFile> {
        std::mem::take(&mut *lock::detached(&self.of_application))
    }

    /// All of them, for the worker that this process has become.
    pub(crate) fn take(&self) -> Self {
        Self {
            of_options: Mutex::new(self.options()),
            of_application: Mutex::new(self.take_application()),
        }
    }
}

fn stamped(paths: impl Iterator<Item = PathBuf>) -> Vec<StampedFile> {
    paths
        .map(|path| {
            let stamp = FileStamp::of(&path);
            (path, stamp)
        })
        .collect()
}
