//! `wsgid`: the supervisor of mod_wsgid, its command line, and the launcher
//! that becomes a worker. The parts are in the modules; this file only names
//! them.

#[macro_use]
mod log_line;

mod atomic_write;
mod channel;
mod cli;
mod command;
mod config;
mod connection;
mod exit_code;
mod express;
mod isolation;
mod log;
mod notify;
mod process;
mod reexec;
mod signals;
mod supervisor;
mod sys;
mod traces;
mod user_rights;

fn main() -> std::process::ExitCode {
    cli::run()
}
