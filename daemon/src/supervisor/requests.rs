//! How a request finds a worker: HELLO is checked, the connection goes to the
//! ready worker with the least load, or waits in a bounded queue. The rules of
//! the hand-over are PROTOCOL.md §5.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{getsockopt, sockopt};
use wsgid_protocol::Failure;
use wsgid_protocol::control::ToWorker;
use wsgid_protocol::names;
use wsgid_protocol::request::Hello;

use super::configure::Asker;
use super::status_page;
use super::{EARLY_TIMEOUT, Supervisor};
use crate::channel::worker::Outgoing;
use crate::connection::connections::{Connection, ConnectionHolder, HeldEvent, send_fail};
use crate::connection::listener::NewConnection;
use crate::connection::queue_front::QueueFront;
use crate::log::escaped;
use wsgid_policy::ids::{ConnectionId, PoolId, WorkerId};
use wsgid_policy::peer_quota::Peer;
use wsgid_policy::placement::{self, Candidate};
use wsgid_policy::pool::Event;

/// A connection that no worker has is kept for so long without a request.
const UNUSED_KEPT: Duration = Duration::from_secs(60);
/// Descriptors are short when no more than these are left.
const DESCRIPTORS_SPARE: u64 = 128;

impl Supervisor {
    /// A module said HELLO. `deadline` is set if it was put off before.
    pub(super) fn incoming(&mut self, mut incoming: NewConnection, deadline: Option<Instant>) {
        let credentials = getsockopt(&incoming.fd.as_fd(), sockopt::PeerCredentials).ok();
        let peer = credentials.map(|peer| peer.uid());
        if incoming.hello.group == names::STATUS {
            self.show_status(incoming.fd, peer, &incoming.hello.secret);
            return;
        }
        if self.is_followed {
            return send_back(&incoming);
        }
        let now = Instant::now();
        let ahead = self.source.is_none()
            && self
                .known
                .keys()
                .next_back()
                .is_none_or(|newest| incoming.hello.generation > *newest);
        let unknown = !self.groups.contains_key(&incoming.hello.group)
            || !self.secret_is_right(&incoming.hello.secret);
        let deadline = deadline.unwrap_or(now + EARLY_TIMEOUT);
        if ahead && unknown && deadline > now && !self.leaving {
            // All of httpd's children are the same user.
            let pid = credentials
                .filter(|peer| self.allowed.is_httpd(peer.uid()))
                .map(|peer| peer.pid());
            let place = Peer {
                uid: peer.unwrap_or(u32::MAX),
                pid,
            };
            if let (_, Some((_, gone))) = self.early.take(place, (deadline, incoming)) {
                let text = "too many connections wait for the configuration of their httpd generation already";
                let _ = send_fail(gone.fd.as_fd(), Failure::QueueFull, text);
            }
            return;
        }
        if let Err((failure, text)) = self.admit(&incoming.hello, peer) {
            tracing::warn!(
                "a connection from httpd child {} was refused ({}): {text}",
                incoming.hello.pid,
                failure.row().name
            );
            let _ = send_fail(incoming.fd.as_fd(), failure, &text);
            return;
        }
        incoming.fd.belongs_to(incoming.hello.group.as_str());
        if let Some(incoming) = self.with_room(incoming, None, now) {
            self.serve_connection(incoming, now);
        }
    }

    /// Finds a worker for a connection that may be served.
    pub(super) fn serve_connection(&mut self, incoming: NewConnection, now: Instant) {
        let Hello {
            group,
            application_group,
            nonce,
            from_request,
            ..
        } = incoming.hello;
        let Some(pool) = self.pool_for(
            &group,
            &application_group,
            Asker {
                eager: false,
                from_request,
            },
        ) else {
            let text = format!(
                "process group `{}` is not defined any more",
                escaped(group.as_bytes())
            );
            let _ = send_fail(incoming.fd.as_fd(), Failure::NoSuchGroup, &text);
            return;
        };
        self.pools
            .get_mut(&pool)
            .into_iter()
            .for_each(|entry| entry.used = now);
        let added = self
            .connections
            .add(Arc::new(incoming.fd), nonce, pool, now)
            .or_else(|(_, fd)| {
                // Without a descriptor left: those that nobody uses have to go.
                self.close_unused(now);
                self.connections.add(fd, nonce, pool, now)
            });
        match added {
            Ok(id) => self.place(id, true, now),
            Err((error, fd)) => {
                let limit = getrlimit(Resource::RLIMIT_NOFILE)
                    .map(|(soft, _)| soft)
                    .unwrap_or_default();
                let text = format!(
                    "the supervisor failed to take a connection in: {error}; it may have {limit} descriptors: raise the limit on open files that httpd is started with"
                );
                tracing::error!("{text}");
                let _ = send_fail(fd.as_fd(), Failure::SpawnFailed, &text);
            }
        }
    }

