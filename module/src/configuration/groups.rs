//! The process groups as requests see them: made by the parent from the
//! configuration, frozen, inherited by its children. Decides from where a
//! group may be used.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::byte_rate::ByteRate;
use wsgid_protocol::names::{self, DEFAULT_GROUP};
use wsgid_protocol::ownership::Ownership;

use crate::configuration::names::Name;
use crate::configuration::settings::{DefinitionScope, GroupDefinition};
use crate::httpd::server::Server;

/// What a child needs to know of a group.
#[derive(Clone, Debug)]
pub(crate) struct GroupView {
    pub(crate) name: String,
    /// Tells groups apart, in all generations of the configuration.
    pub(crate) key: u32,
    /// So many requests its workers serve at a time.
    pub(crate) capacity: u32,
    /// Whether it takes requests: not one of services.
    pub(crate) serves: bool,
    /// Empty: for all servers.
    scopes: Vec<DefinitionScope>,
    pub(crate) ownership: Ownership,
    pub(crate) connect_timeout: Duration,
    /// Zero: the server's Timeout.
    pub(crate) socket_timeout: Duration,
    /// For writes to the client; `None`: the server's Timeout.
    pub(crate) client_timeout: Option<Duration>,
    /// Bytes a filter may hold back before it is told to flush.
    pub(crate) response_buffer_max: usize,
    pub(crate) response_flush_delay: Duration,
    /// Longest header field of a response.
    pub(crate) header_max: usize,
    /// Socket buffers; 0 is the system's.
    pub(crate) send_buffer: u64,
    pub(crate) receive_buffer: u64,
    /// What its requests may write to the error log.
    pub(crate) log_rate: ByteRate,
    /// Where its requests are counted, once one of them has looked (`workers/totals.rs`).
    pub(crate) totals: OnceLock<&'static [AtomicU64]>,
    /// Where its requests are traced: how many millionths of those that are in no trace yet.
    pub(crate) traced: Option<u32>,
}

pub(crate) type GroupViews = HashMap<String, GroupView>;

/// The application group of a request.
#[derive(Debug, Default)]
pub(crate) struct ApplicationGroup {
    pub(crate) name: String,
    /// Whether the request made the name, see `names`.
    pub(crate) from_request: bool,
    /// What mod_wsgi calls it, where the client names no port and the listener's
    /// is not the usual one (behind a proxy, for instance). Applications see it;
    /// the processes are those of `name`, so that a client has no choice of them.
    pub(crate) seen_as: Option<String>,
}

impl From<Name<'_>> for ApplicationGroup {
    fn from(name: Name<'_>) -> Self {
        Self {
            name: name.text.into_owned(),
            from_request: name.from_request,
            seen_as: None,
        }
    }
}

impl GroupView {
    fn new(config: &GroupConfig, scopes: Vec<DefinitionScope>) -> Self {
        const HEADER_MAX: usize = 32 * 1024;
        const RESPONSE_BUFFER_MAX: usize = 8 * 1024 * 1024;
        let client_timeout = [config.response_socket_timeout, config.socket_timeout];
        Self {
            name: config.name.clone(),
            key: key_of(&config.name),
            capacity: config.threads.saturating_mul(config.processes_limit()),
            serves: config.threads > 0,
            scopes,
            ownership: Ownership::of(config),
            connect_timeout: config.connect_timeout,
            socket_timeout: config.socket_timeout,
            client_timeout: client_timeout
                .into_iter()
                .find(|timeout| !timeout.is_zero()),
            response_buffer_max: size(config.response_buffer_size, RESPONSE_BUFFER_MAX),
            response_flush_delay: config.response_flush_delay,
            header_max: size(config.header_buffer_size, HEADER_MAX),
            send_buffer: config.send_buffer_size,
            receive_buffer: config.receive_buffer_size,
            log_rate: ByteRate::new(config.log_rate),
            totals: OnceLock::new(),
            traced: config.otlp_endpoint.as_ref().map(|_| config.trace_ratio),
        }
    }

    /// The reserved name under which the supervisor itself answers.
    pub(crate) fn of_status() -> Self {
        let config = GroupConfig {
            connect_timeout: Duration::from_secs(1),
            ..GroupConfig::new(names::STATUS, "")
        };
        Self::new(&config, Vec::new())
    }

    /// A group of the main server may be used everywhere; one of a virtual
    /// host in it and in those with the same ServerName, on whatever port.
    pub(crate) fn is_visible_from(&self, server: Server<'_>) -> bool {
        self.scopes.is_empty() || are_visible_from(&self.scopes, server)
    }
}

/// A size that an option gives; 0 is the default.
fn size(given: u64, default: usize) -> usize {
    match given {
        0 => default,
        _ => usize::try_from(given).unwrap_or(usize::MAX),
    }
}

/// Whether a group with these scopes may be used in the server.
pub(crate) fn are_visible_from(scopes: &[DefinitionScope], server: Server<'_>) -> bool {
    let hostname = server.name();
    scopes
        .iter()
        .any(|scope| admits(scope, server.id(), hostname.as_deref()))
}

/// Whether a group with this scope may be used in the server with this number
/// and name.
fn admits(scope: &DefinitionScope, server: usize, hostname: Option<&str>) -> bool {
    if !scope.is_virtual || scope.server == server {
        return true;
    }
    hostname
        .zip(scope.hostname.as_deref())
        .is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
}

/// The groups of a configuration, and the one for requests that name none.
pub(crate) fn freeze(definitions: &[GroupDefinition], default: &GroupConfig) -> GroupViews {
    definitions
        .iter()
        .map(|known| GroupView::new(&known.config, known.scopes.clone()))
        .chain([GroupView::new(default, Vec::new())])
        .map(|group| (group.name.clone(), group))
        .collect()
}

/// A number for a name, the same in all processes (FNV-1a).
pub(crate) fn key_of(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The name that a directive means: `%{GLOBAL}` and nothing are the implicit
/// group, for mod_wsgi would run the application inside httpd.
pub(crate) fn resolve(name: &str) -> &str {
    if name.is_empty() { DEFAULT_GROUP } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(server: usize, is_virtual: bool, hostname: Option<&str>) -> DefinitionScope {
        DefinitionScope {
            server,
            is_virtual,
            hostname: hostname.map(str::to_owned),
        }
    }

    #[test]
    fn groups_of_the_main_server_are_for_all() {
        assert!(admits(
            &scope(1, false, Some("a.example")),
            2,
            Some("b.example")
        ));
    }

    #[test]
    fn groups_of_a_virtual_host_are_for_its_name() {
        let own = scope(1, true, Some("a.example"));
        assert!(admits(&own, 1, None));
        assert!(admits(&own, 2, Some("A.example")));
        assert!(!admits(&own, 2, Some("b.example")));
        assert!(!admits(&scope(1, true, None), 2, None));
    }

    #[test]
    fn no_name_is_the_implicit_group() {
        assert_eq!(resolve(""), DEFAULT_GROUP);
        assert_eq!(resolve("site"), "site");
    }
}
