//! The command line's side of `control.sock`: asks, and prints the answer for
//! people or as JSON.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;
use wsgid_protocol::answers::{
    Dumped, ErrorAnswer, ErrorKind, Reexecuting, Reloaded, WorkerStacks, from_json,
};
use wsgid_protocol::blocking::{FrameReader, ReadError, send_frame};
use wsgid_protocol::control::Command;
use wsgid_protocol::readable::escaped_json;
use wsgid_protocol::status::Status;
use wsgid_protocol::{FrameHead, Kind, payload};

use crate::channel::operator::NAME;
use crate::command::find_socket;
use crate::command::print::say;
use crate::command::print_status::print_status;
use crate::exit_code;
use wsgid_protocol::readable::escaped;

/// Longer than the supervisor waits for a dump.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a supervisor may take to become another program.
const CHANGE: Duration = Duration::from_secs(2);
/// Between two tries meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Which supervisor.
#[derive(Debug, clap::Args)]
pub(crate) struct Socket {
    /// The supervisor's control.sock; the one in /run/wsgid or of httpd otherwise
    #[arg(long, value_name = "PATH", env = "WSGID_SOCKET")]
    pub(crate) socket: Option<PathBuf>,
}

/// A process group of a supervisor.
#[derive(Debug, clap::Args)]
pub(crate) struct OneGroup {
    #[command(flatten)]
    pub(crate) socket: Socket,
    /// Name of the process group
    pub(crate) group: String,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("{0}")]
    Unreachable(String),
    #[error(transparent)]
    Refused(#[from] ErrorAnswer),
}

impl ClientError {
    /// Says it, and gives the exit code.
    fn report(&self) -> ExitCode {
        eprintln!("wsgid: {}", escaped(self.to_string().as_bytes()));
        ExitCode::from(match self {
            Self::Unreachable(_) => exit_code::UNREACHABLE,
            Self::Refused(error) => match error.kind {
                ErrorKind::Denied => exit_code::DENIED,
                ErrorKind::NoSuchGroup => exit_code::NO_SUCH_GROUP,
                _ => exit_code::FAILURE,
            },
        })
    }
}

/// `wsgid status`.
pub(crate) fn status(socket: &Socket, json: bool) -> ExitCode {
    if json {
        // Also what only a newer release knows.
        let answer: Result<Value, _> = ask(socket, &Command::Status);
        return finish(answer, |answer| {
            say!("{}", escaped_json(&answer.to_string()));
        });
    }
    finish(ask(socket, &Command::Status), print_status)
}

/// `wsgid restart|stop|start GROUP`.
pub(crate) fn command(args: &OneGroup, command: impl FnOnce(String) -> Command) -> ExitCode {
    let answer: Result<Value, _> = ask(&args.socket, &command(args.group.clone()));
    finish(answer, |_| {})
}

/// `wsgid dump GROUP`.
pub(crate) fn dump(args: &OneGroup) -> ExitCode {
    let group = args.group.clone();
    finish(ask(&args.socket, &Command::Dump { group }), print_stacks)
}

/// `wsgid reload`. Problems of single sites are printed and make it fail.
pub(crate) fn reload(socket: &Socket) -> ExitCode {
    let problems = match ask::<Reloaded>(socket, &Command::Reload) {
        Ok(reloaded) => reloaded.problems,
        Err(error) => return error.report(),
    };
    for problem in &problems {
        eprintln!("{}", escaped(problem.as_bytes()));
    }
    ExitCode::from(if problems.is_empty() {
        exit_code::OK
    } else {
        exit_code::CONFIGURATION
    })
}

/// `wsgid reexec`: asks, and waits until the next program answers.
pub(crate) fn reexec(socket: &Socket) -> ExitCode {
    let before: Reexecuting = match ask(socket, &Command::Reexec) {
        Ok(before) => before,
        Err(error) => return error.report(),
    };
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        let Ok(status) = ask::<Status>(socket, &Command::Status) else {
            continue;
        };
        if status.pid != before.pid {
            return failure(&format!(
                "the supervisor (pid {}) ended meanwhile; another one was started (pid {})",
                before.pid, status.pid
            ));
        }
        let supervisor = status.supervisor.unwrap_or_default();
        if supervisor.reexecs <= before.reexecs {
            continue;
        }
        if let Some(problem) = &supervisor.reexec_problem {
            return failure(&escaped(problem.as_bytes()));
        }
        let version = escaped(status.version.as_bytes());
        say!("wsgid {version} goes on (pid {})", status.pid);
        return ExitCode::from(exit_code::OK);
    }
    failure("the supervisor did not come back; its log says why")
}

