//! The program httpd, its modules and its command line: where this machine has
//! them, and as whom it runs. Used by `builder` and `Httpd`.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::users::TestUser;

/// Below those that the kernel gives to clients: one of theirs may be taken between
/// the look and httpd's start.
const FIRST_PORT: u16 = 10_000;
const PORTS: u16 = 20_000;

/// httpd for this server root. It ends with the thread that starts it, so that
/// an interrupted run leaves nothing; and it has a process group of its own,
/// because the prefork MPM ends its whole process group when it stops.
pub(super) fn httpd_command(root: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM"])
        .arg(program())
        .process_group(0);
    command
        .arg("-d")
        .arg(root)
        .arg("-f")
        .arg(root.join("httpd.conf"));
    command
}

/// The same command, as another user. The process group of its own and the
/// signal at the death of its parent are set again: both are lost on the way.
pub(super) fn as_user(command: &Command, user: &TestUser) -> Command {
    let mut other = Command::new("setpriv");
    other.args([
        "--reuid",
        &user.uid.to_string(),
        "--regid",
        &user.gid.to_string(),
        "--clear-groups",
    ]);
    other.args(command.get_args()).process_group(0);
    other
}

/// Finds the program.
///
/// # Panics
/// If httpd is not installed.
#[must_use]
pub fn program() -> PathBuf {
    [
        "/usr/sbin/apache2",
        "/usr/sbin/httpd",
        "/usr/local/apache2/bin/httpd",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.exists())
    .expect("httpd is installed (apache2-bin)")
}

pub(super) fn modules_directory() -> PathBuf {
    [
        "/usr/lib/apache2/modules",
        "/usr/lib64/httpd/modules",
        "/usr/lib/httpd/modules",
        "/usr/local/apache2/modules",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.exists())
    .expect("httpd's modules are installed (apache2-bin)")
}

/// A port of 127.0.0.1 that nobody has just now.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another program of tests begins elsewhere.
    let start = (std::process::id().wrapping_mul(97) % u32::from(PORTS)) as u16;
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut tries = (0..PORTS).map(|_| {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        FIRST_PORT + start.wrapping_add(step) % PORTS
    });
    tries.find(free).expect("a port is free")
}
