//! HTTPS: port, certificates, client certificates, redirection.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "HTTPS")]
pub(crate) struct Tls {
    /// Port for HTTPS
    #[arg(long, alias = "ssl-port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) https_port: Option<u16>,
    /// Certificate and key as STEM.crt and STEM.key
    #[arg(long, value_name = "STEM", conflicts_with_all = ["ssl_certificate_file", "ssl_certificate_key_file"])]
    pub(crate) ssl_certificate: Option<PathBuf>,
    /// Certificate file
    #[arg(long, value_name = "FILE", requires = "ssl_certificate_key_file", value_parser = absolute_path())]
    pub(crate) ssl_certificate_file: Option<PathBuf>,
    /// Key file of the certificate
    #[arg(long, value_name = "FILE", requires = "ssl_certificate_file", value_parser = absolute_path())]
    pub(crate) ssl_certificate_key_file: Option<PathBuf>,
    /// Certificates of the chain up to the authority
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) ssl_certificate_chain_file: Option<PathBuf>,
    /// Authority of client certificates; the site then requires one
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) ssl_ca_certificate_file: Option<PathBuf>,
    /// Require a client certificate for this URL path only
    #[arg(long, value_name = "URL-PATH", requires = "ssl_ca_certificate_file")]
    pub(crate) ssl_verify_client: Vec<String>,
    /// Give the application the SSL_* variables
    #[arg(long)]
    pub(crate) ssl_environment: bool,
    /// Redirect everything to HTTPS
    #[arg(long)]
    pub(crate) https_only: bool,
    /// Value of the Strict-Transport-Security header
    #[arg(long, value_name = "PARAMS")]
    pub(crate) hsts_policy: Option<String>,
}
