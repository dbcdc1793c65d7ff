//! One running server: httpd with the directives of a peer, and the peer's backend.
//! Started and stopped by `schedule`; whatever it started is gone when it is dropped.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::environment::Environment;
use crate::peer::Peer;
use crate::peers::Plan;
use crate::process::Tree;
use crate::service::Service;
use crate::workload::{App, Shape};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// httpd and what serves behind it.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) peer: Peer,
    pub(crate) address: SocketAddr,
    httpd: Child,
    backend: Option<Child>,
    directory: TempDir,
    /// Goes last.
    _service: Service,
}

impl Instance {
    /// Starts a peer and waits until `ready_path` is answered.
    pub(crate) fn start(
        peer: Peer,
        environment: &Environment,
        app: App,
        shape: Shape,
        ready_path: &str,
    ) -> Result<Self> {
        let runs = environment.cache.join("run");
        fs::create_dir_all(&runs)?;
        let directory = tempfile::Builder::new().prefix("i").tempdir_in(&runs)?;
        make_enterable(directory.path())?;
        environment.account.own(directory.path())?;
        let port = free_port()?;
        let plan = Plan {
            environment,
            app,
            shape,
            directory: directory.path().to_path_buf(),
            port,
        };
        let config = directory.path().join("httpd.conf");
        fs::write(&config, common_directives(&plan) + &peer.directives(&plan)?)?;
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(directory.path().join("output.log"))
        };
        let service = Service::new();
        let backend =
            match peer.backend(&plan) {
                None => None,
                Some(command) => {
                    let mut command = service.command(&command, Some(&environment.account));
                    command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
                    Some(command.spawn().with_context(|| {
                        format!("failed to start the backend of {}", peer.name())
                    })?)
                }
            };
        if backend.is_some() {
            // mod_proxy remembers a backend that was not there yet, for a minute.
            await_socket(&plan.socket());
        }
        let mut command = Command::new(&environment.httpd);
        command
            .arg("-d")
            .arg(directory.path())
            .arg("-f")
            .arg(&config)
            .arg("-DFOREGROUND");
        let mut command = service.command(&command, None);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8");
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
        let httpd = command.spawn().context("failed to start httpd")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut instance = Self {
            peer,
            address,
            httpd,
            backend,
            directory,
            _service: service,
        };
        instance.await_ready(ready_path)?;
        Ok(instance)
    }

    fn await_ready(&mut self, path: &str) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            let said = match fetch(self.address, path) {
                Ok(200) => return Ok(()),
                Ok(status) => format!("status {status}"),
                Err(error) => format!("{error:#}"),
            };
            let gone = self.httpd.try_wait()?.is_some()
                || self
                    .backend
                    .as_mut()
                    .is_some_and(|backend| !matches!(backend.try_wait(), Ok(None)));
            if gone || Instant::now() > deadline {
                let what = if gone { "has ended" } else { "is not ready" };
                bail!("{} {what} ({said}): {}", self.peer.name(), self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    fn log_tail(&self) -> String {
        let mut text = String::new();
        for name in ["output.log", "error.log"] {
            text += &fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        }
        let tail: Vec<&str> = text.lines().rev().take(4).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n  ")
    }

    /// Lines of httpd's error log, which is to stay empty.
    pub(crate) fn complaints(&self) -> String {
        fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default()
    }

    /// All its processes, as they are now.
    pub(crate) fn tree(&self) -> Tree {
        let backend = self.backend.as_ref().map(|backend| backend.id() as i32);
        Tree::scan(self.httpd.id() as i32, backend)
    }

    fn stop(&mut self) {
        let family = self.tree().pids();
        for child in std::iter::once(&mut self.httpd).chain(self.backend.as_mut()) {
            // Not waited for yet, so the number is still this child's.
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        for child in std::iter::once(&mut self.httpd).chain(self.backend.as_mut()) {
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let left = || family.iter().filter(|process| process.is_alive());
        while left().next().is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        for process in left() {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The configuration that all peers share.
fn common_directives(plan: &Plan<'_>) -> String {
    let modules = plan.environment.modules.display();
    let mut text = String::new();
    for name in ["mpm_event", "authz_core", "mime", "alias"] {
        let _ = writeln!(text, "LoadModule {name}_module {modules}/mod_{name}.so");
    }
    let _ = write!(
        text,
        "ServerName localhost\nListen 127.0.0.1:{}\nPidFile httpd.pid\nErrorLog error.log\nLogLevel warn\n\
         TypesConfig /dev/null\nEnableSendfile On\nTimeout 120\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 120\n\
         ServerLimit 2\nStartServers 2\nThreadsPerChild 256\nThreadLimit 256\nMaxRequestWorkers 512\n\
         MinSpareThreads 1\nMaxSpareThreads 512\nMaxConnectionsPerChild 0\nListenBacklog 1024\n\
         DefaultRuntimeDir {}\nDocumentRoot {}\n\
         <Directory />\nOptions FollowSymLinks\nAllowOverride None\nRequire all denied\n</Directory>\n",
        plan.port,
        plan.directory.display(),
        plan.environment.files().display()
    );
    if plan.environment.account.changes {
        let _ = writeln!(
            text,
            "User {}\nGroup #{}",
            plan.environment.account.name, plan.environment.account.gid
        );
    }
    text
}

/// A port that nobody uses now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Waits until a backend listens; one that never does is found by the first request.
fn await_socket(path: &Path) {
    let deadline = Instant::now() + START_TIMEOUT;
    while UnixStream::connect(path).is_err() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn make_enterable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .context("failed to open a run directory")
}

/// Asks once, on a connection of its own.
pub(crate) fn fetch(address: SocketAddr, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    let status = String::from_utf8_lossy(&start)
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok());
    std::io::copy(&mut stream, &mut std::io::sink())?;
    status.context("not an HTTP answer")
}
