//! One script: loaded by path, looked at again, and what is called in it. Used by
//! `scripts`, which opens it; `runtime.py` compiles and executes it.
//!
//! A script that failed is not tried again here: frameworks that were imported
//! halfway cannot be imported again in the same process. A changed or failed
//! script asks the supervisor to replace the worker instead.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::{User, getegid, geteuid};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule, PyString};

use wsgid_protocol::Failure;
use wsgid_protocol::control::RecycleReason;
use wsgid_protocol::stamp::FileStamp;

use crate::call_facts::CallFacts;
use crate::strings::latin1;
use crate::{fork, log, panics};

/// The file is not looked at more often than this.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A failed script is worth another process after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Why there is nothing to call.
#[derive(Clone)]
pub(crate) struct LoadError {
    pub(crate) failure: Failure,
    pub(crate) text: String,
    pub(crate) traceback: String,
}

impl LoadError {
    pub(crate) const fn new(failure: Failure, text: String) -> Self {
        Self {
            failure,
            text,
            traceback: String::new(),
        }
    }
}

/// Why the worker is to be replaced because of a script.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Renewal {
    Recycle(RecycleReason),
    /// Another file is there than the one that was loaded.
    Changed(FileStamp),
}

/// What a request gets.
pub(crate) struct FoundScript<'py> {
    /// The callable, or why there is none.
    pub(crate) callable: Result<Bound<'py, PyAny>, LoadError>,
    pub(crate) renewal: Option<Renewal>,
    /// It was loaded for this request, and works.
    pub(crate) first: bool,
    /// What was loaded for this request.
    pub(crate) stamp: Option<Option<FileStamp>>,
    /// Whether changes count, where the supervisor has heard otherwise.
    pub(crate) reloading: Option<bool>,
    /// What the supervisor is to know of what is called in it: a name that was
    /// found, or none, for it may be another one from now on.
    pub(crate) called: Option<String>,
    /// Its `reload_required`, to be asked before this request.
    pub(crate) asks: Option<Bound<'py, PyAny>>,
}

impl FoundScript<'_> {
    pub(crate) const fn nothing(error: LoadError) -> Self {
        Self {
            callable: Err(error),
            renewal: None,
            first: false,
            stamp: None,
            reloading: None,
            called: None,
            asks: None,
        }
    }
}

pub(crate) struct Script {
    /// The file as it was seen last.
    seen: Option<FileStamp>,
    /// The file that was loaded.
    pub(crate) loaded: Option<FileStamp>,
    /// Whether changes count (WSGIScriptReloading), as the last request said.
    reloading: bool,
    /// Its `reload_required`. As in mod_wsgi it is not asked before the first request.
    asks: Option<Py<PyAny>>,
    served: bool,
    looked: Instant,
    tried: Instant,
    /// How often the list of what may be run had changed when it was looked at.
    pub(crate) admitted: u32,
    pub(crate) state: Result<Py<PyModule>, LoadError>,
    names: Vec<(Vec<u8>, Py<PyString>)>,
}

impl Script {
    pub(crate) fn load(
        py: Python<'_>,
        runtime: &Bound<'_, PyModule>,
        path: &[u8],
        file: std::io::Result<File>,
    ) -> Self {
        let name = Path::new(OsStr::from_bytes(path));
        // A file system may take its time to answer, and others have work to do.
        let (loaded, source) = py.detach(|| {
            let mut source = Vec::new();
            let loaded = file.as_ref().ok().and_then(FileStamp::of_open);
            let read = file.and_then(|mut file| file.read_to_end(&mut source));
            let source = read.map(|_| source);
            (loaded, source.map_err(|error| unreadable(name, &error)))
        });
        let state = match source {
            Err(text) => Err(LoadError::new(Failure::ScriptMissing, text)),
            Ok(source) => Self::execute(py, runtime, name, &source),
        };
        let now = Instant::now();
        let asks = state.as_ref().ok().and_then(|module| {
            let found = module.bind(py).getattr_opt(intern!(py, "reload_required"));
            found.ok().flatten().map(Bound::unbind)
        });
        Self {
            seen: loaded,
            loaded,
            reloading: true,
            asks,
            served: false,
            looked: now,
            tried: now,
            admitted: 0,
            state,
            names: Vec::new(),
        }
    }

