//! A worker that a tenant wrote to do harm, in the place of its Python: httpd
//! and the supervisor stay as they are, no client takes a broken answer for a
//! whole one, and other groups notice nothing.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wsgid_tests::hostile::{Case, Expect, Start, cases};
use wsgid_tests::wire::{Addresses, transports, with_tls};
use wsgid_tests::{
    Builder, Checked, Client, ClientError, Httpd, Limit, Log, Mpm, Pid, Request, Response, Site,
    Transport, case, eventually, on_every_mpm,
};

#[path = "hostile_worker/cut_files.rs"]
mod cut_files;
#[path = "hostile_worker/questions.rs"]
mod questions;

/// What a hostile group gets as `socket-timeout`.
const SILENCE: Duration = Duration::from_secs(2);
/// By then every misbehaviour has been answered, whatever it is.
const PATIENCE: Duration = Duration::from_secs(20);
/// What one httpd child may grow by.
const GROWTH: u64 = 96 << 20;

/// A site with the hostile worker as its Python.
fn hostile_home(site: &Site) -> PathBuf {
    let home = site.file("hostile");
    let program = home.join("bin/python");
    fs::create_dir_all(home.join("bin")).expect("a directory can be made");
    fs::copy(env!("CARGO_BIN_EXE_hostile_worker"), &program).expect("the program can be copied");
    home
}

fn server(site: &Site) -> Httpd {
    sites(Httpd::builder(), site).start()
}

/// A good and a hostile group.
fn sites(builder: Builder, site: &Site) -> Builder {
    let home = hostile_home(site).display().to_string();
    let options = format!(
        "processes=2 threads=4 restart-burst=100000 socket-timeout={} python-home={home}",
        SILENCE.as_secs()
    );
    builder
        .daemon(
            "good",
            &format!("processes=1 threads=4 {}", site.python_path()),
        )
        .daemon("hostile", &options)
        .mount("/good", &site.file("hello.py"), "good")
        .mount("/hostile", &site.write("hostile.wsgi", ""), "hostile")
}

/// Asks for a misbehaviour.
fn ask(client: &mut Client, case: &Case) -> Result<Response, ClientError> {
    let path = format!("/hostile/{}", case.name);
    match case.upload {
        0 => client.get(&path),
        len => client.send(&Request::post_pattern(&path, len)),
    }
}

/// What holds for every answer, whatever the worker did.
fn assert_sound(response: &Response) {
    let count = |name: &str| {
        response
            .headers
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .count()
    };
    assert_eq!(
        count("Injected"),
        0,
        "a worker made a header of a value: {response:?}"
    );
    assert!(
        count("Content-Length") + count("Transfer-Encoding") <= 1,
        "two ways to find the end: {response:?}"
    );
    assert!(
        response
            .interim
            .iter()
            .all(|status| *status == 103 || *status == 100),
        "{response:?}"
    );
    assert!((200..600).contains(&response.status), "{response:?}");
    let controls = response
        .headers
        .iter()
        .any(|(_, value)| value.chars().any(|c| c == '\0' || c == '\n'));
    assert!(!controls, "{response:?}");
}

fn assert_expected(case: &Case, result: &Result<Response, ClientError>, took: Duration) {
    match (case.expect, result) {
        (Expect::Complete(body), Ok(response)) => {
            assert_eq!((response.status, response.text().as_str()), (200, body));
        }
        (Expect::NotOk, Ok(response)) => assert!(response.status >= 500, "a complete {response:?}"),
        (Expect::Timeout, Ok(response)) => {
            assert_eq!(response.status, 504, "{response:?}");
            assert!(took >= SILENCE && took < 3 * SILENCE, "after {took:?}");
        }
        (Expect::Any, Ok(_)) => {}
        (_, Err(ClientError::Timeout)) => panic!("no end after {took:?}"),
        (Expect::NotOk | Expect::Any, Err(ClientError::Truncated { .. } | ClientError::Closed)) => {
        }
        (expected, Err(error)) => panic!("expected {expected:?}: {error}"),
    }
}

