//! What an administrator does to a pool: another definition, restart, stop,
//! start, and the end of it.

use std::sync::Arc;
use std::time::Instant;

use wsgid_protocol::Failure;

use super::step::Actions;
use super::{Generation, Member, Mode, Pool};
use crate::definition::Definition;

impl Pool {
    pub(super) fn define(&mut self, definition: Arc<Definition>, now: Instant, out: &mut Actions) {
        if let Some(next) = self.next.as_mut().filter(|next| definition.same_workers(&next.definition)) {
            // What is on its way already, for instance by a commanded restart.
            next.definition = Arc::clone(&definition);
            if definition.same_workers(&self.current.definition) {
                self.current.definition = definition;
            }
            return;
        }
        if definition.same_workers(&self.current.definition) {
            self.current.definition = definition;
            if self.next.is_some() {
                self.discard_next("the definition was taken back", now, out);
            }
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
        } else if self.members.values().any(Member::is_live) {
            self.begin_next(Arc::clone(&self.current.definition));
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
        self.next = Some(Generation { number: self.generations, definition, failures: 0 });
    }

    pub(super) fn stop(&mut self, now: Instant, out: &mut Actions) {
        if matches!(self.mode, Mode::Leaving { .. } | Mode::Stopped) {
            return;
        }
        self.mode = Mode::Stopped;
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
    }

    pub(super) fn leave(&mut self, at_once: bool, now: Instant, out: &mut Actions) {
        if !matches!(self.mode, Mode::Leaving { .. }) {
            self.mode = Mode::Leaving { gone: false };
            self.next = None;
            self.refuse(Failure::GroupStopped, "the process group is being removed", out);
        }
        if at_once {
            self.ids_where(|_| true).into_iter().for_each(|id| self.bring_down(id, now, out));
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
