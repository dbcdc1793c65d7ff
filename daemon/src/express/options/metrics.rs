//! Status pages and telemetry.

use clap::Args;
use serde::Serialize;

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
