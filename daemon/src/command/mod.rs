//! The commands that ask, print and end: those for a running supervisor, `check`,
//! `check-config`, and the documents of the command line; and `top`, which asks again and
//! again. Called by `cli`.

pub(crate) mod check;
pub(crate) mod check_config;
pub(crate) mod client;
pub(crate) mod documents;
mod find_socket;
pub(crate) mod logs;
mod outcome;
pub(crate) mod print;
mod print_status;
pub(crate) mod requests;
mod rows;
pub(crate) mod status;
pub(crate) mod top;
mod waiting;
