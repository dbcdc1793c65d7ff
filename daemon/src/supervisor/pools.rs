//! The pools as the supervisor has them: each is the state machine of the policy with
//! what that does not know. Used by all flows. Knows nothing of connections and of
//! processes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::callables::Callables;
use super::state_time::StateTime;
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::{definition::Definition, pool::WorkerPool};
use wsgid_policy::{reload_wait::ReloadWait, watching::Watching};
use wsgid_protocol::{Failure, readable::escaped, status::EndReason};

/// Causes that are kept for the status.
const CAUSES_MAX: usize = 10;
/// Scripts of one pool that are remembered: a site may have many, and what a
/// worker says about them is a claim.
const SCRIPTS_MAX: usize = 32;

/// The workers of one application group; its fields cross `wsgid reexec`.
#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PoolEntry {
    pub(super) id: PoolId,
    pub(super) group: String,
    pub(super) application_group: String,
    /// Only requests have named the application group, see `requested`.
    pub(super) from_request: bool,
    /// Another of its name may be made: this one is on its way out.
    pub(super) is_forgotten: bool,
    /// When a connection last came for the pool.
    #[serde(skip, default = "Instant::now")]
    pub(super) used: Instant,
    pub(super) machine: WorkerPool,
    /// What every request is answered with: the code of a failure, and its text.
    pub(super) refusing: Option<(u16, String)>,
    pub(super) restarts: u64,
    pub(super) causes: VecDeque<Cause>,
    /// How many workers ended for which reason.
    pub(super) ends: BTreeMap<EndReason, u64>,
    /// Since when it is as it is.
    pub(super) since: StateTime,
    /// Scripts that its workers had to load for requests.
    pub(super) scripts: BTreeSet<PathBuf>,
    /// What requests called in scripts since this generation has served.
    pub(super) callables: Callables,
    /// The last new worker that was given up, until one takes over.
    pub(super) given_up: Option<GivenUp>,
    /// The generation whose first ready worker the log has told of.
    pub(super) announced: u64,
    /// Who watches the files.
    pub(super) watching: Watching,
    /// Whether requests wait for a generation with new code.
    #[serde(skip)]
    pub(super) reload_wait: ReloadWait,
    pub(super) told_that_it_looks: bool,
}

impl Default for PoolEntry {
    fn default() -> Self {
        Self::new(0, &Arc::default(), false)
    }
}

/// Why a worker ended. The program before may have written time and text alone, as a pair.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    pub(super) at: SystemTime,
    pub(super) text: String,
    pub(super) reason: EndReason,
    /// It had served.
    pub(super) served: bool,
    /// What its threads were doing, if it was ended because that took too long.
    pub(super) stacks: Option<String>,
}

impl Default for Cause {
    fn default() -> Self {
        Self {
            at: SystemTime::now(),
            text: String::new(),
            reason: EndReason::Unknown,
            served: false,
            stacks: None,
        }
    }
}

/// A new worker or generation that did not take over from the old one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GivenUp {
    #[serde(default = "SystemTime::now")]
    pub(super) at: SystemTime,
    #[serde(default)]
    pub(super) generation: u64,
    #[serde(default)]
    pub(super) why: String,
    /// Its definition is not in force.
    #[serde(default)]
    pub(super) other_definition: bool,
    /// Scripts that failed to load, with their tracebacks.
    #[serde(default)]
    pub(super) failed: BTreeMap<PathBuf, String>,
}

impl PoolEntry {
    fn new(id: PoolId, definition: &Arc<Definition>, is_eager: bool) -> Self {
        Self {
            id,
            group: definition.config.name.clone(),
            application_group: String::new(),
            from_request: false,
            is_forgotten: false,
            used: Instant::now(),
            machine: WorkerPool::new(id, Arc::clone(definition), is_eager),
            refusing: None,
            restarts: 0,
            causes: VecDeque::new(),
            ends: BTreeMap::new(),
            since: StateTime::default(),
            scripts: BTreeSet::new(),
            callables: Callables::default(),
            given_up: None,
            announced: 0,
            watching: Watching::default(),
            reload_wait: ReloadWait::default(),
            told_that_it_looks: false,
        }
    }

