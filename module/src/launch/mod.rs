//! The supervisor from the httpd parent's side: started once, kept over
//! restarts, told about each configuration, started again when it dies,
//! stopped with httpd. Runs in the parent only; nothing here may fail a start
//! or a reload: what goes wrong is logged, and requests are answered with 503.

pub(crate) mod configuration;
mod listener;
mod talk;

use std::ffi::{CString, c_int};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{AccessFlags, Pid, access, geteuid, getpid};
use wsgid_protocol::config::LogFormat;
use wsgid_protocol::control::FromParent;
use wsgid_protocol::refusal::WITHOUT_PASSRIGHTS;
use wsgid_protocol::trust::{self, Sticky};

use self::talk::Message;
use crate::apr::pool::AprPool;
use crate::configuration::{check, paths, settings};
use crate::httpd::log;
use crate::httpd::retained::{self, Retained};
use crate::httpd::server::{self, Server};
use crate::httpd::{process, spawn};
use crate::log_ids::{self, LogLine};
use crate::sys;
use crate::workers::plan::ServingPlan;
use crate::workers::{absence, child, totals};

const VERSION_COMPONENT: &str = concat!("mod_wsgid/", env!("CARGO_PKG_VERSION"));

/// How long a start or reload waits for the supervisor's word.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A supervisor that lived shorter than this died at once.
const QUICK: u64 = 2;

/// So many quick deaths in a row are replaced at once: somebody may have killed them.
const QUICK_DEATHS: u32 = 4;

/// Longest pause between two starts, in seconds.
const LONGEST_PAUSE: u64 = 30;

/// How long a start after others that failed waits for the word that this one works.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(1);

/// What httpd is to call, and when.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks {
    /// The supervisor's process has ended; calls [`maintain`].
    pub(crate) maintenance: sys::Maintenance,
    /// The configuration is given up; calls [`configuration_ends`].
    pub(crate) configuration_ends: sys::Cleanup,
}

/// What a supervisor that has to be started again must be told.
struct Current {
    /// WSGISupervisorExecutable.
    executable: Option<PathBuf>,
    log_format: LogFormat,
    message: Message,
    stop_timeout: Duration,
    maintenance: sys::Maintenance,
}

static CURRENT: Mutex<Option<Current>> = Mutex::new(None);

/// httpd's post_config hook.
pub(crate) fn post_config(pool: AprPool<'_>, main: Server<'_>, callbacks: Callbacks) {
    if server::is_first_pass() || server::is_only_looking() {
        return;
    }
    server::add_version(pool, pool.string(VERSION_COMPONENT.as_bytes()));
    for remark in settings::with(|settings| std::mem::take(&mut settings.remarks)) {
        log::server(LogLine::INFO, || remark);
    }
    for warning in settings::with(|settings| std::mem::take(&mut settings.warnings)) {
        check::say(&warning);
    }
    if main.error_log().is_none() && configuration::syslog(main).is_none() {
        log::server(
            log_ids::NO_MAIN_LOG,
            || "the main ErrorLog is neither a file nor a program nor syslog: what belongs to a request is written there, what supervisor and workers say beside is lost",
        );
    }
    let mut plan = settings::with(|settings| configuration::plan(settings));
    if let Some(socket) = settings::with(|settings| settings.daemon_socket.clone()) {
        plan.socket = Some(socket.to_string_lossy().into_owned());
        absence::tell(false);
        child::publish(plan);
        return;
    }
    let outcome = retained::with(|retained| bring_up(retained, pool, main, &mut plan, callbacks));
    if let Err(error) = outcome {
        log::server(log_ids::NO_SERVICE, || {
            format!("applications cannot be served: {error}; their requests are answered with 503")
        });
    }
    child::publish(plan);
}

