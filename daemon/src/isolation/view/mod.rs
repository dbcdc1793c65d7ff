//! What a site reaches of the file system: which paths are shown, where links lead, what
//! is covered. Looks with the rights of the site's user only, and changes nothing.
//! `mounts` carries it out, `domain` has the kernel hold it once more.

pub(super) mod links;
mod own;
mod python;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::{Isolation, IsolationPlaces};

use super::neighbours::{
    COVERS, Hiding, hiding_of, is_above_system, is_below, is_covered, own_roots,
};
use super::wants::Wants;
use crate::user_rights::as_user;
use links::{Resolved, Written, resolve, resolve_trusted};
use own::{directories_beside, script_directories, written_by};

/// Where a site has directories of its own.
pub(super) const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// What services of the system have below `/run`, each guarded by itself.
const SERVICES: [&str; 21] = [
    "/run/NetworkManager",
    "/run/avahi-daemon",
    "/run/clamav",
    "/run/connman",
    "/run/memcached",
    "/run/mysql",
    "/run/mysqld",
    "/run/mariadb",
    "/run/nscd",
    "/run/nslcd",
    "/run/pgbouncer",
    "/run/postgresql",
    "/run/redis",
    "/run/resolvconf",
    "/run/samba/winbindd",
    "/run/saslauthd",
    "/run/systemd/journal",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/run/uuidd",
    "/run/valkey",
];
/// Directories of the system that `isolation=strict` leaves readable.
pub(super) const READABLE: [&str; 20] = [
    "/bin",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix",
    "/opt",
    "/proc",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/cache/fontconfig",
    "/var/lib/ca-certificates",
    "/var/lib/ghostscript",
    "/var/lib/misc",
    "/var/lib/sss/mc",
    "/var/run",
];
/// So much may be in a directory that is covered and shown again piece by piece.
const REST_MAX: usize = 200;

/// A file or directory that the site reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Without links.
    pub(super) path: PathBuf,
    pub(super) writable: bool,
    /// Not the site's, but beside what belongs to others.
    pub(super) is_rest: bool,
}

/// What is to be seen.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Those above before those below.
    pub(super) shown: Vec<Shown>,
    /// Directories in whose place an empty one comes.
    pub(super) covers: Vec<PathBuf>,
    /// Links that are made again where their directory is covered, with what is in them.
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    /// Directories that are there and empty.
    pub(super) empty: Vec<PathBuf>,
    /// What is hidden though the directory above is seen.
    pub(super) hidden: Vec<PathBuf>,
}

impl View {
    /// Finds it out.
    ///
    /// # Errors
    /// If an option names what is not there, or what the site itself could exchange; in
    /// words.
    pub(super) fn of(
        config: &GroupConfig,
        identity: &Identity,
        places: &IsolationPlaces,
        wants: Wants,
    ) -> Result<Self, String> {
        let found = as_user(identity, || {
            let mut finder = Finder::new(config, places, wants);
            finder.name_all(config).map_err(io::Error::other)?;
            Ok(finder.finish(identity))
        });
        found.map_err(|error| error.to_string())
    }
}

struct Finder {
    view: View,
    wants: Wants,
    is_strict: bool,
    /// What belongs to others.
    others: Vec<PathBuf>,
    /// Covered directories of whose content only that of others goes.
    keeping_rest: Vec<PathBuf>,
    /// What the site writes.
    written: Written,
}

impl Finder {
    fn new(config: &GroupConfig, places: &IsolationPlaces, wants: Wants) -> Self {
        let mut finder = Self {
            view: View::default(),
            wants,
            is_strict: config.isolation == Isolation::Strict,
            others: Vec::new(),
            keeping_rest: Vec::new(),
            written: Written::default(),
        };
        if wants.home {
            let beside = own_roots(config);
            let beside = beside.iter().flat_map(|own| directories_beside(own));
            let covers = COVERS.iter().map(PathBuf::from).chain(beside);
            let covers = covers.filter_map(|cover| Some(resolve(&cover).ok()?.path));
            finder.view.covers = covers.filter(|cover| cover.is_dir()).collect();
            let named = places.others.iter().chain(&config.apart_from);
            let own = config.own_paths();
            for path in named {
                finder.hide_from(path, &own);
            }
        }
        finder
    }

    /// Hides something of others: where it is, and where it leads.
    fn hide_from(&mut self, path: &Path, own: &[PathBuf]) {
        // Only through links of root's: the others are made by whoever they belong to.
        let named = path
            .parent()
            .and_then(resolve_trusted)
            .zip(path.file_name());
        let named = named.map(|(directory, name)| directory.join(name));
        let leads_to = resolve_trusted(path);
        for path in named.into_iter().chain(leads_to) {
            let is_inside_own = |directory: &Path| own.iter().any(|one| is_below(directory, one));
            match hiding_of(&path) {
                Hiding::None => continue,
                _ if is_above_system(&path) => continue,
                Hiding::Directory(directory) if !is_inside_own(&directory) => {
                    self.view.covers.push(directory);
                }
                Hiding::DirectoryKeepingRest(directory) if !is_inside_own(&directory) => {
                    self.keeping_rest.push(directory.clone());
                    self.view.covers.push(directory);
                }
                _ => {}
            }
            self.others.push(path);
        }
    }

