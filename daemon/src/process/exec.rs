//! `wsgid worker-exec`: the launcher between the supervisor and Python. It
//! reads its specification, sets process group, limits and priority, becomes the
//! site's user and executes the site's own Python with the bootstrap. Runs in
//! a process of its own; knows nothing of the supervisor's state.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, chroot};
use wsgid_protocol::control::{FromWorker, Identity, ToWorker, WorkerSpec};
use wsgid_protocol::head::FrameHead;
use wsgid_protocol::isolation::IsolationReport;
use wsgid_protocol::limits::HEAD_LEN;
use wsgid_protocol::{GroupConfig, Kind, payload, supervisor_line};

use crate::exit_code::launcher;
use crate::isolation::Isolated;
use crate::process::environment::{self, PATH};
use crate::process::{path_check, privilege, session};
use crate::{signals, sys};

/// Where the worker finds its control socket.
const CONTROL: RawFd = 3;
/// Where the bootstrap finds the extension.
const EXTENSION: RawFd = 4;
const EXTENSION_FILE: &str = "/proc/self/fd/4";
/// What the kernel adds to the part of all memory that a worker has, in
/// thousandths, when it looks for a process to end.
const OOM_SCORE: i32 = 100;
/// Runs inside Python: loads the extension and calls it.
const BOOTSTRAP: &str = include_str!("../../worker/bootstrap.py");

/// The arguments of `wsgid worker-exec`; the supervisor alone uses it.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerExec {
    /// Number of the inherited control socket.
    control: RawFd,
    /// Number of the inherited extension file.
    extension: RawFd,
    /// Enter the user's home directory if the group names none.
    #[arg(long)]
    enter_home: bool,
    /// A file of the kernel that puts this process into its control group.
    #[arg(long, value_name = "FILE")]
    control_group: Vec<PathBuf>,
}

/// A launcher failure: the exit code and one line.
pub(crate) struct Failed(u8, pub(crate) String);

/// Says which step of the launcher an error ended.
trait OrFail<T> {
    fn or_fail(self, code: u8, step: &str) -> Result<T, Failed>;
}

impl<T, E: std::fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: u8, step: &str) -> Result<T, Failed> {
        self.map_err(|error| Failed(code, format!("{step}: {error}")))
    }
}

/// Becomes the worker. Returns only if that failed; the line on standard error
/// reaches the group's log through the supervisor.
#[expect(
    clippy::print_stderr,
    reason = "standard error is the launcher's pipe to the group's log"
)]
pub(crate) fn run(args: &WorkerExec) -> ExitCode {
    let Failed(code, text) = match prepare(args) {
        Ok(mut command) => {
            let error = command.exec();
            let python = command.get_program().display();
            let text = format!("failed to execute `{python}`: {error}");
            Failed(launcher::EXEC, text)
        }
        Err(failed) => failed,
    };
    eprintln!("{}{text}", supervisor_line::NOT_LAUNCHED);
    ExitCode::from(code)
}

fn prepare(args: &WorkerExec) -> Result<Command, Failed> {
    place_descriptors(args).or_fail(launcher::DESCRIPTORS, "failed to place the descriptors")?;
    // Before anything of the site is known: nothing of it ever runs outside.
    for entrance in &args.control_group {
        enter_control_group(entrance)
            .or_fail(launcher::LIMITS, "failed to enter the control group")?;
    }
    let spec = read_spec().or_fail(launcher::SPEC, "failed to read the specification")?;
    let config = &spec.group;
    let identity = &spec.identity;
    // Where the kernel shares out the processors by session, `cpu-priority`
    // counts only inside one.
    session::enter(config.cpu_priority.is_some()).or_fail(
        launcher::SESSION,
        "failed to leave the supervisor's process group",
    )?;
    sys::reset_signals();
    signals::unblock_all().or_fail(launcher::SESSION, "failed to unblock signals")?;
    if let Some(nice) = config.cpu_priority {
        set_priority(nice)?;
        // The session's value is set too. Not every kernel has it, and control
        // groups overrule it.
        let _ = std::fs::write("/proc/self/autogroup", nice.to_string());
    }
    prefer_for_memory().or_fail(launcher::ATTRIBUTES, "failed to set oom_score_adj")?;
    // What lies below it may be the site's: from here on nothing is opened before
    // this is no longer root.
    if let Some(root) = &config.chroot {
        let step = format!(
            "failed to change the root directory to `{}`",
            root.display()
        );
        let entered = chroot(root).and_then(|()| chdir("/"));
        entered.or_fail(launcher::CHROOT, &step)?;
    }
    let mut isolated = Isolated::of(config, identity, &spec.places);
    if let Some(isolated) = &mut isolated {
        isolated.loads(Path::new(EXTENSION_FILE));
        isolated
            .enter()
            .map_err(|why| Failed(launcher::ISOLATION, why))?;
    }
    // Without `no_new_privs` it takes a privilege, and refuses to leave the keyring.
    if !config.no_new_privileges {
        if isolated.is_some() && identity.change {
            sys::leave_keyring()
                .or_fail(launcher::IDENTITY, "failed to leave the session keyring")?;
        }
        confine(&mut isolated)?;
    }
    privilege::drop_privileges(identity)
        .map_err(|error| Failed(error.exit_code(), error.to_string()))?;
    // Lowering needs no privilege, and the launcher itself has to have room.
    limit_resources(config).or_fail(launcher::LIMITS, "failed to set a resource limit")?;
    if config.no_new_privileges {
        nix::sys::prctl::set_no_new_privs()
            .or_fail(launcher::ATTRIBUTES, "failed to set no_new_privs")?;
        confine(&mut isolated)?;
    }
    let mut command = site_python(config, identity, args.enter_home)?;
    command.arg("-c").arg(bootstrap(&config.title()));
    if let Some(isolated) = isolated {
        report(isolated.into_report())
            .or_fail(launcher::ISOLATION, "failed to tell what is in force")?;
    }
    Ok(command)
}

