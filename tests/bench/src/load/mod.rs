//! The load generator: one thread, one epoll set, N keep-alive connections.
//! Closed loop: every connection sends its next request when its answer has come.
//! Open loop: requests are due at times drawn beforehand, and latency counts from
//! the time a request was *due*, so that a slow server cannot hide its queue.

mod arrivals;
mod connection;
mod generator;
mod order;
mod response;

pub(crate) use generator::Generator;
pub(crate) use order::{Order, Pace};
