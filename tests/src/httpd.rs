//! An httpd of its own, running: asked, restarted, watched from outside;
//! stopped, and its logs shown on failure, when it is dropped. What it runs with
//! is made by `builder`.

mod builder;
mod program;

use std::fs::{self, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

pub use builder::{Builder, Check};
pub use program::{free_port, program};

use crate::case::{self, Server};
use crate::client::{Client, Response};
use crate::process::Pid;
use crate::users;
use crate::wait::{eventually, until};
use program::{as_user, httpd_command};

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

/// A running server.
#[derive(Debug)]
pub struct Httpd {
    builder: Builder,
    processes: Arc<Processes>,
    stopped: bool,
}

/// What is needed to end and to describe the server from any thread.
#[derive(Debug)]
struct Processes {
    child: Mutex<Child>,
    pid: Pid,
    root: PathBuf,
}

impl Builder {
    /// Starts the server and waits until it takes connections.
    ///
    /// # Panics
    /// If it does not start; its log is shown.
    #[must_use]
    pub fn start(mut self) -> Httpd {
        for _ in 0..5 {
            self.write();
            let mut server = Httpd::spawn(self);
            if server.wait_until_listening() {
                return server;
            }
            assert!(
                server.error_log().contains("Address already in use"),
                "httpd did not start (its log follows)"
            );
            // Somebody took a port between the look and the start.
            self = server.into_builder();
            self.ports.iter_mut().for_each(|port| *port = free_port());
            let _ = fs::remove_file(self.root().join("error.log"));
        }
        panic!("no port was free for long enough to start httpd")
    }
}

impl Httpd {
    /// Begins a configuration.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.builder.ports[0]))
    }

    /// Where the files of the server are.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.builder.root()
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A new client of this server.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// One GET on a connection of its own.
    ///
    /// # Panics
    /// If there is no complete response.
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        self.client()
            .get(path)
            .unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// httpd's parent process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.processes.pid
    }

    /// The supervisor.
    #[must_use]
    pub fn supervisor(&self) -> Option<Pid> {
        self.pid()
            .children()
            .into_iter()
            .find(|child| is_supervisor(*child))
    }

    /// The worker processes that the supervisor has now.
    #[must_use]
    pub fn workers(&self) -> Vec<Pid> {
        let mut workers = self.supervisor().map(Pid::children).unwrap_or_default();
        workers.retain(|worker| worker.alive() && !is_launcher(*worker));
        workers.sort();
        workers
    }

    /// Waits until there are so many workers, and returns them.
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn wait_for_workers(&self, count: usize, limit: Duration) -> Vec<Pid> {
        eventually(&format!("{count} workers"), limit, || {
            let workers = self.workers();
            (workers.len() == count).then_some(workers)
        })
    }

    /// The sockets that are in its directories now.
    #[must_use]
    pub fn sockets(&self) -> Vec<PathBuf> {
        sockets_below(self.root())
    }

    /// The ErrorLog so far.
    #[must_use]
    pub fn error_log(&self) -> String {
        read_lossy(&self.root().join("error.log"))
    }

    /// The access log so far.
    #[must_use]
    pub fn access_log(&self) -> String {
        read_lossy(&self.root().join("access.log"))
    }

    /// Waits for a text in the ErrorLog and returns its line.
    ///
    /// # Panics
    /// If it does not come in time.
    pub fn wait_for_log(&self, text: &str, limit: Duration) -> String {
        eventually(&format!("`{text}` in the error log"), limit, || {
            self.error_log()
                .lines()
                .find(|line| line.contains(text))
                .map(str::to_owned)
        })
    }

    /// Waits until an application is at work on the request that has this `name=`
    /// (`sleep` of probe.py, `marked` of stream_cases.py).
    ///
    /// # Panics
    /// If that does not happen in time.
    pub fn wait_for_running(&self, name: &str, limit: Duration) {
        self.wait_for_log(&format!("running: {name}"), limit);
    }

    /// Replaces the site's part of the configuration; a restart makes it work.
    pub fn configure(&mut self, lines: impl FnOnce(&mut Vec<String>)) {
        lines(&mut self.builder.lines);
        self.builder.write();
    }

    /// Asks httpd whether it would take the configuration as it is now written.
    #[must_use]
    pub fn check(&self) -> Check {
        self.builder.check()
    }

    /// Restarts gracefully and waits until the new generation serves.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn graceful(&self) {
        self.restart(Signal::SIGUSR1);
    }

    /// Restarts at once (HUP).
    pub fn hup(&self) {
        self.restart(Signal::SIGHUP);
    }

    fn restart(&self, signal: Signal) {
        const SIGN: &str = "resuming normal operations";
        let before = self.error_log().matches(SIGN).count();
        self.pid().signal(signal);
        eventually("the restart", START, || {
            (self.error_log().matches(SIGN).count() > before).then_some(())
        });
    }

    /// Stops the server; asserts that nothing of it is left.
    ///
    /// # Panics
    /// If it does not end in time or leaves processes or sockets behind.
    pub fn stop(mut self) {
        self.stopped = true;
        let started = self.pid().descendants();
        let status = self.terminate();
        assert!(
            status.is_some(),
            "httpd did not end within {STOP:?} of SIGTERM"
        );
        let left = until(Duration::from_secs(10), || {
            started.iter().all(|pid| !pid.alive()).then_some(())
        });
        let alive: Vec<String> = started
            .iter()
            .filter(|pid| pid.alive())
            .map(|pid| format!("{} {}", pid.number, pid.command_line()))
            .collect();
        started.iter().for_each(|pid| pid.kill());
        assert!(
            left.is_some(),
            "processes outlived httpd: {alive:?}\n{}",
            self.processes.logs()
        );
        let sockets = self.sockets();
        assert!(
            sockets.is_empty(),
            "sockets were left behind: {sockets:?}\n{}",
            self.processes.logs()
        );
    }

    fn spawn(builder: Builder) -> Self {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(builder.root().join("stderr.log"));
        let log = log.expect("the server root can be written");
        let mut command = httpd_command(builder.root());
        command.arg(if builder.one_process {
            "-X"
        } else {
            "-DFOREGROUND"
        });
        if let Some(user) = &builder.user {
            users::give(builder.root(), user);
            command = as_user(&command, user);
        }
        let child = command
            .envs(builder.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be doubled"))
            .stderr(log)
            .spawn()
            .expect("httpd can be run");
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::current)
            .expect("the process was just made");
        let root = builder.root().to_owned();
        let processes = Arc::new(Processes {
            child: Mutex::new(child),
            pid,
            root,
        });
        case::started(Arc::clone(&processes) as Arc<dyn Server>);
        Self {
            builder,
            processes,
            stopped: false,
        }
    }

    fn wait_until_listening(&mut self) -> bool {
        let outcome = until(START, || {
            if self.processes.exit_status().is_some() {
                return Some(false);
            }
            // One process alone has no parent that says so.
            let ready =
                self.builder.one_process || self.error_log().contains("resuming normal operations");
            (ready && TcpStream::connect(self.address()).is_ok()).then_some(true)
        });
        outcome == Some(true)
    }

    /// The configuration of a server that did not start, to try again.
    fn into_builder(mut self) -> Builder {
        self.stopped = true;
        std::mem::take(&mut self.builder)
    }

    fn terminate(&self) -> Option<ExitStatus> {
        self.pid().signal(Signal::SIGTERM);
        until(STOP, || self.processes.exit_status())
    }
}

