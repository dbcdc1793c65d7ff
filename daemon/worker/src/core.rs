//! The door between `runtime.py` and the rest of this crate: what Python calls
//! to become a worker. Nothing here is on the path of a request.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyModule};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::control::{FromWorker, RecycleReason, WorkerSpec};
use wsgid_protocol::failure::level;
use wsgid_protocol::limits::MAX_WORKER_CONTROL_LEN;
use wsgid_protocol::ownership::Ownership;
use wsgid_protocol::runs;
use wsgid_protocol::text::cut;

use crate::control::Control;
use crate::early_hints::EarlyHints;
use crate::monitor::Monitor;
use crate::preloader::{self, Order};
use crate::scripts::Scripts;
use crate::stream::TextStream;
use crate::worker::{Runtime, Worker};
use crate::{fork, fork_hooks, lock, log, main_thread, panics, serve, sys};

const RUNTIME: &str = include_str!("../python/runtime.py");
const MOD_WSGI: &str = include_str!("../python/mod_wsgi.py");
const PRELOADER: &str = include_str!("../python/preloader.py");
const CALLABLES: &str = include_str!("../python/callables.py");

/// Becomes a worker: reads who it is from the control socket and serves until
/// the end of the process. Does not return.
#[pyfunction]
pub(crate) fn run(py: Python<'_>, control: i32) -> PyResult<()> {
    let socket = sys::adopt(control)?;
    let mut reader = FrameReader::new(preloader::DESCRIPTORS);
    let spec = py.detach(|| Control::receive(socket.as_fd(), &mut reader));
    let (spec, preloads) = spec.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let spec = *spec;
    let source = CString::new(RUNTIME)?;
    let module = PyModule::from_code(py, &source, c"wsgid/runtime.py", c"_wsgid_runtime")?;
    let facts = facts(py, &spec)?;
    facts.set_item("preloader", preloads)?;
    let scripts = Scripts::default();
    scripts.files.note_options(&spec.group);
    let worker = Worker::with_scripts(spec, Control::new(socket)?, scripts)?;
    // A worker without a descriptor left hears its supervisor still.
    let reader = if preloads {
        reader
    } else {
        reader.going_on_without_fds()
    };
    let core = Core {
        worker: Mutex::new(worker),
        reader: Mutex::new(Some(reader)),
        module: module.clone().unbind(),
        order: Mutex::default(),
        preloads: AtomicBool::new(preloads),
    };
    module.call_method1("main", (core, facts)).map(drop)
}

/// What `runtime.py` needs to know of the specification.
fn facts<'py>(py: Python<'py>, spec: &WorkerSpec) -> PyResult<Bound<'py, PyDict>> {
    let group = &spec.group;
    let server = &spec.server;
    let facts = PyDict::new(py);
    facts.set_item("process_group", &group.name)?;
    facts.set_item("application_group", &spec.application_group)?;
    facts.set_item("processes", group.processes_limit())?;
    facts.set_item("threads", group.threads)?;
    facts.set_item("multiprocess", group.multiprocess)?;
    let run_once = group.threads == 1 && group.maximum_requests == 1;
    facts.set_item("run_once", run_once)?;
    // As str: PyO3 makes a pathlib.Path of a Path, and imports a megabyte for it.
    facts.set_item("home", group.home.as_deref().map(Path::as_os_str))?;
    let python_path = group.python_path.iter().map(|path| path.as_os_str());
    facts.set_item("python_path", python_path.collect::<Vec<_>>())?;
    facts.set_item("title", group.title())?;
    facts.set_item("display_name", group.display_name.is_some())?;
    facts.set_item("lang", group.lang.as_deref())?;
    facts.set_item("locale", group.locale.as_deref())?;
    let switch_interval = group.switch_interval_us.map(|micros| micros as f64 / 1e6);
    facts.set_item("switch_interval", switch_interval)?;
    facts.set_item("stack_size", group.stack_size)?;
    facts.set_item("restrict_signal", group.restrict_signal)?;
    facts.set_item("restrict_stdin", group.restrict_stdin)?;
    facts.set_item("apache_version", server.version)?;
    facts.set_item("apache_description", &server.description)?;
    facts.set_item("apache_mpm", &server.mpm)?;
    facts.set_item("apache_maximum_processes", server.maximum_processes)?;
    facts.set_item("apache_threads_per_process", server.threads_per_process)?;
    facts.set_item("mod_wsgi_source", MOD_WSGI)?;
    facts.set_item("preloader_source", PRELOADER)?;
    facts.set_item("callables_source", CALLABLES)?;
    let mut preload: Vec<&OsStr> = group
        .preload_scripts
        .iter()
        .filter(|preload| preload.application_group == spec.application_group)
        .filter(|preload| {
            preload.callable.as_deref() != Some("") || may_be_loaded(group, &preload.script)
        })
        .map(|preload| runs::script_in(&preload.script).as_os_str())
        .collect();
    let mut seen = HashSet::new();
    preload.retain(|script| seen.insert(*script));
    facts.set_item("preload", preload)?;
    facts.set_item("server_metrics", group.server_metrics)?;
    Ok(facts)
}

