//! Chooses the Python that runs the application and asks it who it is. Called
//! by `plan`.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::unistd::{Gid, Uid, geteuid};
use serde::Serialize;
use wsgid_protocol::readable::escaped;

use super::httpd;
use super::identity::ServerAccount;
use super::paths::absolute;
use crate::process::{bounded, trust};
use crate::sys;

/// How long it may take to say who it is.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A Python that was asked for its version and prefix.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Python {
    /// Prefix of what is run; empty for the system's own python3.
    pub(crate) home: PathBuf,
    /// Prefix of the installation below a virtual environment.
    pub(crate) base: PathBuf,
    pub(crate) version: String,
}

/// Why there is no Python to run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PythonError {
    #[error(
        "`{0}` ({1}) has no `bin/python`; it must be a virtual environment or a Python installation"
    )]
    NoInterpreter(PathBuf, &'static str),
    #[error(
        "no python3 was found on PATH; install it or name a virtual environment with --python-home"
    )]
    Missing,
    #[error("`{0}` does not run: {1}")]
    Run(PathBuf, String),
    #[error("`{0}` is Python {1}; 3.9 or newer is needed")]
    Old(PathBuf, String),
}

const QUESTION: &str = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.prefix); print(sys.base_prefix)";

impl Python {
    /// `--python-home`, else the active virtual environment, else the one this
    /// program is installed in, else the first `python3` that the account can reach:
    /// root's own may be closed to the user who runs the application.
    pub(crate) fn find(
        option: Option<&Path>,
        program: &Path,
        account: Option<&ServerAccount>,
    ) -> Result<Self, PythonError> {
        if let Some(home) = option {
            return Self::of_home(home, "--python-home", account);
        }
        if let Some(home) = env::var_os("VIRTUAL_ENV").filter(|home| !home.is_empty()) {
            let whence = "environment variable VIRTUAL_ENV";
            return Self::of_home(Path::new(&home), whence, account);
        }
        let own = program
            .ancestors()
            .find(|directory| directory.join("pyvenv.cfg").is_file());
        if let Some(home) = own {
            return Self::of_home(home, "the environment of this program", account);
        }
        let mut first = None;
        for python in httpd::find_programs("python3") {
            match Self::ask(&python, account).map(Self::without_system_prefix) {
                Ok(found) if found.is_reachable(account) => return Ok(found),
                other => first = first.or(Some(other)),
            }
        }
        first.unwrap_or(Err(PythonError::Missing))
    }

    fn is_reachable(&self, account: Option<&ServerAccount>) -> bool {
        account.is_none_or(|account| {
            account.closed_component(&self.base).is_none()
                && account.closed_component(&self.home).is_none()
        })
    }

    /// A shim or a wrapper is resolved by what it says of itself, but `/usr`
    /// may have a `bin/python` of another version.
    fn without_system_prefix(mut self) -> Self {
        if self.home == Path::new("/usr") {
            self.home = PathBuf::new();
        }
        self
    }

    fn of_home(
        home: &Path,
        whence: &'static str,
        account: Option<&ServerAccount>,
    ) -> Result<Self, PythonError> {
        let home = absolute(home);
        let candidates = ["bin/python", "bin/python3"].map(|name| home.join(name));
        let python = candidates.iter().find(|file| httpd::is_executable(file));
        let python = python.ok_or_else(|| PythonError::NoInterpreter(home.clone(), whence))?;
        Ok(Self {
            home,
            ..Self::ask(python, account)?
        })
    }

    /// Asks as the account that it will run as: its packages, and itself, may be
    /// that user's. Root runs only what is root's, and no packages of it.
    fn ask(python: &Path, account: Option<&ServerAccount>) -> Result<Self, PythonError> {
        if !geteuid().is_root() {
            return Self::run(python, &["-c", QUESTION], None);
        }
        let account = account.and_then(ServerAccount::to_change_to);
        let asked = account.map(|ids| Self::run(python, &["-I", "-c", QUESTION], Some(ids)));
        match (asked, trust::path(python)) {
            (Some(answer @ (Ok(_) | Err(PythonError::Old(..)))), _) => answer,
            (_, Ok(())) => Self::run(python, &["-I", "-S", "-c", QUESTION], None),
            (Some(refused), Err(_)) => refused,
            (None, Err(why)) => Err(failed(python, why.to_string())),
        }
    }

    fn run(
        python: &Path,
        arguments: &[&str],
        account: Option<(Uid, Gid)>,
    ) -> Result<Self, PythonError> {
        let mut command = Command::new(python);
        command.args(arguments).current_dir("/");
        if let Some((uid, gid)) = account {
            // root's supplementary groups are given up by std where the user is set.
            command.uid(uid.as_raw()).gid(gid.as_raw());
            sys::leave_terminal(&mut command);
        }
        let output = bounded::run(&mut command, TIMEOUT)
            .map_err(|error| failed(python, error.to_string()))?;
        let text = String::from_utf8_lossy(&output.out);
        let lines: Vec<&str> = text.lines().take(3).collect();
        let [version, home, base] = lines[..] else {
            let said = String::from_utf8_lossy(&output.err);
            let last = said.lines().last().unwrap_or("it printed nothing");
            return Err(failed(python, escaped(last.as_bytes())));
        };
        let mut numbers = version
            .split('.')
            .map(|part| part.parse::<u32>().unwrap_or(0));
        if (numbers.next(), numbers.next()) < (Some(3), Some(9)) {
            return Err(PythonError::Old(python.to_path_buf(), version.to_owned()));
        }
        Ok(Self {
            home: PathBuf::from(home),
            base: PathBuf::from(base),
            version: version.to_owned(),
        })
    }
}

fn failed(python: &Path, why: String) -> PythonError {
    PythonError::Run(python.to_path_buf(), why)
}
