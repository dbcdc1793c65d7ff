//! The two steps between a server root's `apachectl` and httpd: keeping the
//! environment for the workers, and giving httpd a name in ps.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::{Gid, Uid, chown, geteuid};

use super::terminal;
use crate::atomic_write::write_whole;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandoverError {
    #[error("failed to write `{0}`: {1}")]
    Write(PathBuf, io::Error),
    #[error("`{0}` is not uid:gid")]
    Account(String),
    #[error("failed to execute `{0}`: {1}")]
    Exec(PathBuf, io::Error),
    #[error(transparent)]
    System(#[from] nix::Error),
}

/// Variables that belong to a shell or to an account and not to the application.
const OMITTED: [&str; 14] = [
    "_",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "HOME",
    "USER",
    "USERNAME",
    "LOGNAME",
    "SHELL",
    "MAIL",
    "PYTHONHOME",
    "LC_ALL",
    "LANG",
    terminal::DIE_WITH_PARENT,
];

/// Writes the environment of this process as the application shall see it.
/// Only the application's group may read it: environments hold secrets.
pub(crate) fn write_environment(file: &Path, account: &str) -> Result<u8, HandoverError> {
    let text = lines(env::vars_os());
    write_whole(file, text.as_bytes(), 0o640)
        .map_err(|error| HandoverError::Write(file.into(), error))?;
    if geteuid().is_root() {
        let gid = group_of(account).ok_or_else(|| HandoverError::Account(account.into()))?;
        chown(file, Some(Uid::from_raw(0)), Some(gid))
            .map_err(|errno| HandoverError::Write(file.into(), errno.into()))?;
    }
    Ok(crate::exit_code::OK)
}

/// The group of `uid:gid`.
fn group_of(account: &str) -> Option<Gid> {
    let (uid, gid) = account.split_once(':')?;
    uid.parse::<u32>().ok()?;
    gid.parse().ok().map(Gid::from_raw)
}

fn lines(variables: impl Iterator<Item = (OsString, OsString)>) -> String {
    let mut text = String::from("# The environment in which httpd was started.\n");
    let mut all: Vec<(OsString, OsString)> = variables.collect();
    all.sort();
    for (name, value) in all {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        let identifier = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if OMITTED.contains(&name) || name.starts_with("SUDO_") || !identifier {
            continue;
        }
        text.push_str(&format!("{name}={}\n", quoted(value)));
    }
    text
}

/// As the reader of `env-file` takes it: one pair of quotes goes, so that spaces
/// at either end and quotes inside stay as they are; only `$'…'` has escapes.
fn quoted(value: &str) -> String {
    if !value.contains(['\n', '\r']) {
        return format!("\"{value}\"");
    }
    let escaped = value
        .replace('\\', "\\\\")
        .replace('\'', "\\'")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    format!("$'{escaped}'")
}

/// Becomes the program, under another name; comes back only if that fails.
pub(crate) fn exec(name: &OsStr, program: &Path, arguments: &[OsString]) -> HandoverError {
    if env::var_os(terminal::DIE_WITH_PARENT).is_some() {
        // `start-server` must not leave a server behind when it is killed.
        if let Err(errno) = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM) {
            return errno.into();
        }
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_remove(terminal::DIE_WITH_PARENT);
    if !name.as_bytes().is_empty() {
        command.arg0(name);
    }
    HandoverError::Exec(program.into(), command.exec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_application_needs_is_kept() {
        let variables = [
            ("A", "1 2"),
            ("HOME", "/root"),
            ("KEY", "a\nit's\\"),
            ("BASH_FUNC_x%%", "() {}"),
            ("Q", "\"x\""),
            ("SUDO_UID", "1"),
        ];
        let text = lines(
            variables
                .iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        assert_eq!(
            text,
            "# The environment in which httpd was started.\nA=\"1 2\"\nKEY=$'a\\nit\\'s\\\\'\nQ=\"\"x\"\"\n"
        );
    }
}
