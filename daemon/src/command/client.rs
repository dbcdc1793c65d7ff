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
    Commanded, Dumped, ErrorAnswer, ErrorKind, Reexecuting, Reloaded, WorkerStacks, from_json,
};
use wsgid_protocol::blocking::{FrameReader, ReadError, send_frame};
use wsgid_protocol::control::Command;
use wsgid_protocol::metrics::openmetrics;
use wsgid_protocol::status::Status;
use wsgid_protocol::{FrameHead, Kind, payload, text};

use crate::channel::operator::NAME;
use crate::command::find_socket;
use crate::command::print::say;
use crate::command::waiting::{self, WaitOptions};
use crate::exit_code;
use wsgid_protocol::readable::escaped;

/// Longer than the supervisor waits for a dump.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a supervisor may take to become another program.
const CHANGE: Duration = Duration::from_secs(2);
/// How long the next one may take to listen.
const START: Duration = Duration::from_millis(500);
/// Between two tries meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// Which supervisor.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Socket {
    /// The supervisor's control.sock; the one that runs otherwise
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

/// A command for a process group whose outcome is waited for.
#[derive(Debug, clap::Args)]
pub(crate) struct GroupCommand {
    #[command(flatten)]
    of: OneGroup,
    #[command(flatten)]
    wait: WaitOptions,
}

/// `wsgid reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    wait: WaitOptions,
}

/// Arguments of `wsgid drain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Drain {
    #[command(flatten)]
    socket: Socket,
    /// Name of a process group; the whole server otherwise
    group: Option<String>,
    /// Be ready again
    #[arg(long)]
    off: bool,
}

/// Why there is nothing to print.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{0}")]
    Unreachable(String),
    #[error(transparent)]
    Refused(#[from] ErrorAnswer),
}