fn bring_up(
    retained: &mut Retained,
    pool: AprPool<'_>,
    main: Server<'_>,
    plan: &mut ServingPlan,
    callbacks: Callbacks,
) -> Result<(), String> {
    if retained.owner == 0 {
        retained.owner = getpid().as_raw();
    }
    totals::prepare(retained);
    plan.secret = retained
        .generations
        .begin(plan.generation, process::random());
    tell_of_ended(retained);
    retained::at_end_of_configuration(pool, callbacks.configuration_ends);
    let directories = settings::with(|settings| listener::prefix(settings, pool))?;
    check_socket_directory(&directories)?;
    replace_lost_socket(retained)?;
    listener::ensure(retained, &directories)?;
    plan.socket = Some(retained.socket_path());

    let (message, stop_timeout) = settings::with(|settings| {
        configuration::message(settings, main, plan.secret, plan.generation)
    })?;
    let current = Current {
        executable: settings::with(|settings| settings.executable.clone()),
        log_format: settings::with(|settings| settings.log_format),
        message,
        stop_timeout,
        maintenance: callbacks.maintenance,
    };
    let outcome = tell_or_start(retained, self::current().insert(current));
    let runs = retained.process.pid != 0;
    if runs && !retained.registered {
        retained::watch(retained, pool, callbacks.maintenance);
    }
    if outcome.is_ok() {
        talk::await_reply(retained, plan.generation, REPLY_TIMEOUT);
    } else if !runs {
        talk::forget_answers();
        retry_later(retained);
    }
    outcome
}

/// The program to start: looked for at each start, for it may have come, gone or changed hands.
fn find_program(executable: Option<&Path>) -> Result<PathBuf, String> {
    let module = process::module_directory();
    let program = paths::find_supervisor(executable, module.as_deref(), |path| {
        path.is_file() && access(path, AccessFlags::X_OK).is_ok()
    })?;
    check_program(&program)?;
    Ok(program)
}

/// Root makes the socket's directory and removes it again: nobody else may have it
/// lead elsewhere, nor put a socket of his own there and hear what is meant for all
/// sites.
fn check_socket_directory(prefix: &str) -> Result<(), String> {
    let directory = Path::new(prefix).parent().filter(|_| geteuid().is_root());
    directory.map_or(Ok(()), |directory| trust::directory_to_be(directory, 0, Sticky::Yes)).map_err(|why| {
        format!("the supervisor's socket cannot be below a directory in other hands: {why}; WSGISocketPrefix names another place")
    })
}

/// Root runs the program, and again at each restart.
fn check_program(program: &Path) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    trust::file(program, 0).map_err(|why| {
        format!(
            "httpd runs `{}` as root, and others could replace it: {why}; install wsgid as root, or name another with \
             WSGISupervisorExecutable",
            program.display()
        )
    })
}

/// Where somebody has removed the socket, nobody reaches the supervisor any more:
/// another one has to listen to another socket. Workers finish what they have.
fn replace_lost_socket(retained: &mut Retained) -> Result<(), String> {
    if !listener::is_lost(retained) {
        return Ok(());
    }
    let path = retained.socket_path();
    log::server(log_ids::SOCKET_REMOVED, || {
        format!("somebody has removed `{path}`; another one is made")
    });
    if retained.process.pid != 0 {
        kill_supervisor(retained);
    }
    listener::renew(retained)
}

fn current() -> MutexGuard<'static, Option<Current>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works with the record in the process that made it, not in its children.
fn as_owner(work: impl FnOnce(&mut Retained)) {
    retained::with(|retained| {
        if retained.owner == getpid().as_raw() {
            work(retained);
        }
    });
}

/// A living supervisor gets the configuration; otherwise one is started.
fn tell_or_start(retained: &mut Retained, current: &Current) -> Result<(), String> {
    reap(retained);
    if retained.process.pid != 0 {
        if let Some(control) = retained.control() {
            let Err(error) = talk::send(control, &current.message) else {
                return Ok(());
            };
            let pid = retained.process.pid;
            log::server(log_ids::SUPERVISOR_DEAF, || {
                format!("the supervisor (process {pid}) does not listen: {error}")
            });
        }
        kill_supervisor(retained);
    }
    start(retained, current)
}

