//! What becomes of a HELLO: it is checked, waits for its configuration or for room,
//! or its connection goes to the pool that it names (`placing`). Called by the loop
//! and by `configure`, which makes early ones right.

use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{getsockopt, sockopt};

use super::arrivals::{Arrival, EARLY_TIMEOUT};
use super::{Supervisor, configure::Asker};
use crate::connection::connections::{send_back, send_fail};
use crate::connection::listener::NewConnection;
use wsgid_policy::peer_quota::Peer;
use wsgid_protocol::{Failure, names, readable::escaped, request::Hello};

impl Supervisor {
    /// A module said HELLO. `deadline` is set if it was put off before.
    pub(super) fn incoming(&mut self, mut incoming: NewConnection, deadline: Option<Instant>) {
        let credentials = getsockopt(&incoming.fd, sockopt::PeerCredentials).ok();
        let peer = credentials.map(|peer| peer.uid());
        if incoming.hello.group == names::STATUS {
            self.show_status(incoming.fd, peer, &incoming.hello.secret);
            return;
        }
        if incoming.hello.group == names::SPANS {
            self.take_spans(incoming.fd, peer, &incoming.hello.secret);
            return;
        }
        if self.lifetime.is_followed {
            return send_back(&incoming.fd);
        }
        let now = Instant::now();
        let until = deadline.unwrap_or(now + EARLY_TIMEOUT);
        if until > now && self.is_early(&incoming.hello) {
            let unknown = Peer {
                uid: u32::MAX,
                pid: None,
            };
            let peer = credentials.map_or(unknown, |peer| self.access.allowed.peer(&peer));
            if let Some(gone) = self.arrivals.keep_early(peer, Arrival { until, incoming }) {
                let text = "too many connections wait for the configuration of their httpd generation already";
                send_fail(&gone.fd, Failure::QueueFull, text);
            }
            return;
        }
        if let Err((failure, text)) = self.admit(&incoming.hello, peer) {
            log_line!(
                CONNECTION_REFUSED,
                "a connection from httpd child {} was refused ({}): {text}",
                incoming.hello.pid,
                failure.row().name
            );
            return send_fail(&incoming.fd, failure, &text);
        }
        incoming.fd.belongs_to(incoming.hello.group.as_str());
        if let Some(incoming) = self.with_room(incoming, None, now) {
            self.serve_connection(incoming, now);
        }
    }

    /// Whether the configuration that this HELLO speaks of may be on its way.
    fn is_early(&self, hello: &Hello) -> bool {
        let newest = self.access.newest();
        let is_ahead =
            self.source.is_none() && newest.is_none_or(|newest| hello.generation > newest);
        is_ahead
            && !self.lifetime.is_leaving
            && (!self.groups.contains_key(&hello.group)
                || !self.access.secret_is_right(&hello.secret))
    }

    fn admit(&self, hello: &Hello, peer: Option<u32>) -> Result<(), (Failure, String)> {
        if !self.access.secret_is_right(&hello.secret) {
            let text = "the connection does not come from this supervisor's httpd";
            return Err((Failure::NotAllowed, text.to_owned()));
        }
        if let Some(mismatch) = hello.version_mismatch() {
            return Err((Failure::VersionMismatch, mismatch));
        }
        let name = escaped(hello.group.as_bytes());
        let group = self.groups.get(&hello.group);
        let Some(group) = group.filter(|group| !group.removed && !self.lifetime.is_leaving) else {
            let text = format!("process group `{name}` is not defined");
            return Err((Failure::NoSuchGroup, text));
        };
        let is_let_in = |peer| self.access.allowed.is_httpd(peer) || group.socket_uid == Some(peer);
        if !peer.is_some_and(is_let_in) {
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

    /// Finds a worker for a connection that may be served.
    pub(super) fn serve_connection(&mut self, incoming: NewConnection, now: Instant) {
        let Hello {
            group,
            application_group,
            nonce,
            from_request,
            ..
        } = incoming.hello;
        let asker = Asker {
            eager: false,
            from_request,
        };
        let Some(pool) = self.pool_for(&group, &application_group, asker) else {
            let text = format!(
                "process group `{}` is not defined any more",
                escaped(group.as_bytes())
            );
            return send_fail(&incoming.fd, Failure::NoSuchGroup, &text);
        };
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.used = now;
        }
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
                let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
                let text = format!(
                    "the supervisor failed to take a connection in: {error}; it may have {limit} descriptors: raise the limit on open files that httpd is started with"
                );
                log_line!(CONNECTION_NOT_TAKEN, "{text}");
                send_fail(&*fd, Failure::SpawnFailed, &text);
            }
        }
    }

    /// Has the module repeat what has not come so far as to wait for a worker.
    pub(super) fn send_back_unplaced(&mut self) {
        for incoming in self.arrivals.take_all() {
            send_back(&incoming.fd);
        }
    }

    /// HELLOs that came before their configuration.
    pub(super) fn retry_early(&mut self) {
        for Arrival { until, incoming } in self.arrivals.take_early() {
            self.incoming(incoming, Some(until));
        }
    }

    /// HELLOs that have waited long enough for their configuration.
    pub(super) fn expire_early(&mut self, now: Instant) {
        for Arrival { incoming, .. } in self.arrivals.take_expired(now) {
            self.incoming(incoming, Some(now));
        }
    }
}
