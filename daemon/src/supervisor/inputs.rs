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

use crate::channel::parent::{self, ParentMessage};
use crate::channel::{operator::OperatorCommand, quiesce::Quiescer};
use crate::connection::{connections::HeldEvent, listener::NewConnection, stale_socket};
use crate::process::worker_task::WorkerEvent;
use wsgid_policy::ids::{ConnectionId, WorkerId};

/// Events that may wait in each channel; behind that the sender waits.
const CHANNEL_LEN: usize = 1024;
/// The same of operators' commands.
const COMMANDS_LEN: usize = 64;
/// The same of the parent's messages, and of the answers to them.
const PARENT_LEN: usize = 4;

/// Both ends of a channel: tasks have copies of the sender.
pub(super) struct Events<T> {
    pub(super) sender: Sender<T>,
    pub(super) receiver: Receiver<T>,
}

impl<T> Events<T> {
    fn new(len: usize) -> Self {
        let (sender, receiver) = channel(len);
        Self { sender, receiver }
    }
}

/// The channels that the loop reads, and what stands behind them.
pub(super) struct Inputs {
    pub(super) incoming: Events<NewConnection>,
    pub(super) workers: Events<(WorkerId, WorkerEvent)>,
    pub(super) held: Events<(ConnectionId, u64, HeldEvent)>,
    pub(super) asked: Events<OperatorCommand>,
    /// Ends when the parent has gone.
    pub(super) parent: Receiver<ParentMessage>,
    pub(super) answers: Sender<ToParent>,
    /// The parent, as long as it is there.
    pub(super) parent_pid: Option<Pid>,
    /// The parent, if it has gone without a word.
    pub(super) vanished: Option<Pid>,
    /// Whether it has said that it ends.
    pub(super) told: bool,
    /// The sockets of requests and of the parent, for the next program.
    pub(super) listener: OwnedFd,
    pub(super) parent_socket: Option<OwnedFd>,
    /// Where operators ask.
    pub(super) control: Option<PathBuf>,
    /// What stands between those sockets and the channels.
    bridges: Vec<JoinHandle<()>>,
    talking: Quiescer,
    pub(super) accepting: Quiescer,
}

impl Inputs {
    /// `kept` is what the parent said to the program before, which did not do it.
    pub(super) fn new(
        listener: &OwnedFd,
        parent_socket: Option<OwnedFd>,
        kept: Vec<ParentMessage>,
        control: Option<PathBuf>,
    ) -> io::Result<Self> {
        let (said, parent) = channel(PARENT_LEN);
        let (answers, outbox) = channel(PARENT_LEN);
        let mut inputs = Self {
            incoming: Events::new(CHANNEL_LEN),
            workers: Events::new(CHANNEL_LEN),
            held: Events::new(CHANNEL_LEN),
            asked: Events::new(COMMANDS_LEN),
            parent,
            answers,
            parent_pid: parent_socket.as_ref().map(|_| getppid()),
            vanished: None,
            told: false,
            listener: listener.try_clone()?,
            parent_socket,
            control,
            bridges: Vec::new(),
            talking: Quiescer::default(),
            accepting: Quiescer::default(),
        };
        if let Some(socket) = &inputs.parent_socket {
            let socket = socket.try_clone()?;
            let quiesce = inputs.talking.quiesce();
            let conversation = async move {
                for message in kept {
                    let _ = said.send(message).await;
                }
                parent::converse(socket, said, outbox, quiesce).await
            };
            inputs.bridge(conversation, "control socket of httpd");
        }
        Ok(inputs)
    }

    /// Starts what stands between a socket and its channel.
    pub(super) fn bridge(
        &mut self,
        task: impl Future<Output = io::Result<()>> + Send + 'static,
        what: &'static str,
    ) {
        self.bridges.push(tokio::spawn(report(task, what)));
    }

    /// Ends that: what has come from outside is in the channels. Returns what the
    /// parent said, for which its channel may have no room.
    pub(super) async fn quiesce(&mut self, deadline: Instant) -> Vec<ParentMessage> {
        self.talking.ask();
        self.accepting.ask();
        let mut said = Vec::new();
        for task in std::mem::take(&mut self.bridges) {
            let ended = tokio::time::timeout_at(deadline.into(), task);
            let _ = take_until(ended, &mut self.parent, &mut said).await;
        }
        said.extend(waiting_in(&mut self.parent));
        said
    }

    /// Removes the socket of requests, unless another supervisor has it.
    pub(super) async fn remove_socket(&self) {
        if self.told {
            stale_socket::remove(&self.listener);
        } else if let Some(parent) = self.vanished {
            stale_socket::remove_after(parent, &self.listener).await;
        }
    }
}

/// Waits for a task that may itself wait for room in a channel: takes what comes.
pub(super) async fn take_until<T, R>(
    task: impl Future<Output = R>,
    receiver: &mut Receiver<T>,
    taken: &mut Vec<T>,
) -> R {
    tokio::pin!(task);
    loop {
        tokio::select! {
            ended = &mut task => return ended,
            Some(event) = receiver.recv() => taken.push(event),
        }
    }
}

/// What has come and was not looked at.
pub(super) fn waiting_in<T>(receiver: &mut Receiver<T>) -> Vec<T> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

/// Says when a task that should live as long as the supervisor has failed.
pub(super) async fn report(task: impl Future<Output = io::Result<()>>, what: &str) {
    if let Err(error) = task.await {
        log_line!(TASK_FAILED, "{what}: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use wsgid_protocol::control::FromParent;

    use super::*;

    #[tokio::test]
    async fn whatever_the_parent_said_to_the_program_before_is_kept() {
        let (ours, _parent) = UnixStream::pair().unwrap();
        let said = |generation| ParentMessage {
            message: FromParent::GenerationEnded(generation),
            files: Vec::new(),
        };
        let kept = (0..3 * PARENT_LEN as u64).map(said).collect();
        let listener = ours.try_clone().unwrap().into();
        let mut inputs = Inputs::new(&listener, Some(ours.into()), kept, None).unwrap();
        let first = inputs.parent.recv().await.unwrap();
        let rest = inputs
            .quiesce(Instant::now() + Duration::from_secs(9))
            .await;
        let all: Vec<_> = std::iter::once(first)
            .chain(rest)
            .map(|one| one.message)
            .collect();
        let in_order: Vec<_> = (0..3 * PARENT_LEN as u64)
            .map(FromParent::GenerationEnded)
            .collect();
        assert_eq!(all, in_order);
    }
}