/// Starts a supervisor and tells it the configuration.
fn start(retained: &mut Retained, current: &Current) -> Result<(), String> {
    let path = find_program(current.executable.as_deref())?;
    let listener = retained
        .listener()
        .ok_or("there is no listening socket")?
        .try_clone_to_owned()
        .map_err(|error| format!("failed to duplicate a descriptor: {error}"))?;
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(|error| format!("failed to make a socket pair: {error}"))?;
    let mut arguments: Vec<CString> = vec![c"wsgid".into(), c"supervise".into(), c"--httpd".into()];
    if current.log_format == LogFormat::Json {
        arguments.extend([c"--log-format".into(), c"json".into()]);
    }
    let program = spawn::SpawnProgram {
        path: CString::new(path.as_os_str().as_bytes())
            .map_err(|_| "a path contains a NUL".to_owned())?,
        arguments,
        environment: environment(),
        descriptors: [theirs.as_fd(), listener.as_fd()],
    };
    let pid = spawn::spawn(&program)
        .map_err(|error| format!("failed to start `{}`: {error}", path.display()))?;
    drop(program);
    talk::forget_answers();
    retained.process.pid = pid;
    retained.started_at = process::monotonic_seconds();
    retained.retry_at = 0;
    retained.set_control(Some(ours));
    log::server(LogLine::INFO, || {
        format!("supervisor started: `{}`, process {pid}", path.display())
    });
    let control = retained.control().ok_or("the control socket is closed")?;
    if let Some(memory) = retained
        .totals()
        .and_then(|fd| fd.try_clone_to_owned().ok())
    {
        // Without it nothing is counted, which its first configuration would fail of too.
        let _ = talk::encode(&FromParent::Totals, vec![memory])
            .map(|message| talk::send(control, &message));
    }
    // Children of these generations go on asking, for what is configured now.
    let generations = retained.generations.all();
    let (_, older) = generations.split_last().ok_or("there is no generation")?;
    older
        .iter()
        .try_for_each(|generation| talk::send_for(control, &current.message, generation))
        .and_then(|()| talk::send(control, &current.message))
        .map_err(|error| {
            format!("the supervisor (process {pid}) did not take its configuration: {error}")
        })
}

/// The supervisor's environment: a path, the time zone of the machine, and what
/// tests say of the kernel.
fn environment() -> Vec<CString> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    let zone = std::env::var("TZ").map(|zone| format!("TZ={zone}"));
    let kernel = std::env::var_os(WITHOUT_PASSRIGHTS).map(|_| format!("{WITHOUT_PASSRIGHTS}=1"));
    let variables = [Some(path), zone.ok(), kernel].into_iter().flatten();
    variables.flat_map(CString::new).collect()
}

/// Notices a supervisor that has ended.
fn reap(retained: &mut Retained) {
    if retained.process.pid == 0 {
        return;
    }
    let pid = Pid::from_raw(retained.process.pid);
    if waitpid(pid, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive) {
        forget(retained);
    }
}

fn forget(retained: &mut Retained) {
    retained::unwatch(retained);
    retained.process.pid = 0;
    retained.set_control(None);
}

fn kill_supervisor(retained: &mut Retained) {
    let pid = Pid::from_raw(retained.process.pid);
    // Its end is awaited: SIGKILL cannot be refused.
    if kill(pid, Signal::SIGKILL).is_ok() {
        let _ = waitpid(pid, None);
    }
    forget(retained);
}

/// httpd's word about the supervisor's process.
pub(crate) fn maintain(reason: i32, status: i32) {
    if reason != sys::APR_OC_REASON_DEATH && reason != sys::APR_OC_REASON_LOST {
        return;
    }
    retained::with(|retained| {
        let pid = retained.process.pid;
        talk::drain_replies(retained);
        forget(retained);
        if retained.owner != getpid().as_raw() || server::is_stopping() {
            return;
        }
        let ending = talk::ending(status);
        log::server(log_ids::SUPERVISOR_ENDED, || {
            format!("the supervisor (process {pid}) ended: {ending}; a new one is started")
        });
        if talk::ended_by_itself(status) && !talk::has_answered() {
            absence::tell(true);
        }
        let lived = process::monotonic_seconds().saturating_sub(retained.started_at);
        if lived >= QUICK {
            retained.quick_deaths = 0;
        } else if retained.quick_deaths >= QUICK_DEATHS {
            let pause = retry_later(retained);
            let times = retained.quick_deaths;
            log::server(log_ids::SUPERVISOR_ENDS_AT_ONCE, || {
                format!(
                    "the supervisor ended {times} times right after its start; next try in {pause} s"
                )
            });
            return;
        } else {
            retained.quick_deaths += 1;
        }
        start_again(retained);
    });
}

