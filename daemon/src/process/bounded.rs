//! Runs a program that a tenant may have put there, for a moment: bounded in time and in
//! what it may print. Called by `wsgid check`, which sees to it that there is no
//! terminal, and by `express/python`; what the program means is the caller's affair.
//! `reexec` waits in the same way for the program that is to take over.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::process::procfs;

/// Bytes of each output that are read.
const OUTPUT_MAX: u64 = 1 << 20;

pub(crate) struct ChildOutput {
    /// `None`: it had to be killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

/// How long what was left behind may take to end once it was killed.
const LEFTOVER_TIME: Duration = Duration::from_secs(3);

/// Runs `command` for `limit` at most, and ends the process group that it leads, if
/// it leads one.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn run(command: &mut Command, limit: Duration) -> io::Result<ChildOutput> {
    Ok(begin(command, &[], limit)?.collect())
}

/// Runs `command` for `limit` at most, and ends whatever it leaves behind, also
/// what has left its process group and its session. For a process that starts
/// nothing else meanwhile: every new child is taken for one that was left behind.
///
/// # Errors
/// If it cannot be started, or if something that it left behind does not end.
pub(crate) fn run_whole(
    command: &mut Command,
    input: &[u8],
    limit: Duration,
) -> io::Result<ChildOutput> {
    let before = procfs::children();
    set_child_subreaper(true)?;
    let outcome = begin(command, input, limit)?;
    end_children(&before)?;
    Ok(outcome.collect())
}

/// Kills all children but these, and what comes from them: the orphans of one that
/// has ended are children next time.
fn end_children(others: &[u32]) -> io::Result<()> {
    let deadline = Instant::now() + LEFTOVER_TIME;
    loop {
        let new = procfs::children()
            .into_iter()
            .filter(|pid| !others.contains(pid));
        let left: Vec<Pid> = new
            .filter_map(|pid| Some(Pid::from_raw(pid.try_into().ok()?)))
            .collect();
        let Some(first) = left.first() else {
            return Ok(());
        };
        if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "process {first}, which it has left behind, does not end"
            )));
        }
        for pid in &left {
            let _ = kill(*pid, Signal::SIGKILL);
            let _ = waitpid(*pid, Some(WaitPidFlag::WNOHANG));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A program that has ended, and what it prints: something it has left behind may
/// hold the outputs open.
struct Ended {
    status: Option<ExitStatus>,
    out: Option<Receiver<Vec<u8>>>,
    err: Option<Receiver<Vec<u8>>>,
    deadline: Instant,
}

impl Ended {
    fn collect(self) -> ChildOutput {
        ChildOutput {
            status: self.status,
            out: take(self.out, self.deadline),
            err: take(self.err, self.deadline),
        }
    }
}

fn take(output: Option<Receiver<Vec<u8>>>, deadline: Instant) -> Vec<u8> {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = left.max(Duration::from_millis(500));
    let bytes = output.and_then(|bytes| bytes.recv_timeout(left).ok());
    bytes.unwrap_or_default()
}

/// Runs the program; what it has printed is collected later.
fn begin(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Ended> {
    let deadline = Instant::now() + limit;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().map(read);
    let err = child.stderr.take().map(read);
    if let Some(mut pipe) = child.stdin.take() {
        // One that does not want it says so by how it ends.
        let _ = pipe.write_all(input);
    }
    let status = wait(&mut child, deadline)?;
    // Whatever it has left behind may hold the outputs open.
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    Ok(Ended {
        status,
        out,
        err,
        deadline,
    })
}

/// Waits until the deadline for it to end.
///
/// # Errors
/// As `waitpid(2)`.
pub(crate) fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some(status)),
            None if Instant::now() > deadline => return Ok(None),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// Reads to the end, or to the limit, in a thread of its own: a process that got
/// away may never end it.
fn read(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.by_ref().take(OUTPUT_MAX).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    fn shell(script: &str, limit: Duration) -> (ChildOutput, Duration) {
        let begun = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", script]).process_group(0);
        let outcome = begin(&mut command, b"input", limit).unwrap().collect();
        (outcome, begun.elapsed())
    }

    #[test]
    fn what_it_prints_is_heard() {
        let (outcome, _) = shell("cat; echo why >&2; exit 3", Duration::from_secs(10));
        assert_eq!(
            (outcome.out.as_slice(), outcome.err.as_slice()),
            (&b"input"[..], &b"why\n"[..])
        );
        assert_eq!(outcome.status.and_then(|status| status.code()), Some(3));
    }

    #[test]
    fn neither_silence_nor_noise_nor_a_child_holds_anybody_up() {
        let (outcome, took) = shell("sleep 60", Duration::from_millis(200));
        assert!(outcome.status.is_none() && took < Duration::from_secs(10));
        let (outcome, took) = shell("cat /dev/zero", Duration::from_millis(500));
        assert!(outcome.out.len() as u64 <= OUTPUT_MAX && took < Duration::from_secs(10));
        let (outcome, took) = shell("sleep 60 & echo done", Duration::from_secs(30));
        assert_eq!(outcome.out, b"done\n");
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
}
