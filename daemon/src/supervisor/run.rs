//! The loop: waits for the parent, requests, workers, commands, signals and
//! time, and feeds the supervisor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getppid};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::{FromParent, ToParent};

use super::endings::oom_kills;
use super::restore::read_messages;
use super::snapshot::Handover;
use super::{EARLY_EACH, EARLY_MAX, Supervisor};
use crate::channel::operator::{self, OperatorCommand};
use crate::channel::parent::{self, ParentMessage};
use crate::channel::quiesce::{self, Quiescer};
use crate::config::standalone::Source;
use crate::connection::connections::{Connections, HeldEvent};
use crate::connection::listener::{self, Allowed, NewConnection};
use crate::connection::stale_socket;
use crate::log::Sink;
use crate::notify;
use crate::process::spawn::Launcher;
use crate::process::worker_task::WorkerEvent;
use crate::signals::{Asks, Signals};
use wsgid_policy::ids::ConnectionId;
use wsgid_policy::ids::WorkerId;
use wsgid_policy::peer_quota::PeerQuota;

/// Events that may wait in each channel; behind that the sender waits.
const CHANNEL_LEN: usize = 1024;
/// How long httpd may take to read a configuration. One that takes longer gets
/// another supervisor.
const READING: Duration = Duration::from_secs(30);

/// What a supervisor is started with.
pub(crate) struct Options {
    pub(crate) sink: Sink,
    /// The listening socket of requests.
    pub(crate) listener: OwnedFd,
    /// The httpd parent, if there is one.
    pub(crate) parent: Option<OwnedFd>,
    /// Its own configuration, without a parent.
    pub(crate) source: Option<Source>,
    /// Where operators ask.
    pub(crate) control: Option<PathBuf>,
    /// What the program before was.
    pub(crate) before: Option<Handover>,
}

/// How it ended.
pub(crate) enum Outcome {
    /// Everything has ended.
    Ended,
    /// Another program is to go on.
    Next(Box<Handover>),
}

pub(super) struct Inputs {
    pub(super) incoming: Receiver<NewConnection>,
    pub(super) workers: Receiver<(WorkerId, WorkerEvent)>,
    held: Receiver<(ConnectionId, u64, HeldEvent)>,
    pub(super) parent: Receiver<ParentMessage>,
    asked: Receiver<OperatorCommand>,
    answers: Sender<ToParent>,
    /// The parent, as long as it is there.
    pub(super) parent_pid: Option<Pid>,
    /// The parent, if it has gone without a word.
    vanished: Option<Pid>,
    /// Whether it has said that it ends.
    told: bool,
    /// Listener and parent, for the next program.
    pub(super) sockets: (OwnedFd, Option<OwnedFd>),
    pub(super) control: Option<PathBuf>,
    /// What stands between those sockets and the channels.
    pub(super) bridges: Vec<JoinHandle<()>>,
    pub(super) frozen: Quiescer,
    /// Of new connections alone.
    pub(super) accepting: Quiescer,
}