fn confine(isolated: &mut Option<Isolated<'_>>) -> Result<(), Failed> {
    let confined = isolated.as_mut().map_or(Ok(()), Isolated::confine);
    confined.map_err(|why| Failed(launcher::ISOLATION, why))
}

/// Tells the supervisor what is in force, before anything of the site runs.
fn report(report: IsolationReport) -> io::Result<()> {
    let message = FromWorker::Isolated(report);
    let mut frame = Vec::new();
    let head = FrameHead::new(Kind::Control, 0, 0);
    payload::encode_frame_into(head, &message, &mut frame).map_err(io::Error::other)?;
    File::from(sys::duplicate(CONTROL)?).write_all(&frame)
}

/// The site's Python with its options and its environment, once this is the site's user;
/// enters the site's directory.
pub(crate) fn site_python(
    config: &GroupConfig,
    identity: &Identity,
    enter_home: bool,
) -> Result<Command, Failed> {
    umask(Mode::from_bits_truncate(config.umask.unwrap_or(0o022)));
    enter_directory(config, identity, enter_home)?;
    let environment = environment::build(config, identity, std::env::var("TZ").ok())
        .map_err(|error| Failed(launcher::ENVIRONMENT, error.to_string()))?;
    let python = find_python(config.python_home.as_deref())
        .map_err(|text| Failed(launcher::NO_PYTHON, text))?;
    let mut command = Command::new(python);
    command
        .args(python_options(config))
        .env_clear()
        .envs(environment);
    Ok(command)
}

/// The source, with what `ps` is to show in front until the worker has set its title.
fn bootstrap(title: &str) -> String {
    format!("# {}\n{BOOTSTRAP}", title.escape_debug())
}

/// Control socket to 3, extension to 4; everything else is closed by exec.
fn place_descriptors(args: &WorkerExec) -> io::Result<()> {
    let control = sys::inherited(args.control)?;
    let extension = sys::inherited(args.extension)?;
    // Out of each other's way first: either may sit at the other's number.
    let above = EXTENSION + 1;
    let control_high = sys::duplicate_above(control, above)?;
    let extension_high = sys::duplicate_above(extension, above)?;
    sys::put_at(control_high, CONTROL)?;
    sys::put_at(extension_high, EXTENSION)?;
    sys::close_on_exec_from(EXTENSION + 1)
}

/// `0` is whoever writes it.
fn enter_control_group(entrance: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(entrance);
    file.and_then(|mut file| file.write_all(b"0"))
        .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", entrance.display())))
}

/// Reads exactly the first copy of the specification and not a byte more: the
/// second is for the extension.
fn read_spec() -> io::Result<Box<WorkerSpec>> {
    // A second descriptor of the socket, closed again when it is dropped.
    let mut socket = File::from(sys::duplicate(CONTROL)?);
    let mut head = [0; HEAD_LEN];
    socket.read_exact(&mut head)?;
    let head = FrameHead::parse(&head).map_err(io::Error::other)?;
    if head.kind != Kind::Control {
        let text = format!("{:?} came instead of a specification", head.kind);
        return Err(io::Error::other(text));
    }
    let mut bytes = vec![0; head.len as usize];
    socket.read_exact(&mut bytes)?;
    let (spec, _) = ToWorker::read_spec(&bytes).map_err(io::Error::other)?;
    Ok(spec)
}

