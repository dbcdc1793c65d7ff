//! What belongs to other sites, and what is covered for all: paths of definitions alone,
//! without a look at the file system. Called by the supervisor when definitions change
//! and when a worker starts, and by `view`.

use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;

/// Directories of users, of sites and of run-time files.
pub(super) const COVERS: [&str; 5] = ["/home", "/root", "/run", "/srv", "/var/www"];
/// Directories of the system: what is in them is not there for sites alone.
const SYSTEM: [&str; 13] = [
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run",
    "/sbin", "/sys", "/usr",
];
/// The same, but directories in them may be sites.
const SYSTEM_ITSELF: [&str; 8] = [
    "/",
    "/media",
    "/mnt",
    "/opt",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/opt",
];

/// Whether a path is this directory, or below it.
pub(super) fn is_below(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory)
}

pub(super) fn is_covered(path: &Path, covers: &[PathBuf]) -> bool {
    covers.iter().any(|cover| is_below(path, cover))
}

/// The directories that the site's own are in: what else is there belongs to others.
pub(super) fn directories_beside(config: &GroupConfig) -> Vec<PathBuf> {
    let own = match &config.home {
        Some(home) => vec![home.clone()],
        None => config.script_directories(),
    };
    let above = own.iter().filter_map(|path| path.parent());
    let above = above.filter(|path| {
        let is_system = SYSTEM.iter().any(|one| is_below(path, Path::new(one)));
        !is_system && !SYSTEM_ITSELF.iter().any(|one| *path == Path::new(one))
    });
    above.map(Path::to_path_buf).collect()
}

/// What other groups have that isolation of this one would not hide by itself.
/// `is_other` says whether a group counts.
pub(crate) fn paths_of_others<'a>(
    config: &GroupConfig,
    all: impl Iterator<Item = &'a GroupConfig>,
) -> Vec<PathBuf> {
    let mut covers = directories_beside(config);
    covers.extend(COVERS.iter().map(PathBuf::from));
    let own = config.own_paths();
    let foreign =
        all.filter(|other| other.name != config.name && !other.is_of_one_site_with(config));
    let mut paths: Vec<PathBuf> = foreign.flat_map(GroupConfig::own_paths).collect();
    let is_exposed = |path: &PathBuf| {
        let is_own = own.iter().any(|one| is_below(one, path));
        let is_inside = own.iter().any(|one| is_below(path, one));
        !is_own && (is_inside || !is_covered(path, &covers))
    };
    paths.retain(is_exposed);
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, home: &str) -> GroupConfig {
        let mut config = GroupConfig::new(name, "test:1");
        config.set("home", home).unwrap();
        config
    }

    #[test]
    fn sites_beside_are_covered_and_others_are_named() {
        let own = group("own", "/data/sites/own");
        assert_eq!(directories_beside(&own), [PathBuf::from("/data/sites")]);
        assert!(directories_beside(&group("own", "/opt/own")).is_empty());
        assert!(directories_beside(&group("own", "/usr/share/own")).is_empty());
        let others = [
            group("beside", "/data/sites/beside"),
            group("home", "/home/other"),
            group("far", "/opt/far"),
            group("inside", "/data/sites/own/inside"),
            group("above", "/data"),
            group("worker", "/data/sites/own"),
        ];
        let named = paths_of_others(&own, others.iter());
        let wanted = ["/data/sites/own/inside", "/opt/far"].map(PathBuf::from);
        assert_eq!(named, wanted);
    }
}
