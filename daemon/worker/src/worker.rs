//! The state of one worker process that all of its threads share.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyModule};

use wsgid_protocol::control::{FromWorker, RecycleReason, WorkerSpec};
use wsgid_protocol::stamp::FileStamp;

use crate::connection::Connection;
use crate::control::Control;
use crate::environ::Variables;
use crate::exchange::Exchange;
use crate::memory::{Memory, requests_max};
use crate::metrics::RequestMetrics;
use crate::scheduler::{Finished, Scheduler};
use crate::script::Renewal;
use crate::scripts::Scripts;
use crate::stats::Stats;
use crate::stream::TextStream;
use crate::{lock, log};

/// Scripts ask for a successor this often at most.
const ASKED_INTERVAL: Duration = Duration::from_secs(1);

/// What Python prepared.
pub(crate) struct Runtime {
    pub(crate) module: Py<PyModule>,
    /// The environ that each request's is a copy of.
    pub(crate) template: Py<PyDict>,
    pub(crate) file_wrapper: Py<PyAny>,
    pub(crate) event_callbacks: Py<PyList>,
    pub(crate) publish: Py<PyAny>,
    /// `sys.stdout` and `sys.stderr`.
    pub(crate) streams: [Py<TextStream>; 2],
}

pub(crate) struct Worker {
    pub(crate) spec: WorkerSpec,
    pub(crate) scheduler: Scheduler,
    pub(crate) control: Control,
    pub(crate) scripts: Scripts,
    pub(crate) variables: Mutex<Variables>,
    pub(crate) stats: Stats,
    pub(crate) metrics: RequestMetrics,
    /// `mod_wsgi.active_requests`, once somebody has asked for it.
    pub(crate) active: OnceLock<Py<PyDict>>,
    pub(crate) runtime: OnceLock<Arc<Runtime>>,
    pub(crate) started: Instant,
    /// When it could serve for the first time.
    pub(crate) ready: OnceLock<Instant>,
    /// This process; asking the kernel costs a system call each time.
    pub(crate) pid: u32,
    /// The number of requests at which to ask for a successor.
    requests_max: u64,
    memory: Memory,
    /// Milliseconds after `started` at which a request began or ended that
    /// counts as activity; 0 if none has.
    active_at: AtomicU64,
    /// Takes no further request.
    pub(crate) draining: AtomicBool,
    /// The supervisor has gone: connections are closed after their request.
    pub(crate) orphaned: AtomicBool,
    /// The main thread is to end the process.
    pub(crate) leaving: AtomicBool,
    /// When the process ends whatever runs.
    pub(crate) deadline: Mutex<Option<Instant>>,
    /// When a script asked for a successor last, after `started`.
    asked: Mutex<Option<Duration>>,
    /// Until when requests are given back unbegun: they wait for another generation.
    gives_back: Mutex<Option<Instant>>,
    /// Bits of the reasons that were sent.
    recycled: AtomicU64,
    /// The last of them.
    reason: OnceLock<RecycleReason>,
}

impl Worker {
    /// A worker with what is loaded already.
    pub(crate) fn with_scripts(
        spec: WorkerSpec,
        control: Control,
        scripts: Scripts,
    ) -> io::Result<Arc<Self>> {
        let threads = spec.group.threads as usize;
        log::copy_requests(spec.group.request_log);
        Ok(Arc::new(Self {
            scheduler: Scheduler::new(threads)?,
            control,
            scripts,
            variables: Mutex::default(),
            stats: Stats::default(),
            metrics: RequestMetrics::default(),
            active: OnceLock::new(),
            runtime: OnceLock::new(),
            started: Instant::now(),
            ready: OnceLock::new(),
            pid: std::process::id(),
            requests_max: requests_max(&spec.group),
            memory: Memory::default(),
            active_at: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            orphaned: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            deadline: Mutex::default(),
            asked: Mutex::default(),
            gives_back: Mutex::default(),
            recycled: AtomicU64::new(0),
            reason: OnceLock::new(),
            spec,
        }))
    }

    /// What Python prepared.
    pub(crate) fn prepared(&self) -> PyResult<&Runtime> {
        self.runtime
            .get()
            .map(Arc::as_ref)
            .ok_or_else(|| PyRuntimeError::new_err("the worker is not ready"))
    }

