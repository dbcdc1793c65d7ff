//! Request bodies that are too large, end early, come slowly, grow or are not
//! read: by every transport on every MPM, and what only the bytes of HTTP/1.1
//! can do, by hand.

use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::bodies::{bytes, calls, piped, post_head, seen, sha256};
use wsgid_tests::nghttp::{unread, unread_of_unknown_length};
use wsgid_tests::pattern::Checker;
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::transports;
use wsgid_tests::{Limit, Log, Mpm, On, Raw, Request, Wire, eventually, on_each, on_every_mpm};

const SOON: Duration = Duration::from_secs(20);

/// `body` is in seconds how long RequestReadTimeout waits for a body; 0 is for ever.
fn wire(mpm: Mpm, body: u32) -> Wire {
    Wire::start(mpm, |builder, site| {
        let script = site.file("body_cases.py");
        builder
            .load("reqtimeout")
            .load("deflate")
            .line(format!("RequestReadTimeout header=0 body={body}"))
            .daemon("narrow", &format!("processes=1 threads=1 {}", site.python_path()))
            .mount("/narrow", &script, "narrow")
            .mount("/limited", &script, "site")
            .mount("/inflated", &script, "site")
            .line("<Location /limited>\n  LimitRequestBody 100000\n  WSGIChunkedRequest On\n</Location>")
            .line("<Location /inflated>\n  SetInputFilter DEFLATE\n</Location>")
    })
}

#[test]
fn broken_bodies_by_every_transport_on_every_mpm() {
    on_every_mpm(Limit::seconds(240), move |mpm| {
        on_each(wire(mpm, 0), mpm, |on| {
            limits(on);
            ends_early(on);
            slow_or_unread(on);
            inflated(on);
        });
    });
}

fn limits(on: &mut On<'_>) {
    let by = on.transport;
    let id = |what: &str| format!("{what}-{by:?}");
    on.case("7: more than LimitRequestBody", Log::Any, |wire, httpd| {
        let path = format!("/limited/called?id={}", id("limited"));
        let (complete, answer) = unread(wire, by, &path, vec![b'x'; 100_001], true);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(complete && answer.contains(" 413"), "{answer}");
        assert_eq!(calls(httpd, &id("limited")), 0);
        let exact = wire
            .curl(by, "/limited/sized")
            .post(vec![b'x'; 100_000])
            .run();
        assert_eq!(exact.json()["length"], 100_000);
    });
    on.case("8: a body that grows over it", Log::Any, |wire, httpd| {
        let path = format!("/limited/broken?id={}", id("grown"));
        let (complete, answer) = unread_of_unknown_length(wire, by, &path, vec![b'x'; 150_000]);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(complete && answer.contains(" 413"), "{answer}");
        assert!(answer.matches("<html>").count() <= 1, "one page: {answer}");
        assert_eq!(seen(httpd, &id("grown"))["oserror"], true);
    });
    on.case(
        "9: the same after the response has begun",
        Log::Any,
        |wire, httpd| {
            let path = format!("/limited/broken?id={}&started=&swallow=", id("begun"));
            let answer = wire
                .curl(by, &path)
                .post_unknown_length(vec![b'x'; 150_000])
                .run();
            assert!(
                !answer.text().contains("<html>"),
                "a page was glued to the body: {answer:?}"
            );
            assert!(
                !answer.complete(),
                "the response looks complete: {answer:?}"
            );
            assert_eq!(seen(httpd, &id("begun"))["oserror"], true);
        },
    );
}

fn ends_early(on: &mut On<'_>) {
    let by = on.transport;
    on.case(
        "12: the client leaves in the middle",
        Log::Any,
        |wire, httpd| {
            let id = format!("left-{by:?}");
            let curl = wire
                .curl(by, &format!("/body/broken?id={id}"))
                .post(bytes(4_000_000));
            let answer = curl
                .args(&["--limit-rate", "200k", "--max-time", "1"])
                .run();
            assert_eq!(answer.exit, 28, "curl was to give up: {answer:?}");
            // It is told of the first read before the second.
            let seen = eventually("the second read", SOON, || {
                Some(seen(httpd, &id)).filter(|seen| !seen["again"].is_null())
            });
            assert_eq!(seen["oserror"], true, "{seen}");
            assert_eq!(seen["again"], seen["type"], "{seen}");
            assert_eq!(wire.curl(by, "/probe/hello").run().status(), 200);
        },
    );
}

fn slow_or_unread(on: &mut On<'_>) {
    let by = on.transport;
    on.case("20: one byte of 5 MB", Log::Quiet, |wire, httpd| {
        let (complete, answer) = unread(wire, by, "/body/one", bytes(5_000_000), false);
        assert!(complete, "{answer:?}");
        assert_eq!(answer, [b"one:", &bytes(1)[..]].concat());
        assert_eq!(httpd.get("/probe/hello").text(), "Hello World!");
    });
    on.case(
        "21: a slow small POST leaves the only thread free",
        Log::Quiet,
        |wire, httpd| {
            assert_eq!(httpd.get("/narrow/calls?id=x").status, 200);
            let body = bytes(60_000);
            let curl = wire
                .curl(by, "/narrow/read")
                .post(body)
                .args(&["--limit-rate", "20k"]);
            let slow = thread::spawn(move || (curl.run(), Instant::now()));
            // Answers that wait for the thread would come when the slow one has its own.
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(1200) {
                assert_eq!(httpd.get("/narrow/calls?id=x").status, 200);
            }
            let answered = Instant::now();
            let (answer, done) = slow.join().expect("it does not panic");
            assert!(
                done > answered,
                "the thread was waiting for the slow client, or that was not slow"
            );
            assert_eq!(answer.json()["length"], 60_000);
        },
    );
}

