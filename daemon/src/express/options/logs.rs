//! Where logs go and what they look like; status pages and telemetry.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Logs")]
pub(crate) struct Logs {
    /// Directory of the log files [default: the server root]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) log_directory: Option<PathBuf>,
    /// Log level of httpd, for instance warn, info or `info wsgi:debug`
    #[arg(long, default_value = "warn", value_name = "LEVEL")]
    pub(crate) log_level: String,
    /// Write logs to the terminal
    #[arg(long)]
    pub(crate) log_to_terminal: bool,
    /// Write an access log
    #[arg(long)]
    pub(crate) access_log: bool,
    /// Format of the access log: common, combined or a LogFormat
    #[arg(long, value_name = "FORMAT")]
    pub(crate) access_log_format: Option<String>,
    /// Name of the access log
    #[arg(long, default_value = "access_log", value_name = "NAME")]
    pub(crate) access_log_name: String,
    /// Format of the error log (ErrorLogFormat)
    #[arg(long, value_name = "FORMAT")]
    pub(crate) error_log_format: Option<String>,
    /// Name of the error log
    #[arg(long, default_value = "error_log", value_name = "NAME")]
    pub(crate) error_log_name: String,
    /// Keep what httpd prints while it starts
    #[arg(long)]
    pub(crate) startup_log: bool,
    /// Name of the startup log
    #[arg(long, default_value = "startup_log", value_name = "NAME")]
    pub(crate) startup_log_name: String,
    /// Rotate the log files
    #[arg(long)]
    pub(crate) rotate_logs: bool,
    /// Size in MB at which a log file is rotated
    #[arg(long, default_value_t = 5, value_name = "MB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_log_size: u32,
    /// The rotatelogs program [default: found]
    #[arg(long, value_name = "FILE")]
    pub(crate) rotatelogs_executable: Option<PathBuf>,
    /// Accepted without effect; use --log-level
    #[arg(long, hide = true)]
    pub(crate) verbose_debugging: bool,
}

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct Metrics {
    /// Accepted: workers do not see the scoreboard of httpd, see --server-status
    #[arg(long)]
    pub(crate) server_metrics: bool,
    /// Serve /server-status to this machine
    #[arg(long)]
    pub(crate) server_status: bool,
    /// Accepted: nothing is reported by telemetry; see `wsgid status`
    #[arg(long, value_name = "URL")]
    pub(crate) telemetry_service: Option<String>,
    /// Accepted, see --telemetry-service
    #[arg(long)]
    pub(crate) enable_telemetry: bool,
    /// Accepted, see --telemetry-service
    #[arg(long, default_value_t = 8888, value_name = "PORT")]
    pub(crate) telemetry_ui_port: u16,
    /// Accepted, see --telemetry-service
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    pub(crate) telemetry_interval: f64,
    /// Report requests that take longer than this
    #[arg(long, value_name = "SECONDS")]
    pub(crate) slow_requests: Option<f64>,
    /// Accepted, see --telemetry-service
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub(crate) telemetry_options: Vec<String>,
}
