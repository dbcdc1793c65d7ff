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
        paths
    }

    /// The directories that its scripts are in.
    pub fn script_directories(&self) -> Vec<PathBuf> {
        let files = self.runs.files.iter().map(Path::new);
        let preloaded = self.preload_scripts.iter().map(|one| one.script.as_path());
        let mut directories: Vec<PathBuf> = files
            .chain(preloaded)
            .filter_map(Path::parent)
            .map(Path::to_path_buf)
            .collect();
        directories.extend(self.runs.directories.iter().map(PathBuf::from));
        directories.sort();
        directories.dedup();
        directories
    }

    /// Whether both are parts of one site: the same home, or scripts of one directory.
    pub fn is_of_one_site_with(&self, other: &Self) -> bool {
        let same_home = self.home.is_some() && self.home == other.home;
        let own = self.script_directories();
        same_home
            || other
                .script_directories()
                .iter()
                .any(|one| own.contains(one))
    }
}
