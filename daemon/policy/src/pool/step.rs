//! The transitions of a pool: what each event changes. What workers do is
//! here; what an administrator does is in `admin`, failures are in `failure`,
//! bringing down in `ending`, and what is missing afterwards in `filling`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use wsgid_protocol::control::RecycleReason;

use super::member::Recycle;
use super::{ABORT_PATIENCE, Action, Event, Member, Mode, Phase, PoolStep, WorkerPool};
use crate::ids::WorkerId;

impl WorkerPool {
    pub(super) fn apply(&mut self, event: Event, step: &mut PoolStep) {
        match event {
            Event::Spawned(id) => {
                let member = self.members.get_mut(&id);
                if let Some(member) = member.filter(|member| member.phase == Phase::Queued) {
                    member.phase = Phase::Starting { since: step.now };
                }
            }
            Event::SpawnFailed(id, why) => self.ended(id, &why, true, step),
            Event::Exited(id, why, hopeless) => self.ended(id, &why, hopeless, step),
            Event::Ready(id, failed) => self.ready(id, failed, step),
            Event::NotWarmed(id, why) => self.not_warmed(id, &why, step),
            Event::Recycle(id, reason) => self.recycle(id, reason, step.now),
            Event::Lost(id) => self.lost(id, false, step),
            Event::Locked(id) => self.lost(id, true, step),
            Event::Told(id) => self.told(id, step),
            Event::Waiting(count) => self.waiting = count,
            Event::Idle(id) => self.idle(id, step),
            Event::Define(definition) => self.define(definition, step),
            Event::Allow(most) => self.allow(most, step),
            Event::Restart => self.restart(step),
            Event::Stop => self.stop(step),
            Event::Start => self.start(step),
            Event::Remove => self.leave(false, step),
            Event::Shutdown => self.leave(true, step),
            Event::Tick => {}
        }
    }

    fn ready(&mut self, id: WorkerId, failed: BTreeSet<PathBuf>, step: &mut PoolStep) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let Phase::Starting { since } = member.phase else {
            return;
        };
        member.took = step.now.duration_since(since);
        member.phase = Phase::Ready { since: step.now };
        member.failed = failed.clone();
        let generation = member.generation;
        let replaces = member.replaces;
        self.backoff.started();
        self.hopeless = false;
        match self.newly_broken(id, &failed) {
            Some(why) if generation != self.current.number => self.discard_next(&why, step),
            Some(why) if replaces.is_some() => self.discard_replacement(id, &why, step),
            Some(why) => self.hold_back(id, &why, step),
            None => {
                self.probe_succeeded(step);
                if let Some(old) = replaces {
                    self.drain(old, step);
                }
            }
        }
    }

    /// As one that failed to load: those that serve are better.
    fn not_warmed(&mut self, id: WorkerId, why: &str, step: &mut PoolStep) {
        let Some(member) = self.members.get(&id).filter(|_| self.starts(id)).cloned() else {
            return;
        };
        if !self.any_serving() {
            self.bring_down(id, step);
            self.failed(&member, why, step);
        } else if member.generation != self.current.number {
            self.discard_next(why, step);
        } else if member.replaces.is_some() {
            self.discard_replacement(id, why, step);
        } else {
            self.hold_back(id, why, step);
        }
    }

    fn recycle(&mut self, id: WorkerId, reason: RecycleReason, now: Instant) {
        let current = self.current.number;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let serves = member.is_ready() && member.generation == current;
        match reason {
            RecycleReason::ScriptChanged if serves => match self.next {
                None => self.begin_next_for_files(),
                // The new workers say so themselves if they miss it; but if
                // they are given up, nobody would say it again.
                Some(_) => self.changed_again = true,
            },
            // A worker that is not ready has its own way to fail.
            RecycleReason::ScriptChanged | RecycleReason::LoadFailed if !serves => {}
            // A worker says it once. Whoever does not serve yet is replaced when
            // it does.
            _ if member.is_live() && member.recycle.is_none() => {
                member.recycle = Some(Recycle {
                    reason,
                    at: Some(now),
                });
            }
            _ => {}
        }
    }

    fn lost(&mut self, id: WorkerId, with_stacks: bool, step: &mut PoolStep) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let aborts = matches!(member.phase, Phase::Terminated { .. }) && with_stacks;
        if member.phase == Phase::Queued || member.phase == Phase::Killed || aborts {
            return;
        }
        let before = member.clone();
        if with_stacks {
            member.abort(ABORT_PATIENCE, step.now);
            step.push(Action::Abort(id));
        } else {
            member.phase = Phase::Killed;
            step.push(Action::Kill(id));
        }
        self.succeed(id);
        if before.is_live() {
            let why = "a worker no longer answered its supervisor";
            self.failed(&before, why, step);
        }
    }

    fn idle(&mut self, id: WorkerId, step: &mut PoolStep) {
        let config = &self.current.definition.config;
        let least = if config.idle_stop.is_zero() {
            config.processes
        } else {
            0
        };
        let count = u32::try_from(self.count(Member::is_live)).unwrap_or(u32::MAX);
        if self.mode == Mode::Running
            && self.waiting == 0
            && self.next.is_none()
            && !self.is_rolling()
            && count > least
            && self.accepts(id)
        {
            self.target = count - 1;
            self.drain(id, step);
        }
    }
}
