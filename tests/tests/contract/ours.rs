//! What mod_wsgi does not do, or shows to nobody: clients that leave an application which
//! yields nothing, scripts that are no files, handlers of signals, names of processes.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use wsgid_tests::{Httpd, Limit, Raw, Site, case, eventually};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_client_that_leaves_ends_an_application_that_yields_nothing() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = Httpd::builder()
            .daemon("site", &format!("threads=1 {}", site.python_path()))
            .mount("/", &site.file("contract_cases.py"), "site")
            .start();
        assert_eq!(httpd.get("/names").status, 200);
        for count in 1..=2 {
            let mut raw = Raw::connect(httpd.address());
            assert!(raw.send("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n"));
            eventually("the application", SOON, || {
                let log = httpd.error_log();
                (log.matches("contract nothing begins").count() == count).then_some(())
            });
            drop(raw);
            eventually("the end of the application", SOON, || {
                let log = httpd.error_log();
                (log.matches("contract nothing is closed").count() == count).then_some(())
            });
        }
        // Its one thread is free again.
        assert_eq!(httpd.get("/names").status, 200);
        httpd.stop();
    });
}

#[test]
fn a_script_that_is_no_file_is_refused_by_its_kind() {
    case(Limit::default(), || {
        let site = Site::new();
        let pipe = site.path().join("pipe.wsgi");
        mkfifo(&pipe, Mode::from_bits_truncate(0o644)).expect("a pipe can be made");
        let socket = site.path().join("socket.wsgi");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        let options = format!("threads=2 {}", site.python_path());
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/pipe", &pipe, "site")
            .mount("/socket", &socket, "site")
            .mount("/device", "/dev/zero".as_ref(), "site")
            .mount("/", &site.file("hello.py"), "site")
            .start();
        for (path, kind) in [
            ("/pipe", "a pipe (FIFO)"),
            ("/socket", "a socket"),
            ("/device", "a device"),
        ] {
            assert_eq!(httpd.get(path).status, 500, "{path}");
            httpd.wait_for_log(&format!("it is {kind}, not a regular file"), SOON);
            assert_eq!(httpd.get("/").status, 200, "the group serves on");
        }
        httpd.stop();
    });
}

#[test]
fn a_handler_that_raises_costs_no_request() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "alarmed.py",
            "import os, signal, time\n\
             def fail(number, frame):\n    raise TimeoutError('on purpose %d' % number)\n\
             for number in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2):\n    signal.signal(number, fail)\n\
             def application(environ, start_response):\n    \
             time.sleep(float(environ['QUERY_STRING'] or 0))\n    \
             start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n",
        );
        let httpd = Httpd::builder()
            .line("WSGIRestrictSignal Off")
            .daemon("site", &format!("threads=3 {}", site.python_path()))
            .mount("/", &script, "site")
            .start();
        let worker = httpd.get("/").text();
        let number = worker.parse().expect("a number");
        let address = httpd.address();
        let waiting = std::thread::spawn(move || {
            wsgid_tests::Client::new(address)
                .get("/?2")
                .map(|answer| answer.status)
        });
        for signal in [Signal::SIGALRM, Signal::SIGUSR1, Signal::SIGUSR2] {
            kill(Pid::from_raw(number), signal).expect("the worker runs");
            let text = format!("TimeoutError: on purpose {}", signal as i32);
            httpd.wait_for_log(&text, SOON);
        }
        assert_eq!(waiting.join().expect("no panic").ok(), Some(200));
        assert_eq!(httpd.get("/").text(), worker, "it is the same one");
        httpd.stop();
    });
}

#[test]
fn ps_says_which_site_a_process_serves() {
    case(Limit::default(), || {
        let site = Site::new();
        let hello = site.file("hello.py");
        let options = |more: &str| format!("processes=1 threads=1 {more} {}", site.python_path());
        let httpd = Httpd::builder()
            .daemon("plain", &options(""))
            .daemon("ahead", &options("preload=On"))
            .mount("/plain", &hello, "plain")
            .mount("/ahead", &hello, "ahead")
            .start();
        for path in ["/plain", "/ahead"] {
            assert_eq!(httpd.get(path).status, 200);
        }
        let supervisor = httpd.supervisor().expect("it runs");
        eventually("the names", SOON, || {
            let names: Vec<String> = supervisor
                .descendants()
                .into_iter()
                .map(|pid| pid.command_line())
                .collect();
            [
                "(wsgid: plain)",
                "(wsgid: ahead)",
                "(wsgid: ahead) preloader",
            ]
            .iter()
            .all(|name| names.iter().any(|shown| shown == name))
            .then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn an_asgi_application_is_told_at_load() {
    case(Limit::default(), || {
        let site = Site::new();
        let asgi =
            "async def application(scope, receive, send):\n    raise AssertionError('called')\n";
        let named = site.write("asgi.py", asgi);
        let other = site.write("other.py", "def app(environ, start_response): pass\n");
        let httpd = Httpd::builder()
            .daemon("site", &format!("threads=1 {}", site.python_path()))
            .daemon("late", &format!("threads=1 {}", site.python_path()))
            .mount("/asgi", &named, "site")
            .mount("/other", &other, "late")
            .start();
        // Before any request.
        httpd.wait_for_log("`application` is an ASGI application", SOON);
        assert_eq!(httpd.get("/asgi").status, 500);
        assert_eq!(httpd.get("/other").status, 500);
        httpd.wait_for_log("`app` exists: WSGICallableObject app", SOON);
        assert!(!httpd.error_log().contains("AssertionError: called"));
        httpd.stop();
    });
}
