//! Drives the connections of one turn: epoll, due times, counting.
//! Called by `measure`; the only place where the load generator waits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::arrivals::{Arrivals, Random};
use super::connection::{Connection, Prepared, Step};
use super::order::{Order, Outcome, Pace};
use crate::workload::Workload;

/// How long answers may be late after the end of a turn.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
const BUFFER_LEN: usize = 1024 * 1024;
/// The event of the timer; connections count from 0.
const TIMER: u64 = u64::MAX;

/// The connections of one peer's turn.
#[derive(Debug)]
pub(crate) struct Generator {
    order: Order,
    epoll: Epoll,
    timer: TimerFd,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    requests: Vec<Prepared>,
    rare_percent: u32,
    random: Random,
    buffer: Vec<u8>,
}

impl Generator {
    /// Connects; nothing is sent yet.
    pub(crate) fn connect(order: Order, workload: &Workload) -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let mut connections = Vec::with_capacity(order.connections);
        for index in 0..order.connections {
            let connection = Connection::open(order.address)?;
            epoll.add(
                &connection.stream,
                EpollEvent::new(EpollFlags::EPOLLIN, index as u64),
            )?;
            connections.push(connection);
        }
        let mut requests = vec![Prepared::new(workload.ask)];
        requests.extend(workload.rare.map(|(ask, _)| Prepared::new(ask)));
        Ok(Self {
            order,
            epoll,
            timer,
            idle: (0..connections.len()).collect(),
            connections,
            requests,
            rare_percent: workload.rare.map_or(0, |(_, percent)| percent),
            random: Random::new(order.seed),
            buffer: vec![0; BUFFER_LEN],
        })
    }

    /// Sends requests for `length` and takes all answers, also the late ones.
    pub(crate) fn run(&mut self, pace: Pace, length: Duration) -> Result<Outcome> {
        let start = Instant::now();
        let end = start + length;
        let mut outcome = Outcome {
            length,
            ..Outcome::default()
        };
        let mut arrivals = match pace {
            Pace::Closed => None,
            Pace::Open { rate } => Some(Arrivals::new(self.order.seed, rate, start)),
        };
        let mut backlog = VecDeque::new();
        let mut events = vec![EpollEvent::empty(); 256];
        loop {
            let now = Instant::now();
            self.release(arrivals.as_mut(), &mut backlog, now, end, &mut outcome);
            let over = now >= end;
            if over && backlog.is_empty() && self.idle.len() == self.connections.len() {
                return Ok(outcome);
            }
            if now >= end + DRAIN_TIMEOUT {
                let lost = self.connections.len() - self.idle.len() + backlog.len();
                outcome.fail(&anyhow::anyhow!("{lost} requests without an answer"));
                return Ok(outcome);
            }
            let wake = if over { end + DRAIN_TIMEOUT } else { end };
            if let Some(arrivals) = &arrivals {
                self.arm(arrivals, now, over)?;
            }
            let timeout = wake.saturating_duration_since(now) + Duration::from_millis(1);
            let timeout = EpollTimeout::try_from(timeout).context("turn too long")?;
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(error) => return Err(error).context("failed to wait for answers"),
            };
            for event in events.iter().take(count) {
                if event.data() != TIMER {
                    self.serve(event.data() as usize, event.events(), end, &mut outcome);
                }
            }
        }
    }

    /// Starts what is due on idle connections.
    fn release(
        &mut self,
        arrivals: Option<&mut Arrivals>,
        backlog: &mut VecDeque<Instant>,
        now: Instant,
        end: Instant,
        outcome: &mut Outcome,
    ) {
        if let Some(arrivals) = arrivals {
            while let Some(due) = arrivals.pop(now.min(end)) {
                backlog.push_back(due);
            }
            while let (Some(due), Some(index)) =
                (backlog.front().copied(), self.idle.front().copied())
            {
                backlog.pop_front();
                self.idle.pop_front();
                self.start(index, due, outcome);
            }
        } else if now < end {
            // Not more than are idle now: one that cannot send goes to the end of the queue.
            for _ in 0..self.idle.len() {
                let Some(index) = self.idle.pop_front() else {
                    return;
                };
                self.start(index, now, outcome);
            }
        }
    }

    fn start(&mut self, index: usize, due: Instant, outcome: &mut Outcome) {
        let kind = usize::from(self.random.chance(self.rare_percent));
        let (Some(connection), Some(request)) =
            (self.connections.get_mut(index), self.requests.get(kind))
        else {
            return;
        };
        match connection.start(kind, request, due) {
            Ok(()) => self.watch(index),
            Err(error) => self.replace(index, &error, outcome),
        }
    }

    /// One connection has news.
    fn serve(&mut self, index: usize, flags: EpollFlags, end: Instant, outcome: &mut Outcome) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let Some(request) = self.requests.get(connection.kind) else {
            return;
        };
        let before = connection.step;
        let result = match before {
            // A keep-alive connection that the server has closed.
            Step::Idle => Err(anyhow::anyhow!("idle connection closed")),
            Step::Write if flags.contains(EpollFlags::EPOLLOUT) => {
                connection.write(request).map(|()| false)
            }
            Step::Write | Step::Read => connection.read(&mut self.buffer, request),
        };
        match result {
            Ok(true) => {
                if before == Step::Write {
                    self.watch_always(index);
                }
                self.finish(index, end, outcome);
            }
            Ok(false) if before != connection.step => self.watch_always(index),
            Ok(false) => {}
            Err(_) if before == Step::Idle => self.reconnect(index),
            Err(error) => self.replace(index, &error, outcome),
        }
    }

    fn finish(&mut self, index: usize, end: Instant, outcome: &mut Outcome) {
        let now = Instant::now();
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        outcome.answers += 1;
        outcome.in_time += u64::from(now <= end);
        if let Some(latencies) = outcome.latencies.get_mut(connection.kind) {
            latencies.push(now.saturating_duration_since(connection.due).as_nanos() as u64);
        }
        if connection.is_spent() {
            self.reconnect(index);
        }
        self.idle.push_back(index);
    }

    /// A request went wrong: count it and go on with a fresh connection.
    fn replace(&mut self, index: usize, cause: &anyhow::Error, outcome: &mut Outcome) {
        outcome.fail(cause);
        self.reconnect(index);
        self.idle.push_back(index);
    }

    fn reconnect(&mut self, index: usize) {
        // Without a fresh connection the next request on the old one fails and is counted.
        let Ok(fresh) = Connection::open(self.order.address) else {
            return;
        };
        if let Some(slot) = self.connections.get_mut(index) {
            *slot = fresh;
            let _ = self.epoll.add(
                &slot.stream,
                EpollEvent::new(EpollFlags::EPOLLIN, index as u64),
            );
        }
    }

    /// Asks for room to write only after a request that did not fit.
    fn watch(&mut self, index: usize) {
        if self
            .connections
            .get(index)
            .is_some_and(|connection| connection.step == Step::Write)
        {
            self.watch_always(index);
        }
    }

    fn watch_always(&mut self, index: usize) {
        let Some(connection) = self.connections.get(index) else {
            return;
        };
        let flags = match connection.step {
            Step::Write => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            Step::Idle | Step::Read => EpollFlags::EPOLLIN,
        };
        let _ = self.epoll.modify(
            &connection.stream,
            &mut EpollEvent::new(flags, index as u64),
        );
    }

    /// Wakes the loop when the next request is due.
    fn arm(&self, arrivals: &Arrivals, now: Instant, over: bool) -> Result<()> {
        if over {
            return self.timer.unset().context("failed to disarm the timer");
        }
        let distance = arrivals
            .peek()
            .saturating_duration_since(now)
            .max(Duration::from_nanos(1));
        let expiration = Expiration::OneShot(TimeSpec::from_duration(distance));
        self.timer
            .set(expiration, TimerSetTimeFlags::empty())
            .context("failed to arm the timer")
    }
}
