//! The transitions of a pool: what each event changes. What workers do is
//! here; what an administrator does is in `admin`, failures are in `failure`,
//! bringing down in `ending`, and what is missing afterwards in `filling`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use wsgid_protocol::control::RecycleReason;

use super::member::Recycle;
use super::{ABORT_PATIENCE, Action, Event, Mode, Phase, WorkerPool};
use crate::ids::WorkerId;

/// What is to be done, as it is found out.
pub(super) type Actions = Vec<Action>;

impl WorkerPool {
    pub(super) fn apply(&mut self, event: Event, now: Instant, out: &mut Actions) {
        match event {
            Event::Spawned(id) => {
                if let Some(member) = self
                    .members
                    .get_mut(&id)
                    .filter(|member| member.phase == Phase::Queued)
                {
                    member.phase = Phase::Starting { since: now };
                }
            }
            Event::SpawnFailed(id, why) => self.ended(id, &why, true, now, out),
            Event::Exited(id, why, hopeless) => self.ended(id, &why, hopeless, now, out),
            Event::Ready(id, failed) => self.ready(id, failed, now, out),
            Event::Recycle(id, reason) => self.recycle(id, reason, now),
            Event::Lost(id) => self.lost(id, false, now, out),
            Event::Locked(id) => self.lost(id, true, now, out),
            Event::Waiting(count) => self.waiting = count,
            Event::Idle(id) => self.idle(id, now, out),
            Event::Define(definition) => self.define(definition, now, out),
            Event::Restart => self.restart(now, out),
            Event::Stop => self.stop(now, out),
            Event::Start => self.start(out),
            Event::Remove => self.leave(false, now, out),
            Event::Shutdown => self.leave(true, now, out),
            Event::Tick => {}
        }
    }

    fn ready(&mut self, id: WorkerId, failed: BTreeSet<PathBuf>, now: Instant, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let Phase::Starting { since } = member.phase else {
            return;
        };
        member.took = now.duration_since(since);
        member.phase = Phase::Ready { since: now };
        member.failed = failed.clone();
        let generation = member.generation;
        let replaces = member.replaces;
        self.backoff.started();
        let broken = self.newly_broken(id, &failed);
        match broken {
            Some(why) if generation != self.current.number => self.discard_next(&why, now, out),
            Some(why) if replaces.is_some() => self.discard_replacement(id, &why, now, out),
            Some(why) => self.hold_back(id, &why, now, out),
            None => {
                self.probe_succeeded(out);
                if let Some(old) = replaces {
                    self.drain(old, now, out);
                }
            }
        }
    }

    fn recycle(&mut self, id: WorkerId, reason: RecycleReason, now: Instant) {
        let current = self.current.number;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let serves = member.is_ready() && member.generation == current;
        match reason {
            RecycleReason::ScriptChanged if serves => {
                match self.next {
                    None => self.begin_next_for_files(),
                    // The new workers say so themselves if they miss it; but if
                    // they are given up, nobody would say it again.
                    Some(_) => self.changed_again = true,
                }
            }
            // What is not ready has its own way to fail.
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

    fn lost(&mut self, id: WorkerId, with_stacks: bool, now: Instant, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let aborted = matches!(member.phase, Phase::Terminated { .. }) && with_stacks;
        if member.phase == Phase::Queued || member.phase == Phase::Killed || aborted {
            return;
        }
        let member_copy = member.clone();
        let counted = member.is_live();
        let was_ready = member.is_ready();
        if with_stacks {
            member.phase = Phase::Terminated {
                until: now + ABORT_PATIENCE,
            };
            out.push(Action::Abort(id));
        } else {
            member.phase = Phase::Killed;
            out.push(Action::Kill(id));
        }
        self.succeed(id);
        if counted {
            self.failed(
                &member_copy,
                was_ready,
                "a worker no longer answered its supervisor",
                now,
                out,
            );
        }
    }

    fn idle(&mut self, id: WorkerId, now: Instant, out: &mut Actions) {
        let config = &self.current.definition.config;
        let least = if config.idle_stop.is_zero() {
            config.processes
        } else {
            0
        };
        let count =
            u32::try_from(self.ids_where(|member| member.is_live()).len()).unwrap_or(u32::MAX);
        if self.mode == Mode::Running
            && self.waiting == 0
            && self.next.is_none()
            && count > least
            && self.accepts(id)
        {
            self.target = count - 1;
            self.drain(id, now, out);
        }
    }
}
