//! Processes: how one is started and becomes a worker, who it becomes, what the system
//! says of it and of what it forked, and how it ends. Used by `supervisor`, `config`,
//! `reexec` and the commands; knows nothing of pools and requests.

pub(crate) mod bounded;
pub(crate) mod cgroup;
pub(crate) mod child;
pub(crate) mod environment;
pub(crate) mod exec;
pub(crate) mod forked;
pub(crate) mod identity;
pub(crate) mod keeper;
pub(crate) mod path_check;
pub(crate) mod privilege;
pub(crate) mod procfs;
pub(crate) mod relatives;
mod session;
pub(crate) mod spawn;
pub(crate) mod subreaper;
pub(crate) mod trust;

pub(crate) mod worker_task;
