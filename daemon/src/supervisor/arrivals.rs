//! Connections that have no pool yet: those that are ahead of the configuration of
//! their httpd generation, and those whose application group has no room. Filled
//! by `requests` and `requested`. Knows nothing of what they wait for.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::connection::listener::NewConnection;
use wsgid_policy::peer_quota::{Peer, PeerQuota};
use wsgid_policy::room;

/// How many HELLOs may be ahead of their configuration.
const EARLY_MAX: usize = 1024;
/// Those of one httpd child, or of one other user.
const EARLY_EACH: usize = 512;
pub(super) const EARLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that waits until then.
pub(super) struct Arrival {
    pub(super) until: Instant,
    pub(super) incoming: NewConnection,
}

pub(super) struct Arrivals {
    early: PeerQuota<Arrival>,
    without_room: Vec<Arrival>,
    looked_for_room: Instant,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self {
            early: PeerQuota::new(EARLY_EACH, EARLY_MAX),
            without_room: Vec::new(),
            looked_for_room: Instant::now(),
        }
    }

    /// When one of them has to be looked at.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let early = self.early.iter().map(|arrival| arrival.until).min();
        let room = self.next_look_for_room();
        early.into_iter().chain(room).min()
    }

    /// Takes in a connection that is ahead of its configuration. Returns the one that
    /// had to go for it.
    pub(super) fn keep_early(&mut self, peer: Peer, arrival: Arrival) -> Option<NewConnection> {
        let (_, gone) = self.early.take(peer, arrival);
        gone.map(|gone| gone.incoming)
    }

    pub(super) fn take_early(&mut self) -> Vec<Arrival> {
        self.early.take_out(|_| true)
    }

    /// Connections that have waited long enough for their configuration.
    pub(super) fn take_expired(&mut self, now: Instant) -> Vec<Arrival> {
        if self.early.iter().all(|arrival| arrival.until > now) {
            return Vec::new();
        }
        self.early.take_out(|arrival| arrival.until <= now)
    }

    pub(super) fn keep_without_room(&mut self, arrival: Arrival) {
        self.without_room.push(arrival);
    }

    /// How many of a process group wait for room.
    pub(super) fn len_without_room(&self, group: &str) -> usize {
        self.without_room_of(group).count()
    }

    /// How many other names of the group wait for room, ahead of this one.
    pub(super) fn names_ahead(&self, group: &str, application_group: &str) -> usize {
        let names = self
            .without_room_of(group)
            .map(|incoming| incoming.hello.application_group.as_str());
        let others: BTreeSet<&str> = names
            .take_while(|name| *name != application_group)
            .collect();
        others.len()
    }

    fn without_room_of(&self, group: &str) -> impl Iterator<Item = &NewConnection> {
        let all = self.without_room.iter().map(|arrival| &arrival.incoming);
        all.filter(move |incoming| incoming.hello.group == group)
    }

    fn next_look_for_room(&self) -> Option<Instant> {
        (!self.without_room.is_empty()).then(|| self.looked_for_room + room::LOOK_INTERVAL)
    }

    /// Connections for which room is to be looked for again, oldest first.
    pub(super) fn take_for_room(&mut self, now: Instant) -> Vec<Arrival> {
        if self.next_look_for_room().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.looked_for_room = now;
        std::mem::take(&mut self.without_room)
    }

    /// All of them: nobody is going to place them any more.
    pub(super) fn take_all(&mut self) -> Vec<NewConnection> {
        let mut all = self.take_early();
        all.append(&mut self.without_room);
        all.into_iter().map(|arrival| arrival.incoming).collect()
    }
}
