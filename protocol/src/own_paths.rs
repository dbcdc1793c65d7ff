//! Whether a group is to be kept apart from others, and what of the file system its
//! definition says is its own.

use std::path::{Path, PathBuf};

use crate::config::{GroupConfig, LogTarget};
use crate::isolation::Isolation;

impl GroupConfig {
    /// Whether anything is to be kept apart.
    pub fn is_isolated(&self) -> bool {
        let singles = [
            self.private_tmp,
            self.protect_system,
            self.protect_home,
            self.private_devices,
            self.protect_proc,
        ];
        self.isolation > Isolation::None
            || singles.contains(&Some(true))
            || !self.inaccessible_paths.is_empty()
            || !self.restrict_address_families.is_empty()
            || !self.connect_ports.is_empty()
    }

    /// What of a group belongs to it alone: the directories and files that its
    /// definition names.
    pub fn own_paths(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = self.home.iter().cloned().collect();
        paths.extend(self.script_directories());
        paths.extend(self.env_file.iter().cloned());
        if let LogTarget::File(log) = &self.log {
            paths.push(log.clone());
        }
        paths.extend(self.read_write_paths.iter().cloned());
        paths.extend(self.python_path.iter().cloned());
        paths
    }

    /// Its scripts and directories of scripts, as its definition names them. What workers
    /// say they have loaded is not among them.
    pub fn script_places(&self) -> Vec<PathBuf> {
        let files = self.runs.files.iter().map(PathBuf::from);
        let preloaded = self.preload_scripts.iter();
        // Without a callable that somebody has named, a worker has said it.
        let preloaded = preloaded.filter(|one| one.callable.as_deref() != Some(""));
        let directories = self.runs.directories.iter().map(PathBuf::from);
        let mut places: Vec<PathBuf> = files
            .chain(preloaded.map(|one| one.script.clone()))
            .chain(directories)
            .collect();
        places.sort();
        places.dedup();
        places
    }

    /// The directories that its scripts are in, as far as their names tell: what has no
    /// extension is a directory itself.
    pub fn script_directories(&self) -> Vec<PathBuf> {
        let places = self.script_places().into_iter();
        let mut directories: Vec<PathBuf> = places
            .filter_map(|place| match place.extension() {
                Some(_) => place.parent().map(Path::to_path_buf),
                None => Some(place),
            })
            .collect();
        directories.dedup();
        directories
    }
}
