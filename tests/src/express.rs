//! `wsgid start-server` as the suites run it: on a free port, as the user of
//! httpd's children when root runs the tests, with its output kept in files.
//!
//! It knows nothing of what is served.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::httpd::free_port;
use crate::{Client, Pid, Response, artifacts, eventually, site, until, users};

/// How long the first answer may take on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A command line of `wsgid start-server`, to be completed and started.
#[derive(Debug)]
pub struct Express {
    command: Command,
    port: u16,
    root: TempDir,
}

impl Express {
    /// With the `wsgid` under test.
    #[must_use]
    pub fn new() -> Self {
        let mut command = Command::new(artifacts::wsgid());
        command.arg("start-server");
        Self::of(command, free_port())
    }

    /// With another program that takes the options of `start-server`.
    ///
    /// # Panics
    /// If no directory can be made.
    #[must_use]
    pub fn of(mut command: Command, port: u16) -> Self {
        let root = site::temporary_directory("wsgid-ex-");
        command.args([
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--server-root",
        ]);
        command.arg(root.path().join("root")).stdin(Stdio::null());
        if users::is_root() {
            let user = users::of_httpd();
            command.args(["--user", &user.name, "--group", &user.group]);
        }
        Self {
            command,
            port,
            root,
        }
    }

    /// Further words of the command line.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    /// A word that is a path.
    #[must_use]
    pub fn path(mut self, path: &Path) -> Self {
        self.command.arg(path);
        self
    }

    /// A variable of the environment in which the command runs.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// The directory in which the command runs.
    #[must_use]
    pub fn current_dir(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// The port it will listen on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The server root it will write.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.root.path().join("root")
    }

    /// Starts it and waits for the first answer, whatever that is.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn start(self) -> Server {
        let mut server = self.spawn();
        let up = until(START, || {
            if server.child.try_wait().ok().flatten().is_some() {
                return Some(false);
            }
            server.client().get("/").is_ok().then_some(true)
        });
        assert!(up == Some(true), "start-server did not serve");
        server
    }

    /// Starts it and waits for nothing.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn spawn(mut self) -> Server {
        // A pipe that nobody reads would stop the server when it is full.
        let output = self.root.path().join("output");
        let file = File::create(&output).expect("a file can be made");
        let error = file.try_clone().expect("a descriptor can be copied");
        let child = self
            .command
            .stdout(file)
            .stderr(error)
            .spawn()
            .expect("the command can be run");
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::current)
            .expect("it was just started");
        Server {
            child,
            pid,
            port: self.port,
            root: self.root,
        }
    }
}

impl Express {
    /// Runs it to its end, which must be a failure, and gives what it wrote.
    ///
    /// # Panics
    /// If it succeeds, or does not end.
    #[must_use]
    pub fn refused(self) -> String {
        let mut server = self.spawn();
        let status = eventually("a refusal", START, || {
            server.child.try_wait().expect("a child can be waited for")
        });
        let text = server.output();
        assert!(!status.success(), "{text}");
        text
    }
}

impl Default for Express {
    fn default() -> Self {
        Self::new()
    }
}

/// A running server; its processes are ended with it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: Pid,
    port: u16,
    root: TempDir,
}

impl Server {
    /// A client of its port.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
    }

    /// One GET.
    ///
    /// # Panics
    /// If there is no complete response.
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        self.client()
            .get(path)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// The server root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.root.path().join("root")
    }

    /// All it has written to its terminal.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.root.path().join("output")).unwrap_or_default())
            .into_owned()
    }

    /// What is in its error log.
    #[must_use]
    pub fn error_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.root().join("error_log")).unwrap_or_default())
            .into_owned()
    }

    /// The number of its process.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// If it is no child of this process.
    pub fn ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("a child can be waited for").is_some()
    }

    /// Waits for its end, which something else has brought about.
    ///
    /// # Panics
    /// If it does not come in time.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        eventually("the end of start-server", limit, || {
            self.child.try_wait().expect("a child can be waited for")
        })
    }

    /// Ends it by a signal, waits for the end of all it started, and gives what
    /// it wrote and how it ended.
    ///
    /// # Panics
    /// If anything outlives it.
    pub fn end(&mut self, signal: Signal) -> (String, ExitStatus) {
        let started = self.pid.descendants();
        self.pid.signal(signal);
        let status = eventually("the end of start-server", Duration::from_secs(30), || {
            self.child.try_wait().expect("a child can be waited for")
        });
        eventually("the end of all it started", Duration::from_secs(5), || {
            started.iter().all(|pid| !pid.alive()).then_some(())
        });
        (self.output(), status)
    }

    /// Ends it as a person does, and gives what it wrote.
    ///
    /// # Panics
    /// If it does not end well.
    pub fn stop(&mut self) -> String {
        let (output, status) = self.end(Signal::SIGTERM);
        assert!(
            status.success() && status.signal().is_none(),
            "{status}:\n{output}"
        );
        output
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::case::show(&format!(
                "{}\n-- error_log --\n{}",
                self.output(),
                self.error_log()
            ));
        }
        for pid in self.pid.descendants() {
            pid.kill();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