    pub(super) fn serves(&self) -> bool {
        self.machine.accepting().next().is_some()
    }

    /// The pool in words. A client may have written the application group's name.
    pub(super) fn name(&self) -> String {
        let group = escaped(self.group.as_bytes());
        match escaped(self.application_group.as_bytes()).as_str() {
            "" => format!("process group `{group}`"),
            application => format!("process group `{group}`, application group `{application}`"),
        }
    }

    pub(super) fn refusal(&self) -> Option<(Failure, String)> {
        let (code, text) = self.refusing.as_ref()?;
        Some((Failure::from_code(*code)?, text.clone()))
    }

    /// A script was loaded for a request. The next generation is to load it before it
    /// takes over: it must not replace a script that works by one that does not.
    pub(super) fn note_loaded(&mut self, script: PathBuf) {
        if self.scripts.len() < SCRIPTS_MAX && script.is_absolute() {
            self.scripts.insert(script);
        }
    }

    /// A worker or generation was given up. Why its scripts failed is not known yet.
    pub(super) fn note_given_up(&mut self, generation: u64, why: String) {
        self.given_up = Some(GivenUp {
            at: SystemTime::now(),
            generation,
            why,
            other_definition: !self.machine.has_latest(),
            failed: BTreeMap::new(),
        });
    }

    /// A worker has ended; one that was not asked to has to be started again.
    pub(super) fn note_end(&mut self, cause: Cause) {
        let count = self.ends.entry(cause.reason).or_default();
        *count = count.saturating_add(1);
        match cause.reason {
            EndReason::Asked => return,
            // It was to end.
            EndReason::ShutdownTimeout | EndReason::RequestTimeout => {}
            _ => self.restarts += 1,
        }
        if self.causes.len() == CAUSES_MAX {
            self.causes.pop_front();
        }
        self.causes.push_back(cause);
    }

    /// How many workers that served have ended unasked within this time, and how the last one
    /// did; as far as is remembered.
    pub(super) fn crashes(&self, now: SystemTime, within: Duration) -> (usize, Option<&str>) {
        let is_recent = |cause: &&Cause| {
            let past = now.duration_since(cause.at).unwrap_or_default();
            cause.served && past <= within
        };
        let recent = self.causes.iter().filter(is_recent);
        let last = recent.clone().next_back();
        (recent.count(), last.map(|cause| cause.text.as_str()))
    }
}

#[derive(Default)]
pub(super) struct PoolEntries {
    all: BTreeMap<PoolId, PoolEntry>,
    pub(super) last: PoolId,
}

impl Deref for PoolEntries {
    type Target = BTreeMap<PoolId, PoolEntry>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl DerefMut for PoolEntries {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.all
    }
}

impl PoolEntries {
    pub(super) fn make(
        &mut self,
        definition: &Arc<Definition>,
        application_group: &str,
        from_request: bool,
        is_eager: bool,
    ) -> PoolId {
        let id = self.last + 1;
        self.resume(PoolEntry {
            application_group: application_group.to_owned(),
            from_request,
            ..PoolEntry::new(id, definition, is_eager)
        });
        id
    }

    /// Goes on with a pool of the program before.
    pub(super) fn resume(&mut self, entry: PoolEntry) {
        self.last = self.last.max(entry.id);
        self.all.insert(entry.id, entry);
    }

    /// A pool in words; nothing, if it has gone.
    pub(super) fn name(&self, id: PoolId) -> String {
        self.get(&id).map(PoolEntry::name).unwrap_or_default()
    }

    pub(super) fn group_of(&self, id: PoolId) -> Option<&str> {
        self.get(&id).map(|entry| entry.group.as_str())
    }

    /// Whether a worker of this pool may be given connections.
    pub(super) fn accepts(&self, id: PoolId, worker: WorkerId) -> bool {
        self.get(&id)
            .is_some_and(|entry| entry.machine.accepts(worker))
    }

    pub(super) fn ids(&self) -> Vec<PoolId> {
        self.keys().copied().collect()
    }
}
