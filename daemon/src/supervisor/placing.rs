//! How a connection finds a worker: it goes to the ready one with the least load,
//! or waits in a bounded queue, or is refused. The rules of the hand-over are
//! PROTOCOL.md §5. Called by `requests` and `messages`, and by the loop for held
//! connections.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use wsgid_protocol::{Failure, control::ToWorker};

use super::{Supervisor, hold_limits::HoldLimits, pools::PoolEntry};
use crate::channel::worker::Outgoing;
use crate::connection::connections::{ConnectionHolder, HeldEvent, RequestConnection, send_back};
use crate::connection::queue_front::QueueFront;
use wsgid_policy::ids::{ConnectionId, PoolId, WorkerId};
use wsgid_policy::placement::{self, Candidate};
use wsgid_policy::pool::Event;

/// How long a connection without worker and without request is kept.
const UNUSED_KEPT: Duration = Duration::from_secs(60);
/// Descriptors are short when no more than these are left.
const DESCRIPTORS_SPARE: u64 = 128;

/// A held request that does not wait for ever.
struct HeldRequest {
    id: ConnectionId,
    since: Instant,
    until: Instant,
    failure: Failure,
}

impl Supervisor {
    /// Gives a held connection to a worker, or lets it wait, or refuses it.
    /// `request` says that a request is on it or on its way.
    pub(super) fn place(&mut self, id: ConnectionId, request: bool, now: Instant) {
        let Some(pool) = self
            .connections
            .get(id)
            .map(|connection| connection.record.pool)
        else {
            return;
        };
        let chosen = placement::choose(&self.placement_candidates(pool), request, now);
        if let Some(worker) = chosen
            && self.assign(id, worker)
        {
            return;
        }
        let Some(entry) = self.pools.get(&pool) else {
            // The pool's last worker has ended, and left the request unread.
            let failure = if self.lifetime.is_followed {
                Failure::NotStarted
            } else {
                Failure::GroupStopped
            };
            return self.refuse(id, failure, "the process group has been removed");
        };
        if let Some((failure, text)) = entry.refusal() {
            return self.refuse(id, failure, &text);
        }
        if request {
            let waiting = self.connections.waiting(pool);
            self.pool_event(pool, Event::Waiting(waiting.max(1)));
        }
    }

    /// The workers of a pool that may get connections.
    fn placement_candidates(&self, pool: PoolId) -> Vec<Candidate> {
        let entry = self.pools.get(&pool);
        // Those that serve have old code.
        let entry = entry.filter(|entry| !entry.reload_wait.waits());
        let accepting = entry.map(|entry| entry.machine.accepting());
        let mut candidates = Vec::new();
        for id in accepting.into_iter().flatten() {
            if let Some(worker) = self.workers.get(&id) {
                candidates.push(Candidate {
                    worker: id,
                    connections: worker.connections.len(),
                    gave_back: worker.gave_back,
                    is_broken: worker.record.broken.is_some(),
                });
            }
        }
        candidates
    }

    /// Requests that go from one worker to the next are a queue as much as those
    /// that are held, if there is no worker left that could have a thread for them.
    fn note_full(&mut self, pool: PoolId, now: Instant) {
        let Some(entry) = self.pools.get(&pool) else {
            return;
        };
        // Others have all that they may have.
        let config = self.groups.config(&entry.group);
        if entry.machine.waiting() > 0 || config.is_none_or(|config| config.processes_max.is_none())
        {
            return;
        }
        if placement::are_all_full(&self.placement_candidates(pool), now) {
            self.pool_event(pool, Event::Waiting(1));
        }
    }

