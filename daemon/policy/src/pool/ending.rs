//! Bringing workers down: politely first, and in steps for those that are
//! unwilling, which time alone takes.

use wsgid_protocol::control::RecycleReason;

use super::{Action, NEVER_READY_PATIENCE, Phase, PoolStep, TERM_PATIENCE, WorkerPool};
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
                Phase::Starting { .. } => {
                    let before = member.clone();
                    let limit = member.definition.config.startup_timeout;
                    member.phase = Phase::Killed;
                    step.push(Action::Kill(id));
                    let why = format!(
                        "a worker was not ready within startup-timeout ({} s)",
                        limit.as_secs_f64()
                    );
                    self.failed(&before, &why, step);
                }
                Phase::Draining { .. } => self.bring_down(id, step),
                Phase::Stopping { .. } => {
                    member.phase = Phase::Terminated {
                        until: step.now + TERM_PATIENCE,
                    };
                    step.push(Action::Terminate(id));
                }
                Phase::Terminated { .. } => {
                    member.phase = Phase::Killed;
                    step.push(Action::Kill(id));
                }
                Phase::Queued | Phase::Ready { .. } | Phase::Killed => {}
            }
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