/// The same by what the harness's own client does not speak, all at once.
fn ask_by_others(wire: &Addresses, mpm: Mpm, case: &Case) {
    let path = format!("/hostile/{}", case.name);
    let ask = |transport: Transport| {
        let curl = wire
            .curl(transport, &path)
            .args(&["--max-time", &PATIENCE.as_secs().to_string()]);
        match case.upload {
            0 => curl.run(),
            len => curl
                .post(vec![
                    b'u';
                    usize::try_from(len).expect("an upload fits in memory")
                ])
                .run(),
        }
    };
    let others = transports(mpm)
        .iter()
        .filter(|transport| **transport != Transport::Http1);
    std::thread::scope(|scope| {
        let asked: Vec<_> = others
            .map(|transport| (*transport, scope.spawn(|| ask(*transport))))
            .collect();
        for (transport, thread) in asked {
            let answer = thread.join().expect("it does not panic");
            // What curl makes of the reset after an unread HTTP/2 upload is its own affair.
            let unread = case.upload > 0 && transport.is_h2();
            assert!(
                unread || answer.exit != 28,
                "{transport:?}: no end: {answer:?}"
            );
            assert_eq!(
                answer.head.field("Injected"),
                None,
                "{transport:?}: {answer:?}"
            );
            let whole = answer.complete() && (200..500).contains(&answer.status());
            match case.expect {
                // The worker had died of another's request.
                Expect::Complete(_) if unread || answer.status() == 502 => {}
                // And its successors were not there before socket-timeout.
                Expect::Complete(_)
                    if case.name.starts_with("killed") && answer.status() == 504 => {}
                Expect::Complete(body) => {
                    assert!(whole && answer.text() == body, "{transport:?}: {answer:?}")
                }
                Expect::NotOk => assert!(!whole, "{transport:?}: a complete {answer:?}"),
                Expect::Timeout => assert!(
                    unread || answer.status() == 504,
                    "{transport:?}: {answer:?}"
                ),
                Expect::Any => {}
            }
        }
    });
}

/// One misbehaviour, and what the world is like after it.
fn misbehave(httpd: &Httpd, wire: &Addresses, mpm: Mpm, case: &Case) {
    let mut client = httpd.client().timeout(PATIENCE);
    let start = Instant::now();
    let mut result = ask(&mut client, case);
    // What the case before said too much may wait on another connection: it costs
    // the own group one request for each.
    let spoilt = |result: &Result<Response, ClientError>| {
        result.as_ref().is_ok_and(|response| response.status == 502)
    };
    for _ in 0..20 {
        if matches!(case.expect, Expect::Complete(_)) && spoilt(&result) {
            result = ask(&mut client, case);
        }
    }
    let took = start.elapsed();
    if let Ok(response) = &result {
        assert_sound(response);
    }
    assert_expected(case, &result, took);
    ask_by_others(wire, mpm, case);
    // The client's connection is in step, the other group knows of nothing.
    let next = client
        .get("/good")
        .expect("the next answer on the same connection");
    assert_eq!(
        (next.status, next.text().as_str()),
        (200, "Hello World!"),
        "after it on the same connection"
    );
    // The hostile group serves on.
    eventually("a good answer of the same group", PATIENCE, || {
        let response = httpd.client().timeout(PATIENCE).get("/hostile/good").ok()?;
        assert!(
            response.status >= 500 || response.text() == cases::GOOD,
            "{response:?}"
        );
        (response.text() == cases::GOOD).then_some(())
    });
}

/// No line, escape or NUL of a worker's making in the log.
fn assert_log_not_forged(httpd: &Httpd) {
    let log = fs::read(httpd.root().join("error.log")).expect("the log is readable");
    assert!(
        !log.contains(&0x1b) && !log.contains(&0),
        "control characters reached the log"
    );
    let text = String::from_utf8_lossy(&log);
    let forged = text
        .lines()
        .find(|line| line.starts_with("[Thu Jan 01") || line.starts_with("[core:emerg] FORGED"));
    assert_eq!(forged, None);
    let open = text.lines().find(|line| !line.starts_with('['));
    assert_eq!(open, None, "a line that httpd did not begin");
}

