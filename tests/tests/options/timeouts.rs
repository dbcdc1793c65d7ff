//! Options that bound how long a request waits or runs.

use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Site, case, heavy_case};

use crate::server::{SOON, background, pid, replaced, serve, wait_until_running};

#[test]
fn request_timeout_ends_what_takes_too_long_and_shows_where_it_was() {
    case(Limit::default(), || {
        let (_site, httpd) =
            serve("threads=1 request-timeout=1 graceful-timeout=1 shutdown-timeout=1");
        let before = pid(&httpd);
        let begun = Instant::now();
        assert_eq!(httpd.get("/sleep?seconds=60").status, 504);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        httpd.wait_for_log("option_cases.py", SOON);
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn interrupt_timeout_ends_the_request_and_not_the_process() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 request-timeout=1 interrupt-timeout=5");
        let before = pid(&httpd);
        // Interruptible: Python code runs all the time.
        assert_eq!(httpd.get("/spin?seconds=60").status, 504);
        assert_eq!(pid(&httpd), before);
        httpd.stop();
    });
}

#[test]
fn deadlock_timeout_writes_stacks_and_replaces_the_process() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 deadlock-timeout=2");
        let before = pid(&httpd);
        assert_eq!(httpd.get("/lock?seconds=60").status, 504);
        httpd.wait_for_log("deadlock-timeout", SOON);
        httpd.wait_for_log("Fatal Python error: Aborted", SOON);
        httpd.wait_for_log("in lock", SOON);
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn startup_timeout_refuses_what_does_not_load() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("slow.py", "import time\ntime.sleep(60)\n");
        let httpd = Httpd::builder()
            .daemon("site", "threads=1 startup-timeout=1 restart-burst=1")
            .mount("/", &script, "site")
            .start();
        let begun = Instant::now();
        assert!(matches!(httpd.get("/").status, 503 | 504));
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{:?}",
            begun.elapsed()
        );
        httpd.wait_for_log("startup-timeout", SOON);
        httpd.stop();
    });
}

#[test]
fn queue_timeout_refuses_what_would_wait() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 queue-timeout=1");
        assert_eq!(httpd.get("/pid").status, 200);
        let busy = background(&httpd, "/sleep?seconds=6");
        wait_until_running(&httpd, 1);
        let begun = Instant::now();
        assert_eq!(httpd.get("/pid").status, 504);
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_millis(900) && waited < Duration::from_secs(4),
            "{waited:?}"
        );
        assert_eq!(busy.join().expect("no panic"), 200);
        httpd.stop();
    });
}

/// So many at the same time; the statuses, with how long each took.
fn requests_at_once(httpd: &Httpd, count: usize, path: &str) -> Vec<(u16, Duration)> {
    let begun = Instant::now();
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let mut client = httpd.client();
            let path = path.to_owned();
            thread::spawn(move || {
                (
                    client.get(&path).map_or(0, |response| response.status),
                    begun.elapsed(),
                )
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .collect()
}

#[test]
fn listen_backlog_bounds_what_waits_and_the_rest_is_refused() {
    heavy_case(Limit::default(), || {
        let serves = |options: &str, served: std::ops::RangeInclusive<usize>, soonest: u64| {
            let (_site, httpd) = serve(options);
            assert_eq!(httpd.get("/pid").status, 200);
            let answers = requests_at_once(&httpd, 9, "/sleep?seconds=1.5");
            let good = answers.iter().filter(|(status, _)| *status == 200).count();
            let refused: Vec<_> = answers
                .iter()
                .filter(|(status, _)| *status == 503)
                .map(|(_, took)| *took)
                .collect();
            assert!(
                served.contains(&good) && good + refused.len() == 9,
                "{options}: {answers:?}"
            );
            let soonest = Duration::from_millis(soonest);
            // Before any place became free again.
            let in_time = |took: &Duration| *took >= soonest && *took < Duration::from_millis(1500);
            assert!(refused.iter().all(in_time), "{options}: {answers:?}");
            httpd.wait_for_log("queue-full", SOON);
            httpd.wait_for_log("(listen-backlog)", SOON);
            httpd.stop();
        };
        serves("threads=1 listen-backlog=2 connect-timeout=0", 3..=3, 0);
        serves(
            "threads=3 listen-backlog=1 connect-timeout=500ms",
            4..=4,
            450,
        );
        // Each process has its share; a request may be on its way from one to the other.
        serves(
            "processes=2 threads=1 listen-backlog=2 connect-timeout=500ms",
            3..=6,
            450,
        );
    });
}
