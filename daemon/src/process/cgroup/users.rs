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
    /// Why they are not all in force: they are set anew with the next configuration.
    problem: Option<String>,
    idle: bool,
    /// Processes that the kernel has killed for memory in groups that are gone.
    kills_before: u64,
}

impl UserMade {
    fn bound(&mut self, base: &Base, directory: &str, bounds: Bounds) {
        let set = base.bound(directory, bounds);
        self.problem = set
            .err()
            .map(|error| format!("failed to change the control group: {error}"));
        self.bounds = bounds;
        self.idle = false;
    }
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
            if (made.bounds != wanted || made.problem.is_some())
                && let Some(base) = base
            {
                made.bound(base, &keeper.user_directory(*uid), wanted);
                let problem = made.problem.iter();
                problems.extend(problem.map(|why| format!("uid {uid}: {why}")));
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
        let made = UserMade {
            bounds,
            ..UserMade::default()
        };
        self.made.insert(uid, made);
        Ok(())
    }

    /// Goes on with one that is there.
    pub(super) fn adopt(&mut self, base: &Base, keeper: Keeper, uid: u32) {
        if !self.made.contains_key(&uid) {
            let bounds = bounds(self.limits.get(&uid));
            let mut made = UserMade::default();
            made.bound(base, &keeper.user_directory(uid), bounds);
            self.made.insert(uid, made);
        }
    }

    /// Why not all that bounds it is in force.
    pub(super) fn problem(&self, uid: u32) -> Option<&str> {
        self.made.get(&uid)?.problem.as_deref()
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
