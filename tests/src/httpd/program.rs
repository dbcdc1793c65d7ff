//! The program httpd, its modules and its command line: where this machine has
//! them, and as whom it runs. Used by `builder` and `Httpd`.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::users::TestUser;

/// httpd for this server root. It ends with the thread that starts it, so that
/// an interrupted run leaves nothing; and it has a process group of its own,
/// because the prefork MPM ends its whole process group when it stops.
pub(super) fn httpd_command(root: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program()).process_group(0);
    command.arg("-d").arg(root).arg("-f").arg(root.join("httpd.conf"));
    command
}

/// The same command, as another user. The process group of its own and the
/// signal at the death of its parent are set again: both are lost on the way.
pub(super) fn as_user(command: &Command, user: &TestUser) -> Command {
    let mut other = Command::new("setpriv");
    other.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups"]);
    other.args(command.get_args()).process_group(0);
    other
}

/// Finds the program.
///
/// # Panics
/// If httpd is not installed.
#[must_use]
pub fn program() -> PathBuf {
    ["/usr/sbin/apache2", "/usr/sbin/httpd", "/usr/local/apache2/bin/httpd"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("httpd is installed (apache2-bin)")
}

pub(super) fn modules_directory() -> PathBuf {
    ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules", "/usr/local/apache2/modules"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("httpd's modules are installed (apache2-bin)")
}

/// A port of 127.0.0.1 that nobody has just now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("a listener has an address").port()
}
