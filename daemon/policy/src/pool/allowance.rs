//! How many processes a pool may have, where its user has a limit: what it would
//! like to have, for `user_share`, which decides, and how it obeys. Whoever is to go goes by
//! draining. A worker that is to replace another starts when there is room for both; where
//! there is none, its predecessor goes first. Called by `filling` and by the supervisor.

use std::time::Instant;

use super::demand::{Allowance, Demand};
use super::{Member, Mode, Phase, PoolGeneration, PoolStep, WorkerPool};
use crate::ids::WorkerId;

impl WorkerPool {
    /// What it would have if its user had no limit.
    pub fn demand(&self, now: Instant) -> Demand {
        let live = self.count(Member::is_live);
        let nothing = Demand {
            has: self.members.len(),
            live,
            ..Demand::default()
        };
        match &self.mode {
            Mode::Stopped | Mode::Leaving { .. } => nothing,
            Mode::Failed { until, .. } => {
                let tries = until.is_none_or(|at| at <= now);
                let wanted = live.max(usize::from(tries));
                Demand {
                    wanted,
                    least: wanted.min(1),
                    ..nothing
                }
            }
            Mode::Running => {
                let next = self.next.as_ref();
                let wanted = next.map_or(0, |next| self.wanted(next));
                let wanted = wanted.max(self.wanted(&self.current));
                let least = self.current.definition.config.processes.max(1);
                Demand {
                    wanted: wanted as usize,
                    least: least.min(wanted) as usize,
                    waits: self.waiting > 0,
                    extra: self.extra(live, wanted as usize, now),
                    ..nothing
                }
            }
        }
    }

    fn extra(&self, live: usize, wanted: usize, now: Instant) -> usize {
        match &self.next {
            Some(next) if next.is_service() => 0,
            Some(next) => next.surge().map_or(wanted, |surge| surge as usize),
            None if self.is_rolling() => live.saturating_sub(wanted).max(1),
            None if self.current.is_service() => 0,
            None => self.count(|member| {
                let replaces = member.is_live() && member.replaces.is_some();
                replaces || is_to_be_replaced(member, now)
            }),
        }
    }

    /// Whether it may not start what it wants.
    pub fn is_short(&self, now: Instant) -> bool {
        let Demand { live, wanted, .. } = self.demand(now);
        !self.has_room() && live < wanted
    }

    /// Whether the successor of a worker can only start when that one has gone.
    pub fn is_stuck(&self, now: Instant) -> bool {
        self.predecessor(now).is_some()
    }

    /// What it may have; `None`: as many as it wants.
    pub const fn allowance(&self) -> Option<Allowance> {
        self.allowed
    }

    pub(super) fn has_room(&self) -> bool {
        self.room() > 0
    }

    /// How many more processes it may start.
    pub(super) fn room(&self) -> usize {
        self.allowed.map_or(usize::MAX, |allowed| allowed.starts)
    }

    /// One of them starts.
    pub(super) fn take_room(&mut self) {
        if let Some(allowed) = &mut self.allowed {
            allowed.starts = allowed.starts.saturating_sub(1);
        }
    }

    /// How many workers beyond the wanted ones there may be while a generation takes over:
    /// as the option says, and as there is room.
    pub(super) fn surge_of(&self, generation: &PoolGeneration, wanted: u32) -> Option<u32> {
        let own = generation.surge();
        let Some(allowed) = self.allowed.filter(|_| !generation.is_service()) else {
            return own;
        };
        let room = allowed.live.saturating_sub(wanted as usize).max(1);
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        if room >= wanted {
            return own;
        }
        Some(own.map_or(room, |own| own.min(room)))
    }

    /// Something else is allowed, or the same still.
    pub(super) fn allow(&mut self, allowed: Option<Allowance>, step: &mut PoolStep) {
        self.allowed = allowed;
        if matches!(self.mode, Mode::Running | Mode::Failed { .. }) {
            self.give_way(step);
        }
        if let Some(id) = self.predecessor(step.now) {
            self.let_go(id, step);
        }
    }

    /// Those that are too many go: first those that serve nobody yet.
    fn give_way(&mut self, step: &mut PoolStep) {
        let Some(Allowance { live: most, .. }) = self.allowed else {
            return;
        };
        let live = self.count(Member::is_live);
        if live <= most {
            return;
        }
        let mut members: Vec<(u8, bool, WorkerId)> = self
            .members()
            .filter(|(_, member)| member.is_live())
            .map(|(id, member)| (self.use_of(member), member.recycling().is_none(), id))
            .collect();
        members.sort_unstable_by_key(|(used, stays, id)| (*used, *stays, std::cmp::Reverse(*id)));
        for (_, _, id) in members.into_iter().take(live - most) {
            self.let_go(id, step);
        }
        // What comes back comes when requests wait for it.
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        self.target = self.target.min(most.max(1));
    }

    fn use_of(&self, member: &Member) -> u8 {
        match member.phase {
            Phase::Queued => 0,
            Phase::Starting { .. } => 1,
            _ if !self.serves(member) => 2,
            _ if member.outgoing => 3,
            _ => 4,
        }
    }

    fn let_go(&mut self, id: WorkerId, step: &mut PoolStep) {
        if let Some(member) = self.members.get(&id).cloned() {
            self.put_off_replacement(&member, step.now);
        }
        self.drain(id, step);
    }

    /// Who has to go first, where there is no room for a successor. One at a time: while
    /// somebody is on its way out there will be room.
    fn predecessor(&self, now: Instant) -> Option<WorkerId> {
        let is_over = self.has_room() || self.mode != Mode::Running;
        if is_over || !self.members.values().all(Member::is_live) {
            return None;
        }
        if let Some(next) = &self.next {
            // A service takes over by itself.
            let waits = !next.is_service() && self.live_of(next.number) == 0;
            return self.least_used(|member| waits && member.generation != next.number);
        }
        let current = self.current.number;
        if self.is_rolling() {
            let is_full = self.live_of(current) >= self.wanted(&self.current) as usize;
            let starts = |member: &Member| self.is_current(member) && !member.is_ready();
            let waits = !is_full && self.count(starts) == 0;
            return self.least_used(|member| waits && member.outgoing);
        }
        let starts = self.count(|member| !member.is_ready()) > 0;
        self.least_used(|member| !starts && is_to_be_replaced(member, now))
    }

    fn least_used(&self, of: impl Fn(&Member) -> bool) -> Option<WorkerId> {
        let members = self.members().filter(|(_, member)| of(member));
        let order = |member: &Member| (self.use_of(member), member.recycling().is_none());
        members
            .min_by_key(|(id, member)| (order(member), *id))
            .map(|(id, _)| id)
    }
}

/// A worker that its own successor should replace, now.
pub(super) fn is_to_be_replaced(member: &Member, now: Instant) -> bool {
    let at = member.recycle.and_then(|recycle| recycle.at);
    // One of the generation before is being replaced already.
    member.is_ready() && !member.outgoing && at.is_some_and(|at| at <= now)
}
