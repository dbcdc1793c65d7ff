//! Which application is served, where it is mounted, in how many processes and for how
//! long.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::express::paths::absolute_path;

/// What the entry point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ApplicationType {
    /// A Python file that holds the application object.
    Script,
    /// A module that can be imported by name.
    Module,
    /// No application: only static files.
    Static,
    /// A PasteDeploy configuration file.
    Paste,
}

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Application")]
pub(crate) struct Application {
    /// The application: a WSGI script file, or what --application-type says
    #[arg(value_name = "WSGI_FILE")]
    pub(crate) entry: Option<String>,
    /// The same as WSGI_FILE, as an option
    #[arg(long, value_name = "ENTRY", conflicts_with = "entry")]
    pub(crate) entry_point: Option<String>,
    /// What the entry point is
    #[arg(long, value_enum, default_value = "script", value_name = "TYPE")]
    pub(crate) application_type: ApplicationType,
    /// Name of the application object in the script or module
    #[arg(long, default_value = "application", value_name = "NAME")]
    pub(crate) callable_object: String,
    /// Application group; each has worker processes of its own
    #[arg(long, default_value = "%{GLOBAL}", value_name = "NAME")]
    pub(crate) application_group: String,
    /// Process group [default: HOST:PORT]
    #[arg(long, value_name = "NAME")]
    pub(crate) process_group: Option<String>,
    /// URL path at which the application is mounted
    #[arg(long, default_value = "/", value_name = "URL-PATH")]
    pub(crate) mount_point: String,
    /// Working directory of the application, also searched for modules [default: the current one]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) working_directory: Option<PathBuf>,
    /// Whether HEAD requests reach the application as GET: Auto, On or Off
    #[arg(long, default_value = "Auto", value_name = "MODE", ignore_case = true, value_parser = ["Auto", "On", "Off"])]
    pub(crate) map_head_to_get: String,
}

impl Application {
    /// Whether there is none: only files are served.
    pub(crate) fn is_static(&self) -> bool {
        self.application_type == ApplicationType::Static
    }
}

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Processes")]
pub(crate) struct Processes {
    /// Worker processes, or MIN..MAX [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) processes: Option<String>,
    /// Request threads in each worker process
    #[arg(long, default_value_t = 5, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=65533))]
    pub(crate) threads: u32,
    /// Clients that httpd serves at the same time, idle ones with half a request or an upgraded connection included
    /// [default: 390 + max(10, 1.5 × processes × threads), with prefork 380 less]
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