/// Only root may ask for more than an ordinary share. A site that cannot have it
/// is served with the ordinary one, as by mod_wsgi.
#[expect(
    clippy::print_stderr,
    reason = "standard error is the launcher's pipe to the group's log"
)]
fn set_priority(nice: i32) -> Result<(), Failed> {
    match sys::set_nice(0, nice) {
        // EACCES and EPERM.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            eprintln!(
                "{}cpu-priority={nice} needs a privilege that the supervisor does not have; it has no effect",
                supervisor_line::NO_PRIORITY
            );
            Ok(())
        }
        other => other.or_fail(launcher::PRIORITY, "failed to set cpu-priority"),
    }
}

/// Where the machine has no memory left, a worker is to end before httpd and the
/// supervisor. While this is root, so that the worker cannot take it back: the
/// kernel remembers as the least what a root with CAP_SYS_RESOURCE has written
/// (`privilege::may_fix_memory_score`).
pub(crate) fn prefer_for_memory() -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    // Without /proc there is nothing to be had.
    let Ok(text) = std::fs::read_to_string(FILE) else {
        return Ok(());
    };
    match text.trim().parse::<i32>() {
        Ok(now) if now < OOM_SCORE => std::fs::write(FILE, OOM_SCORE.to_string()),
        _ => Ok(()),
    }
}

pub(crate) fn limit_resources(config: &GroupConfig) -> nix::Result<()> {
    // mod_wsgi: SIGXCPU at the soft limit starts the replacement; the hard one
    // ends what does not listen.
    let seconds = whole_seconds(config.cpu_time_limit);
    let grace = whole_seconds(config.shutdown_timeout).saturating_add(1);
    let processes = config.process_limit.into();
    for (resource, soft, hard) in [
        (
            Resource::RLIMIT_DATA,
            config.memory_limit,
            config.memory_limit,
        ),
        (
            Resource::RLIMIT_AS,
            config.virtual_memory_limit,
            config.virtual_memory_limit,
        ),
        (Resource::RLIMIT_NPROC, processes, processes),
        (Resource::RLIMIT_CPU, seconds, seconds.saturating_add(grace)),
    ] {
        if soft > 0 {
            // What the supervisor itself is held to is not exceeded.
            let (_, most) = getrlimit(resource)?;
            setrlimit(resource, soft.min(most), hard.min(most))?;
        }
    }
    Ok(())
}

/// The kernel counts whole seconds of processor time.
fn whole_seconds(time: Duration) -> u64 {
    let seconds = time.as_millis().div_ceil(1000);
    seconds.try_into().unwrap_or(u64::MAX)
}

fn enter_directory(
    config: &GroupConfig,
    identity: &Identity,
    enter_home: bool,
) -> Result<(), Failed> {
    match &config.home {
        Some(home) => enter(home).map_err(|text| Failed(launcher::HOME, format!("home= {text}"))),
        // Service accounts often have a home that does not exist; nobody asked
        // for that directory, so the worker starts without it.
        None if enter_home && enter(&identity.home).is_ok() => Ok(()),
        None => chdir("/").or_fail(launcher::HOME, "failed to enter `/`"),
    }
}

fn enter(path: &Path) -> Result<(), String> {
    path_check::enterable(path).map_err(|closed| closed.to_string())?;
    chdir(path).map_err(|errno| format!("`{}`: {errno}", path.display()))
}

pub(crate) fn find_python(home: Option<&Path>) -> Result<PathBuf, String> {
    let Some(home) = home else {
        return PATH
            .split(':')
            .map(|dir| Path::new(dir).join("python3"))
            .find(|path| path_check::executable(path).is_ok())
            .ok_or_else(|| format!("no `python3` on {PATH}; install Python or set python-home="));
    };
    let python = home.join("bin/python");
    let Err(closed) = path_check::executable(&python) else {
        return Ok(python);
    };
    let python3 = home.join("bin/python3");
    match path_check::executable(&python3) {
        Ok(()) => Ok(python3),
        Err(_) => Err(format!("python-home= {closed}")),
    }
}

fn python_options(config: &GroupConfig) -> Vec<String> {
    let mut options = vec!["-O".to_owned(); usize::from(config.python_optimize.min(2))];
    if config.dont_write_bytecode {
        options.push("-B".to_owned());
    }
    for warning in &config.python_warnings {
        options.extend(["-W".to_owned(), warning.clone()]);
    }
    options
}
