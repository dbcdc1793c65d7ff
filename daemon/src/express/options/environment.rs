//! Users, environment variables, Python, service scripts, and the paths of
//! what is run and written.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Users, Python and environment")]
pub(crate) struct Environment {
    /// User that httpd and the application run as; required when started as root
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Group that httpd and the application run as; the user's own if not given
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,
    /// Virtual environment or installation whose Python runs the application
    /// [default: the active virtual environment, else python3]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) python_home: Option<PathBuf>,
    /// Directory put in front of sys.path
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) python_path: Vec<PathBuf>,
    /// Directory for unpacked eggs [default: python-eggs in the server root]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) python_eggs: Option<PathBuf>,
    /// Warning filter (python -W)
    #[arg(long, value_name = "FILTER")]
    pub(crate) python_warnings: Vec<String>,
    /// LANG of the application
    #[arg(long, hide = true, value_name = "NAME")]
    pub(crate) lang: Option<String>,
    /// Locale of the application [default: that of the terminal, C.UTF-8 for C]
    #[arg(long, value_name = "NAME")]
    pub(crate) locale: Option<String>,
    /// Set a variable of the WSGI environ
    #[arg(long, num_args = 2, value_names = ["NAME", "VALUE"], allow_hyphen_values = true)]
    pub(crate) setenv: Vec<String>,
    /// Copy an environment variable into the WSGI environ
    #[arg(long, value_name = "NAME")]
    pub(crate) passenv: Vec<String>,
    /// Run this script as a service beside the application
    #[arg(long, num_args = 2, value_names = ["NAME", "FILE"])]
    pub(crate) service_script: Vec<String>,
    /// User of a service
    #[arg(long, num_args = 2, value_names = ["NAME", "USER"])]
    pub(crate) service_user: Vec<String>,
    /// Group of a service
    #[arg(long, num_args = 2, value_names = ["NAME", "GROUP"])]
    pub(crate) service_group: Vec<String>,
    /// Log file of a service
    #[arg(long, num_args = 2, value_names = ["NAME", "FILE"])]
    pub(crate) service_log_file: Vec<String>,
    /// httpd configuration to include at the end
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) include_file: Vec<PathBuf>,
    /// Shell script that sets environment variables [default: envvars in the server root]
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) envvars_script: Option<PathBuf>,
    /// Directory of all generated files [default: mod_wsgi-HOST:PORT:UID in $TMPDIR or /tmp]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) server_root: Option<PathBuf>,
    /// File with the process id of httpd [default: httpd.pid in the server root]
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) pid_file: Option<PathBuf>,
    /// What ps shows for the httpd parent process
    #[arg(long, value_name = "NAME")]
    pub(crate) process_name: Option<String>,
    /// Shell of the apachectl script
    #[arg(long, value_name = "FILE", value_parser = absolute_path())]
    pub(crate) shell_executable: Option<PathBuf>,
    /// The httpd program [default: $HTTPD, else found]
    #[arg(long, value_name = "FILE")]
    pub(crate) httpd_executable: Option<PathBuf>,
    /// Directory of httpd's modules [default: found]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) modules_directory: Option<PathBuf>,
}
