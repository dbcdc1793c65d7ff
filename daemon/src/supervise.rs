//! `wsgid supervise`: takes over what httpd left at descriptors 3 and 4,
//! starts log and runtime, and runs the supervisor.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{UnixAddr, getsockname};

use crate::standalone::{self, Source};
use crate::supervisor::{self, Options};
use crate::{control, exit_code, log, sys};

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
    #[arg(long, required_unless_present = "config")]
    httpd: bool,
    /// Run on its own with this wsgid.toml
    #[arg(long, value_name = "FILE", conflicts_with = "httpd")]
    config: Option<PathBuf>,
    /// error, warn, info or debug
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    log_level: String,
}

/// Runs the supervisor until everything has ended.
pub(crate) fn run(args: &Supervise) -> ExitCode {
    let sink = log::init(&args.log_level);
    let options = match &args.config {
        Some(path) => on_its_own(path, &sink),
        None => from_httpd(&sink).map_err(|error| (exit_code::STARTUP, error.to_string())),
    };
    let outcome = options.and_then(|options| start(options).map_err(|error| (exit_code::STARTUP, error.to_string())));
    let code = match outcome {
        Ok(()) => exit_code::OK,
        Err((code, text)) => {
            tracing::error!("the supervisor cannot run: {text}");
            code
        }
    };
    sink.flush();
    ExitCode::from(code)
}

fn start(options: Options) -> io::Result<()> {
    raise_descriptor_limit();
    // Nothing of the place where it was started may be held.
    nix::unistd::chdir("/")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(supervisor::run(options))
}

fn from_httpd(sink: &log::Sink) -> io::Result<Options> {
    let (parent, listener) = inherited()?;
    let control = socket_directory(&listener).map(|directory| directory.join(control::NAME));
    Ok(Options { sink: sink.clone(), listener, parent: Some(parent), control, source: None })
}

fn on_its_own(path: &Path, sink: &log::Sink) -> Result<Options, (u8, String)> {
    let startup = |error: io::Error| (exit_code::STARTUP, error.to_string());
    let source = Source::new(path).map_err(startup)?;
    let read = source.read().map_err(|text| (exit_code::CONFIGURATION, text))?;
    let socket = read.loaded.settings.socket.clone();
    let listener = standalone::bind(&socket, read.httpd).map_err(startup)?;
    let control = socket.parent().map(|directory| directory.join(control::NAME));
    Ok(Options { sink: sink.clone(), listener, parent: None, control, source: Some(source) })
}

fn inherited() -> io::Result<(OwnedFd, OwnedFd)> {
    let named = |what: &'static str| {
        move |error: io::Error| {
            io::Error::new(error.kind(), format!("{what} was not inherited: {error}; this command is for httpd"))
        }
    };
    let parent = sys::inherited(PARENT).map_err(named("descriptor 3 (control socket)"))?;
    let listener = sys::inherited(LISTENER).map_err(named("descriptor 4 (listening socket)"))?;
    Ok((parent, listener))
}

/// The directory of a socket in the file system.
fn socket_directory(socket: &OwnedFd) -> Option<PathBuf> {
    let address: UnixAddr = getsockname(socket.as_raw_fd()).ok()?;
    address.path().and_then(Path::parent).filter(|directory| directory.is_absolute()).map(Path::to_path_buf)
}

fn raise_descriptor_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let wanted = hard.min(DESCRIPTORS_WANTED);
    if soft < wanted
        && let Err(errno) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    {
        tracing::warn!("the limit on descriptors stays at {soft}: {errno}");
    }
}
