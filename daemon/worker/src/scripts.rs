//! The scripts of this worker: each loaded once, by path, if the group may run it.
//! Called by `application` for each request and by the preload; what one script is
//! and does is in `script`.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyModule;

use wsgid_protocol::line_rate::{LineLimits, LineRate};
use wsgid_protocol::runs::{self, RunRefusal, Runs};
use wsgid_protocol::{Failure, GroupConfig};

use crate::call_facts::CallFacts;
use crate::script::{FoundScript, LoadError, Script, lacks};
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
    /// Loads a script before the first request. Returns why it failed, or what
    /// it lacks of `callables`.
    pub(crate) fn preload(
        &self,
        py: Python<'_>,
        runtime: &Bound<'_, PyModule>,
        group: &GroupConfig,
        path: &Path,
        callables: &[(PathBuf, String)],
    ) -> Option<String> {
        let mut table = lock::attached(py, &self.table);
        let script = match self.load(py, runtime, group, path.as_os_str().as_bytes()) {
            Ok(script) => script,
            Err(refused) => return Some(refused.text),
        };
        let failed = match &script.state {
            Err(error) => Some(format!("{}\n{}", error.text, error.traceback)),
            Ok(module) => {
                let mut named = callables.iter().filter(|(script, _)| script == path);
                let lost = named.find(|(_, name)| !has(module.bind(py), name));
                lost.map(|(_, name)| lacks(path.as_os_str().as_bytes(), name.as_bytes()))
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
        let file = match self.open(group, path) {
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
                if let Err(RunRefusal::NotNamed(why)) = self.open(group, path) {
                    table.remove(path);
                    return FoundScript::nothing(self.refuse(py, group, path, why));
                }
                script.admitted = told;
            }
            return script.find(py, facts);
        }
        let mut script = match self.load(py, runtime, group, path) {
            Ok(script) => script,
            Err(refused) => return FoundScript::nothing(refused),
        };
        let loaded = FoundScript {
            first: script.state.is_ok(),
            ..script.find(py, facts)
        };
        table.insert(path.to_vec(), script);
        loaded
    }
}

fn has(module: &Bound<'_, PyModule>, name: &str) -> bool {
    panics::raised(|| module.hasattr(name)).unwrap_or_default()
}
