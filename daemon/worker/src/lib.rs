//! The worker: an extension module that the site's own Python loads by path.
//! `bootstrap.py` calls `run`; the rest of the process's life is in
//! `python/runtime.py`, which calls back into `Core`.

mod application;
mod auth;
mod body;
mod call_facts;
mod connection;
mod control;
mod core;
mod early_hints;
mod environ;
mod events;
mod exchange;
mod file_wrapper;
mod fork;
mod fork_hooks;
mod give_back;
mod input;
mod jobs;
mod label;
mod layout;
mod line_rate;
mod load_profile;
mod loaded_files;
mod lock;
mod log;
mod main_thread;
mod memory;
mod meter;
mod metrics;
mod monitor;
mod output;
mod panics;
mod placement;
mod preloader;
mod queue_limits;
mod receive;
mod report;
mod response;
mod scheduler;
mod script;
mod script_call;
mod scripts;
mod serve;
mod slow_requests;
mod start_response;
mod stats;
mod stream;
mod strings;
mod sys;
mod thread_slot;
mod ticker;
mod timers;
mod watch;
mod watch_places;
mod worker;

use pyo3::prelude::*;

/// The extension module.
#[pymodule]
fn wsgid_worker(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(core::run, module)?)
}
