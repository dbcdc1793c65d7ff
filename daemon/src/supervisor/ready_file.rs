//! The file beside the sockets that says which groups are ready: written when that changes, and
//! touched once a second, so that a supervisor that hangs is noticed. What stands in it is
//! worked out in `readiness`; what it is and who reads it is in
//! `protocol/src/readiness.rs`. A file that cannot be written is said once and is no reason
//! to do anything else.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::geteuid;
use wsgid_protocol::readiness::{FILE, ServerReadiness, TOUCHED_EVERY};

use crate::atomic_write::write_whole_for;

/// Changes that come together are written together.
const COLLECTED_FOR: Duration = Duration::from_millis(20);

/// The file, and what is in it.
#[derive(Default)]
pub(super) struct ReadyFile {
    path: Option<PathBuf>,
    written: Vec<u8>,
    /// Whose it is.
    reader: Option<u32>,
    /// When it is to be looked at again.
    pub(super) due: Option<Instant>,
    touched: Option<Instant>,
    has_failed: bool,
}

impl ReadyFile {
    pub(super) fn stands_beside(&mut self, socket: Option<&Path>) {
        self.path = socket.map(|socket| socket.with_file_name(FILE));
        self.due = Some(Instant::now());
    }

    pub(super) fn may_differ(&mut self, now: Instant) {
        self.due.get_or_insert(now + COLLECTED_FOR);
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn remove(&self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }

    /// Writes it for httpd's user, if it says something else now.
    pub(super) fn write(&mut self, readiness: &ServerReadiness, reader: Option<u32>) {
        let (Some(path), Ok(bytes)) = (&self.path, serde_json::to_vec(readiness)) else {
            return;
        };
        let owner = reader.filter(|_| geteuid().is_root());
        if bytes == self.written && owner == self.reader {
            return;
        }
        let outcome = write_whole_for(path, &bytes, 0o600, owner);
        if outcome.is_ok() {
            self.written = bytes;
            self.reader = owner;
        }
        self.note(outcome);
    }

    pub(super) fn touch(&mut self, now: Instant) {
        let Some(path) = self.path.as_ref().filter(|_| !self.written.is_empty()) else {
            return;
        };
        if self.touched.is_some_and(|at| now < at + TOUCHED_EVERY / 2) {
            return;
        }
        self.touched = Some(now);
        let file = File::options().write(true).open(path);
        let outcome = file.and_then(|file| file.set_modified(SystemTime::now()));
        if outcome.is_err() {
            // Somebody has removed it: it is written again.
            self.written.clear();
            self.may_differ(now);
        }
    }

    fn note(&mut self, outcome: io::Result<()>) {
        let failed = outcome.err();
        if let (Some(error), Some(path), false) = (&failed, &self.path, self.has_failed) {
            let path = path.display();
            log_line!(
                READINESS_NOT_WRITTEN,
                "probes of httpd (SetHandler wsgid-health) find nothing ready: failed to write `{path}`: {error}"
            );
        }
        self.has_failed = failed.is_some();
    }
}
