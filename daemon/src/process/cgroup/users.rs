//! Control groups of users: the parents of the control groups of their process groups, so
//! that what `[user.NAME]` allows holds for all of them together. Where nothing is limited
//! there are none, and each group stands for itself. Used by `Cgroups`; knows nothing of
//! process groups but where they are.

use std::collections::BTreeMap;
use std::io;

use wsgid_protocol::status::ControlGroupStatus;
use wsgid_protocol::user_limits::UserLimits;

use super::base::{Base, Bounds};
use crate::process::keeper::Keeper;

/// One that is there.
#[derive(Debug, Default)]
struct UserMade {
    bounds: Bounds,
    idle: bool,
    /// Processes that the kernel has killed for memory in groups that are gone.
    kills_before: u64,
}

#[derive(Debug, Default)]
pub(super) struct UserCgroups {
    limits: BTreeMap<u32, UserLimits>,
    made: BTreeMap<u32, UserMade>,
}

impl UserCgroups {
    /// Whether groups of this user belong into one.
    pub(super) fn wants(&self, uid: u32) -> bool {
        self.limits.get(&uid).is_some_and(UserLimits::is_bounded)
    }

    /// Whether a limit on memory holds for it.
    pub(super) fn bounds_memory(&self, uid: u32) -> bool {
        self.made
            .get(&uid)
            .is_some_and(|made| made.bounds.memory_max > 0)
    }

    /// Other limits are in force: of those that are there at once. One without any stays
    /// until its groups have gone, and bounds nothing.
    pub(super) fn limit(
        &mut self,
        base: Option<&Base>,
        keeper: Keeper,
        limits: BTreeMap<u32, UserLimits>,
    ) -> Vec<String> {
        self.limits = limits;
        let mut problems = Vec::new();
        for (uid, made) in &mut self.made {
            let wanted = bounds(self.limits.get(uid));
            if made.bounds != wanted
                && let Some(base) = base
            {
                let directory = keeper.user_directory(*uid);
                made.bounds = wanted;
                if let Err(error) = base.bound(&directory, wanted) {
                    problems.push(format!(
                        "uid {uid}: failed to change the control group: {error}"
                    ));
                }
                made.idle = false;
            }
        }
        problems
    }

    /// Makes it if it is not there.
    pub(super) fn make(&mut self, base: &Base, keeper: Keeper, uid: u32) -> io::Result<()> {
        if self.made.contains_key(&uid) {
            return Ok(());
        }
        let directory = keeper.user_directory(uid);
        let bounds = bounds(self.limits.get(&uid));
        base.make_parent(&directory)?;
        base.bound(&directory, bounds)?;
        self.take_up(uid, bounds);
        Ok(())
    }

    /// Goes on with one that is there.
    pub(super) fn adopt(&mut self, base: &Base, keeper: Keeper, uid: u32) {
        if !self.made.contains_key(&uid) {
            let bounds = bounds(self.limits.get(&uid));
            let _ = base.set_idle(&keeper.user_directory(uid), false, bounds.cpu_weight);
            self.take_up(uid, bounds);
        }
    }

    fn take_up(&mut self, uid: u32, bounds: Bounds) {
        let made = UserMade {
            bounds,
            ..UserMade::default()
        };
        self.made.insert(uid, made);
    }

    /// All of its groups give way to others, or not all do. With a weight the administrator
    /// has decided.
    pub(super) fn set_idle(&mut self, base: &Base, keeper: Keeper, uid: u32, idle: bool) {
        let has_weight = self
            .limits
            .get(&uid)
            .is_some_and(|limits| limits.cpu_weight > 0);
        let Some(made) = self.made.get_mut(&uid) else {
            return;
        };
        let idle = idle && !has_weight;
        let directory = keeper.user_directory(uid);
        if made.idle != idle
            && base
                .set_idle(&directory, idle, made.bounds.cpu_weight)
                .is_ok()
        {
            made.idle = idle;
        }
    }

    /// A group in it has gone, in which so many processes were killed for memory.
    pub(super) fn left(&mut self, uid: u32, kills: u64) {
        if let Some(made) = self.made.get_mut(&uid) {
            made.kills_before = made.kills_before.saturating_add(kills);
        }
    }

    /// Removes those that nothing is in. `has_groups`: of which users that is not so.
    pub(super) fn tidy(&mut self, base: &Base, keeper: Keeper, has_groups: impl Fn(u32) -> bool) {
        self.made
            .retain(|uid, _| has_groups(*uid) || !base.remove(&keeper.user_directory(*uid)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// For `wsgid status`. `kills`: those in groups that are there.
    pub(super) fn status(
        &self,
        base: &Base,
        keeper: Keeper,
        uid: u32,
        kills: u64,
    ) -> Option<ControlGroupStatus> {
        let made = self.made.get(&uid)?;
        let directory = keeper.user_directory(uid);
        let kills = made.kills_before.saturating_add(kills);
        Some(base.status(&directory, made.bounds.cpu_weight, Some(kills)))
    }
}

fn bounds(limits: Option<&UserLimits>) -> Bounds {
    let limits = limits.cloned().unwrap_or_default();
    Bounds {
        cpu_weight: if limits.cpu_weight == 0 {
            100
        } else {
            limits.cpu_weight
        },
        memory_max: limits.memory_max,
        tasks_max: limits.tasks_max,
    }
}