    /// Shows what is beside that of others in a directory that had to be covered.
    fn show_rest(&mut self) {
        let mut entries = Vec::new();
        for directory in std::mem::take(&mut self.keeping_rest) {
            let own = directory.read_dir().into_iter().flatten().flatten();
            let own: Vec<PathBuf> = own.take(REST_MAX + 1).map(|entry| entry.path()).collect();
            if own.len() > REST_MAX {
                // Then what is of others is covered as it is now.
                self.view.covers.retain(|cover| *cover != directory);
            } else if self.view.covers.contains(&directory) {
                entries.extend(own);
            }
        }
        for path in entries {
            let is_of_others = self.others.iter().any(|other| is_below(other, &path));
            let is_covered = self.view.covers.iter().any(|one| is_below(one, &path));
            let is_there = self.view.shown.iter().any(|one| one.path == path);
            if is_of_others || is_covered || is_there {
                continue;
            }
            match path.read_link() {
                Ok(target) => self.view.links.push((path, target)),
                Err(_) => self.view.shown.push(Shown {
                    path,
                    writable: !self.wants.system,
                    is_rest: true,
                }),
            }
        }
    }

    fn name_all(&mut self, config: &GroupConfig) -> Result<(), String> {
        let scripts = script_directories(config);
        let written = written_by(config);
        let paths = written.iter().map(|(_, path)| path.as_path());
        self.written = Written::of(paths);
        // What a link of the site's own leads to comes when it is known what is its own.
        let (safe, others): (Vec<_>, Vec<_>) = written
            .into_iter()
            .partition(|(_, path)| self.written.is_safe(path));
        for (option, path) in safe.into_iter().chain(others) {
            match option {
                Some(option) => self.must_show(option, &path, true)?,
                None => self.may_show(&path, true),
            }
        }
        if let Some(home) = &config.home {
            self.must_show("home=", home, false)?;
        }
        for path in &config.read_only_paths {
            self.must_show("read-only-paths=", path, false)?;
        }
        let applications = config.applications.iter();
        let python_path = applications.flat_map(|application| &application.python_path);
        let read_only = scripts.iter().chain(&config.python_path).chain(python_path);
        for path in read_only
            .chain(&config.env_file)
            .chain(&config.reload_files)
        {
            self.may_show(path, false);
        }
        if let Some(home) = &config.python_home {
            self.must_show("python-home=", home, false)?;
            for prefix in python::prefixes(home) {
                self.show_installation(&prefix);
            }
        }
        for path in SERVICES {
            self.may_show(Path::new(path), false);
        }
        let hidden = config.inaccessible_paths.iter();
        let hidden = hidden.filter_map(|path| Some(resolve(path).ok()?.path));
        self.view.hidden.extend(hidden);
        Ok(())
    }

    fn must_show(&mut self, option: &str, path: &Path, writable: bool) -> Result<(), String> {
        let named = path.display();
        let found = resolve(path).map_err(|error| format!("{option} `{named}`: {error}"))?;
        if let Some(link) = self.exchangeable(&found, writable) {
            let leads_to = found.path.display();
            return Err(format!(
                "{option} `{named}` leads to `{leads_to}` through the link `{}`, which the site itself could exchange; name `{leads_to}`",
                link.display(),
            ));
        }
        self.add(found, writable);
        Ok(())
    }

    /// What is not there, or leads away through a link of the site's own, is left out.
    fn may_show(&mut self, path: &Path, writable: bool) {
        let Ok(found) = resolve(path) else { return };
        if self.exchangeable(&found, writable).is_none() {
            self.add(found, writable);
        }
    }

    /// A link that the site may exchange and that leads to what it would not reach
    /// otherwise: whoever exchanges it would open what it likes.
    fn exchangeable(&self, found: &Resolved, writable: bool) -> Option<PathBuf> {
        if self.reaches(&found.path, writable) || self.written.holds_safely(&found.path) {
            return None;
        }
        let may_write = |place: &Path| {
            let is_open = !self.wants.system && !self.is_hidden(place);
            is_open || self.written.holds(place)
        };
        let mut places = found.links.iter().map(|(place, _)| place);
        places.find(|place| may_write(place)).cloned()
    }

    /// In whose place the site sees something else.
    fn covered(&self) -> impl Iterator<Item = &Path> {
        let covers = self.view.covers.iter().chain(&self.others);
        let temporary = TEMPORARY.map(Path::new).into_iter();
        let temporary = temporary.filter(|_| self.wants.tmp);
        covers.map(PathBuf::as_path).chain(temporary)
    }

