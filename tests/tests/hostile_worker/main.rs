//! A worker that a tenant wrote to do harm, in the place of its Python: httpd
//! and the supervisor stay as they are, no client takes a broken answer for a
//! whole one, and other groups notice nothing.

mod all_cases;
mod cut_files;
mod questions;
mod server;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wsgid_tests::hostile::{Start, cases};
use wsgid_tests::{Checked, Httpd, Limit, Log, Pid, Site, case, eventually};

use crate::all_cases::{GROWTH, assert_log_not_forged, children};
use crate::server::{PATIENCE, SILENCE, assert_sound, hostile_home, server};

/// What a worker says too early can only meet requests of its own group.
#[test]
fn words_before_they_are_asked_for_stay_in_the_group() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let httpd = server(&site);
        let mut checked = Checked::new(httpd);
        for case in cases::too_early() {
            checked.case(case.name, Log::Any, |httpd| {
                for _ in 0..20 {
                    let mut client = httpd.client().timeout(PATIENCE);
                    for path in [
                        format!("/hostile/{}", case.name),
                        "/hostile/good".to_owned(),
                    ] {
                        let response = client.get(&path).expect("an answer");
                        assert_sound(&response);
                        let own = ["body", "EVIL", cases::GOOD].contains(&response.text().as_str());
                        assert!(own || response.status == 502, "{response:?}");
                        assert_eq!(
                            client.get("/good").expect("an answer").text(),
                            "Hello World!"
                        );
                    }
                }
            });
        }
        checked.finish();
    });
}

#[test]
fn a_flood_waits_for_a_slow_client() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let httpd = server(&site);
        assert_eq!(httpd.get("/hostile/good").text(), cases::GOOD);
        let resident = |pids: &[Pid]| {
            pids.iter()
                .map(|pid| pid.resident())
                .max()
                .unwrap_or_default()
        };
        let processes = children(&httpd);
        let before = resident(&processes);
        let mut streams: Vec<TcpStream> = (0..8)
            .map(|_| {
                let mut stream = TcpStream::connect(httpd.address()).expect("a connection");
                write!(
                    stream,
                    "GET /hostile/body-without-end HTTP/1.1\r\nHost: x\r\n\r\n"
                )
                .expect("it is read");
                stream
            })
            .collect();
        let mut most = before;
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(4) {
            // A trickle, so that nobody may take the client for dead.
            for stream in &mut streams {
                stream
                    .read_exact(&mut [0; 1024])
                    .expect("bytes without end");
            }
            wsgid_tests::wait::let_run(Duration::from_millis(50));
            most = most.max(resident(&processes));
        }
        assert!(
            most - before < GROWTH,
            "a child grew by {} KiB",
            (most - before) >> 10
        );
        drop(streams);
        assert_eq!(httpd.get("/good").text(), "Hello World!");
        assert_eq!(httpd.get("/hostile/good").text(), cases::GOOD);
        assert!(processes.iter().all(|child| child.alive()));
        httpd.stop();
    });
}

#[test]
fn what_has_no_end_ends_with_its_client() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        let httpd = server(&site);
        assert_eq!(httpd.get("/hostile/good").text(), cases::GOOD);
        let mut checked = Checked::new(httpd);
        for case in cases::without_end() {
            checked.case(case.name, Log::Any, |httpd| {
                let mut stream = TcpStream::connect(httpd.address()).expect("a connection");
                write!(
                    stream,
                    "GET /hostile/{} HTTP/1.1\r\nHost: x\r\n\r\n",
                    case.name
                )
                .expect("it is read");
                wsgid_tests::wait::let_run(Duration::from_millis(500));
                drop(stream);
                eventually("all processes are idle again", PATIENCE, || {
                    let used = |httpd: &Httpd| {
                        httpd
                            .pid()
                            .descendants()
                            .iter()
                            .map(|pid| pid.cpu_time())
                            .sum()
                    };
                    let before: Duration = used(httpd);
                    wsgid_tests::wait::let_run(Duration::from_millis(500));
                    (used(httpd) - before < Duration::from_millis(100)).then_some(())
                });
                assert_eq!(httpd.get("/good").text(), "Hello World!");
            });
        }
        checked.finish();
    });
}

#[test]
fn every_thread_of_httpd_in_the_hands_of_a_silent_worker() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let httpd = server(&site);
        let threads: Vec<_> = (0..40)
            .map(|_| {
                let mut client = httpd.client().timeout(PATIENCE);
                std::thread::spawn(move || {
                    client
                        .get("/hostile/silence")
                        .map(|response| response.status)
                })
            })
            .collect();
        let good = httpd
            .client()
            .timeout(PATIENCE)
            .get("/good")
            .expect("an answer beside them");
        assert_eq!(good.text(), "Hello World!");
        for thread in threads {
            let status = thread
                .join()
                .expect("it does not panic")
                .expect("an answer");
            assert!(status == 504 || status == 503, "{status}");
        }
        httpd.stop();
    });
}

#[test]
fn workers_that_never_become_workers() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        let home = hostile_home(&site).display().to_string();
        let script = site.write("hostile.wsgi", "");
        let mut builder = Httpd::builder()
            .daemon(
                "good",
                &format!("processes=1 threads=4 {}", site.python_path()),
            )
            .mount("/good", &site.file("hello.py"), "good");
        for (name, _) in Start::BAD {
            let options = format!(
                "startup-timeout=2 queue-timeout=4 socket-timeout={} env=HOSTILE_START={name} python-home={home}",
                SILENCE.as_secs()
            );
            builder = builder
                .daemon(name, &options)
                .mount(&format!("/{name}"), &script, name);
        }
        let mut checked = Checked::new(builder.start());
        for (name, _) in Start::BAD {
            checked.case(name, Log::Any, |httpd| {
                let response = httpd
                    .client()
                    .timeout(PATIENCE)
                    .get(&format!("/{name}"))
                    .expect("an answer");
                assert!((502..=504).contains(&response.status), "{response:?}");
                assert_eq!(httpd.get("/good").text(), "Hello World!");
            });
        }
        checked.case("the supervisor", Log::Any, |httpd| {
            let supervisor = httpd.supervisor().expect("the supervisor runs");
            assert!(
                supervisor.resident() < GROWTH,
                "the supervisor has {} KiB",
                supervisor.resident() >> 10
            );
            assert_log_not_forged(httpd);
        });
        checked.finish();
    });
}