    /// Has the module repeat what has not come so far as to wait for a worker.
    pub(super) fn send_back_unplaced(&mut self) {
        let early = self
            .early
            .take_out(|_| true)
            .into_iter()
            .map(|(_, incoming)| incoming);
        let unplaced: Vec<NewConnection> = early.chain(self.take_waiting_for_room()).collect();
        unplaced.iter().for_each(send_back);
    }

    /// Once a second: httpd's children keep connections to groups that have no
    /// worker any more. Who has not used one for long opens another when it is
    /// needed; with descriptors running short, so does everybody.
    pub(super) fn tidy_connections(&mut self, now: Instant) {
        let used = self.connections.len()
            + self.connections.held_len()
            + 7 * self.workers.len()
            + self.files.len();
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

    fn close_unused(&mut self, since: Instant) {
        self.connections
            .unused_since(since)
            .into_iter()
            .for_each(|id| self.retire(id));
    }

    /// Whether this HELLO may be served at all.
    fn admit(&self, hello: &Hello, peer: Option<u32>) -> Result<(), (Failure, String)> {
        if !self.secret_is_right(&hello.secret) {
            return Err((
                Failure::NotAllowed,
                "the connection does not come from this supervisor's httpd".to_owned(),
            ));
        }
        if !hello.is_spoken() {
            return Err((Failure::VersionMismatch, hello.version_mismatch()));
        }
        let name = escaped(hello.group.as_bytes());
        let group = self
            .groups
            .get(&hello.group)
            .filter(|group| !group.removed && !self.leaving);
        let Some(group) = group else {
            return Err((
                Failure::NoSuchGroup,
                format!("process group `{name}` is not defined"),
            ));
        };
        if !peer.is_some_and(|peer| self.allowed.is_httpd(peer) || group.visitor == Some(peer)) {
            let uid = peer.map_or_else(|| "?".to_owned(), |uid| uid.to_string());
            let text = format!("uid {uid} is not the socket-user= of process group `{name}`");
            return Err((Failure::NotAllowed, text));
        }
        if group.definition.config.threads == 0 {
            let text = format!(
                "process group `{name}` has threads=0: it is a service and takes no requests"
            );
            return Err((Failure::NotAllowed, text));
        }
        Ok(())
    }

    pub(super) fn secret_is_right(&self, secret: &[u8; 32]) -> bool {
        // Each byte is looked at, so that time tells nothing.
        let same = |known: &[u8; 32]| {
            known
                .iter()
                .zip(secret)
                .fold(0, |sum, (a, b)| sum | (a ^ b))
                == 0
        };
        self.known.values().fold(false, |found, known| {
            found | known.secret.as_ref().is_none_or(same)
        })
    }

    /// Gives a held connection to a worker, or lets it wait, or refuses it.
    /// `request` says that a request is on it or on its way.
    pub(super) fn place(&mut self, id: ConnectionId, request: bool, now: Instant) {
        let Some(pool) = self.connections.get(id).map(|connection| connection.pool) else {
            return;
        };
        if let Some(worker) = self.choose(pool, request, now)
            && self.assign(id, worker)
        {
            return;
        }
        let Some(entry) = self.pools.get_mut(&pool) else {
            // Its last worker has ended, and left this unread.
            let failure = if self.is_followed {
                Failure::NotStarted
            } else {
                Failure::GroupStopped
            };
            return self.refuse(id, failure, "the process group has been removed");
        };
        if let Some((failure, text)) = entry.refusing.clone() {
            self.refuse(id, failure, &text);
            return;
        }
        let waiting = self.connections.waiting(pool);
        if !request {
            return;
        }
        entry.told_waiting = true;
        let since = self
            .connections
            .get(id)
            .and_then(Connection::waits_since)
            .unwrap_or(now);
        let limit = self.patience(pool).limit(waiting.saturating_sub(1));
        if let (Some((limit, _)), Some(entry)) = (limit, self.pools.get_mut(&pool)) {
            let deadline = since + limit;
            entry.held_deadline = Some(entry.held_deadline.map_or(deadline, |at| at.min(deadline)));
        }
        self.todo.push_back((pool, Event::Waiting(waiting.max(1))));
        self.settle();
    }

    /// The workers of a pool that may get connections.
    fn placement_candidates(&self, pool: PoolId) -> Vec<Candidate> {
        let entry = self.pools.get(&pool);
        let serving = entry
            .into_iter()
            .flat_map(|entry| entry.machine.accepting());
        serving
            .filter_map(|id| {
                let worker = self.workers.get(&id)?;
                Some(Candidate {
                    worker: id,
                    connections: worker.connections.len(),
                    gave_back: worker.gave_back,
                    is_broken: worker.broken.is_some(),
                })
            })
            .collect()
    }

    fn choose(&self, pool: PoolId, request: bool, now: Instant) -> Option<WorkerId> {
        placement::choose(&self.placement_candidates(pool), request, now)
    }

    /// Requests that go from one worker to the next are a queue as much as those
    /// that are held, if there is no worker left that could have a thread for them.
    fn note_full(&mut self, pool: PoolId, now: Instant) {
        let Some(entry) = self.pools.get(&pool).filter(|entry| !entry.told_waiting) else {
            return;
        };
        // Others have all that they may have.
        if self
            .groups
            .get(&entry.group)
            .is_none_or(|group| group.definition.config.processes_max.is_none())
        {
            return;
        }
        if placement::are_all_full(&self.placement_candidates(pool), now) {
            self.pools
                .get_mut(&pool)
                .into_iter()
                .for_each(|entry| entry.told_waiting = true);
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
        if !connection.may_go_to(entry.owner) {
            self.retire(id);
            return true;
        }
        let message = ToWorker::Assign {
            connection: id,
            nonce: connection.nonce,
        };
        let fds = vec![Arc::clone(&connection.fd) as Arc<dyn AsFd + Send + Sync>];
        if !entry.handle.send(Outgoing { message, fds }) {
            // It does not read its control socket: `look_around` ends it.
            entry.broken.get_or_insert_with(Instant::now);
            return false;
        }
        entry.connections.insert(id);
        let owner = entry.owner;
        self.connections.assign(id, worker, owner);
        true
    }

    /// Ends a connection that is not used, or that the new workers may not have:
    /// processes of its first identity may still hold copies of it. A request
    /// that waits on it is repeated by the module on another one.
    pub(super) fn retire(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.remove(id) else {
            return;
        };
        connection.close_for_sending();
        if connection.front() == QueueFront::Request {
            connection.fail(Failure::NotStarted, Failure::NotStarted.row().text);
        }
    }

    /// Answers with FAIL and closes.
    fn refuse(&mut self, id: ConnectionId, failure: Failure, text: &str) {
        if failure.row().repeatable {
            // The module opens another one for its request.
            return self.retire(id);
        }
        if let Some(connection) = self.connections.remove(id) {
            connection.fail(failure, text);
        }
    }

    /// Tries every held connection of a pool again.
    pub(super) fn assign_held(&mut self, pool: PoolId, now: Instant) {
        for id in self.connections.held(pool) {
            let request = self
                .connections
                .get(id)
                .is_some_and(Connection::has_request);
            if self
                .choose(pool, request, now)
                .is_some_and(|worker| self.assign(id, worker))
            {
                continue;
            }
            if let Some((failure, text)) = self
                .pools
                .get(&pool)
                .and_then(|entry| entry.refusing.clone())
            {
                self.refuse(id, failure, &text);
            }
        }
        let waiting = self.connections.waiting(pool);
        let next_try = placement::next_try(&self.placement_candidates(pool), now);
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        entry.retry_at = if waiting > 0 { next_try } else { None };
        if waiting == 0 {
            entry.held_deadline = None;
            if entry.told_waiting {
                entry.told_waiting = false;
                self.todo.push_back((pool, Event::Waiting(0)));
            }
        }
    }

    /// A worker gave a connection back.
    pub(super) fn released(&mut self, worker: WorkerId, id: ConnectionId) {
        let now = Instant::now();
        if !self.take_from(worker, id) {
            return;
        }
        let Some(front) = self.connections.get(id).map(Connection::front) else {
            return;
        };
        if front == QueueFront::Ended {
            self.connections.remove(id);
            return;
        }
        let request = front != QueueFront::Nothing;
        let mut full = None;
        if request && self.is_accepting(worker) {
            // It did not leave, so it has no thread for it.
            if let Some(entry) = self.workers.get_mut(&worker) {
                entry.gave_back = Some(now);
                full = Some(entry.pool);
            }
        }
        self.hold_and_place(id, request, now);
        if let Some(pool) = full {
            self.note_full(pool, now);
        }
    }

    /// Nobody serves this connection any more; find somebody.
    pub(super) fn hold_and_place(&mut self, id: ConnectionId, request: bool, now: Instant) {
        match self.connections.hold(id, now) {
            Ok(()) => self.place(id, request, now),
            Err(error) => {
                tracing::error!("failed to watch a connection: {error}");
                self.connections.remove(id);
            }
        }
    }

    fn is_accepting(&self, worker: WorkerId) -> bool {
        let pool = self
            .workers
            .get(&worker)
            .and_then(|entry| self.pools.get(&entry.pool));
        pool.is_some_and(|pool| pool.machine.accepts(worker))
    }

    /// A worker says that the module closed a connection.
    pub(super) fn closed(&mut self, worker: WorkerId, id: ConnectionId) {
        if self.take_from(worker, id) {
            self.connections.remove(id);
        }
    }

    /// Takes a connection from a worker, if it has it: what it says about
    /// those of others is nothing to us.
    fn take_from(&mut self, worker: WorkerId, id: ConnectionId) -> bool {
        let its = self.connections.get(id).is_some_and(
            |connection| matches!(connection.holder, ConnectionHolder::Worker(holder) if holder == worker),
        );
        if its && let Some(entry) = self.workers.get_mut(&worker) {
            entry.connections.remove(&id);
        }
        its
    }

    /// A held connection did something.
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

    /// Refuses what has waited long enough.
    pub(super) fn expire_held(&mut self, pool: PoolId, now: Instant) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        if entry.held_deadline.is_none_or(|at| at > now) {
            return;
        }
        let (name, patience) = (entry.name(), self.patience(pool));
        let (mut next, mut place) = (None::<Instant>, 0);
        for id in self.connections.held(pool) {
            let Some(ConnectionHolder::Held {
                since,
                request: true,
                ..
            }) = self.connections.get(id).map(|c| &c.holder)
            else {
                continue;
            };
            let (since, limit) = (*since, patience.limit(place));
            place += 1;
            let Some((limit, failure)) = limit else {
                continue;
            };
            if since + limit > now {
                next = Some(next.map_or(since + limit, |at| at.min(since + limit)));
                continue;
            }
            let waited = now.duration_since(since).as_secs_f64();
            let text = match failure {
                Failure::QueueFull => {
                    format!(
                        "{name}: {} requests wait already (listen-backlog), for {waited:.1} s",
                        patience.backlog
                    )
                }
                _ => format!("{name}: no worker was free for {waited:.1} s"),
            };
            self.refuse(id, failure, &text);
        }
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.held_deadline = next;
        }
    }

