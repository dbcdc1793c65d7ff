//! `wsgid check`: reads the configuration as a supervisor would, and tries
//! each group in a process of its own as the group's user: can its directory
//! be entered, does its Python run, can its scripts be read, and are they Python?
//! Says in words what is wrong. Nothing is started that stays.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::Identity;
use wsgid_protocol::{runs, text};

use crate::command::print::say;
use crate::config::InForce;
use crate::config::standalone::{AS_HTTPD, Source};
use crate::exit_code;
use crate::process::bounded::{self, ChildOutput};
use crate::process::path_check::{self, Closed};
use crate::process::{environment, exec, identity, privilege};
use wsgid_protocol::readable::escaped;

/// How long an interpreter may take to say which one it is.
const PYTHON_TIMEOUT: Duration = Duration::from_secs(20);
/// How long it may take over a script.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one group may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(40);

/// Arguments of `wsgid check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The wsgid.toml to check
    #[arg(long, value_name = "FILE", default_value = "/etc/wsgid/wsgid.toml")]
    config: PathBuf,
    /// Check this process group alone
    group: Option<String>,
    /// Try one group, read from standard input, as its user (it uses this itself)
    #[arg(long, hide = true)]
    probe: bool,
}

/// The task of the trying process.
#[derive(Serialize, Deserialize)]
struct Probe {
    config: GroupConfig,
    identity: Identity,
    /// Whether the user's home is entered if the group names no directory.
    enter_home: bool,
}

/// The findings of the trying process.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// What holds, in words.
    pub(crate) good: Vec<String>,
    /// What is wrong, in words.
    pub(crate) problems: Vec<String>,
    /// The version of its Python, if that runs.
    pub(crate) python: Option<(u32, u32)>,
}

impl Found {
    fn failed(problem: String) -> Self {
        Self {
            problems: vec![problem],
            ..Self::default()
        }
    }

    fn add(&mut self, tried: Result<String, String>) {
        match tried {
            Ok(good) => self.good.push(good),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// Adds what is wrong with the path of an option, if anything is.
    fn check(&mut self, option: &str, tried: Result<(), Closed>) {
        if let Err(closed) = tried {
            self.problems.push(format!("{option} {closed}"));
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Check) -> ExitCode {
    if args.probe {
        return probe();
    }
    let read = match Source::new(&args.config)
        .map_err(|error| error.to_string())
        .and_then(|source| source.read(&InForce::new()))
    {
        Ok(read) => read,
        Err(problem) => {
            eprintln!("wsgid: {problem}");
            return ExitCode::from(exit_code::CONFIGURATION);
        }
    };
    let mut problems = read.loaded.problems.len();
    for problem in &read.loaded.problems {
        say!("{problem}");
    }
    let mut count = 0_usize;
    for group in &read.loaded.groups {
        if args.group.as_ref().is_some_and(|name| *name != group.name) {
            continue;
        }
        count += 1;
        let found = examine(group, read.httpd);
        problems += found.problems.len();
        print(group, &found);
        if identity::resolve(group, read.httpd)
            .is_ok_and(|who| who.change && who.uid == read.httpd.uid)
        {
            say!("  note     it {AS_HTTPD}");
        }
    }
    if let (0, Some(name)) = (count, &args.group) {
        eprintln!(
            "wsgid: process group `{name}` is not defined in `{}`",
            args.config.display()
        );
        return ExitCode::from(exit_code::NO_SUCH_GROUP);
    }
    say!(
        "{}, {}",
        text::count(count, "process group"),
        text::count(problems, "problem")
    );
    ExitCode::from(if problems == 0 {
        exit_code::OK
    } else {
        exit_code::CONFIGURATION
    })
}

fn print(group: &GroupConfig, found: &Found) {
    say!("{}  ({})", group.name, group.origin);
    for text in &found.good {
        say!("  ok       {text}");
    }
    for text in &found.problems {
        say!("  problem  {text}");
    }
}

/// Tries a group as its user.
pub(crate) fn examine(config: &GroupConfig, httpd: identity::DefaultAccount) -> Found {
    let identity = match identity::resolve(config, httpd) {
        Ok(identity) => identity,
        Err(error) => return Found::failed(error.to_string()),
    };
    let probe = Probe {
        config: config.clone(),
        enter_home: identity.uid != httpd.uid,
        identity,
    };
    ask(&probe).unwrap_or_else(Found::failed)
}

/// Tries it in a process that becomes the group's user.
fn ask(probe: &Probe) -> Result<Found, String> {
    let failed = |error: &dyn std::fmt::Display| format!("it could not be tried: {error}");
    let text = serde_json::to_vec(probe).map_err(|error| failed(&error))?;
    let mut command = Command::new("/proc/self/exe");
    let outcome = bounded::run_whole(
        command.args(["check", "--probe"]).env_clear(),
        &text,
        PROBE_TIMEOUT,
    );
    let outcome = outcome.map_err(|error| failed(&error))?;
    let Some(status) = outcome.status else {
        return Err(failed(&format!(
            "there was no answer for {} s",
            PROBE_TIMEOUT.as_secs()
        )));
    };
    serde_json::from_slice(&outcome.out).map_err(|_| failed(&status))
}

/// The trying process.
fn probe() -> ExitCode {
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
    let mut interpreter = None;
    match python(config) {
        Ok((python, (major, minor))) => {
            let good = format!("`{}` is Python {major}.{minor}", python.display());
            found.good.push(good);
            found.python = Some((major, minor));
            interpreter = Some(python);
        }
        Err(problem) => found.problems.push(problem),
    }
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
    found
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
    // The site's Python is the site's program, and this may be root's terminal:
    // what is written into its input there is what root has typed.
    nix::unistd::setsid().map_err(|errno| format!("the terminal cannot be given up: {errno}"))?;
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
