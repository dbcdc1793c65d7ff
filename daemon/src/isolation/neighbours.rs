//! What belongs to other sites, and what is covered for all: paths of definitions alone,
//! without a look at the file system. Called by the supervisor when definitions change
//! and when a worker starts, and by `view`.

use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;

/// Directories of users and of sites, of run-time files and logs, and those with the
/// definitions of sites.
pub(super) const COVERS: [&str; 12] = [
    "/etc/apache2",
    "/etc/httpd",
    "/etc/wsgid",
    "/home",
    "/root",
    "/run",
    "/srv",
    "/var/log",
    "/var/mail",
    "/var/spool/cron",
    "/var/spool/mail",
    "/var/www",
];
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

/// Whether directories of the system are in it, or it is one.
pub(super) fn is_above_system(path: &Path) -> bool {
    let mut all = SYSTEM.iter().chain(&SYSTEM_ITSELF);
    all.any(|one| is_below(Path::new(one), path))
}

/// Whether a path is this directory, or below it.
pub(super) fn is_below(path: &Path, directory: &Path) -> bool {
    path.starts_with(directory)
}

pub(super) fn is_covered(path: &Path, covers: &[PathBuf]) -> bool {
    covers.iter().any(|cover| is_below(path, cover))
}

/// The site's own directories, of which those beside belong to others.
pub(super) fn own_roots(config: &GroupConfig) -> Vec<PathBuf> {
    match &config.home {
        Some(home) => vec![home.clone()],
        None => config.script_directories(),
    }
}

/// The directory that a site's own is in, unless it is the system's.
pub(super) fn directory_beside(own: &Path) -> Option<PathBuf> {
    let above = own.parent()?;
    let is_system = SYSTEM.iter().any(|one| is_below(above, Path::new(one)));
    let is_system = is_system || SYSTEM_ITSELF.iter().any(|one| above == Path::new(one));
    (!is_system).then(|| above.to_path_buf())
}

/// How something of another site is hidden, so that it stays hidden when it is replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hiding {
    /// Programs of the system, which hide nothing.
    None,
    /// The directory that it is in holds nothing else.
    Directory(PathBuf),
    /// The same, but what else is in it stays.
    DirectoryKeepingRest(PathBuf),
    /// Itself: its directory has what everybody needs, and changes.
    Itself,
}

/// How a path of another site is hidden.
pub(super) fn hiding_of(path: &Path) -> Hiding {
    /// Where packages of the system are, beside what is not of the system.
    const PACKAGES: [&str; 8] = [
        "/media",
        "/mnt",
        "/opt",
        "/usr/local",
        "/var/cache",
        "/var/lib",
        "/var/opt",
        "/var/spool",
    ];
    let is = |all: &[&str], path: &Path| all.iter().any(|one| path == Path::new(one));
    let Some(directory) = path.parent() else {
        return Hiding::None;
    };
    let is_program = is_below(path, Path::new("/usr")) && !is_below(path, Path::new("/usr/local"));
    if is_program {
        Hiding::None
    } else if is(&["/", "/etc", "/var"], directory) {
        Hiding::Itself
    } else if is(&PACKAGES, directory) {
        Hiding::DirectoryKeepingRest(directory.into())
    } else {
        Hiding::Directory(directory.into())
    }
}

/// What groups have that isolation of this one would not hide by itself.
pub(crate) fn far_from<'a>(
    config: &GroupConfig,
    all: impl Iterator<Item = &'a GroupConfig>,
) -> Vec<PathBuf> {
    let roots = own_roots(config);
    let beside = roots.iter().filter_map(|own| directory_beside(own));
    let covers: Vec<PathBuf> = beside.chain(COVERS.map(PathBuf::from)).collect();
    let mut paths = paths_of_others(config, all);
    let own = config.own_paths();
    let is_inside_own = |path: &PathBuf| own.iter().any(|one| is_below(path, one));
    paths.retain(|path| is_inside_own(path) || !is_covered(path, &covers));
    paths
}

/// What groups have, and this one does not have too.
pub(crate) fn paths_of_others<'a>(
    config: &GroupConfig,
    all: impl Iterator<Item = &'a GroupConfig>,
) -> Vec<PathBuf> {
    let own = config.own_paths();
    let foreign = all.filter(|other| other.name != config.name);
    let mut paths: Vec<PathBuf> = foreign
        .flat_map(|other| {
            if other.is_of_one_site_with(config) {
                // What is in it may be for that group alone.
                other.env_file.iter().cloned().collect()
            } else {
                other.own_paths()
            }
        })
        .filter(|path| !own.iter().any(|one| is_below(one, path)))
        .collect();
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
    fn what_is_replaced_stays_hidden() {
        for (path, hiding) in [
            ("/data/b", Hiding::Directory("/data".into())),
            ("/etc/sites/b.env", Hiding::Directory("/etc/sites".into())),
            ("/etc/b.env", Hiding::Itself),
            ("/opt/b", Hiding::DirectoryKeepingRest("/opt".into())),
            ("/opt/b/current", Hiding::Directory("/opt/b".into())),
            ("/usr/share/b", Hiding::None),
            ("/b", Hiding::Itself),
        ] {
            assert_eq!(hiding_of(Path::new(path)), hiding, "{path}");
        }
    }

    #[test]
    fn sites_beside_are_covered_and_others_are_named() {
        let own = group("own", "/data/sites/own");
        let beside = |path: &str| directory_beside(Path::new(path));
        assert_eq!(beside("/data/sites/own"), Some("/data/sites".into()));
        assert_eq!(beside("/opt/own"), None);
        assert_eq!(beside("/usr/share/own"), None);
        let others = [
            group("beside", "/data/sites/beside"),
            group("home", "/home/other"),
            group("far", "/opt/far"),
            group("inside", "/data/sites/own/inside"),
            group("above", "/data"),
            group("worker", "/data/sites/own"),
        ];
        let far = ["/data/sites/own/inside", "/opt/far"].map(PathBuf::from);
        assert_eq!(far_from(&own, others.iter()), far);
        let all = paths_of_others(&own, others.iter());
        assert!(all.contains(&"/data/sites/beside".into()), "{all:?}");
    }
}
