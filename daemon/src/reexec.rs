//! `wsgid reexec`: the running program replaces itself and keeps everything that matters:
//! the listening socket, the parent, the workers (they stay children, since the process
//! stays the same), and every connection. What the supervisor knows travels as JSON in an
//! anonymous file, descriptors by their numbers. Called by `supervisor/start.rs`; the
//! supervisor takes itself apart in `supervisor/snapshot.rs` and puts itself together in
//! `supervisor/restore.rs`.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use serde::Serialize;
use wsgid_protocol::config::LogFormat;

use crate::process::bounded;

/// How long the new program may look at what it is to take over.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// What a program says that understands the state; one that is no supervisor may end
/// well, too.
pub(crate) const UNDERSTOOD: &str = "wsgid: understood";

/// The program as it was named when it was started; what is there now may be
/// another one.
#[derive(Clone, Debug)]
pub(crate) struct SupervisorProgram {
    pub(crate) path: PathBuf,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
}

/// Descriptors on their way to the next program.
#[derive(Default)]
pub(crate) struct InheritedFds(Vec<OwnedFd>);

impl InheritedFds {
    /// Keeps a descriptor and gives its number.
    pub(crate) fn keep(&mut self, fd: BorrowedFd<'_>) -> io::Result<RawFd> {
        let copy = fd.try_clone_to_owned()?;
        let number = copy.as_raw_fd();
        self.0.push(copy);
        Ok(number)
    }

    /// Takes a descriptor out by its number.
    pub(crate) fn take(&mut self, number: RawFd) -> io::Result<OwnedFd> {
        match self.0.iter().position(|fd| fd.as_raw_fd() == number) {
            Some(at) => Ok(self.0.swap_remove(at)),
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("descriptor {number} is not there"),
            )),
        }
    }

    /// Takes over the descriptors of these numbers. Each of them is open: the
    /// program before inherited them to this one.
    pub(crate) fn inherited(numbers: &[RawFd]) -> io::Result<Self> {
        let all = numbers.iter().copied().map(crate::sys::inherited);
        all.collect::<io::Result<_>>().map(Self)
    }

    fn inherit(&self, yes: bool) -> io::Result<()> {
        let flags = if yes {
            FdFlag::empty()
        } else {
            FdFlag::FD_CLOEXEC
        };
        for fd in &self.0 {
            fcntl(fd, FcntlArg::F_SETFD(flags))?;
        }
        Ok(())
    }
}

/// Becomes the new program. Returns only if that failed; then the handover is
/// still whole.
pub(crate) fn become_next(
    state: &impl Serialize,
    fds: &mut InheritedFds,
    program: &SupervisorProgram,
) -> io::Error {
    match prepare(state, fds, program) {
        Ok(mut command) => {
            let error = command.exec();
            let _ = fds.inherit(false);
            io::Error::new(
                error.kind(),
                format!("failed to execute `{}`: {error}", program.path.display()),
            )
        }
        Err(error) => error,
    }
}

fn prepare(
    state: &impl Serialize,
    fds: &mut InheritedFds,
    program: &SupervisorProgram,
) -> io::Result<Command> {
    let mut file = write(state)?;
    check(&mut file, program)?;
    let number = fds.keep(file.as_fd())?;
    fds.inherit(true)?;
    let mut command = Command::new(&program.path);
    command.arg0("wsgid").args([
        "supervise",
        "--resume",
        &number.to_string(),
        "--log-level",
        &program.log_level,
    ]);
    // A program of an earlier release does not know it.
    if program.log_format != LogFormat::default() {
        command.args(["--log-format", program.log_format.name()]);
    }
    Ok(command)
}

fn write(state: &impl Serialize) -> io::Result<File> {
    let bytes = serde_json::to_vec(state)?;
    let mut file = File::from(memfd_create(c"wsgid-state", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Lets the new program say whether it runs and understands the state, before
/// there is no way back.
fn check(file: &mut File, program: &SupervisorProgram) -> io::Result<()> {
    let failed = |what: String| {
        io::Error::other(format!(
            "`{}` cannot take over: {what}",
            program.path.display()
        ))
    };
    // Not a pipe: whatever the program leaves behind could keep it open.
    let mut said = File::from(memfd_create(c"wsgid-check", MFdFlags::MFD_CLOEXEC)?);
    let mut child = Command::new(&program.path)
        .args(["supervise", "--resume", "0", "--check"])
        .stdin(file.try_clone()?)
        .stdout(said.try_clone()?)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let Some(status) = bounded::wait(&mut child, Instant::now() + CHECK_TIMEOUT)? else {
        child.kill()?;
        child.wait()?;
        return Err(failed("it did not answer".to_owned()));
    };
    file.rewind()?;
    if !status.success() {
        return Err(failed(format!("it ended with {status}")));
    }
    let mut bytes = Vec::new();
    said.rewind()?;
    said.take(UNDERSTOOD.len() as u64).read_to_end(&mut bytes)?;
    if bytes == UNDERSTOOD.as_bytes() {
        Ok(())
    } else {
        Err(failed("it does not know what it was asked".to_owned()))
    }
}
