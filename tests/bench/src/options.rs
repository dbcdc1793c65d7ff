//! The command line of the benchmark: which peers, which workloads, how long.
//! Read by `main`; everything that can be chosen is named here and nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::peer::Peer;

/// Run mod_wsgid and its peers behind the same httpd, in interleaved rounds.
#[derive(Debug, Parser)]
#[command(name = "wsgid-bench")]
pub(crate) struct Options {
    /// Peers to run (default: all that can be built).
    #[arg(long, value_delimiter = ',', value_enum)]
    pub(crate) peers: Vec<Peer>,

    /// Workloads to run, by name (default: those of the plan); see --list.
    #[arg(long, value_delimiter = ',')]
    pub(crate) workloads: Vec<String>,

    /// Processes x threads to run, for example 1x1,4x5 (default: those of the plan).
    #[arg(long, value_delimiter = ',')]
    pub(crate) shapes: Vec<String>,

    /// Connections of closed loops (default: those of the plan).
    #[arg(long, value_delimiter = ',')]
    pub(crate) connections: Vec<usize>,

    /// Rounds for each scenario (default: 3, with --full 5).
    #[arg(long)]
    pub(crate) rounds: Option<usize>,

    /// Length of one peer's turn in a round (default: 1, with --full 2).
    #[arg(long)]
    seconds: Option<f64>,

    /// Every workload, shape and number of connections; takes more than an hour.
    #[arg(long)]
    pub(crate) full: bool,

    /// Count system calls too, with strace, in short runs of their own.
    #[arg(long)]
    pub(crate) syscalls: bool,

    /// Kill the only worker of servers with one process, and measure the outage; touch its script, and measure the reload.
    #[arg(long)]
    pub(crate) recovery: bool,

    /// Configure 10 and then so many groups that start on demand, and measure the supervisor and first answers;
    /// nothing else. Takes the artifacts of WSGID_ARTIFACTS.
    #[arg(long, value_name = "COUNT")]
    pub(crate) groups: Option<usize>,

    /// Measure a site alone and beside one that does everything wrong; nothing else. Needs root, for two users.
    #[arg(long)]
    pub(crate) neighbour: bool,

    /// Print the scenarios and leave.
    #[arg(long)]
    pub(crate) list: bool,

    /// Where the table, the plots and the samples go.
    #[arg(long, default_value = "docs/benchmarks")]
    pub(crate) output: PathBuf,

    /// Where peers are built and servers run; other users must be able to read it.
    #[arg(long, default_value = "target/bench")]
    pub(crate) cache: PathBuf,

    /// Where wsgid, the httpd module and the worker's extension lie.
    #[arg(long, env = "WSGID_ARTIFACTS", default_value = "target/release")]
    pub(crate) artifacts: PathBuf,

    /// Another build of this project to compare with, as the peer `other`.
    #[arg(long)]
    pub(crate) against: Option<PathBuf>,

    /// The Python of all peers; needs its headers for mod_wsgi and uWSGI.
    #[arg(long, default_value = "/usr/bin/python3")]
    pub(crate) python: PathBuf,

    /// The user that httpd's children and all backends run as, if started by root.
    #[arg(long, default_value = "www-data")]
    pub(crate) user: String,

    /// Start one peer with the first chosen workload's application, print its address and process ids, wait for Enter.
    #[arg(long, value_enum)]
    pub(crate) hold: Option<Peer>,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.full { 5 } else { 3 }).max(1)
    }

    pub(crate) fn turn(&self) -> Duration {
        Duration::from_secs_f64(
            self.seconds
                .unwrap_or(if self.full { 2.0 } else { 1.0 })
                .max(0.05),
        )
    }
}
