//! `wsgid check`: reads the configuration as a supervisor would, and tries
//! each group in a process of its own as the group's user: can its directory
//! be entered, does its Python run, can its scripts be read, and are they Python?
//! Says in words what is wrong. Nothing is started that stays.
#![expect(clippy::print_stderr, reason = "this is the command line")]

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::Identity;

use crate::command::print::say;
use crate::config::InForce;
use crate::config::standalone::{AS_HTTPD, Source};
use crate::exit_code;
use crate::process::{bounded, environment, exec, identity, path_check, privilege};
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

/// What the trying process is told.
#[derive(Serialize, Deserialize)]
struct Probe {
    config: GroupConfig,
    identity: Identity,
    /// Whether the user's home is entered if the group names no directory.
    enter_home: bool,
}

/// What it found.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// What holds, in words.
    pub(crate) good: Vec<String>,
    /// What is wrong, in words.
    pub(crate) problems: Vec<String>,
    /// The version of its Python, if that runs.
    pub(crate) python: Option<(u32, u32)>,
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
    read.loaded
        .problems
        .iter()
        .for_each(|problem| say!("{problem}"));
    let groups = read
        .loaded
        .groups
        .iter()
        .filter(|group| args.group.as_ref().is_none_or(|name| *name == group.name));
    let mut count = 0;
    for group in groups {
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
    say!("{count} process groups, {problems} problems");
    ExitCode::from(if problems == 0 {
        exit_code::OK
    } else {
        exit_code::CONFIGURATION
    })
}

fn print(group: &GroupConfig, found: &Found) {
    say!("{}  ({})", group.name, group.origin);
    found.good.iter().for_each(|text| say!("  ok       {text}"));
    found
        .problems
        .iter()
        .for_each(|text| say!("  problem  {text}"));
}

/// Tries a group as its user.
pub(crate) fn examine(config: &GroupConfig, httpd: identity::DefaultAccount) -> Found {
    let identity = match identity::resolve(config, httpd) {
        Ok(identity) => identity,
        Err(error) => {
            return Found {
                problems: vec![error.to_string()],
                ..Found::default()
            };
        }
    };
    let enter_home = identity.uid != httpd.uid;
    let probe = Probe {
        config: config.clone(),
        identity,
        enter_home,
    };
    ask(&probe).unwrap_or_else(|error| Found {
        problems: vec![error],
        ..Found::default()
    })
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
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    let Some(probe) = read
        .ok()
        .and_then(|_| serde_json::from_str::<Probe>(&text).ok())
    else {
        return ExitCode::from(exit_code::FAILURE);
    };
    say!(
        "{}",
        serde_json::to_string(&try_all(&probe)).unwrap_or_default()
    );
    ExitCode::from(exit_code::OK)
}

fn try_all(
    Probe {
        config,
        identity,
        enter_home,
    }: &Probe,
) -> Found {
    let mut found = Found::default();
    // The site's Python is the site's program, and this may be root's terminal:
    // what is written into its input there is what root has typed.
    if let Err(errno) = nix::unistd::setsid() {
        found
            .problems
            .push(format!("the terminal cannot be given up: {errno}"));
        return found;
    }
    if let Some(root) = &config.chroot
        && let Err(errno) = nix::unistd::chroot(root).and_then(|()| nix::unistd::chdir("/"))
    {
        found
            .problems
            .push(format!("chroot= `{}`: {errno}", root.display()));
        return found;
    }
    if let Err(error) = privilege::drop_privileges(identity) {
        found.problems.push(error.to_string());
        return found;
    }
    found.good.push(format!(
        "runs as user `{}` (uid {}, gid {})",
        identity.user, identity.uid, identity.gid
    ));
    directory(config, identity, *enter_home, &mut found);
    let python = python(config, &mut found);
    for preload in &config.preload_scripts {
        script(&preload.script, python.as_deref(), &mut found);
    }
    if let Some(path) = &config.env_file {
        match (
            path_check::readable(path),
            environment::build(config, identity, None),
        ) {
            (Err(closed), _) => found.problems.push(format!("env-file= {closed}")),
            (Ok(()), Err(error)) => found.problems.push(error.to_string()),
            (Ok(()), Ok(_)) => {}
        }
    }
    if let LogTarget::File(path) = &config.log
        && let Err(closed) = path_check::appendable(path)
    {
        found.problems.push(format!("log = {closed}"));
    }
    for directory in &config.runs.directories {
        if let Err(closed) = path_check::enterable(Path::new(directory)) {
            found.problems.push(format!("script-directories= {closed}"));
        }
    }
    for path in &config.python_path {
        if let Err(closed) = path_check::enterable(path) {
            found.problems.push(format!("python-path= {closed}"));
        }
    }
    found
}

