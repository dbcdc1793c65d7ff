//! What counts as waiting, as being idle and as hanging, and what does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use wsgid_tests::raw::Raw;
use wsgid_tests::{Httpd, Limit, Pid, Site, case, eventually, users, wait};

use crate::{SOON, pid, serve};

const APP: &str = "
import locale, os, time
def application(environ, start_response):
    name = environ['PATH_INFO'].strip('/')
    if name == 'sleep':
        time.sleep(60)
    body = {'locale': lambda: locale.setlocale(locale.LC_ALL), 'read': lambda: str(len(environ['wsgi.input'].read()))}
    text = body.get(name, lambda: str(os.getpid()))()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text.encode()]
";

/// A site that its workers may write to.
fn open_site(options: &str, script: &str) -> (Site, Httpd) {
    let site = Site::new();
    let path = site.write("app.py", script);
    let _ = fs::set_permissions(site.path(), fs::Permissions::from_mode(0o777));
    let httpd = Httpd::builder()
        .daemon("site", options)
        .mount("/", &path, "site")
        .start();
    (site, httpd)
}

#[test]
fn a_client_that_sends_slowly_has_not_waited_for_a_thread() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 queue-timeout=1", APP);
        assert!(pid(&httpd, "") > 0);
        let mut client = Raw::connect(httpd.address());
        client.send("POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n01234");
        wait::let_run(Duration::from_secs(2));
        client.send("56789");
        assert!(client.wait_for_close(SOON));
        assert!(
            client.text().starts_with("HTTP/1.1 200") && client.text().ends_with("10"),
            "{}",
            client.text()
        );
        httpd.stop();
    });
}

#[test]
fn a_request_that_cannot_be_stopped_does_not_have_the_graceful_timeout_too() {
    case(Limit::default(), || {
        // 1 + ln(2) is 1.7.
        let (_site, httpd) = serve("threads=2 request-timeout=1 shutdown-timeout=1", APP);
        let before = pid(&httpd, "");
        let begun = Instant::now();
        assert_eq!(httpd.get("/sleep").status, 504);
        let took = begun.elapsed();
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_secs(9),
            "{took:?}"
        );
        assert_ne!(pid(&httpd, ""), before);
        httpd.wait_for_log("request-timeout", SOON);
        httpd.stop();
    });
}

#[test]
fn a_process_that_has_done_nothing_is_not_replaced_for_idleness() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 inactivity-timeout=1", APP);
        let first = httpd.wait_for_workers(1, SOON)[0];
        wait::let_run(Duration::from_secs(4));
        assert!(first.alive(), "a new process would be as good as this one");
        assert_eq!(
            pid(&httpd, ""),
            u64::try_from(first.number).expect("a number")
        );
        eventually("another process", SOON, || (!first.alive()).then_some(()));
        let second = eventually("a second worker", SOON, || httpd.workers().first().copied());
        wait::let_run(Duration::from_secs(4));
        assert!(second.alive());
        httpd.stop();
    });
}

#[test]
fn an_age_counts_from_when_a_worker_serves() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(
            "threads=1 restart-interval=1",
            &format!("import time\ntime.sleep(2)\n{APP}"),
        );
        let first = pid(&httpd, "");
        eventually("another worker", SOON, || {
            (pid(&httpd, "") != first).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn an_interpreter_that_is_locked_while_it_loads_is_replaced() {
    case(Limit::default(), || {
        let once = "
import ctypes, os
mark = os.path.join(os.path.dirname(__file__), 'mark')
if not os.path.exists(mark):
    open(mark, 'w').close()
    ctypes.PyDLL(None).sleep(100)
";
        let (_site, httpd) = open_site("threads=1 deadlock-timeout=2", &format!("{once}{APP}"));
        let begun = Instant::now();
        assert!(pid(&httpd, "") > 0);
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
        httpd.wait_for_log("deadlock-timeout", SOON);
        httpd.stop();
    });
}

#[test]
fn a_locale_is_in_force_or_named() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 locale=C.UTF-8", APP);
        assert_eq!(httpd.get("/locale").text(), "C.UTF-8");
        httpd.stop();
        let (_site, httpd) = serve("threads=1 locale=xx_YY.UTF-8 lang=yy_XX", APP);
        assert_eq!(httpd.get("/locale").status, 200);
        for option in ["locale=xx_YY.UTF-8", "lang=yy_XX"] {
            let text = format!("{option} is no locale of this system");
            let line = httpd.wait_for_log(&text, SOON);
            assert!(line.contains("[wsgid:info]"), "{line}");
        }
        httpd.stop();
    });
}