    fn execute(
        py: Python<'_>,
        runtime: &Bound<'_, PyModule>,
        path: &Path,
        source: &[u8],
    ) -> Result<Py<PyModule>, LoadError> {
        let module = panics::raised(|| {
            let source = PyBytes::new(py, source);
            runtime.call_method1("load_script", (path.as_os_str(), source))
        });
        fork::end_child(py, module.as_ref().err());
        let module = module.and_then(|module| Ok(module.cast_into::<PyModule>()?));
        module.map(Bound::unbind).map_err(|error| {
            let summary = summary(py, &error);
            let text = format!("WSGI script `{}` failed to load: {summary}", path.display());
            LoadError {
                traceback: log::traceback(py, &error),
                ..LoadError::new(Failure::LoadFailed, text)
            }
        })
    }

    pub(crate) fn find<'py>(
        &mut self,
        py: Python<'py>,
        runtime: &Bound<'py, PyModule>,
        facts: &CallFacts,
    ) -> FoundScript<'py> {
        let path = &*facts.script;
        let callable = &*facts.callable;
        let reloading = facts.options.script_reloading;
        let mut renewal = self.renewal(py, path, reloading, LOOK_INTERVAL);
        let said = std::mem::replace(&mut self.reloading, reloading);
        let known = self.names.len();
        let found = self.callable(py, runtime, path, callable);
        let called = match &found {
            Ok(_) if self.names.len() > known => {
                std::str::from_utf8(callable).ok().map(str::to_owned)
            }
            Err(error)
                if error.failure == Failure::NoCallable
                    && reloading
                    && self.was_replaced(py, path) =>
            {
                renewal = Some(Renewal::Recycle(RecycleReason::ScriptChanged));
                Some(String::new())
            }
            _ => None,
        };
        FoundScript {
            renewal,
            callable: found,
            first: false,
            stamp: None,
            reloading: (said != reloading).then_some(reloading),
            called,
            asks: self.asks(py, facts.function.is_none() && reloading),
        }
    }

    /// What is to be asked before a request, if it is one that is served.
    pub(crate) fn asks<'py>(&mut self, py: Python<'py>, counts: bool) -> Option<Bound<'py, PyAny>> {
        let asks = self.asks.as_ref().filter(|_| counts)?;
        let before = std::mem::replace(&mut self.served, true);
        before.then(|| asks.bind(py).clone())
    }

    /// Whether another file than the one that was loaded is there now; said once
    /// in a while. It may have what this one lacks: the new script was refused
    /// for the lack of what the configuration no longer asks for.
    fn was_replaced(&mut self, py: Python<'_>, path: &[u8]) -> bool {
        if self.tried.elapsed() < RETRY_INTERVAL || stamp(py, path) == self.loaded {
            return false;
        }
        self.tried = Instant::now();
        true
    }

    /// Looks at the file, if that was not done just before. That it has gone is no
    /// reason: without it no other worker could do better.
    pub(crate) fn renewal(
        &mut self,
        py: Python<'_>,
        path: &[u8],
        reloading: bool,
        interval: Duration,
    ) -> Option<Renewal> {
        let failed = self.state.is_err();
        if !(reloading || failed) || self.looked.elapsed() < interval {
            return None;
        }
        self.looked = Instant::now();
        let now = stamp(py, path);
        // Remembered, so that each change is said once.
        let changed = now.filter(|now| self.seen != Some(*now));
        self.seen = now.or(self.seen);
        if failed && changed.is_none_or(|_| !reloading) {
            let again = changed.is_some() || self.tried.elapsed() >= RETRY_INTERVAL;
            self.tried = if again { self.looked } else { self.tried };
            return again.then_some(Renewal::Recycle(RecycleReason::LoadFailed));
        }
        changed.filter(|_| reloading).map(Renewal::Changed)
    }

    fn callable<'py>(
        &mut self,
        py: Python<'py>,
        runtime: &Bound<'py, PyModule>,
        path: &[u8],
        callable: &[u8],
    ) -> Result<Bound<'py, PyAny>, LoadError> {
        let module = match &self.state {
            Ok(module) => module.bind(py),
            Err(error) => return Err(error.clone()),
        };
        let known = self.names.iter().find(|(name, _)| name == callable);
        let name = known.map_or_else(
            || latin1(py, callable),
            |(_, object)| object.bind(py).clone(),
        );
        // What was good is not looked at again, until it is gone.
        let found = module.getattr(&name).ok();
        let is_good = known.is_some() && found.is_some();
        if !is_good && let Some(text) = unusable(runtime, module, path, &name) {
            return Err(LoadError::new(Failure::NoCallable, text));
        }
        let found = found.ok_or_else(|| {
            let text = format!("`{name}` is not to be had from {}", script_at(path));
            LoadError::new(Failure::NoCallable, text)
        })?;
        if known.is_none() {
            self.names.push((callable.to_vec(), name.unbind()));
        }
        Ok(found)
    }
}

