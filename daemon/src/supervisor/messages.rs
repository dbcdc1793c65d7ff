//! What comes from the tasks of workers: what they claim, and that they cannot be
//! reached any more. Their end is in `endings`, preloaders are in `preload`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use wsgid_protocol::control::{FromWorker, RecycleReason};

use super::workers::{WorkerRecord, believable, cut};
use super::{Supervisor, pools::GivenUp};
use crate::process::worker_task::WorkerEvent;
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::pool::Event;
use wsgid_protocol::readable::escaped;

/// Lines about scripts of one worker that failed to load.
const FAILED_LINES_MAX: usize = 300;
/// Bytes of the stacks of one worker's requests.
const STACKS_MAX: usize = 60_000;
/// Bytes of the stacks that are kept of a worker that was ended because it took too long.
const LAST_STACKS_MAX: usize = 8 * 1024;
/// Buckets of a histogram: a duration has so many powers of two.
const BUCKETS_MAX: usize = 64;

impl Supervisor {
    /// Something came from the task of a worker or preloader.
    pub(super) fn worker_event(&mut self, id: WorkerId, event: WorkerEvent) {
        self.note_isolation(id, &event);
        if self.preloaders.running.contains_key(&id) {
            return self.preloader_event(id, event);
        }
        match event {
            WorkerEvent::Forked(running) => self.forked(id, running, Instant::now()),
            WorkerEvent::NotForked(why) => self.not_forked(id, &why, Instant::now()),
            WorkerEvent::Warmed(outcome) => self.warmed(id, outcome),
            WorkerEvent::Says(message) => self.on_message(id, message),
            WorkerEvent::Broken(why) => {
                // A worker that ends closes its socket a moment before it can be
                // reaped; `look_around` ends one that does not end.
                if let Some(worker) = self.workers.get_mut(&id) {
                    tracing::trace!("worker {}: control socket: {why}", worker.record.pid);
                    worker.note_broken();
                }
            }
            WorkerEvent::Exited(status) => self.exited(id, status),
        }
    }

    fn on_message(&mut self, id: WorkerId, message: FromWorker) {
        let now = Instant::now();
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let WorkerRecord {
            pid,
            pool,
            generation,
            ..
        } = worker.record;
        match message {
            FromWorker::Ready { python, failed } => self.on_ready(id, python, failed),
            FromWorker::Release { connection } => self.released(id, connection),
            FromWorker::Closed { connection } => self.closed(id, connection),
            FromWorker::Recycle(reason) => {
                let entry = self.pools.get(&pool);
                // What it says again, or when it is leaving already, is no news.
                if entry.is_some_and(|entry| entry.machine.is_to_stay(id)) {
                    tracing::debug!("worker {pid} asks to be replaced: {reason:?}");
                }
                worker.record.overtime |= reason == RecycleReason::RequestTimeout;
                if reason == RecycleReason::LoadFailed {
                    self.preloaders.policy.load_failed((pool, generation));
                }
                self.pool_event(pool, Event::Recycle(id, reason));
            }
            FromWorker::Report(mut report) => {
                report.histogram.truncate(BUCKETS_MAX);
                worker.note_report(report, now);
                self.operators.reported(id, false);
                self.pool_event(pool, Event::Tick);
            }
            FromWorker::Dumped { text } => {
                for waiting in worker.dumps.drain(..) {
                    let _ = waiting.try_send((pid, text.clone()));
                }
                let entry = self.pools.get(&pool);
                if entry.is_some_and(|entry| entry.machine.is_ending(id)) {
                    worker.record.stacks = Some(cut(text, LAST_STACKS_MAX));
                    self.pool_event(pool, Event::Told(id));
                }
            }
            FromWorker::Requests(mut requests) => {
                requests.bound(STACKS_MAX);
                if requests.stacks {
                    self.operators.reported(id, true);
                }
                worker.requests.note(requests, now);
            }
            FromWorker::Heartbeat => worker.record.heartbeat = Some(now),
            FromWorker::Loaded { script } => {
                if let Some(entry) = self.pools.get_mut(&pool) {
                    entry.note_loaded(script);
                }
            }
            FromWorker::Called { script, callable } => {
                // Only a worker that serves knows what requests ask for.
                let entry = self.pools.get_mut(&pool);
                if let Some(entry) = entry.filter(|entry| entry.machine.is_newest(id)) {
                    entry.callables.note(script, callable);
                }
            }
            FromWorker::Stamps { files } => self.stamped(id, pool, files),
            FromWorker::Changed { file, stamp } => self.changed(id, pool, &file, stamp),
            FromWorker::Reloading { script, on } => self.script_reloading(pool, script, on),
            FromWorker::Looks { why } => self.looks(pool, &why),
            FromWorker::Forked | FromWorker::CannotFork { .. } | FromWorker::Isolated(_) => {}
        }
    }

