//! `wsgid start-server` as who starts, watches and stops servers sees it: when it is ready, that
//! it does not load, and that it serves on for a while when it is to end.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::express::Server;
use wsgid_tests::{Express, Limit, Site, case, eventually};

const SOON: Duration = Duration::from_secs(40);

const SLOW: &str = "\
import time
time.sleep(1)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'it answers']
";

fn server(site: &Site, script: &str, args: &[&str]) -> Server {
    Express::new()
        .path(&site.file(script))
        .args(&["--python-path"])
        .path(site.path())
        .args(args)
        .spawn()
}

fn wait_for_output(server: &Server, text: &str) -> String {
    eventually(text, SOON, || {
        let output = server.output();
        output.contains(text).then_some(output)
    })
}

/// A place for `--ready-file` that only who runs the tests writes to.
fn ready_file() -> (tempfile::TempDir, PathBuf) {
    let place = tempfile::tempdir().expect("a directory can be made");
    let file = place.path().join("ready");
    (place, file)
}

#[test]
fn it_says_that_it_is_ready_when_it_is() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("slow.py", SLOW);
        let (_place, file) = ready_file();
        fs::write(&file, "of a server before").expect("it is ours");
        let name = file.display().to_string();
        let mut server = server(&site, "slow.py", &["--ready-file", &name]);
        eventually("the file", SOON, || {
            let said = fs::read_to_string(&file).unwrap_or_default();
            said.starts_with("http://").then_some(())
        });
        // Nothing is repeated: the first request is answered.
        assert_eq!(server.get("/").text(), "it answers");
        let output = wait_for_output(&server, &format!(":{}/ after ", server.port()));
        assert_eq!(output.matches("ready at").count(), 1, "{output}");
        assert!(
            output.contains(&format!("Ready file    : {name}")),
            "{output}"
        );
        server.stop();
        assert!(!file.exists(), "it is not ready any more");
    });
}

#[test]
fn files_alone_are_ready_too_and_have_probes() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("static/health", "a file");
        let mut server = Express::new()
            .path(&site.file("static"))
            .args(&["--application-type", "static", "--health-path", "/health"])
            .spawn();
        wait_for_output(&server, "ready at");
        let said = server.get("/health?live");
        assert_eq!(said.json()["live"], true);
        server.stop();
    });
}

#[test]
fn an_application_that_does_not_load_ends_the_start() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("helper.py", "\n\nimport no_such_module_anywhere\n");
        site.write("broken.py", "import helper\napplication = None\n");
        let begun = Instant::now();
        let mut broken = server(&site, "broken.py", &["--drain-delay", "60"]);
        let status = broken.wait(SOON);
        let output = broken.output();
        assert_eq!(status.code(), Some(9), "{output}");
        assert!(
            begun.elapsed() < SOON,
            "the drain delay is for servers that serve"
        );
        let told = format!(
            "`{}`, line 3: ModuleNotFoundError: No module named 'no_such_module_anywhere'",
            site.file("helper.py").display()
        );
        assert_eq!(output.matches(&told).count(), 1, "{output}");
        assert_eq!(output.matches("failed to load").count(), 1, "{output}");
        assert!(!output.contains("handler.wsgi"), "{output}");
        assert!(broken.error_log().contains("Traceback"));

        let mut kept = server(&site, "broken.py", &["--keep-going"]);
        wait_for_output(&kept, &told);
        assert_eq!(kept.get("/").status, 500);
        site.write("broken.py", SLOW);
        let output = wait_for_output(&kept, "ready at");
        assert_eq!(output.matches("failed to load").count(), 1, "{output}");
        assert_eq!(kept.get("/").text(), "it answers");
        kept.stop();
    });
}

#[test]
fn who_is_to_end_serves_on_for_the_drain_delay() {
    case(Limit::default(), || {
        let site = Site::new();
        let (_place, file) = ready_file();
        let name = file.display().to_string();
        let args = [
            "--drain-delay",
            "3",
            "--ready-file",
            &name,
            "--health-path",
            "/health",
        ];
        let mut server = server(&site, "hello.py", &args);
        wait_for_output(&server, "ready at");
        eventually("ready", SOON, || {
            (server.get("/health").status == 200).then_some(())
        });
        assert_eq!(server.get("/healthy").text(), "Hello World!");
        let begun = Instant::now();
        // `timeout` signals the process and its group at once.
        server.pid().signal(Signal::SIGTERM);
        server.pid().signal(Signal::SIGTERM);
        eventually("not ready", SOON, || {
            (server.get("/health").status == 503).then_some(())
        });
        let said = server.get("/health").text();
        assert!(said.contains("\"draining\":true"), "{said}");
        assert!(!file.exists(), "the file too");
        let mut served = 0;
        while begun.elapsed() < Duration::from_millis(2500) {
            assert_eq!(server.get("/").status, 200);
            served += 1;
        }
        assert!(served > 0);
        let status = server.wait(SOON);
        assert!(status.success(), "{status}: {}", server.output());
        assert!(begun.elapsed() >= Duration::from_secs(3));
    });
}

#[test]
fn a_second_wish_ends_the_drain_delay() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = server(&site, "hello.py", &["--drain-delay", "600"]);
        wait_for_output(&server, "ready at");
        server.pid().signal(Signal::SIGTERM);
        wait_for_output(&server, "it serves on for 600 s");
        assert_eq!(server.get("/").status, 200);
        server.pid().signal(Signal::SIGINT);
        let status = server.wait(SOON);
        assert!(status.success(), "{status}: {}", server.output());
    });
}
