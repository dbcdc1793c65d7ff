//! `wsgid start-server` and its relatives: one application, one httpd, one
//! command. The command line calls [`run`]. Everything here ends in files and
//! in an ordinary httpd with our module in it; the supervisor knows nothing of
//! this part.

pub(crate) mod artifacts;
mod banner;
mod check;
mod defines;
mod drain;
mod entry;
mod expansion;
mod files;
mod foreground;
mod groups;
mod handover;
mod hands;
mod hosts;
pub(crate) mod httpd;
mod identity;
mod install;
mod locale;
mod logs;
mod modules;
mod notes;
mod options;
mod paths;
mod plan;
mod progress;
mod python;
mod quoting;
mod render;
pub(crate) mod server_root;
mod setup;
mod sizing;
mod template;
mod terminal;
#[cfg(test)]
mod tests;
mod traceback;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;

use crate::exit_code;
pub(crate) use expansion::expand;
use options::ServerOptions;
use plan::{PlanError, ServerPlan};
use terminal::say;

/// The commands of mod_wsgi-express.
#[derive(Debug, Subcommand)]
pub(crate) enum ExpressCommand {
    /// Serve an application: write a server root, run httpd in the foreground
    #[command(args_override_self = true, infer_long_args = true)]
    StartServer(Box<ServerOptions>),
    /// Write a server root and leave starting it to its apachectl
    #[command(args_override_self = true, infer_long_args = true)]
    SetupServer(Box<ServerOptions>),
    /// Print the directives that load the module into an existing httpd
    ModuleConfig,
    /// Copy the module to httpd's modules and print the directives
    InstallModule(install::InstallArguments),
    /// Print where the module is
    ModuleLocation,
    /// Write this process's environment for the workers (used by apachectl)
    #[command(hide = true)]
    ExpressEnvironment {
        /// The file to write
        file: PathBuf,
        /// `uid:gid` of those who read it
        account: String,
    },
    /// Run a program under another name (used by apachectl)
    #[command(hide = true, trailing_var_arg = true)]
    ExpressExec {
        /// What ps shows
        name: OsString,
        /// The program
        program: PathBuf,
        /// Its arguments
        #[arg(allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Runs one of the commands; the result is the exit code of the program.
pub(crate) fn run(command: ExpressCommand) -> u8 {
    match attempt(command) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("wsgid: {error}"));
            error.exit_code()
        }
    }
}

fn attempt(command: ExpressCommand) -> Result<u8, ExpressError> {
    match command {
        ExpressCommand::StartServer(options) => start_server(*options),
        ExpressCommand::SetupServer(options) => setup_server(*options, "setup-server"),
        ExpressCommand::ModuleConfig => Ok(install::module_config()?),
        ExpressCommand::ModuleLocation => Ok(install::module_location()?),
        ExpressCommand::InstallModule(arguments) => Ok(install::install_module(&arguments)?),
        ExpressCommand::ExpressEnvironment { file, account } => {
            Ok(handover::write_environment(&file, &account)?)
        }
        ExpressCommand::ExpressExec {
            name,
            program,
            arguments,
        } => Err(handover::exec(&name, &program, &arguments).into()),
    }
}

/// Why one of the commands failed.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum ExpressError {
    Plan(#[from] PlanError),
    Setup(#[from] setup::SetupError),
    Foreground(#[from] foreground::ForegroundError),
    Install(#[from] install::InstallError),
    Handover(#[from] handover::HandoverError),
}

impl ExpressError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Plan(PlanError::Value { .. }) => exit_code::USAGE,
            _ => exit_code::FAILURE,
        }
    }
}

fn start_server(options: ServerOptions) -> Result<u8, ExpressError> {
    if options.develop.setup_only {
        return setup_server(options, "start-server");
    }
    let plan = ServerPlan::make(options, "start-server")?;
    check_plan(&plan)?;
    setup::nobody_serves(&plan)?;
    plan.check_ports()?;
    setup::write(&plan)?;
    setup::forget_number(&plan);
    summary(&plan);
    Ok(foreground::run(&plan)?)
}

fn setup_server(options: ServerOptions, command: &'static str) -> Result<u8, ExpressError> {
    let plan = ServerPlan::make(options, command)?;
    check_plan(&plan)?;
    setup::write(&plan)?;
    summary(&plan);
    let control = plan.root.join("apachectl");
    say(&format!("Start it with   : {} start", control.display()));
    Ok(exit_code::OK)
}

/// Looks at all that the plan names, before anything is read or written.
fn check_plan(plan: &ServerPlan) -> Result<(), PlanError> {
    hands::are_roots(plan)?;
    check::files(plan)
}

fn summary(plan: &ServerPlan) {
    let mut text = banner::text(plan);
    for note in notes::collect(plan) {
        text.push_str(&format!("note          : {note}\n"));
    }
    say(text.trim_end());
}
