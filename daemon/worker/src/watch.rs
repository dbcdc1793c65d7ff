//! Sees that files are no longer what was loaded: woken by inotify, or once a second
//! where that is not to be had. What wakes it says only that it is time to look; the
//! files' states are compared before anything is said. Owned by `monitor`; where to
//! look is in `watch_places`. Knows nothing of scripts and of Python.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::{FsType, statfs};

use wsgid_protocol::stamp::{FileStamp, StampedFile};

use crate::watch_places::{self, WatchPlace};

/// Editors and deploy tools write in several steps, and a busy machine stretches them: a
/// change is said after so long without another one, and not while a file is being
/// written, …
const QUIET: Duration = Duration::from_millis(100);
/// … but after so long in any case.
const QUIET_MAX: Duration = Duration::from_secs(1);
/// How often files are looked at without events.
const LOOK: Duration = Duration::from_secs(1);

/// File systems on which others change files, and the kernel of this machine hears
/// nothing of it: NFS, FUSE, SMB (three kinds), 9p, Ceph.
const SILENT: [FsType; 7] = [
    FsType(0x6969),
    FsType(0x6573_5546),
    FsType(0x517B),
    FsType(0xFF53_4D42),
    FsType(0xFE53_4D42),
    FsType(0x0102_1997),
    FsType(0x00C3_6400),
];

/// Two paths may lead to one directory, and what is watched there is a matter of both.
const MASK_ADD: AddWatchFlags = AddWatchFlags::from_bits_retain(libc::IN_MASK_ADD);

/// A change that waits for quiet.
struct PendingChange {
    first: Instant,
    last: Instant,
    /// A file was written, and is not closed yet.
    is_open: bool,
}

/// The files that a worker watches.
pub(crate) struct FileWatch {
    /// Those that the supervisor has named, with what was loaded or is known since.
    named: BTreeMap<PathBuf, Option<FileStamp>>,
    /// Those that the application has named.
    own: BTreeMap<PathBuf, Option<FileStamp>>,
    /// Files that need not be there: that one has gone is a change.
    optional: BTreeSet<PathBuf>,
    inotify: Option<Inotify>,
    /// Names that count, by where something happened; empty: all that happens there.
    places: HashMap<WatchDescriptor, BTreeSet<OsString>>,
    /// When all are looked at next, where events cannot be had.
    look_at: Option<Instant>,
    /// Why not, until it has been told.
    silent: Option<String>,
    pending: Option<PendingChange>,
    /// What differed at the last look.
    differed: Vec<StampedFile>,
}

impl FileWatch {
    pub(crate) fn new(optional: &[PathBuf]) -> Self {
        Self {
            named: BTreeMap::new(),
            own: BTreeMap::new(),
            optional: optional.iter().cloned().collect(),
            inotify: None,
            places: HashMap::new(),
            look_at: None,
            silent: None,
            pending: None,
            differed: Vec::new(),
        }
    }

    /// The supervisor names all files anew.
    pub(crate) fn set(&mut self, files: Vec<StampedFile>, now: Instant) {
        self.named = files.into_iter().collect();
        self.begin(now);
    }

    /// The application names more.
    pub(crate) fn add(&mut self, files: Vec<StampedFile>, now: Instant) {
        for (path, stamp) in files {
            self.own.entry(path).or_insert(stamp);
        }
        self.begin(now);
    }

    /// Watches nothing any more.
    pub(crate) fn end(&mut self) {
        let optional = std::mem::take(&mut self.optional);
        *self = Self {
            optional,
            ..Self::new(&[])
        };
    }

    fn begin(&mut self, now: Instant) {
        self.arm(now);
        if !self.differing().is_empty() {
            self.note(now);
        }
    }

