//! An httpd of its own: a private ServerRoot, a free port, a generated
//! configuration; stopped, and its logs shown on failure, when it is dropped.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::case::{self, Server};
use crate::client::{Client, Response};
use crate::process::Pid;
use crate::site::temporary_directory;
use crate::users::TestUser;
use crate::wait::{eventually, until};
use crate::{artifacts, users};

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(20);

/// How httpd divides its work among processes and threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mpm {
    /// Threads, with a listener for idle connections.
    Event,
    /// Threads.
    Worker,
    /// One process per connection.
    Prefork,
}

impl Mpm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Event, Self::Worker, Self::Prefork];

    fn lines(self) -> &'static str {
        match self {
            Self::Event => {
                "LoadModule mpm_event_module $/mod_mpm_event.so\n\
                 StartServers 2\nServerLimit 8\nThreadsPerChild 32\nMaxRequestWorkers 256\n"
            }
            Self::Worker => {
                "LoadModule mpm_worker_module $/mod_mpm_worker.so\n\
                 StartServers 2\nServerLimit 8\nThreadsPerChild 32\nMaxRequestWorkers 256\n"
            }
            Self::Prefork => {
                "LoadModule mpm_prefork_module $/mod_mpm_prefork.so\n\
                 StartServers 8\nMinSpareServers 4\nServerLimit 64\nMaxRequestWorkers 64\n"
            }
        }
    }
}

