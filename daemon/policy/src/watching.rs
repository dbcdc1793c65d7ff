//! Which worker of a pool watches its files, what it is told, and which change is news.
//! One is enough: a user has few inotify instances. Called by `supervisor/reloading.rs`;
//! what is loaded and what has changed are claims of workers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wsgid_protocol::stamp::{FileStamp, StampedFile};

use crate::ids::WorkerId;

/// Files of one worker that are remembered.
const FILES_MAX: usize = 256;
/// Bytes of their paths together.
const LEN_MAX: usize = 64 * 1024;

/// Files and their states.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamps(BTreeMap<PathBuf, Option<FileStamp>>);

impl Stamps {
    /// Takes in what a worker says; what is beyond all measure is forgotten.
    pub fn note(&mut self, files: Vec<StampedFile>) {
        for (path, stamp) in files {
            self.insert(path, stamp);
        }
    }

    /// Gives what was there before.
    fn insert(&mut self, path: PathBuf, stamp: Option<FileStamp>) -> Option<Option<FileStamp>> {
        if let Some(known) = self.0.get_mut(&path) {
            return Some(std::mem::replace(known, stamp));
        }
        let len: usize = self.0.keys().map(|path| path.as_os_str().len()).sum();
        let fits = self.0.len() < FILES_MAX && len + path.as_os_str().len() <= LEN_MAX;
        if fits && path.is_absolute() {
            self.0.insert(path, stamp);
        }
        None
    }

    fn get(&self, path: &Path) -> Option<Option<FileStamp>> {
        self.0.get(path).copied()
    }
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Tell this worker to watch these.
    pub watch: Option<(WorkerId, Vec<StampedFile>)>,
    /// Workers that serve have loaded different states of this file.
    pub differs: Option<PathBuf>,
}

/// Who watches the files of one pool.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Watching {
    watcher: Option<WorkerId>,
    /// What it was told, or has said since.
    #[serde(skip)]
    told: BTreeMap<PathBuf, Option<FileStamp>>,
    /// States for which a generation was begun: what came of it is no news.
    seen: Stamps,
    /// Scripts whose changes do not count.
    left_alone: BTreeSet<PathBuf>,
    /// Nothing has happened since the last look.
    #[serde(skip)]
    settled: bool,
}

impl Watching {
    /// A worker says that a file is in this state, and that it has loaded another one.
    /// Returns whether that is news.
    pub fn changed(&mut self, by: WorkerId, file: &Path, stamp: Option<FileStamp>) -> bool {
        if self.left_alone.contains(file) {
            return false;
        }
        if let Some(told) = self.told.get_mut(file).filter(|_| self.watcher == Some(by)) {
            *told = stamp;
        }
        self.settled = false;
        self.seen.insert(file.to_owned(), stamp) != Some(stamp)
    }

    /// Requests say whether changes of a script count.
    pub fn reloading(&mut self, script: PathBuf, on: bool) {
        self.settled = false;
        if on {
            self.left_alone.remove(&script);
        } else if self.left_alone.len() < FILES_MAX && script.as_os_str().len() <= LEN_MAX {
            self.left_alone.insert(script);
        }
    }

    /// Whether changes of a script count, as requests have said.
    pub fn heeds(&self, script: &Path) -> bool {
        !self.left_alone.contains(script)
    }

    /// Another generation serves.
    pub fn switched(&mut self) {
        self.seen = Stamps::default();
        self.watcher = None;
        self.settled = false;
    }

    /// Workers that serve have loaded something, or there is another one.
    pub const fn unsettle(&mut self) {
        self.settled = false;
    }

    /// Whether a look would find nothing.
    pub fn is_settled(&self, serves: impl Fn(WorkerId) -> bool) -> bool {
        self.settled && self.watcher.is_none_or(serves)
    }

