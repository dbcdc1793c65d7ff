//! `warm-up=`: a worker that is loaded is asked what the option says, and is ready when it has
//! answered; until then nothing knows of it that looks for workers that serve. How it is
//! asked is in `connection/warm_up.rs`. Called by `messages`, and by `restore`: a worker that
//! was being asked is asked again by the next program.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use wsgid_protocol::control::ToWorker;
use wsgid_protocol::readable::escaped;

use super::messages::bounded;
use super::{Supervisor, pools::PoolEntry};
use crate::channel::worker::Outgoing;
use crate::connection::warm_up::{NONCE, NotWarmed, WarmUpQuestion};
use crate::process::worker_task::WorkerEvent;
use wsgid_policy::definition::Definition;
use wsgid_policy::ids::{ConnectionId, WorkerId};
use wsgid_policy::pool::Event;

/// Scripts of one worker that are asked.
const SCRIPTS_MAX: usize = 8;
/// Numbers of connections that the supervisor has not; the last of them count down.
const LAST_CONNECTION: ConnectionId = ConnectionId::MAX;
/// The pool ends a worker that is not ready in time: just before that it is said what it
/// was about.
const AHEAD: Duration = Duration::from_millis(20);
/// What a script is asked for that no directive names.
const USUAL_CALLABLE: &str = "application";

impl Supervisor {
    /// Asks a worker that is loaded. Returns whether there is something to ask, and an answer
    /// to wait for.
    pub(super) fn warm(&mut self, id: WorkerId) -> bool {
        let Some(worker) = self.workers.get(&id) else {
            return false;
        };
        let record = &worker.record;
        let Some(entry) = self.pools.get(&record.pool) else {
            return false;
        };
        let definition = self.groups.get(&entry.group);
        let Some(definition) = definition.map(|group| Arc::clone(&group.definition)) else {
            return false;
        };
        let config = &definition.config;
        let Some(url) = config.warm_up.clone().filter(|_| config.threads > 0) else {
            return false;
        };
        // What does not load is judged by that alone.
        if !record.failed.is_empty() || !entry.machine.starts(id) {
            return false;
        }
        let mut questions = Vec::new();
        for ((script, callable), number) in targets(entry, &definition).into_iter().zip(0..) {
            let heeds_changes = entry.watching.heeds(&script);
            let made = WarmUpQuestion::new(script, callable, heeds_changes, &entry.group);
            let Ok((question, theirs)) = made else {
                continue;
            };
            let message = ToWorker::Assign {
                connection: LAST_CONNECTION - number,
                nonce: NONCE,
            };
            let fds = vec![Arc::new(theirs) as Arc<dyn AsFd + Send + Sync>];
            worker.handle.send(Outgoing { message, fds });
            questions.push(question);
        }
        if questions.is_empty() {
            return false;
        }
        let limit = config.startup_timeout;
        let deadline = (!limit.is_zero()).then(|| (record.started + limit) - AHEAD);
        let events = self.worker_events.clone();
        tokio::spawn(async move {
            let asked = ask_all(questions, &url, &definition);
            let outcome = match deadline {
                None => asked.await,
                Some(at) => {
                    let late = tokio::time::timeout_at(at.into(), asked).await;
                    late.unwrap_or_else(|_| Err(late_answer(&url, limit)))
                }
            };
            let outcome = outcome.map_err(|failed| (failed.why, failed.log));
            let _ = events.send((id, WorkerEvent::Warmed(outcome))).await;
        });
        true
    }

    /// What a worker answered, or that it did not.
    pub(super) fn warmed(&mut self, id: WorkerId, outcome: Result<(), (String, String)>) {
        let worker = self.workers.get(&id).map(|worker| &worker.record);
        let Some((pid, pool)) = worker.map(|record| (record.pid, record.pool)) else {
            // It has ended, and that was said.
            return;
        };
        let entry = self.pools.get_mut(&pool);
        let Some(entry) = entry.filter(|entry| entry.machine.starts(id)) else {
            return;
        };
        let Err((why, log)) = outcome else {
            return self.is_ready(id);
        };
        let why = escaped(why.as_bytes());
        let lines = log.lines().map(|line| escaped(line.as_bytes()));
        let name = entry.name();
        for line in bounded(std::iter::once(why.clone()).chain(lines)) {
            log_line!(WORKER_NOT_WARM, "{name}: worker {pid}: {line}");
        }
        self.spawns.done(id);
        self.pool_event(pool, Event::NotWarmed(id, why));
    }

    /// The answers to what the program before has asked come to nobody.
    pub(super) fn warm_again(&mut self) {
        let loaded = self.workers.iter().filter(|(id, worker)| {
            let entry = self.pools.get(&worker.record.pool);
            let starts = entry.is_some_and(|entry| entry.machine.starts(**id));
            starts && worker.record.python.is_some()
        });
        let ids: Vec<WorkerId> = loaded.map(|(id, _)| *id).collect();
        for id in ids {
            if !self.warm(id) {
                self.is_ready(id);
            }
        }
    }
}

async fn ask_all(
    questions: Vec<WarmUpQuestion>,
    url: &str,
    definition: &Definition,
) -> Result<(), NotWarmed> {
    for question in questions {
        question.ask(url, &definition.server).await?;
    }
    Ok(())
}

fn late_answer(url: &str, limit: Duration) -> NotWarmed {
    let limit = limit.as_secs_f64();
    NotWarmed {
        why: format!("warm-up: `GET {url}` was not answered within startup-timeout ({limit} s)"),
        log: String::new(),
    }
}

/// The applications that a worker of this pool has loaded: those that directives name, and
/// those that requests were served by.
fn targets(entry: &PoolEntry, definition: &Definition) -> BTreeSet<(PathBuf, String)> {
    let named = definition.config.preload_scripts.iter();
    let named = named
        .filter(|preload| preload.application_group == entry.application_group)
        .filter_map(|preload| {
            let callable = preload.callable.clone().filter(|name| !name.is_empty())?;
            Some((preload.script.clone(), callable))
        });
    let called = entry.callables.list().into_iter();
    // Others are called otherwise than an application is.
    let called = called.filter(|(_, callable)| callable == USUAL_CALLABLE);
    named.chain(called).take(SCRIPTS_MAX).collect()
}
