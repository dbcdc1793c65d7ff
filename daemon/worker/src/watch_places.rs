//! Where a change of a file shows: the file itself, the directories that hold a name on
//! its path which may come to mean something else (its own, that of each link, that of
//! what is missing), and the other directories on its path, which may be moved. Called
//! by `watch`. Looks at the file system, and watches nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::sys::inotify::AddWatchFlags;

/// Links that are followed on one path; the kernel gives up there too.
const LINKS_MAX: u32 = 40;

/// The directory or file is somewhere else now.
const MOVED: AddWatchFlags = AddWatchFlags::IN_MOVE_SELF.union(AddWatchFlags::IN_DELETE_SELF);
/// A name in the directory means something else now.
const NAMES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_ONLYDIR);
/// The file was written, or its time was set. Asked of the file and not of its
/// directory: others that are written there, logs for instance, wake nobody.
const WRITTEN: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB);

/// What is watched at one path.
#[derive(Debug)]
pub(crate) struct WatchPlace {
    pub(crate) events: AddWatchFlags,
    /// The names in it that count.
    pub(crate) names: BTreeSet<OsString>,
}

impl Default for WatchPlace {
    fn default() -> Self {
        Self {
            events: AddWatchFlags::empty(),
            names: BTreeSet::new(),
        }
    }
}

impl WatchPlace {
    /// Whether changes are missed without it. A directory that is only passed through
    /// may be closed to the site's user, and is seldom moved.
    pub(crate) fn is_needed(&self) -> bool {
        self.events != MOVED
    }

    /// Whether it is a directory in which names count.
    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }
}

/// Adds the places of a file.
pub(crate) fn add(places: &mut BTreeMap<PathBuf, WatchPlace>, file: &Path) {
    let mut rest: VecDeque<OsString> = names(file);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let found = fs::symlink_metadata(&next);
        let is_passed = found.as_ref().is_ok_and(fs::Metadata::is_dir) && !rest.is_empty();
        if is_passed {
            places.entry(next.clone()).or_default().events |= MOVED;
            at = next;
            continue;
        }
        let holder = places.entry(at.clone()).or_default();
        holder.events |= NAMES;
        holder.names.insert(name);
        match found {
            Ok(data) if data.is_symlink() && links < LINKS_MAX => {
                links += 1;
                let Ok(target) = fs::read_link(&next) else {
                    return;
                };
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for name in names(&target).into_iter().rev() {
                    rest.push_front(name);
                }
            }
            Ok(_) if rest.is_empty() => {
                places.entry(next).or_default().events |= MOVED | WRITTEN;
                return;
            }
            // Missing, or no directory: where it will appear is watched.
            _ => return,
        }
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}
