//! Application groups whose names requests make (`from_request` of HELLO): they
//! get room up to a bound on their processes, the one least recently used goes
//! for another, and what nobody uses is forgotten. The rules are in `room` of the policy.

use std::os::fd::AsFd;
use std::time::Instant;

use wsgid_protocol::{Failure, GroupConfig};

use super::{PoolEntry, Supervisor};
use crate::connection::connections::send_fail;
use crate::connection::listener::NewConnection;
use crate::log::escaped;
use wsgid_policy::ids::PoolId;
use wsgid_policy::pool::{Event, Mode};
use wsgid_policy::room::{self, RequestedName, Room};

/// A connection for an application group that has no room yet.
pub(super) struct Waiting {
    until: Instant,
    incoming: NewConnection,
}

/// Whether the configuration itself names this application group.
pub(super) fn is_configured(config: &GroupConfig, application_group: &str) -> bool {
    application_group.is_empty()
        || config
            .preload_scripts
            .iter()
            .any(|preload| preload.application_group == application_group)
        || config
            .applications
            .iter()
            .any(|options| options.application_group == application_group)
}

impl Supervisor {
    /// Gives the connection back if its application group is there or may be made.
    /// Otherwise it waits, or was answered.
    pub(super) fn with_room(
        &mut self,
        mut incoming: NewConnection,
        until: Option<Instant>,
        now: Instant,
    ) -> Option<NewConnection> {
        let Some(group) = self.groups.get(&incoming.hello.group) else {
            return Some(incoming);
        };
        incoming.hello.from_request |= !room::believes(group.pools.len());
        let hello = &incoming.hello;
        let config = &group.definition.config;
        let exists = group.pools.contains_key(&hello.application_group);
        if exists || !hello.from_request || is_configured(config, &hello.application_group) {
            return Some(incoming);
        }
        let (most, backlog) = (room::most(config), config.listen_backlog as usize);
        let ahead = self.names_ahead(&hello.group, &hello.application_group);
        match room::find(&self.candidates(&hello.group), most, ahead) {
            Room::Free => return Some(incoming),
            Room::After(pool) => self.send_away(pool),
            Room::Coming | Room::None => {}
        }
        let of_group = |waiting: &&Waiting| waiting.incoming.hello.group == hello.group;
        let until = until.unwrap_or(now + room::WAIT);
        if until <= now || self.waiting_for_room.iter().filter(of_group).count() >= backlog {
            refuse(&incoming, most);
        } else {
            self.waiting_for_room.push(Waiting { until, incoming });
        }
        None
    }

    /// How many other names of the group wait for room.
    fn names_ahead(&self, group: &str, application_group: &str) -> usize {
        let hellos = self
            .waiting_for_room
            .iter()
            .map(|waiting| &waiting.incoming.hello);
        let names = hellos
            .filter(|hello| hello.group == group)
            .map(|hello| hello.application_group.as_str());
        let others: std::collections::BTreeSet<&str> = names
            .take_while(|name| *name != application_group)
            .collect();
        others.len()
    }

    /// The application groups of a process group that requests named, those on
    /// their way out included: their processes are still there.
    fn candidates(&self, group: &str) -> Vec<RequestedName> {
        let its = self
            .pools
            .iter()
            .filter(|(_, entry)| entry.from_request && entry.group == group);
        its.map(|(pool, entry)| self.candidate(*pool, entry))
            .collect()
    }

    fn candidate(&self, pool: PoolId, entry: &PoolEntry) -> RequestedName {
        let workers = || {
            entry
                .machine
                .members()
                .filter_map(|(id, _)| self.workers.get(&id))
        };
        let runs = workers().any(|worker| worker.report.in_flight > 0);
        let worked = workers()
            .filter(|worker| worker.report.requests > 0)
            .map(|worker| worker.active_at)
            .max();
        RequestedName {
            pool,
            busy: runs || self.connections.waiting(pool) > 0,
            leaving: matches!(entry.machine.mode(), Mode::Leaving { .. }),
            used: worked.map_or(entry.used, |at| at.max(entry.used)),
        }
    }

    /// Drains an application group that requests named. Whoever has a connection
    /// to it opens another, which makes it anew.
    fn send_away(&mut self, pool: PoolId) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        entry.is_forgotten = true;
        tracing::debug!("{}: nobody asks for it: it is forgotten", entry.name());
        if let Some(group) = self.groups.get_mut(&entry.group)
            && group.pools.get(&entry.application_group) == Some(&pool)
        {
            group.pools.remove(&entry.application_group);
        }
        for id in self.connections.held(pool) {
            self.retire(id);
        }
        self.pool_event(pool, Event::Remove);
    }

    /// Once a second: application groups that nobody has used for long.
    pub(super) fn forget_unused(&mut self, now: Instant) {
        let named = self.pools.iter().filter(|(_, entry)| entry.from_request);
        let all: Vec<RequestedName> = named
            .map(|(pool, entry)| self.candidate(*pool, entry))
            .collect();
        room::unused(&all, now)
            .into_iter()
            .for_each(|pool| self.send_away(pool));
    }

    /// When the loop has to look for room without any event.
    pub(super) fn next_look_for_room(&self) -> Option<Instant> {
        (!self.waiting_for_room.is_empty()).then(|| self.looked_for_room + room::LOOK_INTERVAL)
    }

    /// Tries again what waits for room, in the order in which it came.
    pub(super) fn look_for_room(&mut self, now: Instant) {
        if self.next_look_for_room().is_none_or(|at| at > now) {
            return;
        }
        self.looked_for_room = now;
        if self.leaving {
            // Nothing may be made any more.
            let text = "the supervisor ends";
            return self.take_waiting_for_room().for_each(|incoming| {
                let _ = send_fail(incoming.fd.as_fd(), Failure::GroupStopped, text);
            });
        }
        for Waiting { until, incoming } in std::mem::take(&mut self.waiting_for_room) {
            if let Some(incoming) = self.with_room(incoming, Some(until), now) {
                self.serve_connection(incoming, now);
            }
        }
    }

    /// Those that wait for room, which nobody is going to make any more.
    pub(super) fn take_waiting_for_room(&mut self) -> impl Iterator<Item = NewConnection> + use<> {
        std::mem::take(&mut self.waiting_for_room)
            .into_iter()
            .map(|waiting| waiting.incoming)
    }
}

/// Answers a connection for which there is no room.
fn refuse(incoming: &NewConnection, most: usize) {
    let hello = &incoming.hello;
    let text = format!(
        "process group `{}`: the request would make the application group `{}`, and {most} that requests made are at work, which is the most; set WSGIApplicationGroup %{{GLOBAL}}, or name the application group in the configuration",
        escaped(hello.group.as_bytes()),
        escaped(hello.application_group.as_bytes())
    );
    tracing::debug!("{text}");
    let _ = send_fail(incoming.fd.as_fd(), Failure::QueueFull, &text);
}
