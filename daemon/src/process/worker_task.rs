//! The task of one worker process: sends what the supervisor says, reads what
//! the worker claims, forwards its output, signals it and reaps it. One task
//! waits and signals, so that a signal never reaches a reused process id.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, timeout_at};
use wsgid_protocol::control::FromWorker;

use crate::channel::closing::Guarded;
use crate::channel::quiesce::{Quiesce, Quiescer};
use crate::channel::worker::{Inbox, Link, Outgoing};
use crate::log::{Output, forward};
use crate::process::child::{Process, Running};
use crate::process::spawn::Spawned;
use wsgid_policy::ids::WorkerId;

/// Messages of one worker within a second before it has to wait: releasing
/// some thousand connections is fine, a flood is not.
const MESSAGES_PER_SECOND: u32 = 10_000;
/// Messages that may wait for a worker behind what its socket holds: more than
/// the connections a supervisor can have at a time in ordinary use.
const OUTBOX_LEN: usize = 16_384;
/// Between SIGABRT and SIGKILL.
const ABORT_PATIENCE: Duration = Duration::from_secs(1);
/// The last words belong before the news of the death, but the news cannot
/// wait for a grandchild that holds the pipe open.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// What a worker's task reports. Events that nobody has acted upon cross `wsgid
/// reexec`, but for those of a preloader's fork.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WorkerEvent {
    Says(FromWorker),
    /// It broke the protocol or closed its control socket.
    Broken(String),
    /// It has ended and was reaped. Always the last event.
    Exited(#[serde(with = "raw_status")] ExitStatus),
    /// It was forked by its preloader.
    #[serde(skip)]
    Forked(Running),
    /// It was not.
    #[serde(skip)]
    NotForked(String),
    /// It has answered what it was warmed with, or has not: why, and what was logged. Asked
    /// again by the next program.
    #[serde(skip)]
    Warmed(Result<(), (String, String)>),
}

/// The status as the kernel gives it.
mod raw_status {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(status: &ExitStatus, to: S) -> Result<S::Ok, S::Error> {
        status.into_raw().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ExitStatus, D::Error> {
        i32::deserialize(from).map(ExitStatus::from_raw)
    }
}

pub(crate) struct Handle {
    pub(crate) pid: u32,
    messages: Sender<Outgoing>,
    signals: Sender<Signal>,
    quiescer: Quiescer,
    /// Gives what came and is no whole message, if it was quiesced.
    watch: JoinHandle<Vec<u8>>,
    send: JoinHandle<Vec<Outgoing>>,
    copy: Vec<JoinHandle<()>>,
    link: Arc<Link>,
    pipes: Vec<Arc<pipe::Receiver>>,
}

/// A worker whose tasks have ended, for the program that goes on with it.
pub(crate) struct QuiescedWorker {
    pub(crate) control: Arc<Link>,
    pub(crate) pipes: Vec<Arc<pipe::Receiver>>,
    pub(crate) inbox: Vec<u8>,
    pub(crate) outbox: Vec<Outgoing>,
    /// It did not read what it was sent: half a message may be in its socket.
    pub(crate) broken: bool,
}

impl Handle {
    /// Queues a message. One that a worker which has ended cannot get any more
    /// is lost: its connections are looked after when it is reaped. Returns
    /// `false` if the worker does not read what it is sent.
    pub(crate) fn send(&self, message: impl Into<Outgoing>) -> bool {
        !matches!(
            self.messages.try_send(message.into()),
            Err(TrySendError::Full(_))
        )
    }

    /// Ends the tasks; the process runs on.
    pub(crate) fn quiesce(&self) {
        self.quiescer.ask();
    }

    /// Waits until they have ended.
    pub(crate) async fn quiesced(mut self, deadline: Instant) -> QuiescedWorker {
        // What sends is the only one that a worker can hold up.
        let sent = timeout_at(deadline, &mut self.send).await;
        self.send.abort();
        let inbox = timeout_at(deadline, &mut self.watch).await;
        for copy in self.copy {
            let _ = timeout_at(deadline, copy).await;
        }
        QuiescedWorker {
            control: self.link,
            pipes: self.pipes,
            inbox: inbox.ok().and_then(Result::ok).unwrap_or_default(),
            broken: sent.is_err(),
            outbox: sent.ok().and_then(Result::ok).unwrap_or_default(),
        }
    }

