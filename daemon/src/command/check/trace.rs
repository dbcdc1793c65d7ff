//! The process that sees what an application is denied: it starts the one that enters the
//! isolation (`enter.rs`), becomes the site's user itself, outside of the isolation, and
//! follows every call of the kernel that fails in there, also those of libraries in C and of
//! programs that the application starts. What failed inside and could be done here was denied.
//! Knows no option of isolation: what opens it is `denied.rs`'s affair.

use std::collections::HashMap;
use std::io::{self, PipeReader, Read, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use wsgid_protocol::isolation::IsolationReport;

use super::denied::{Denied, LoadOutcome, Seen};
use super::enter::{self, LoadTask, Record};
use super::failed_calls::FailedCalls;
use super::probe;
use super::step::CheckStep;
use crate::command::print::say;
use crate::exit_code;
use crate::sys::{self, CallStop};

/// Bytes of a record that are read.
const RECORD_MAX: u64 = 1 << 16;
/// How long the record may take once its process has ended.
const RECORD_WAIT: Duration = Duration::from_secs(1);
/// How much longer than its own limit a load may take that does not keep to it.
const GRACE: Duration = Duration::from_secs(2);

/// Takes the step.
pub(super) fn run() -> ExitCode {
    let Ok(task) = serde_json::from_reader::<_, LoadTask>(io::stdin()) else {
        return ExitCode::from(exit_code::FAILURE);
    };
    let seen = trace(&task).unwrap_or_else(|problem| Seen {
        loaded: LoadOutcome::NotEntered(problem),
        ..Seen::default()
    });
    say!("{}", serde_json::to_string(&seen).unwrap_or_default());
    ExitCode::from(exit_code::OK)
}

fn trace(task: &LoadTask) -> Result<Seen, String> {
    let failed = |error: io::Error| format!("it could not be tried: {error}");
    probe::leave_terminal()?;
    let (record, record_end) = io::pipe().map_err(failed)?;
    let (output, output_end) = io::pipe().map_err(failed)?;
    fcntl(&record_end, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|errno| failed(errno.into()))?;
    let mut command = CheckStep::Enter.command();
    command
        .arg("--record")
        .arg(record_end.as_raw_fd().to_string())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(output_end.try_clone().map_err(failed)?)
        .stderr(output_end);
    let mut child = command.spawn().map_err(failed)?;
    drop((command, record_end));
    let record = Written::read(record);
    drained(output);
    // While this is still root: what the other one does as root is not the site's to say.
    let text = serde_json::to_vec(task).map_err(|error| failed(error.into()))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(&text).map_err(failed)?;
    }
    probe::give_up_root(&task.probe.config, &task.probe.identity)?;
    let root = Pid::from_raw(i32::try_from(child.id()).map_err(|_| "no process".to_owned())?);
    let limit = KillAfter::new(root, task.limit() + GRACE);
    let mut tracer = Tracer::new(root, task);
    let ended = tracer.follow();
    let was_killed = limit.end();
    let (loaded, report) = outcome(&record.take(), ended, was_killed);
    Ok(Seen {
        loaded,
        report,
        traced: tracer.traced,
        denied: tracer.denied,
        last: tracer.last,
    })
}

/// What came of it, by its own record, or by how it ended; and what is in force.
fn outcome(
    record: &[u8],
    ended: Option<WaitStatus>,
    was_killed: bool,
) -> (LoadOutcome, IsolationReport) {
    let text = String::from_utf8_lossy(record);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let report = match serde_json::from_str(first) {
        Ok(Record::Isolated(report)) => report,
        Ok(Record::Came(loaded)) => return (loaded, IsolationReport::default()),
        Err(_) => IsolationReport::default(),
    };
    if let Some(Ok(Record::Came(loaded))) = rest.lines().next().map(serde_json::from_str) {
        return (loaded, report);
    }
    if rest.starts_with("Timeout") {
        return (LoadOutcome::TooLong(enter::place_in(rest)), report);
    }
    let loaded = match ended {
        _ if was_killed => LoadOutcome::TooLong(None),
        Some(WaitStatus::Exited(_, code)) => LoadOutcome::Ended(format!("exit code {code}")),
        Some(WaitStatus::Signaled(_, signal, _)) => LoadOutcome::Ended(signal.to_string()),
        _ => LoadOutcome::Ended("nobody knows how".to_owned()),
    };
    (loaded, report)
}

/// Kills a process that takes longer than that.
struct KillAfter {
    ended: Sender<()>,
    thread: JoinHandle<bool>,
}

impl KillAfter {
    fn new(root: Pid, limit: Duration) -> Self {
        let (ended, receiver) = channel::<()>();
        let thread = std::thread::spawn(move || {
            let is_late = receiver.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if is_late {
                let _ = kill(root, Signal::SIGKILL);
            }
            is_late
        });
        Self { ended, thread }
    }

    /// Whether it was killed: it has ended now.
    fn end(self) -> bool {
        drop(self.ended);
        self.thread.join().unwrap_or_default()
    }
}

/// What is read of the record while it is written.
struct Written {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Written {
    fn read(pipe: PipeReader) -> Self {
        let (sender, end) = channel();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut pipe = pipe.take(RECORD_MAX);
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut bytes = shared.lock().unwrap_or_else(PoisonError::into_inner);
                bytes.extend_from_slice(&buffer[..count]);
            }
            drop(sender);
        });
        Self { bytes, end }
    }

    /// All of it, once its process has ended. Whoever that has left behind may hold it open.
    fn take(self) -> Vec<u8> {
        let _ = self.end.recv_timeout(RECORD_WAIT);
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut bytes)
    }
}