/// Runs until everything has ended, or another program is to go on.
///
/// # Errors
/// If the sockets or signals cannot be used, or (after `Next` was wanted) the
/// supervisor could not be taken apart.
pub(crate) async fn run(options: Options) -> io::Result<Outcome> {
    let (incoming_in, incoming) = channel(CHANNEL_LEN);
    let (workers_in, workers) = channel(CHANNEL_LEN);
    let (held_in, held) = channel(CHANNEL_LEN);
    let (parent_in, parent) = channel(4);
    let (asked_in, asked) = channel(64);
    let (answers, answers_out) = channel(4);
    let (frozen, freeze) = quiesce::pair();
    let (accepting, stop_accepting) = quiesce::pair();
    let allowed = Allowed::new();
    let signals = Signals::open()?;
    let sockets = (
        options.listener.try_clone()?,
        options
            .parent
            .as_ref()
            .map(OwnedFd::try_clone)
            .transpose()?,
    );
    let parent_pid = options.parent.as_ref().map(|_| getppid());
    let mut bridges = Vec::new();
    // A socket of our own is made under another name; the configuration has the right one.
    let socket = stale_socket::path_of(&options.listener).filter(|_| options.source.is_none());
    let listening = listener::listen(
        options.listener,
        allowed.clone(),
        incoming_in,
        stop_accepting,
    );
    let mut supervisor = Supervisor::new(
        options.sink,
        allowed,
        options.source,
        Connections::new(held_in),
        workers_in,
    );
    supervisor.socket = socket;
    tracing::info!(
        "wsgid {} supervises (pid {})",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    // Who hears that it is ready may ask at once.
    let commands = options.control.as_deref().map(operator::bind).transpose();
    match options.before {
        None => supervisor.begin(),
        Some(Handover {
            mut state,
            mut kept,
        }) => {
            for message in read_messages(&mut state, &mut kept)? {
                let _ = parent_in.try_send(message);
            }
            supervisor.put_together(state, &mut kept)?;
            tracing::info!(
                "it goes on with {} workers of the program before",
                supervisor.workers.len()
            );
            notify::ready();
        }
    }
    bridges.push(tokio::spawn(report(listening, "request socket")));
    if let Some(socket) = options.parent {
        let conversation = parent::converse(socket, parent_in, answers_out, freeze);
        bridges.push(tokio::spawn(report(
            conversation,
            "control socket of httpd",
        )));
    }
    match commands {
        Ok(Some(listener)) => drop(tokio::spawn(report(
            operator::listen(listener, asked_in),
            "control socket",
        ))),
        Ok(None) => {}
        Err(error) => tracing::error!("control socket: {error}"),
    }
    let control = options.control;
    let mut inputs = Inputs {
        incoming,
        workers,
        held,
        parent,
        asked,
        answers,
        parent_pid,
        vanished: None,
        told: false,
        sockets,
        control,
        bridges,
        frozen,
        accepting,
    };
    supervisor.serve(&mut inputs, &signals).await;
    if supervisor.reexec {
        notify::reloading();
        // The answer to whoever asked for it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        return supervisor
            .take_apart(&mut inputs)
            .await
            .map(|next| Outcome::Next(Box::new(next)));
    }
    supervisor.resources.groups.end();
    match inputs.vanished {
        _ if inputs.told => stale_socket::remove(&inputs.sockets.0),
        Some(parent) => stale_socket::remove_after(parent, &inputs.sockets.0).await,
        None => {}
    }
    tracing::info!("wsgid has ended");
    Ok(Outcome::Ended)
}

impl Supervisor {
    fn new(
        sink: Sink,
        allowed: Allowed,
        source: Option<Source>,
        connections: Connections,
        worker_events: Sender<(WorkerId, WorkerEvent)>,
    ) -> Self {
        Self {
            sink,
            launcher: Launcher::new(),
            socket: None,
            allowed,
            known: BTreeMap::new(),
            files: Vec::new(),
            log: LogTarget::Supervisor,
            groups: BTreeMap::new(),
            pools: BTreeMap::new(),
            workers: BTreeMap::new(),
            connections,
            spawns: wsgid_policy::spawn_queue::SpawnQueue::new(crate::sys::processors()),
            preloading: super::preload::Preloading::default(),
            resources: super::resources::Resources::new(),
            timers: BTreeSet::new(),
            todo: VecDeque::new(),
            early: PeerQuota::new(EARLY_EACH, EARLY_MAX),
            waiting_for_room: Vec::new(),
            looked_for_room: Instant::now(),
            statuses: Vec::new(),
            worker_events,
            last_pool: 0,
            leaving: false,
            is_followed: false,
            source,
            oom_kills: oom_kills(),
            started: Instant::now(),
            reexec: false,
            reexecs: 0,
            reexec_problem: None,
            unconfigured: None,
        }
    }

    fn begin(&mut self) {
        if self.source.is_some() {
            self.read_files();
            notify::ready();
        }
    }
}

/// Says when a task that should live as long as the supervisor has failed.
async fn report(task: impl Future<Output = io::Result<()>>, what: &str) {
    if let Err(error) = task.await {
        tracing::error!("{what}: {error}");
    }
}

impl Supervisor {
    async fn serve(&mut self, inputs: &mut Inputs, signals: &Signals) {
        let mut look = interval(Duration::from_secs(1));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = notify::watchdog().map(interval);
        while !self.has_left() && !self.reexec {
            let deadline = self.deadline();
            tokio::select! {
                Some(incoming) = inputs.incoming.recv() => self.incoming(incoming, None),
                Some((id, event)) = inputs.workers.recv() => self.worker_event(id, event),
                Some((id, wait, event)) = inputs.held.recv() => self.held_event(id, wait, event),
                message = inputs.parent.recv(), if inputs.parent_pid.is_some() => match message {
                    Some(message) => {
                        inputs.told |= matches!(message.message, FromParent::Shutdown);
                        self.parent_says(message, &inputs.answers).await;
                    }
                    None => self.parent_has_gone(inputs),
                },
                Some(asked) = inputs.asked.recv() => self.asked(asked),
                asks = signals.next() => match asks {
                    Asks::End => {
                        // Others wait in the backlog, which the next one finds
                        // or whose end httpd's children notice.
                        inputs.accepting.ask();
                        self.make_way();
                    }
                    Asks::Reload => {
                        self.reopen_logs();
                        self.reload();
                    }
                },
                () = sleep_until(deadline) => {}
                _ = look.tick() => {
                    // httpd's children may hold the parent's end of the socket
                    // open when the parent was killed.
                    if inputs.parent_pid.is_some_and(|parent| parent != getppid()) {
                        self.parent_has_gone(inputs);
                    }
                    inputs.told |= self.leave_if_unloaded(Instant::now());
                    self.look_around();
                    self.reap_orphans();
                    self.tidy_connections(Instant::now());
                    self.forget_unused(Instant::now());
                    self.tidy_control_groups();
                }
                () = tick(&mut alive) => notify::alive(),
            }
            self.tick();
        }
    }

    fn parent_has_gone(&mut self, inputs: &mut Inputs) {
        let parent = inputs.parent_pid.take();
        if parent.is_some() && !self.leaving {
            inputs.vanished = parent;
            tracing::warn!(
                "the httpd parent has gone: workers finish what they have, then wsgid ends"
            );
            self.drain_and_leave();
        }
    }

    /// httpd read its configuration again, and nothing in it is for this supervisor.
    fn leave_if_unloaded(&mut self, now: Instant) -> bool {
        let unloaded = !self.leaving && is_unloaded(self.unconfigured, now);
        if unloaded {
            tracing::warn!(
                "httpd's configuration no longer loads mod_wsgid, or names another supervisor: workers finish what they have, then wsgid ends"
            );
            self.drain_and_leave();
        }
        unloaded
    }

    async fn parent_says(&mut self, message: ParentMessage, answers: &Sender<ToParent>) {
        match message.message {
            FromParent::Configure(new) => {
                self.unconfigured = None;
                let answer = self.configure(new, message.files);
                let _ = answers.send(answer).await;
            }
            FromParent::GenerationEnded(generation) => self.generation_ended(generation),
            FromParent::Shutdown => {
                self.is_followed = false;
                self.shut_down();
            }
            // Its descriptors have come with the message behind it.
            FromParent::Logs => {}
            FromParent::Reads => self.unconfigured = Some(Instant::now()),
        }
    }
}

fn is_unloaded(unconfigured: Option<Instant>, now: Instant) -> bool {
    unconfigured.is_some_and(|since| now >= since + READING)
}

/// For ever, if there is nothing to wait for.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn httpd_may_take_its_time_to_read_a_configuration() {
        let now = Instant::now();
        assert!(!is_unloaded(None, now + READING * 100));
        assert!(!is_unloaded(
            Some(now),
            now + READING - Duration::from_millis(1)
        ));
        assert!(is_unloaded(Some(now), now + READING));
    }
}