/// Whether a script that a worker before had to load is still to be had here: it
/// may be gone, or the configuration no longer names it.
fn may_be_loaded(group: &GroupConfig, script: &Path) -> bool {
    group.runs.open(script.as_os_str().as_bytes()).is_ok()
}

/// This worker, as Python sees it.
#[pyclass(frozen, module = "_wsgid_runtime")]
struct Core {
    /// Another one after a preloader's fork.
    worker: Mutex<Arc<Worker>>,
    reader: Mutex<Option<FrameReader>>,
    module: Py<PyModule>,
    /// The worker that a preloader is about to fork.
    order: Mutex<Option<Order>>,
    preloads: AtomicBool,
}

impl Core {
    fn worker(&self) -> Arc<Worker> {
        Arc::clone(&lock::detached(&self.worker))
    }
}

#[pymethods]
impl Core {
    /// Takes over what Python prepared: the environ that each request's is a
    /// copy of, the module `mod_wsgi`, the streams, and the write end of the
    /// pipe that wakes the main thread.
    fn prepare(
        &self,
        template: &Bound<'_, PyDict>,
        mod_wsgi: &Bound<'_, PyModule>,
        streams: [Py<TextStream>; 2],
        wake: i32,
    ) -> PyResult<()> {
        template.set_item("wsgi.early_hints", Bound::new(template.py(), EarlyHints)?)?;
        let runtime = Runtime {
            module: self.module.clone_ref(template.py()),
            template: template.clone().unbind(),
            file_wrapper: mod_wsgi.getattr("FileWrapper")?.unbind(),
            event_callbacks: mod_wsgi
                .getattr("event_callbacks")?
                .cast_into::<PyList>()?
                .unbind(),
            publish: mod_wsgi.getattr("_publish")?.unbind(),
            streams,
        };
        let worker = self.worker();
        worker
            .runtime
            .set(Arc::new(runtime))
            .map_err(|_| PyRuntimeError::new_err("prepared already"))?;
        // Once, and after `faulthandler.enable`.
        sys::note_crashes();
        worker.control.set_main(sys::adopt(wake)?);
        // From here on silence means that the lock is not given up: the first
        // thing that takes it for good may be the application's import.
        worker.control.send(&FromWorker::Heartbeat);
        Ok(())
    }

    /// A text stream in the place of `sys.stdout` or `sys.stderr`.
    fn stream(&self, name: &str) -> TextStream {
        let stdout = name == "sys.stdout";
        TextStream::of_process(stdout, stdout && self.worker().spec.group.restrict_stdout)
    }

