//! The process groups: how each is defined, which pools it has, and who may
//! command it. Changed by configurations and operators. Knows nothing of workers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wsgid_protocol::byte_rate::LeftOut;
use wsgid_protocol::isolation::IsolationReport;
use wsgid_protocol::{GroupConfig, config::LogTarget, names};

use super::open_log::open_log;
use super::state_time::StateTime;
use crate::channel::operator::may_everything;
use crate::config::InForce;
use crate::log::{LogDestination, OutputTarget};
use wsgid_policy::{definition::Definition, ids::PoolId};

/// A process group; its fields cross `wsgid reexec`, but for those that its
/// definition says.
#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ProcessGroup {
    /// A missing definition is as the pools have it.
    pub(super) definition: Arc<Definition>,
    pub(super) pools: BTreeMap<String, PoolId>,
    pub(super) stopped: bool,
    pub(super) removed: bool,
    /// Since when it is as it is.
    pub(super) since: StateTime,
    /// `wsgid drain` was said of it.
    pub(super) drains: bool,
    /// What its launchers have said is in force.
    pub(super) isolation: IsolationReport,
    /// Who may connect for it beside httpd's user (`socket-user=`).
    #[serde(skip)]
    pub(super) socket_uid: Option<u32>,
    #[serde(skip)]
    pub(super) target: OutputTarget,
    /// What of its lines that were left out is in its totals.
    #[serde(skip)]
    pub(super) counted_left_out: LeftOut,
}

impl Default for ProcessGroup {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl ProcessGroup {
    pub(super) fn new(definition: Arc<Definition>) -> Self {
        Self {
            definition,
            pools: BTreeMap::new(),
            stopped: false,
            removed: false,
            since: StateTime::default(),
            drains: false,
            isolation: IsolationReport::default(),
            socket_uid: None,
            target: OutputTarget::default(),
            counted_left_out: LeftOut::default(),
        }
    }

    pub(super) fn forget_pool(&mut self, application_group: &str, pool: PoolId) {
        if self.pools.get(application_group) == Some(&pool) {
            self.pools.remove(application_group);
        }
    }

    /// Whether this user sees and commands it.
    pub(super) fn obeys(&self, uid: u32) -> bool {
        let identity = self.definition.identity.as_ref();
        // A group that runs as httpd's user has no owner of its own.
        may_everything(uid)
            || identity
                .is_ok_and(|owner| owner.uid == uid && owner.uid != self.definition.httpd_uid)
    }
}

#[derive(Default)]
pub(super) struct ProcessGroups(BTreeMap<String, ProcessGroup>);

impl Deref for ProcessGroups {
    type Target = BTreeMap<String, ProcessGroup>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ProcessGroups {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl ProcessGroups {
    pub(super) fn config(&self, name: &str) -> Option<&GroupConfig> {
        self.get(name).map(|group| &group.definition.config)
    }

    /// The user that workers of a group become, if that is known.
    pub(super) fn owner(&self, name: &str) -> Option<u32> {
        let identity = self.get(name)?.definition.identity.as_ref();
        identity.ok().map(|user| user.uid)
    }

    /// Puts a definition in force. Returns its group, and the definition before.
    pub(super) fn define(
        &mut self,
        definition: &Arc<Definition>,
    ) -> (&mut ProcessGroup, Arc<Definition>) {
        let name = definition.config.name.clone();
        let group = self.entry(name);
        let group = group.or_insert_with(|| ProcessGroup::new(Arc::clone(definition)));
        let before = std::mem::replace(&mut group.definition, Arc::clone(definition));
        if std::mem::take(&mut group.removed) {
            // Its pools are on their way out and never serve again; the name
            // begins anew.
            group.pools.clear();
        }
        (group, before)
    }

    pub(super) fn pools_of(&self, name: &str) -> Vec<PoolId> {
        let group = self.get(name);
        group.map_or_else(Vec::new, |group| group.pools.values().copied().collect())
    }

    /// The groups in force that nobody uses.
    pub(super) fn unused(&self, is_used: impl Fn(&str) -> bool) -> Vec<String> {
        let unused = self
            .iter()
            .filter(|(name, group)| !group.removed && !is_used(name));
        unused.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets a pool of a group. Returns whether the group has ended with it.
    pub(super) fn forget_pool(
        &mut self,
        name: &str,
        application_group: &str,
        pool: PoolId,
    ) -> bool {
        let Some(group) = self.get_mut(name) else {
            return false;
        };
        group.forget_pool(application_group, pool);
        let has_ended = group.removed && group.pools.is_empty();
        if has_ended {
            self.remove(name);
        }
        has_ended
    }

    pub(super) fn origins(&self) -> InForce {
        self.iter()
            .map(|(name, group)| (name.clone(), group.definition.config.origin.clone()))
            .collect()
    }

    /// Where the output of a group's workers goes.
    pub(super) fn target_of(&self, name: &str) -> OutputTarget {
        self.get(name)
            .map(|group| group.target.clone())
            .unwrap_or_default()
    }

    /// httpd left out so many lines and bytes of what requests wrote.
    pub(super) fn count_left_out(&self, counts: Vec<(String, u64, u64)>) {
        for (name, lines, bytes) in counts {
            if let Some(group) = self.get(&name) {
                group.target.count(LeftOut { lines, bytes });
            }
        }
    }

    pub(super) fn socket_uids(&self) -> BTreeSet<u32> {
        let groups = self.values();
        groups.filter_map(|group| group.socket_uid).collect()
    }

    /// Whether sites of more than one user are here. The group of scripts that
    /// name none is always there, used or not, and does not count.
    pub(super) fn have_several_users(&self) -> bool {
        let named = self.iter().filter(|(name, _)| !names::is_reserved(name));
        let mut uids = named
            .filter_map(|(_, group)| group.definition.identity.as_ref().ok())
            .map(|user| user.uid);
        uids.next()
            .is_some_and(|first| uids.any(|uid| uid != first))
    }

    /// Opens the log files of groups again, after a rotation.
    pub(super) fn reopen_logs(&self) {
        tracing::debug!("SIGHUP: log files are opened again");
        for group in self.values() {
            let definition = &group.definition;
            if let (LogTarget::File(path), Ok(identity)) =
                (&definition.config.log, &definition.identity)
            {
                match open_log(&definition.config, path, identity) {
                    Ok(file) => group.target.set(LogDestination::File(Arc::new(file))),
                    Err(error) => {
                        let path = path.display();
                        log_line!(
                            LOG_NOT_REOPENED,
                            "failed to open the log `{path}` again: {error}"
                        );
                    }
                }
            }
        }
    }
}