impl ClientError {
    /// Says it, and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
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

/// `wsgid status --openmetrics`.
pub(crate) fn metrics(socket: &Socket) -> ExitCode {
    match ask(socket, &Command::Status) {
        Ok(status) => {
            say!("{}", openmetrics(&status, None).trim_end());
            ExitCode::from(exit_code::OK)
        }
        Err(error) => error.report(),
    }
}

/// `wsgid restart|start GROUP`.
pub(crate) fn start(args: &GroupCommand, command: impl FnOnce(String) -> Command) -> ExitCode {
    let group = &args.of.group;
    match ask_owner::<Commanded>(&args.of, &command(group.clone())) {
        Ok((place, done)) => {
            let ask = || progress(&place, Some(group));
            waiting::until_served(&ask, Some(group), &done.begun, &args.wait)
        }
        Err(error) => error.report(),
    }
}

/// `wsgid stop GROUP`.
pub(crate) fn stop(args: &GroupCommand) -> ExitCode {
    let group = args.of.group.clone();
    let command = Command::Stop { group };
    match ask_owner::<Commanded>(&args.of, &command) {
        Ok((place, done)) => {
            let group = &args.of.group;
            let ask = || progress(&place, Some(group));
            waiting::until_stopped(&ask, group, &done.begun, &args.wait)
        }
        Err(error) => error.report(),
    }
}

/// `wsgid drain [GROUP]`.
pub(crate) fn drain(args: &Drain) -> ExitCode {
    let command = Command::Drain {
        group: args.group.clone(),
        on: !args.off,
    };
    if let Err(error) = ask::<Value>(&args.socket, &command) {
        return error.report();
    }
    let what = args.group.as_deref().map(|name| escaped(name.as_bytes()));
    let what = what.map_or_else(
        || "the server".to_owned(),
        |name| format!("process group `{name}`"),
    );
    if args.off {
        say!("{what} is ready again as far as its workers are");
    } else {
        say!("{what} serves on and says that it is not ready; --off undoes it");
    }
    ExitCode::from(exit_code::OK)
}

/// `wsgid dump GROUP`.
pub(crate) fn dump(args: &OneGroup) -> ExitCode {
    let group = args.group.clone();
    match ask_owner(args, &Command::Dump { group }) {
        Ok((_, dumped)) => {
            print_stacks(&dumped);
            ExitCode::from(exit_code::OK)
        }
        Err(error) => error.report(),
    }
}

/// `wsgid reload`. Problems of single sites are printed and make it fail.
pub(crate) fn reload(args: &Reload) -> ExitCode {
    let asked = place(&args.socket).and_then(|place| {
        let done: Reloaded = ask_at(&place, &Command::Reload)?;
        Ok((place, done))
    });
    let (place, done) = match asked {
        Ok(done) => done,
        Err(error) => return error.report(),
    };
    for problem in &done.problems {
        eprintln!("{}", escaped(problem.as_bytes()));
    }
    let ask = || progress(&place, None);
    let outcome = waiting::until_served(&ask, None, &done.begun, &args.wait);
    if done.problems.is_empty() {
        outcome
    } else {
        ExitCode::from(exit_code::CONFIGURATION)
    }
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

/// How one group, or all, are; or the exit code.
fn progress(place: &Path, group: Option<&str>) -> Result<Status, ExitCode> {
    let group = group.map(str::to_owned);
    ask_at(place, &Command::Progress { group }).map_err(|error| error.report())
}

/// Says why there is no answer.
pub(super) fn refuse(error: ErrorAnswer) -> ExitCode {
    ClientError::Refused(error).report()
}

/// The sockets of the supervisors that are meant: one at least.
pub(super) fn places(socket: &Socket) -> Result<Vec<PathBuf>, ClientError> {
    match &socket.socket {
        Some(path) if path.is_dir() => Ok(vec![path.join(NAME)]),
        Some(path) => Ok(vec![path.clone()]),
        None => find_socket::running().map_err(ClientError::Unreachable),
    }
}

/// The socket of the one supervisor that is meant.
fn place(socket: &Socket) -> Result<PathBuf, ClientError> {
    let mut places = places(socket)?;
    match places.pop() {
        Some(only) if places.is_empty() => Ok(only),
        last => {
            places.extend(last);
            Err(ClientError::Unreachable(find_socket::several(&places)))
        }
    }
}

/// Asks the supervisor that has the group, if there are several.
pub(super) fn ask_owner<T: DeserializeOwned>(
    args: &OneGroup,
    command: &Command,
) -> Result<(PathBuf, T), ClientError> {
    let mut places = places(&args.socket)?;
    if places.len() > 1 {
        places.retain(|place| {
            ask_at::<Status>(place, &Command::Status)
                .is_ok_and(|status| status.group(&args.group).is_some())
        });
    }
    let socket = match places.as_slice() {
        [only] => Some(only.clone()),
        [] => None,
        several => return Err(ClientError::Unreachable(find_socket::several(several))),
    };
    let Some(place) = socket else {
        let group = &args.group;
        return Err(ClientError::Refused(ErrorAnswer {
            kind: ErrorKind::NoSuchGroup,
            text: format!("no supervisor that runs here has a process group `{group}` of yours"),
        }));
    };
    let answer = ask_at(&place, command)?;
    Ok((place, answer))
}

/// Asks the one supervisor that is meant.
pub(super) fn ask<T: DeserializeOwned>(
    socket: &Socket,
    command: &Command,
) -> Result<T, ClientError> {
    ask_at(&place(socket)?, command)
}

/// Asks once more where the supervisor is just becoming another program.
pub(super) fn ask_at<T: DeserializeOwned>(
    path: &Path,
    command: &Command,
) -> Result<T, ClientError> {
    let begun = Instant::now();
    loop {
        match exchange(path, command) {
            Ok(answer) => return Ok(answer?),
            Err(error) if patience(&error).is_some_and(|most| begun.elapsed() < most) => {
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

/// For how long it is asked again after this. To ask twice does no harm.
fn patience(error: &io::Error) -> Option<Duration> {
    use io::ErrorKind as E;
    match error.kind() {
        // It may just be becoming another program (`wsgid reexec`), which hears no more what
        // was asked.
        E::UnexpectedEof | E::ConnectionReset | E::BrokenPipe => Some(CHANGE),
        // One that was killed has left its socket, and the next one is just starting.
        E::ConnectionRefused => Some(START),
        _ => None,
    }
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
        let asked = text::count(asked, "worker");
        say!("{silent} of {asked} did not answer: the interpreter is busy or locked");
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
