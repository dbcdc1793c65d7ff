//! Which groups are ready, for the probes that httpd's children answer: says so in a file
//! beside the sockets when it changes, and touches that once a second, so that a
//! supervisor that hangs is noticed. Called by the loop; what the file is and who reads it
//! is in `protocol/src/readiness.rs`. A file that cannot be written is said once and is no
//! reason to do anything else.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::geteuid;
use wsgid_policy::pool::Mode;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::readiness::{FILE, GroupReadiness, Readiness, TOUCHED_EVERY};

use super::{Supervisor, groups::ProcessGroup, pools::PoolEntry};
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
    due: Option<Instant>,
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
    fn write(&mut self, readiness: &Readiness, reader: Option<u32>) {
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

    fn touch(&mut self, now: Instant) {
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

impl Supervisor {
    /// When something may have changed.
    pub(super) fn write_readiness(&mut self, now: Instant) {
        if self.ready_file.due.is_some_and(|at| at <= now) {
            self.ready_file.due = None;
            if self.access.newest().is_none() {
                // Nothing is configured yet: that none is missing means nothing.
                return;
            }
            let readiness = self.readiness();
            self.ready_file.write(&readiness, self.access.allowed.get());
        }
    }

    /// Once a second.
    pub(super) fn touch_readiness(&mut self, now: Instant) {
        self.ready_file.touch(now);
    }

    fn readiness(&self) -> Readiness {
        let groups = self.groups.iter().filter(|(_, group)| {
            // A service takes no requests.
            !group.removed && group.definition.config.threads > 0
        });
        Readiness {
            draining: self.lifetime.drains || self.lifetime.is_leaving,
            groups: groups
                .map(|(name, group)| (name.clone(), self.group_readiness(group)))
                .collect(),
        }
    }

    fn group_readiness(&self, group: &ProcessGroup) -> GroupReadiness {
        let pools = group.pools.values().filter_map(|pool| self.pools.get(pool));
        let serving = pools.clone().map(|pool| pool.machine.accepting().count());
        let serving = u32::try_from(serving.sum::<usize>()).unwrap_or(u32::MAX);
        let why = match &group.definition.identity {
            _ if group.stopped => Some("an operator has stopped it".to_owned()),
            _ if group.drains => Some("an operator drains it".to_owned()),
            Err(why) => Some(why.to_string()),
            // A client may make as many of those as it likes.
            Ok(_) => pools
                .filter(|pool| !pool.from_request)
                .find_map(|pool| self.what_is_missing(pool)),
        };
        GroupReadiness {
            ready: why.is_none(),
            taken_out: group.stopped || group.drains,
            capacity: serving.saturating_mul(group.definition.config.threads),
            why,
        }
    }

    /// Why requests for this pool would not be answered by the application; nothing, if
    /// they would.
    fn what_is_missing(&self, pool: &PoolEntry) -> Option<String> {
        let machine = &pool.machine;
        match machine.mode() {
            Mode::Failed { cause, .. } => return Some(cause.clone()),
            Mode::Running if machine.is_idle() && pool.refusing.is_none() => return None,
            Mode::Running => {}
            Mode::Stopped | Mode::Leaving { .. } => return None,
        }
        let mut broken = None;
        for id in machine.accepting() {
            let failed = self.workers.get(&id).map(|worker| &worker.record.failed);
            broken = Some(failed.and_then(|failed| failed.keys().next())?);
        }
        Some(match broken {
            Some(script) => {
                let script = escaped(script.as_os_str().as_encoded_bytes());
                format!("`{script}` failed to load")
            }
            None if machine.is_failing() => {
                let problem = machine.last_problem();
                format!("it does not start: {}", problem.unwrap_or("see the log"))
            }
            None => "it starts".to_owned(),
        })
    }
}