fn failure(text: &str) -> ExitCode {
    eprintln!("wsgid: {text}");
    ExitCode::from(exit_code::FAILURE)
}

fn finish<T>(answer: Result<T, ClientError>, print: impl FnOnce(&T)) -> ExitCode {
    match answer {
        Ok(answer) => {
            print(&answer);
            ExitCode::from(exit_code::OK)
        }
        Err(error) => error.report(),
    }
}

fn ask<T: DeserializeOwned>(socket: &Socket, command: &Command) -> Result<T, ClientError> {
    let path = match &socket.socket {
        Some(path) if path.is_dir() => path.join(NAME),
        Some(path) => path.clone(),
        None => find_socket::find().map_err(ClientError::Unreachable)?,
    };
    let begun = Instant::now();
    loop {
        match exchange(&path, command) {
            Ok(answer) => return Ok(answer?),
            Err(error) if is_between(&error) && begun.elapsed() < CHANGE => {
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                let path = path.display();
                return Err(ClientError::Unreachable(format!(
                    "failed to ask the supervisor at `{path}`: {error}"
                )));
            }
        }
    }
}

/// Whether the supervisor may just be becoming another program (`wsgid reexec`),
/// which hears no more what was asked. To ask twice does no harm.
fn is_between(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// Sends one command and gives the answer.
pub(crate) fn exchange<T: DeserializeOwned>(
    path: &Path,
    command: &Command,
) -> io::Result<Result<T, ErrorAnswer>> {
    let stream = UnixStream::connect(path)?;
    let asked = Instant::now();
    stream.set_read_timeout(Some(TIMEOUT))?;
    let bytes = payload::encode(command).map_err(invalid)?;
    let len = u32::try_from(bytes.len()).map_err(|_| invalid("the command is too long"))?;
    let head = FrameHead::new(Kind::Control, 0, len);
    send_frame(stream.as_fd(), head, &bytes, &[])?;
    let mut reader = FrameReader::new(0);
    let frame = reader.next(stream.as_fd()).map_err(|error| match error {
        _ if asked.elapsed() >= TIMEOUT => io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it gave no answer within {} s", TIMEOUT.as_secs()),
        ),
        ReadError::Closed | ReadError::Truncated => {
            io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string())
        }
        ReadError::Io(error) => error,
        ReadError::Head(_) => invalid(error),
    })?;
    from_json(frame.payload).map_err(invalid)
}

fn invalid(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

fn print_stacks(dumped: &Dumped) {
    for WorkerStacks { pid, stacks } in &dumped.workers {
        say!("worker {pid}");
        for line in stacks.lines() {
            say!("{}", escaped(line.as_bytes()));
        }
        say!();
    }
    let asked = dumped.asked;
    let silent = asked.saturating_sub(dumped.workers.len());
    if asked == 0 {
        say!("no worker runs");
    }
    if silent > 0 {
        say!("{silent} of {asked} workers did not answer: their interpreter is busy or locked");
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_no_supervisor_is_not_taken_for_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        for (said, is_one) in [
            ("[]", false),
            ("{}", false),
            ("5", false),
            (r#"{"ok":true}"#, true),
        ] {
            let answer = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let _ = stream.read(&mut [0; 64]).unwrap();
                    let head = FrameHead::new(Kind::Control, 0, u32::try_from(said.len()).unwrap());
                    stream
                        .write_all(&[&head.encode(), said.as_bytes()].concat())
                        .unwrap();
                });
                exchange::<Status>(&path, &Command::Status)
            });
            assert_eq!(answer.is_ok(), is_one, "{said}");
        }
    }

    #[test]
    fn who_becomes_another_program_is_asked_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let answer = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 64]).unwrap();
                drop(stream);
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 64]).unwrap();
                let said = br#"{"ok":true}"#;
                let head = FrameHead::new(Kind::Control, 0, u32::try_from(said.len()).unwrap());
                stream
                    .write_all(&[&head.encode(), said.as_slice()].concat())
                    .unwrap();
            });
            let socket = Some(path.clone());
            ask::<Status>(&Socket { socket }, &Command::Status)
        });
        assert!(answer.is_ok(), "{answer:?}");
        let begun = Instant::now();
        drop(listener);
        let socket = Some(path);
        assert!(ask::<Status>(&Socket { socket }, &Command::Status).is_err());
        assert!(begun.elapsed() < CHANGE, "nobody is there");
    }
}
