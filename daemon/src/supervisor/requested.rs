//! Application groups whose names requests make (`from_request` of HELLO): they
//! get room up to a bound on their processes, the one least recently used goes
//! for another, and what nobody uses is forgotten. The rules are in `room`.

use std::time::Instant;

use super::{Supervisor, arrivals::Arrival, pools::PoolEntry};
use crate::connection::{connections::send_fail, listener::NewConnection};
use wsgid_policy::ids::PoolId;
use wsgid_policy::pool::{Event, Mode};
use wsgid_policy::room::{self, RequestedName, Room};
use wsgid_protocol::{Failure, GroupConfig, readable::escaped};

/// Whether the configuration names this application group.
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
        let most = room::most(config);
        let backlog = config.listen_backlog as usize;
        let ahead = self
            .arrivals
            .names_ahead(&hello.group, &hello.application_group);
        match room::find(&self.candidates(&hello.group), most, ahead) {
            Room::Free => return Some(incoming),
            Room::After(pool) => self.send_away(pool),
            Room::Coming | Room::None => {}
        }
        let until = until.unwrap_or(now + room::WAIT);
        if until <= now || self.arrivals.len_without_room(&hello.group) >= backlog {
            refuse(&incoming, most);
        } else {
            self.arrivals.keep_without_room(Arrival { until, incoming });
        }
        None
    }

    /// The application groups of a process group that requests named, those on
    /// their way out included: their processes are still there.
    fn candidates(&self, group: &str) -> Vec<RequestedName> {
        let entries = self.pools.values();
        entries
            .filter(|entry| entry.from_request && entry.group == group)
            .map(|entry| self.candidate(entry))
            .collect()
    }

    fn candidate(&self, entry: &PoolEntry) -> RequestedName {
        let mut runs = false;
        let mut used = entry.used;
        for (id, _) in entry.machine.members() {
            if let Some(worker) = self.workers.get(&id) {
                runs |= worker.record.report.in_flight > 0;
                if worker.record.report.requests > 0 {
                    used = used.max(worker.record.active_at);
                }
            }
        }
        RequestedName {
            pool: entry.id,
            busy: runs || self.connections.waiting(entry.id) > 0,
            leaving: matches!(entry.machine.mode(), Mode::Leaving { .. }),
            used,
        }
    }

    /// Drains an application group that requests named. Whoever has a connection
    /// to it opens another, which makes it anew.
    fn send_away(&mut self, pool: PoolId) {
        let Some(entry) = self.pools.get_mut(&pool) else {
            return;
        };
        entry.is_forgotten = true;
        tracing::trace!("{}: nobody asks for it: it is forgotten", entry.name());
        if let Some(group) = self.groups.get_mut(&entry.group) {
            group.forget_pool(&entry.application_group, pool);
        }
        for id in self.connections.held(pool) {
            self.retire(id);
        }
        self.pool_event(pool, Event::Remove);
    }

    /// Once a second: application groups that nobody has used for long.
    pub(super) fn forget_unused(&mut self, now: Instant) {
        let named = self.pools.values().filter(|entry| entry.from_request);
        let all: Vec<RequestedName> = named.map(|entry| self.candidate(entry)).collect();
        for pool in room::unused(&all, now) {
            self.send_away(pool);
        }
    }

    /// Tries again what waits for room, in the order in which it came.
    pub(super) fn look_for_room(&mut self, now: Instant) {
        for Arrival { until, incoming } in self.arrivals.take_for_room(now) {
            if self.lifetime.is_leaving {
                // Nothing may be made any more.
                send_fail(&incoming.fd, Failure::GroupStopped, "the supervisor ends");
            } else if let Some(incoming) = self.with_room(incoming, Some(until), now) {
                self.serve_connection(incoming, now);
            }
        }
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
    tracing::trace!("{text}");
    send_fail(&incoming.fd, Failure::QueueFull, &text);
}