/// What it prints is read, or it would wait or fail, and is nobody's news here.
fn drained(mut pipe: PipeReader) {
    std::thread::spawn(move || io::copy(&mut pipe, &mut io::sink()));
}

struct Tracer<'t> {
    root: Pid,
    failed: FailedCalls<'t>,
    /// The call that each thread is in.
    calls: HashMap<Pid, Option<(u64, [u64; 6])>>,
    /// Whether it could be traced.
    traced: bool,
    /// Whether it is the site's Python already.
    began: bool,
    denied: Vec<Denied>,
    last: Option<usize>,
}

impl<'t> Tracer<'t> {
    fn new(root: Pid, task: &'t LoadTask) -> Self {
        Self {
            root,
            failed: FailedCalls::new(&task.probe.config),
            calls: HashMap::new(),
            traced: false,
            began: false,
            denied: Vec::new(),
            last: None,
        }
    }

    /// Follows all of them until the first has ended, and says how.
    fn follow(&mut self) -> Option<WaitStatus> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
            };
            match status {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    if pid == self.root {
                        return Some(status);
                    }
                    self.calls.remove(&pid);
                }
                WaitStatus::PtraceSyscall(pid) => self.call(pid),
                WaitStatus::PtraceEvent(pid, _, event) => {
                    self.began |= event == libc::PTRACE_EVENT_EXEC;
                    go_on(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => self.stopped(pid, signal),
                _ => {}
            }
        }
    }

    fn stopped(&mut self, pid: Pid, signal: Signal) {
        if pid == self.root && !self.traced {
            self.traced = true;
            let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
                | ptrace::Options::PTRACE_O_TRACEFORK
                | ptrace::Options::PTRACE_O_TRACEVFORK
                | ptrace::Options::PTRACE_O_TRACECLONE
                | ptrace::Options::PTRACE_O_TRACEEXEC
                | ptrace::Options::PTRACE_O_EXITKILL;
            let _ = ptrace::setoptions(pid, options);
        }
        // How a new one begins, and stops that nobody would end.
        let stops = [
            Signal::SIGSTOP,
            Signal::SIGTSTP,
            Signal::SIGTTIN,
            Signal::SIGTTOU,
        ];
        go_on(pid, Some(signal).filter(|signal| !stops.contains(signal)));
    }

    fn call(&mut self, pid: Pid) {
        match sys::call_stop(pid) {
            Ok(CallStop::Begins { number, arguments }) => {
                self.calls.insert(pid, Some((number, arguments)));
            }
            Ok(CallStop::Ends { errno: Some(errno) }) if self.began => {
                if let Some((number, arguments)) = self.calls.get_mut(&pid).and_then(Option::take) {
                    self.note(pid, number, arguments, Errno::from_raw(errno));
                }
            }
            _ => {}
        }
        go_on(pid, None);
    }

    fn note(&mut self, pid: Pid, number: u64, arguments: [u64; 6], errno: Errno) {
        for denied in self.failed.denied(pid, number, arguments, errno) {
            let known = self.denied.iter().position(|one| *one == denied);
            self.last = known.or_else(|| {
                let has_room = self.denied.len() < Seen::MOST;
                has_room.then(|| {
                    self.denied.push(denied);
                    self.denied.len() - 1
                })
            });
        }
    }
}

/// It may have been killed meanwhile.
fn go_on(pid: Pid, signal: Option<Signal>) {
    let _ = ptrace::syscall(pid, signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_load_is_in_its_record_or_in_how_it_ended() {
        let exited = |code| Some(WaitStatus::Exited(Pid::from_raw(1), code));
        let after = |record: &str| format!("{{\"Isolated\":{{\"in_force\":[\"ipc\"]}}}}\n{record}");
        let of = |record: &str, ended| {
            let (loaded, report) = outcome(after(record).as_bytes(), ended, false);
            assert_eq!(report.in_force, ["ipc"]);
            loaded
        };
        assert_eq!(of("{\"Came\": \"Works\"}\n", exited(0)), LoadOutcome::Works);
        let raised =
            r#"{"Came": {"Raised": {"text": "OSError: no", "file": "/srv/a.py", "line": 3}}}"#;
        assert_eq!(
            of(raised, exited(0)),
            LoadOutcome::Raised {
                text: "OSError: no".to_owned(),
                file: Some("/srv/a.py".to_owned()),
                line: Some(3)
            }
        );
        assert_eq!(
            of("", exited(3)),
            LoadOutcome::Ended("exit code 3".to_owned())
        );
        let killed = WaitStatus::Signaled(Pid::from_raw(1), Signal::SIGSEGV, false);
        assert_eq!(
            of("\u{fffd}{", Some(killed)),
            LoadOutcome::Ended("SIGSEGV".to_owned())
        );
        let killed = Some(WaitStatus::Signaled(
            Pid::from_raw(1),
            Signal::SIGKILL,
            false,
        ));
        assert_eq!(of("", killed), LoadOutcome::Ended("SIGKILL".to_owned()));
        assert_eq!(outcome(b"", killed, true).0, LoadOutcome::TooLong(None));
        let never = outcome(b"{\"Came\":{\"NotEntered\":\"no\"}}\n", exited(0), false).0;
        assert_eq!(never, LoadOutcome::NotEntered("no".to_owned()));
        assert_eq!(outcome(b"\xff", None, false).1, IsolationReport::default());
    }
}
