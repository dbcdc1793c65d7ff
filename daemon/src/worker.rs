//! The task of one worker process: sends what the supervisor says, reads what
//! the worker claims, forwards its output, signals it and reaps it. One task
//! waits and signals, so that a signal never reaches a reused process id.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;
use wsgid_protocol::control::FromWorker;

use crate::link::{Inbox, Link, Outgoing};
use crate::log::{OutputLimits, Sink, Stream, Target, forward};
use crate::pool::WorkerId;
use crate::spawn::Spawned;

/// Messages of one worker within a second before it has to wait: releasing
/// some thousand connections is fine, a flood is not.
const MESSAGES_PER_SECOND: u32 = 10_000;
/// Messages that may wait for a worker behind what its socket holds: more than
/// the connections a supervisor can have at a time in ordinary use.
const OUTBOX_LEN: usize = 16_384;
/// The last words belong before the news of the death, but the news cannot
/// wait for a grandchild that holds the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// What a worker's task reports.
#[derive(Debug)]
pub(crate) enum WorkerEvent {
    /// It said something.
    Says(FromWorker),
    /// It broke the protocol or closed its control socket.
    Broken(String),
    /// It has ended and was reaped. Always the last event.
    Exited(ExitStatus),
}

/// The supervisor's handle.
pub(crate) struct Handle {
    pub(crate) pid: u32,
    messages: Sender<Outgoing>,
    signals: Sender<Signal>,
}

impl Handle {
    /// Queues a message. One that a worker which has ended cannot get any more
    /// is lost: its connections are looked after when it is reaped. Returns
    /// `false` if the worker does not read what it is sent.
    pub(crate) fn send(&self, message: impl Into<Outgoing>) -> bool {
        !matches!(self.messages.try_send(message.into()), Err(TrySendError::Full(_)))
    }

    /// Signals the worker; SIGKILL goes to its whole process group.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }
}

/// Where a worker's output goes and how it is named there.
pub(crate) struct Output {
    pub(crate) group: String,
    pub(crate) sink: Sink,
    pub(crate) target: Target,
}

/// Starts the tasks of a worker.
pub(crate) fn attend(
    id: WorkerId,
    spawned: Spawned,
    output: Output,
    events: Sender<(WorkerId, WorkerEvent)>,
) -> io::Result<Handle> {
    let Spawned { mut child, control } = spawned;
    let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
    let link = std::sync::Arc::new(Link::new(control)?);
    let (messages, outbox) = channel(OUTBOX_LEN);
    let (signals, signal_inbox) = channel(16);
    let mut pipes = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipes.push(tokio::spawn(copy_output(pipe, Stream::Out, &output, pid)));
    }
    if let Some(pipe) = child.stderr.take() {
        pipes.push(tokio::spawn(copy_output(pipe, Stream::Err, &output, pid)));
    }
    tokio::spawn(send_all(std::sync::Arc::clone(&link), outbox));
    tokio::spawn(async move {
        let status = Watch { id, pid, link, events: events.clone() }.run(child, signal_inbox).await;
        for pipe in pipes {
            let _ = tokio::time::timeout(LAST_WORDS, pipe).await;
        }
        let _ = events.send((id, WorkerEvent::Exited(status))).await;
    });
    Ok(Handle { pid, messages, signals })
}

fn copy_output<R>(pipe: R, stream: Stream, output: &Output, pid: u32) -> impl Future<Output = ()> + use<R>
where
    R: tokio::io::AsyncRead + Unpin,
{
    let (name, to) = (output.group.clone(), (output.sink.clone(), output.target.clone()));
    forward(pipe, stream, (name, pid), to, OutputLimits::default())
}

async fn send_all(link: std::sync::Arc<Link>, mut outbox: Receiver<Outgoing>) {
    while let Some(out) = outbox.recv().await {
        if let Err(error) = link.send(&out).await {
            // The reading side reports the end; what was queued is looked
            // after when the worker is reaped.
            tracing::debug!("failed to send to a worker: {error}");
            return;
        }
    }
}

/// How fast a worker talks.
struct Rate {
    since: Instant,
    count: u32,
}

impl Rate {
    /// How long the worker is not to be listened to after so many messages.
    fn pause(&mut self, messages: usize) -> Option<Duration> {
        let passed = self.since.elapsed();
        if passed >= Duration::from_secs(1) {
            (self.since, self.count) = (Instant::now(), 0);
        }
        self.count = self.count.saturating_add(u32::try_from(messages).unwrap_or(u32::MAX));
        (self.count > MESSAGES_PER_SECOND).then(|| Duration::from_secs(1).saturating_sub(passed))
    }
}

struct Watch {
    id: WorkerId,
    pid: u32,
    link: std::sync::Arc<Link>,
    events: Sender<(WorkerId, WorkerEvent)>,
}

impl Watch {
    async fn run(&self, mut child: Child, mut signals: Receiver<Signal>) -> ExitStatus {
        let (mut inbox, mut open, mut rate) = (Inbox::new(), true, Rate { since: Instant::now(), count: 0 });
        loop {
            tokio::select! {
                biased;
                Some(signal) = signals.recv() => self.signal(signal),
                status = child.wait() => {
                    self.last_words(&mut inbox, open).await;
                    return status.unwrap_or_default();
                }
                got = self.link.recv(&mut inbox), if open => open = self.take(got, &mut rate).await,
            }
        }
    }

    /// Reports what a worker said. Returns whether it may go on.
    async fn take(&self, got: io::Result<(Vec<FromWorker>, bool)>, rate: &mut Rate) -> bool {
        let (messages, ended) = match got {
            Ok(got) => got,
            Err(error) => {
                self.report(WorkerEvent::Broken(error.to_string())).await;
                return false;
            }
        };
        let pause = rate.pause(messages.len());
        for message in messages {
            self.report(WorkerEvent::Says(message)).await;
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        if ended {
            self.report(WorkerEvent::Broken("it closed its control socket".to_owned())).await;
        }
        !ended
    }

    /// What was said before the end counts: a `Closed` or `Release` that is
    /// still in the socket.
    async fn last_words(&self, inbox: &mut Inbox, open: bool) {
        if !open {
            return;
        }
        for message in self.link.last_words(inbox).unwrap_or_default() {
            self.report(WorkerEvent::Says(message)).await;
        }
    }

    async fn report(&self, event: WorkerEvent) {
        let _ = self.events.send((self.id, event)).await;
    }

    fn signal(&self, signal: Signal) {
        let Ok(pid) = i32::try_from(self.pid).map(Pid::from_raw) else { return };
        // The group exists only after the launcher's setsid; the worker itself
        // is signalled in any case.
        if signal == Signal::SIGKILL {
            let _ = killpg(pid, signal);
        }
        let _ = kill(pid, signal);
    }
}
