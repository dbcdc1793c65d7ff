//! The command line's side of `control.sock`: asks, and prints the answer for
//! people or as JSON.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use wsgid_protocol::blocking::{FrameReader, ReadError, send_frame};
use wsgid_protocol::control::Command;
use wsgid_protocol::readable::escaped_json;
use wsgid_protocol::{FrameHead, Kind, payload};

use crate::channel::operator::NAME;
use crate::command::find_socket;
use crate::command::print::say;
use crate::exit_code;
use crate::log::escaped;

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

/// `wsgid status`.
pub(crate) fn status(socket: &Socket, json: bool) -> ExitCode {
    finish(ask(socket, &Command::Status), |answer| {
        if json {
            say!("{}", escaped_json(&answer.to_string()))
        } else {
            print_status(answer)
        }
    })
}

/// `wsgid restart|stop|start GROUP`.
pub(crate) fn command(args: &OneGroup, command: impl FnOnce(String) -> Command) -> ExitCode {
    finish(ask(&args.socket, &command(args.group.clone())), |_| {})
}

/// `wsgid dump GROUP`.
pub(crate) fn dump(args: &OneGroup) -> ExitCode {
    finish(
        ask(
            &args.socket,
            &Command::Dump {
                group: args.group.clone(),
            },
        ),
        print_stacks,
    )
}

/// `wsgid reload`. Problems of single sites are printed and make it fail.
pub(crate) fn reload(socket: &Socket) -> ExitCode {
    let answer = ask(socket, &Command::Reload);
    let problems: Vec<String> = match &answer {
        Ok(answer) => list(answer, "problems")
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        Err(_) => Vec::new(),
    };
    problems
        .iter()
        .for_each(|problem| eprintln!("{}", escaped(problem.as_bytes())));
    if problems.is_empty() {
        finish(answer, |_| {})
    } else {
        ExitCode::from(exit_code::CONFIGURATION)
    }
}

/// `wsgid reexec`: asks, and waits until the next program answers.
pub(crate) fn reexec(socket: &Socket) -> ExitCode {
    let answer = ask(socket, &Command::Reexec);
    let Some(before) = answer
        .as_ref()
        .ok()
        .and_then(|answer| answer.get("reexecs"))
        .and_then(Value::as_u64)
    else {
        return finish(answer, |_| {});
    };
    let pid = answer
        .as_ref()
        .map(|answer| number(answer, "pid"))
        .unwrap_or_default();
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
        let Ok(status) = ask(socket, &Command::Status) else {
            continue;
        };
        let other = number(&status, "pid");
        if other != pid {
            eprintln!(
                "wsgid: the supervisor (pid {pid}) ended meanwhile; another one was started (pid {other})"
            );
            return ExitCode::from(exit_code::FAILURE);
        }
        if number(&status, "reexecs") > before {
            if let Some(problem) = status.get("reexec_problem").and_then(Value::as_str) {
                eprintln!("wsgid: {}", escaped(problem.as_bytes()));
                return ExitCode::from(exit_code::FAILURE);
            }
            say!(
                "wsgid {} goes on (pid {})",
                text(&status, "version"),
                number(&status, "pid")
            );
            return ExitCode::from(exit_code::OK);
        }
    }
    eprintln!("wsgid: the supervisor did not come back; its log says why");
    ExitCode::from(exit_code::FAILURE)
}

fn finish(answer: Result<Value, String>, print: impl FnOnce(&Value)) -> ExitCode {
    let answer = match answer {
        Ok(answer) => answer,
        Err(text) => {
            eprintln!("wsgid: {text}");
            return ExitCode::from(exit_code::UNREACHABLE);
        }
    };
    let Some(kind) = answer.get("error").and_then(Value::as_str) else {
        print(&answer);
        return ExitCode::from(exit_code::OK);
    };
    eprintln!("wsgid: {}", text(&answer, "text"));
    ExitCode::from(match kind {
        "denied" => exit_code::DENIED,
        "no-such-group" => exit_code::NO_SUCH_GROUP,
        _ => exit_code::FAILURE,
    })
}

