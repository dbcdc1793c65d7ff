//! Traces as the supervisor has them: who may tell spans, and where those of each group go.
//! Called by the loop for a HELLO that names `wsgid:spans`, and where groups are defined.

use wsgid_protocol::Failure;

use super::Supervisor;
use crate::channel::closing::Guarded;
use crate::connection::connections::send_fail;

impl Supervisor {
    /// Has spans read, if they come from a child of this httpd: other programs run as its user too.
    pub(super) fn take_spans(&self, fd: Guarded, peer: Option<u32>, secret: &[u8; 32]) {
        let is_httpd = peer.is_some_and(|peer| self.access.allowed.is_httpd(peer));
        if is_httpd && self.access.secret_is_right(secret) {
            self.traces.take(fd);
        } else {
            let text = "spans come from the httpd of this supervisor";
            send_fail(&fd, Failure::NotAllowed, text);
        }
    }

    /// The spans of each group go where its definition says.
    pub(super) fn keep_traces(&mut self) {
        let groups = self.groups.iter();
        let traced = groups.filter_map(|(name, group)| {
            let endpoint = group.definition.config.otlp_endpoint.clone()?;
            Some((name.clone(), endpoint))
        });
        self.traces.follow(traced.collect());
    }
}