    /// Hands a connection to a worker. Returns whether it is settled: given,
    /// or ended because it belonged to another identity.
    fn assign(&mut self, id: ConnectionId, worker: WorkerId) -> bool {
        let Some(entry) = self.workers.get_mut(&worker) else {
            return false;
        };
        let Some(connection) = self.connections.get(id) else {
            return true;
        };
        let owner = entry.record.owner;
        if !connection.may_go_to(owner) {
            self.retire(id);
            return true;
        }
        let message = ToWorker::Assign {
            connection: id,
            nonce: connection.record.nonce,
        };
        let fds = vec![Arc::clone(&connection.fd) as Arc<dyn AsFd + Send + Sync>];
        if !entry.handle.send(Outgoing { message, fds }) {
            // The worker does not read its control socket: `look_around` ends it.
            entry.note_broken();
            return false;
        }
        entry.connections.insert(id);
        self.connections.assign(id, worker, owner);
        true
    }

    /// Ends a connection that is not used, whose worker has died, or that the new
    /// workers may not have: processes of its first identity may still hold copies of
    /// it. A request that nobody has begun is repeated by the module on another one;
    /// otherwise the connection is returned.
    pub(super) fn retire(&mut self, id: ConnectionId) -> Option<RequestConnection> {
        let connection = self.connections.remove(id)?;
        connection.close_for_sending();
        if connection.front() == QueueFront::Request {
            send_back(&*connection.fd);
            return None;
        }
        Some(connection)
    }

    fn refuse(&mut self, id: ConnectionId, failure: Failure, text: &str) {
        if failure.row().repeatable {
            // The module opens another one for its request.
            self.retire(id);
        } else if let Some(connection) = self.connections.remove(id) {
            connection.fail(failure, text);
        }
    }

    /// Tries every held connection of a pool again.
    pub(super) fn assign_held(&mut self, pool: PoolId, now: Instant) {
        let mut candidates = self.placement_candidates(pool);
        for id in self.connections.held(pool) {
            let connection = self.connections.get(id);
            let request = connection.is_some_and(RequestConnection::has_request);
            if let Some(worker) = placement::choose(&candidates, request, now) {
                let is_settled = self.assign(id, worker);
                candidates = self.placement_candidates(pool);
                if is_settled {
                    continue;
                }
            }
            let entry = self.pools.get(&pool);
            if let Some((failure, text)) = entry.and_then(PoolEntry::refusal) {
                self.refuse(id, failure, &text);
            }
        }
        let entry = self.pools.get(&pool);
        let is_told = entry.is_some_and(|entry| entry.machine.waiting() > 0);
        if is_told && self.connections.waiting(pool) == 0 {
            self.todo.push_back((pool, Event::Waiting(0)));
        }
    }

    /// A worker gave a connection back.
    pub(super) fn released(&mut self, worker: WorkerId, id: ConnectionId) {
        let now = Instant::now();
        if !self.take_from(worker, id) {
            return;
        }
        let Some(front) = self.connections.get(id).map(RequestConnection::front) else {
            return;
        };
        if front == QueueFront::Ended {
            self.connections.remove(id);
            return;
        }
        let request = front != QueueFront::Nothing;
        let mut full = None;
        let pool = self.workers.get(&worker).map(|entry| entry.record.pool);
        let waits = pool.is_some_and(|pool| self.waits_for_reload(pool, worker));
        if request
            && !waits
            && let Some(entry) = self.workers.get_mut(&worker)
            && self.pools.accepts(entry.record.pool, worker)
        {
            // A worker that does not leave had no thread for the request.
            entry.gave_back = Some(now);
            full = Some(entry.record.pool);
        }
        self.hold_and_place(id, request, now);
        if let Some(pool) = full {
            self.note_full(pool, now);
        }
    }

    /// Finds a worker for a connection that has none any more.
    pub(super) fn hold_and_place(&mut self, id: ConnectionId, request: bool, now: Instant) {
        match self.connections.hold(id, now) {
            Ok(()) => self.place(id, request, now),
            Err(error) => {
                log_line!(
                    CONNECTION_NOT_WATCHED,
                    "failed to watch a connection: {error}"
                );
                self.connections.remove(id);
            }
        }
    }

