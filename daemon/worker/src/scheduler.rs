//! Which thread serves which connection. Called by `serve` (threads), `ticker`
//! and `monitor` (connections come and go); knows nothing of Python or frames.
//!
//! The reasoning. With the interpreter lock a second thread helps only while
//! the first waits for something else; woken for every request it makes both
//! slower. So the thread that is already running takes the next request:
//!
//! * one *leader* waits in `epoll_wait` for all connections, edge triggered, so
//!   that nothing has to be armed again. It puts what is readable into a queue,
//!   takes one, serves it, takes the next from the queue, and returns to
//!   `epoll_wait` when the queue is empty;
//! * the others are parked. While the leader serves, there is no leader; the
//!   ticker promotes a parked thread when a request takes long (see `ticker`);
//! * *eager* mode, learned from the requests: if they are long and mostly wait,
//!   whoever takes one wakes the next leader at once.
//!
//! All state is under one lock, taken once for a batch of events and once per
//! finished request. Nobody attaches to the interpreter while holding it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::Thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::load_profile::LoadProfile;
use crate::lock;
use crate::thread_slot::ThreadSlot;

/// Events taken with one `epoll_wait`.
const BATCH: usize = 64;

/// What a connection is watched for.
const EVENTS: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

/// What is known of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    /// Nothing to read, as far as is known; epoll will tell.
    Idle,
    /// In the queue, or being served.
    Busy,
    /// Being served, and epoll told of something since.
    Dirty,
}

struct HeldConnection {
    connection: Arc<Connection>,
    state: Readiness,
}

/// A connection with something to read that no thread has taken.
struct WaitingConnection {
    connection: Arc<Connection>,
    since: Instant,
}

#[derive(Default)]
struct Inner {
    held: HashMap<u64, HeldConnection>,
    queue: VecDeque<WaitingConnection>,
    /// Whether a thread is in `epoll_wait`.
    leader: bool,
    /// Threads without work, the last parked on top.
    parked: Vec<usize>,
    /// No connection becomes idle any more: it is given back.
    draining: bool,
}

/// What a thread found on the connection that it served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionOutcome {
    Free,
    Ended,
    /// Another worker is to have it, with the request that was not begun.
    Unbegun,
}

impl ConnectionOutcome {
    pub(crate) const fn good(is_good: bool) -> Self {
        if is_good { Self::Free } else { Self::Ended }
    }
}

/// What becomes of a connection after a request.
pub(crate) enum Finished {
    /// It stays here.
    Kept,
    /// It left the table; the supervisor is to be told that it is free.
    Released(Arc<Connection>),
    /// It left the table; the supervisor is to be told that it ended.
    Closed(Arc<Connection>),
}

#[derive(Default)]
struct Parker {
    thread: OnceLock<Thread>,
    woken: AtomicBool,
}

pub(crate) struct Scheduler {
    epoll: Epoll,
    inner: Mutex<Inner>,
    parkers: Vec<Parker>,
    /// What the ticker looks at, one per thread.
    pub(crate) slots: Vec<ThreadSlot>,
    pub(crate) load_profile: LoadProfile,
}

