//! What an administrator does to a pool: another definition, restart, stop,
//! start, and the end of it.

use std::sync::Arc;

use wsgid_protocol::Failure;

use super::{Action, Member, Mode, PoolGeneration, PoolStep, WorkerPool};
use crate::definition::Definition;

impl WorkerPool {
    pub(super) fn define(&mut self, definition: Arc<Definition>, step: &mut PoolStep) {
        self.defined = Some(Arc::clone(&definition));
        if matches!(self.mode, Mode::Failed { .. }) {
            // The cause of the failure may have been mended outside of the definition.
            self.forgive(step);
        }
        if let Some(next) = self
            .next
            .as_mut()
            .filter(|next| definition.same_workers(&next.definition))
        {
            // The definition is on its way already, for instance by a commanded restart.
            next.definition = Arc::clone(&definition);
            if definition.same_workers(&self.current.definition) {
                self.current.definition = definition;
            }
            return;
        }
        if definition.same_workers(&self.current.definition) {
            self.current.definition = definition;
            if let Some(dropped) = self.drop_next(step) {
                step.push(Action::TakenBack(dropped));
            }
            return;
        }
        self.take_next(step);
        self.forgive(step);
        self.begin_next(definition);
    }

    pub(super) fn restart(&mut self, step: &mut PoolStep) {
        if matches!(self.mode, Mode::Leaving { .. }) {
            return;
        }
        if self.mode == Mode::Stopped {
            self.start(step);
            return;
        }
        self.forgive(step);
        if let Some(next) = self.take_next(step) {
            self.begin_next(next.definition);
        } else if self.members.values().any(Member::is_live) || !self.has_latest() {
            self.begin_next(self.latest());
        }
    }

    /// Forgets failures.
    pub(super) fn forgive(&mut self, step: &mut PoolStep) {
        self.backoff.clear();
        self.hopeless = false;
        self.held_until = None;
        if matches!(self.mode, Mode::Failed { .. }) {
            self.mode = Mode::Running;
            self.target = self.target.max(1);
        }
        if self.mode == Mode::Running {
            self.serve_again(step);
        }
    }

    pub(super) fn begin_next(&mut self, definition: Arc<Definition>) {
        self.changed_again = false;
        self.generations += 1;
        self.next = Some(PoolGeneration {
            number: self.generations,
            definition,
            ..PoolGeneration::default()
        });
    }

    /// The site's files changed. What was defined before and could not be used
    /// with the files as they were is tried with them.
    pub(super) fn begin_next_for_files(&mut self) {
        self.begin_next(self.latest());
        if let Some(next) = &mut self.next {
            next.for_files = true;
        }
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

    pub(super) fn stop(&mut self, step: &mut PoolStep) {
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
        self.drain_all(step);
        self.refuse(Failure::GroupStopped, "it was stopped by command", step);
    }

    pub(super) fn start(&mut self, step: &mut PoolStep) {
        if self.mode == Mode::Stopped {
            self.mode = Mode::Running;
            self.backoff.clear();
            self.hopeless = false;
            self.target = self.current.definition.config.processes.max(1);
            self.serve_again(step);
        }
        // `start` of a group that has failed means: try it.
        if matches!(self.mode, Mode::Failed { .. }) {
            self.forgive(step);
        }
    }

    pub(super) fn leave(&mut self, at_once: bool, step: &mut PoolStep) {
        if !matches!(self.mode, Mode::Leaving { .. }) {
            self.mode = Mode::Leaving { gone: false };
            self.next = None;
            let why = "the process group is being removed";
            self.refuse(Failure::GroupStopped, why, step);
        }
        if at_once {
            for id in self.ids_where(|_| true) {
                self.bring_down(id, step);
            }
        } else {
            self.drain_all(step);
        }
    }

    pub(super) fn drain_all(&mut self, step: &mut PoolStep) {
        for id in self.ids_where(|member| member.is_live()) {
            self.drain(id, step);
        }
    }
}