    /// A worker says that the module closed a connection.
    pub(super) fn closed(&mut self, worker: WorkerId, id: ConnectionId) {
        if self.take_from(worker, id) {
            self.connections.remove(id);
        }
    }

    /// Takes a connection from a worker, if that has it: a worker has no say about
    /// those of others.
    fn take_from(&mut self, worker: WorkerId, id: ConnectionId) -> bool {
        let its = self.connections.get(id).is_some_and(
            |connection| matches!(connection.holder, ConnectionHolder::Worker(holder) if holder == worker),
        );
        if its && let Some(entry) = self.workers.get_mut(&worker) {
            entry.connections.remove(&id);
        }
        its
    }

    pub(super) fn held_event(&mut self, id: ConnectionId, wait: u64, event: HeldEvent) {
        let Some(pool) = self.connections.note(id, wait, event) else {
            return;
        };
        match event {
            HeldEvent::Readable => self.place(id, true, Instant::now()),
            HeldEvent::Gone => {
                self.pool_event(pool, Event::Waiting(self.connections.waiting(pool)))
            }
        }
    }

    /// When held requests of a pool have to be looked at although nothing happens:
    /// the first has waited long enough, or a worker that was full is worth
    /// another try.
    pub(super) fn next_look_at_held(&self, pool: PoolId, now: Instant) -> Option<Instant> {
        let (_, waiting) = self.held_requests(pool)?;
        let expiry = waiting.iter().map(|request| request.until).min();
        let next_try = placement::next_try(&self.placement_candidates(pool), now);
        expiry.into_iter().chain(next_try).min()
    }

    /// The held requests of a pool that do not wait for ever, if any are held.
    fn held_requests(&self, pool: PoolId) -> Option<(HoldLimits, Vec<HeldRequest>)> {
        let held = self.connections.held(pool).into_iter();
        let mut requests = held
            .filter_map(|id| Some((id, self.connections.get(id)?.waits_since()?)))
            .enumerate()
            .peekable();
        requests.peek()?;
        let entry = self.pools.get(&pool)?;
        let limits = HoldLimits::new(self.groups.config(&entry.group)?, entry.serves());
        let mut limited = Vec::new();
        for (place, (id, since)) in requests {
            if let Some((limit, failure)) = limits.limit(place) {
                limited.push(HeldRequest {
                    id,
                    since,
                    until: since + limit,
                    failure,
                });
            }
        }
        Some((limits, limited))
    }

    /// Refuses what has waited long enough.
    pub(super) fn expire_held(&mut self, pool: PoolId, now: Instant) {
        let Some((limits, waiting)) = self.held_requests(pool) else {
            return;
        };
        let name = self.pools.name(pool);
        for request in waiting.iter().filter(|request| request.until <= now) {
            let waited = now.duration_since(request.since).as_secs_f64();
            let text = if request.failure == Failure::QueueFull {
                format!(
                    "{name}: {} requests wait already (listen-backlog), for {waited:.1} s",
                    limits.backlog
                )
            } else {
                format!("{name}: no worker was free for {waited:.1} s")
            };
            self.refuse(request.id, request.failure, &text);
        }
    }

    /// Once a second: httpd's children keep connections to groups that have no
    /// worker any more. Who has not used one for long opens another when it is
    /// needed; with descriptors running short, so does everybody.
    pub(super) fn tidy_connections(&mut self, now: Instant) {
        let used = self.connections.len()
            + self.connections.held_len()
            + 7 * self.workers.len()
            + self.logs.files.len();
        let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let is_short = used as u64 + DESCRIPTORS_SPARE >= most;
        let keep = if is_short {
            Duration::ZERO
        } else {
            UNUSED_KEPT
        };
        if let Some(then) = now.checked_sub(keep) {
            self.close_unused(then);
        }
    }

    pub(super) fn close_unused(&mut self, since: Instant) {
        for id in self.connections.unused_since(since) {
            self.retire(id);
        }
    }
}
