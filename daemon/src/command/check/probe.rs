//! The process that tries a group: it becomes the group's user for good, looks at the
//! group's files and asks its Python, and prints what it found. Started by `mod.rs`; what
//! isolation denies is `load.rs`'s affair.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::Identity;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::runs;

use super::found::{Found, Probe};
use super::hints;
use crate::command::print::say;
use crate::exit_code;
use crate::process::bounded::{self, ChildOutput};
use crate::process::path_check;
use crate::process::{environment, exec, identity, privilege};

/// How long an interpreter may take to say which one it is.
const PYTHON_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take over a script.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(5);

/// The trying process.
pub(super) fn run() -> ExitCode {
    let Ok(probe) = serde_json::from_reader(io::stdin()) else {
        return ExitCode::from(exit_code::FAILURE);
    };
    let found = serde_json::to_string(&try_all(&probe));
    say!("{}", found.unwrap_or_default());
    ExitCode::from(exit_code::OK)
}

fn try_all(probe: &Probe) -> Found {
    let Probe {
        config, identity, ..
    } = probe;
    if let Err(problem) = become_user(config, identity) {
        return Found::failed(problem);
    }
    let mut found = Found::default();
    found.good.push(tried_as(config, identity));
    found.add(directory(probe));
    // The site can exchange its Python, which would reach here what an isolated site does
    // not: there it runs in its isolation alone (`load.rs`).
    let interpreter = if config.is_isolated() {
        match exec::find_python(config.python_home.as_deref()) {
            Ok(_) => found.has_python = true,
            Err(problem) => found.problems.push(problem),
        }
        None
    } else {
        found.add_python(config)
    };
    for preload in &config.preload_scripts {
        let file = runs::script_in(&preload.script);
        found.add(script(file, interpreter.as_deref()));
    }
    if let Some(path) = &config.env_file {
        let read = path_check::readable(path);
        if read.is_ok()
            && let Err(error) = environment::build(config, identity, None)
        {
            found.problems.push(error.to_string());
        }
        found.check("env-file=", read);
    }
    if let LogTarget::File(path) = &config.log {
        found.check("log =", path_check::appendable(path));
    }
    for directory in &config.runs.directories {
        let entered = path_check::enterable(Path::new(directory));
        found.check("script-directories=", entered);
    }
    for path in &config.python_path {
        found.check("python-path=", path_check::enterable(path));
    }
    hints::add(config, identity, &mut found);
    found
}

