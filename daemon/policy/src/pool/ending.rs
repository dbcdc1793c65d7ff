//! Bringing workers down: politely first, and in steps for those that are
//! unwilling, which time alone takes.

use wsgid_protocol::control::RecycleReason;

use super::{
    ABORT_PATIENCE, Action, Member, NEVER_READY_PATIENCE, Phase, PoolStep, TELL_PATIENCE,
    TERM_PATIENCE, WorkerPool,
};
use crate::ids::WorkerId;

impl WorkerPool {
    pub(super) fn drain(&mut self, id: WorkerId, step: &mut PoolStep) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        if !member.is_ready() {
            return self.bring_down(id, step);
        }
        let evicted = member.recycling() == Some(RecycleReason::Signal);
        member.phase = Phase::Draining {
            until: step.now + member.definition.drain_timeout(evicted),
        };
        member.replaces = None;
        self.succeed(id);
        step.push(Action::Drain(id));
    }

    /// A worker has left its place: who should replace it counts in full.
    pub(super) fn succeed(&mut self, left: WorkerId) {
        for other in self
            .members
            .values_mut()
            .filter(|other| other.replaces == Some(left))
        {
            other.replaces = None;
        }
    }

    /// Ends a worker within its shutdown timeout.
    pub(super) fn bring_down(&mut self, id: WorkerId, step: &mut PoolStep) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let patience = match member.phase {
            Phase::Queued => {
                self.members.remove(&id);
                step.push(Action::CancelSpawn(id));
                return;
            }
            // A starting worker holds no request, so there is nothing to wait for.
            Phase::Starting { .. } => NEVER_READY_PATIENCE,
            Phase::Ready { .. } | Phase::Draining { .. } => {
                member.definition.config.shutdown_timeout
            }
            Phase::Stopping { .. } | Phase::Terminated { .. } | Phase::Killed => return,
        };
        member.phase = Phase::Stopping {
            until: step.now + patience,
        };
        self.succeed(id);
        step.push(Action::Stop(id, patience));
    }

    pub(super) fn escalate(&mut self, step: &mut PoolStep) {
        let now = step.now;
        for id in self.ids_where(|member| member.deadline(now).is_some_and(|at| at <= now)) {
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            match member.phase {
                Phase::Starting { .. } => self.overdue(id, step),
                Phase::Draining { .. } => self.bring_down(id, step),
                Phase::Stopping { .. } => {
                    member.phase = Phase::Terminated {
                        until: step.now + TERM_PATIENCE,
                    };
                    step.push(Action::Terminate(id));
                }
                // Its stacks may be had even where its interpreter is locked.
                Phase::Terminated { .. } if !member.aborted => {
                    let patience = if member.is_to_tell {
                        ABORT_PATIENCE
                    } else {
                        TERM_PATIENCE
                    };
                    member.abort(patience, now);
                    step.push(Action::Abort(id));
                }
                Phase::Terminated { .. } => {
                    member.phase = Phase::Killed;
                    step.push(Action::Kill(id));
                }
                Phase::Queued | Phase::Ready { .. } | Phase::Killed => {}
            }
        }
    }

    /// A worker was not ready within its time.
    fn overdue(&mut self, id: WorkerId, step: &mut PoolStep) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let before = member.clone();
        let limit = member.definition.config.startup_timeout;
        member.phase = Phase::Terminated {
            until: step.now + TELL_PATIENCE,
        };
        member.is_to_tell = true;
        step.push(Action::Overdue(id));
        let why = format!(
            "a worker was killed because it was not ready within startup-timeout ({} s); raise it if it needs longer",
            limit.as_secs_f64()
        );
        self.hopeless = false;
        self.failed(&before, &why, step);
    }

    /// A worker has said what it is doing: if that was all that it was kept for, it ends.
    pub(super) fn told(&mut self, id: WorkerId, step: &mut PoolStep) {
        let member = self.members.get_mut(&id);
        let waits = |member: &&mut Member| {
            member.is_to_tell && matches!(member.phase, Phase::Terminated { .. })
        };
        if let Some(member) = member.filter(waits) {
            member.phase = Phase::Killed;
            step.push(Action::Kill(id));
        }
    }

    pub(super) fn cancel_queued(&mut self, step: &mut PoolStep) {
        for id in self.ids_where(|member| member.phase == Phase::Queued) {
            let Some(member) = self.members.remove(&id) else {
                continue;
            };
            self.put_off_replacement(&member, step.now);
            step.push(Action::CancelSpawn(id));
        }
    }
}
