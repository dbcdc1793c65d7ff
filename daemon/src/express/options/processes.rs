//! Numbers of processes and threads, and how httpd itself is sized.

use clap::Args;
use serde::Serialize;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Processes")]
pub(crate) struct Processes {
    /// Worker processes, or MIN..MAX [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) processes: Option<String>,
    /// Request threads in each worker process
    #[arg(long, default_value_t = 5, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=65533))]
    pub(crate) threads: u32,
    /// Requests that httpd handles at the same time [default: 10 + max(10, 1.5 × processes × threads)]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=20000))]
    pub(crate) max_clients: Option<u32>,
    /// Fraction of --max-clients for which httpd starts processes at once
    #[arg(long, value_name = "FRACTION")]
    pub(crate) initial_workers: Option<f64>,
    /// Fraction of --max-clients that httpd keeps idle at least
    #[arg(long, value_name = "FRACTION")]
    pub(crate) minimum_spare_workers: Option<f64>,
    /// Fraction of --max-clients that httpd keeps idle at most
    #[arg(long, value_name = "FRACTION")]
    pub(crate) maximum_spare_workers: Option<f64>,
    /// MPM of httpd; given several times, the first that is installed [default: event, worker, prefork]
    #[arg(long, value_name = "NAME", value_parser = ["event", "worker", "prefork"])]
    pub(crate) server_mpm: Vec<String>,
    /// Accepted: there is no embedded mode, the application runs in worker processes
    #[arg(long)]
    pub(crate) embedded_mode: bool,
    /// Seconds after which Python threads take turns
    #[arg(long, value_name = "SECONDS")]
    pub(crate) switch_interval: Option<f64>,
    /// Accepted: free-threaded builds of Python are not supported
    #[arg(long)]
    pub(crate) free_threading: bool,
    /// Accepted: interpreters are never torn down while requests run
    #[arg(long)]
    pub(crate) orphan_interpreter: bool,
}
