//! What requests called in the scripts of a pool since its generation has served.
//! The next generation has to have it too: a script that was written halfway, or
//! is empty, loads without an error and serves nothing. Told by workers
//! (`messages`), sent with the specification of new ones (`launch`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Scripts that are remembered.
const SCRIPTS_MAX: usize = 32;
/// Names of each.
const NAMES_MAX: usize = 8;
/// Bytes of a path, and of a name.
const LEN_MAX: usize = 4096;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Callables(BTreeMap<PathBuf, BTreeSet<String>>);

impl Callables {
    /// A claim of a worker. Without a name: the script has not what is asked for, and
    /// need not keep what it had.
    pub(super) fn note(&mut self, script: PathBuf, name: String) {
        if name.is_empty() {
            self.0.remove(&script);
            return;
        }
        let known = self.0.contains_key(&script);
        if name.len().max(script.as_os_str().len()) > LEN_MAX
            || !(known || self.0.len() < SCRIPTS_MAX)
        {
            return;
        }
        let names = self.0.entry(script).or_default();
        if names.len() < NAMES_MAX {
            names.insert(name);
        }
    }

    /// Another generation serves, and will tell.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn list(&self) -> Vec<(PathBuf, String)> {
        let mut list = Vec::new();
        for (script, names) in &self.0 {
            list.extend(names.iter().map(|name| (script.clone(), name.clone())));
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_claims_is_bounded() {
        let mut callables = Callables::default();
        for number in 0..100 {
            for name in 0..100 {
                callables.note(format!("/srv/{number}").into(), name.to_string());
            }
        }
        callables.note("/srv/0".into(), "x".repeat(LEN_MAX + 1));
        assert_eq!(callables.list().len(), SCRIPTS_MAX * NAMES_MAX);
        callables.note("/srv/0".into(), String::new());
        assert_eq!(callables.list().len(), (SCRIPTS_MAX - 1) * NAMES_MAX);
        callables.clear();
        assert_eq!(callables.list(), []);
    }
}
