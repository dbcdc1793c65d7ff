//! The scripts of this worker: each loaded once, by path, if the group may run it.
//! Called by `application` for each request and by the preload; what one script is
//! and does is in `script`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyModule, PyString};

use wsgid_protocol::control::WorkerSpec;
use wsgid_protocol::runs::{self, RunRefusal, Runs};
use wsgid_protocol::stamp::StampedFile;
use wsgid_protocol::{Failure, GroupConfig};

use crate::call_facts::CallFacts;
use crate::line_rate::{LineLimits, LineRate};
use crate::loaded_files::LoadedFiles;
use crate::script::{FoundScript, LoadError, Renewal, Script, unusable};
use crate::{lock, log, panics};

/// How often it is said that a script was refused.
const REFUSALS: LineLimits = LineLimits {
    burst: 20,
    per_second: 1,
};

/// The scripts of this worker.
#[derive(Default)]
pub(crate) struct Scripts {
    /// Few, so that finding one costs less than a hash of its path. All of them
    /// are scripts that the group may run: what was refused never comes in here.
    table: Mutex<BTreeMap<Vec<u8>, Script>>,
    /// What else the process depends on.
    pub(crate) files: LoadedFiles,
    /// Since when a script is being loaded.
    loading: Mutex<Option<Instant>>,
    /// What the supervisor has said since the worker was started.
    runs: Mutex<Option<Arc<Runs>>>,
    /// How often it has said so.
    told: AtomicU32,
    /// Lines about scripts that were refused.
    refusals: Mutex<Option<LineRate>>,
}

impl Scripts {
    /// Loads a script before the first request. Returns why it failed, or what cannot be
    /// called in it of what is known to be asked for.
    pub(crate) fn preload(
        &self,
        py: Python<'_>,
        runtime: &Bound<'_, PyModule>,
        spec: &WorkerSpec,
        path: &Path,
    ) -> Option<String> {
        let mut table = lock::attached(py, &self.table);
        let bytes = path.as_os_str().as_bytes();
        let script = match self.load(py, runtime, &spec.group, bytes) {
            Ok(script) => script,
            Err(refused) => return Some(refused.text),
        };
        let failed = match &script.state {
            Err(error) => Some(format!("{}\n{}", error.text, error.traceback)),
            Ok(module) => {
                let module = module.bind(py);
                let asked = spec.callables.iter().filter(|(script, _)| script == path);
                let asked = asked.map(|(_, name)| name.as_str());
                // What an alias names may be missing: requests may ask for another one.
                let aliased = py.detach(|| aliased(spec, path));
                let aliased = aliased.into_iter().filter(|name| has(module, name));
                asked
                    .chain(aliased)
                    .find_map(|name| unusable(runtime, module, bytes, &PyString::new(py, name)))
            }
        };
        table.insert(path.as_os_str().as_bytes().to_vec(), script);
        failed
    }

    /// Takes all scripts over, for the worker that this process has become.
    pub(crate) fn take(&self) -> Self {
        let table = std::mem::take(&mut *lock::detached(&self.table));
        let runs = lock::detached(&self.runs).clone();
        let told = AtomicU32::new(self.told.load(Ordering::Acquire));
        Self {
            table: Mutex::new(table),
            files: self.files.take(),
            runs: Mutex::new(runs),
            told,
            ..Self::default()
        }
    }

    /// The group may run something else from now on.
    pub(crate) fn may_run(&self, runs: Runs) {
        *lock::detached(&self.runs) = Some(Arc::new(runs));
        self.told.fetch_add(1, Ordering::Release);
    }

    /// Opens a script, if the group may run it.
    fn open(&self, group: &GroupConfig, path: &[u8]) -> Result<File, RunRefusal> {
        let told = lock::detached(&self.runs).clone();
        told.as_deref().unwrap_or(&group.runs).open(path)
    }

    /// Since when a script is being loaded.
    pub(crate) fn loading(&self) -> Option<Instant> {
        *lock::detached(&self.loading)
    }

    /// Loads a script; the error is that the group may not run it.
    fn load(
        &self,
        py: Python<'_>,
        runtime: &Bound<'_, PyModule>,
        group: &GroupConfig,
        path: &[u8],
    ) -> Result<Script, LoadError> {
        let admitted = self.told.load(Ordering::Acquire);
        let file = match py.detach(|| self.open(group, path)) {
            Ok(file) => Ok(file),
            Err(RunRefusal::Unreadable(error)) => Err(error),
            Err(RunRefusal::NotNamed(why)) => return Err(self.refuse(py, group, path, why)),
        };
        *lock::detached(&self.loading) = Some(Instant::now());
        let mut script = Script::load(py, runtime, path, file);
        script.admitted = admitted;
        *lock::detached(&self.loading) = None;
        Ok(script)
    }

