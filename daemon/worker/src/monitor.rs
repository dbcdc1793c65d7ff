//! The control thread: carries out what the supervisor says, ticks, and watches the timers.
//! Made by Python; attached only for the little that needs the interpreter.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::PollTimeout;
use nix::sys::socket::MsgFlags;
use nix::unistd::{dup2_stderr, dup2_stdout};
use pyo3::prelude::*;

use wsgid_protocol::blocking::FrameReader;
use wsgid_protocol::control::{FromWorker, RecycleReason, ToWorker};

use crate::connection::Connection;
use crate::control::{ControlError, message};
use crate::exchange::Exchange;
use crate::jobs::{self, InterpreterJob};
use crate::report::{self, report};
use crate::scheduler::Finished;
use crate::slow_requests::SlowRequests;
use crate::thread_slot::ThreadSlot;
use crate::ticker::{TICK, Ticker};
use crate::timers::{Due, Overtime, Since, Timers};
use crate::watch::FileWatch;
use crate::worker::Worker;
use crate::{lock, log, sys};

/// Orphans serve on for this long before they close connections.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// A lack of descriptors is spoken of this often.
const COMPLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// So long before a worker ends whatever runs it shows what its threads are doing.
const LAST_LOOK: Duration = Duration::from_millis(300);

/// The timers are looked at this often while requests run.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

pub(crate) struct Monitor {
    reader: FrameReader,
    /// What is to be done next with the interpreter.
    jobs: Vec<InterpreterJob>,
    ticker: Ticker,
    timers: Timers,
    slow: SlowRequests,
    files: FileWatch,
    ticking: bool,
    watched: Instant,
    /// When the supervisor was found gone.
    orphaned: Option<Instant>,
    /// When the lack of descriptors was last spoken of.
    complained: Option<Instant>,
    /// That the supervisor is of another release has been told.
    told_of_unknown: bool,
    /// What outlives the worker's time has been shown.
    looked_last: bool,
}

impl Monitor {
    pub(crate) fn new(reader: FrameReader, worker: &Worker) -> Self {
        let now = Instant::now();
        Self {
            reader,
            jobs: Vec::new(),
            ticker: Ticker::new(worker.scheduler.slots.len(), now),
            timers: Timers::new(&worker.spec.group, now),
            slow: SlowRequests::new(&worker.spec.group),
            files: FileWatch::new(&worker.spec.group.reload_files),
            ticking: true,
            watched: now,
            orphaned: None,
            complained: None,
            told_of_unknown: false,
            looked_last: false,
        }
    }

    pub(crate) fn run(&mut self, py: Python<'_>, worker: &Arc<Worker>) {
        // What came right behind the specification was read with it, and the
        // socket will not be readable for that again.
        py.detach(|| {
            self.take_messages(worker);
            self.watch_more(worker);
        });
        loop {
            for job in std::mem::take(&mut self.jobs) {
                jobs::carry_out(py, worker, &job);
            }
            // Attaching at every tick would take the interpreter away from the
            // thread that serves.
            py.detach(|| {
                while self.jobs.is_empty() {
                    self.turn(worker);
                }
            });
        }
    }

    /// Waits once and does what needs no interpreter.
    fn turn(&mut self, worker: &Worker) {
        self.wait(worker);
        let now = Instant::now();
        for (file, stamp) in self.files.due(now) {
            worker.changed(file, stamp);
        }
        if let Some(why) = self.files.take_silence() {
            worker.control.send(&FromWorker::Looks { why });
        }
        if self.ticking {
            self.ticking = self.ticker.tick(worker, now);
            if !self.ticking {
                self.sleep(worker);
            }
        } else if !worker.control.asleep.load(Ordering::Acquire) {
            self.ticking = true;
            worker.control.send(&FromWorker::Report(report(worker)));
        }
        if !self.ticking || now.saturating_duration_since(self.watched) >= WATCH_INTERVAL {
            self.watched = now;
            self.watch(worker, now);
        }
    }

    /// From now on the first request wakes this thread.
    fn sleep(&mut self, worker: &Worker) {
        worker.control.asleep.store(true, Ordering::SeqCst);
        // A request that began before it could see that.
        if worker.stats.in_flight.load(Ordering::SeqCst) > 0 {
            worker.control.asleep.store(false, Ordering::SeqCst);
            self.ticking = true;
            return;
        }
        worker.control.send(&FromWorker::Report(report(worker)));
    }

