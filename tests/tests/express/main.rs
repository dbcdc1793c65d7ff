//! `wsgid start-server` with its options, each with real requests.

mod access;
mod applications;
mod crowd;
mod environment;
mod files;
mod install;
mod names;
mod tls;
mod tools;
