//! The transitions of a pool: what an event changes (`apply`), what time
//! changes (`escalate`), and what is missing then (`reconcile`).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgid_protocol::Failure;
use wsgid_protocol::control::RecycleReason;

use super::member::Recycle;
use super::{
    ABORT_PATIENCE, Action, Event, Generation, Member, Mode, NEVER_READY_PATIENCE, NEXT_TRIES, PROVED_AFTER, Phase,
    Pool, REPLACE_PAUSE, TERM_PATIENCE, WorkerId,
};
use crate::definition::Definition;
use crate::log::escaped;

type Actions = Vec<Action>;

impl Pool {
    pub(super) fn apply(&mut self, event: Event, now: Instant, out: &mut Actions) {
        match event {
            Event::Spawned(id) => {
                if let Some(member) = self.members.get_mut(&id).filter(|member| member.phase == Phase::Queued) {
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

    // --- What workers do ---

    fn ended(&mut self, id: WorkerId, why: &str, hopeless: bool, now: Instant, out: &mut Actions) {
        let Some(member) = self.members.remove(&id) else { return };
        self.succeed(id);
        let (was_ready, proved) = match member.phase {
            Phase::Queued | Phase::Starting { .. } => (false, false),
            Phase::Ready { since } => (true, now.duration_since(since) >= PROVED_AFTER),
            // Asked to end: no failure.
            Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Terminated { .. } | Phase::Killed => return,
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
    fn failed(&mut self, member: &Member, was_ready: bool, why: &str, now: Instant, out: &mut Actions) {
        why.clone_into(self.last_problem.get_or_insert_default());
        if let Some(old) = member.replaces {
            // The one that should be replaced still serves.
            if let Some(recycle) = self.members.get_mut(&old).and_then(|old| old.recycle.as_mut()) {
                recycle.at = Some(now + REPLACE_PAUSE);
            }
            out.push(Action::Discarded(member.generation, why.to_owned()));
            return;
        }
        let config = &self.current.definition.config;
        let (burst, window) = (config.restart_burst, config.restart_window);
        let too_many = if was_ready {
            self.backoff.died(now);
            false
        } else {
            self.backoff.failed(burst, window, now)
        };
        if self.next.as_ref().is_some_and(|next| next.number == member.generation) {
            self.next_failed(why, now, out);
        } else if matches!(self.mode, Mode::Failed { .. }) || (too_many && self.mode == Mode::Running) {
            self.give_up(now, window, why, out);
        }
    }

    fn refuse(&mut self, failure: Failure, why: &str, out: &mut Actions) {
        self.refusing = true;
        out.push(Action::Refuse(failure, why.to_owned()));
    }

    fn serve_again(&mut self, out: &mut Actions) {
        if std::mem::take(&mut self.refusing) {
            out.push(Action::Serve);
        }
    }

    fn give_up(&mut self, now: Instant, window: Duration, why: &str, out: &mut Actions) {
        // A circuit breaker, not a grave: one try after each window.
        let until = Some(now + window);
        self.mode = Mode::Failed { until, cause: why.to_owned() };
        self.cancel_queued(out);
        if !self.any_serving() {
            self.refuse(Failure::GroupFailed, why, out);
        }
    }

    fn next_failed(&mut self, why: &str, now: Instant, out: &mut Actions) {
        let serving = self.any_serving();
        let Some(next) = &mut self.next else { return };
        next.failures += 1;
        if serving && next.failures >= NEXT_TRIES {
            self.discard_next(why, now, out);
        }
    }

    fn discard_next(&mut self, why: &str, now: Instant, out: &mut Actions) {
        let Some(next) = self.next.take() else { return };
        why.clone_into(self.last_problem.get_or_insert_default());
        let ids = self.ids_where(|member| member.generation == next.number);
        ids.into_iter().for_each(|id| self.bring_down(id, now, out));
        self.backoff.succeeded();
        out.push(Action::Discarded(next.number, why.to_owned()));
        if std::mem::take(&mut self.changed_again) {
            self.begin_next(Arc::clone(&self.current.definition));
        }
    }

    fn ready(&mut self, id: WorkerId, failed: BTreeSet<PathBuf>, now: Instant, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if !matches!(member.phase, Phase::Starting { .. }) {
            return;
        }
        member.phase = Phase::Ready { since: now };
        member.failed = failed.clone();
        let (generation, replaces) = (member.generation, member.replaces);
        let broken = self.newly_broken(id, &failed);
        match broken {
            Some(why) if generation != self.current.number => self.discard_next(&why, now, out),
            Some(why) if replaces.is_some() => self.discard_replacement(id, &why, now, out),
            _ => {
                self.probe_succeeded(out);
                if let Some(old) = replaces {
                    self.drain(old, now, out);
                }
            }
        }
    }

    /// A script that failed in this worker and works in those that serve.
    fn newly_broken(&self, id: WorkerId, failed: &BTreeSet<PathBuf>) -> Option<String> {
        let mut serving = self.members.iter().filter(|(other, member)| **other != id && self.serves(member)).peekable();
        serving.peek()?;
        let known: BTreeSet<&PathBuf> = serving.flat_map(|(_, member)| &member.failed).collect();
        let script = failed.iter().find(|script| !known.contains(script))?;
        let script = escaped(script.as_os_str().as_encoded_bytes());
        Some(format!("`{script}` failed to load, and works in the workers that serve"))
    }

    fn discard_replacement(&mut self, id: WorkerId, why: &str, now: Instant, out: &mut Actions) {
        why.clone_into(self.last_problem.get_or_insert_default());
        let replaced = self.members.get(&id).and_then(|member| member.replaces);
        self.bring_down(id, now, out);
        if let Some(recycle) = replaced.and_then(|old| self.members.get_mut(&old)).and_then(|old| old.recycle.as_mut())
        {
            recycle.at = Some(now + REPLACE_PAUSE);
        }
        out.push(Action::Discarded(self.current.number, why.to_owned()));
    }

    fn probe_succeeded(&mut self, out: &mut Actions) {
        if matches!(self.mode, Mode::Failed { .. }) {
            self.mode = Mode::Running;
        }
        self.serve_again(out);
    }

    fn recycle(&mut self, id: WorkerId, reason: RecycleReason, now: Instant) {
        let current = self.current.number;
        let Some(member) = self.members.get_mut(&id) else { return };
        if !member.is_ready() || member.generation != current {
            return;
        }
        if reason == RecycleReason::ScriptChanged {
            let definition = Arc::clone(&self.current.definition);
            match self.next {
                None => self.begin_next(definition),
                // The new workers say so themselves if they miss it; but if
                // they are given up, nobody would say it again.
                Some(_) => self.changed_again = true,
            }
        } else if member.recycle.is_none() {
            member.recycle = Some(Recycle { reason, at: Some(now) });
        }
    }

    fn lost(&mut self, id: WorkerId, with_stacks: bool, now: Instant, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let aborted = matches!(member.phase, Phase::Terminated { .. }) && with_stacks;
        if member.phase == Phase::Queued || member.phase == Phase::Killed || aborted {
            return;
        }
        let member_copy = member.clone();
        let counted = member.is_live();
        if with_stacks {
            member.phase = Phase::Terminated { until: now + ABORT_PATIENCE };
            out.push(Action::Abort(id));
        } else {
            member.phase = Phase::Killed;
            out.push(Action::Kill(id));
        }
        self.succeed(id);
        if counted {
            self.failed(&member_copy, true, "a worker no longer answered its supervisor", now, out);
        }
    }

    fn idle(&mut self, id: WorkerId, now: Instant, out: &mut Actions) {
        let config = &self.current.definition.config;
        let least = if config.idle_stop.is_zero() { config.processes } else { 0 };
        let count = u32::try_from(self.ids_where(|member| member.is_live()).len()).unwrap_or(u32::MAX);
        if self.waiting == 0 && self.next.is_none() && count > least && self.accepts(id) {
            self.target = count - 1;
            self.drain(id, now, out);
        }
    }

    // --- What the administrator does ---

    fn define(&mut self, definition: Arc<Definition>, now: Instant, out: &mut Actions) {
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

    fn restart(&mut self, now: Instant, out: &mut Actions) {
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
    fn forgive(&mut self, out: &mut Actions) {
        self.backoff.clear();
        if matches!(self.mode, Mode::Failed { .. }) {
            self.mode = Mode::Running;
            self.target = self.target.max(1);
        }
        if self.mode == Mode::Running {
            self.serve_again(out);
        }
    }

    fn begin_next(&mut self, definition: Arc<Definition>) {
        self.changed_again = false;
        self.generations += 1;
        self.next = Some(Generation { number: self.generations, definition, failures: 0 });
    }

    fn stop(&mut self, now: Instant, out: &mut Actions) {
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

    fn start(&mut self, out: &mut Actions) {
        if self.mode == Mode::Stopped {
            self.mode = Mode::Running;
            self.backoff.clear();
            self.target = self.current.definition.config.processes.max(1);
            self.serve_again(out);
        }
    }

    fn leave(&mut self, at_once: bool, now: Instant, out: &mut Actions) {
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

    fn drain_all(&mut self, now: Instant, out: &mut Actions) {
        for id in self.ids_where(|member| member.is_live()) {
            self.drain(id, now, out);
        }
    }

    // --- Bringing workers down ---

    /// Lets a ready worker finish; ends one that is not ready.
    fn drain(&mut self, id: WorkerId, now: Instant, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if !member.is_ready() {
            return self.bring_down(id, now, out);
        }
        let evicted = member.recycling() == Some(RecycleReason::Signal);
        member.phase = Phase::Draining { until: now + member.definition.drain_timeout(evicted) };
        member.replaces = None;
        self.succeed(id);
        out.push(Action::Drain(id));
    }

    /// A worker has left its place: who should replace it counts in full.
    fn succeed(&mut self, left: WorkerId) {
        for other in self.members.values_mut().filter(|other| other.replaces == Some(left)) {
            other.replaces = None;
        }
    }

    /// Ends a worker within its shutdown timeout.
    fn bring_down(&mut self, id: WorkerId, now: Instant, out: &mut Actions) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let patience = match member.phase {
            Phase::Queued => {
                self.members.remove(&id);
                out.push(Action::CancelSpawn(id));
                return;
            }
            // It holds no request, so there is nothing to wait for.
            Phase::Starting { .. } => NEVER_READY_PATIENCE,
            Phase::Ready { .. } | Phase::Draining { .. } => member.definition.config.shutdown_timeout,
            Phase::Stopping { .. } | Phase::Terminated { .. } | Phase::Killed => return,
        };
        member.phase = Phase::Stopping { until: now + patience };
        self.succeed(id);
        out.push(Action::Stop(id, patience));
    }

    pub(super) fn escalate(&mut self, now: Instant, out: &mut Actions) {
        for id in self.ids_where(|member| member.deadline(now).is_some_and(|at| at <= now)) {
            let Some(member) = self.members.get_mut(&id) else { continue };
            match member.phase {
                Phase::Starting { .. } => {
                    let member_copy = member.clone();
                    let limit = member.definition.config.startup_timeout;
                    member.phase = Phase::Killed;
                    out.push(Action::Kill(id));
                    let why = format!("a worker was not ready within startup-timeout ({} s)", limit.as_secs_f64());
                    self.failed(&member_copy, false, &why, now, out);
                }
                Phase::Draining { .. } => self.bring_down(id, now, out),
                Phase::Stopping { .. } => {
                    member.phase = Phase::Terminated { until: now + TERM_PATIENCE };
                    out.push(Action::Terminate(id));
                }
                Phase::Terminated { .. } => {
                    member.phase = Phase::Killed;
                    out.push(Action::Kill(id));
                }
                Phase::Queued | Phase::Ready { .. } | Phase::Killed => {}
            }
        }
    }

    fn cancel_queued(&mut self, out: &mut Actions) {
        for id in self.ids_where(|member| member.phase == Phase::Queued) {
            self.members.remove(&id);
            out.push(Action::CancelSpawn(id));
        }
    }

    // --- What is missing ---

    pub(super) fn reconcile(&mut self, now: Instant, out: &mut Actions) {
        match &self.mode {
            Mode::Running => self.fill(now, out),
            Mode::Failed { until, .. } => {
                if until.is_some_and(|at| at <= now) {
                    // Half open: one try, and back to `Failed` if it fails.
                    self.mode = Mode::Failed { until: None, cause: self.last_problem.clone().unwrap_or_default() };
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

    fn fill(&mut self, now: Instant, out: &mut Actions) {
        self.adapt_target();
        self.advance_next(now, out);
        if self.backoff.wait_until(now).is_some() {
            return;
        }
        if let Some(next) = self.next.clone() {
            let live = self.count(|member| member.generation == next.number && member.is_live());
            self.spawn_up_to(&next, live, self.wanted(&next), out);
        }
        let current = self.current.clone();
        let live = self.count(|member| self.is_current(member) && member.is_live() && member.replaces.is_none());
        self.spawn_up_to(&current, live, self.wanted(&current), out);
        self.replace_recycled(now, out);
    }

    fn is_current(&self, member: &Member) -> bool {
        member.generation == self.current.number
    }

    fn any_serving(&self) -> bool {
        self.members.values().any(|member| self.serves(member))
    }

    /// How many workers the queue calls for: at once as many as configured,
    /// and one more at a time up to the maximum while requests wait.
    fn adapt_target(&mut self) {
        let config = &self.current.definition.config;
        let (least, most) = (config.processes.max(1), config.processes_limit().max(1));
        if self.waiting == 0 {
            return;
        }
        self.target = self.target.max(least);
        let coming = self.members.values().any(|member| matches!(member.phase, Phase::Queued | Phase::Starting { .. }));
        let live = u32::try_from(self.count(|member| self.is_current(member) && member.is_live())).unwrap_or(most);
        if !coming && self.any_serving() && live >= self.target {
            self.target = (self.target + 1).min(most.max(least));
        }
    }

    fn wanted(&self, generation: &Generation) -> u32 {
        if self.target == 0 && self.count(|member| self.is_current(member) && member.is_live()) == 0 {
            return 0;
        }
        let config = &generation.definition.config;
        // `idle-stop` and MIN..MAX move the target; otherwise it is `processes`.
        match config.idle_stop.is_zero() && config.processes_max.is_none() {
            true => config.processes,
            false => self.target.clamp(0, config.processes_limit()),
        }
    }

    /// Lets the next generation take over when it is ready, or when there is
    /// nothing that it would take over from.
    fn advance_next(&mut self, now: Instant, out: &mut Actions) {
        let Some(next) = &self.next else { return };
        let wanted = self.wanted(next).max(u32::from(self.any_serving()));
        let ready = self.count(|member| member.generation == next.number && member.is_ready());
        if self.any_serving() && (ready as u32) < wanted {
            return;
        }
        let old = std::mem::replace(&mut self.current, next.clone());
        self.next = None;
        for id in self.ids_where(|member| member.generation == old.number && member.is_live()) {
            self.drain(id, now, out);
        }
        out.push(Action::Switched(self.current.number));
    }

    fn spawn_up_to(&mut self, generation: &Generation, live: usize, wanted: u32, out: &mut Actions) {
        let missing = (wanted as usize).saturating_sub(live);
        // After a failure one worker tries the ground for all.
        let cautious = self.backoff.in_a_row() > 1;
        let coming = self.members.values().any(|member| matches!(member.phase, Phase::Queued | Phase::Starting { .. }));
        let count = if cautious { usize::from(missing > 0 && !coming) } else { missing };
        (0..count).for_each(|_| self.spawn(generation.clone(), None, out));
    }

    fn replace_recycled(&mut self, now: Instant, out: &mut Actions) {
        if self.next.is_some() {
            return;
        }
        let due = |member: &Member| {
            member.is_ready() && member.recycle.is_some_and(|recycle| recycle.at.is_some_and(|at| at <= now))
        };
        for id in self.ids_where(due) {
            if let Some(recycle) = self.members.get_mut(&id).and_then(|member| member.recycle.as_mut()) {
                recycle.at = None;
            }
            self.spawn(self.current.clone(), Some(id), out);
        }
    }

    fn spawn(&mut self, generation: Generation, replaces: Option<WorkerId>, out: &mut Actions) {
        self.ids += 1;
        let worker = WorkerId(self.ids);
        let slot = self.free_slot(generation.number);
        let definition = generation.definition;
        out.push(Action::Spawn { worker, slot, generation: generation.number, definition: Arc::clone(&definition) });
        let member = Member {
            slot,
            generation: generation.number,
            phase: Phase::Queued,
            definition,
            replaces,
            recycle: None,
            failed: BTreeSet::new(),
        };
        self.members.insert(worker, member);
    }

    fn free_slot(&self, generation: u64) -> u32 {
        let taken: BTreeSet<u32> = self
            .members
            .values()
            .filter(|member| member.generation == generation && member.is_live())
            .map(|member| member.slot)
            .collect();
        (0..).find(|slot| !taken.contains(slot)).unwrap_or_default()
    }

    fn count(&self, of: impl Fn(&Member) -> bool) -> usize {
        self.members.values().filter(|member| of(member)).count()
    }

    fn ids_where(&self, of: impl Fn(&Member) -> bool) -> Vec<WorkerId> {
        self.members.iter().filter(|(_, member)| of(member)).map(|(id, _)| *id).collect()
    }
}