/// What will be in the configuration.
#[derive(Debug)]
pub struct Builder {
    root: TempDir,
    mpm: Mpm,
    modules: Vec<&'static str>,
    lines: Vec<String>,
    ports: Vec<u16>,
    peer: Option<PathBuf>,
    artifacts: Option<PathBuf>,
    user: Option<TestUser>,
    nobody: bool,
    one_process: bool,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Builder {
    /// A server without any site. `$WSGID_TEST_PEER` names another module to
    /// load in the place of ours: to see what that one does in the same cases.
    #[must_use]
    pub fn new() -> Self {
        let root = temporary_directory("wsgid-httpd-");
        for name in ["htdocs", "run"] {
            crate::cache::make_readable_directory(&root.path().join(name));
        }
        let peer = std::env::var_os("WSGID_TEST_PEER").map(PathBuf::from);
        let modules = ["authz_core", "alias", "mime", "dir", "env", "setenvif"].to_vec();
        Self {
            root,
            mpm: Mpm::Event,
            modules,
            lines: Vec::new(),
            ports: vec![free_port()],
            peer,
            artifacts: None,
            user: None,
            nobody: false,
            one_process: false,
            environment: Vec::new(),
        }
    }

    /// Runs copies of the artifacts, in a directory of the server's own, and
    /// returns it: to replace them while they run, or for a user who cannot read
    /// where they were built.
    ///
    /// # Panics
    /// If they cannot be copied.
    pub fn copied_artifacts(&mut self) -> PathBuf {
        let directory = self.root().join("bin");
        crate::cache::make_readable_directory(&directory);
        for path in [artifacts::wsgid(), artifacts::module(), artifacts::directory().join("libwsgid_worker.so")] {
            let name = path.file_name().expect("an artifact has a name");
            fs::copy(&path, directory.join(name)).expect("an artifact can be copied");
        }
        self.artifacts = Some(directory.clone());
        directory
    }

    /// Starts httpd as this user, from copied artifacts.
    #[must_use]
    pub fn started_by(mut self, user: &TestUser) -> Self {
        self.copied_artifacts();
        self.user = Some(user.clone());
        self
    }

    /// Leaves out `User` and `Group`, which httpd needs if root starts it.
    #[must_use]
    pub const fn without_user(mut self) -> Self {
        self.nobody = true;
        self
    }

    /// Starts httpd with this in its environment.
    #[must_use]
    pub fn environment(mut self, name: &'static str, value: PathBuf) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Starts httpd with -X: one process that does all.
    #[must_use]
    pub fn one_process(mut self) -> Self {
        self.one_process = true;
        self
    }

    /// Chooses the MPM; else it is event.
    #[must_use]
    pub fn mpm(mut self, mpm: Mpm) -> Self {
        self.mpm = mpm;
        self
    }

    /// Loads this module in the place of ours, to compare the two.
    #[must_use]
    pub fn peer(mut self, module: PathBuf) -> Self {
        self.peer = Some(module);
        self
    }

    /// Loads one more of httpd's own modules, by the name in its file name.
    #[must_use]
    pub fn load(mut self, module: &'static str) -> Self {
        self.modules.push(module);
        self
    }

    /// Adds a directive or several lines of them.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds a process group.
    #[must_use]
    pub fn daemon(self, name: &str, options: &str) -> Self {
        self.line(format!("WSGIDaemonProcess {name} {options}"))
    }

    /// Serves a script below a path, by a process group, in the main application group.
    #[must_use]
    pub fn mount(self, at: &str, script: &Path, group: &str) -> Self {
        self.mount_with(at, script, &format!("process-group={group} application-group=%{{GLOBAL}}"))
    }

    /// Serves a script below a path.
    #[must_use]
    pub fn mount_with(self, at: &str, script: &Path, options: &str) -> Self {
        let directory = script.parent().unwrap_or(script).display().to_string();
        self.line(format!("WSGIScriptAlias {at} {} {options}", script.display()))
            .line(format!("<Directory {directory}>\n  Require all granted\n</Directory>"))
    }

    /// Listens on one more port and returns it.
    pub fn another_port(&mut self) -> u16 {
        let port = free_port();
        self.ports.push(port);
        port
    }

    /// Where the server's files will be.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Asks httpd whether it would take this configuration.
    ///
    /// # Panics
    /// If httpd cannot be run.
    #[must_use]
    pub fn check(&self) -> Check {
        self.ask("-t")
    }

    /// Asks httpd something about this configuration: -S, -M and their like.
    ///
    /// # Panics
    /// If httpd cannot be run.
    #[must_use]
    pub fn ask(&self, option: &str) -> Check {
        self.write();
        let output = httpd_command(self.root()).arg(option).output().expect("httpd can be run");
        Check { ok: output.status.success(), text: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

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
            assert!(server.error_log().contains("Address already in use"), "httpd did not start (its log follows)");
            // Somebody took a port between the look and the start.
            self = server.into_builder();
            self.ports.iter_mut().for_each(|port| *port = free_port());
            let _ = fs::remove_file(self.root().join("error.log"));
        }
        panic!("no port was free for long enough to start httpd")
    }

    fn write(&self) {
        fs::write(self.root().join("httpd.conf"), self.text()).expect("the server root can be written");
    }

    fn text(&self) -> String {
        let root = self.root().display();
        let modules = modules_directory();
        let mut text = format!("ServerRoot {root}\nDefaultRuntimeDir {root}/run\nPidFile {root}/httpd.pid\n");
        text += "ServerName localhost\nTimeout 60\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 15\n";
        text += &self.mpm.lines().replace('$', &modules.display().to_string());
        for port in &self.ports {
            text += &format!("Listen 127.0.0.1:{port}\n");
        }
        for module in &self.modules {
            text += &format!(
                "<IfModule !mod_{module}.c>\n  LoadModule {module}_module {}/mod_{module}.so\n</IfModule>\n",
                modules.display()
            );
        }
        if users::is_root() && !self.nobody {
            let user = users::of_httpd();
            text += &format!("User {}\nGroup {}\n", user.name, user.group);
        }
        if let Some(peer) = &self.peer {
            text += &format!("LoadModule wsgi_module {}\nWSGISocketPrefix {root}/run/wsgi\n", peer.display());
        } else {
            let own = |name: &str| self.artifacts.as_ref().map(|directory| directory.join(name));
            let module = own("libmod_wsgid.so").unwrap_or_else(artifacts::module);
            let wsgid = own("wsgid").unwrap_or_else(artifacts::wsgid);
            text += &format!("LoadModule wsgi_module {}\n", module.display());
            text += &format!("WSGISupervisorExecutable {}\n", wsgid.display());
        }
        text += &format!("DocumentRoot {root}/htdocs\nErrorLog {root}/error.log\nLogLevel info\n");
        text += "LogFormat \"%t %>s %X %B %Dus failure=%{wsgi.failure}n %r\" tests\n";
        text += &format!("CustomLog {root}/access.log tests\nTypesConfig /dev/null\n");
        text += "<Directory />\n  Require all denied\n</Directory>\n";
        text += &format!("<Directory {root}/htdocs>\n  Require all granted\n</Directory>\n");
        for line in &self.lines {
            text += line;
            text.push('\n');
        }
        text
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// What `httpd -t` said.
#[derive(Debug)]
pub struct Check {
    /// Whether it would start.
    pub ok: bool,
    /// Its words.
    pub text: String,
}

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
        self.client().get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// httpd's parent process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.processes.pid
    }

    /// The supervisor.
    #[must_use]
    pub fn supervisor(&self) -> Option<Pid> {
        self.pid().children().into_iter().find(|child| is_supervisor(*child))
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
            self.error_log().lines().find(|line| line.contains(text)).map(str::to_owned)
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
        eventually("the restart", START, || (self.error_log().matches(SIGN).count() > before).then_some(()));
    }

    /// Stops the server; asserts that nothing of it is left.
    ///
    /// # Panics
    /// If it does not end in time or leaves processes or sockets behind.
    pub fn stop(mut self) {
        self.stopped = true;
        let started = self.pid().descendants();
        let status = self.terminate();
        assert!(status.is_some(), "httpd did not end within {STOP:?} of SIGTERM");
        let left = until(Duration::from_secs(10), || started.iter().all(|pid| !pid.alive()).then_some(()));
        let alive: Vec<String> = started
            .iter()
            .filter(|pid| pid.alive())
            .map(|pid| format!("{} {}", pid.number, pid.command_line()))
            .collect();
        started.iter().for_each(|pid| pid.kill());
        assert!(left.is_some(), "processes outlived httpd: {alive:?}\n{}", self.processes.logs());
        let sockets: Vec<PathBuf> = sockets_below(self.root());
        assert!(sockets.is_empty(), "sockets were left behind: {sockets:?}\n{}", self.processes.logs());
    }

    fn spawn(builder: Builder) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(builder.root().join("stderr.log"));
        let log = log.expect("the server root can be written");
        let mut command = httpd_command(builder.root());
        command.arg(if builder.one_process { "-X" } else { "-DFOREGROUND" });
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
        let pid = i32::try_from(child.id()).ok().and_then(Pid::current).expect("the process was just made");
        let root = builder.root().to_owned();
        let processes = Arc::new(Processes { child: Mutex::new(child), pid, root });
        case::started(Arc::clone(&processes) as Arc<dyn Server>);
        Self { builder, processes, stopped: false }
    }

    fn wait_until_listening(&mut self) -> bool {
        let outcome = until(START, || {
            if self.processes.exit_status().is_some() {
                return Some(false);
            }
            // One process alone has no parent that says so.
            let ready = self.builder.one_process || self.error_log().contains("resuming normal operations");
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
        self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
    }

    fn logs(&self) -> String {
        let part = |name: &str| format!("--- {name}\n{}", tail(&read_lossy(&self.root.join(name)), 120));
        ["stderr.log", "error.log", "access.log"].map(part).join("\n")
    }
}

impl Server for Processes {
    fn report(&self) -> String {
        let configuration = read_lossy(&self.root.join("httpd.conf"));
        let mut text = format!("--- httpd.conf\n{configuration}\n{}\n--- processes\n", self.logs());
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
    pid.command_line().split(' ').nth(1) == Some("worker-exec")
}

fn is_supervisor(pid: Pid) -> bool {
    pid.command_line().contains(" supervise")
}

/// httpd for this server root. It ends with the thread that starts it, so that
/// an interrupted run leaves nothing; and it has a process group of its own,
/// because the prefork MPM ends its whole process group when it stops.
fn httpd_command(root: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program()).process_group(0);
    command.arg("-d").arg(root).arg("-f").arg(root.join("httpd.conf"));
    command
}

/// The same command, as another user. The process group of its own and the
/// signal at the death of its parent are set again: both are lost on the way.
fn as_user(command: &Command, user: &TestUser) -> Command {
    let mut other = Command::new("setpriv");
    other.args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups"]);
    other.args(command.get_args()).process_group(0);
    other
}

/// Finds the program.
///
/// # Panics
/// If httpd is not installed.
#[must_use]
pub fn program() -> PathBuf {
    ["/usr/sbin/apache2", "/usr/sbin/httpd", "/usr/local/apache2/bin/httpd"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("httpd is installed (apache2-bin)")
}

fn modules_directory() -> PathBuf {
    ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules", "/usr/local/apache2/modules"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("httpd's modules are installed (apache2-bin)")
}

/// A port of 127.0.0.1 that nobody has just now.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("a listener has an address").port()
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let skipped = all.len().saturating_sub(lines);
    let mut out = Vec::new();
    if skipped > 0 {
        let _ = writeln!(out, "({skipped} lines before)");
    }
    let _ = write!(out, "{}", all[skipped..].join("\n"));
    String::from_utf8_lossy(&out).into_owned()
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