    /// Looks at what those have loaded that serve.
    pub fn look(&mut self, serving: &[(WorkerId, &Stamps)]) -> Look {
        self.settled = true;
        let mut look = Look::default();
        let mut wanted = BTreeMap::new();
        for (_, stamps) in serving {
            for (path, stamp) in &stamps.0 {
                if self.left_alone.contains(path) {
                    continue;
                }
                let first = *wanted.entry(path.clone()).or_insert(*stamp);
                if first != *stamp && self.seen.get(path) != Some(*stamp) {
                    self.seen.insert(path.clone(), *stamp);
                    look.differs.get_or_insert_with(|| path.clone());
                }
            }
        }
        for (path, stamp) in &mut wanted {
            if let Some(seen) = self.seen.get(path) {
                *stamp = seen;
            }
        }
        let stays = self
            .watcher
            .filter(|id| serving.iter().any(|(one, _)| one == id));
        let watcher = stays.or(serving.first().map(|(id, _)| *id));
        let is_new = watcher != self.watcher;
        self.watcher = watcher;
        let knows_nothing = (is_new || self.told.is_empty()) && wanted.is_empty();
        if (is_new || wanted != self.told) && !knows_nothing {
            let files = wanted.clone().into_iter().collect();
            look.watch = watcher.map(|id| (id, files));
        }
        self.told = wanted;
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn stamp(inode: u64) -> Option<FileStamp> {
        Some(FileStamp {
            device: 1,
            inode,
            size: 2,
            modified: (3, 4),
        })
    }

    fn stamps(files: &[(&str, u64)]) -> Stamps {
        let mut stamps = Stamps::default();
        stamps.note(
            files
                .iter()
                .map(|(path, inode)| (path.into(), stamp(*inode)))
                .collect(),
        );
        stamps
    }

    fn told(look: &Look) -> Option<(u64, Vec<(&str, u64)>)> {
        let (worker, files) = look.watch.as_ref()?;
        let inode = |stamp: &Option<FileStamp>| stamp.map_or(0, |stamp| stamp.inode);
        let files = files.iter();
        let files = files.map(|(path, stamp)| (path.to_str().unwrap(), inode(stamp)));
        Some((worker.0, files.collect()))
    }

    #[test]
    fn one_worker_watches_what_all_have_loaded() {
        let mut watching = Watching::default();
        let (one, two) = (stamps(&[("/a", 1)]), stamps(&[("/a", 1), ("/b", 2)]));
        let serving = [(WorkerId(7), &one), (WorkerId(8), &two)];
        let look = watching.look(&serving);
        assert_eq!(told(&look), Some((7, vec![("/a", 1), ("/b", 2)])));
        assert_eq!(look.differs, None);
        assert!(watching.is_settled(|id| id == WorkerId(7)));
        assert_eq!(watching.look(&serving), Look::default());
        // The watcher has gone.
        assert!(!watching.is_settled(|id| id == WorkerId(8)));
        let look = watching.look(&serving[1..]);
        assert_eq!(told(&look), Some((8, vec![("/a", 1), ("/b", 2)])));
        // More was loaded.
        let more = stamps(&[("/a", 1), ("/b", 2), ("/c", 3)]);
        let look = watching.look(&[(WorkerId(8), &more)]);
        assert_eq!(
            told(&look),
            Some((8, vec![("/a", 1), ("/b", 2), ("/c", 3)]))
        );
    }

    #[test]
    fn a_state_is_news_once() {
        let mut watching = Watching::default();
        let loaded = stamps(&[("/a", 1)]);
        watching.look(&[(WorkerId(1), &loaded)]);
        let a = Path::new("/a");
        assert!(watching.changed(WorkerId(1), a, stamp(2)));
        // Another worker sees it at a request.
        assert!(!watching.changed(WorkerId(2), a, stamp(2)));
        assert_eq!(watching.look(&[(WorkerId(1), &loaded)]), Look::default());
        // The generation was given up, and the watcher is replaced.
        let look = watching.look(&[(WorkerId(3), &loaded)]);
        assert_eq!(told(&look), Some((3, vec![("/a", 2)])));
        assert!(watching.changed(WorkerId(3), a, stamp(3)));
        watching.switched();
        let new = stamps(&[("/a", 3)]);
        let look = watching.look(&[(WorkerId(4), &new)]);
        assert_eq!(told(&look), Some((4, vec![("/a", 3)])));
    }

    #[test]
    fn siblings_with_another_state_are_a_change() {
        let mut watching = Watching::default();
        let (old, new) = (stamps(&[("/a", 1)]), stamps(&[("/a", 2)]));
        let serving = [(WorkerId(1), &old), (WorkerId(2), &new)];
        let look = watching.look(&serving);
        assert_eq!(look.differs.as_deref(), Some(Path::new("/a")));
        assert_eq!(told(&look), Some((1, vec![("/a", 2)])));
        assert_eq!(watching.look(&serving), Look::default());
    }

    #[test]
    fn scripts_are_left_alone_where_requests_say_so() {
        let mut watching = Watching::default();
        let (old, new) = (
            stamps(&[("/a", 1), ("/e", 5)]),
            stamps(&[("/a", 2), ("/e", 5)]),
        );
        watching.look(&[(WorkerId(1), &old)]);
        watching.reloading("/a".into(), false);
        let serving = [(WorkerId(1), &old), (WorkerId(2), &new)];
        let look = watching.look(&serving);
        assert_eq!(
            (told(&look), look.differs.clone()),
            (Some((1, vec![("/e", 5)])), None)
        );
        assert!(!watching.changed(WorkerId(1), Path::new("/a"), stamp(3)));
        watching.reloading("/a".into(), true);
        assert!(watching.look(&serving).differs.is_some());
    }

    #[test]
    fn what_workers_claim_is_bounded() {
        let mut claims = Stamps::default();
        for number in 0..10_000 {
            claims.note(vec![(
                format!("/{number}/{}", "x".repeat(1000)).into(),
                None,
            )]);
        }
        claims.note(vec![("relative".into(), None)]);
        let len: usize = claims.0.keys().map(|path| path.as_os_str().len()).sum();
        assert!(len <= LEN_MAX && claims.0.len() <= FILES_MAX);
    }

    #[test]
    fn a_pool_without_files_has_no_watcher_to_tell() {
        let mut watching = Watching::default();
        let none = Stamps::default();
        assert_eq!(watching.look(&[(WorkerId(1), &none)]), Look::default());
        assert_eq!(watching.look(&[]), Look::default());
        assert!(watching.is_settled(|_| false));
    }
}
