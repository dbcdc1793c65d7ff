//! Safe faces of httpd: requests, servers, the life of the process, spawning.

pub(crate) mod client;
pub(crate) mod core_config;
pub(crate) mod file_reader;
pub(crate) mod filters;
pub(crate) mod guard;
pub(crate) mod log;
pub(crate) mod marks;
pub(crate) mod process;
pub(crate) mod record;
pub(crate) mod regex;
pub(crate) mod request;
pub(crate) mod retained;
pub(crate) mod server;
pub(crate) mod shared;
pub(crate) mod spawn;
pub(crate) mod ssl;
pub(crate) mod tree;
pub(crate) mod walk;
