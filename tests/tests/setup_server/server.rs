//! The command `setup-server`, and what came of it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use wsgid_tests::{Python, artifacts, users};

pub(crate) fn set_up(script: &Path, root: &Path, port: u16, more: &[&str]) -> Result<(), String> {
    let mut command = Command::new(artifacts::wsgid());
    command
        .arg("setup-server")
        .arg(script)
        .arg("--server-root")
        .arg(root);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.arg("--python-home").arg(&Python::any().home);
    if users::is_root() {
        let user = users::of_httpd();
        command.args(["--user", &user.name, "--group", &user.group]);
    }
    command.args(more).stdin(Stdio::null());
    outcome(&mut command)
}

pub(crate) fn outcome(command: &mut Command) -> Result<(), String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it can be run");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}\n{text}"))
    }
}
