//! What the command line says of what it has begun: `restart`, `start`, `stop` and
//! `reload` wait, name what came of it, and end with a code that a deploy script reads.

mod found;
mod standalone;

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::control::{self, Said};
use wsgid_tests::wait::let_run;
use wsgid_tests::{Httpd, Limit, Pid, Site, artifacts, at_once, case, eventually, users};

const SOON: Duration = Duration::from_secs(30);

/// What `wsgid` ends with.
const OK: i32 = 0;
const NOT_SERVING: i32 = 9;
const UNDER_WAY: i32 = 10;

/// An application that answers with this word, and does that first.
fn script(word: &str, first: &str) -> String {
    format!(
        "import time\n{first}\ndef application(environ, start_response):\n    \
         time.sleep(float(environ['QUERY_STRING'] or 0))\n    \
         start_response('200 OK', [])\n    return [b'{word}']\n"
    )
}

fn serve(options: &str) -> (Site, Httpd) {
    let site = Site::new();
    let path = site.write("app.py", &script("first", ""));
    let httpd = Httpd::builder()
        .daemon("site", &format!("threads=2 {options}"))
        // Only commands begin generations.
        .line("WSGIScriptReloading Off")
        .mount("/", &path, "site")
        .start();
    assert_eq!(httpd.get("/").text(), "first");
    (site, httpd)
}

fn said(httpd: &Httpd, args: &[&str]) -> Said {
    control::command(httpd, args).expect("a supervisor runs")
}

/// A command in the background.
fn begin(httpd: &Httpd, args: &[&str]) -> Child {
    Command::new(artifacts::wsgid())
        .args(args)
        .arg("--socket")
        .arg(httpd.control_socket())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("wsgid can be run")
}

/// Whether a generation is being made ready.
fn next_generation(httpd: &Httpd) -> Option<u64> {
    let status = control::status(httpd)?;
    control::pools(&status, "site").first()?.next_generation
}

fn generation(httpd: &Httpd) -> u64 {
    let status = control::status(httpd).expect("a status");
    control::pools(&status, "site")[0].generation
}

#[test]
fn a_restart_says_which_generation_serves() {
    case(Limit::default(), || {
        let (site, httpd) = serve("processes=2");
        site.write("app.py", &script("second", "time.sleep(1)"));
        let restarted = said(&httpd, &["restart", "site"]);
        assert_eq!(
            (restarted.code, restarted.text.as_str()),
            (OK, "process group `site`: generation 2 serves")
        );
        assert_eq!(httpd.get("/").text(), "second", "it serves when it is said");
        httpd.stop();
    });
}

#[test]
fn a_restart_says_why_a_generation_was_given_up() {
    at_once(
        Limit::default(),
        [
            // It ends before it is ready.
            ("import os; os._exit(3)", "", "exited with code 3"),
            ("raise ValueError('not today')", "", "ValueError: not today"),
            ("time.sleep(60)", "startup-timeout=5", "startup-timeout"),
        ],
        |(first, options, why)| {
            let (site, httpd) = serve(options);
            site.write("app.py", &script("second", first));
            let restarted = said(&httpd, &["restart", "site"]);
            let expected =
                "wsgid: process group `site`: generation 2 was given up, generation 1 serves on: ";
            assert_eq!(restarted.code, NOT_SERVING, "{}", restarted.text);
            assert!(
                restarted.text.starts_with(expected) && restarted.text.contains(why),
                "{first}: {}",
                restarted.text
            );
            assert_eq!(httpd.get("/").text(), "first");
            site.write("app.py", &script("third", ""));
            assert_eq!(said(&httpd, &["restart", "site"]).code, OK);
            assert_eq!(httpd.get("/").text(), "third");
            httpd.stop();
        },
    );
}

#[test]
fn a_start_of_what_is_broken_is_no_success() {
    at_once(
        Limit::default(),
        [
            ("import os; os._exit(3)", "exited with code 3"),
            ("raise ValueError('not today')", "ValueError: not today"),
        ],
        |(first, why)| {
            let (site, httpd) = serve("");
            let stopped = said(&httpd, &["stop", "site"]);
            assert_eq!(
                (stopped.code, stopped.text.as_str()),
                (OK, "process group `site` has stopped")
            );
            assert!(
                httpd.workers().is_empty(),
                "they have ended when it is said"
            );
            assert_eq!(httpd.get("/").status, 503);
            site.write("app.py", &script("second", first));
            let started = said(&httpd, &["start", "site"]);
            assert!(
                started.code == NOT_SERVING && started.text.contains(why),
                "{first}: {} {}",
                started.code,
                started.text
            );
            site.write("app.py", &script("third", ""));
            let restarted = said(&httpd, &["restart", "site"]);
            assert_eq!(restarted.code, OK, "{}", restarted.text);
            assert_eq!(httpd.get("/").text(), "third");
            httpd.stop();
        },
    );
}

