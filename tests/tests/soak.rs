//! Mixed load while everything is killed and restarted: `make soak` for long,
//! a few seconds of it in every run of the tests.
//!
//! Every POST has a number, and the application writes down which it began: a
//! number that was begun twice is a request that was repeated wrongly.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use wsgid_tests::pattern::Checker;
use wsgid_tests::wait::let_run;
use wsgid_tests::{Client, ClientError, Httpd, Limit, Load, Request, Site, heavy_case};

const SCRIPT: &str = r#"
import os
import pattern

JOURNAL = os.path.join(os.path.dirname(__file__), "journal")


def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        number = environ["wsgi.input"].read().decode()
        journal = os.open(JOURNAL, os.O_WRONLY | os.O_APPEND)
        os.write(journal, (number + "\n").encode())
        os.close(journal)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [number.encode()]
    if environ["PATH_INFO"].startswith("/stream"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return pattern.pieces(1000000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello World!"]
"#;

fn time() -> Duration {
    let seconds = env::var("WSGID_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    Duration::from_secs(seconds)
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    number: AtomicU64,
    posts: AtomicU64,
    streams: AtomicU64,
    lost: AtomicU64,
    wrong: AtomicU64,
}

/// Numbered POSTs and streams, one after the other, until told to stop.
fn mixed(address: std::net::SocketAddr, seen: &Arc<Seen>) -> JoinHandle<Vec<String>> {
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        let mut troubles = Vec::new();
        while !seen.stop.load(Ordering::Relaxed) {
            // A new connection each time: a client may repeat no POST by itself.
            let number = seen.number.fetch_add(1, Ordering::Relaxed).to_string();
            match Client::new(address).send(&Request::post("/post", number.clone())) {
                Ok(response) if response.status == 200 && response.text() == number => {
                    seen.posts.fetch_add(1, Ordering::Relaxed);
                }
                Ok(response) if response.status == 502 => {
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                }
                other => troubles.push(format!("POST {number}: {other:?}")),
            }
            let mut checker = Checker::default();
            match Client::new(address).send_with(&Request::new("GET", "/stream"), &mut |piece| checker.feed(piece)) {
                Ok(response) if response.status == 200 => {
                    seen.streams.fetch_add(1, Ordering::Relaxed);
                    if checker.len != 1_000_000 || checker.wrong_at.is_some() {
                        seen.wrong.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(response) if response.status == 502 => {
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                }
                Err(ClientError::Truncated { status: Some(200), .. }) => {
                    seen.lost.fetch_add(1, Ordering::Relaxed);
                }
                other => troubles.push(format!("stream: {other:?}")),
            }
        }
        troubles
    })
}

/// One disturbance after the other; returns how many workers were killed.
fn disturb(httpd: &mut Httpd, site: &Site, until: Instant) -> u64 {
    let mut killed = 0;
    for round in 0_u64.. {
        if Instant::now() >= until {
            return killed;
        }
        match round % 5 {
            0 => httpd.graceful(),
            1 => {
                site.write("app.py", &format!("{SCRIPT}\n# {round}\n"));
            }
            2 => {
                if let Some(worker) = httpd.workers().first() {
                    worker.kill();
                    killed += 1;
                }
            }
            3 => {
                httpd.configure(|lines| {
                    let line = lines.iter_mut().find(|line| line.starts_with("WSGIDaemonProcess")).expect("a group");
                    let (old, new) = if line.contains("threads=4") {
                        ("threads=4", "threads=5")
                    } else {
                        ("threads=5", "threads=4")
                    };
                    *line = line.replace(old, new);
                });
                httpd.graceful();
            }
            _ => {
                if let Some(supervisor) = httpd.supervisor() {
                    supervisor.kill();
                }
            }
        }
        // Time for the load between two disturbances, not a wait for anything.
        let_run(Duration::from_millis(1500));
    }
    killed
}

fn begun_twice(journal: &Path) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for number in fs::read_to_string(journal).expect("the journal is there").lines() {
        *counts.entry(number.to_owned()).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(number, _)| number).collect()
}

#[test]
fn nothing_is_lost_twice_done_or_cut_short() {
    heavy_case(Limit(time() + Duration::from_secs(120)), || {
        let site = Site::new();
        let script = site.write("app.py", SCRIPT);
        let journal = site.write("journal", "");
        wsgid_tests::users::give(&journal, &wsgid_tests::users::of_httpd());
        let options = format!("processes=2 threads=4 {}", site.python_path());
        let mut httpd = Httpd::builder().daemon("site", &options).mount("/", &script, "site").start();
        let seen = Arc::new(Seen::default());
        let plain = Load::new(httpd.address(), "/", 4).expect("Hello World!").start();
        let mixed: Vec<_> = (0..3).map(|_| mixed(httpd.address(), &seen)).collect();
        let killed = disturb(&mut httpd, &site, Instant::now() + time());
        seen.stop.store(true, Ordering::Relaxed);
        let troubles: Vec<String> =
            mixed.into_iter().flat_map(|thread| thread.join().expect("a client ends")).collect();
        let tally = plain.stop();
        let lost = seen.lost.load(Ordering::Relaxed) + tally.of_kind("status 502");
        assert!(troubles.is_empty(), "{troubles:#?}");
        assert_eq!(tally.failed(), tally.of_kind("status 502"), "{tally:?}");
        assert_eq!(seen.wrong.load(Ordering::Relaxed), 0, "a complete 200 with a wrong body");
        assert!(lost <= killed * 5, "{lost} lost with {killed} workers killed");
        assert_eq!(begun_twice(&journal), Vec::<String>::new(), "POSTs that were begun twice");
        assert!(seen.posts.load(Ordering::Relaxed) > 0 && seen.streams.load(Ordering::Relaxed) > 0 && tally.ok > 0);
        httpd.stop();
    });
}