impl Scheduler {
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            inner: Mutex::default(),
            parkers: (0..threads).map(|_| Parker::default()).collect(),
            slots: (0..threads).map(|_| ThreadSlot::default()).collect(),
            load_profile: LoadProfile::default(),
        })
    }

    /// Takes a connection in. What is readable already is reported at once.
    /// Gives it back if the worker is leaving.
    pub(crate) fn add(&self, connection: Connection) -> Result<(), Arc<Connection>> {
        let connection = Arc::new(connection);
        let mut inner = lock::detached(&self.inner);
        let number = connection.number;
        let event = EpollEvent::new(EVENTS, number);
        if inner.draining || self.epoll.add(&connection, event).is_err() {
            return Err(connection);
        }
        let state = Readiness::Idle;
        let held = HeldConnection { connection, state };
        inner.held.insert(number, held);
        Ok(())
    }

    /// Waits for a connection with something to read. Called detached.
    pub(crate) fn wait(&self, slot: usize) -> Arc<Connection> {
        loop {
            let mut inner = lock::detached(&self.inner);
            if let Some(waiting) = inner.queue.pop_front() {
                if self.load_profile.is_eager() {
                    self.promote_locked(&mut inner);
                }
                return waiting.connection;
            }
            if inner.leader {
                inner.parked.push(slot);
                drop(inner);
                self.park(slot);
                continue;
            }
            inner.leader = true;
            drop(inner);
            let mut events = [EpollEvent::empty(); BATCH];
            let got = self.epoll.wait(&mut events, EpollTimeout::NONE);
            let mut inner = lock::detached(&self.inner);
            inner.leader = false;
            match got {
                Ok(count) => inner.enqueue(&events[..count]),
                Err(Errno::EINTR) => {}
                // Nothing but a broken descriptor table leads here; without the
                // pause it would be a busy loop.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
    }

    /// A thread is done with a connection. Returns what became of it, and the
    /// next one from the queue for this thread.
    pub(crate) fn finish(
        &self,
        connection: Arc<Connection>,
        outcome: ConnectionOutcome,
    ) -> (Finished, Option<Arc<Connection>>) {
        let mut inner = lock::detached(&self.inner);
        let finished = self.settle(&mut inner, connection, outcome);
        let next = inner.queue.pop_front().map(|waiting| waiting.connection);
        if next.is_some() && self.load_profile.is_eager() {
            self.promote_locked(&mut inner);
        }
        (finished, next)
    }

    /// The ticker is done with a connection that `overdue` returned.
    pub(crate) fn give_back(
        &self,
        connection: Arc<Connection>,
        outcome: ConnectionOutcome,
    ) -> Finished {
        let mut inner = lock::detached(&self.inner);
        let finished = self.settle(&mut inner, connection, outcome);
        self.hand_over(&mut inner);
        finished
    }

    /// The ticker has put something into the queue; a thread may have become
    /// free meanwhile. A leader in `epoll_wait` does not look at the queue: a
    /// connection that is armed again is reported to it if there is something
    /// to read.
    fn hand_over(&self, inner: &mut Inner) {
        if !inner.leader {
            if !inner.queue.is_empty() {
                self.promote_locked(inner);
            }
            return;
        }
        while let Some(WaitingConnection { connection, .. }) = inner.queue.pop_front() {
            if let Some(held) = inner.held.get_mut(&connection.number) {
                held.state = Readiness::Idle;
            }
            // It is in the set for as long as it is held.
            let mut event = EpollEvent::new(EVENTS, connection.number);
            let _ = self.epoll.modify(&connection, &mut event);
        }
    }

    fn settle(
        &self,
        inner: &mut Inner,
        connection: Arc<Connection>,
        outcome: ConnectionOutcome,
    ) -> Finished {
        match outcome {
            ConnectionOutcome::Ended => {
                self.forget(inner, &connection);
                Finished::Closed(connection)
            }
            ConnectionOutcome::Unbegun => {
                self.forget(inner, &connection);
                Finished::Released(connection)
            }
            ConnectionOutcome::Free if inner.draining => {
                self.forget(inner, &connection);
                Finished::Released(connection)
            }
            ConnectionOutcome::Free => {
                inner.put_back(connection);
                Finished::Kept
            }
        }
    }

    /// Takes no request any more. Returns the connections nobody has begun with.
    pub(crate) fn drain(&self) -> Vec<Arc<Connection>> {
        let mut inner = lock::detached(&self.inner);
        inner.draining = true;
        let waiting = std::mem::take(&mut inner.queue);
        let held = inner.held.values();
        let idle = held.filter(|held| held.state == Readiness::Idle);
        let idle = idle.map(|held| Arc::clone(&held.connection));
        let waiting = waiting.into_iter().map(|waiting| waiting.connection);
        let left: Vec<_> = idle.chain(waiting).collect();
        for connection in &left {
            self.forget(&mut inner, connection);
        }
        left
    }

    /// Wakes a parked thread to become the leader, if there is none. Returns
    /// whether one was woken.
    pub(crate) fn promote(&self) -> bool {
        self.promote_locked(&mut lock::detached(&self.inner))
    }

    /// All threads are serving: looks for connections that wait for one, and
    /// takes those out of the queue that have waited since before `limit`.
    pub(crate) fn overdue(&self, limit: Instant) -> Vec<Arc<Connection>> {
        let mut inner = lock::detached(&self.inner);
        if inner.leader || !inner.parked.is_empty() {
            return Vec::new();
        }
        self.look(&mut inner);
        // The queue is in the order of time.
        let count = inner.queue.partition_point(|waiting| waiting.since < limit);
        let overdue = inner.queue.drain(..count);
        overdue.map(|waiting| waiting.connection).collect()
    }

    /// All threads are serving: the connections that wait behind so many
    /// others. They stay where they are.
    pub(crate) fn behind(&self, places: usize) -> Vec<Arc<Connection>> {
        let mut inner = lock::detached(&self.inner);
        if inner.leader || !inner.parked.is_empty() {
            return Vec::new();
        }
        self.look(&mut inner);
        inner
            .queue
            .iter()
            .skip(places)
            .map(|waiting| Arc::clone(&waiting.connection))
            .collect()
    }

    /// Takes a connection that `behind` returned out of the queue, if nobody
    /// has begun with it meanwhile.
    pub(crate) fn take_waiting(&self, connection: &Connection) -> bool {
        let mut inner = lock::detached(&self.inner);
        let at = inner
            .queue
            .iter()
            .position(|waiting| waiting.connection.number == connection.number);
        at.and_then(|at| inner.queue.remove(at)).is_some()
    }

    /// Lets go of a connection that `overdue` returned.
    pub(crate) fn release(&self, connection: Arc<Connection>) -> Finished {
        self.forget(&mut lock::detached(&self.inner), &connection);
        Finished::Released(connection)
    }

    /// Puts a connection back that `overdue` returned, to wait on.
    pub(crate) fn requeue(&self, connection: Arc<Connection>) -> Finished {
        let mut inner = lock::detached(&self.inner);
        if inner.draining {
            self.forget(&mut inner, &connection);
            return Finished::Released(connection);
        }
        inner.push_waiting(connection);
        self.hand_over(&mut inner);
        Finished::Kept
    }

    /// The threads that serve, each with its request.
    pub(crate) fn serving(&self) -> impl Iterator<Item = (&ThreadSlot, Arc<Exchange>)> {
        let slots = self.slots.iter();
        slots.filter_map(|slot| Some((slot, slot.serving()?)))
    }

    pub(crate) fn pressure(&self) -> Pressure {
        let inner = lock::detached(&self.inner);
        Pressure {
            leader: inner.leader,
            parked: inner.parked.len(),
            connections: inner.held.len(),
        }
    }

    /// All descriptors, for a forked child to get rid of.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let inner = lock::detached(&self.inner);
        let held = inner.held.values();
        let sockets = held.map(|held| held.connection.as_fd().as_raw_fd());
        sockets.chain([self.epoll.0.as_raw_fd()]).collect()
    }

    /// Puts what has become readable into the queue, in the place of a leader.
    fn look(&self, inner: &mut Inner) {
        let mut events = [EpollEvent::empty(); BATCH];
        while let Ok(count) = self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            inner.enqueue(&events[..count]);
            if count < BATCH {
                return;
            }
        }
    }

    fn forget(&self, inner: &mut Inner, connection: &Connection) {
        // A forked child may hold a copy of the descriptor, so that closing ours
        // would leave it in the set.
        let _ = self.epoll.delete(connection);
        inner.held.remove(&connection.number);
    }

    fn promote_locked(&self, inner: &mut Inner) -> bool {
        if inner.leader {
            return false;
        }
        let Some(parker) = inner.parked.pop().and_then(|slot| self.parkers.get(slot)) else {
            return false;
        };
        parker.woken.store(true, Ordering::Release);
        if let Some(thread) = parker.thread.get() {
            thread.unpark();
        }
        true
    }

    fn park(&self, slot: usize) {
        let Some(parker) = self.parkers.get(slot) else {
            return;
        };
        let _ = parker.thread.set(std::thread::current());
        while !parker.woken.swap(false, Ordering::Acquire) {
            std::thread::park();
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Pressure {
    /// Whether a thread waits in `epoll_wait`.
    pub(crate) leader: bool,
    pub(crate) parked: usize,
    pub(crate) connections: usize,
}

impl Pressure {
    /// Whether every thread is serving.
    pub(crate) const fn is_full(&self) -> bool {
        !self.leader && self.parked == 0
    }
}

impl Inner {
    fn enqueue(&mut self, events: &[EpollEvent]) {
        let since = Instant::now();
        for event in events {
            let Some(held) = self.held.get_mut(&event.data()) else {
                continue;
            };
            match held.state {
                Readiness::Idle => {
                    held.state = Readiness::Busy;
                    let connection = Arc::clone(&held.connection);
                    self.queue
                        .push_back(WaitingConnection { connection, since });
                }
                Readiness::Busy | Readiness::Dirty => held.state = Readiness::Dirty,
            }
        }
    }

    /// A connection that was served is idle again, or has to be looked at once
    /// more because an edge came meanwhile.
    fn put_back(&mut self, connection: Arc<Connection>) {
        let Some(held) = self.held.get_mut(&connection.number) else {
            return;
        };
        if held.state == Readiness::Dirty {
            held.state = Readiness::Busy;
            self.push_waiting(connection);
        } else {
            held.state = Readiness::Idle;
        }
    }

    fn push_waiting(&mut self, connection: Arc<Connection>) {
        let since = Instant::now();
        self.queue
            .push_back(WaitingConnection { connection, since });
    }
}
