//! Runs httpd in the foreground and ends all of it with this process: signals
//! are forwarded, every descendant is waited for, and whoever does not leave in
//! time is killed. Works as process 1 of a container too.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal::{self, SIGKILL, SIGTERM};
use nix::sys::signal::{SigSet, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use wsgid_protocol::readiness;

use super::drain::{DrainDelay, ReadyMark, SAME_WISH};
use super::plan::ServerPlan;
use super::terminal::{self, TerminalStream};
use super::{banner, logs, progress};
use crate::exit_code;
use crate::process::procfs;

/// Why httpd could not be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForegroundError {
    #[error("failed to prepare for signals: {0}")]
    Signals(Errno),
    #[error("failed to start `{0}`: {1}")]
    Start(PathBuf, io::Error),
    #[error("failed to open the startup log `{0}`: {1}")]
    StartupLog(PathBuf, io::Error),
}

/// What the end of everything may take beyond the shutdown-timeout: the
/// supervisor's own second and httpd's three for its children, rounded up.
const STOP_SLACK: Duration = Duration::from_secs(8);

/// How long descendants that outlived httpd may take.
const DESCENDANTS_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the server; returns its exit code.
pub(crate) fn run(plan: &ServerPlan) -> Result<u8, ForegroundError> {
    let signals = block_signals().map_err(ForegroundError::Signals)?;
    // Workers whose supervisor was killed come to us instead of to init.
    nix::sys::prctl::set_child_subreaper(true).map_err(ForegroundError::Signals)?;
    let log = logs::error_log_file(plan);
    let log_facts = log.as_deref().and_then(|log| fs::metadata(log).ok());
    let before = log_facts.map_or(0, |facts| facts.len());
    let mut child = start(plan)?;
    let copies = copies(plan, &mut child)?;
    let limit = Duration::from_secs(plan.options.timeouts.shutdown_timeout.into()) + STOP_SLACK;
    let httpd = Pid::from_raw(i32::try_from(child.id()).unwrap_or(0));
    let ending = Arc::new(AtomicBool::new(false));
    let not_loaded = Arc::new(AtomicBool::new(false));
    let mark = ReadyMark::of(plan);
    // httpd names it after its pid, which is that of the script it was started by.
    let mut directory = plan.socket_prefix().into_os_string();
    directory.push(format!(".{httpd}"));
    let directory = PathBuf::from(directory);
    let socket = directory.join(crate::channel::operator::NAME);
    if plan.has_application() {
        terminal::say(&banner::socket(&socket));
    }
    if let Some(start) = to_watch(plan, &socket, log.as_deref()) {
        let (mark, not_loaded) = (mark.clone(), Arc::clone(&not_loaded));
        let url = start.url.clone();
        progress::watch(start, Arc::clone(&ending), move |is_ready| {
            if is_ready {
                mark.make(&url);
            } else {
                not_loaded.store(true, Ordering::Relaxed);
                // As if somebody had asked for the end.
                let _ = kill(getpid(), SIGTERM);
            }
        });
    }
    let running = RunningHttpd {
        httpd,
        stopping: None,
        limit,
        ending: Arc::clone(&ending),
        not_loaded: Arc::clone(&not_loaded),
        drain: DrainDelay::new(plan, &socket),
        mark: mark.clone(),
    };
    let code = running.wait(&signals);
    let asked = ending.swap(true, Ordering::Relaxed);
    mark.remove();
    end_descendants();
    remove_sockets(&directory);
    for copy in copies {
        let _ = copy.join();
    }
    if code != 0 && !asked {
        explain(code, log.as_deref(), before);
    }
    if not_loaded.load(Ordering::Relaxed) {
        return Ok(exit_code::NOT_SERVING);
    }
    Ok(code)
}