    /// Has the worker write its Python stacks and end; SIGKILL follows if it does not.
    pub(crate) fn abort(&self) {
        let signals = self.signals.clone();
        self.signal(Signal::SIGABRT);
        tokio::spawn(async move {
            tokio::time::sleep(ABORT_PATIENCE).await;
            let _ = signals.try_send(Signal::SIGKILL);
        });
    }

    /// Signals the worker; SIGKILL goes to its whole process group.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = self.signals.try_send(signal);
    }
}

/// Starts the tasks of a worker that was just started.
pub(crate) fn attend(
    id: WorkerId,
    spawned: Spawned,
    output: Output,
    events: Sender<(WorkerId, WorkerEvent)>,
) -> io::Result<Handle> {
    let Spawned { mut child, control } = spawned;
    let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
    let out = child.stdout.take().ok_or(io::ErrorKind::NotFound)?;
    let err = child.stderr.take().ok_or(io::ErrorKind::NotFound)?;
    let running = Running {
        pid,
        control: Guarded::new(control, output.group.as_str()),
        pipes: [out.into_owned_fd()?, err.into_owned_fd()?],
        inbox: Vec::new(),
    };
    let reporter = Reporter { id, events };
    begin(running, Process::Started(child), output, reporter)
}

/// Goes on with a worker that was forked, or that the program before has started;
/// that program may have seen how it `ended`.
pub(crate) fn adopt(
    id: WorkerId,
    running: Running,
    ended: Option<ExitStatus>,
    output: Output,
    events: Sender<(WorkerId, WorkerEvent)>,
) -> io::Result<Handle> {
    let process = Process::adopt(running.pid, ended)?;
    begin(running, process, output, Reporter { id, events })
}

fn begin(
    running: Running,
    process: Process,
    output: Output,
    reporter: Reporter,
) -> io::Result<Handle> {
    let Running { pid, inbox, .. } = running;
    let link = Arc::new(Link::new(running.control)?);
    let (messages, outbox) = channel(OUTBOX_LEN);
    let (signals, signal_inbox) = channel(16);
    let quiescer = Quiescer::default();
    let quiesce = quiescer.quiesce();
    let [out, err] = running.pipes;
    let pipes = vec![
        Arc::new(pipe::Receiver::from_owned_fd(out)?),
        Arc::new(pipe::Receiver::from_owned_fd(err)?),
    ];
    let mut copy = Vec::new();
    for (pipe, level) in pipes.iter().zip(["info", "error"]) {
        let pipe = Arc::clone(pipe);
        let forwarding = forward(pipe, level, pid, output.clone(), quiesce.clone());
        copy.push(tokio::spawn(forwarding));
    }
    let copies: Vec<_> = copy.iter().map(JoinHandle::abort_handle).collect();
    let sending = send_all(Arc::clone(&link), outbox, quiesce.clone(), reporter.clone());
    let send = tokio::spawn(sending);
    let task = WorkerTask {
        pid,
        link: Arc::clone(&link),
        reporter,
        quiesce,
    };
    let watch = tokio::spawn(task.live(process, signal_inbox, Inbox::with(&inbox), copies));
    Ok(Handle {
        pid,
        messages,
        signals,
        quiescer,
        watch,
        send,
        copy,
        link,
        pipes,
    })
}

/// Tells the supervisor what happens to one worker.
#[derive(Clone)]
struct Reporter {
    id: WorkerId,
    events: Sender<(WorkerId, WorkerEvent)>,
}

impl Reporter {
    async fn report(&self, event: WorkerEvent) {
        let _ = self.events.send((self.id, event)).await;
    }

    async fn broken(&self, why: impl Into<String>) {
        self.report(WorkerEvent::Broken(why.into())).await;
    }
}

