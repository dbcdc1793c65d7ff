//! `wsgid start-server`: one command serves an application, and its end is the
//! end of everything.

use std::fs;
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_tests::httpd::free_port;
use wsgid_tests::{Client, Limit, Pid, Python, Site, artifacts, case, eventually, until, users};

const START: Duration = Duration::from_secs(30);

fn command(script: &Path, port: u16, root: &Path) -> Command {
    let mut command = Command::new(artifacts::wsgid());
    command.arg("start-server").arg(script);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--server-root"]).arg(root);
    command.stdin(Stdio::null());
    if users::is_root() {
        let user = users::of_httpd();
        command.args(["--user", &user.name, "--group", &user.group]);
    }
    command
}

/// A running server; its processes are ended with it.
struct Server {
    child: Child,
    pid: Pid,
    address: SocketAddr,
}

impl Server {
    fn start(command: &mut Command, port: u16) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wsgid can be run");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::current).expect("it was just started");
        let mut server = Self { child, pid, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
        let up = until(START, || {
            if server.child.try_wait().ok().flatten().is_some() {
                return Some(false);
            }
            Client::new(server.address).get("/").is_ok().then_some(true)
        });
        if up != Some(true) {
            server.pid.kill();
            let output = server.output();
            panic!("start-server did not serve:\n{output}");
        }
        server
    }

    fn output(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            let _ = out.read_to_string(&mut text);
        }
        if let Some(mut err) = self.child.stderr.take() {
            let _ = err.read_to_string(&mut text);
        }
        text
    }

    fn end_by(mut self, signal: Signal) -> String {
        let started = self.pid.descendants();
        assert!(started.len() >= 3, "httpd, supervisor, worker: {started:?}");
        self.pid.signal(signal);
        let status = eventually("the end of start-server", Duration::from_secs(20), || {
            self.child.try_wait().expect("a child can be waited for")
        });
        eventually("the end of all it started", Duration::from_secs(5), || {
            started.iter().all(|pid| !pid.alive()).then_some(())
        });
        let output = self.output();
        assert!(status.success(), "{status} after {signal}:\n{output}");
        output
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for pid in self.pid.descendants() {
            pid.kill();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn refused(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("wsgid can be run");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(!status.success(), "{text}");
    text
}

#[test]
fn an_application_is_served_and_ends_with_its_server() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        case(Limit::default(), move || {
            let site = Site::new();
            let root = site.file("root");
            let port = free_port();
            let mut command = command(&site.file("probe.py"), port, &root);
            command.args(["--processes", "2", "--threads", "3", "--python-path"]).arg(site.path());
            command.arg("--python-home").arg(&Python::any().home);
            command.arg("--working-directory").arg(site.path());
            let server = Server::start(&mut command, port);
            let info = Client::new(server.address).get("/info").expect("an answer").json();
            assert_eq!(info["prefix"], Python::any().home.display().to_string());
            assert_eq!(info["cwd"], site.path().display().to_string());
            if users::is_root() {
                assert_eq!(info["uid"][0], users::of_httpd().uid);
            }
            for file in ["httpd.conf", "httpd.pid", "error_log"] {
                assert!(root.join(file).exists(), "{file}");
            }
            let command_lines: Vec<String> = server.pid.descendants().iter().map(|pid| pid.command_line()).collect();
            assert!(command_lines.iter().any(|line| line.contains("wsgid supervise")), "{command_lines:?}");
            let output = server.end_by(signal);
            assert!(output.contains(&port.to_string()) && output.contains("error_log"), "{output}");
        });
    }
}

#[test]
fn static_files_are_served_by_httpd() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("static/file.txt", "static text");
        let port = free_port();
        let mut command = command(&site.file("hello.py"), port, &site.file("root"));
        command.arg("--url-alias").arg("/static").arg(site.file("static"));
        let server = Server::start(&mut command, port);
        let mut client = Client::new(server.address);
        assert_eq!(client.get("/static/file.txt").expect("an answer").text(), "static text");
        assert_eq!(client.get("/anything").expect("an answer").text(), "Hello World!");
        server.end_by(Signal::SIGTERM);
    });
}

#[test]
fn the_log_can_go_to_the_terminal() {
    case(Limit::default(), || {
        let site = Site::new();
        let port = free_port();
        let mut command = command(&site.file("probe.py"), port, &site.file("root"));
        command.arg("--log-to-terminal").arg("--python-path").arg(site.path());
        let server = Server::start(&mut command, port);
        let answer = Client::new(server.address).get("/log?text=to-the-terminal").expect("an answer");
        assert_eq!(answer.status, 200);
        let output = server.end_by(Signal::SIGTERM);
        assert!(output.contains("errors: to-the-terminal"), "{output}");
    });
}

#[test]
fn a_missing_script_is_told_before_anything_starts() {
    case(Limit::default(), || {
        let site = Site::new();
        let missing = site.file("missing.py");
        let text = refused(&mut command(&missing, free_port(), &site.file("root")));
        assert!(text.contains(&missing.display().to_string()), "{text}");
    });
}

#[test]
fn a_port_in_use_is_told() {
    case(Limit::default(), || {
        let site = Site::new();
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let text = refused(&mut command(&site.file("hello.py"), port, &site.file("root")));
        assert!(text.contains(&port.to_string()), "{text}");
    });
}

#[test]
fn root_has_to_name_a_user() {
    case(Limit::default(), || {
        if !users::is_root() {
            return wsgid_tests::note("left out: only root has to");
        }
        let site = Site::new();
        let text = refused(
            Command::new(artifacts::wsgid())
                .arg("start-server")
                .arg(site.file("hello.py"))
                .args(["--port", &free_port().to_string(), "--server-root"])
                .arg(site.file("root")),
        );
        assert!(text.contains("--user") && text.contains("--group"), "{text}");
        assert!(fs::metadata(site.file("root/httpd.pid")).is_err());
    });
}