    /// Whether nothing of it would be seen by itself.
    fn is_hidden(&self, path: &Path) -> bool {
        self.covered().any(|one| is_below(path, one))
    }

    /// Whether a path is reached as it is, without another word.
    fn reaches(&self, path: &Path, writable: bool) -> bool {
        let covers = self.covered().filter(|cover| is_below(path, cover));
        let cover = covers.map(depth).max();
        match self.nearest(path) {
            Some(one) if cover <= Some(depth(&one.path)) => one.writable || !writable,
            _ if cover.is_some() => false,
            _ if self.is_strict => !writable && is_of_system(path),
            _ => !writable || !self.wants.system,
        }
    }

    /// The deepest of what is shown that holds this path.
    fn nearest(&self, path: &Path) -> Option<&Shown> {
        let above = self
            .view
            .shown
            .iter()
            .filter(|one| is_below(path, &one.path));
        above.max_by_key(|one| (depth(&one.path), one.writable))
    }

    fn add(&mut self, found: Resolved, writable: bool) {
        for (place, target) in found.links {
            let directory = place.parent().unwrap_or(Path::new("/")).to_path_buf();
            if self.reaches(&place, false) {
                continue;
            }
            if self.holds_others(&directory) {
                self.view.links.push((place, target));
            } else {
                // So that it is seen when the link is exchanged, which the site does not.
                self.show_as(directory, false);
            }
        }
        self.show(found.path, writable);
    }

    /// Without protect-system, what is reached is written as ever.
    fn show(&mut self, path: PathBuf, writable: bool) {
        self.show_as(path, writable || !self.wants.system);
    }

    fn show_as(&mut self, path: PathBuf, writable: bool) {
        // All of it is no site's own.
        if path != Path::new("/") && !self.reaches(&path, writable) {
            self.view.covers.retain(|cover| *cover != path);
            self.view.shown.push(Shown {
                path,
                writable,
                is_rest: false,
            });
        }
    }

    /// Whether more than this site has its place there.
    fn holds_others(&self, directory: &Path) -> bool {
        let mut all = self.covered().chain(TEMPORARY.map(Path::new));
        all.any(|one| is_below(one, directory))
    }

    /// The installation of a virtual environment's Python. The environment may be the
    /// site's to write, so it is believed only where there is such an installation.
    fn show_installation(&mut self, prefix: &Path) {
        let Ok(found) = resolve(prefix) else { return };
        let is_of_others = self.others.iter().any(|one| is_below(&found.path, one));
        if self.reaches(&found.path, false) || is_of_others || !python::has_library(&found.path) {
            return;
        }
        let mut shown = self.view.shown.iter();
        let holds_own = shown.any(|one| is_below(&one.path, &found.path));
        if self.holds_others(&found.path) || holds_own {
            for part in ["bin", "lib", "lib64"] {
                self.may_show(&found.path.join(part), false);
            }
        } else {
            self.add(found, false);
        }
    }

    fn finish(mut self, identity: &Identity) -> View {
        self.view.covers.sort();
        self.view.covers.dedup();
        self.show_rest();
        if !self.reaches(&identity.home, false) {
            self.view.empty.push(identity.home.clone());
        }
        let view = &mut self.view;
        // Within what is shown, it is hidden when that is there.
        let holds = |path: &PathBuf| view.shown.iter().any(|one| is_below(path, &one.path));
        let (inside, outside): (Vec<_>, Vec<_>) = self.others.into_iter().partition(holds);
        for other in outside {
            if is_covered(&other, &view.covers) {
                continue;
            }
            if other.is_dir() {
                view.covers.push(other);
            } else {
                view.hidden.push(other);
            }
        }
        let shown = &view.shown;
        let is_inside = |cover: &PathBuf| {
            let mut above = shown.iter().filter(|one| !one.is_rest);
            above.any(|one| is_below(cover, &one.path))
        };
        view.covers.sort();
        let covers = std::mem::take(&mut view.covers).into_iter();
        let (within, covers): (Vec<_>, Vec<_>) = covers.partition(is_inside);
        // Sorted, so that each comes behind what holds it, where nothing of it is left.
        for cover in covers {
            if !is_covered(&cover, &view.covers) {
                view.covers.push(cover);
            }
        }
        let inside = inside
            .into_iter()
            .chain(within)
            .filter(|other| !shown.iter().any(|one| is_below(&one.path, other)));
        view.hidden.extend(inside);
        if self.wants.tmp {
            let is_temporary =
                |path: &Path| TEMPORARY.iter().any(|one| is_below(path, Path::new(one)));
            view.covers.retain(|cover| !is_temporary(cover));
        }
        view.shown.sort_by_key(|one| depth(&one.path));
        self.view
    }
}

fn depth(path: &Path) -> usize {
    path.components().count()
}

/// What every site reads, also under `isolation=strict`.
pub(super) fn is_of_system(path: &Path) -> bool {
    READABLE.iter().any(|one| is_below(path, Path::new(one)))
}