    fn watch(&mut self, worker: &Worker, now: Instant) {
        let since = since(worker);
        for due in self.timers.due(now, since) {
            match due {
                Due::Heartbeat => self.jobs.push(InterpreterJob::Heartbeat),
                Due::Recycle(reason) => worker.recycle(reason),
            }
        }
        let mut running = 0;
        let mut stuck = 0;
        for (slot, exchange) in worker.scheduler.serving() {
            running += 1;
            stuck += u32::from(self.watch_request(worker, slot, &exchange, now));
        }
        let hopeless = running == stuck || self.timers.is_loading_too_long(now, since.loading);
        if running > 0 && hopeless && worker.draining.load(Ordering::Acquire) {
            // No request is left that `graceful-timeout` would give time to finish.
            self.end_soon(worker, now);
        }
        self.watch_orphan(worker, now);
        let Some(deadline) = *lock::detached(&worker.deadline) else {
            return;
        };
        if now >= deadline {
            sys::exit_now(0);
        }
        if running > 0 && now + LAST_LOOK >= deadline && !self.looked_last {
            self.looked_last = true;
            self.jobs.push(InterpreterJob::Dump);
        }
    }

    fn end_soon(&self, worker: &Worker, now: Instant) {
        let within = worker.spec.group.shutdown_timeout;
        let deadline = *lock::detached(&worker.deadline);
        let ends_before = deadline
            .zip(now.checked_add(within))
            .is_some_and(|(deadline, end)| deadline <= end);
        if !ends_before {
            worker.stop_within(within);
        }
    }

    /// Returns whether the request has outlived `request-timeout` for good.
    fn watch_request(
        &mut self,
        worker: &Worker,
        slot: &ThreadSlot,
        exchange: &Arc<Exchange>,
        now: Instant,
    ) -> bool {
        if self.slow.is_news(exchange, slot, now) {
            self.jobs.push(InterpreterJob::Slow {
                exchange: Arc::clone(exchange),
                ident: slot.ident.load(Ordering::Relaxed),
            });
        }
        let found = exchange.overtime.get().copied();
        match self.timers.overtime(exchange.started, found, now) {
            Overtime::No => false,
            Overtime::Reached { interrupt } => {
                let _ = exchange.overtime.set(now);
                self.jobs.push(InterpreterJob::Overtime {
                    exchange: Arc::clone(exchange),
                    ident: slot.ident.load(Ordering::Relaxed),
                    interrupt,
                });
                false
            }
            Overtime::Stuck => {
                worker.recycle(RecycleReason::RequestTimeout);
                true
            }
        }
    }

    fn timeout(&self, worker: &Worker, now: Instant) -> PollTimeout {
        if self.ticking {
            return PollTimeout::try_from(TICK).unwrap_or(PollTimeout::ZERO);
        }
        let orphan = self
            .orphaned
            .filter(|_| !worker.orphaned.load(Ordering::Relaxed))
            .map(|at| at + ORPHAN_GRACE);
        let timers = self.timers.next(since(worker));
        let files = self.files.next();
        let next = [orphan, timers, files, *lock::detached(&worker.deadline)]
            .into_iter()
            .flatten()
            .min();
        next.map_or(PollTimeout::NONE, |next| {
            let left = next.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        })
    }

    fn wait(&mut self, worker: &Worker) {
        let control = &worker.control;
        let timeout = self.timeout(worker, Instant::now());
        let (events, hears) = (self.files.descriptor(), self.orphaned.is_none());
        let Ok(heard) = control.wait(control.wake_fd(), events, hears, timeout) else {
            return;
        };
        if heard.woken {
            control.woken();
            self.watch_more(worker);
        }
        if heard.happened {
            self.files.read(Instant::now());
        }
        if heard.spoken {
            self.receive(worker);
        }
    }

    /// The application may have named files.
    fn watch_more(&mut self, worker: &Worker) {
        let files = worker.scripts.files.take_application();
        if !files.is_empty() {
            self.files.add(files, Instant::now());
        }
    }

    fn receive(&mut self, worker: &Worker) {
        let socket = worker.control.as_fd();
        let gone = match self.reader.fill(socket, MsgFlags::MSG_DONTWAIT) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        if self.take_messages(worker) && gone {
            self.on_supervisor_lost(worker);
        }
    }

    /// Carries out the messages that have been received. Returns whether all of it could be
    /// understood; if not, there is no supervisor any more.
    fn take_messages(&mut self, worker: &Worker) -> bool {
        loop {
            let (message, descriptors) = match self.reader.next_buffered() {
                Ok(Some(frame)) => (message(frame.head, frame.payload), frame.head.code),
                Ok(None) => return true,
                Err(error) => (Err(ControlError::Message(error.to_string())), 0),
            };
            match message {
                Ok(Some(message)) => self.carry_out(worker, message),
                Ok(None) => self.ignore(descriptors),
                Err(error) => {
                    log::process(&format!("{error}; the worker goes on without a supervisor"));
                    self.on_supervisor_lost(worker);
                    return false;
                }
            }
        }
    }

