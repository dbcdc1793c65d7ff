//! The sockets to which httpd's children connect, and their connections. Used by
//! `supervisor`, which decides who serves them.

pub(crate) mod connections;
pub(crate) mod listener;
pub(crate) mod queue_front;
pub(crate) mod socket_acl;
pub(crate) mod stale_socket;
pub(crate) mod warm_up;
