//! Changes of files begin new generations: workers say what they have loaded and that it
//! has changed, one of each pool is told to watch, and with `reload-wait` requests wait.
//! Who watches and what is news is decided in the policy (`watching`, `reload_wait`).
//! Called by `messages`, and after each event of a pool.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wsgid_protocol::control::{RecycleReason, ToWorker};
use wsgid_protocol::readable::escaped;
use wsgid_protocol::stamp::{FileStamp, StampedFile};

use super::Supervisor;
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::pool::Event;

/// Bytes of a reason that are logged.
const WHY_MAX: usize = 500;

impl Supervisor {
    /// A worker has loaded files.
    pub(super) fn stamped(&mut self, id: WorkerId, pool: PoolId, files: Vec<StampedFile>) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.record.stamps.note(files);
        }
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.watching.unsettle();
        }
        self.keep_watched(pool);
        self.settle();
    }

    /// A worker says that a file has changed.
    pub(super) fn changed(
        &mut self,
        id: WorkerId,
        pool: PoolId,
        file: &Path,
        stamp: Option<FileStamp>,
    ) {
        let entry = self.pools.get_mut(&pool);
        // The next generation is asked when it serves.
        let Some(entry) = entry.filter(|entry| entry.machine.is_newest(id)) else {
            return;
        };
        if entry.watching.changed(id, file, stamp) {
            self.begin_for(id, pool, file);
            self.settle();
        }
    }

    fn begin_for(&mut self, id: WorkerId, pool: PoolId, file: &Path) {
        tracing::info!(
            "{}: `{}` has changed",
            self.pools.name(pool),
            escaped(file.as_os_str().as_encoded_bytes())
        );
        let event = Event::Recycle(id, RecycleReason::ScriptChanged);
        self.todo.push_back((pool, event));
    }

    /// Requests say whether changes of a script count.
    pub(super) fn script_reloading(&mut self, pool: PoolId, script: PathBuf, on: bool) {
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.watching.reloading(script, on);
        }
        self.keep_watched(pool);
        self.settle();
    }

    /// A worker cannot be woken by changes.
    pub(super) fn looks(&mut self, pool: PoolId, why: &str) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        if !std::mem::replace(&mut entry.told_that_it_looks, true) {
            tracing::info!(
                "{}: changes of files are looked for once a second: {}",
                entry.name(),
                escaped(wsgid_protocol::text::cut(why, WHY_MAX).as_bytes())
            );
        }
    }

    /// Sees to it that a worker that serves watches the files.
    pub(super) fn keep_watched(&mut self, pool: PoolId) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        let machine = &entry.machine;
        if entry.watching.is_settled(|id| machine.is_newest(id)) {
            return;
        }
        let mut serving = Vec::new();
        for id in machine.newest() {
            if let Some(worker) = self.workers.get(&id) {
                serving.push((id, &worker.record.stamps));
            }
        }
        let look = entry.watching.look(&serving);
        let first = serving.first().map(|(id, _)| *id);
        if let Some((id, files)) = look.watch {
            self.workers.tell(id, ToWorker::Watch { files });
        }
        if let (Some(file), Some(id)) = (look.differs, first) {
            self.begin_for(id, pool, &file);
        }
    }

    /// Has requests wait for a generation with new code, as long as the group wants that.
    pub(super) fn follow_reload(&mut self, pool: PoolId, now: Instant) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        let wait = entry.machine.definition().config.reload_wait;
        let reloads = entry.machine.reloads();
        if let Some(within) = entry.reload_wait.update(reloads, wait, now) {
            for id in entry.machine.accepting() {
                self.workers.tell(id, give_back(within));
            }
        }
    }

    /// A worker gave a request back. Returns whether it waits for another generation; if
    /// not, the worker is to serve on.
    pub(super) fn waits_for_reload(&self, pool: PoolId, worker: WorkerId) -> bool {
        let Some(entry) = self.pools.get(&pool) else {
            return false;
        };
        let is_waited_for = entry.reload_wait.waits();
        if !is_waited_for && !entry.machine.definition().config.reload_wait.is_zero() {
            self.workers.tell(worker, give_back(Duration::ZERO));
        }
        is_waited_for
    }
}

fn give_back(within: Duration) -> ToWorker {
    ToWorker::GiveBack {
        within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
    }
}
