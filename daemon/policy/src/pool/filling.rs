//! What a pool is missing after an event: workers up to the wanted number,
//! those of the next generation, replacements. Called after every event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use super::allowance::is_to_be_replaced;
use super::{
    Action, HANGS_AFTER, HANGS_TIMES, Member, Mode, Phase, PoolGeneration, PoolStep, WorkerPool,
};
use crate::ids::WorkerId;

impl WorkerPool {
    pub(super) fn reconcile(&mut self, may_grow: bool, step: &mut PoolStep) {
        match &self.mode {
            Mode::Running => self.fill(may_grow, step),
            Mode::Failed { until, .. } => {
                if until.is_some_and(|at| at <= step.now) && self.has_room() {
                    // Half open: one try, and back to `Failed` if it fails.
                    self.mode = Mode::Failed {
                        until: None,
                        cause: self.last_problem.clone().unwrap_or_default(),
                    };
                    self.backoff.succeeded();
                    self.spawn(self.current.clone(), None, step);
                }
            }
            Mode::Leaving { gone: false } if self.members.is_empty() => {
                self.mode = Mode::Leaving { gone: true };
                step.push(Action::Gone);
            }
            Mode::Stopped | Mode::Leaving { .. } => {}
        }
    }

    fn fill(&mut self, may_grow: bool, step: &mut PoolStep) {
        self.adapt_target(may_grow);
        if self.given_up_at().is_some_and(|at| at <= step.now) {
            let why = "it did not become ready, and what it loads has changed again";
            self.discard_next(why, step);
        }
        self.advance_next(step);
        self.drain_outgoing(step);
        if self.backoff.wait_until(step.now).is_some() {
            return;
        }
        if let Some(next) = self.next.clone() {
            let most = self.room_of_next(&next, self.wanted(&next));
            self.spawn_up_to(&next, self.live_of(next.number), most, step);
        }
        let live = if self.current.is_service() {
            // A worker that is on its way out may hold what its successor needs.
            self.members.len()
        } else {
            self.count(|member| {
                self.is_current(member) && member.is_live() && member.replaces.is_none()
            })
        };
        if self.held_until.is_none_or(|at| at <= step.now) || !self.any_serving() {
            let most = self.room_while_rolling(self.wanted(&self.current));
            self.spawn_up_to(&self.current.clone(), live, most, step);
        }
        self.replace_recycled(step);
    }

    pub(super) fn is_current(&self, member: &Member) -> bool {
        member.generation == self.current.number
    }

    /// How many workers of a generation count as wanted ones.
    pub(super) fn live_of(&self, generation: u64) -> usize {
        self.count(|member| member.generation == generation && member.is_live())
    }

    /// Whether a worker is on its way.
    fn any_starting(&self) -> bool {
        self.count(|member| matches!(member.phase, Phase::Queued | Phase::Starting { .. })) > 0
    }

    pub(super) fn any_serving(&self) -> bool {
        self.members.values().any(|member| self.serves(member))
    }

    /// How many workers the queue calls for: at once as many as configured,
    /// and one more at a time up to the maximum while requests wait.
    fn adapt_target(&mut self, may_grow: bool) {
        let config = &self.current.definition.config;
        let least = config.processes.max(1);
        let most = config.processes_limit().max(1);
        if self.waiting == 0 {
            return;
        }
        self.target = self.target.max(least);
        let live = u32::try_from(self.live_of(self.current.number)).unwrap_or(most);
        if may_grow && !self.any_starting() && self.any_serving() && live >= self.target {
            self.target = (self.target + 1).min(most.max(least));
        }
    }

    pub(super) fn wanted(&self, generation: &PoolGeneration) -> u32 {
        if self.target == 0 && self.live_of(self.current.number) == 0 {
            return 0;
        }
        let config = &generation.definition.config;
        // `idle-stop` and MIN..MAX move the target; otherwise it is `processes`.
        // Only `idle-stop` takes it below MIN.
        match (config.idle_stop.is_zero(), config.processes_max) {
            (true, None) => config.processes,
            (true, Some(_)) => self
                .target
                .max(config.processes)
                .min(config.processes_limit()),
            (false, _) => self.target.min(config.processes_limit()),
        }
    }

