//! `wsgid start-server`: one command serves an application, and its end is the
//! end of everything.

use std::fs;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_tests::httpd::free_port;
use wsgid_tests::{Express, Limit, Python, Site, artifacts, case, users};

fn start_server() -> Command {
    let mut command = Command::new(artifacts::wsgid());
    command.arg("start-server").stdin(Stdio::null());
    command
}

#[test]
fn an_application_is_served_and_ends_with_its_server() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        case(Limit::default(), move || {
            let site = Site::new();
            let mut server = Express::new()
                .path(&site.file("probe.py"))
                .args(&["--processes", "2", "--threads", "3", "--python-path"])
                .path(site.path())
                .args(&["--python-home"])
                .path(&Python::any().home)
                .args(&["--working-directory"])
                .path(site.path())
                .start();
            let port = server.port();
            let root = server.root();
            let info = server.get("/info").json();
            assert_eq!(info["prefix"], Python::any().home.display().to_string());
            assert_eq!(info["cwd"], site.path().display().to_string());
            if users::is_root() {
                assert_eq!(info["uid"][0], users::of_httpd().uid);
            }
            for file in ["httpd.conf", "httpd.pid", "error_log"] {
                assert!(root.join(file).exists(), "{file}");
            }
            let command_lines: Vec<String> = server
                .pid()
                .descendants()
                .iter()
                .map(|pid| pid.command_line())
                .collect();
            assert!(
                command_lines
                    .iter()
                    .any(|line| line.contains("wsgid supervise")),
                "{command_lines:?}"
            );
            let (output, status) = server.end(signal);
            assert!(status.success(), "{status} after {signal}:\n{output}");
            assert!(
                output.contains(&port.to_string()) && output.contains("error_log"),
                "{output}"
            );
        });
    }
}

/// The person at the terminal is told, and need not say it.
#[test]
fn its_supervisor_is_found_and_named() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new().path(&site.file("hello.py")).start();
        assert_eq!(server.get("/").text(), "Hello World!");
        let output = server.output();
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix("Commands      : wsgid "))
            .unwrap_or_else(|| panic!("{output}"));
        let status = |words: &[&str]| {
            let mut command = Command::new(artifacts::wsgid());
            let out = command.args(words).output().expect("wsgid can be run");
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        let words: Vec<&str> = line.split(' ').collect();
        let named = status(&words);
        let pid = named
            .split_once("(pid ")
            .and_then(|(_, rest)| rest.split_once(')'));
        let (pid, _) = pid.unwrap_or_else(|| panic!("{named}"));
        // Others of this machine may be found too.
        let found = status(&["status"]);
        assert!(found.contains(&format!("(pid {pid})")), "{pid}: {found}");
        server.stop();
    });
}

/// `timeout` signals its child, and then the group that both are in.
#[test]
fn the_same_wish_to_end_twice_at_once_kills_nobody() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "ends.py",
            "import atexit, sys, time\n@atexit.register\ndef end():\n    time.sleep(1)\n    \
             print('it has ended as it likes', file=sys.stderr, flush=True)\n\
             def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'here']\n",
        );
        let mut server = Express::new().path(&script).start();
        assert_eq!(server.get("/").text(), "here");
        server.pid().signal(Signal::SIGTERM);
        // Two that are pending are one to the kernel.
        wsgid_tests::wait::let_run(Duration::from_millis(100));
        let (output, status) = server.end(Signal::SIGTERM);
        assert!(status.success(), "{status}: {output}");
        let log = server.error_log();
        assert!(log.contains("it has ended as it likes"), "{log}");
    });
}

#[test]
fn static_files_are_served_by_httpd() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("static/file.txt", "static text");
        let mut server = Express::new()
            .path(&site.file("hello.py"))
            .args(&["--url-alias", "/static"])
            .path(&site.file("static"))
            .start();
        assert_eq!(server.get("/static/file.txt").text(), "static text");
        assert_eq!(server.get("/anything").text(), "Hello World!");
        server.stop();
    });
}

#[test]
fn the_log_can_go_to_the_terminal() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new()
            .path(&site.file("probe.py"))
            .args(&["--log-to-terminal", "--python-path"])
            .path(site.path())
            .start();
        assert_eq!(server.get("/log?text=to-the-terminal").status, 200);
        let output = server.stop();
        assert!(output.contains("errors: to-the-terminal"), "{output}");
    });
}

#[test]
fn a_missing_script_is_told_before_anything_starts() {
    case(Limit::default(), || {
        let site = Site::new();
        let missing = site.file("missing.py");
        let text = Express::new().path(&missing).refused();
        assert!(text.contains(&missing.display().to_string()), "{text}");
    });
}

#[test]
fn a_server_root_serves_one_server_and_outlives_its_number() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new().path(&site.file("hello.py")).start();
        let root = server.root();
        let name = server.root().display().to_string();
        let same = || {
            Express::new()
                .args(&["--server-root", &name])
                .path(&site.file("hello.py"))
        };
        let conf = || std::fs::read_to_string(root.join("httpd.conf")).unwrap();
        let before = conf();
        let text = same().refused();
        assert!(
            text.contains(&format!("serves from `{name}` already")),
            "{text}"
        );
        assert_eq!(conf(), before);
        assert_eq!(server.get("/").status, 200);
        server.stop();
        // As after a crash: the number is that of a program that has nothing to do with it.
        std::fs::write(root.join("httpd.pid"), std::process::id().to_string()).unwrap();
        same().start().stop();
    });
}

#[test]
fn a_port_in_use_is_told() {
    case(Limit::default(), || {
        let site = Site::new();
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let text = Express::of(start_server(), port)
            .path(&site.file("hello.py"))
            .refused();
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
        let mut command = start_server();
        command.arg(site.file("hello.py")).args([
            "--port",
            &free_port().to_string(),
            "--server-root",
        ]);
        let output = command
            .arg(site.file("root"))
            .output()
            .expect("wsgid can be run");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
        assert!(
            text.contains("--user") && text.contains("--group"),
            "{text}"
        );
        assert!(fs::metadata(site.file("root/httpd.pid")).is_err());
    });
}

#[test]
fn a_user_without_a_group_has_its_own() {
    case(Limit::default(), || {
        let Some([owner, ..]) = users::three() else {
            return;
        };
        let site = Site::of(owner);
        // What root writes is in no directory of the site's.
        let place = Site::new();
        let root = place.file("root");
        let mut command = Command::new(artifacts::wsgid());
        command
            .arg("setup-server")
            .arg(site.file("hello.py"))
            .args(["--user", &owner.name, "--server-root"]);
        let output = command.arg(&root).output().expect("wsgid can be run");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let written =
            fs::read_to_string(root.join("httpd.conf")).expect("the configuration is written");
        assert!(
            written
                .lines()
                .any(|line| line.trim() == format!("Group \"{}\"", owner.group)),
            "{written}"
        );
    });
}