    /// Refuses a script. The site's log says so too: a peer that asks for what nobody
    /// named need not show the answer to anybody.
    fn refuse(&self, py: Python<'_>, group: &GroupConfig, path: &[u8], why: &str) -> LoadError {
        let text = format!(
            "process group `{}` may not run `{}`: {why}; if it is to, name it, or its directory with script-directories= of the group{}",
            group.name,
            runs::shown(path),
            if group.origin == "implicit" {
                " (this one is implicit: with SetHandler wsgi-script in a <Directory>)"
            } else {
                ""
            },
        );
        let lines = self.lines_about(&text);
        py.detach(|| lines.iter().for_each(|line| log::process(line)));
        LoadError::new(Failure::NotAllowed, text)
    }

    /// What the process says about a refusal: nothing if it has said much lately, and
    /// later how many were left out.
    fn lines_about(&self, refusal: &str) -> Vec<String> {
        let now = Instant::now();
        let mut rate = lock::detached(&self.refusals);
        let rate = rate.get_or_insert_with(|| LineRate::new(REFUSALS, now));
        if !rate.allows(1, now) {
            return Vec::new();
        }
        let mut lines = vec![refusal.to_owned()];
        lines.extend(rate.account(" about refused scripts"));
        lines
    }

    /// What was loaded so far, in which state.
    pub(crate) fn stamps(&self, py: Python<'_>) -> Vec<StampedFile> {
        let mut stamps = self.files.options();
        for (path, script) in &*lock::attached(py, &self.table) {
            stamps.push((OsStr::from_bytes(path).into(), script.loaded));
        }
        stamps
    }

    /// Looks at a script before a request for it is taken: whether another file is there,
    /// and what is to be asked besides.
    pub(crate) fn look<'py>(
        &self,
        py: Python<'py>,
        path: &[u8],
        reloading: bool,
        is_served: bool,
    ) -> (Option<Renewal>, Option<Bound<'py, PyAny>>) {
        let mut table = lock::attached(py, &self.table);
        let Some(script) = table.get_mut(path).filter(|_| reloading) else {
            return (None, None);
        };
        let renewal = script.renewal(py, path, reloading, Duration::ZERO);
        (renewal, script.asks(py, is_served))
    }

    /// The callable of a script; the script is loaded by the first who asks.
    pub(crate) fn get<'py>(
        &self,
        py: Python<'py>,
        runtime: &Bound<'py, PyModule>,
        group: &GroupConfig,
        facts: &CallFacts,
    ) -> FoundScript<'py> {
        let path = &*facts.script;
        // Held while the script loads: whoever asks meanwhile waits, detached.
        let mut table = lock::attached(py, &self.table);
        if let Some(script) = table.get_mut(path) {
            let told = self.told.load(Ordering::Acquire);
            if script.admitted != told {
                let opened = py.detach(|| self.open(group, path));
                if let Err(RunRefusal::NotNamed(why)) = opened {
                    table.remove(path);
                    return FoundScript::nothing(self.refuse(py, group, path, why));
                }
                script.admitted = told;
            }
            return script.find(py, runtime, facts);
        }
        let mut script = match self.load(py, runtime, group, path) {
            Ok(script) => script,
            Err(refused) => return FoundScript::nothing(refused),
        };
        let loaded = FoundScript {
            first: script.state.is_ok(),
            stamp: Some(script.loaded),
            ..script.find(py, runtime, facts)
        };
        table.insert(path.to_vec(), script);
        loaded
    }
}

/// The callables that the aliases of a script name.
fn aliased<'s>(spec: &'s WorkerSpec, path: &Path) -> Vec<&'s str> {
    let preloads = spec.group.preload_scripts.iter();
    let own = preloads.filter(|preload| {
        preload.application_group == spec.application_group
            && runs::script_in(&preload.script) == path
    });
    let names = own.filter_map(|preload| preload.callable.as_deref());
    names.filter(|name| !name.is_empty()).collect()
}

fn has(module: &Bound<'_, PyModule>, name: &str) -> bool {
    panics::raised(|| module.hasattr(name)).unwrap_or_default()
}
