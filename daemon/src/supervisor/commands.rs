//! What an operator asks: status, restart, stop, start, drain, dump. Root and the
//! supervisor's own user may do everything; the user of a group sees and
//! commands that group. What a status says is in `status`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot;
use wsgid_protocol::answers::{
    AwaitedPool, Begun, CommandError, CommandResult, Commanded, Done, Dumped, Reexecuting,
    Reloaded, WorkerStacks,
};
use wsgid_protocol::control::{Command, ToWorker};
use wsgid_protocol::limits::REPORTS_TIMEOUT;

use super::Supervisor;
use super::operators::{PendingStatus, StatusQuestion};
use super::workers::{WorkerEntry, cut};
use crate::channel::operator::{OperatorCommand, may_everything};
use wsgid_policy::pool::Event;

/// How long a dump waits for workers that do not answer.
const DUMP_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of stacks in one dump. As JSON they may be six times as long, and an
/// answer has to fit into one frame.
const STACKS_MAX: usize = 2 << 20;

impl Supervisor {
    pub(super) fn asked(&mut self, asked: OperatorCommand) {
        let uid = asked.uid;
        let answer = asked.answer;
        let result = match asked.command {
            Command::Status => return self.begin_status(uid, None, false, answer),
            Command::Requests { group, stacks } => {
                match group.iter().try_for_each(|name| self.permitted(uid, name)) {
                    Ok(()) => return self.begin_status(uid, group, stacks, answer),
                    Err(error) => Err(error),
                }
            }
            Command::Dump { group } => match self.permitted(uid, &group) {
                Ok(()) => return self.dump(&group, answer),
                Err(error) => Err(error),
            },
            Command::Restart { group } => self.command(uid, &group, &Event::Restart),
            Command::Stop { group } => self.command(uid, &group, &Event::Stop),
            Command::Start { group } => self.command(uid, &group, &Event::Start),
            Command::Drain {
                group: Some(group),
                on,
            } => self.drain_group(uid, &group, on),
            Command::Reload | Command::Reexec | Command::Drain { .. } if !may_everything(uid) => {
                Err(CommandError::NotSupervisors { uid })
            }
            Command::Reload if self.source.is_some() => Ok(self.reload_and_tell()),
            Command::Reload => Err(CommandError::ConfiguredByHttpd),
            Command::Reexec => self.begin_reexec(),
            Command::Progress { group } => self.progress(uid, group.as_deref()),
            Command::Drain { on, .. } => {
                tracing::info!("uid {uid} commands: {}", drain_in_words(on));
                self.lifetime.drains = on;
                self.ready_file.may_differ(Instant::now());
                Ok(Done::Draining { draining: on })
            }
        };
        let _ = answer.send(result);
    }

    fn permitted(&self, uid: u32, name: &str) -> Result<(), CommandError> {
        let group = name.to_owned();
        match self.groups.get(name) {
            Some(own) if own.obeys(uid) => Ok(()),
            None if may_everything(uid) => Err(CommandError::NoSuchGroup { group }),
            // The same words whether it exists or not: that is nobody's business.
            _ if self.access.allowed.get() == Some(uid) => {
                Err(CommandError::HttpdOwnsNone { uid, group })
            }
            _ => Err(CommandError::NotOwner { uid, group }),
        }
    }

    fn command(&mut self, uid: u32, name: &str, event: &Event) -> CommandResult {
        self.permitted(uid, name)?;
        if let Some(group) = self.groups.get_mut(name) {
            group.stopped = matches!(event, Event::Stop);
        }
        let pools = self.groups.pools_of(name);
        tracing::info!("uid {uid} commands process group `{name}`: {event:?}");
        for pool in &pools {
            self.pool_event(*pool, event.clone());
        }
        let begun = begun(self.awaited(Some(name)));
        Ok(Done::Commanded(Commanded {
            group: name.to_owned(),
            pools: pools.len(),
            begun,
        }))
    }

    fn reload_and_tell(&mut self) -> Done {
        let before = self.awaited(None);
        let problems = self.reload();
        let after = self.awaited(None);
        let begun = begun(after.difference(&before).cloned().collect());
        Done::Reloaded(Reloaded { problems, begun })
    }

    /// What the pools of one group, or of all, are to have.
    fn awaited(&self, only: Option<&str>) -> BTreeSet<AwaitedPool> {
        let entries = self.pools.values().filter(|entry| !entry.is_forgotten);
        let entries = entries.filter(|entry| only.is_none_or(|name| name == entry.group));
        let awaited = entries.filter_map(|entry| {
            Some(AwaitedPool {
                group: entry.group.clone(),
                application_group: entry.application_group.clone(),
                generation: entry.machine.awaited()?,
            })
        });
        awaited.collect()
    }

