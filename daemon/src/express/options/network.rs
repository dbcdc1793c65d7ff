//! Addresses, names, the limits of connections; HTTPS; who may enter.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Network")]
pub(crate) struct Network {
    /// Address to listen on [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// Port to listen on
    #[arg(long, default_value_t = 8000, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Speak HTTP/2 where mod_http2 is installed
    #[arg(long, alias = "enable-http2")]
    pub(crate) http2: bool,
    /// Serve this host name only; with a `www.` name the bare one is redirected to it
    #[arg(long, value_name = "HOSTNAME")]
    pub(crate) server_name: Option<String>,
    /// Further host name of the site, also with wildcards
    #[arg(long = "server-alias", value_name = "HOSTNAME")]
    pub(crate) server_aliases: Vec<String>,
    /// Serve requests for `localhost` too when --server-name is given
    #[arg(long)]
    pub(crate) allow_localhost: bool,
    /// Seconds an idle connection is kept; 0 closes it after each response
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    pub(crate) keep_alive_timeout: u32,
    /// Connections that may wait for httpd
    #[arg(long, default_value_t = 500, value_name = "NUMBER")]
    pub(crate) server_backlog: u32,
    /// Requests that may wait for a worker process
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    pub(crate) daemon_backlog: u32,
    /// Largest request body in bytes; 0 is no limit
    #[arg(long, default_value_t = 10_485_760, value_name = "BYTES")]
    pub(crate) limit_request_body: u64,
    /// Accept request bodies with chunked transfer encoding
    #[arg(long)]
    pub(crate) chunked_request: bool,
    /// Directory and prefix of the socket between httpd and the supervisor [default: in the server root]
    #[arg(long, value_name = "PREFIX")]
    pub(crate) socket_prefix: Option<String>,
    /// Send buffer of the socket to a worker; 0 is the system's
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub(crate) send_buffer_size: u64,
    /// Receive buffer of the socket to a worker; 0 is the system's
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub(crate) receive_buffer_size: u64,
    /// Longest response header field; 0 is 32768
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub(crate) header_buffer_size: u64,
    /// Response bytes held for the client before a flush; 0 is 8 MiB
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub(crate) response_buffer_size: u64,
    /// Milliseconds without new response bytes after which those held are sent
    #[arg(long, default_value_t = 5, value_name = "MILLISECONDS")]
    pub(crate) response_flush_delay: u32,
    /// Compress text responses
    #[arg(long)]
    pub(crate) compress_responses: bool,
    /// Let the kernel send files
    #[arg(long)]
    pub(crate) enable_sendfile: bool,
}

impl Network {
    /// `HOST:PORT` of mod_wsgi-express: the default name of the process group.
    pub(crate) fn address(&self) -> String {
        let host = self.host.as_deref().unwrap_or("localhost");
        format!("{host}:{}", self.port)
    }
}

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
