//! What a child of httpd has of the workers: connections to them, how many requests each
//! has, and which thread of httpd a process group may have. Filled by `launch/`, used by
//! `request/` and `status/`; knows nothing of a request's content.

pub(crate) mod absence;
pub(crate) mod admission;
pub(crate) mod child;
pub(crate) mod completion_rate;
pub(crate) mod connection;
pub(crate) mod group_log;
pub(crate) mod loads;
mod placement;
pub(crate) mod plan;
pub(crate) mod pool;
mod row_owner;
pub(crate) mod sent_file;
pub(crate) mod spans;
pub(crate) mod stopping;
pub(crate) mod thread_reserve;
pub(crate) mod thread_table;
pub(crate) mod totals;
