//! The sockets over which the supervisor talks: with httpd's parent, with its workers,
//! with operators. Used by `supervisor`, `connection`, `process`, `log` and the commands;
//! what is said is the protocol's affair, and what follows from it the supervisor's.

pub(crate) mod closing;
pub(crate) mod operator;
pub(crate) mod parent;
pub(crate) mod quiesce;
pub(crate) mod worker;
