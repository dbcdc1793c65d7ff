//! Each case of `wsgid_tests::hostile` on every MPM by every transport.

use std::fs;
use std::time::{Duration, Instant};

use wsgid_tests::hostile::{Case, Expect, cases};
use wsgid_tests::wire::{Addresses, transports, with_tls};
use wsgid_tests::{
    Checked, ClientError, Httpd, Limit, Log, Mpm, Pid, Response, Site, Transport, at_once,
    eventually,
};

use crate::server::{PATIENCE, SILENCE, ask, assert_sound, sites};

/// What one httpd child may grow by.
pub(crate) const GROWTH: u64 = 96 << 20;

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
pub(crate) fn assert_log_not_forged(httpd: &Httpd) {
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

pub(crate) fn children(httpd: &Httpd) -> Vec<Pid> {
    let mut children = httpd.pid().children();
    children.retain(|child| Some(*child) != httpd.supervisor());
    children
}

/// On so many servers for each MPM at once, of which each gets its share of the cases.
fn run_all(name: &'static str, servers: usize, list: fn() -> Vec<&'static Case>) {
    let each = Mpm::ALL
        .into_iter()
        .flat_map(move |mpm| (0..servers).map(move |first| (mpm, first)));
    at_once(Limit::seconds(600), each, move |(mpm, first)| {
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
        for case in list().into_iter().skip(first).step_by(servers) {
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
    // Many of them wait.
    run_all("module", 2, || cases::against_module().collect());
}

#[test]
fn against_the_supervisor() {
    run_all("supervisor", 1, || cases::against_supervisor().collect());
}