fn ask(socket: &Socket, command: &Command) -> Result<Value, String> {
    let path = match &socket.socket {
        Some(path) if path.is_dir() => path.join(NAME),
        Some(path) => path.clone(),
        None => find_socket::find()?,
    };
    let begun = Instant::now();
    loop {
        match exchange(&path, command) {
            Err(error) if is_between(&error) && begun.elapsed() < CHANGE => {
                std::thread::sleep(PAUSE)
            }
            other => {
                return other.map_err(|error| {
                    format!(
                        "failed to ask the supervisor at `{}`: {error}",
                        path.display()
                    )
                });
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
pub(crate) fn exchange(path: &Path, command: &Command) -> io::Result<Value> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let stream = UnixStream::connect(path)?;
    let asked = Instant::now();
    stream.set_read_timeout(Some(TIMEOUT))?;
    let bytes = payload::encode(command).map_err(|error| invalid(error.to_string()))?;
    let len =
        u32::try_from(bytes.len()).map_err(|_| invalid("the command is too long".to_owned()))?;
    send_frame(
        stream.as_fd(),
        FrameHead::new(Kind::Control, 0, len),
        &bytes,
        &[],
    )?;
    let mut reader = FrameReader::new(0);
    let frame = reader.next(stream.as_fd()).map_err(|error| {
        if asked.elapsed() >= TIMEOUT {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it gave no answer within {} s", TIMEOUT.as_secs()),
            )
        } else {
            match error {
                ReadError::Closed | ReadError::Truncated => {
                    io::Error::new(io::ErrorKind::UnexpectedEof, error.to_string())
                }
                ReadError::Io(error) => error,
                ReadError::Head(_) => invalid(error.to_string()),
            }
        }
    })?;
    let answer: Value =
        serde_json::from_slice(frame.payload).map_err(|error| invalid(error.to_string()))?;
    if is(&answer, "ok") || answer.get("error").is_some_and(Value::is_string) {
        Ok(answer)
    } else {
        Err(invalid("what answers there is no supervisor".to_owned()))
    }
}

/// Texts of a tenant end up on the terminal of an administrator: one harmless
/// line each.
fn text(value: &Value, key: &str) -> String {
    escaped(raw(value, key).as_bytes())
}

fn text_or(value: &Value, key: &str, otherwise: &str) -> String {
    if value.get(key).is_some_and(Value::is_string) {
        text(value, key)
    } else {
        otherwise.to_owned()
    }
}

fn raw<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn is(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn print_stacks(answer: &Value) {
    for worker in list(answer, "workers") {
        say!("worker {}", number(worker, "pid"));
        raw(worker, "stacks")
            .lines()
            .for_each(|line| say!("{}", escaped(line.as_bytes())));
        say!();
    }
    let asked = number(answer, "asked");
    let got = list(answer, "workers").count() as u64;
    if asked == 0 {
        say!("no worker runs");
    }
    if asked > got {
        say!(
            "{} of {asked} workers did not answer: their interpreter is busy or locked",
            asked - got
        );
    }
}

fn print_status(answer: &Value) {
    say!(
        "wsgid {} (pid {}), up {} s",
        text(answer, "version"),
        number(answer, "pid"),
        number(answer, "uptime_s")
    );
    if answer
        .get("control_groups_problem")
        .is_some_and(Value::is_string)
    {
        say!(
            "no or not all control groups: {}",
            text(answer, "control_groups_problem")
        );
    }
    for group in list(answer, "groups") {
        say!(
            "\n{}  user {}, {} processes, {} threads",
            text(group, "name"),
            text_or(group, "user", "?"),
            range(number(group, "processes"), number(group, "processes_max")),
            number(group, "threads")
        );
        if group.get("problem").is_some_and(Value::is_string) {
            say!("  cannot start: {}", text(group, "problem"));
        } else if list(group, "pools").next().is_none() {
            say!(
                "  {}",
                if is(group, "stopped") {
                    "stopped"
                } else {
                    "starts with the first request"
                }
            );
        }
        if is(group, "removed") {
            say!("  no longer configured: it ends with its last requests");
        }
        list(group, "pools").for_each(print_pool);
    }
}

/// As `processes=` has it.
fn range(least: u64, most: u64) -> String {
    if most > least {
        format!("{least}..{most}")
    } else {
        least.to_string()
    }
}

fn print_pool(pool: &Value) {
    let application = match raw(pool, "application_group") {
        "" => "%{GLOBAL}".to_owned(),
        name => escaped(name.as_bytes()),
    };
    say!(
        "  {application}{}: {}, generation {}, {} waiting, {} restarts",
        if is(pool, "from_request") {
            " (named by a request)"
        } else {
            ""
        },
        text(pool, "state"),
        number(pool, "generation"),
        number(pool, "waiting"),
        number(pool, "restarts")
    );
    if let Some(preloader) = pool
        .get("preloader")
        .filter(|preloader| number(preloader, "pid") > 0)
    {
        say!(
            "    {:>7}  preloader, {}",
            number(preloader, "pid"),
            text(preloader, "state")
        );
    }
    for worker in list(pool, "workers") {
        say!(
            "    {:>7}  slot {}  {:<9} python {}  {} requests, {} running, {} connections, up {} s{}",
            number(worker, "pid"),
            number(worker, "slot"),
            text(worker, "state"),
            text_or(worker, "python", "?"),
            number(worker, "requests"),
            number(worker, "in_flight"),
            number(worker, "connections"),
            number(worker, "uptime_s"),
            if worker.get("answers") == Some(&Value::Bool(false)) {
                ", does not answer now"
            } else {
                ""
            }
        );
        for script in list(worker, "failed_scripts") {
            say!("             `{}` failed to load", text(script, "script"));
        }
    }
    if let Some(given_up) = pool.get("given_up").filter(|given_up| given_up.is_object()) {
        say!(
            "    generation {} was given up: {}",
            number(given_up, "generation"),
            text(given_up, "why")
        );
        for script in list(given_up, "failed_scripts") {
            raw(script, "traceback")
                .lines()
                .for_each(|line| say!("      {}", escaped(line.as_bytes())));
        }
    }
    if let Some(cause) = list(pool, "causes").last() {
        say!("    last: {}", text(cause, "text"));
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
                exchange(&path, &Command::Status)
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
            ask(
                &Socket {
                    socket: Some(path.clone()),
                },
                &Command::Status,
            )
        });
        assert!(answer.is_ok(), "{answer:?}");
        let begun = Instant::now();
        drop(listener);
        assert!(ask(&Socket { socket: Some(path) }, &Command::Status).is_err());
        assert!(begun.elapsed() < CHANGE, "nobody is there");
    }
}