/// Plans another start, and says so to children, unless what ended has worked, so that somebody
/// may have ended it. Returns the seconds until then.
fn retry_later(retained: &mut Retained) -> u64 {
    retained.quick_deaths = retained.quick_deaths.saturating_add(1);
    if !talk::has_answered() || retained.quick_deaths > 2 * QUICK_DEATHS {
        absence::tell(true);
    }
    let pause = LONGEST_PAUSE.min(1 << retained.quick_deaths.saturating_sub(QUICK_DEATHS).min(6));
    retained.retry_at = process::monotonic_seconds() + pause;
    pause
}

fn start_again(retained: &mut Retained) {
    let current = current();
    let Some(current) = current.as_ref() else {
        return;
    };
    let outcome = start(retained, current);
    let runs = retained.process.pid != 0;
    if let Err(error) = &outcome {
        log::server(log_ids::SUPERVISOR_NOT_STARTED, || {
            format!("no supervisor: {error}")
        });
        if !runs {
            talk::forget_answers();
            retry_later(retained);
        }
    }
    if let Some(main) = server::main_server().filter(|_| runs && !retained.registered) {
        retained::watch(retained, main.configuration_pool(), current.maintenance);
    }
    let newest = retained.generations.all().last().map(|one| one.number);
    if let Some(newest) = newest.filter(|_| outcome.is_ok() && absence::is_told()) {
        talk::await_reply(retained, newest, RECOVERY_TIMEOUT);
    }
}

/// httpd's monitor hook, every few seconds; with what was left out of the log meanwhile.
pub(crate) fn monitor(left_out: Vec<(String, u64, u64)>) {
    as_owner(|retained| {
        talk::drain_replies(retained);
        if !left_out.is_empty() {
            let _ = talk::tell(retained, &FromParent::LogLeftOut(left_out));
        }
        if listener::is_lost(retained) {
            match replace_lost_socket(retained) {
                Ok(()) => start_again(retained),
                Err(error) => log::server(log_ids::NO_SERVICE, || {
                    format!("applications cannot be served: {error}")
                }),
            }
        }
        if retained.process.pid == 0
            && retained.retry_at != 0
            && process::monotonic_seconds() >= retained.retry_at
        {
            start_again(retained);
        }
    });
}

/// httpd's child_status hook. The hook for the end of a generation is not run
/// for one that httpd ends at once (SIGHUP).
pub(crate) fn child_changed(generation: u64, state: c_int) {
    as_owner(|retained| match state {
        sys::MPM_CHILD_STARTED => retained.generations.child_started(generation),
        sys::MPM_CHILD_EXITED => {
            retained.generations.child_exited(generation);
            tell_of_ended(retained);
        }
        // A child without a place in the scoreboard is still there.
        _ => {}
    });
}

/// Tells the supervisor of generations that no child is left of.
fn tell_of_ended(retained: &mut Retained) {
    for generation in retained.generations.take_ended() {
        if let Err(error) = talk::tell(retained, &FromParent::GenerationEnded(generation)) {
            log::server(log_ids::END_NOT_TOLD, || {
                format!(
                    "the supervisor was not told that generation {generation} has ended: {error}"
                )
            });
        }
    }
}

/// The configuration is being given up: for another one, or because httpd
/// ends. In the latter case so does the supervisor.
pub(crate) fn configuration_ends() {
    as_owner(|retained| {
        // The watch lived in the configuration's pool and has just gone.
        retained.registered = false;
        if !server::is_exiting() {
            // The next configuration may be without this module.
            let _ = talk::tell(retained, &FromParent::Reads);
            return;
        }
        let timeout = current().as_ref().map(|current| current.stop_timeout);
        stop(retained, timeout.unwrap_or_default());
        listener::remove(retained);
    });
}

/// Asks the supervisor to end, waits for it, and insists.
fn stop(retained: &mut Retained, timeout: Duration) {
    reap(retained);
    if retained.process.pid == 0 {
        return;
    }
    let _ = talk::tell(retained, &FromParent::Shutdown);
    // The supervisor also ends when the control socket does, should the message be lost.
    retained.set_control(None);
    let ended = talk::wait_until(timeout, || {
        reap(retained);
        retained.process.pid == 0
    });
    if !ended {
        let pid = retained.process.pid;
        log::server(log_ids::SUPERVISOR_KILLED, || {
            format!("the supervisor (process {pid}) did not end in time and is killed")
        });
        kill_supervisor(retained);
    }
}
