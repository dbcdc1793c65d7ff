//! What who starts and stops servers goes by: when this one is ready, and how it goes.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Probes and deployments")]
pub(crate) struct Deploy {
    /// Answer probes (wsgid-health) at this URL path: ?live, ?ready, ?group=NAME
    #[arg(long, value_name = "URL-PATH")]
    pub(crate) health_path: Option<String>,
    /// File that is there as long as the server is ready
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) ready_file: Option<PathBuf>,
    /// Seconds after SIGTERM for which it serves on and is not ready
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    pub(crate) drain_delay: u32,
    /// Serve on if the application fails to load; otherwise that ends the server with code 9
    #[arg(long)]
    pub(crate) keep_going: bool,
}