fn children(httpd: &Httpd) -> Vec<Pid> {
    let mut children = httpd.pid().children();
    children.retain(|child| Some(*child) != httpd.supervisor());
    children
}

fn run_all(name: &'static str, list: fn() -> Vec<&'static Case>) {
    on_every_mpm(Limit::seconds(600), move |mpm| {
        let only = std::env::var("HOSTILE_CASE").ok();
        let site = Site::new();
        let (builder, tls_port) = with_tls(Httpd::builder().mpm(mpm), mpm);
        let httpd = sites(builder, &site).start();
        let wire = Addresses::of(&httpd, tls_port);
        for transport in transports(mpm) {
            assert_eq!(
                wire.curl(*transport, "/hostile/good").run().text(),
                cases::GOOD,
                "{transport:?}"
            );
        }
        assert_eq!(httpd.get("/good").text(), "Hello World!");
        assert_eq!(httpd.get("/hostile/good").text(), cases::GOOD, "{name}");
        let processes = children(&httpd);
        let before: Vec<u64> = processes.iter().map(|child| child.resident()).collect();
        let mut checked = Checked::new(httpd);
        for case in list() {
            if only.as_deref().is_none_or(|only| only == case.name) {
                checked.case(case.name, Log::Any, |httpd| {
                    misbehave(httpd, &wire, mpm, case)
                });
            }
        }
        checked.case("the log", Log::Any, assert_log_not_forged);
        checked.case("the processes", Log::Any, |httpd| {
            for (child, before) in processes.iter().zip(before) {
                assert!(child.alive(), "an httpd child has ended");
                let grown = child.resident().saturating_sub(before);
                assert!(
                    grown < GROWTH,
                    "an httpd child has grown by {} KiB",
                    grown >> 10
                );
            }
            let supervisor = httpd.supervisor().expect("the supervisor runs");
            assert!(
                supervisor.resident() < GROWTH,
                "the supervisor has {} KiB",
                supervisor.resident() >> 10
            );
            assert!(
                supervisor.descriptors().len() < 200,
                "{:?}",
                supervisor.descriptors()
            );
        });
        checked.finish();
    });
}

#[test]
fn against_the_module() {
    run_all("module", || cases::against_module().collect());
}

#[test]
fn against_the_supervisor() {
    run_all("supervisor", || cases::against_supervisor().collect());
}

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

/// Neither the log nor the status of all is one worker's to fill.
#[test]
fn what_workers_say_of_themselves_has_an_end() {
    case(Limit::seconds(120), || {
        const PROCESSES: usize = 24;
        let site = Site::new();
        let home = hostile_home(&site).display().to_string();
        let options =
            format!("processes={PROCESSES} threads=1 env=HOSTILE_START=boast python-home={home}");
        let httpd = Httpd::builder()
            .daemon("good", &format!("threads=2 {}", site.python_path()))
            .daemon("boaster", &options)
            .mount("/good", &site.file("hello.py"), "good")
            .mount("/boaster", &site.write("hostile.wsgi", ""), "boaster")
            .start();
        assert_eq!(httpd.get("/good").text(), "Hello World!");
        eventually("all are ready", PATIENCE, || {
            (httpd.ready_workers().len() == PROCESSES + 1).then_some(())
        });
        let text = httpd.wsgid(&["status"]);
        assert_eq!(text.matches(" ready ").count(), PROCESSES + 1, "{text}");
        assert!(text.contains("`/srv/0.py` failed to load"), "{text}");
        let log = httpd.error_log();
        assert!(log.len() < 2 << 20, "a log of {} bytes", log.len());
        assert_eq!(log.matches("is ready after").count(), PROCESSES + 1);
        assert!(log.contains("and more, which is left out"));
        assert_eq!(httpd.get("/boaster/good").text(), cases::GOOD);
        httpd.stop();
    });
}
