//! The command line of `wsgid`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use wsgid_protocol::control::Command;

use crate::command::{check, check_config, client, documents, logs, requests, status, top};
use crate::process::exec;
use crate::supervisor::start;
use crate::{express, sys};

/// What the commands end with; `exit_code` has the names.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no supervisor answers, 4 not permitted, \
                          5 no such group, 6 the supervisor cannot start, 7 wrong configuration, 8 check-config found \
                          something that means something else here, 9 the new workers were given up, do not start, or \
                          a script fails to load in them (start-server: at the start), 10 still under way at --timeout";

/// Runs Python WSGI applications behind httpd, each in processes of its own.
#[derive(Debug, Parser)]
#[command(name = "wsgid", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Supervise the worker processes (started by httpd, or by systemd)
    Supervise(start::Supervise),
    /// Show process groups and their workers, the broken ones first
    Status(status::StatusQuestion),
    /// Show the requests that are being served: which, for how long, by whom, what they wait for
    Requests(requests::Requests),
    /// Watch process groups and requests on the terminal
    Top(top::Top),
    /// Replace the workers of a process group, new ones ready first, and say what came of it
    Restart(client::GroupCommand),
    /// Stop a process group; its requests get 503
    Stop(client::GroupCommand),
    /// Start a stopped process group
    Start(client::GroupCommand),
    /// Serve on and say to probes (wsgid-health) that it is not ready
    Drain(client::Drain),
    /// Print the Python stacks of all threads of a process group
    Dump(client::OneGroup),
    /// Print what a process group has said, as its log has it
    Logs(logs::Logs),
    /// Read the site files again (standalone mode)
    Reload(client::Reload),
    /// Check wsgid.toml and its sites: try each group as its user, and explain
    Check(check::Check),
    /// Say what of an httpd configuration for mod_wsgi means something else here
    CheckConfig(check_config::CheckConfig),
    /// Replace the running supervisor's program by the one on disk; nothing is lost
    Reexec(client::Socket),
    #[command(flatten)]
    Express(express::ExpressCommand),
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    Man {
        /// The directory, for instance /usr/local/share/man/man8
        directory: PathBuf,
    },
    /// Become a worker (the supervisor uses this itself)
    #[command(hide = true)]
    WorkerExec(exec::WorkerExec),
}

impl CliCommand {
    /// Whether it asks, prints and ends; the others run servers, whose peers
    /// may go at any time.
    const fn only_prints(&self) -> bool {
        !matches!(
            self,
            Self::Supervise(_) | Self::Express(_) | Self::WorkerExec(_)
        )
    }
}

pub(crate) fn run() -> ExitCode {
    let line = express::expand(std::env::args_os(), |name| std::env::var_os(name));
    let command = Cli::parse_from(line).command;
    if command.only_prints() {
        sys::end_without_reader();
    }
    match command {
        CliCommand::Supervise(args) => start::run(&args),
        CliCommand::Status(asked) => status::run(&asked),
        CliCommand::Requests(args) => requests::run(&args),
        CliCommand::Top(args) => top::run(&args),
        CliCommand::Restart(args) => client::start(&args, |group| Command::Restart { group }),
        CliCommand::Stop(args) => client::stop(&args),
        CliCommand::Start(args) => client::start(&args, |group| Command::Start { group }),
        CliCommand::Drain(args) => client::drain(&args),
        CliCommand::Dump(args) => client::dump(&args),
        CliCommand::Logs(args) => logs::run(&args),
        CliCommand::Reload(args) => client::reload(&args),
        CliCommand::Check(args) => check::run(&args),
        CliCommand::CheckConfig(args) => check_config::run(&args),
        CliCommand::Reexec(socket) => client::reexec(&socket),
        CliCommand::Express(command) => ExitCode::from(express::run(command)),
        CliCommand::Completions { shell } => documents::completions(Cli::command(), shell),
        CliCommand::Man { directory } => documents::manual(Cli::command(), &directory),
        CliCommand::WorkerExec(args) => exec::run(&args),
    }
}
