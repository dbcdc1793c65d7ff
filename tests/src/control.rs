//! The supervisor's command line against one server, as an administrator uses
//! it: `wsgid status`, `restart`, `reexec` and the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wsgid_protocol::status::{PoolStatus, Status};

use crate::{Httpd, Pid, artifacts};

/// What a command came to.
#[derive(Clone, Debug)]
pub struct Said {
    /// The exit code; -1 after a signal.
    pub code: i32,
    /// Both outputs.
    pub text: String,
}

/// Runs `wsgid` with these arguments on the server's supervisor. `None` if
/// there is no control socket at this moment.
///
/// # Panics
/// If the program cannot be run.
#[must_use]
pub fn command(httpd: &Httpd, args: &[&str]) -> Option<Said> {
    let socket = socket(httpd.root())?;
    let out = Command::new(artifacts::wsgid())
        .args(args)
        .arg("--socket")
        .arg(socket)
        .output();
    let out = out.expect("wsgid can be run");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat())
        .trim()
        .to_owned();
    Some(Said {
        code: out.status.code().unwrap_or(-1),
        text,
    })
}

/// The supervisor's status, if it answers.
#[must_use]
pub fn status(httpd: &Httpd) -> Option<Status> {
    let said = command(httpd, &["status", "--json"])?;
    serde_json::from_str(&said.text).ok()
}

/// The pools of a group in a status.
#[must_use]
pub fn pools<'s>(status: &'s Status, group: &str) -> &'s [PoolStatus] {
    status.group(group).map_or(&[], |group| &group.pools)
}

/// The workers of a pool that are ready.
#[must_use]
pub fn ready(pool: &PoolStatus) -> Vec<Pid> {
    let ready = pool.workers.iter().filter(|worker| worker.is_ready());
    ready.filter_map(|worker| process(worker.pid)).collect()
}

/// A process of a status, if it is still there.
#[must_use]
pub fn process(pid: u32) -> Option<Pid> {
    Pid::current(pid.try_into().ok()?)
}

/// The workers of a group that are ready, and running to the kernel; `None` if
/// the supervisor does not answer.
#[must_use]
pub fn workers(httpd: &Httpd, group: &str) -> Option<Vec<Pid>> {
    let status = status(httpd)?;
    Some(
        pools(&status, group)
            .iter()
            .flat_map(ready)
            .filter(|pid| pid.alive())
            .collect(),
    )
}

/// The socket for commands, if there is one below this directory.
#[must_use]
pub fn socket(root: &Path) -> Option<PathBuf> {
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.path() {
                path if path.ends_with("control.sock") => return Some(path),
                path if path.is_dir() => left.push(path),
                _ => {}
            }
        }
    }
    None
}