#[test]
fn who_has_waited_long_enough_is_told_and_what_was_begun_goes_on() {
    case(Limit::default(), || {
        let (site, httpd) = serve("");
        site.write("app.py", &script("second", "time.sleep(6)"));
        let restarted = said(&httpd, &["restart", "site", "--timeout", "1"]);
        assert_eq!(restarted.code, UNDER_WAY, "{}", restarted.text);
        assert!(
            restarted.text.contains("its workers load")
                && restarted.text.contains("it is still under way after 1 s"),
            "{}",
            restarted.text
        );
        assert_eq!(generation(&httpd), 1);
        eventually("the new generation", SOON, || {
            (httpd.get("/").text() == "second").then_some(())
        });
        // Nor is anything said or waited for where that is not wanted.
        let restarted = said(&httpd, &["restart", "site", "--no-wait"]);
        assert_eq!((restarted.code, restarted.text.as_str()), (OK, ""));
        assert_eq!(generation(&httpd), 2);
        httpd.stop();
    });
}

#[test]
fn an_interrupt_ends_the_waiting_alone() {
    case(Limit::default(), || {
        let (site, httpd) = serve("");
        site.write("app.py", &script("second", "time.sleep(4)"));
        let mut waiting = begin(&httpd, &["restart", "site"]);
        eventually("a generation that loads", SOON, || next_generation(&httpd));
        let pid = Pid::current(waiting.id().try_into().expect("a pid")).expect("it waits");
        pid.signal(Signal::SIGINT);
        let ended = waiting.wait().expect("a child");
        assert!(!ended.success(), "{ended}");
        assert_eq!(generation(&httpd), 1, "it was interrupted before");
        eventually("the new generation", SOON, || {
            (httpd.get("/").text() == "second").then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_stop_waits_for_the_requests_that_run() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("");
        let mut client = httpd.client();
        let request = thread::spawn(move || client.get("/?3").expect("an answer").text());
        eventually("a running request", SOON, || {
            let status = control::status(&httpd)?;
            let mut workers = control::pools(&status, "site").first()?.workers.iter();
            workers.any(|worker| worker.in_flight > 0).then_some(())
        });
        let stopped = said(&httpd, &["stop", "site"]);
        assert_eq!(stopped.code, OK, "{}", stopped.text);
        assert!(httpd.workers().is_empty());
        assert_eq!(request.join().expect("no panic"), "first");
        httpd.stop();
    });
}

/// Whoever waits keeps neither himself nor others from being answered.
#[test]
fn root_many_who_wait_keep_nobody_from_asking() {
    case(Limit::seconds(120), || {
        let Some([one, two, _]) = users::three() else {
            return;
        };
        let site = Site::new();
        let path = site.write("app.py", &script("first", ""));
        let mut builder = Httpd::builder();
        let wsgid = builder
            .copied_artifacts()
            .join(artifacts::wsgid().file_name().expect("it has a name"));
        let httpd = builder
            .daemon("site", &format!("user={} threads=1", one.name))
            .daemon("other", &format!("user={} threads=1", two.name))
            .line("WSGIScriptReloading Off")
            .mount("/", &path, "site")
            .mount("/other", &path, "other")
            .start();
        assert_eq!(httpd.get("/").text(), "first");
        assert_eq!(httpd.get("/other").text(), "first");
        site.write("app.py", &script("second", "time.sleep(12)"));
        let as_user = |uid: u32, args: &[&str]| {
            let mut command = Command::new("setpriv");
            command
                .args([
                    &format!("--reuid={uid}"),
                    &format!("--regid={uid}"),
                    "--clear-groups",
                ])
                .arg(&wsgid)
                .args(args)
                .arg("--socket")
                .arg(httpd.control_socket());
            command
        };
        let mut waiting: Vec<Child> = (0..16)
            .map(|_| {
                as_user(one.uid, &["restart", "site"])
                    .stdout(Stdio::null())
                    .spawn()
                    .expect("setpriv is installed")
            })
            .collect();
        eventually("a generation that loads", SOON, || next_generation(&httpd));
        let supervisor = httpd.supervisor().expect("it runs");
        let before = supervisor.cpu_time();
        let_run(Duration::from_secs(2));
        let used = supervisor.cpu_time().saturating_sub(before);
        assert!(
            used < Duration::from_millis(800),
            "{used:?} of two seconds for those who wait"
        );
        for uid in [one.uid, two.uid, 0] {
            let begun = Instant::now();
            let output = as_user(uid, &["status"]).output().expect("setpriv runs");
            assert!(output.status.success(), "uid {uid}: {output:?}");
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "uid {uid}: {:?}",
                begun.elapsed()
            );
        }
        assert!(next_generation(&httpd).is_some(), "they waited meanwhile");
        for one in &mut waiting {
            let ended = one.wait().expect("a child");
            assert!(ended.success(), "{ended}");
        }
        assert_eq!(httpd.get("/").text(), "second");
        httpd.stop();
    });
}
