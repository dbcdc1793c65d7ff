//! Trusted proxies and scripts that decide about access.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Access")]
pub(crate) struct Access {
    /// Header of a trusted proxy, for instance X-Forwarded-For
    #[arg(long = "trust-proxy-header", value_name = "HEADER")]
    pub(crate) trust_proxy_headers: Vec<String>,
    /// Address or network of a trusted proxy
    #[arg(long = "trust-proxy", value_name = "ADDRESS")]
    pub(crate) trust_proxies: Vec<String>,
    /// Script that decides which client hosts may enter
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) host_access_script: Option<PathBuf>,
    /// Script that checks users and passwords
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) auth_user_script: Option<PathBuf>,
    /// Kind of authentication
    #[arg(long, default_value = "Basic", value_name = "TYPE", ignore_case = true, value_parser = ["Basic", "Digest"])]
    pub(crate) auth_type: String,
    /// Script that names the groups of a user
    #[arg(long, value_name = "FILE", requires = "auth_user_script", value_parser = absolute_path())]
    pub(crate) auth_group_script: Option<PathBuf>,
    /// Group that --auth-group-script must name
    #[arg(long, default_value = "wsgi", value_name = "NAME")]
    pub(crate) auth_group: String,
}
