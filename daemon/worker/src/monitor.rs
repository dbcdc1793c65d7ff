//! The control thread: obeys the supervisor, ticks, and watches the timers.
//! Made by Python; attached only for the little that needs the interpreter.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::MsgFlags;
use pyo3::prelude::*;

use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::control::{FromWorker, RunningRequest, ToWorker, WorkerReport};

use crate::connection::Connection;
use crate::control::message;
use crate::scheduler::Finished;
use crate::ticker::{TICK, Ticker};
use crate::worker::Worker;
use crate::{log, sys};

/// Orphans serve on for this long before they close connections.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// The control thread.
pub(crate) struct Monitor {
    reader: FrameReader,
    ticker: Ticker,
    ticking: bool,
    /// When the process ends whatever runs.
    deadline: Option<Instant>,
    /// When the supervisor was found gone.
    orphaned: Option<Instant>,
}

/// What needs the interpreter.
enum Job {
    Dump,
    Interrupt { connection: u64 },
}

impl Monitor {
    pub(crate) fn new(reader: FrameReader, threads: usize) -> Self {
        Self { reader, ticker: Ticker::new(threads, Instant::now()), ticking: true, deadline: None, orphaned: None }
    }

    /// Runs for the life of the process.
    pub(crate) fn run(&mut self, py: Python<'_>, worker: &Arc<Worker>) {
        loop {
            for job in py.detach(|| self.turn(worker)) {
                match job {
                    Job::Dump => drop(dump(py, worker)),
                    Job::Interrupt { connection } => interrupt(py, worker, connection),
                }
            }
        }
    }

    /// Waits once and does what needs no interpreter.
    fn turn(&mut self, worker: &Arc<Worker>) -> Vec<Job> {
        let mut jobs = Vec::new();
        self.wait(worker, &mut jobs);
        let now = Instant::now();
        if self.ticking {
            self.ticking = self.ticker.tick(worker, now);
            if !self.ticking {
                self.sleep(worker);
            }
        } else if !worker.control.asleep.load(Ordering::Acquire) {
            self.ticking = true;
        }
        self.watch_orphan(worker, now);
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            sys::exit_now(0);
        }
        jobs
    }

    /// From now on the first request wakes this thread.
    fn sleep(&mut self, worker: &Worker) {
        worker.control.asleep.store(true, Ordering::Release);
        // A request that began before it could see that.
        if worker.stats.in_flight.load(Ordering::Acquire) > 0 {
            worker.control.asleep.store(false, Ordering::Release);
            self.ticking = true;
        }
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        if self.ticking {
            return PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
        }
        let deadlines = [self.deadline, self.orphaned.map(|_| now + Duration::from_millis(200))];
        let next = deadlines.into_iter().flatten().min();
        next.map_or(PollTimeout::NONE, |next| {
            let left = next.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        })
    }

    fn wait(&mut self, worker: &Arc<Worker>, jobs: &mut Vec<Job>) {
        let control = &worker.control;
        let mut wanted = PollFlags::POLLIN;
        if control.is_pending() {
            wanted |= PollFlags::POLLOUT;
        }
        let timeout = self.timeout(Instant::now());
        let mut fds = [PollFd::new(control.wake_fd(), PollFlags::POLLIN), PollFd::new(control.as_fd(), wanted)];
        // Without a supervisor its socket would be readable for ever.
        let watched = if self.orphaned.is_some() { &mut fds[..1] } else { &mut fds[..] };
        if poll(watched, timeout).is_err() {
            return;
        }
        let ready = |at: usize| fds.get(at).and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        if !ready(0).is_empty() {
            control.woken();
        }
        let events = ready(1);
        if events.contains(PollFlags::POLLOUT) {
            control.flush();
        }
        if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            self.receive(worker, jobs);
        }
    }

    fn receive(&mut self, worker: &Arc<Worker>, jobs: &mut Vec<Job>) {
        let gone = match self.reader.fill(worker.control.as_fd(), MsgFlags::MSG_DONTWAIT) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        loop {
            let message = match self.reader.next_buffered() {
                Ok(Some(frame)) => message(frame.head, frame.payload),
                Ok(None) => break,
                Err(error) => Err(crate::control::ControlError::Message(error.to_string())),
            };
            match message {
                Ok(message) => self.obey(worker, message, jobs),
                Err(error) => {
                    log::process(&format!("{error}; the worker goes on without a supervisor"));
                    return self.lose(worker);
                }
            }
        }
        if gone {
            self.lose(worker);
        }
    }

    fn obey(&mut self, worker: &Arc<Worker>, message: ToWorker, jobs: &mut Vec<Job>) {
        match message {
            ToWorker::Spec(_) => {}
            ToWorker::Assign { connection, nonce } => match self.reader.take_fd() {
                Some(socket) => assign(worker, Connection::new(connection, nonce, socket)),
                None => worker.control.send(&FromWorker::Closed { connection }),
            },
            ToWorker::Drain => drain(worker),
            ToWorker::Stop { within_ms } => {
                self.deadline = Instant::now().checked_add(Duration::from_millis(within_ms));
                drain(worker);
            }
            ToWorker::Dump => jobs.push(Job::Dump),
            ToWorker::Query => worker.control.send(&FromWorker::Report(report(worker))),
            ToWorker::Interrupt { connection } => jobs.push(Job::Interrupt { connection }),
        }
    }

    /// The supervisor has gone. Connections are served on for a while: httpd
    /// starts another supervisor, which knows nothing of them.
    fn lose(&mut self, worker: &Worker) {
        let now = Instant::now();
        self.orphaned = Some(now);
        let graceful = worker.spec.group.graceful_timeout;
        self.deadline.get_or_insert(now + ORPHAN_GRACE + graceful);
    }

    fn watch_orphan(&mut self, worker: &Worker, now: Instant) {
        let due = self.orphaned.is_some_and(|since| now.saturating_duration_since(since) >= ORPHAN_GRACE);
        if due && !worker.orphaned.swap(true, Ordering::AcqRel) {
            worker.draining.store(true, Ordering::Release);
            for connection in worker.scheduler.drain() {
                worker.hand_back(Finished::Closed(connection));
            }
            worker.leave_if_done();
        }
    }
}