/// Sends until the worker has gone, or until `quiesce` asks; gives what is left.
async fn send_all(
    link: Arc<Link>,
    mut outbox: Receiver<Outgoing>,
    mut quiesce: Quiesce,
    reporter: Reporter,
) -> Vec<Outgoing> {
    loop {
        let out = tokio::select! {
            biased;
            out = outbox.recv() => out,
            () = quiesce.asked() => {
                outbox.close();
                let mut left = Vec::new();
                while let Ok(out) = outbox.try_recv() {
                    left.push(out);
                }
                return left;
            }
        };
        let Some(out) = out else { return Vec::new() };
        if let Err(error) = link.send(&out).await {
            // Whatever the reason, nothing reaches it any more: what was queued
            // is looked after when the worker is reaped.
            let why = format!("a message could not be sent: {error}");
            reporter.broken(why).await;
            return Vec::new();
        }
    }
}

struct Rate {
    since: Instant,
    count: u32,
    /// That the worker is of another release has been told.
    told: bool,
}

impl Rate {
    /// How long the worker is not to be listened to after so many messages.
    fn pause(&mut self, messages: usize) -> Option<Duration> {
        let passed = self.since.elapsed();
        if passed >= Duration::from_secs(1) {
            (self.since, self.count) = (Instant::now(), 0);
        }
        self.count = self
            .count
            .saturating_add(u32::try_from(messages).unwrap_or(u32::MAX));
        (self.count > MESSAGES_PER_SECOND).then(|| Duration::from_secs(1).saturating_sub(passed))
    }
}

/// Reads what the worker says, signals it and waits for its end.
struct WorkerTask {
    pid: u32,
    link: Arc<Link>,
    reporter: Reporter,
    quiesce: Quiesce,
}

impl WorkerTask {
    /// From start to end. Gives the bytes that are no whole message, if it was
    /// quiesced before the end.
    async fn live(
        mut self,
        process: Process,
        signals: Receiver<Signal>,
        mut inbox: Inbox,
        copies: Vec<AbortHandle>,
    ) -> Vec<u8> {
        let Some(status) = self.run(process, signals, &mut inbox).await else {
            return inbox.rest();
        };
        let last_words = Instant::now() + LAST_WORDS;
        while Instant::now() < last_words && copies.iter().any(|copy| !copy.is_finished()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.reporter.report(WorkerEvent::Exited(status)).await;
        Vec::new()
    }

    async fn run(
        &mut self,
        mut process: Process,
        mut signals: Receiver<Signal>,
        inbox: &mut Inbox,
    ) -> Option<ExitStatus> {
        let mut open = true;
        let mut rate = Rate {
            since: Instant::now(),
            count: 0,
            told: false,
        };
        let mut quiesce = self.quiesce.clone();
        loop {
            tokio::select! {
                biased;
                Some(signal) = signals.recv() => if !process.has_ended() { self.signal(signal) },
                () = quiesce.asked() => {
                    process.leave();
                    return None;
                }
                status = process.wait() => {
                    self.last_words(inbox, open).await;
                    return Some(status);
                }
                got = self.link.recv(inbox), if open => {
                    let unknown = inbox.take_unknown();
                    open = self.take(got, unknown, &mut rate).await;
                }
            }
        }
    }

    /// Reports what a worker said. Returns whether it may go on.
    async fn take(
        &self,
        got: io::Result<(Vec<FromWorker>, bool)>,
        unknown: usize,
        rate: &mut Rate,
    ) -> bool {
        if unknown > 0 && !std::mem::replace(&mut rate.told, true) {
            let release = env!("CARGO_PKG_VERSION");
            log_line!(
                WORKER_OF_OTHER_RELEASE,
                "worker {} is of another release: it says what release {release} does not know, and that is ignored",
                self.pid
            );
        }
        let (messages, ended) = match got {
            Ok(got) => got,
            Err(error) => {
                self.reporter.broken(error.to_string()).await;
                return false;
            }
        };
        let pause = rate.pause(messages.len() + unknown);
        for message in messages {
            self.reporter.report(WorkerEvent::Says(message)).await;
        }
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        if ended {
            self.reporter.broken("it closed its control socket").await;
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
            self.reporter.report(WorkerEvent::Says(message)).await;
        }
    }

    fn signal(&self, signal: Signal) {
        let Ok(pid) = i32::try_from(self.pid).map(Pid::from_raw) else {
            return;
        };
        // The group exists only after the launcher has made it; the worker itself
        // is signalled in any case.
        if signal == Signal::SIGKILL {
            let _ = killpg(pid, signal);
        }
        let _ = kill(pid, signal);
    }
}
