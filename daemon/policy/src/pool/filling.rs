//! What a pool is missing after an event: workers up to the wanted number,
//! those of the next generation, replacements. Called after every event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::step::Actions;
use super::{Action, HANGS_AFTER, HANGS_TIMES, Member, Mode, Phase, PoolGeneration, WorkerPool};
use crate::ids::WorkerId;

impl WorkerPool {
    pub(super) fn reconcile(&mut self, may_grow: bool, now: Instant, out: &mut Actions) {
        match &self.mode {
            Mode::Running => self.fill(may_grow, now, out),
            Mode::Failed { until, .. } => {
                if until.is_some_and(|at| at <= now) {
                    // Half open: one try, and back to `Failed` if it fails.
                    self.mode = Mode::Failed {
                        until: None,
                        cause: self.last_problem.clone().unwrap_or_default(),
                    };
                    self.backoff.succeeded();
                    self.spawn(self.current.clone(), None, out);
                }
            }
            Mode::Leaving { gone: false } if self.members.is_empty() => {
                self.mode = Mode::Leaving { gone: true };
                out.push(Action::Gone);
            }
            Mode::Stopped | Mode::Leaving { .. } => {}
        }
    }

    pub(super) fn fill(&mut self, may_grow: bool, now: Instant, out: &mut Actions) {
        self.adapt_target(may_grow);
        self.begin_again(now, out);
        self.advance_next(now, out);
        if self.backoff.wait_until(now).is_some() {
            return;
        }
        if let Some(next) = self.next.clone() {
            let live = self.count(|member| member.generation == next.number && member.is_live());
            self.spawn_up_to(&next, live, self.wanted(&next), out);
        }
        let current = self.current.clone();
        let live = if self.current.is_service() {
            // A worker that is on its way out may hold what its successor needs.
            self.members.len()
        } else {
            self.count(|member| {
                self.is_current(member) && member.is_live() && member.replaces.is_none()
            })
        };
        if self.held_until.is_none_or(|at| at <= now) || !self.any_serving() {
            self.spawn_up_to(&current, live, self.wanted(&current), out);
        }
        self.replace_recycled(now, out);
    }

    pub(super) fn is_current(&self, member: &Member) -> bool {
        member.generation == self.current.number
    }

    pub(super) fn any_serving(&self) -> bool {
        self.members.values().any(|member| self.serves(member))
    }

    /// How many workers the queue calls for: at once as many as configured,
    /// and one more at a time up to the maximum while requests wait.
    pub(super) fn adapt_target(&mut self, may_grow: bool) {
        let config = &self.current.definition.config;
        let least = config.processes.max(1);
        let most = config.processes_limit().max(1);
        if self.waiting == 0 {
            return;
        }
        self.target = self.target.max(least);
        let coming = self
            .members
            .values()
            .any(|member| matches!(member.phase, Phase::Queued | Phase::Starting { .. }));
        let live = u32::try_from(self.count(|member| self.is_current(member) && member.is_live()))
            .unwrap_or(most);
        if may_grow && !coming && self.any_serving() && live >= self.target {
            self.target = (self.target + 1).min(most.max(least));
        }
    }

    pub(super) fn wanted(&self, generation: &PoolGeneration) -> u32 {
        if self.target == 0 && self.count(|member| self.is_current(member) && member.is_live()) == 0
        {
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

    /// A generation that loads for much longer than the one that serves, while
    /// what it loads has changed again: it probably hangs, and what has changed
    /// may be the cure.
    fn begin_again(&mut self, now: Instant, out: &mut Actions) {
        if self.given_up_at().is_some_and(|at| at <= now) {
            self.discard_next(
                "it did not become ready, and what it loads has changed again",
                now,
                out,
            );
        }
    }

    /// When `begin_again` gives the next generation up, if nothing happens.
    pub(super) fn given_up_at(&self) -> Option<Instant> {
        let next = self
            .next
            .as_ref()
            .filter(|_| self.changed_again && self.any_serving())?;
        let took = self
            .members
            .values()
            .filter(|member| self.serves(member))
            .map(|member| member.took)
            .max();
        let starts = self
            .members
            .values()
            .filter(|member| member.generation == next.number);
        let since = starts.filter_map(|member| match member.phase {
            Phase::Starting { since } => Some(since),
            _ => None,
        });
        Some(since.min()? + HANGS_AFTER + took.unwrap_or_default() * HANGS_TIMES)
    }

    /// Lets the next generation take over when it is ready, or when there is
    /// nothing that it would take over from. Services go one after the other.
    pub(super) fn advance_next(&mut self, now: Instant, out: &mut Actions) {
        let Some(next) = &self.next else { return };
        let wanted = self.wanted(next).max(u32::from(self.any_serving()));
        let ready = self.count(|member| member.generation == next.number && member.is_ready());
        if self.any_serving() && (ready as u32) < wanted && !next.is_service() {
            return;
        }
        let old = std::mem::replace(&mut self.current, next.clone());
        self.next = None;
        self.held_until = None;
        for id in self.ids_where(|member| member.generation == old.number && member.is_live()) {
            self.drain(id, now, out);
        }
        out.push(Action::Switched(self.current.number));
    }

    pub(super) fn spawn_up_to(
        &mut self,
        generation: &PoolGeneration,
        live: usize,
        wanted: u32,
        out: &mut Actions,
    ) {
        let missing = (wanted as usize).saturating_sub(live);
        // After a failure one worker tries the ground for all.
        let cautious = self.backoff.in_a_row() > 1;
        let coming = self
            .members
            .values()
            .any(|member| matches!(member.phase, Phase::Queued | Phase::Starting { .. }));
        let count = if cautious {
            usize::from(missing > 0 && !coming)
        } else {
            missing
        };
        (0..count).for_each(|_| self.spawn(generation.clone(), None, out));
    }

    pub(super) fn replace_recycled(&mut self, now: Instant, out: &mut Actions) {
        if self.next.is_some() {
            return;
        }
        let due = |member: &Member| {
            member.is_ready()
                && member
                    .recycle
                    .is_some_and(|recycle| recycle.at.is_some_and(|at| at <= now))
        };
        for id in self.ids_where(due) {
            if self.current.is_service() {
                self.drain(id, now, out);
                continue;
            }
            if let Some(recycle) = self
                .members
                .get_mut(&id)
                .and_then(|member| member.recycle.as_mut())
            {
                recycle.at = None;
            }
            self.spawn(self.current.clone(), Some(id), out);
        }
    }

    pub(super) fn spawn(
        &mut self,
        generation: PoolGeneration,
        replaces: Option<WorkerId>,
        out: &mut Actions,
    ) {
        self.ids += 1;
        let worker = WorkerId(self.ids);
        let slot = self.free_slot(generation.number);
        let definition = generation.definition;
        out.push(Action::Spawn {
            worker,
            slot,
            generation: generation.number,
            definition: Arc::clone(&definition),
        });
        let member = Member {
            slot,
            generation: generation.number,
            phase: Phase::Queued,
            definition,
            replaces,
            recycle: None,
            failed: BTreeSet::new(),
            took: Duration::ZERO,
        };
        self.members.insert(worker, member);
    }

    pub(super) fn free_slot(&self, generation: u64) -> u32 {
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