fn assign(worker: &Worker, connection: Connection) {
    if let Err(connection) = worker.scheduler.add(connection) {
        worker.hand_back(Finished::Released(connection));
    }
}

/// Takes no further request.
pub(crate) fn drain(worker: &Worker) {
    worker.draining.store(true, Ordering::Release);
    for connection in worker.scheduler.drain() {
        worker.hand_back(Finished::Released(connection));
    }
    worker.leave_if_done();
}

/// What the supervisor may know of this worker.
pub(crate) fn report(worker: &Worker) -> WorkerReport {
    let stats = &worker.stats;
    let running = worker.scheduler.slots.iter().filter_map(|slot| slot.serving()).map(|exchange| RunningRequest {
        connection: exchange.connection,
        what: exchange.what.clone(),
        for_us: u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX),
    });
    WorkerReport {
        requests: stats.requests.load(Ordering::Relaxed),
        in_flight: stats.in_flight.load(Ordering::Relaxed),
        in_flight_max: stats.in_flight_max.load(Ordering::Relaxed),
        connections: u32::try_from(worker.scheduler.pressure().connections).unwrap_or(u32::MAX),
        busy_us: stats.busy_us.load(Ordering::Relaxed),
        histogram: stats.histogram(),
        running: running.collect(),
    }
}

/// Writes the stacks of all threads to the log, and tells the supervisor.
fn dump(py: Python<'_>, worker: &Worker) -> PyResult<()> {
    let Some(runtime) = worker.runtime.get() else { return Ok(()) };
    let text: String = runtime.module.bind(py).call_method0("stacks")?.extract()?;
    log::process(&text);
    worker.control.send(&FromWorker::Dumped { text: text.chars().take(60_000).collect() });
    Ok(())
}

fn interrupt(py: Python<'_>, worker: &Worker, connection: u64) {
    let slots = worker.scheduler.slots.iter();
    let serving = slots.filter_map(|slot| Some((slot, slot.serving()?)));
    for (slot, exchange) in serving.filter(|(_, exchange)| exchange.connection == connection) {
        let Some(runtime) = worker.runtime.get() else { return };
        exchange.timed_out.store(true, Ordering::Relaxed);
        let timeout = runtime.module.bind(py).getattr("RequestTimeout");
        let Ok(class) = timeout.and_then(|class| Ok(class.cast_into::<pyo3::types::PyType>()?)) else { return };
        sys::raise_in_thread(py, slot.ident.load(Ordering::Relaxed), Some(&class));
    }
}
