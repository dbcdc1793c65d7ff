//! What a site reaches of the file system: which paths are shown, where links lead, what
//! is covered. Looks with the rights of the site's user only, and changes nothing.
//! `mounts` carries it out, `domain` has the kernel hold it once more.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::{Isolation, IsolationPlaces};

use super::Wants;
use super::neighbours::{COVERS, directories_beside, is_below, is_covered};
use crate::process::user_rights::as_user;

/// Where a site has directories of its own.
pub(super) const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];
/// What services of the system have below `/run`, each guarded by itself.
const SERVICES: [&str; 16] = [
    "/run/NetworkManager",
    "/run/avahi-daemon",
    "/run/connman",
    "/run/memcached",
    "/run/mysqld",
    "/run/mariadb",
    "/run/nscd",
    "/run/postgresql",
    "/run/redis",
    "/run/resolvconf",
    "/run/saslauthd",
    "/run/systemd/io.system.ManagedOOM",
    "/run/systemd/journal",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/run/uuidd",
];
/// Directories of the system that `isolation=strict` leaves readable.
pub(super) const READABLE: [&str; 19] = [
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
    "/var/run",
];
/// Links that one path may lead through, as for the kernel.
const LINKS_MAX: usize = 40;
/// Bytes of a `pyvenv.cfg`.
const SETTINGS_MAX: u64 = 1 << 16;

/// A file or directory that the site reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Without links.
    pub(super) path: PathBuf,
    pub(super) writable: bool,
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

/// A path once all links are followed.
struct Resolved {
    path: PathBuf,
    links: Vec<(PathBuf, PathBuf)>,
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
        let look = || {
            let mut finder = Finder::new(config, places, wants);
            finder.name_all(config).map_err(io::Error::other)?;
            Ok(finder.finish(identity))
        };
        let found = if identity.change {
            as_user(identity, look)
        } else {
            look()
        };
        found.map_err(|error| error.to_string())
    }
}

struct Finder {
    view: View,
    wants: Wants,
    is_strict: bool,
    /// What belongs to others.
    others: Vec<PathBuf>,
}

impl Finder {
    fn new(config: &GroupConfig, places: &IsolationPlaces, wants: Wants) -> Self {
        let mut finder = Self {
            view: View::default(),
            wants,
            is_strict: config.isolation == Isolation::Strict,
            others: Vec::new(),
        };
        if wants.home {
            let beside = directories_beside(config);
            let covers = COVERS.iter().map(PathBuf::from).chain(beside);
            let covers = covers.filter_map(|cover| Some(resolve(&cover).ok()?.path));
            finder.view.covers = covers.filter(|cover| cover.is_dir()).collect();
            let named = places.others.iter().chain(&config.apart_from);
            let others = named.filter_map(|path| Some(resolve(path).ok()?.path));
            finder.others = others.collect();
        }
        finder
    }

