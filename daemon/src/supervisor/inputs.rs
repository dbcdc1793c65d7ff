//! What the loop waits for: channels from the tasks that listen for httpd's
//! children, the parent, workers, held connections and operators. Made and read by
//! `run`, emptied by `snapshot`. Knows nothing of what becomes of it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

use nix::unistd::{Pid, getppid};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use wsgid_protocol::control::ToParent;

use crate::channel::operator::OperatorCommand;
use crate::channel::parent::ParentMessage;
use crate::channel::quiesce::{self, Quiesce, Quiescer};
use crate::connection::connections::HeldEvent;
use crate::connection::listener::NewConnection;
use crate::connection::stale_socket;
use crate::process::worker_task::WorkerEvent;
use wsgid_policy::ids::{ConnectionId, WorkerId};

/// Events that may wait in each channel; behind that the sender waits.
const CHANNEL_LEN: usize = 1024;

/// The ends of the channels that the loop reads, and what it has to know of the
/// other ones.
pub(super) struct Inputs {
    pub(super) incoming: Receiver<NewConnection>,
    pub(super) workers: Receiver<(WorkerId, WorkerEvent)>,
    pub(super) held: Receiver<(ConnectionId, u64, HeldEvent)>,
    pub(super) parent: Receiver<ParentMessage>,
    pub(super) asked: Receiver<OperatorCommand>,
    pub(super) answers: Sender<ToParent>,
    /// The parent, as long as it is there.
    pub(super) parent_pid: Option<Pid>,
    /// The parent, if it has gone without a word.
    pub(super) vanished: Option<Pid>,
    /// Whether it has said that it ends.
    pub(super) told: bool,
    pub(super) sockets: Sockets,
    /// Where operators ask.
    pub(super) control: Option<PathBuf>,
    /// What stands between those sockets and the channels.
    bridges: Vec<JoinHandle<()>>,
    frozen: Quiescer,
    /// Of new connections alone.
    pub(super) accepting: Quiescer,
}

/// The sockets, for the next program.
pub(super) struct Sockets {
    pub(super) listener: OwnedFd,
    pub(super) parent: Option<OwnedFd>,
}

/// The ends of the channels that the tasks have.
pub(super) struct TaskEnds {
    pub(super) incoming: Sender<NewConnection>,
    pub(super) workers: Sender<(WorkerId, WorkerEvent)>,
    pub(super) held: Sender<(ConnectionId, u64, HeldEvent)>,
    pub(super) parent: Sender<ParentMessage>,
    pub(super) asked: Sender<OperatorCommand>,
    pub(super) answers: Receiver<ToParent>,
    pub(super) freeze: Quiesce,
    pub(super) stop_accepting: Quiesce,
}

impl Inputs {
    /// # Errors
    /// If the sockets cannot be kept for the next program.
    pub(super) fn new(
        listener: &OwnedFd,
        parent: Option<&OwnedFd>,
        control: Option<PathBuf>,
    ) -> io::Result<(Self, TaskEnds)> {
        let (incoming_in, incoming) = channel(CHANNEL_LEN);
        let (workers_in, workers) = channel(CHANNEL_LEN);
        let (held_in, held) = channel(CHANNEL_LEN);
        let (parent_in, parent_out) = channel(4);
        let (asked_in, asked) = channel(64);
        let (answers, answers_out) = channel(4);
        let (frozen, freeze) = quiesce::pair();
        let (accepting, stop_accepting) = quiesce::pair();
        let inputs = Self {
            incoming,
            workers,
            held,
            parent: parent_out,
            asked,
            answers,
            parent_pid: parent.map(|_| getppid()),
            vanished: None,
            told: false,
            sockets: Sockets {
                listener: listener.try_clone()?,
                parent: parent.map(OwnedFd::try_clone).transpose()?,
            },
            control,
            bridges: Vec::new(),
            frozen,
            accepting,
        };
        let ends = TaskEnds {
            incoming: incoming_in,
            workers: workers_in,
            held: held_in,
            parent: parent_in,
            asked: asked_in,
            answers: answers_out,
            freeze,
            stop_accepting,
        };
        Ok((inputs, ends))
    }

    /// Starts what stands between a socket and its channel.
    pub(super) fn bridge(
        &mut self,
        task: impl Future<Output = io::Result<()>> + Send + 'static,
        what: &'static str,
    ) {
        self.bridges.push(tokio::spawn(report(task, what)));
    }

    /// Ends that: what has come from outside is in the channels.
    pub(super) async fn quiesce(&mut self, deadline: Instant) {
        self.frozen.ask();
        self.accepting.ask();
        for task in std::mem::take(&mut self.bridges) {
            let _ = tokio::time::timeout_at(deadline.into(), task).await;
        }
    }

    /// Removes the socket of requests, unless another supervisor has it.
    pub(super) async fn remove_socket(&self) {
        if self.told {
            stale_socket::remove(&self.sockets.listener);
        } else if let Some(parent) = self.vanished {
            stale_socket::remove_after(parent, &self.sockets.listener).await;
        }
    }
}

/// Says when a task that should live as long as the supervisor has failed.
pub(super) async fn report(task: impl Future<Output = io::Result<()>>, what: &str) {
    if let Err(error) = task.await {
        tracing::error!("{what}: {error}");
    }
}