#[test]
fn a_limit_below_a_second_is_one_second() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(
            "threads=1 cpu-time-limit=500ms shutdown-timeout=1500ms",
            APP,
        );
        let worker = httpd.wait_for_workers(1, SOON)[0];
        let limits =
            fs::read_to_string(format!("/proc/{}/limits", worker.number)).expect("it runs");
        let row = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max cpu time"))
            .expect("a row");
        assert_eq!(
            row.split_whitespace().take(2).collect::<Vec<_>>(),
            ["1", "4"]
        );
        httpd.stop();
    });
}

#[test]
fn what_needs_a_privilege_is_said_and_the_site_is_served() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let site = Site::of(&users[0]);
        let script = site.write("app.py", APP);
        let httpd = Httpd::builder()
            .started_by(&users[0])
            .daemon("site", "threads=1 cpu-priority=-5")
            .mount("/", &script, "site")
            .start();
        let worker = pid(&httpd, "");
        httpd.wait_for_log("cpu-priority=-5 needs a privilege", SOON);
        assert!(Pid::current(i32::try_from(worker).expect("a pid")).is_some());
        httpd.stop();
    });
}

#[test]
fn a_slow_request_shows_where_it_is_while_it_runs() {
    case(Limit::default(), || {
        let naps = "import os, time\n\
             def nap(until):\n    while not os.path.exists(until):\n        time.sleep(0.05)\n\
             def application(environ, start_response):\n    \
             if environ['PATH_INFO'] == '/nap':\n        nap(os.path.dirname(__file__) + '/go')\n    \
             start_response('200 OK', [])\n    return [b'done']\n";
        let (site, httpd) = serve("threads=2 slow-request=500ms", naps);
        assert_eq!(httpd.get("/quick").status, 200);
        let mut slow = Raw::connect(httpd.address());
        slow.send("GET /nap?secret=1 HTTP/1.1\r\nHost: x\r\n\r\n");
        let line = httpd.wait_for_log("above slow-request", SOON);
        assert!(
            line.contains("request `GET /nap` (id ") && line.ends_with(": waiting"),
            "{line}"
        );
        httpd.wait_for_log("in nap", SOON);
        // It is told of once, and never is what is quick.
        wait::let_run(Duration::from_secs(1));
        site.write("go", "");
        assert!(slow.wait_for("done", SOON));
        assert_eq!(httpd.get("/nap").status, 200);
        let log = httpd.error_log();
        assert_eq!(log.matches("above slow-request").count(), 1, "{log}");
        assert!(!log.contains("secret"), "{log}");
        // The same thread is told of again with its next slow request.
        fs::remove_file(site.path().join("go")).expect("it is there");
        let mut others = [0, 1].map(|_| Raw::connect(httpd.address()));
        for other in &mut others {
            other.send("GET /nap HTTP/1.1\r\nHost: x\r\n\r\n");
        }
        eventually("both are told of", SOON, || {
            (httpd.error_log().matches("above slow-request").count() == 3).then_some(())
        });
        site.write("go", "");
        for other in &mut others {
            assert!(other.wait_for("done", SOON));
        }
        httpd.stop();
    });
}