    fn on_ready(&mut self, id: WorkerId, python: (u32, u32, u32), failed: Vec<(PathBuf, String)>) {
        let Some(worker) = self.workers.get_mut(&id) else {
            return;
        };
        let record = &mut worker.record;
        if record.python.is_some() {
            // It was said before; what is said again changes nothing.
            return;
        }
        record.python = Some(python);
        // The interpreter may be locked before the first heartbeat comes.
        record.heartbeat = Some(Instant::now());
        record.failed = believable(failed);
        if !self.warm(id) {
            self.is_ready(id);
        }
    }

    /// A worker is loaded, and warm if it has to be.
    pub(super) fn is_ready(&mut self, id: WorkerId) {
        let Some(record) = self.workers.get(&id).map(|worker| &worker.record) else {
            return;
        };
        let pool = record.pool;
        let scripts: BTreeSet<PathBuf> = record.failed.keys().cloned().collect();
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        // A generation is news, its further workers are routine; and requests that name
        // application groups are not to fill the log.
        let is_news = record.generation > entry.announced && !entry.from_request;
        entry.announced = entry.announced.max(record.generation);
        say_ready(&entry.name(), record, is_news);
        let before = entry.given_up.take();
        self.spawns.done(id);
        entry.watching.unsettle();
        self.pool_event(pool, Event::Ready(id, scripts));
        self.note_given_up(pool, id, before);
    }

    /// A worker was ready. If it was given up, the status says why, also when the worker
    /// has gone; if it serves, what was given up `before` is history.
    fn note_given_up(&mut self, pool: PoolId, id: WorkerId, before: Option<GivenUp>) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        if let Some(given_up) = &mut entry.given_up {
            let worker = self.workers.get(&id);
            given_up.failed = worker
                .map(|worker| worker.record.failed.clone())
                .unwrap_or_default();
        } else if !(entry.machine.accepts(id) && entry.machine.has_latest()) {
            entry.given_up = before;
        }
    }
}

fn say_ready(name: &str, record: &WorkerRecord, is_news: bool) {
    let pid = record.pid;
    let (major, minor, patch) = record.python.unwrap_or_default();
    let generation = record.generation;
    let took = record.started.elapsed().as_secs_f64();
    let text = format!(
        "{name}: worker {pid} is ready after {took:.2} s (generation {generation}, Python {major}.{minor}.{patch})"
    );
    if is_news {
        tracing::info!("{text}");
    } else {
        tracing::debug!("{text}");
    }
    let lines = record.failed.iter().flat_map(|(path, traceback)| {
        let path = escaped(path.as_os_str().as_encoded_bytes());
        std::iter::once(format!("`{path}` failed to load"))
            .chain(traceback.lines().map(|line| escaped(line.as_bytes())))
    });
    for line in bounded(lines) {
        log_line!(SCRIPT_FAILED, "{name}: worker {pid}: {line}");
    }
}

/// As many of these lines as are logged of one worker: a tenant may have made them up.
pub(super) fn bounded(mut lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut said: Vec<String> = lines.by_ref().take(FAILED_LINES_MAX).collect();
    if lines.next().is_some() {
        said.push("and more, which is left out".to_owned());
    }
    said
}