    /// The control thread; never returns.
    fn control_thread(&self, py: Python<'_>) -> PyResult<()> {
        let reader = lock::detached(&self.reader)
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("started already"))?;
        let worker = self.worker();
        panics::vital("control", || Monitor::new(reader, &worker).run(py, &worker))
    }

    /// A request thread; never returns.
    fn request_thread(&self, py: Python<'_>, slot: usize, ident: u64) {
        let worker = self.worker();
        panics::vital("request", || serve::run(py, &worker, slot, ident))
    }

    /// Loads a script before the first request; returns why it failed.
    fn preload(&self, py: Python<'_>, path: PathBuf) -> Option<String> {
        let worker = self.worker();
        let spec = &worker.spec;
        // A script that is not there is told of where it is opened.
        let owned = py.detach(|| {
            if path.exists() {
                Ownership::of(&spec.group).check(path.as_os_str().as_bytes())
            } else {
                Ok(())
            }
        });
        if let Err(why) = owned {
            let text = format!("`{}` is not loaded beforehand: {why}", path.display());
            log::lines(py, level::WARN, &text);
            return None;
        }
        let runtime = self.module.bind(py);
        let scripts = &worker.scripts;
        scripts.preload(py, runtime, spec, &path)
    }

    /// The application is loaded: connections may come.
    fn ready(&self, py: Python<'_>, python: (u32, u32, u32), mut failed: Vec<(PathBuf, String)>) {
        // All of them have to fit into one message.
        let room = (MAX_WORKER_CONTROL_LEN as usize / 2)
            .checked_div(failed.len())
            .unwrap_or(0);
        for (_, text) in &mut failed {
            text.truncate(cut(text, room).len());
        }
        let worker = self.worker();
        let files = worker.scripts.stamps(py);
        worker.control.send(&FromWorker::Stamps { files });
        let _ = worker.ready.set(Instant::now());
        worker.control.send(&FromWorker::Ready { python, failed });
        // There is another timer from now on.
        worker.control.wake();
    }

    /// The application names files whose change is to start new workers, as the
    /// scripts' does. They are watched as they are now.
    fn watch(&self, paths: Vec<PathBuf>) {
        let worker = self.worker();
        worker.scripts.files.note_application(paths);
        worker.control.wake();
    }

    /// A preloader has a thread too many.
    fn cannot_fork(&self, why: String) {
        drop(lock::detached(&self.order).take());
        self.worker().control.send(&FromWorker::CannotFork { why });
    }

    /// Calls what a preloader does until it says that this is a worker. Python runs the
    /// application's signal handlers in it: what one raises ends no preloader, between
    /// two calls neither.
    fn repeat(&self, py: Python<'_>, step: &Bound<'_, PyAny>) {
        let own = std::process::id();
        loop {
            match step.call0().and_then(|done| done.is_truthy()) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    let what =
                        "exception in a signal handler of the application; the preloader goes on";
                    log::exception(py, what, &error);
                    if std::process::id() != own {
                        sys::exit_now(1);
                    }
                }
            }
        }
    }

    /// A preloader waits for its next order, unless it has one.
    fn wait_for_order(&self, py: Python<'_>, wake: i32) -> PyResult<()> {
        let wake = sys::duplicate(wake)
            .ok_or_else(|| PyRuntimeError::new_err("the wake pipe is closed"))?;
        let worker = self.worker();
        while lock::detached(&self.order).is_none() {
            let order = py.detach(|| {
                let mut reader = lock::detached(&self.reader);
                let reader = reader.as_mut()?;
                preloader::wait(&worker, reader, wake.as_fd())
            });
            if order.is_some() {
                *lock::detached(&self.order) = order;
                break;
            }
            main_thread::wait(py, wake.as_fd());
        }
        Ok(())
    }

    /// Makes a helper process that forks the worker which was ordered. Returns
    /// whether this is the helper.
    fn step_aside(&self, py: Python<'_>) -> PyResult<bool> {
        if sys::fork_helper(py)? {
            fork_hooks::expect_worker();
            return Ok(true);
        }
        // The worker has its own copies.
        drop(lock::detached(&self.order).take());
        Ok(false)
    }

    /// In the process that was forked. `wake` is the write end of its own pipe.
    fn become_worker(&self, py: Python<'_>, wake: i32) -> PyResult<()> {
        let order = lock::detached(&self.order)
            .take()
            .ok_or_else(|| PyRuntimeError::new_err("nothing was ordered"))?;
        log::set_forked(false);
        let before = self.worker();
        let worker = preloader::become_worker(&before, order)?;
        worker.control.set_main(sys::adopt(wake)?);
        if let Some(runtime) = before.runtime.get() {
            let _ = worker.runtime.set(Arc::clone(runtime));
        }
        // What the application has asked for while it was loaded.
        if before.metrics.is_recording() {
            worker.metrics.start();
        }
        if let Some(active) = before.active.get() {
            let _ = worker.active.set(active.clone_ref(py));
        }
        self.preloads.store(false, Ordering::Relaxed);
        *lock::detached(&self.reader) = Some(FrameReader::new(1).going_on_without_fds());
        *lock::detached(&self.worker) = worker;
        Ok(())
    }

    /// The main thread says that the application is loaded, and waits until it is to end
    /// the process. From the first request on Python runs nothing but signal handlers
    /// here: what one raises would end the process anywhere else.
    fn serve_until_end(
        &self,
        py: Python<'_>,
        python: (u32, u32, u32),
        failed: Vec<(PathBuf, String)>,
        wake: i32,
    ) -> PyResult<()> {
        self.ready(py, python, failed);
        self.wait_for_end(py, wake)
    }

    /// The main thread waits until it is to end the process.
    fn wait_for_end(&self, py: Python<'_>, wake: i32) -> PyResult<()> {
        let wake = sys::adopt(wake)?;
        while !self.worker().leaving.load(Ordering::Acquire) {
            main_thread::wait(py, wake.as_fd());
        }
        Ok(())
    }

    /// SIGTERM or SIGINT: finishes what runs, within `shutdown-timeout`.
    fn stop(&self, py: Python<'_>) {
        if self.preloads.load(Ordering::Relaxed) {
            sys::exit_now(0);
        }
        py.detach(|| self.worker().stop());
    }

    /// A service without requests has come to the end of its script.
    fn finish(&self) {
        self.worker().leave();
    }

    /// Asks to be replaced; the names are those of the signals.
    fn recycle(&self, reason: &str) -> PyResult<()> {
        let reason = match reason {
            "SIGUSR1" => RecycleReason::Signal,
            "SIGXCPU" => RecycleReason::CpuTimeLimit,
            other => {
                let text = format!("no reason to be replaced: {other}");
                return Err(PyOSError::new_err(text));
            }
        };
        if !self.preloads.load(Ordering::Relaxed) {
            self.worker().recycle(reason);
        }
        Ok(())
    }

    /// Writes a record as `logging` would, with httpd's level.
    fn log(&self, py: Python<'_>, level: u16, text: &str) {
        log::lines(py, level.min(15), text);
    }

    /// `mod_wsgi.request_data()`: the dictionary of the calling thread's request.
    fn request_data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match log::current() {
            Some(exchange) => exchange.data(py),
            None => Err(PyRuntimeError::new_err("this thread serves no request")),
        }
    }

    /// `mod_wsgi.active_requests`: the dictionaries by request id, kept from
    /// the first call on.
    fn active_requests(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        let worker = self.worker();
        let active = worker.active.get_or_init(|| PyDict::new(py).unbind());
        for (_, exchange) in worker.scheduler.serving() {
            let id = exchange.label.request_id();
            active.bind(py).set_item(id, exchange.data(py)?)?;
        }
        Ok(active.clone_ref(py))
    }

    fn start_metrics(&self) {
        self.worker().metrics.start();
    }

    /// What was served since the last call.
    fn take_metrics(&self, py: Python<'_>) -> PyResult<Py<PyDict>> {
        let worker = self.worker();
        let slots = &worker.scheduler.slots;
        let elapsed: Vec<f64> = slots
            .iter()
            .map(|slot| {
                slot.serving()
                    .map_or(0.0, |one| one.started.elapsed().as_secs_f64())
            })
            .collect();
        worker.metrics.take(py, slots.len(), &elapsed)
    }

    /// Seconds since the start, requests completed, running, seconds spent in
    /// them, and how many each thread has begun.
    fn counters(&self) -> (f64, u64, u32, f64, Vec<u64>) {
        let worker = self.worker();
        let stats = &worker.stats;
        let busy = Duration::from_micros(stats.busy_us.load(Ordering::Relaxed)).as_secs_f64();
        let slots = worker.scheduler.slots.iter();
        let begun = slots.map(|slot| slot.begun.load(Ordering::Relaxed));
        (
            worker.started.elapsed().as_secs_f64(),
            stats.requests.load(Ordering::Relaxed),
            stats.in_flight.load(Ordering::Relaxed),
            busy,
            begun.collect(),
        )
    }

    /// Why the worker leaves, in mod_wsgi's words.
    fn shutdown_reason(&self) -> &'static str {
        self.worker().shutdown_reason()
    }

    fn before_fork(&self) {
        fork_hooks::before(&self.worker());
    }

    /// Whether the child is the application's, and no worker.
    #[expect(clippy::unused_self, reason = "called as a method from Python")]
    fn after_fork_in_child(&self) -> bool {
        fork_hooks::after_in_child()
    }

    #[expect(clippy::unused_self, reason = "called as a method from Python")]
    fn after_fork_in_parent(&self) {
        fork_hooks::after_in_parent();
    }

    /// Ends this process if the application has forked it, with this exception.
    #[expect(clippy::unused_self, reason = "called as a method from Python")]
    fn end_child(&self, error: Option<&Bound<'_, PyAny>>, py: Python<'_>) {
        let error = error.map(|error| PyErr::from_value(error.clone()));
        fork::end_child(py, error.as_ref());
    }

    fn exit(&self, code: i32) {
        sys::exit_now(code);
    }
}