    /// When the next generation is given up, if nothing happens: it loads for much
    /// longer than the one that serves, so that it probably hangs, and what has
    /// changed meanwhile may be the cure.
    pub(super) fn given_up_at(&self) -> Option<Instant> {
        let next = self
            .next
            .as_ref()
            .filter(|_| self.changed_again && self.any_serving())?;
        let members = self.members.values();
        let serving = members.clone().filter(|member| self.serves(member));
        let took = serving.map(|member| member.took).max();
        let since = members.filter_map(|member| match member.phase {
            Phase::Starting { since } if member.generation == next.number => Some(since),
            _ => None,
        });
        Some(since.min()? + HANGS_AFTER + took.unwrap_or_default() * HANGS_TIMES)
    }

    /// Lets the next generation take over when it is ready, or when there is
    /// nothing that it would take over from. Services go one after the other.
    fn advance_next(&mut self, step: &mut PoolStep) {
        let Some(next) = &self.next else { return };
        let wanted = self.wanted(next).max(u32::from(self.any_serving()));
        let ready = self.count(|member| member.generation == next.number && member.is_ready());
        let surge = self.surge_of(next, wanted);
        let enough = surge.map_or(wanted, |surge| surge.min(wanted));
        if self.any_serving() && (ready as u32) < enough && !next.is_service() {
            return;
        }
        let kept = surge.map_or(0, |_| (wanted as usize).saturating_sub(ready));
        self.current = next.clone();
        self.next = None;
        self.held_until = None;
        let current = self.current.number;
        self.keep_outgoing(kept);
        for id in self.ids_where(|member| {
            member.generation != current && member.is_live() && !member.outgoing
        }) {
            self.drain(id, step);
        }
        step.push(Action::Switched(self.current.number));
    }

    /// Starts what a generation lacks that has so many workers; so many at most.
    fn spawn_up_to(
        &mut self,
        generation: &PoolGeneration,
        live: usize,
        most: usize,
        step: &mut PoolStep,
    ) {
        let missing = (self.wanted(generation) as usize).saturating_sub(live);
        let missing = missing.min(most).min(self.room());
        // After failures one worker tries the ground for all.
        let count = if self.backoff.in_a_row() > 1 {
            usize::from(missing > 0 && !self.any_starting())
        } else {
            missing
        };
        (0..count).for_each(|_| self.spawn(generation.clone(), None, step));
    }

    fn replace_recycled(&mut self, step: &mut PoolStep) {
        if self.next.is_some() {
            return;
        }
        let now = step.now;
        for id in self.ids_where(|member| is_to_be_replaced(member, now)) {
            if self.current.is_service() {
                self.drain(id, step);
                continue;
            }
            if !self.has_room() {
                return;
            }
            self.set_next_replacement(id, None);
            self.spawn(self.current.clone(), Some(id), step);
        }
    }

    fn spawn(&mut self, of: PoolGeneration, replaces: Option<WorkerId>, step: &mut PoolStep) {
        self.take_room();
        self.ids += 1;
        let worker = WorkerId(self.ids);
        let member = Member {
            slot: self.free_slot(of.number),
            generation: of.number,
            definition: of.definition,
            replaces,
            ..Member::default()
        };
        step.push(Action::Spawn {
            worker,
            slot: member.slot,
            generation: member.generation,
            definition: Arc::clone(&member.definition),
        });
        self.members.insert(worker, member);
    }

    fn free_slot(&self, generation: u64) -> u32 {
        let taken: BTreeSet<u32> = self
            .members
            .values()
            .filter(|member| member.generation == generation && member.is_live())
            .map(|member| member.slot)
            .collect();
        (0..).find(|slot| !taken.contains(slot)).unwrap_or_default()
    }

    pub(super) fn count(&self, of: impl Fn(&Member) -> bool) -> usize {
        self.members.values().filter(|member| of(member)).count()
    }

    pub(super) fn ids_where(&self, of: impl Fn(&Member) -> bool) -> Vec<WorkerId> {
        self.members
            .iter()
            .filter(|(_, member)| of(member))
            .map(|(id, _)| *id)
            .collect()
    }
}
