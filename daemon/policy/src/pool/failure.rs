//! Failures of a pool's workers: how they are counted, when a generation or
//! the whole group is given up, and what the administrator reads about it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgid_protocol::Failure;

use super::step::Actions;
use super::{Action, Member, Mode, NEXT_TRIES, PROVED_AFTER, Phase, REPLACE_PAUSE, WorkerPool};
use crate::ids::WorkerId;
use wsgid_protocol::readable::escaped;

impl WorkerPool {
    pub(super) fn ended(
        &mut self,
        id: WorkerId,
        why: &str,
        hopeless: bool,
        now: Instant,
        out: &mut Actions,
    ) {
        let Some(member) = self.members.remove(&id) else {
            return;
        };
        self.succeed(id);
        let (was_ready, proved) = match member.phase {
            Phase::Queued | Phase::Starting { .. } => (false, false),
            Phase::Ready { since } => (true, now.duration_since(since) >= PROVED_AFTER),
            // Asked to end: no failure.
            Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Terminated { .. }
            | Phase::Killed => return,
        };
        if proved {
            self.backoff.succeeded();
        }
        self.failed(&member, was_ready, why, now, out);
        if hopeless && !self.refusing && !self.any_serving() {
            self.refuse(Failure::SpawnFailed, why, out);
        }
    }

    /// Counts the failure of a worker that nobody had asked to end.
    pub(super) fn failed(
        &mut self,
        member: &Member,
        was_ready: bool,
        why: &str,
        now: Instant,
        out: &mut Actions,
    ) {
        why.clone_into(self.last_problem.get_or_insert_default());
        if self.put_off_replacement(member, now) {
            // The one that should be replaced still serves.
            out.push(Action::Discarded(member.generation, why.to_owned()));
            return;
        }
        let config = &self.current.definition.config;
        let burst = config.restart_burst;
        let window = config.restart_window;
        let too_many = if was_ready {
            let since = if let Phase::Ready { since } = member.phase {
                since
            } else {
                now
            };
            self.backoff.died(since);
            false
        } else {
            self.backoff.failed(burst, window, now)
        };
        if self
            .next
            .as_ref()
            .is_some_and(|next| next.number == member.generation)
        {
            self.next_failed(why, now, out);
        } else if matches!(self.mode, Mode::Failed { .. })
            || (too_many && self.mode == Mode::Running)
        {
            self.give_up(now, window, why, out);
        }
    }

    /// If this worker was to replace another: the next try is a little later.
    pub(super) fn put_off_replacement(&mut self, member: &Member, now: Instant) -> bool {
        let Some(old) = member.replaces else {
            return false;
        };
        if let Some(recycle) = self
            .members
            .get_mut(&old)
            .and_then(|old| old.recycle.as_mut())
        {
            recycle.at = Some(now + REPLACE_PAUSE);
        }
        true
    }

    pub(super) fn refuse(&mut self, failure: Failure, why: &str, out: &mut Actions) {
        self.refusing = true;
        out.push(Action::Refuse(failure, why.to_owned()));
    }

    pub(super) fn serve_again(&mut self, out: &mut Actions) {
        if std::mem::take(&mut self.refusing) {
            out.push(Action::Serve);
        }
    }

    pub(super) fn give_up(&mut self, now: Instant, window: Duration, why: &str, out: &mut Actions) {
        // A circuit breaker, not a grave: one try after each window.
        let until = Some(now + window);
        self.mode = Mode::Failed {
            until,
            cause: why.to_owned(),
        };
        self.cancel_queued(now, out);
        if !self.any_serving() {
            self.refuse(Failure::GroupFailed, why, out);
        }
    }

    pub(super) fn next_failed(&mut self, why: &str, now: Instant, out: &mut Actions) {
        let serving = self.any_serving();
        let Some(next) = &mut self.next else { return };
        next.failures += 1;
        // What has changed since may be the cure.
        if serving && (next.failures >= NEXT_TRIES || self.changed_again) {
            self.discard_next(why, now, out);
        }
    }

    pub(super) fn discard_next(&mut self, why: &str, now: Instant, out: &mut Actions) {
        let Some(number) = self.drop_next(now, out) else {
            return;
        };
        why.clone_into(self.last_problem.get_or_insert_default());
        out.push(Action::Discarded(number, why.to_owned()));
    }

    /// Ends the generation that is being started, and begins another one if
    /// there is reason to. Gives its number.
    pub(super) fn drop_next(&mut self, now: Instant, out: &mut Actions) -> Option<u64> {
        let next = self.next.take()?;
        let ids = self.ids_where(|member| member.generation == next.number);
        ids.into_iter().for_each(|id| self.bring_down(id, now, out));
        self.backoff.succeeded();
        if std::mem::take(&mut self.changed_again) {
            self.begin_next_for_files();
        } else if next.for_files && !next.definition.same_workers(&self.current.definition) {
            // A definition that does not work keeps no new files from being used.
            self.begin_next(Arc::clone(&self.current.definition));
        }
        Some(next.number)
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

    pub(super) fn discard_replacement(
        &mut self,
        id: WorkerId,
        why: &str,
        now: Instant,
        out: &mut Actions,
    ) {
        why.clone_into(self.last_problem.get_or_insert_default());
        if let Some(member) = self.members.get(&id).cloned() {
            self.put_off_replacement(&member, now);
        }
        self.bring_down(id, now, out);
        out.push(Action::Discarded(self.current.number, why.to_owned()));
    }

    /// A worker that should fill a gap, and would answer with errors what the
    /// others still serve: fewer that work are better.
    pub(super) fn hold_back(&mut self, id: WorkerId, why: &str, now: Instant, out: &mut Actions) {
        why.clone_into(self.last_problem.get_or_insert_default());
        self.bring_down(id, now, out);
        self.held_until = Some(now + REPLACE_PAUSE);
        // That it starts is proved.
        self.probe_succeeded(out);
        out.push(Action::Discarded(self.current.number, why.to_owned()));
    }

    pub(super) fn probe_succeeded(&mut self, out: &mut Actions) {
        if matches!(self.mode, Mode::Failed { .. }) {
            self.mode = Mode::Running;
        }
        self.serve_again(out);
    }
}
