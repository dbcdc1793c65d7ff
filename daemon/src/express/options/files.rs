//! Static files, aliases, error documents, other handlers and proxied URLs.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Files and URLs")]
pub(crate) struct Files {
    /// Directory of static files; a file in it wins over the application [default: htdocs in the server root]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) document_root: Option<PathBuf>,
    /// File served for a directory
    #[arg(long, value_name = "FILE")]
    pub(crate) directory_index: Option<String>,
    /// List directories without an index
    #[arg(long)]
    pub(crate) directory_listing: bool,
    /// Class of directives that .htaccess files may use [default: None]
    #[arg(long, value_name = "CLASS")]
    pub(crate) allow_override: Vec<String>,
    /// Serve this file or directory at this URL path
    #[arg(long, num_args = 2, value_names = ["URL-PATH", "PATH"])]
    pub(crate) url_alias: Vec<String>,
    /// Answer with this URL path for this status
    #[arg(long, num_args = 2, value_names = ["STATUS", "URL-PATH"])]
    pub(crate) error_document: Vec<String>,
    /// Replace error responses of the application by error documents
    #[arg(long)]
    pub(crate) error_override: bool,
    /// File of mod_rewrite rules [default: rewrite.conf in the server root]
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) rewrite_rules: Option<PathBuf>,
    /// Handle files with this extension by this WSGI script
    #[arg(long, num_args = 2, value_names = ["EXTENSION", "FILE"])]
    pub(crate) add_handler: Vec<String>,
    /// Run CGI scripts in the document root
    #[arg(long, hide = true)]
    pub(crate) with_cgi: bool,
    /// Accepted: PHP 5 has ended
    #[arg(long, hide = true)]
    pub(crate) with_php5: bool,
    /// File of MIME types [default: the system's]
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) mime_types: Option<PathBuf>,
    /// Proxy this URL path to this URL
    #[arg(long, alias = "proxy-url-alias", num_args = 2, value_names = ["URL-PATH", "URL"])]
    pub(crate) proxy_mount_point: Vec<String>,
    /// Proxy this whole host name to this URL
    #[arg(long, num_args = 2, value_names = ["HOSTNAME", "URL"])]
    pub(crate) proxy_virtual_host: Vec<String>,
    /// Accepted: the documentation is not part of an installation
    #[arg(long)]
    pub(crate) enable_docs: bool,
}
