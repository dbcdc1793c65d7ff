//! The loop: waits for the parent, requests, workers, commands, signals and
//! time, and feeds the supervisor. Called by `start`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::getppid;
use tokio::sync::mpsc::Sender;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wsgid_protocol::control::{FromParent, ToParent};
use wsgid_protocol::text;

use super::inputs::{Inputs, report};
use super::isolated_groups::IsolatedGroups;
use super::{
    Supervisor,
    access::Access,
    logs::SupervisorLogs,
    restore::take_messages,
    snapshot::Snapshot,
    totals::{self, Totals},
};
use crate::channel::{operator, parent::ParentMessage};
use crate::config::standalone::Source;
use crate::connection::listener::{self, Allowed};
use crate::connection::{connections::Connections, stale_socket};
use crate::log::Sink;
use crate::notify;
use crate::signals::{Asks, Signals};
use wsgid_policy::pool::Event;

pub(super) struct Options {
    /// The listening socket of requests.
    pub(super) listener: OwnedFd,
    /// The httpd parent, if there is one.
    pub(super) parent: Option<OwnedFd>,
    /// Its own configuration, without a parent.
    pub(super) source: Option<Source>,
    pub(super) control: Option<PathBuf>,
    /// What the program before was.
    pub(super) before: Option<Snapshot>,
}

/// Runs until everything has ended, or returns what another program is to go on with.
pub(super) async fn run(mut options: Options, sink: Sink) -> io::Result<Option<Snapshot>> {
    let signals = Signals::open()?;
    let kept = match &mut options.before {
        Some(before) => take_messages(before)?,
        None => Vec::new(),
    };
    let control = options.control.clone();
    let mut inputs = Inputs::new(&options.listener, options.parent, kept, control)?;
    let allowed = Allowed::new();
    // A socket of our own is made under another name; the configuration has the right one.
    let socket = stale_socket::path_of(&options.listener).filter(|_| options.source.is_none());
    let sockets = socket.iter().chain(&options.control).cloned().collect();
    let mut supervisor = Supervisor::new(
        Access::new(allowed.clone(), socket),
        SupervisorLogs::new(sink),
        Connections::new(inputs.held.sender.clone()),
        IsolatedGroups::new(sockets),
        options.source,
        inputs.workers.sender.clone(),
    );
    tracing::info!(
        "wsgid {} supervises (pid {})",
        env!("CARGO_PKG_VERSION"),
        std::process::id()
    );
    // Who hears that it is ready may ask at once.
    let commands = options.control.as_deref().map(operator::bind).transpose();
    supervisor
        .ready_file
        .stands_beside(options.control.as_deref());
    supervisor.begin(options.before)?;
    let incoming = inputs.incoming.sender.clone();
    let quiesce = inputs.accepting.quiesce();
    let listening = listener::listen(options.listener, allowed, incoming, quiesce);
    inputs.bridge(listening, "request socket");
    match commands {
        Ok(Some(listener)) => {
            let listening = operator::listen(listener, inputs.asked.sender.clone());
            drop(tokio::spawn(report(listening, "control socket")));
        }
        Ok(None) => {}
        Err(error) => log_line!(NO_COMMANDS, "control socket: {error}"),
    }
    supervisor.serve(&mut inputs, &signals).await;
    supervisor.traces.finish().await;
    if supervisor.lifetime.reexec {
        notify::reloading();
        // The answer to whoever asked for it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        return supervisor.snapshot(&mut inputs).await.map(Some);
    }
    supervisor.resources.groups.end();
    supervisor.isolation.directories.end();
    supervisor.ready_file.remove();
    inputs.remove_socket().await;
    tracing::info!("wsgid has ended");
    Ok(None)
}

impl Supervisor {
    /// Begins anew, or goes on where the program before has stopped.
    fn begin(&mut self, before: Option<Snapshot>) -> io::Result<()> {
        if let Some(Snapshot { state, mut fds }) = before {
            self.restore(state, &mut fds)?;
            self.keep_traces();
            tracing::info!(
                "it goes on with {} of the program before",
                text::count(self.workers.len(), "worker")
            );
            notify::ready();
        } else if let Some(source) = &self.source {
            if let Some((socket, httpd)) = source.socket() {
                match totals::beside(socket, httpd) {
                    Ok(file) => self.totals = Totals(Some(Arc::new(file))),
                    Err(error) => log_line!(TOTALS_NOT_COUNTED, "totals are not counted: {error}"),
                }
            }
            self.read_files();
            notify::ready();
        }
        Ok(())
    }

    async fn serve(&mut self, inputs: &mut Inputs, signals: &Signals) {
        let mut look = interval(Duration::from_secs(1));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut alive = notify::watchdog().map(interval);
        while !self.has_left() && !self.lifetime.reexec {
            let deadline = self.deadline();
            tokio::select! {
                Some(incoming) = inputs.incoming.receiver.recv() => self.incoming(incoming, None),
                Some((id, event)) = inputs.workers.receiver.recv() => self.worker_event(id, event),
                Some((id, wait, event)) = inputs.held.receiver.recv() => self.held_event(id, wait, event),
                message = inputs.parent.recv(), if inputs.parent_pid.is_some() => match message {
                    Some(message) => {
                        inputs.told |= matches!(message.message, FromParent::Shutdown);
                        self.parent_says(message, &inputs.answers).await;
                    }
                    None => self.parent_has_gone(inputs),
                },
                Some(asked) = inputs.asked.receiver.recv() => self.asked(asked),
                asks = signals.next() => match asks {
                    Asks::End => {
                        // Others wait in the backlog, which the next one finds
                        // or whose end httpd's children notice.
                        inputs.accepting.ask();
                        self.make_way();
                    }
                    Asks::Reload => {
                        self.groups.reopen_logs();
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
                    self.touch_readiness(Instant::now());
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
        if parent.is_some() && !self.lifetime.is_leaving {
            inputs.vanished = parent;
            log_line!(
                HTTPD_GONE,
                "the httpd parent has gone: workers finish what they have, then wsgid ends"
            );
            self.leave(&Event::Remove);
        }
    }

    /// httpd read its configuration again, and nothing in it is for this supervisor.
    fn leave_if_unloaded(&mut self, now: Instant) -> bool {
        let unloaded = !self.lifetime.is_leaving && self.lifetime.is_unloaded(now);
        if unloaded {
            log_line!(
                NOT_CONFIGURED,
                "httpd's configuration no longer loads mod_wsgid, or names another supervisor: workers finish what they have, then wsgid ends"
            );
            self.leave(&Event::Remove);
        }
        unloaded
    }

    async fn parent_says(&mut self, message: ParentMessage, answers: &Sender<ToParent>) {
        match message.message {
            FromParent::Configure(new) => {
                self.lifetime.unconfigured = None;
                let answer = self.configure(new, message.files);
                let _ = answers.send(answer).await;
            }
            FromParent::GenerationEnded(generation) => self.generation_ended(generation),
            FromParent::Shutdown => {
                self.lifetime.is_followed = false;
                self.leave(&Event::Shutdown);
            }
            // The descriptors have come with the message behind it.
            FromParent::Logs => {}
            FromParent::Reads => self.lifetime.unconfigured = Some(Instant::now()),
            FromParent::LogLeftOut(counts) => self.groups.count_left_out(counts),
            FromParent::Totals => self.totals = Totals::taken(message.files.into_iter().next()),
        }
    }
}

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
