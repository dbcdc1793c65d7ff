//! What the parent decided for its children: the groups, and where the supervisor is.
//! Made by `launch/` for each configuration; children keep the one they inherited.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::groups::GroupViews;

#[derive(Debug, Default)]
pub(crate) struct ServingPlan {
    pub(crate) groups: GroupViews,
    /// Which directives name a process group that not every request may have, by its name.
    pub(crate) misnamed: HashMap<String, Vec<String>>,
    /// Application groups that directives name.
    pub(crate) application_groups: HashSet<String>,
    /// The supervisor's socket; `None` if there is none, with the reason.
    pub(crate) socket: Option<String>,
    pub(crate) secret: [u8; 32],
    pub(crate) generation: u64,
    /// WSGIRestrictEmbedded.
    pub(crate) restrict_embedded: bool,
    /// Requests that take longer are named in the log.
    pub(crate) slow_requests: Option<Duration>,
    /// Whether a directive names a note of `request/outcome.rs`.
    pub(crate) notes: bool,
    /// Probes ask how this server is.
    pub(crate) is_probed: bool,
}

impl ServingPlan {
    /// Whether several groups take requests, besides the implicit one, which is
    /// always there.
    pub(crate) fn has_several_groups(&self) -> bool {
        self.groups
            .values()
            .filter(|group| group.serves && group.name != DEFAULT_GROUP)
            .nth(1)
            .is_some()
    }
}

/// The plan of the configuration in force; children are forked after it is set.
static PLAN: Mutex<Option<Arc<ServingPlan>>> = Mutex::new(None);

/// For children that will be forked.
pub(crate) fn publish(plan: ServingPlan) {
    *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(plan));
}

pub(crate) fn current() -> Option<Arc<ServingPlan>> {
    PLAN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