    fn name_all(&mut self, config: &GroupConfig) -> Result<(), String> {
        let scripts = config.script_directories();
        match &config.home {
            Some(home) => self.must_show("home=", home, !self.is_strict)?,
            None => {
                for directory in &scripts {
                    self.may_show(directory, !self.is_strict);
                }
            }
        }
        for path in &config.read_write_paths {
            self.must_show("read-write-paths=", path, true)?;
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
        if let Some(path) = &config.python_eggs {
            self.may_show(path, true);
        }
        if let Some(home) = &config.python_home {
            self.must_show("python-home=", home, false)?;
            for prefix in python_prefixes(home) {
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

    /// A link below what the site may write that leads to what it would not reach
    /// otherwise: whoever exchanges it would open what it likes.
    fn exchangeable(&self, found: &Resolved, writable: bool) -> Option<PathBuf> {
        if self.reaches(&found.path, writable) {
            return None;
        }
        let may_write = |path: &Path| {
            let mut own = self.view.shown.iter().filter(|one| one.writable);
            own.any(|one| is_below(path, &one.path))
        };
        let mut places = found.links.iter().map(|(place, _)| place);
        places.find(|place| may_write(place)).cloned()
    }

    /// Whether a path is reached as it is, without another word.
    fn reaches(&self, path: &Path, writable: bool) -> bool {
        let nearest = self.nearest(path);
        let covers = self.view.covers.iter().chain(&self.others);
        let mut covers: Vec<&Path> = covers.map(PathBuf::as_path).collect();
        if self.wants.tmp {
            covers.extend(TEMPORARY.map(Path::new));
        }
        let covers = covers.into_iter().filter(|cover| is_below(path, cover));
        let cover = covers.map(depth).max();
        match nearest {
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
                // So that it is seen when the link is exchanged.
                self.show(directory, false);
            }
        }
        self.show(found.path, writable);
    }

    fn show(&mut self, path: PathBuf, writable: bool) {
        if !self.reaches(&path, writable) {
            self.view.covers.retain(|cover| *cover != path);
            self.view.shown.push(Shown { path, writable });
        }
    }

    /// Whether more than this site has its place there.
    fn holds_others(&self, directory: &Path) -> bool {
        let covers = self.view.covers.iter().chain(&self.others);
        let temporary = TEMPORARY.map(Path::new);
        let mut all = covers.map(PathBuf::as_path).chain(temporary);
        all.any(|one| is_below(one, directory))
    }

    /// The installation of a virtual environment's Python. The environment may be the
    /// site's to write, so it is believed only where there is such an installation.
    fn show_installation(&mut self, prefix: &Path) {
        let Ok(found) = resolve(prefix) else { return };
        let is_of_others = self.others.iter().any(|one| is_below(&found.path, one));
        if self.reaches(&found.path, false) || is_of_others || !has_library(&found.path) {
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
        let inside = inside
            .into_iter()
            .filter(|other| !shown.iter().any(|one| is_below(&one.path, other)));
        view.hidden.extend(inside);
        if self.wants.tmp {
            let is_temporary =
                |path: &Path| TEMPORARY.iter().any(|one| is_below(path, Path::new(one)));
            view.covers.retain(|cover| !is_temporary(cover));
        }
        view.shown.sort_by_key(|one| depth(&one.path));
        view.covers.sort();
        view.covers.dedup();
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

/// Follows all links, one by one.
fn resolve(path: &Path) -> io::Result<Resolved> {
    let mut links = Vec::new();
    let mut left: Vec<PathBuf> = parts_of(path);
    let mut done = PathBuf::from("/");
    while let Some(part) = left.pop() {
        if part.as_os_str() == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        if !next.symlink_metadata()?.is_symlink() {
            done = next;
            continue;
        }
        if links.len() == LINKS_MAX {
            return Err(io::Error::other("too many links"));
        }
        let target = next.read_link()?;
        if target.is_absolute() {
            done = PathBuf::from("/");
        }
        left.extend(parts_of(&target));
        links.push((next, target));
    }
    Ok(Resolved { path: done, links })
}

/// The parts of a path, the last one first.
fn parts_of(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some(PathBuf::from("..")),
        _ => None,
    });
    let mut parts: Vec<PathBuf> = parts.collect();
    parts.reverse();
    parts
}

/// Where the Python of a virtual environment may be installed: what `pyvenv.cfg` says,
/// and where its program really is.
fn python_prefixes(home: &Path) -> Vec<PathBuf> {
    let named = settings_home(home).and_then(|bin| bin.parent().map(Path::to_path_buf));
    let programs = ["bin/python", "bin/python3"].map(|name| home.join(name));
    let real = programs.iter().filter_map(|program| {
        let program = resolve(program).ok()?.path;
        program.parent()?.parent().map(Path::to_path_buf)
    });
    let mut all: Vec<PathBuf> = named.into_iter().chain(real).collect();
    all.dedup();
    all
}

/// `home = …` of `pyvenv.cfg`: the directory of the program.
fn settings_home(home: &Path) -> Option<PathBuf> {
    let mut options = File::options();
    let options = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(home.join("pyvenv.cfg")).ok()?;
    let mut text = String::new();
    let is_file = file.metadata().ok()?.is_file();
    is_file
        .then(|| file.take(SETTINGS_MAX).read_to_string(&mut text))?
        .ok()?;
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut homes = lines.filter(|(key, _)| key.trim() == "home");
    homes
        .next()
        .map(|(_, path)| PathBuf::from(path.trim()))
        .filter(|path| path.is_absolute())
}

/// Whether Python's library is installed there.
fn has_library(prefix: &Path) -> bool {
    ["lib", "lib64"].iter().any(|lib| {
        let entries = prefix.join(lib).read_dir().into_iter().flatten().flatten();
        let pythons = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.starts_with("python3."))
        });
        pythons
            .take(16)
            .any(|entry| entry.path().join("os.py").is_file())
    })
}
