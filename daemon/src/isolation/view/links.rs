//! Where a path leads once all links are followed, and through which links. Looks, and
//! opens nothing.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links that one path may lead through, as for the kernel.
const LINKS_MAX: usize = 40;

/// A path once all links are followed.
pub(crate) struct Resolved {
    pub(crate) path: PathBuf,
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
}

/// Follows all links, one by one.
pub(crate) fn resolve(path: &Path) -> io::Result<Resolved> {
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

/// A path whose directory is without links; itself it may be one.
pub(super) fn where_it_is(path: &Path) -> Option<PathBuf> {
    let directory = resolve(path.parent()?).ok()?.path;
    Some(directory.join(path.file_name()?))
}

/// Where a path leads, if all links on the way are root's or this process's.
pub(super) fn resolve_trusted(path: &Path) -> Option<PathBuf> {
    let found = resolve(path).ok()?;
    let own = nix::unistd::geteuid().as_raw();
    let is_trusted = |link: &Path| {
        let facts = link.symlink_metadata();
        facts.is_ok_and(|facts| facts.uid() == 0 || facts.uid() == own)
    };
    let mut links = found.links.iter();
    links
        .all(|(link, _)| is_trusted(link))
        .then_some(found.path)
}

/// What a site writes. Of its own it may make any link below.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// All of it, without links.
    all: Vec<PathBuf>,
    /// Those of them to which no link leads that the site could exchange.
    safe: Vec<PathBuf>,
}

impl Written {
    /// Of these paths; those that are not there are nobody's.
    pub(crate) fn of<'p>(paths: impl Iterator<Item = &'p Path>) -> Self {
        let found: Vec<Resolved> = paths.filter_map(|path| resolve(path).ok()).collect();
        let mut written = Self {
            all: found.iter().map(|one| one.path.clone()).collect(),
            safe: Vec::new(),
        };
        for one in found {
            if written.leads_through(&one).is_none() {
                written.safe.push(one.path);
            }
        }
        written
    }

    /// The first link on the way that the site could exchange.
    pub(crate) fn leads_through<'f>(&self, found: &'f Resolved) -> Option<&'f Path> {
        let mut places = found.links.iter().map(|(place, _)| place.as_path());
        places.find(|place| self.holds(place))
    }

    pub(super) fn is_safe(&self, path: &Path) -> bool {
        resolve(path).is_ok_and(|found| self.leads_through(&found).is_none())
    }

    pub(super) fn holds(&self, path: &Path) -> bool {
        self.all.iter().any(|one| path.starts_with(one))
    }

    /// Whether it is the site's own whatever links it makes.
    pub(crate) fn holds_safely(&self, path: &Path) -> bool {
        self.safe.iter().any(|one| path.starts_with(one))
    }
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