    /// A message of a supervisor of another release, and what came beside it.
    fn ignore(&mut self, descriptors: u16) {
        for _ in 0..descriptors {
            drop(self.reader.take_fd());
        }
        if !std::mem::replace(&mut self.told_of_unknown, true) {
            log::process(&format!(
                "the supervisor is of another release: it says what release {} does not know, and that is ignored",
                env!("CARGO_PKG_VERSION")
            ));
        }
    }

    fn carry_out(&mut self, worker: &Worker, message: ToWorker) {
        match message {
            ToWorker::Spec(_) | ToWorker::Preload(_) | ToWorker::Fork { .. } => {}
            ToWorker::Assign { connection, nonce } => match self.reader.take_fd() {
                Some(socket) => self.assign(worker, Connection::new(connection, nonce, socket)),
                None => self.cannot_take(worker, connection),
            },
            ToWorker::Runs(runs) => worker.scripts.may_run(runs),
            ToWorker::Watch { files } => self.files.set(files, Instant::now()),
            ToWorker::GiveBack { within_ms } => {
                worker.give_back_within(Duration::from_millis(within_ms));
            }
            ToWorker::Drain => {
                self.files.end();
                worker.drain();
            }
            ToWorker::Stop { within_ms } => {
                self.files.end();
                worker.stop_within(Duration::from_millis(within_ms));
            }
            ToWorker::Dump => self.jobs.push(InterpreterJob::Dump),
            ToWorker::Query => {
                let told = report::whole(worker);
                worker.control.send(&FromWorker::Report(told));
            }
            ToWorker::Requests { stacks: true } => self.jobs.push(InterpreterJob::Requests),
            ToWorker::Requests { stacks: false } => {
                let told = report::requests(worker);
                worker.control.send(&FromWorker::Requests(told));
            }
            ToWorker::Interrupt { connection } => {
                self.jobs.push(InterpreterJob::Interrupt { connection });
            }
        }
    }

    fn assign(&mut self, worker: &Worker, connection: Connection) {
        // Its REQUEST is waiting: the ticker has to see that no thread is stuck.
        self.ticking = true;
        worker.control.asleep.store(false, Ordering::SeqCst);
        if worker.scheduler.pressure().is_full() {
            self.ticker.note_crowded(Instant::now());
        }
        if let Err(connection) = worker.scheduler.add(connection) {
            worker.hand_back(Finished::Released(connection));
        }
    }

    /// The application has used up all descriptors: another worker is to have
    /// the connection, and another process the place of this one.
    fn cannot_take(&mut self, worker: &Worker, connection: u64) {
        worker.control.send(&FromWorker::Release { connection });
        worker.recycle(RecycleReason::NoDescriptors);
        let now = Instant::now();
        if self
            .complained
            .is_none_or(|at| now.saturating_duration_since(at) >= COMPLAIN_INTERVAL)
        {
            self.complained = Some(now);
            log::process(
                "a connection could not be taken: this process has no file descriptor left (RLIMIT_NOFILE); the application keeps too many open",
            );
        }
    }

    /// The supervisor has gone. Connections are served on for a while: httpd
    /// starts another supervisor, which knows nothing of them.
    fn on_supervisor_lost(&mut self, worker: &Worker) {
        let now = Instant::now();
        self.orphaned = Some(now);
        self.files.end();
        // The supervisor no longer reads these streams; a write is to fail no request.
        if let Ok(null) = File::options().write(true).open("/dev/null") {
            let _ = dup2_stdout(&null).and_then(|()| dup2_stderr(&null));
        }
        let group = &worker.spec.group;
        // The next supervisor starts a service anew, and two would be in each other's way.
        let time = if worker.is_service() {
            group.shutdown_timeout
        } else {
            ORPHAN_GRACE + group.graceful_timeout
        };
        lock::detached(&worker.deadline).get_or_insert(now + time);
        if worker.is_service() {
            worker.drain();
        } else if worker.scheduler.pressure().connections == 0 {
            worker.draining.store(true, Ordering::Release);
            worker.leave();
        }
    }

    fn watch_orphan(&self, worker: &Worker, now: Instant) {
        let due = self
            .orphaned
            .is_some_and(|since| now.saturating_duration_since(since) >= ORPHAN_GRACE);
        if due && !worker.orphaned.swap(true, Ordering::AcqRel) {
            for connection in worker.scheduler.drain() {
                jobs::leave_connection(worker, connection);
            }
            // Only now: whoever sees it may end the process, and none of these is in the table any more.
            worker.draining.store(true, Ordering::Release);
            worker.leave_if_done();
        }
    }
}

fn since(worker: &Worker) -> Since {
    Since {
        ready: worker.ready.get().copied(),
        idle: worker.idle_since(),
        loading: worker.scripts.loading(),
    }
}
