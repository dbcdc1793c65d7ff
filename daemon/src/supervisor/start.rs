//! `wsgid supervise`: takes over what httpd left at descriptors 3 and 4,
//! starts log and runtime, and runs the supervisor.

use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use wsgid_protocol::config::LogFormat;

use super::run::{self, Options};
use super::snapshot::{Snapshot, read, take_over};
use crate::channel::operator;
use crate::config::InForce;
use crate::config::standalone::{self, Source};
use crate::connection::stale_socket;
use crate::process::privilege;
use crate::reexec::{self, SupervisorProgram};
use crate::{exit_code, log, signals, sys};

/// The control socket of the httpd parent.
const PARENT: i32 = 3;
/// The listening socket of requests.
const LISTENER: i32 = 4;
/// Descriptors that a supervisor wants: one per request connection.
const DESCRIPTORS_WANTED: u64 = 65536;

/// Arguments of `wsgid supervise`.
#[derive(Debug, clap::Args)]
pub(crate) struct Supervise {
    /// Started by httpd: descriptor 3 is its control socket, 4 the listening socket
    #[arg(long, required_unless_present_any = ["config", "resume"])]
    httpd: bool,
    /// Run on its own with this wsgid.toml
    #[arg(long, value_name = "FILE", conflicts_with = "httpd")]
    config: Option<PathBuf>,
    /// Go on with what the program before has left (it uses this itself)
    #[arg(long, value_name = "DESCRIPTOR", hide = true)]
    resume: Option<RawFd>,
    /// Say whether that could be done
    #[arg(long, hide = true, requires = "resume")]
    check: bool,
    /// error, warn, info (notices), debug (what is routine) or trace
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
    /// text or json, until its configuration says more
    #[arg(long, default_value = "text", value_name = "FORMAT", value_parser = LogFormat::named)]
    log_format: LogFormat,
}

pub(crate) fn run(args: &Supervise) -> ExitCode {
    if args.check {
        return check(args.resume);
    }
    let blocked = signals::block();
    let sink = log::init(&args.log_level, args.log_format);
    if let Err(error) = blocked {
        log_line!(SIGNALS_NOT_BLOCKED, "failed to block signals: {error}");
    }
    let code = match supervise(args, &sink) {
        Ok(()) => exit_code::OK,
        Err(CannotRun { code, text }) => {
            log_line!(CANNOT_RUN, "the supervisor cannot run: {text}");
            code
        }
    };
    sink.flush();
    ExitCode::from(code)
}

struct CannotRun {
    code: u8,
    text: String,
}

impl From<io::Error> for CannotRun {
    fn from(error: io::Error) -> Self {
        Self {
            code: exit_code::STARTUP,
            text: error.to_string(),
        }
    }
}

fn supervise(args: &Supervise, sink: &log::Sink) -> Result<(), CannotRun> {
    let options = match (args.resume, &args.config) {
        (Some(number), _) => from_before(take_over(read(sys::inherited(number)?)?)?)?,
        (None, Some(path)) => on_its_own(path, sink)?,
        (None, None) => from_httpd()?,
    };
    let mut program = SupervisorProgram {
        path: std::env::current_exe()?,
        log_level: args.log_level.clone(),
        log_format: args.log_format,
    };
    Ok(start(options, sink, &mut program)?)
}

/// Whether this program could go on with what the one before has written.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "both are for the supervisor that asks"
)]
fn check(resume: Option<RawFd>) -> ExitCode {
    match resume.map(|number| sys::inherited(number).and_then(read)) {
        Some(Ok(_)) => {
            println!("{}", reexec::UNDERSTOOD);
            ExitCode::from(exit_code::OK)
        }
        Some(Err(error)) => {
            eprintln!(
                "wsgid {}: the state cannot be read: {error}",
                env!("CARGO_PKG_VERSION")
            );
            ExitCode::from(exit_code::FAILURE)
        }
        None => ExitCode::from(exit_code::FAILURE),
    }
}

fn start(
    mut options: Options,
    sink: &log::Sink,
    program: &mut SupervisorProgram,
) -> io::Result<()> {
    raise_descriptor_limit();
    say_what_memory_does();
    // Nothing of the place where it was started may be held.
    nix::unistd::chdir("/")?;
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let Some(mut next) = runtime.block_on(run::run(options, sink.clone()))? else {
            return Ok(());
        };
        drop(runtime);
        sink.flush();
        program.log_format = sink.own_format();
        let error = reexec::become_next(&next.state, &mut next.fds, program);
        log_line!(NOT_REPLACED, "it stays the program that it was: {error}");
        next.state.problem = Some(error.to_string());
        options = from_before(next)?;
    }
}

fn from_before(mut before: Snapshot) -> io::Result<Options> {
    let state = &before.state;
    let listener = state.listener.ok_or(io::ErrorKind::NotFound)?;
    let parent = state.parent.map(|number| before.fds.take(number));
    Ok(Options {
        listener: before.fds.take(listener)?,
        parent: parent.transpose()?,
        control: state.control.clone(),
        source: state.source.as_deref().map(Source::new).transpose()?,
        before: Some(before),
    })
}

fn from_httpd() -> io::Result<Options> {
    let parent = inherited(PARENT, "descriptor 3 (control socket)")?;
    let listener = inherited(LISTENER, "descriptor 4 (listening socket)")?;
    Ok(Options {
        control: stale_socket::path_of(&listener).map(|path| path.with_file_name(operator::NAME)),
        listener,
        parent: Some(parent),
        source: None,
        before: None,
    })
}

fn inherited(number: RawFd, what: &str) -> io::Result<OwnedFd> {
    sys::inherited(number).map_err(|error| {
        let text = format!("{what} was not inherited: {error}; this command is for httpd");
        io::Error::new(error.kind(), text)
    })
}

fn on_its_own(path: &Path, sink: &log::Sink) -> Result<Options, CannotRun> {
    let mut source = Source::new(path)?;
    let read = source.read(&InForce::new()).map_err(|text| CannotRun {
        code: exit_code::CONFIGURATION,
        text,
    })?;
    sink.set_format(read.loaded.settings.log_format);
    let socket = &read.loaded.settings.socket;
    let control = socket.with_file_name(operator::NAME);
    if let Some(other) = standalone::already_there(&control) {
        let control = control.display();
        return Err(CannotRun {
            code: exit_code::STARTUP,
            text: format!(
                "the supervisor with pid {other} listens at `{control}`; say wsgid reload, or stop it first"
            ),
        });
    }
    let listener = standalone::bind(socket, read.httpd)?;
    source.is_bound(socket, read.httpd);
    Ok(Options {
        listener,
        parent: None,
        control: Some(control),
        source: Some(source),
        before: None,
    })
}

/// Said once: what a root that is not the machine's cannot do for httpd.
fn say_what_memory_does() {
    if nix::unistd::geteuid().is_root() && !privilege::may_fix_memory_score() {
        tracing::debug!(
            "this root lacks CAP_SYS_RESOURCE: a worker can take its oom_score_adj back, so where the machine has no \
             memory left another process may end first; bound the sites with memory-max= or memory-limit="
        );
    }
}

fn raise_descriptor_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let wanted = hard.min(DESCRIPTORS_WANTED);
    if soft < wanted
        && let Err(errno) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    {
        log_line!(
            DESCRIPTOR_LIMIT,
            "the limit on descriptors stays at {soft}: {errno}"
        );
    }
}