/// Why a name of a script that was loaded cannot be called, and what to do about it.
pub(crate) fn unusable(
    runtime: &Bound<'_, PyModule>,
    module: &Bound<'_, PyModule>,
    path: &[u8],
    name: &Bound<'_, PyString>,
) -> Option<String> {
    let why = panics::raised(|| {
        let why = runtime.call_method1("unusable", (module, name))?;
        why.extract::<Option<String>>()
    });
    // What cannot even be looked at is called, and says itself what is wrong.
    let why = why.ok().flatten()?;
    Some(format!("{}{why}", script_at(path)))
}

fn script_at(path: &[u8]) -> String {
    format!("WSGI script `{}`", String::from_utf8_lossy(path))
}

/// A script may say for itself whether it has to be loaded again, to serve this
/// resource.
pub(crate) fn wants_reload(asks: &Bound<'_, PyAny>, resource: Option<Bound<'_, PyAny>>) -> bool {
    let py = asks.py();
    let answer = panics::raised(|| asks.call1((resource,))?.is_truthy());
    answer.unwrap_or_else(|error| {
        let what = "exception in reload_required of a script";
        log::exception(py, what, &error);
        false
    })
}

/// A file system may take its time to answer, and others have work to do.
fn stamp(py: Python<'_>, path: &[u8]) -> Option<FileStamp> {
    py.detach(|| FileStamp::of(Path::new(OsStr::from_bytes(path))))
}

/// Names the first component of the path that is missing or closed, and for
/// whom: what cannot even be looked at lies in a directory that is closed.
fn unreadable(path: &Path, error: &std::io::Error) -> String {
    if error.kind() == ErrorKind::InvalidInput {
        return format!("WSGI script `{}` is not loaded: {error}", path.display());
    }
    let mut ancestors: Vec<&Path> = path.ancestors().collect();
    ancestors.reverse();
    let unseen = ancestors
        .into_iter()
        .find(|part| std::fs::metadata(part).is_err());
    let (component, verb) = match (unseen, error.kind()) {
        (Some(part), ErrorKind::PermissionDenied) => (part.parent().unwrap_or(part), "entered"),
        (Some(part), _) => (part, "found"),
        (None, _) => (path, "read"),
    };
    let uid = geteuid();
    let user = User::from_uid(uid).ok().flatten();
    let user = user.map_or_else(|| "?".to_owned(), |user| user.name);
    format!(
        "WSGI script `{}` cannot be read: `{}` cannot be {verb} by user `{user}` (uid {uid}, gid {}): {error}",
        path.display(),
        component.display(),
        getegid(),
    )
}

/// `Type: message` on one line.
pub(crate) fn summary(py: Python<'_>, error: &PyErr) -> String {
    let name = error.get_type(py).name();
    let name = name.map_or_else(|_| String::new(), |name| name.to_string());
    let value = error.value(py).str();
    let value = value
        .as_ref()
        .map_or_else(|_| "".into(), |text| text.to_string_lossy());
    let value = value.lines().next().unwrap_or_default();
    if value.is_empty() {
        name
    } else {
        format!("{name}: {value}")
    }
}