/// What is to be watched of the start; a person in a debugger knows what is going on.
fn to_watch(
    plan: &ServerPlan,
    socket: &Path,
    error_log: Option<&Path>,
) -> Option<progress::ApplicationStart> {
    let deploy = &plan.options.deploy;
    if plan.single() && deploy.ready_file.is_none() {
        return None;
    }
    let log = error_log.map(|log| format!("`{}`", log.display()));
    let network = &plan.options.network;
    let host = network.host.as_deref().unwrap_or("localhost");
    Some(progress::ApplicationStart {
        socket: socket.to_owned(),
        group: plan.has_application().then(|| plan.process_group()),
        error_log: log.unwrap_or_else(|| "the log".to_owned()),
        url: banner::url(plan),
        address: (host.to_owned(), network.port),
        root: plan.root.clone(),
        keep_going: deploy.keep_going || plan.single(),
    })
}

/// httpd removes them itself, unless it was killed.
fn remove_sockets(directory: &Path) {
    for name in [
        "httpd.sock",
        crate::channel::operator::NAME,
        readiness::FILE,
    ] {
        let _ = fs::remove_file(directory.join(name));
    }
    let _ = fs::remove_dir(directory);
}

fn block_signals() -> Result<SignalFd, Errno> {
    let set = SigSet::from_iter([
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGWINCH,
        Signal::SIGCHLD,
    ]);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn start(plan: &ServerPlan) -> Result<Child, ForegroundError> {
    let control = plan.root.join("apachectl");
    let piped = plan.options.logs.log_to_terminal || plan.options.logs.startup_log;
    let mut command = Command::new(&control);
    command
        .args(["start", "-DFOREGROUND"])
        .env(terminal::DIE_WITH_PARENT, "1");
    if piped {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
    }
    // gdb alone reads. A terminal's Ctrl-C must reach httpd once, from us, and prefork
    // signals its whole process group.
    if !plan.options.develop.enable_gdb {
        command.stdin(Stdio::null()).process_group(0);
    }
    command
        .spawn()
        .map_err(|error| ForegroundError::Start(control, error))
}

fn copies(
    plan: &ServerPlan,
    child: &mut Child,
) -> Result<Vec<std::thread::JoinHandle<()>>, ForegroundError> {
    let options = &plan.options.logs;
    let mut log = None;
    if options.startup_log {
        let path = plan.log_directory.join(&options.startup_log_name);
        let opened = File::options().create(true).append(true).open(&path);
        log = Some(opened.map_err(|error| ForegroundError::StartupLog(path, error))?);
    }
    let mut copies = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        let log = log.as_ref().and_then(|file| file.try_clone().ok());
        copies.push(terminal::copy_lines(pipe, TerminalStream::Output, log));
    }
    if let Some(pipe) = child.stderr.take() {
        copies.push(terminal::copy_lines(pipe, TerminalStream::error(), log));
    }
    Ok(copies)
}

struct RunningHttpd {
    httpd: Pid,
    /// When the end was asked for.
    stopping: Option<Instant>,
    limit: Duration,
    /// Set when the end was asked for: the watch of the start then says no more.
    ending: Arc<AtomicBool>,
    /// Set when the end is because the application failed to load.
    not_loaded: Arc<AtomicBool>,
    drain: DrainDelay,
    mark: ReadyMark,
}

