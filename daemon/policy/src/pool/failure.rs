//! Failures of a pool's workers: how they are counted, when a generation or
//! the whole group is given up, and what the administrator reads about it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgid_protocol::Failure;
use wsgid_protocol::readable::escaped;

use super::{
    Action, Member, Mode, NEXT_TRIES, PROVED_AFTER, Phase, PoolGeneration, PoolStep, REPLACE_PAUSE,
    WorkerPool,
};
use crate::ids::WorkerId;

impl WorkerPool {
    pub(super) fn ended(&mut self, id: WorkerId, why: &str, hopeless: bool, step: &mut PoolStep) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        self.succeed(id);
        if !member.is_live() {
            // Asked to end: no failure.
            return;
        }
        if let Phase::Ready { since } = member.phase
            && step.now.duration_since(since) >= PROVED_AFTER
        {
            self.backoff.succeeded();
        }
        self.hopeless = hopeless;
        self.failed(&member, why, step);
        if hopeless && !self.refusing && !self.any_serving() {
            self.refuse(Failure::SpawnFailed, why, step);
        }
    }

    /// Counts the failure of a worker that nobody had asked to end; `member` is
    /// as it was before.
    pub(super) fn failed(&mut self, member: &Member, why: &str, step: &mut PoolStep) {
        if self.put_off_replacement(member, step.now) {
            // The one that should be replaced still serves.
            return self.discarded(member.generation, why, step);
        }
        self.last_problem = Some(why.to_owned());
        let config = &self.current.definition.config;
        let window = config.restart_window;
        let too_many = if let Phase::Ready { since } = member.phase {
            self.backoff.died(since);
            false
        } else {
            // Starts that fail after a long time are too far apart for the window alone.
            let lasted = match member.phase {
                Phase::Starting { since } if !window.is_zero() => step.now.duration_since(since),
                _ => Duration::ZERO,
            };
            let apart = lasted.saturating_mul(config.restart_burst.saturating_mul(2));
            let within = window.saturating_add(apart);
            self.backoff.failed(config.restart_burst, within, step.now)
        };
        if self.next_generation() == Some(member.generation) {
            self.next_failed(why, step);
        } else if matches!(self.mode, Mode::Failed { .. })
            || (too_many && self.mode == Mode::Running)
        {
            self.give_up(window, why, step);
        }
    }

    /// If this worker was to replace another: the next try is a little later.
    pub(super) fn put_off_replacement(&mut self, member: &Member, now: Instant) -> bool {
        if let Some(old) = member.replaces {
            self.set_next_replacement(old, Some(now + REPLACE_PAUSE));
        }
        member.replaces.is_some()
    }

    /// When it is tried to replace a worker that wants to be; `None`: its successor starts.
    pub(super) fn set_next_replacement(&mut self, old: WorkerId, at: Option<Instant>) {
        let old = self.members.get_mut(&old);
        if let Some(recycle) = old.and_then(|old| old.recycle.as_mut()) {
            recycle.at = at;
        }
    }

    pub(super) fn refuse(&mut self, failure: Failure, why: &str, step: &mut PoolStep) {
        self.refusing = true;
        step.push(Action::Refuse(failure, why.to_owned()));
    }

    pub(super) fn serve_again(&mut self, step: &mut PoolStep) {
        if std::mem::take(&mut self.refusing) {
            step.push(Action::Serve);
        }
    }

    fn give_up(&mut self, window: Duration, why: &str, step: &mut PoolStep) {
        // A circuit breaker, not a grave: one try after each window.
        self.mode = Mode::Failed {
            until: Some(step.now + window),
            cause: why.to_owned(),
        };
        self.cancel_queued(step);
        if !self.any_serving() {
            self.refuse(Failure::GroupFailed, why, step);
        }
    }

    fn next_failed(&mut self, why: &str, step: &mut PoolStep) {
        let serving = self.any_serving();
        let Some(next) = &mut self.next else { return };
        next.failures += 1;
        // What has changed since may be the cure.
        if serving && (next.failures >= NEXT_TRIES || self.changed_again) {
            self.discard_next(why, step);
        }
    }

    pub(super) fn discard_next(&mut self, why: &str, step: &mut PoolStep) {
        if let Some(number) = self.drop_next(step) {
            self.discarded(number, why, step);
        }
    }

    /// Ends the generation that is being started, and begins another one if
    /// there is reason to. Gives its number.
    pub(super) fn drop_next(&mut self, step: &mut PoolStep) -> Option<u64> {
        let next = self.take_next(step)?;
        self.backoff.succeeded();
        if std::mem::take(&mut self.changed_again) {
            self.begin_next_for_files();
        } else if next.for_files && !next.definition.same_workers(&self.current.definition) {
            // A definition that does not work keeps no new files from being used.
            self.begin_next(Arc::clone(&self.current.definition));
        }
        Some(next.number)
    }

    /// Ends the workers of the generation that is being started.
    pub(super) fn take_next(&mut self, step: &mut PoolStep) -> Option<PoolGeneration> {
        let next = self.next.take()?;
        for id in self.ids_where(|member| member.generation == next.number) {
            self.bring_down(id, step);
        }
        Some(next)
    }

    /// A script that failed in this worker and works in those that serve.
    pub(super) fn newly_broken(&self, id: WorkerId, failed: &BTreeSet<PathBuf>) -> Option<String> {
        let mut serving = self
            .members
            .iter()
            .filter(|(other, member)| **other != id && self.serves(member))
            .peekable();
        serving.peek()?;
        let known: BTreeSet<&PathBuf> = serving.flat_map(|(_, member)| &member.failed).collect();
        let script = failed.iter().find(|script| !known.contains(script))?;
        let script = escaped(script.as_os_str().as_encoded_bytes());
        Some(format!(
            "`{script}` failed to load, and works in the workers that serve"
        ))
    }

    pub(super) fn discard_replacement(&mut self, id: WorkerId, why: &str, step: &mut PoolStep) {
        if let Some(member) = self.members.get(&id).cloned() {
            self.put_off_replacement(&member, step.now);
        }
        self.bring_down(id, step);
        self.discarded(self.current.number, why, step);
    }

    /// A worker that should fill a gap, and would answer with errors what the
    /// others still serve: fewer that work are better.
    pub(super) fn hold_back(&mut self, id: WorkerId, why: &str, step: &mut PoolStep) {
        self.bring_down(id, step);
        self.held_until = Some(step.now + REPLACE_PAUSE);
        // That it starts is proved.
        self.probe_succeeded(step);
        self.discarded(self.current.number, why, step);
    }

    fn discarded(&mut self, generation: u64, why: &str, step: &mut PoolStep) {
        self.last_problem = Some(why.to_owned());
        step.push(Action::Discarded(generation, why.to_owned()));
    }

    pub(super) fn probe_succeeded(&mut self, step: &mut PoolStep) {
        if matches!(self.mode, Mode::Failed { .. }) {
            self.mode = Mode::Running;
        }
        self.serve_again(step);
    }
}
