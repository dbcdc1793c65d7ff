//! The way of one request: which script and group it is for, what the worker is
//! told, what comes back. Called by `entry/`; knows nothing of how workers are
//! started.

pub(crate) mod attempts;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod environ;
pub(crate) mod exchange;
pub(crate) mod failure;
pub(crate) mod frames;
pub(crate) mod group_access;
pub(crate) mod handler;
pub(crate) mod head;
pub(crate) mod headers;
pub(crate) mod injected;
pub(crate) mod mapping;
pub(crate) mod outcome;
pub(crate) mod proxies;
pub(crate) mod response;
pub(crate) mod script_call;
pub(crate) mod serving;
pub(crate) mod ssl_variables;
pub(crate) mod target;
mod trace;
mod traceparent;
pub(crate) mod upgrades;
