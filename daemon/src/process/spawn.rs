//! Starts a worker: a socketpair, two pipes and the launcher as a fresh process
//! of the supervisor's own binary. Knows nothing of pools; `worker_task` looks after
//! what comes out.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use tokio::process::{Child, Command};
use wsgid_protocol::refusal::Refusal;

use crate::process::trust;

/// The program that is running, also after its file was replaced on disk.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// File names of the extension, in the order they are looked for.
const EXTENSION_NAMES: [&str; 2] = ["wsgid_worker.so", "libwsgid_worker.so"];

pub(crate) struct Spawned {
    pub(crate) child: Child,
    pub(crate) control: OwnedFd,
}

/// What is needed to start workers; opened once, so that a package upgrade
/// does not mix versions under a running supervisor.
pub(crate) struct Launcher {
    extension: Option<OwnedFd>,
}

impl Launcher {
    pub(crate) const fn new() -> Self {
        Self { extension: None }
    }

    pub(crate) fn spawn(
        &mut self,
        title: &str,
        enter_home: bool,
        entrances: &[PathBuf],
    ) -> Result<Spawned, String> {
        let extension = match &self.extension {
            Some(extension) => extension,
            None => self.extension.insert(open_extension()?),
        };
        start(extension.as_fd(), title, enter_home, entrances)
            .map_err(|error| format!("failed to start the launcher: {error}"))
    }
}

fn start(
    extension: BorrowedFd<'_>,
    title: &str,
    enter_home: bool,
    entrances: &[PathBuf],
) -> io::Result<Spawned> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
    // Before anybody has the other end.
    let _ = Refusal::on(ours.as_fd());
    // The two copies that the launcher inherits live until it has been forked.
    let theirs = inheritable(theirs.as_fd())?;
    let extension = inheritable(extension)?;
    let mut command = Command::new(OWN_PROGRAM);
    command
        // What `ps` shows until Python runs.
        .arg0(format!("{} launcher", title.escape_debug()))
        .arg("worker-exec")
        .arg(theirs.as_raw_fd().to_string())
        .arg(extension.as_raw_fd().to_string());
    if enter_home {
        command.arg("--enter-home");
    }
    for entrance in entrances {
        command.arg("--control-group").arg(entrance);
    }
    command
        .env_clear()
        .envs(std::env::var_os("TZ").map(|zone| ("TZ", zone)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(false);
    let child = command.spawn()?;
    let control = ours;
    Ok(Spawned { child, control })
}

/// A copy that stays open over exec.
fn inheritable(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let copy = fd.try_clone_to_owned()?;
    fcntl(&copy, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(copy)
}

/// Directories in which our artifacts may be: beside the program, then where
/// packages put them.
pub(crate) fn artifact_directories() -> Vec<PathBuf> {
    let mut out = Vec::new();
    let program = std::env::current_exe().unwrap_or_default();
    if let Some(beside) = program.parent() {
        out.push(beside.into());
        out.extend(beside.parent().map(|up| up.join("lib/wsgid")));
    }
    out.extend(["/usr/lib/wsgid", "/usr/local/lib/wsgid"].map(PathBuf::from));
    out
}

fn open_extension() -> Result<OwnedFd, String> {
    let directories = artifact_directories();
    for directory in &directories {
        for name in EXTENSION_NAMES {
            let path = directory.join(name);
            match File::open(&path) {
                Ok(file) => {
                    // Every site's Python loads it.
                    trust::path(&path)
                        .map_err(|why| format!("the worker extension is not used: {why}"))?;
                    return Ok(file.into());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(format!(
                        "failed to open the worker extension `{}`: {error}",
                        path.display()
                    ));
                }
            }
        }
    }
    let places = directories
        .iter()
        .map(|directory| format!("`{}`", directory.display()));
    let places: Vec<String> = places.collect();
    Err(format!(
        "the worker extension wsgid_worker.so is in none of {}; install it beside wsgid",
        places.join(", ")
    ))
}