fn inflated(on: &mut On<'_>) {
    let by = on.transport;
    on.case(
        "23: a body that grows when it is inflated",
        Log::Quiet,
        |wire, _| {
            let plain = (0..100_000)
                .flat_map(|n: u32| format!("{n}\n").into_bytes())
                .collect::<Vec<u8>>();
            let curl = wire.curl(by, "/inflated/sized").post(piped("gzip", &plain));
            let answer = curl.header("Content-Encoding: gzip").run().json();
            assert_eq!(answer["length"], plain.len());
            assert_eq!(answer["sha256"], sha256(&plain));
        },
    );
}
#[test]
fn a_body_comes_back_while_it_is_sent() {
    on_every_mpm(Limit::seconds(180), move |mpm| {
        let (_site, wire, mut checked) = wire(mpm, 0).checked();
        for transport in transports(mpm) {
            checked.case(
                &format!("19: 50 MB back while they come, by {transport:?}"),
                Log::Quiet,
                |httpd| {
                    let before: Vec<_> = httpd
                        .pid()
                        .descendants()
                        .iter()
                        .map(|pid| (*pid, pid.resident()))
                        .collect();
                    let answer = wire
                        .curl(*transport, "/body/duplex")
                        .post(bytes(50_000_000))
                        .run();
                    assert!(answer.complete(), "{answer:?}");
                    let mut checker = Checker::default();
                    checker.feed(&answer.body);
                    checker.assert_exact(50_000_000);
                    for (pid, before) in before {
                        let grown = pid.resident().saturating_sub(before);
                        assert!(
                            grown < 24 << 20,
                            "{} grew by {} KiB",
                            pid.command_line(),
                            grown >> 10
                        );
                    }
                },
            );
        }
        checked.finish();
    });
}

#[test]
fn ends_that_only_bytes_can_say() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let (_site, _, mut checked) = wire(mpm, 0).checked();
        checked.case("12: the client resets", Log::Any, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(
                post_head("/body/broken?id=reset", "Content-Length: 200000\r\n")
                    + &"x".repeat(100_000),
            );
            raw.reset();
            assert_eq!(seen(httpd, "reset")["oserror"], true);
        });
        checked.case(
            "12: a small body that ends early never reaches the application",
            Log::Any,
            |httpd| {
                let mut raw = Raw::connect(httpd.address());
                raw.send(post_head("/body/called?id=small", "Content-Length: 20\r\n") + "half");
                raw.half_close();
                assert!(raw.wait_for_close(SOON));
                assert_eq!(calls(httpd, "small"), 0);
            },
        );
        checked.case(
            "13: half closed after a whole request",
            Log::Quiet,
            |httpd| {
                let mut raw = Raw::connect(httpd.address());
                raw.send(post_head("/body/read", "Content-Length: 4\r\n") + "four");
                raw.half_close();
                raw.listen(SOON);
                let text = raw.text();
                assert!(
                    text.starts_with("HTTP/1.1 200") && text.contains("\"length\": 4"),
                    "{text}"
                );
            },
        );
        checked.case(
            "20: one byte of a small body, connection kept",
            Log::Quiet,
            |httpd| {
                let mut client = httpd.client();
                for _ in 0..20 {
                    assert_eq!(
                        client
                            .send(&Request::post("/body/one", "abcdef"))
                            .expect("an answer")
                            .text(),
                        "one:a"
                    );
                    assert!(client.connected());
                }
            },
        );
        checked.finish();
    });
}

#[test]
fn clients_that_stall_are_given_up_and_late_readers_are_not() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let (_site, wire, mut checked) = wire(mpm, 2).checked();
        checked.case(
            "11: a client that stalls in a small body",
            Log::Any,
            |httpd| {
                let begun = Instant::now();
                let text = exchange(
                    httpd.address(),
                    post_head("/body/read", "Content-Length: 10\r\n") + "1234",
                    SOON,
                );
                assert!(text.starts_with("HTTP/1.1 408"), "{text}");
                let took = begun.elapsed();
                assert!(
                    took > Duration::from_secs(1) && took < Duration::from_secs(8),
                    "{took:?}"
                );
            },
        );
        checked.case(
            "11: a client that stalls in a large body",
            Log::Any,
            |httpd| {
                let head = post_head("/body/broken?id=stalled", "Content-Length: 100000\r\n");
                let text = exchange(httpd.address(), head + &"x".repeat(1000), SOON);
                assert!(text.starts_with("HTTP/1.1 408"), "{text}");
                let seen = seen(httpd, "stalled");
                assert_eq!(seen["oserror"], true, "{seen}");
            },
        );
        for transport in transports(mpm) {
            let name = format!(
                "22: an application that reads late, after body= has passed, by {transport:?}"
            );
            checked.case(&name, Log::Quiet, |_| {
                let answer = wire
                    .curl(*transport, "/body/later?seconds=5")
                    .post(bytes(100 * 1024))
                    .run();
                assert_eq!(answer.json()["length"], 100 * 1024);
            });
        }
        checked.finish();
    });
}
