//! What belongs to other sites, and what is covered for all: paths of definitions alone,
//! without a look at the file system. Called by the supervisor when definitions change
//! and when a worker starts, and by `view`.

use std::ops::Range;
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

/// A group, and what its definition says is its own.
struct Site<'a> {
    config: &'a GroupConfig,
    directories: Vec<PathBuf>,
    paths: Vec<PathBuf>,
}

impl<'a> Site<'a> {
    fn of(config: &'a GroupConfig) -> Self {
        Self {
            config,
            directories: config.script_directories(),
            paths: config.own_paths(),
        }
    }

    /// Whether a path of the other is none of its own: the other belongs to others, with
    /// another home, or, where neither has one, with no script in the same directory. What
    /// is in an `env-file=` is for the group alone that names it.
    fn is_kept_from(&self, other: &Self, path: &Path) -> bool {
        if self.config.name == other.config.name || self.needs(path) {
            return false;
        }
        let is_one_site = match (&self.config.home, &other.config.home) {
            (None, None) => {
                let is_shared = |one: &PathBuf| self.directories.contains(one);
                other.directories.iter().any(is_shared)
            }
            (own, others) => own == others,
        };
        !is_one_site || other.config.env_file.as_deref() == Some(path)
    }

    /// Whether a path is one of its own, or above one.
    fn needs(&self, path: &Path) -> bool {
        self.paths.iter().any(|one| is_below(one, path))
    }
}

/// Groups of one user, so that what each has is worked out once and found by its path.
pub(crate) struct Neighbours<'a> {
    sites: Vec<Site<'a>>,
    /// Their own paths, each with the site that it belongs to: sorted.
    paths: Vec<(PathBuf, usize)>,
    /// Those of them that isolation would not hide by itself.
    exposed: Vec<(PathBuf, usize)>,
}

impl<'a> Neighbours<'a> {
    pub(crate) fn of(all: impl IntoIterator<Item = &'a GroupConfig>) -> Self {
        let sites: Vec<Site<'_>> = all.into_iter().map(Site::of).collect();
        let paths = sites.iter().enumerate();
        let paths =
            paths.flat_map(|(at, site)| site.paths.iter().map(move |one| (one.clone(), at)));
        let mut paths: Vec<(PathBuf, usize)> = paths.collect();
        paths.sort();
        let covers = COVERS.map(PathBuf::from);
        let exposed = paths.iter().filter(|(path, _)| !is_covered(path, &covers));
        Self {
            exposed: exposed.cloned().collect(),
            sites,
            paths,
        }
    }

    /// What they have that isolation of this group would not hide by itself, but for what
    /// is beside it.
    pub(crate) fn far_from(&self, config: &GroupConfig) -> Vec<PathBuf> {
        let own = Site::of(config);
        let roots = own_roots(config);
        let beside = roots.iter().filter_map(|own| directory_beside(own));
        let mut beside: Vec<Range<usize>> = beside
            .map(|directory| below(&self.exposed, &directory))
            .collect();
        // Each lies in another, or apart from it.
        beside.sort_by_key(|range| range.start);
        let mut parts = Vec::new();
        let mut from = 0;
        for range in beside {
            parts.extend(self.exposed.get(from..range.start));
            from = from.max(range.end);
        }
        parts.push(&self.exposed[from..]);
        let inside = own.paths.iter();
        parts.extend(inside.map(|one| &self.paths[below(&self.paths, one)]));
        let found = parts.into_iter().flatten();
        let foreign = found.filter(|(path, at)| own.is_kept_from(&self.sites[*at], path));
        let mut paths: Vec<PathBuf> = foreign.map(|(path, _)| path.clone()).collect();
        paths.sort();
        paths.dedup();
        paths
    }
}

/// Where the paths in this directory are: a sorted list has them side by side.
fn below(paths: &[(PathBuf, usize)], directory: &Path) -> Range<usize> {
    let start = paths.partition_point(|(path, _)| path.as_path() < directory);
    let count = paths[start..].partition_point(|(path, _)| is_below(path, directory));
    start..start + count
}

/// What groups have, and this one does not have too.
pub(crate) fn paths_of_others<'a>(
    config: &GroupConfig,
    all: impl Iterator<Item = &'a GroupConfig>,
) -> Vec<PathBuf> {
    let own = Site::of(config);
    let mut paths = Vec::new();
    for other in all.map(Site::of) {
        let others = other.paths.iter();
        paths.extend(
            others
                .filter(|path| own.is_kept_from(&other, path))
                .cloned(),
        );
    }
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
        assert_eq!(Neighbours::of(&others).far_from(&own), far);
        let all = paths_of_others(&own, others.iter());
        assert!(all.contains(&"/data/sites/beside".into()), "{all:?}");
    }

    /// The same, by a look at each pair.
    fn far_from_one_by_one(config: &GroupConfig, all: &[GroupConfig]) -> Vec<PathBuf> {
        let roots = own_roots(config);
        let beside = roots.iter().filter_map(|own| directory_beside(own));
        let covers: Vec<PathBuf> = beside.chain(COVERS.map(PathBuf::from)).collect();
        let own = Site::of(config);
        let is_inside = |path: &PathBuf| own.paths.iter().any(|one| is_below(path, one));
        let mut paths = paths_of_others(config, all.iter());
        paths.retain(|path| is_inside(path) || !is_covered(path, &covers));
        paths
    }

    #[test]
    fn a_sorted_list_finds_what_a_look_at_each_finds() {
        let mut all = vec![
            group("inside", "/data/sites/7/inside"),
            group("inside-home", "/home/7/inside"),
            group("above", "/data"),
            group("root", "/"),
            group("name-goes-on", "/data/sites-more/a"),
            group("far", "/opt/far"),
        ];
        for number in 0..12 {
            for directory in ["/data/sites", "/home", "/data/sites/deep", "/opt"] {
                let name = format!("{directory}/{number}");
                let mut config = group(&name, &name);
                config
                    .runs
                    .add_file(&format!("/code/{}/app.py", number % 4));
                config
                    .set("env-file", &format!("/data/env/{number}"))
                    .unwrap();
                all.push(config);
                let mut config = GroupConfig::new(format!("{name} without home"), "test:1");
                for script in [
                    format!("{name}/bin/app.py"),
                    format!("/data/{number}/x/app.py"),
                ] {
                    config.runs.add_file(&script);
                }
                all.push(config);
            }
        }
        let neighbours = Neighbours::of(&all);
        let mut found = 0;
        for config in &all {
            let far = neighbours.far_from(config);
            found += far.len();
            assert_eq!(far, far_from_one_by_one(config, &all), "{}", config.name);
        }
        assert!(found > all.len(), "{found}");
    }

    #[test]
    fn many_sites_of_a_user_are_looked_at_once() {
        let sites: Vec<GroupConfig> = (0..2000)
            .map(|number| {
                let home = format!("/data/sites/{number}");
                let mut config = group(&number.to_string(), &home);
                config.runs.add_file(&format!("{home}/app.py"));
                config
            })
            .collect();
        let begun = std::time::Instant::now();
        let neighbours = Neighbours::of(&sites);
        for config in &sites {
            assert_eq!(neighbours.far_from(config), Vec::<PathBuf>::new());
        }
        // A look at each pair takes half a minute in a build like this.
        let took = begun.elapsed();
        assert!(took.as_secs() < 10, "{took:?}");
    }
}