impl Drop for Httpd {
    fn drop(&mut self) {
        if thread::panicking() {
            case::show(&self.processes.report());
        }
        if !self.stopped {
            let started = self.pid().descendants();
            self.terminate();
            started.iter().for_each(|pid| {
                // The supervisor's own end of everything has had its time.
                if until(Duration::from_secs(5), || (!pid.alive()).then_some(())).is_none() {
                    pid.kill();
                }
            });
        }
        self.processes.kill();
    }
}

impl Processes {
    fn exit_status(&self) -> Option<ExitStatus> {
        self.child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_wait()
            .ok()
            .flatten()
    }

    fn logs(&self) -> String {
        let part = |name: &str| {
            format!(
                "--- {name}\n{}",
                tail(&read_lossy(&self.root.join(name)), 120)
            )
        };
        ["stderr.log", "error.log", "access.log"]
            .map(part)
            .join("\n")
    }
}

impl Server for Processes {
    fn report(&self) -> String {
        let configuration = read_lossy(&self.root.join("httpd.conf"));
        let mut text = format!(
            "--- httpd.conf\n{configuration}\n{}\n--- processes\n",
            self.logs()
        );
        for pid in std::iter::once(self.pid).chain(self.pid.descendants()) {
            text += &format!("{} {}\n", pid.number, pid.command_line());
        }
        text
    }

    fn kill(&self) {
        let all = self.pid.descendants();
        if self.exit_status().is_none() {
            self.pid.kill();
        }
        all.iter().for_each(|pid| pid.kill());
        until(Duration::from_secs(5), || self.exit_status());
    }
}

/// A process on its way to become a worker.
fn is_launcher(pid: Pid) -> bool {
    pid.command_line().contains(" worker-exec ")
}

fn is_supervisor(pid: Pid) -> bool {
    pid.command_line().contains(" supervise")
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let skipped = all.len().saturating_sub(lines);
    let before = if skipped > 0 {
        format!("({skipped} lines before)\n")
    } else {
        String::new()
    };
    before + &all[skipped..].join("\n")
}

fn sockets_below(directory: &Path) -> Vec<PathBuf> {
    use std::os::unix::fs::FileTypeExt as _;
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(sockets_below(&entry.path())),
            Ok(kind) if kind.is_socket() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
