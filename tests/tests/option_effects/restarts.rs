//! When workers are replaced, and when a group that cannot start is left alone.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Site, case, eventually, note, users};

use crate::{SOON, pid, serve};

const PID: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

#[test]
fn jitter_keeps_processes_from_going_together() {
    case(Limit::default(), || {
        // With so much of it, hardly any process goes at its number.
        let (_site, httpd) = serve(
            "processes=3 threads=1 maximum-requests=5 maximum-requests-jitter=4000000",
            PID,
        );
        let before: BTreeSet<_> = httpd.wait_for_workers(3, SOON).into_iter().collect();
        let mut client = httpd.client();
        (0..200).for_each(|_| assert_eq!(client.get("/pid").expect("an answer").status, 200));
        let after: BTreeSet<_> = httpd.workers().into_iter().collect();
        assert_eq!(before, after);
        httpd.stop();
        let (_site, httpd) = serve(
            "processes=1 threads=1 maximum-requests=5 maximum-requests-jitter=5",
            PID,
        );
        let before = pid(&httpd, "");
        // And with a little, they go all the same.
        eventually("another worker", SOON, || {
            (pid(&httpd, "") != before).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_failed_group_tries_again_after_its_window() {
    case(Limit::default(), || {
        let script = format!(
            "import os, sys\nif not os.path.exists(os.path.join(os.path.dirname(__file__), 'mended')): os._exit(9)\n{PID}"
        );
        let (site, httpd) = serve("threads=1 restart-burst=2 restart-window=6", &script);
        httpd.wait_for_log("exited with code 9", SOON);
        eventually("the group to be failed", SOON, || {
            let begun = Instant::now();
            let answer = httpd.get("/pid");
            (answer.status == 503 && begun.elapsed() < Duration::from_millis(500)).then_some(())
        });
        // More starts than the burst were not tried.
        let log = httpd.error_log();
        let starts = log
            .lines()
            .filter(|line| line.contains("code 9") && !line.contains("keep failing"))
            .count();
        assert!((2..=4).contains(&starts), "{starts}");
        let failed = Instant::now();
        site.write("mended", "");
        eventually("the group without any command", SOON, || {
            (httpd.get("/pid").status == 200).then_some(())
        });
        assert!(
            failed.elapsed() >= Duration::from_secs(1),
            "the window is waited for: {:?}",
            failed.elapsed()
        );
        httpd.stop();
    });
}

/// Forks children that wait, until it may not.
const FORKS: &str = "
import os, time
def application(environ, start_response):
    children = 0
    try:
        while children < 100:
            if os.fork() == 0:
                time.sleep(3)
                os._exit(0)
            children += 1
    except BlockingIOError:
        pass
    start_response('200 OK', [])
    return [b'%d' % children]
";

#[test]
fn no_more_processes_than_the_limit() {
    case(Limit::default(), || {
        let Some(users) = users::three() else {
            return note("left out: root has no such limit, and others too many");
        };
        let site = Site::of(&users[2]);
        let script = site.write("app.py", FORKS);
        let options = format!(
            "threads=2 process-limit=30 user={} group={}",
            users[2].name, users[2].group
        );
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &script, "site")
            .start();
        let children: u32 = httpd.get("/").text().parse().expect("a number");
        assert!(
            (5..30).contains(&children),
            "{children} with the worker's own threads make 30"
        );
        httpd.stop();
    });
}