impl Found {
    fn add_python(&mut self, config: &GroupConfig) -> Option<PathBuf> {
        match python(config) {
            Ok((python, (major, minor))) => {
                let good = format!("`{}` is Python {major}.{minor}", python.display());
                self.good.push(good);
                self.python = Some((major, minor));
                Some(python)
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}

/// As whom all of it was tried. Only root becomes the group's user.
fn tried_as(config: &GroupConfig, identity: &Identity) -> String {
    let Identity { user, uid, gid, .. } = identity;
    let other = config.user.as_ref().filter(|named| {
        let is_caller = identity::uid_of(named).is_ok_and(|named| named == *uid);
        !identity.change && !is_caller
    });
    other.map_or_else(
        || format!("runs as user `{user}` (uid {uid}, gid {gid})"),
        |other| {
            format!(
                "tried as user `{user}` (uid {uid}, gid {gid}), who called: only root can try it as `{other}`"
            )
        },
    )
}

fn become_user(config: &GroupConfig, identity: &Identity) -> Result<(), String> {
    leave_terminal()?;
    give_up_root(config, identity)
}

/// The site's Python is the site's program, and this may be root's terminal: what is
/// written into its input there is what root has typed.
pub(super) fn leave_terminal() -> Result<(), String> {
    let left = nix::unistd::setsid().map(drop);
    left.map_err(|errno| format!("the terminal cannot be given up: {errno}"))
}

pub(super) fn give_up_root(config: &GroupConfig, identity: &Identity) -> Result<(), String> {
    if let Some(root) = &config.chroot {
        nix::unistd::chroot(root)
            .and_then(|()| nix::unistd::chdir("/"))
            .map_err(|errno| format!("chroot= `{}`: {errno}", root.display()))?;
    }
    privilege::drop_privileges(identity).map_err(|error| error.to_string())
}

fn directory(probe: &Probe) -> Result<String, String> {
    if let Some(home) = &probe.config.home {
        path_check::enterable(home).map_err(|closed| format!("home= {closed}"))?;
        return Ok(format!("directory `{}` can be entered", home.display()));
    }
    let home = &probe.identity.home;
    let enters_home = probe.enter_home && path_check::enterable(home).is_ok();
    let start = if enters_home { home } else { Path::new("/") };
    Ok(format!("starts in `{}`", start.display()))
}

/// The interpreter and its version, if it is one that workers can be.
fn python(config: &GroupConfig) -> Result<(PathBuf, (u32, u32)), String> {
    let python = exec::find_python(config.python_home.as_deref())?;
    let name = python.display();
    let (version, kind) =
        version(&python).map_err(|text| format!("`{name}` does not run: {text}"))?;
    let (major, minor) = version;
    if version < (3, 9) {
        return Err(format!(
            "`{name}` is Python {major}.{minor}; 3.9 or later is needed"
        ));
    }
    if kind != "cpython" {
        return Err(format!(
            "`{name}` is {kind} {major}.{minor}; builds of CPython with the interpreter lock are needed"
        ));
    }
    Ok((python, version))
}

fn script(path: &Path, python: Option<&Path>) -> Result<String, String> {
    let name = path.display();
    path_check::readable(path).map_err(|closed| format!("script {closed}"))?;
    if path.is_dir() {
        return Err(format!(
            "script `{name}` is a directory; name the file in it"
        ));
    }
    if !path.is_file() {
        return Err(format!("script `{name}` is not a regular file"));
    }
    match python.and_then(|python| mistake(python, path)) {
        Some(mistake) => Err(format!(
            "script `{name}` can be read, but is no Python: {mistake}"
        )),
        None => Ok(format!("script `{name}` can be read")),
    }
}

/// Has the interpreter compile a script, which does not run it, and says what it
/// has against it. That nothing came of it is no mistake of the script.
fn mistake(python: &Path, script: &Path) -> Option<String> {
    const COMPILE: &str = "
import sys
try:
    with open(sys.argv[1], 'rb') as file:
        compile(file.read(), sys.argv[1], 'exec')
except (SyntaxError, ValueError) as error:
    print(type(error).__name__ + ':', error)
";
    let outcome = ask_python(python, COMPILE, Some(script), COMPILE_TIMEOUT).ok()?;
    let said = String::from_utf8_lossy(&outcome.out);
    let line = said
        .lines()
        .next()
        .filter(|_| outcome.status.is_some_and(|status| status.success()));
    line.map(|line| escaped(line.as_bytes()))
}

/// Runs the interpreter, as the group's user, for as long as it takes to say
/// its version and its kind. No code of a site is imported.
fn version(python: &Path) -> Result<((u32, u32), String), String> {
    const SAY: &str = "import sys; free = 't' in getattr(sys, 'abiflags', ''); \
                       print(*sys.version_info[:2], 'free-threaded' if free else sys.implementation.name)";
    let outcome =
        ask_python(python, SAY, None, PYTHON_TIMEOUT).map_err(|error| error.to_string())?;
    if outcome.status.is_none() {
        return Err(format!(
            "it said nothing for {} s",
            PYTHON_TIMEOUT.as_secs()
        ));
    }
    let text = String::from_utf8_lossy(&outcome.out);
    let mut words = text.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse().ok());
    if let (Some(major), Some(minor), Some(kind)) = (number(), number(), words.next()) {
        return Ok(((major, minor), kind.to_owned()));
    }
    let said = String::from_utf8_lossy(&outcome.err);
    let last = said.lines().last().unwrap_or("it printed nothing");
    Err(escaped(last.as_bytes()))
}

/// Has the interpreter alone run a few lines of our own.
fn ask_python(
    python: &Path,
    code: &str,
    script: Option<&Path>,
    limit: Duration,
) -> io::Result<ChildOutput> {
    let mut command = Command::new(python);
    command
        .args(["-I", "-S", "-c", code])
        .args(script)
        .env_clear()
        .process_group(0);
    bounded::run_whole(&mut command, &[], limit)
}
