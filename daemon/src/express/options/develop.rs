//! Reloading, debugging and profiling.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::express::paths::absolute_path;

#[derive(Args, Clone, Debug, Serialize)]
#[command(next_help_heading = "Development")]
pub(crate) struct Develop {
    /// Do not look whether the script has changed
    #[arg(long)]
    pub(crate) disable_reloading: bool,
    /// Replace the worker processes when any loaded file changes
    #[arg(long)]
    pub(crate) reload_on_changes: bool,
    /// One process and one thread, with the terminal as its input
    #[arg(long)]
    pub(crate) debug_mode: bool,
    /// Open pdb in the terminal where an exception leaves the application
    #[arg(long)]
    pub(crate) enable_debugger: bool,
    /// Open pdb in the terminal before the application is loaded
    #[arg(long)]
    pub(crate) debugger_startup: bool,
    /// Measure code coverage; implies --debug-mode
    #[arg(long)]
    pub(crate) enable_coverage: bool,
    /// Directory of the coverage report [default: htmlcov in the server root]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) coverage_directory: Option<PathBuf>,
    /// Profile the application
    #[arg(long)]
    pub(crate) enable_profiler: bool,
    /// Directory of the profiles [default: pstats in the server root]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) profiler_directory: Option<PathBuf>,
    /// Write every request and response to files
    #[arg(long)]
    pub(crate) enable_recorder: bool,
    /// Directory of the recorded requests [default: archive in the server root]
    #[arg(long, value_name = "DIRECTORY", value_parser = absolute_path())]
    pub(crate) recorder_directory: Option<PathBuf>,
    /// Run httpd in gdb
    #[arg(long)]
    pub(crate) enable_gdb: bool,
    /// The gdb program
    #[arg(long, default_value = "gdb", value_name = "FILE")]
    pub(crate) gdb_executable: PathBuf,
    /// Only write the server root (as setup-server does)
    #[arg(long)]
    pub(crate) setup_only: bool,
    /// Assume a terminal: forward its signals to httpd
    #[arg(long)]
    pub(crate) isatty: bool,
}

/// A tool that writes into a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool<'a> {
    /// Its key in `handler.json`.
    pub(crate) name: &'static str,
    /// What its results are called.
    pub(crate) results: &'static str,
    pub(crate) enabled: bool,
    /// The option that names the directory, and its value.
    pub(crate) option: &'static str,
    pub(crate) directory: Option<&'a PathBuf>,
    /// The directory in the server root otherwise.
    pub(crate) usual: &'static str,
}

impl Develop {
    pub(crate) fn tools(&self) -> [Tool<'_>; 3] {
        [
            Tool {
                name: "coverage",
                results: "Coverage",
                enabled: self.enable_coverage,
                option: "--coverage-directory",
                directory: self.coverage_directory.as_ref(),
                usual: "htmlcov",
            },
            Tool {
                name: "profiler",
                results: "Profiles",
                enabled: self.enable_profiler,
                option: "--profiler-directory",
                directory: self.profiler_directory.as_ref(),
                usual: "pstats",
            },
            Tool {
                name: "recorder",
                results: "Recordings",
                enabled: self.enable_recorder,
                option: "--recorder-directory",
                directory: self.recorder_directory.as_ref(),
                usual: "archive",
            },
        ]
    }
}
