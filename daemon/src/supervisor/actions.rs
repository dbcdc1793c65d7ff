//! Does what the state machines of pools say. Called after each of their events.

use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_protocol::{Failure, control::ToWorker, status::EndReason};

use super::Supervisor;
use wsgid_policy::ids::{PoolId, WorkerId};
use wsgid_policy::{pool::Action, spawn_queue::Pending};

impl Supervisor {
    pub(super) fn carry_out(&mut self, pool: PoolId, action: Action) {
        match action {
            Action::Spawn {
                worker,
                slot,
                generation,
                definition,
            } => {
                let entry = self.pools.get(&pool);
                self.spawns.push(Pending {
                    pool,
                    worker,
                    slot,
                    generation,
                    definition,
                    failing: self.is_failing(pool),
                    from_request: entry.is_some_and(|entry| entry.from_request),
                    plain: false,
                });
            }
            Action::CancelSpawn(worker) => {
                self.spawns.cancel(worker);
                self.preloaders.cancel(worker);
            }
            Action::Drain(worker) => self.workers.tell(worker, ToWorker::Drain),
            Action::Stop(worker, within) => self.stop(worker, within),
            Action::Overdue(worker) => {
                self.workers.note_stopped(worker);
                self.workers
                    .note_ended_by(worker, EndReason::StartupTimeout);
                self.workers.tell(worker, ToWorker::Dump);
            }
            Action::Terminate(worker) => {
                self.workers.note_unwilling(worker);
                self.workers.signal(worker, Signal::SIGTERM);
            }
            Action::Abort(worker) => self.workers.signal(worker, Signal::SIGABRT),
            Action::Kill(worker) => {
                self.workers.note_stopped(worker);
                self.workers.signal(worker, Signal::SIGKILL);
            }
            Action::Refuse(failure, text) => self.refuse_all(pool, failure, &text),
            Action::Serve => {
                if let Some(entry) = self.pools.get_mut(&pool) {
                    entry.refusing = None;
                }
            }
            Action::Switched(generation) => {
                if let Some(entry) = self.pools.get_mut(&pool) {
                    entry.given_up = None;
                    entry.callables.clear();
                    entry.watching.switched();
                    tracing::debug!("{}: generation {generation} serves", entry.name());
                }
            }
            Action::Discarded(generation, why) => {
                if let Some(entry) = self.pools.get_mut(&pool) {
                    log_line!(
                        GENERATION_GIVEN_UP,
                        "{}: a new worker of generation {generation} was given up, the old ones serve on: {why}",
                        entry.name()
                    );
                    entry.note_given_up(generation, why);
                    self.count_given_up(pool);
                }
            }
            Action::TakenBack(generation) => tracing::info!(
                "{}: generation {generation} is not needed: its definition was taken back",
                self.pools.name(pool)
            ),
            Action::Gone => self.forget_pool(pool),
        }
    }

    fn stop(&mut self, worker: WorkerId, within: Duration) {
        self.workers.note_stopped(worker);
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.workers.tell(worker, ToWorker::Stop { within_ms });
    }

    /// `assign_held`, which follows every event, answers what waits.
    fn refuse_all(&mut self, pool: PoolId, failure: Failure, text: &str) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        if entry.is_forgotten || self.lifetime.is_followed {
            let repeat = Failure::NotStarted;
            entry.refusing = Some((repeat.code(), repeat.row().text.to_owned()));
            return;
        }
        let text = format!("{}: {}: {text}", entry.name(), failure.row().text);
        match failure {
            // That was the administrator's wish, or httpd's end.
            Failure::GroupStopped if self.lifetime.is_leaving => tracing::debug!("{text}"),
            Failure::GroupStopped => tracing::info!("{text}"),
            _ => log_line!(GROUP_REFUSES, "{text}; {}", failure.row().cure),
        }
        entry.refusing = Some((failure.code(), text));
    }

    /// Forgets a pool that has ended, and its group with the last one.
    fn forget_pool(&mut self, pool: PoolId) {
        self.connections.forget_pool(pool);
        let Some(entry) = self.pools.remove(&pool) else {
            return;
        };
        self.waits.set(pool, None);
        let has_ended = self
            .groups
            .forget_pool(&entry.group, &entry.application_group, pool);
        if has_ended {
            self.isolation.directories.leave(&entry.group);
            tracing::debug!("process group `{}` has ended", entry.group);
        }
    }

    /// Whether the last start of this pool came to nothing.
    pub(super) fn is_failing(&self, pool: PoolId) -> bool {
        let entry = self.pools.get(&pool);
        entry.is_some_and(|entry| entry.machine.is_failing())
    }
}
