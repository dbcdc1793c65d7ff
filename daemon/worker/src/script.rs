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
use std::time::{Duration, Instant, SystemTime};

use nix::unistd::{User, getegid, geteuid};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule, PyString};

use wsgid_protocol::Failure;
use wsgid_protocol::control::RecycleReason;

use crate::call_facts::CallFacts;
use crate::strings::latin1;
use crate::{fork, log, panics};

/// The modification time is not looked at more often than this.
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

/// What a request gets.
pub(crate) struct FoundScript<'py> {
    /// The callable, or why there is none.
    pub(crate) callable: Result<Bound<'py, PyAny>, LoadError>,
    pub(crate) recycle: Option<RecycleReason>,
    /// It was loaded for this request, and works.
    pub(crate) first: bool,
    /// What the supervisor is to know of what is called in it: a name that was
    /// found, or none, for it may be another one from now on.
    pub(crate) called: Option<String>,
    /// The script itself, once it is loaded.
    pub(crate) module: Option<Bound<'py, PyModule>>,
}

impl FoundScript<'_> {
    pub(crate) const fn nothing(error: LoadError) -> Self {
        Self {
            callable: Err(error),
            recycle: None,
            first: false,
            called: None,
            module: None,
        }
    }
}

pub(crate) struct Script {
    mtime: Option<SystemTime>,
    /// Modification time of the file that was loaded.
    loaded: Option<SystemTime>,
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
        let (mtime, source) = py.detach(|| {
            let mut source = Vec::new();
            let read = file.and_then(|mut file| file.read_to_end(&mut source));
            let source = read.map(|_| source);
            (
                modified(path),
                source.map_err(|error| unreadable(name, &error)),
            )
        });
        let state = match source {
            Err(text) => Err(LoadError::new(Failure::ScriptMissing, text)),
            Ok(source) => Self::execute(py, runtime, name, &source),
        };
        let now = Instant::now();
        Self {
            mtime,
            loaded: mtime,
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
        let mut recycle = self.recycle(py, path, reloading);
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
                recycle = Some(RecycleReason::ScriptChanged);
                Some(String::new())
            }
            _ => None,
        };
        let module = self.state.as_ref().ok();
        let module = module.map(|module| module.bind(py).clone());
        FoundScript {
            recycle,
            callable: found,
            first: false,
            called,
            module,
        }
    }

    /// Whether another file than the one that was loaded is there now; said once
    /// in a while. It may have what this one lacks: the new script was refused
    /// for the lack of what the configuration no longer asks for.
    fn was_replaced(&mut self, py: Python<'_>, path: &[u8]) -> bool {
        if self.tried.elapsed() < RETRY_INTERVAL || py.detach(|| modified(path)) == self.loaded {
            return false;
        }
        self.tried = Instant::now();
        true
    }

    fn recycle(&mut self, py: Python<'_>, path: &[u8], reloading: bool) -> Option<RecycleReason> {
        let failed = self.state.is_err();
        if !(reloading || failed) || self.looked.elapsed() < LOOK_INTERVAL {
            return None;
        }
        self.looked = Instant::now();
        let now = py.detach(|| modified(path));
        let changed = now != self.mtime;
        // Remembered, so that each change is said once.
        self.mtime = now;
        if failed && (changed || self.tried.elapsed() >= RETRY_INTERVAL) {
            self.tried = self.looked;
            return Some(RecycleReason::LoadFailed);
        }
        (changed && reloading).then_some(RecycleReason::ScriptChanged)
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

/// A handler script may say for itself whether it has to be loaded again, to
/// serve this resource.
pub(crate) fn wants_reload(
    module: &Bound<'_, PyModule>,
    resource: Option<Bound<'_, PyAny>>,
) -> bool {
    let py = module.py();
    let answer = panics::raised(|| {
        let required = module.getattr_opt(intern!(py, "reload_required"))?;
        required.map_or(Ok(false), |required| {
            required.call1((resource,))?.is_truthy()
        })
    });
    answer.unwrap_or_else(|error| {
        let what = "exception in reload_required of a handler script";
        log::exception(py, what, &error);
        false
    })
}

fn modified(path: &[u8]) -> Option<SystemTime> {
    std::fs::metadata(OsStr::from_bytes(path))
        .and_then(|data| data.modified())
        .ok()
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
