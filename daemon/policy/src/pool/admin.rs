//! What an administrator does to a pool: another definition, restart, stop,
//! start, and the end of it.

use std::sync::Arc;
use std::time::Instant;

use wsgid_protocol::Failure;

use super::step::Actions;
use super::{Action, Member, Mode, PoolGeneration, WorkerPool};
use crate::definition::Definition;

impl WorkerPool {
    pub(super) fn define(&mut self, definition: Arc<Definition>, now: Instant, out: &mut Actions) {
        self.defined = Some(Arc::clone(&definition));
        if matches!(self.mode, Mode::Failed { .. }) {
            // What it failed for may have been mended outside of the definition.
            self.forgive(out);
        }
        if let Some(next) = self
            .next
            .as_mut()
            .filter(|next| definition.same_workers(&next.definition))
        {
            // What is on its way already, for instance by a commanded restart.
            next.definition = Arc::clone(&definition);
            if definition.same_workers(&self.current.definition) {
                self.current.definition = definition;
            }
            return;
        }
        if definition.same_workers(&self.current.definition) {
            self.current.definition = definition;
            let dropped = self.drop_next(now, out);
            out.extend(dropped.map(Action::TakenBack));
            return;
        }
        if let Some(next) = self.next.take() {
            let ids = self.ids_where(|member| member.generation == next.number);
            ids.into_iter().for_each(|id| self.bring_down(id, now, out));
        }
        self.forgive(out);
        self.begin_next(definition);
    }

    pub(super) fn restart(&mut self, now: Instant, out: &mut Actions) {
        if matches!(self.mode, Mode::Leaving { .. }) {
            return;
        }
        if self.mode == Mode::Stopped {
            self.start(out);
            return;
        }
        self.forgive(out);
        if let Some(next) = self.next.take() {
            let ids = self.ids_where(|member| member.generation == next.number);
            ids.into_iter().for_each(|id| self.bring_down(id, now, out));
            self.begin_next(next.definition);
        } else if self.members.values().any(Member::is_live) || !self.has_latest() {
            self.begin_next(self.latest());
        }
    }

    /// Forgets failures.
    pub(super) fn forgive(&mut self, out: &mut Actions) {
        self.backoff.clear();
        self.held_until = None;
        if matches!(self.mode, Mode::Failed { .. }) {
            self.mode = Mode::Running;
            self.target = self.target.max(1);
        }
        if self.mode == Mode::Running {
            self.serve_again(out);
        }
    }

    pub(super) fn begin_next(&mut self, definition: Arc<Definition>) {
        self.changed_again = false;
        self.generations += 1;
        self.next = Some(PoolGeneration {
            number: self.generations,
            definition,
            failures: 0,
            for_files: false,
        });
    }

    /// The site's files changed. What was defined before and could not be used
    /// with the files as they were is tried with them.
    pub(super) fn begin_next_for_files(&mut self) {
        self.begin_next(self.latest());
        self.next.iter_mut().for_each(|next| next.for_files = true);
    }

    fn latest(&self) -> Arc<Definition> {
        Arc::clone(self.defined.as_ref().unwrap_or(&self.current.definition))
    }

    /// Whether what was defined last is in force.
    pub fn has_latest(&self) -> bool {
        self.defined
            .as_ref()
            .is_none_or(|defined| defined.same_workers(&self.current.definition))
    }

    pub(super) fn stop(&mut self, now: Instant, out: &mut Actions) {
        if matches!(self.mode, Mode::Leaving { .. } | Mode::Stopped) {
            return;
        }
        self.mode = Mode::Stopped;
        if self.next.is_none() && !self.has_latest() {
            self.begin_next(self.latest());
        }
        // A definition that was on its way is the one that `Start` starts.
        if let Some(next) = self.next.take() {
            self.current = next;
        }
        self.drain_all(now, out);
        self.refuse(Failure::GroupStopped, "it was stopped by command", out);
    }

    pub(super) fn start(&mut self, out: &mut Actions) {
        if self.mode == Mode::Stopped {
            self.mode = Mode::Running;
            self.backoff.clear();
            self.target = self.current.definition.config.processes.max(1);
            self.serve_again(out);
        }
        // Who says `start` of a group that has failed wants it tried.
        if matches!(self.mode, Mode::Failed { .. }) {
            self.forgive(out);
        }
    }

    pub(super) fn leave(&mut self, at_once: bool, now: Instant, out: &mut Actions) {
        if !matches!(self.mode, Mode::Leaving { .. }) {
            self.mode = Mode::Leaving { gone: false };
            self.next = None;
            self.refuse(
                Failure::GroupStopped,
                "the process group is being removed",
                out,
            );
        }
        if at_once {
            self.ids_where(|_| true)
                .into_iter()
                .for_each(|id| self.bring_down(id, now, out));
        } else {
            self.drain_all(now, out);
        }
    }

    pub(super) fn drain_all(&mut self, now: Instant, out: &mut Actions) {
        for id in self.ids_where(|member| member.is_live()) {
            self.drain(id, now, out);
        }
    }
}
