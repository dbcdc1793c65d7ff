//! Which application is served, and where it is mounted.

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