    fn patience(&self, pool: PoolId) -> Patience {
        let entry = self.pools.get(&pool);
        let group = entry.and_then(|entry| self.groups.get(&entry.group));
        let Some((entry, group)) = entry.zip(group) else {
            return Patience::default();
        };
        let config = &group.definition.config;
        let ready = entry.serves();
        let queue = Some((config.queue_timeout, Failure::QueueTimeout));
        let startup = Some((config.startup_timeout, Failure::StartupTimeout)).filter(|_| !ready);
        let limits = [queue, startup]
            .into_iter()
            .flatten()
            .filter(|(limit, _)| !limit.is_zero());
        Patience {
            backlog: config.listen_backlog as usize,
            inside: limits.min_by_key(|(limit, _)| *limit),
            outside: config.connect_timeout,
        }
    }
}

/// Has the module send its request again, on another connection.
fn send_back(incoming: &NewConnection) {
    let _ = send_fail(
        incoming.fd.as_fd(),
        Failure::NotStarted,
        Failure::NotStarted.row().text,
    );
}

/// How long held requests of a pool may wait.
#[derive(Default)]
struct Patience {
    backlog: usize,
    inside: Option<(Duration, Failure)>,
    /// mod_wsgi: who finds the backlog full tries to connect for so long.
    outside: Duration,
}

impl Patience {
    /// The limit for the request at this place of the queue, from 0.
    fn limit(&self, place: usize) -> Option<(Duration, Failure)> {
        match place < self.backlog {
            true => self.inside,
            false => Some((self.outside, Failure::QueueFull)),
        }
    }
}