impl RunningHttpd {
    /// Passes signals on until httpd has ended; its exit code.
    fn wait(mut self, signals: &SignalFd) -> u8 {
        loop {
            let left = [
                self.left(),
                self.drain.left().filter(|_| self.stopping.is_none()),
            ];
            let timeout = left
                .into_iter()
                .flatten()
                .min()
                .map_or(PollTimeout::NONE, |left| {
                    PollTimeout::try_from(left + Duration::from_millis(1))
                        .unwrap_or(PollTimeout::MAX)
                });
            let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, timeout);
            while let Ok(Some(info)) = signals.read_signal() {
                let number = i32::try_from(info.ssi_signo).unwrap_or(0);
                if let Ok(signal) = Signal::try_from(number) {
                    self.forward(signal);
                }
            }
            if let Some(code) = reap(Some(self.httpd)) {
                return code;
            }
            if self.stopping.is_none() && self.drain.left().is_some_and(|left| left.is_zero()) {
                self.stop_begins();
                let _ = kill(self.httpd, SIGTERM);
            }
            if self.left().is_some_and(|left| left.is_zero()) {
                terminal::say("wsgid: httpd did not end in time and is killed");
                self.kill();
            }
        }
    }

    /// How long the end that was asked for may take yet.
    fn left(&self) -> Option<Duration> {
        let since = self.stopping?;
        Some(self.limit.saturating_sub(since.elapsed()))
    }

    fn forward(&mut self, signal: Signal) {
        let to_httpd = match signal {
            Signal::SIGCHLD => return,
            Signal::SIGTERM
                if self.stopping.is_none()
                    && !self.not_loaded.load(Ordering::Relaxed)
                    && self.drain.puts_off() =>
            {
                self.ending.store(true, Ordering::Relaxed);
                return self.mark.remove();
            }
            Signal::SIGINT | Signal::SIGTERM | Signal::SIGQUIT => {
                match self.stopping {
                    None => self.stop_begins(),
                    Some(since) if since.elapsed() < SAME_WISH => {}
                    // A second Ctrl-C means now.
                    Some(_) => return self.kill(),
                }
                Signal::SIGTERM
            }
            // A terminal sends it when its size changes; elsewhere it is
            // httpd's graceful stop, and containers use it.
            Signal::SIGWINCH if io::IsTerminal::is_terminal(&io::stdin()) => return,
            Signal::SIGWINCH => {
                self.stop_begins();
                self.limit += Duration::from_secs(3600);
                Signal::SIGWINCH
            }
            other => other,
        };
        let _ = kill(self.httpd, to_httpd);
    }

    fn stop_begins(&mut self) {
        self.stopping = Some(Instant::now());
        self.ending.store(true, Ordering::Relaxed);
    }

    fn kill(&self) {
        let _ = killpg(self.httpd, SIGKILL);
        let _ = kill(self.httpd, SIGKILL);
    }
}

/// Reaps all processes that ended; gives the exit code of `wanted` if it is one of them.
fn reap(wanted: Option<Pid>) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if Some(pid) == wanted => {
                code = Some(u8::try_from(status & 0xff).unwrap_or(1));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if Some(pid) == wanted => {
                code = Some(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0)));
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}

/// Waits for descendants that httpd left behind, and kills those that stay.
fn end_descendants() {
    let deadline = Instant::now() + DESCENDANTS_TIMEOUT;
    let mut asked = false;
    loop {
        reap(None);
        let children = procfs::children();
        if children.is_empty() {
            return;
        }
        let late = Instant::now() >= deadline;
        if late || !asked {
            let signal = if late { SIGKILL } else { SIGTERM };
            for child in children.into_iter().flat_map(i32::try_from) {
                let _ = kill(Pid::from_raw(child), signal);
            }
        }
        asked = true;
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells why httpd ended by itself: from the end of what it has logged since `before`.
fn explain(code: u8, log: Option<&Path>, before: u64) {
    let text = format!("wsgid: httpd ended by itself with exit code {code}");
    terminal::say(&text);
    let Some(log) = log else { return };
    let lines = tail(log, before).unwrap_or_default();
    if !lines.is_empty() {
        terminal::say(&format!("wsgid: the last lines of `{}`:", log.display()));
        terminal::say(&lines);
    }
}

fn tail(log: &Path, before: u64) -> io::Result<String> {
    const LINES: usize = 15;
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(before))?;
    let mut bytes = Vec::new();
    file.take(1 << 20).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().rev().take(LINES).collect();
    lines.reverse();
    Ok(lines.join("\n"))
}
