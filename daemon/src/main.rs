//! `wsgid`: the supervisor of mod_wsgid, its command line, and the launcher
//! that becomes a worker. The parts are in the modules; this file only names
//! them.

mod birth;
mod cgroup;
mod check;
mod check_config;
mod cli;
mod client;
mod closing;
mod config;
mod connections;
mod control;
mod definition;
mod environment;
mod exec;
mod exit_code;
mod express;
mod freeze;
mod identity;
mod leftovers;
mod link;
mod listener;
mod log;
mod notify;
mod nursery;
mod orphans;
mod parent;
mod path_check;
mod place;
mod places;
mod pool;
mod print;
mod privilege;
mod proc;
mod process;
mod reexec;
mod relatives;
mod room;
mod session;
mod signals;
mod spawn;
mod standalone;
mod supervise;
mod supervisor;
mod sys;
mod trial;
mod trust;
mod visitors;
mod worker;

fn main() -> std::process::ExitCode {
    cli::run()
}
