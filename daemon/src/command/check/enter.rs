//! The process that enters the isolation as the launcher does, becomes the site's user and
//! executes the site's Python, which loads one script (`load.py`). It is traced from before
//! the last step, which would refuse that. Started by `trace.rs`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::isolation::{IsolationPlaces, IsolationReport};
use wsgid_protocol::runs;

use super::denied::LoadOutcome;
use super::found::Probe;
use crate::exit_code;
use crate::isolation::Isolated;
use crate::process::{exec, privilege};
use crate::{signals, sys};

/// Where the site's Python says what came of it.
const RECORD: RawFd = 3;
/// Runs inside Python.
const LOAD: &str = include_str!("load.py");
const RUNTIME: &str = include_str!("../../../worker/python/runtime.py");
const MOD_WSGI: &str = include_str!("../../../worker/python/mod_wsgi.py");
const CALLABLES: &str = include_str!("../../../worker/python/callables.py");
/// httpd's version, for who asks: any that is served.
const HTTPD: (u32, u32, u32) = (2, 4, 0);

/// The task of the process that is traced, and of the one that traces it.
#[derive(Serialize, Deserialize)]
pub(super) struct LoadTask {
    pub(super) probe: Probe,
    pub(super) places: IsolationPlaces,
    /// The script, if one is to be loaded.
    pub(super) script: Option<PathBuf>,
    pub(super) callable: Option<String>,
    pub(super) application_group: String,
    pub(super) seconds: u64,
}

impl LoadTask {
    pub(super) const fn limit(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// The lines of the record: the first is the isolation's.
#[derive(Serialize, Deserialize)]
pub(super) enum Record {
    Isolated(IsolationReport),
    Came(LoadOutcome),
}

/// Takes the step; returns only if there is nothing to load or that failed.
pub(super) fn run(record: Option<RawFd>) -> ExitCode {
    let Some(mut record) = record
        .and_then(|number| sys::inherited(number).ok())
        .map(File::from)
    else {
        return ExitCode::from(exit_code::FAILURE);
    };
    if let Err(problem) = enter(&mut record) {
        let _ = write(&mut record, &Record::Came(LoadOutcome::NotEntered(problem)));
    }
    ExitCode::from(exit_code::OK)
}

fn write(record: &mut File, line: &Record) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    record.write_all(&text)
}

fn enter(record: &mut File) -> Result<(), String> {
    let task: LoadTask = serde_json::from_reader(io::stdin()).map_err(|error| error.to_string())?;
    let Probe {
        config,
        identity,
        enter_home,
    } = &task.probe;
    sys::reset_signals();
    signals::unblock_all().map_err(|errno| errno.to_string())?;
    exec::prefer_for_memory().map_err(|error| error.to_string())?;
    let mut isolated = Isolated::of(config, identity, &task.places);
    if let Some(isolated) = &mut isolated {
        isolated.enter()?;
    }
    privilege::drop_privileges(identity).map_err(|error| error.to_string())?;
    exec::limit_resources(config).map_err(|errno| errno.to_string())?;
    // Also where workers go without: nothing in a check needs it.
    nix::sys::prctl::set_no_new_privs().map_err(|errno| errno.to_string())?;
    // The last step may refuse it. Without a tracer nobody waits for this one.
    if ptrace::traceme().is_ok() {
        raise(Signal::SIGSTOP).map_err(|errno| errno.to_string())?;
    }
    if let Some(isolated) = &mut isolated {
        isolated.confine()?;
    }
    let report = isolated.map(Isolated::into_report).unwrap_or_default();
    write(record, &Record::Isolated(report)).map_err(|error| error.to_string())?;
    let Some(script) = &task.script else {
        return write(record, &Record::Came(LoadOutcome::Works)).map_err(|error| error.to_string());
    };
    let python = exec::site_python(config, identity, *enter_home);
    let mut command = python.map_err(|failed| failed.1)?;
    command
        .arg("-c")
        .arg(LOAD)
        .args([RUNTIME, MOD_WSGI, CALLABLES])
        .arg(facts(config, &task, runs::script_in(script)))
        .stdin(Stdio::null());
    let place = record
        .try_clone()
        .and_then(|record| sys::put_at(record.into(), RECORD));
    place.map_err(|error| error.to_string())?;
    sys::close_on_exec_from(RECORD + 1).map_err(|error| error.to_string())?;
    Err(failed(&mut command))
}

fn failed(command: &mut Command) -> String {
    let error = command.exec();
    let python = command.get_program().display();
    format!("failed to execute `{python}`: {error}")
}

/// What `runtime.py` and `load.py` need to know, as a worker's have it.
fn facts(config: &GroupConfig, task: &LoadTask, script: &Path) -> OsString {
    let facts = json!({
        "script": script,
        "callable": task.callable,
        "seconds": task.seconds,
        "process_group": config.name,
        "application_group": task.application_group,
        "processes": config.processes_limit(),
        "threads": config.threads,
        "home": config.home,
        "python_path": config.python_path,
        "lang": config.lang,
        "locale": config.locale,
        "stack_size": config.stack_size,
        "restrict_stdin": config.restrict_stdin,
        "restrict_signal": config.restrict_signal,
        "apache_version": HTTPD,
        "apache_description": "",
        "apache_mpm": "",
        "apache_maximum_processes": 1,
        "apache_threads_per_process": 1,
    });
    facts.to_string().into()
}

/// Where a Python was that took too long, as `faulthandler` says it: the main thread stands
/// last, and where it is stands first of it.
pub(super) fn place_in(text: &str) -> Option<String> {
    let main = text.rsplit("hread 0x").next()?;
    let line = main
        .lines()
        .find_map(|line| line.trim().strip_prefix("File \""))?;
    let (file, rest) = line.split_once("\", line ")?;
    let number: u32 = rest.split(' ').next()?.parse().ok()?;
    Some(format!("`{file}`, line {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_the_main_thread_is_found() {
        let text = "Timeout (0:00:03)!\nThread 0x00007f0001 (most recent call first):\n  \
                    File \"/usr/lib/python3.11/threading.py\", line 324 in wait\n\n\
                    Thread 0x00007f0002 (most recent call first):\n  \
                    File \"/srv/app.py\", line 2 in <module>\n  File \"wsgid/runtime.py\", line 3 in load\n";
        assert_eq!(place_in(text).as_deref(), Some("`/srv/app.py`, line 2"));
        assert_eq!(place_in("Timeout (0:00:03)!\n"), None);
    }
}