    /// Costs no worker anything, and nobody waits in it.
    fn progress(&self, uid: u32, only: Option<&str>) -> CommandResult {
        if let Some(name) = only {
            self.permitted(uid, name)?;
        }
        let question = StatusQuestion {
            uid,
            group: only.map(str::to_owned),
            stacks: false,
            asked: Instant::now(),
        };
        Ok(Done::Status(self.status(&question, &BTreeSet::new())))
    }

    fn drain_group(&mut self, uid: u32, name: &str, on: bool) -> CommandResult {
        self.permitted(uid, name)?;
        if let Some(group) = self.groups.get_mut(name) {
            group.drains = on;
        }
        let what = drain_in_words(on);
        tracing::info!("uid {uid} commands process group `{name}`: {what}");
        self.ready_file.may_differ(Instant::now());
        Ok(Done::Draining { draining: on })
    }

    fn dump(&mut self, name: &str, answer: oneshot::Sender<CommandResult>) {
        let pools = self.groups.pools_of(name);
        let (dumps, mut stacks) = channel(1024);
        let mut asked: usize = 0;
        // Those that are being started too: it shows what they wait for.
        for worker in self.workers.values_mut() {
            if pools.contains(&worker.record.pool) {
                worker.dumps.push(dumps.clone());
                worker.handle.send(ToWorker::Dump);
                asked += 1;
            }
        }
        drop(dumps);
        tokio::spawn(async move {
            let mut workers = Vec::new();
            let collect = async {
                while let Some((pid, text)) = stacks.recv().await {
                    let stacks = cut(text, STACKS_MAX / asked);
                    workers.push(WorkerStacks { pid, stacks });
                }
            };
            let _ = tokio::time::timeout(DUMP_TIMEOUT, collect).await;
            let _ = answer.send(Ok(Done::Dumped(Dumped { asked, workers })));
        });
    }

    /// The loop ends for it as soon as the answer is on its way.
    fn begin_reexec(&mut self) -> CommandResult {
        // Each descriptor is there twice for a moment.
        let descriptors =
            self.connections.len() + 6 * self.workers.len() + self.logs.files.len() + 64;
        let wanted = 2 * descriptors as u64;
        let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        if wanted > allowed {
            return Err(CommandError::TooManyDescriptors { wanted, allowed });
        }
        if self.lifetime.is_leaving {
            return Err(CommandError::AboutToEnd);
        }
        self.lifetime.reexec = true;
        Ok(Done::Reexecuting(Reexecuting {
            pid: std::process::id(),
            reexecs: self.lifetime.reexecs,
        }))
    }

    /// Asks the workers what they do just now, and answers when all have said
    /// it, or after a short while: longer where their interpreters are needed for it.
    fn begin_status(
        &mut self,
        uid: u32,
        group: Option<String>,
        stacks: bool,
        answer: oneshot::Sender<CommandResult>,
    ) {
        let now = Instant::now();
        let question = StatusQuestion {
            uid,
            group,
            stacks,
            asked: now,
        };
        let asked = self.workers.iter().filter(|(_, worker)| {
            // What comes first is answered first: who has reported has told of its requests.
            self.may_see(&question, worker)
                && worker.handle.send(ToWorker::Requests { stacks: false })
                && worker.handle.send(ToWorker::Query)
                && (!stacks || worker.handle.send(ToWorker::Requests { stacks }))
        });
        let waits_for = asked.map(|(id, _)| *id).collect();
        self.operators.wait(PendingStatus {
            question,
            waits_for,
            until: now
                + if stacks {
                    DUMP_TIMEOUT
                } else {
                    REPORTS_TIMEOUT
                },
            answer,
        });
        self.finish_statuses(now);
    }

    fn may_see(&self, question: &StatusQuestion, worker: &WorkerEntry) -> bool {
        let group = self
            .pools
            .group_of(worker.record.pool)
            .filter(|name| question.is_about(name))
            .and_then(|name| self.groups.get(name));
        worker.record.python.is_some() && group.is_some_and(|group| group.obeys(question.uid))
    }

    pub(super) fn finish_statuses(&mut self, now: Instant) {
        let done = self.operators.take_done(now);
        for status in done.iter().filter(|status| !status.question.stacks) {
            for id in &status.waits_for {
                if let Some(worker) = self.workers.get_mut(id) {
                    worker.silent.get_or_insert(now);
                }
            }
        }
        if !done.is_empty() {
            self.note_conditions();
            self.count_use();
        }
        for status in done {
            let told = self.status(&status.question, &status.waits_for);
            let _ = status.answer.send(Ok(Done::Status(told)));
            if status.question.stacks && !self.operators.want_stacks() {
                let workers = self.workers.values_mut();
                workers.for_each(|worker| worker.requests.forget_stacks());
            }
        }
    }
}

fn begun(awaited: BTreeSet<AwaitedPool>) -> Begun {
    Begun {
        pid: std::process::id(),
        awaited: Some(awaited.into_iter().collect()),
    }
}

const fn drain_in_words(on: bool) -> &'static str {
    if on {
        "serve on and be not ready"
    } else {
        "be ready again"
    }
}