fn directory(config: &GroupConfig, identity: &Identity, enter_home: bool, found: &mut Found) {
    match &config.home {
        Some(home) => match path_check::enterable(home) {
            Ok(()) => found
                .good
                .push(format!("directory `{}` can be entered", home.display())),
            Err(closed) => found.problems.push(format!("home= {closed}")),
        },
        None if enter_home && path_check::enterable(&identity.home).is_ok() => {
            found
                .good
                .push(format!("starts in `{}`", identity.home.display()));
        }
        None => found.good.push("starts in `/`".to_owned()),
    }
}

/// The interpreter, if it is one that workers can be.
fn python(config: &GroupConfig, found: &mut Found) -> Option<PathBuf> {
    let known = exec::find_python(config.python_home.as_deref()).and_then(|python| {
        match version(&python) {
            Ok((version, kind)) => Ok((python, version, kind)),
            Err(text) => Err(format!("`{}` does not run: {text}", python.display())),
        }
    });
    let (python, (major, minor), kind) = match known {
        Ok(known) => known,
        Err(text) => {
            found.problems.push(text);
            return None;
        }
    };
    let name = python.display();
    if (major, minor) < (3, 9) {
        found.problems.push(format!(
            "`{name}` is Python {major}.{minor}; 3.9 or later is needed"
        ));
        return None;
    }
    if kind != "cpython" {
        found.problems.push(format!(
            "`{name}` is {kind} {major}.{minor}; builds of CPython with the interpreter lock are needed"
        ));
        return None;
    }
    found.python = Some((major, minor));
    found
        .good
        .push(format!("`{name}` is Python {major}.{minor}"));
    Some(python)
}

fn script(path: &Path, python: Option<&Path>, found: &mut Found) {
    let name = path.display();
    match path_check::readable(path) {
        Ok(()) if path.is_dir() => found.problems.push(format!(
            "script `{name}` is a directory; name the file in it"
        )),
        Ok(()) if !path.is_file() => found
            .problems
            .push(format!("script `{name}` is not a regular file")),
        Ok(()) => match python.and_then(|python| mistake(python, path)) {
            Some(mistake) => found.problems.push(format!(
                "script `{name}` can be read, but is no Python: {mistake}"
            )),
            None => found.good.push(format!("script `{name}` can be read")),
        },
        Err(closed) => found.problems.push(format!("script {closed}")),
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
    let mut command = Command::new(python);
    command
        .args(["-I", "-S", "-c", COMPILE])
        .arg(script)
        .env_clear()
        .process_group(0);
    let outcome = bounded::run_whole(&mut command, &[], COMPILE_TIMEOUT).ok()?;
    let said = String::from_utf8_lossy(&outcome.out);
    outcome
        .status?
        .success()
        .then(|| said.lines().next().map(|line| escaped(line.as_bytes())))?
}

/// Runs the interpreter, as the group's user, for as long as it takes to say
/// its version and its kind. No code of a site is imported.
fn version(python: &Path) -> Result<((u32, u32), String), String> {
    const SAY: &str = "import sys; free = 't' in getattr(sys, 'abiflags', ''); \
                       print(*sys.version_info[:2], 'free-threaded' if free else sys.implementation.name)";
    let mut command = Command::new(python);
    command
        .args(["-I", "-S", "-c", SAY])
        .env_clear()
        .process_group(0);
    let outcome = bounded::run_whole(&mut command, &[], PYTHON_TIMEOUT);
    let outcome = outcome.map_err(|error| error.to_string())?;
    if outcome.status.is_none() {
        return Err(format!(
            "it said nothing for {} s",
            PYTHON_TIMEOUT.as_secs()
        ));
    }
    let text = String::from_utf8_lossy(&outcome.out);
    let mut words = text.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse().ok());
    match (number(), number(), words.next()) {
        (Some(major), Some(minor), Some(kind)) => Ok(((major, minor), kind.to_owned())),
        _ => {
            let said = String::from_utf8_lossy(&outcome.err);
            Err(escaped(
                said.lines()
                    .last()
                    .unwrap_or("it printed nothing")
                    .as_bytes(),
            ))
        }
    }
}
