//! Where a path leads once all links are followed, and through which links. Looks, and
//! opens nothing.

use std::io;
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