    /// Asks to be replaced, once for each reason.
    pub(crate) fn recycle(&self, reason: RecycleReason) {
        let bit = 1 << reason as u64;
        if self.recycled.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let _ = self.reason.set(reason);
            self.control.send(&FromWorker::Recycle(reason));
        }
    }

    /// Why the worker leaves, in mod_wsgi's words.
    pub(crate) fn shutdown_reason(&self) -> &'static str {
        match self.reason.get() {
            None => "shutdown_signal",
            Some(RecycleReason::ScriptChanged) => "script_reload",
            Some(RecycleReason::MaximumRequests) => "maximum_requests",
            Some(RecycleReason::Memory) => "memory_recycle",
            Some(RecycleReason::RestartInterval) => "restart_interval",
            Some(RecycleReason::Inactivity) => "inactivity_timeout",
            Some(RecycleReason::CpuTimeLimit) => "cpu_time_limit",
            Some(RecycleReason::Signal) if self.spec.group.eviction_timeout.is_zero() => {
                "graceful_signal"
            }
            Some(RecycleReason::Signal) => "eviction_signal",
            Some(RecycleReason::RequestTimeout) => "request_timeout",
            Some(RecycleReason::LoadFailed) => "startup_timeout",
            Some(RecycleReason::NoDescriptors) => "no_descriptors",
            Some(RecycleReason::Other) => "other",
        }
    }

    /// Asks for a successor because of a script: again whenever the script says
    /// so, because an earlier successor may have failed to load it.
    pub(crate) fn recycle_for_script(&self, reason: RecycleReason) {
        self.recycled
            .fetch_and(!(1 << reason as u64), Ordering::Relaxed);
        self.recycle(reason);
    }

    /// A script says at every request that it is to be loaded again; the supervisor need
    /// not hear each time.
    pub(crate) fn recycle_as_asked(&self) {
        let now = self.started.elapsed();
        let mut asked = lock::detached(&self.asked);
        if asked.is_some_and(|at| now.saturating_sub(at) < ASKED_INTERVAL) {
            return;
        }
        *asked = Some(now);
        drop(asked);
        self.give_back_within(self.spec.group.reload_wait);
        self.recycle_for_script(RecycleReason::ScriptChanged);
    }

    /// A script is not what it was, or failed.
    pub(crate) fn renew(&self, script: &[u8], renewal: Renewal) {
        match renewal {
            Renewal::Recycle(reason) => self.recycle_for_script(reason),
            Renewal::Changed(stamp) => self.changed(OsStr::from_bytes(script).into(), Some(stamp)),
        }
    }

    /// A file is not what was loaded.
    pub(crate) fn changed(&self, file: PathBuf, stamp: Option<FileStamp>) {
        let _ = self.reason.set(RecycleReason::ScriptChanged);
        self.give_back_within(self.spec.group.reload_wait);
        self.control.send(&FromWorker::Changed { file, stamp });
    }

    /// Whether requests wait for a new generation after a change.
    pub(crate) const fn waits_for_reload(&self) -> bool {
        !self.spec.group.reload_wait.is_zero()
    }

    /// Requests are given back unbegun for so long; 0: they are served.
    pub(crate) fn give_back_within(&self, time: Duration) {
        let until = Instant::now().checked_add(time);
        *lock::detached(&self.gives_back) = until.filter(|_| !time.is_zero());
    }

    pub(crate) fn gives_back(&self, now: Instant) -> bool {
        lock::detached(&self.gives_back).is_some_and(|until| now < until)
    }

    /// What was loaded for a request.
    pub(crate) fn stamped(&self, script: &[u8], stamp: Option<FileStamp>) {
        let files = vec![(OsStr::from_bytes(script).into(), stamp)];
        self.control.send(&FromWorker::Stamps { files });
    }

    /// Whether changes of a script count.
    pub(crate) fn reloading(&self, script: &[u8], on: bool) {
        let script = OsStr::from_bytes(script).into();
        self.control.send(&FromWorker::Reloading { script, on });
    }

    /// A script that nobody had named was loaded for a request.
    pub(crate) fn loaded(&self, script: &[u8]) {
        let script = OsStr::from_bytes(script).into();
        self.control.send(&FromWorker::Loaded { script });
    }

    pub(crate) fn called(&self, script: &[u8], callable: String) {
        let script = OsStr::from_bytes(script).into();
        self.control.send(&FromWorker::Called { script, callable });
    }

    pub(crate) fn note_activity(&self, exchange: &Exchange) {
        if exchange.counts_as_activity && !self.spec.group.inactivity_timeout.is_zero() {
            let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.active_at.store(millis.max(1), Ordering::Relaxed);
        }
    }

    /// Since when no request counts as activity; `None` while one does, and
    /// before the first: a process that has done nothing is as good as a new one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let mut serving = self.scheduler.serving();
        if serving.any(|(_, exchange)| exchange.counts_as_activity) {
            return None;
        }
        let active_at = Some(self.active_at.load(Ordering::Relaxed)).filter(|at| *at > 0)?;
        self.started.checked_add(Duration::from_millis(active_at))
    }

    /// A request has ended: is it time for another process?
    pub(crate) fn request_done(&self, exchange: &Exchange) {
        self.note_activity(exchange);
        if self.requests_max > 0 && self.stats.requests.load(Ordering::Relaxed) >= self.requests_max
        {
            self.recycle(RecycleReason::MaximumRequests);
        }
        let limit = self.spec.group.memory_recycle;
        if limit > 0 && self.memory.exceeds(limit, self.started.elapsed()) {
            self.recycle(RecycleReason::Memory);
        }
    }

    /// A connection left this worker, or not.
    pub(crate) fn hand_back(&self, finished: Finished) {
        match finished {
            Finished::Kept => return,
            Finished::Closed(connection) => {
                connection.shut_down();
                self.close(connection, |connection| FromWorker::Closed { connection });
            }
            Finished::Released(connection) => {
                self.close(connection, |connection| FromWorker::Release { connection });
            }
        }
        self.leave_if_done();
    }

    /// Closes our copy, then says so.
    fn close(&self, connection: Arc<Connection>, message: impl FnOnce(u64) -> FromWorker) {
        let number = connection.number;
        drop(connection);
        self.control.send(&message(number));
    }

    /// Takes no further request; gives back the connections nobody has begun
    /// with. The process may end only after the last of them is given back, so
    /// `draining`, which lets other threads end it, comes after that.
    pub(crate) fn drain(&self) {
        for connection in self.scheduler.drain() {
            self.close(connection, |connection| FromWorker::Release { connection });
        }
        if self.is_service() {
            return self.end_service();
        }
        self.draining.store(true, Ordering::Release);
        self.leave_if_done();
    }

    /// Whether there are no requests (`threads=0`), and the script runs in the
    /// main thread.
    pub(crate) const fn is_service(&self) -> bool {
        self.spec.group.threads == 0
    }

    /// Tells the script of a service about the end: SIGTERM raises SystemExit in it,
    /// once.
    fn end_service(&self) {
        if !self.draining.swap(true, Ordering::AcqRel) {
            // A process can always send signals to itself.
            let _ = kill(Pid::this(), Signal::SIGTERM);
        }
    }

    /// SIGTERM: drains, and ends the process after `shutdown-timeout` at the
    /// latest; without one it waits for the requests that run.
    pub(crate) fn stop(&self) {
        if self.is_service() {
            // The script has heard of the end from the signal itself.
            self.draining.store(true, Ordering::Release);
        }
        match self.spec.group.shutdown_timeout {
            Duration::ZERO => self.drain(),
            timeout => self.stop_within(timeout),
        }
    }

    /// Drains, and ends the process after this time at the latest.
    pub(crate) fn stop_within(&self, time: Duration) {
        if let Some(deadline) = Instant::now().checked_add(time) {
            let mut kept = lock::detached(&self.deadline);
            *kept = Some(kept.map_or(deadline, |kept| kept.min(deadline)));
        }
        self.control.wake();
        self.drain();
    }

    pub(crate) fn leave_if_done(&self) {
        if self.draining.load(Ordering::Acquire) && self.scheduler.pressure().connections == 0 {
            self.leave();
        }
    }

    /// Makes the main thread end the process.
    pub(crate) fn leave(&self) {
        if !self.leaving.swap(true, Ordering::AcqRel) {
            self.control.wake_main();
        }
    }
}
