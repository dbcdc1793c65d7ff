//! Timers and the replacement of worker processes.

use clap::Args;
use serde::Serialize;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Timeouts and recycling")]
pub(crate) struct Timeouts {
    /// Requests after which a worker process is replaced; 0 is never
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    pub(crate) maximum_requests: u64,
    /// Time to load the application
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) startup_timeout: u32,
    /// Time a worker process has to end when it is stopped
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub(crate) shutdown_timeout: u32,
    /// Age at which a worker process is replaced; 0 is never
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) restart_interval: u32,
    /// CPU time after which a worker process is replaced; 0 is never
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) cpu_time_limit: u32,
    /// Time a worker process has to finish its requests when it is replaced
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) graceful_timeout: u32,
    /// The same for SIGUSR1; 0 is --graceful-timeout
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) eviction_timeout: u32,
    /// Time for which the interpreter may be locked
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) deadlock_timeout: u32,
    /// Time without requests after which a worker process is replaced; 0 is never
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) inactivity_timeout: u32,
    /// Requests for this URL path do not count against --inactivity-timeout
    #[arg(long, value_name = "URL-PATH")]
    pub(crate) ignore_activity: Vec<String>,
    /// Time a request may run, times 1 + ln(threads)
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) request_timeout: u32,
    /// Time an interrupted request has to end; 0 replaces the process instead of interrupting
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) interrupt_timeout: u32,
    /// Time to reach the supervisor
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) connect_timeout: u32,
    /// Time without a byte from client or application
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) socket_timeout: u32,
    /// Time without a byte to the client; 0 is --socket-timeout
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) response_socket_timeout: u32,
    /// Time without a byte from a proxied server [default: --socket-timeout]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) proxy_timeout: Option<u32>,
    /// Time a request may wait for a worker process
    #[arg(long, default_value_t = 45, value_name = "SECONDS")]
    pub(crate) queue_timeout: u32,
    /// Time for the headers of a request; 0 is no limit
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) header_timeout: u32,
    /// Most time for the headers of a request as they keep coming
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) header_max_timeout: u32,
    /// Bytes per second that prolong --header-timeout
    #[arg(long, default_value_t = 500, value_name = "BYTES")]
    pub(crate) header_min_rate: u32,
    /// Time for the body of a request; 0 is no limit
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub(crate) body_timeout: u32,
    /// Most time for the body of a request as it keeps coming; 0 is no limit
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) body_max_timeout: u32,
    /// Bytes per second that prolong --body-timeout
    #[arg(long, default_value_t = 500, value_name = "BYTES")]
    pub(crate) body_min_rate: u32,
}
