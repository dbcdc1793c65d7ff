//! What a child of httpd has of the workers: connections to them, how many requests
//! each has, and which thread of httpd a process group may have. Used by `request/`
//! and `status/`; knows nothing of a request's content.

pub(crate) mod child;
pub(crate) mod connection;
pub(crate) mod group_log;
pub(crate) mod holders;
pub(crate) mod loads;
pub(crate) mod pace;
mod placement;
pub(crate) mod plan;
pub(crate) mod pool;
pub(crate) mod sent_file;
pub(crate) mod stopping;
pub(crate) mod thread_reserve;