    /// Why events cannot be had; given once.
    pub(crate) const fn take_silence(&mut self) -> Option<String> {
        self.silent.take()
    }

    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inotify.as_ref().map(AsFd::as_fd)
    }

    /// When `due` has to be asked, if nothing happens.
    pub(crate) fn next(&self) -> Option<Instant> {
        let quiet = self.pending.as_ref().map(PendingChange::until);
        quiet.into_iter().chain(self.look_at).min()
    }

    /// The descriptor is readable.
    pub(crate) fn read(&mut self, now: Instant) {
        let events = match self.inotify.as_ref().map(Inotify::read_events) {
            Some(Ok(events)) => events,
            Some(Err(Errno::EAGAIN | Errno::EINTR)) | None => return,
            Some(Err(error)) => {
                self.inotify = None;
                self.look_instead(now, &format!("inotify: {error}"));
                return;
            }
        };
        for event in events {
            let is_lost = event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            let names = self.places.get(&event.wd);
            let counts = names.is_some_and(|names| {
                let name = event.name.as_ref();
                name.is_none_or(|name| names.contains(name))
            });
            if is_lost || counts {
                self.note(now);
                self.note_writer(event.mask);
            }
        }
    }

    fn note_writer(&mut self, events: AddWatchFlags) {
        if let Some(pending) = &mut self.pending {
            pending.is_open |= events.contains(AddWatchFlags::IN_MODIFY);
            pending.is_open &= !events.contains(AddWatchFlags::IN_CLOSE_WRITE);
        }
    }

    fn note(&mut self, now: Instant) {
        let pending = self.pending.get_or_insert(PendingChange {
            first: now,
            last: now,
            is_open: false,
        });
        pending.last = now;
    }

    /// The files that have changed, each change once, when it is time to say so.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<StampedFile> {
        let is_quiet = self.pending.as_ref().is_some_and(|one| one.until() <= now);
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = Some(now + LOOK);
            if self.pending.is_none() && !self.differing().is_empty() {
                self.note(now);
            }
        }
        if !is_quiet {
            return Vec::new();
        }
        // First the watches, then a look: what comes behind it wakes again.
        self.arm(now);
        let differing = self.differing();
        let goes_on = self.look_at.is_some() && differing != self.differed;
        let waits = self.pending.as_ref().is_some_and(|one| one.may_wait(now));
        self.differed.clone_from(&differing);
        if goes_on && waits {
            // Without events only a second look tells whether it is quiet.
            self.note(now);
            return Vec::new();
        }
        self.pending = None;
        self.differed.clear();
        for (path, stamp) in &differing {
            for known in [&mut self.named, &mut self.own] {
                if let Some(known) = known.get_mut(path) {
                    *known = *stamp;
                }
            }
        }
        differing
    }

    fn differing(&self) -> Vec<StampedFile> {
        let files = self.named.iter().chain(&self.own);
        files
            .filter_map(|(path, known)| {
                let now = FileStamp::of(path);
                // What has gone is about to come back: without it nothing could start.
                let counts = now.is_some() || self.optional.contains(path);
                (now != *known && counts).then(|| (path.clone(), now))
            })
            .collect()
    }

    /// Watches all that has to be watched as the paths are now.
    fn arm(&mut self, now: Instant) {
        let mut wanted = BTreeMap::new();
        for path in self.named.keys().chain(self.own.keys()) {
            watch_places::add(&mut wanted, path);
        }
        if wanted.is_empty() {
            self.inotify = None;
            self.places.clear();
            self.look_at = None;
            return;
        }
        if let Err(why) = self.watch(wanted) {
            self.look_instead(now, &why);
        } else {
            self.look_at = None;
        }
    }

    fn watch(&mut self, wanted: BTreeMap<PathBuf, WatchPlace>) -> Result<(), String> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        let inotify = match self.inotify.take() {
            Some(inotify) => inotify,
            None => Inotify::init(flags)
                .map_err(|error| format!("no inotify instance is left for this user: {error}"))?,
        };
        let mut problem = None;
        let mut places: HashMap<WatchDescriptor, BTreeSet<OsString>> = HashMap::new();
        for (path, place) in wanted {
            if place.has_names() && is_silent(&path) {
                problem.get_or_insert_with(|| {
                    let path = path.display();
                    format!("`{path}` is on a file system that tells nothing of what others change")
                });
            }
            let events = place.events | MASK_ADD;
            match inotify.add_watch(&path, events) {
                Ok(watch) => places.entry(watch).or_default().extend(place.names),
                Err(error) if place.is_needed() => {
                    let path = path.display();
                    problem.get_or_insert_with(|| format!("`{path}` cannot be watched: {error}"));
                }
                Err(_) => {}
            }
        }
        for watch in self.places.keys().filter(|old| !places.contains_key(old)) {
            // It may have gone with its file.
            let _ = inotify.rm_watch(*watch);
        }
        self.places = places;
        self.inotify = Some(inotify);
        problem.map_or(Ok(()), Err)
    }

    fn look_instead(&mut self, now: Instant, why: &str) {
        if self.look_at.is_none() {
            self.look_at = Some(now + LOOK);
            self.silent = Some(why.to_owned());
        }
    }
}

impl PendingChange {
    fn until(&self) -> Instant {
        let latest = self.first + QUIET_MAX;
        if self.is_open {
            latest
        } else {
            latest.min(self.last + QUIET)
        }
    }

    fn may_wait(&self, now: Instant) -> bool {
        now < self.first + QUIET_MAX
    }
}

fn is_silent(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| SILENT.contains(&found.filesystem_type()))
}
