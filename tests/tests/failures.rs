//! What breaks: applications that raise or hang, workers and supervisors that
//! die, queues that are full, clients that leave. A failure in the middle must
//! never look like the end, to no client, behind no filter and no proxy.

use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::h2::H2;
use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{
    Answer, Checked, Httpd, Json, Limit, Log, Mpm, Raw, Transport, Wire, eventually,
    heavy_on_every_mpm, on_every_mpm,
};

const SOON: Duration = Duration::from_secs(20);

fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |mut builder, site| {
        let stream = site.file("stream_cases.py");
        let options = |more: &str| format!("processes=1 {more} {}", site.python_path());
        // The proxy is the same server, by another of its ports.
        let behind = builder.another_port();
        let builder = ["deflate", "filter", "ratelimit", "proxy", "proxy_http"]
            .into_iter()
            .fold(builder, wsgid_tests::Builder::load)
            .daemon("brief", &options("threads=4 socket-timeout=2"))
            .daemon("narrow", &options("threads=1 queue-timeout=2"))
            .daemon(
                "tight",
                &options("threads=1 listen-backlog=1 connect-timeout=1"),
            )
            .daemon("single", &options("threads=1"))
            .daemon("wide", &options("threads=60"));
        let builder = ["brief", "narrow", "tight", "single", "wide"]
            .into_iter()
            .fold(builder, |builder, group| {
                builder.mount(&format!("/{group}"), &stream, group)
            });
        // One for each transport: a group that dies often comes back more slowly.
        let builder = transports(mpm).iter().fold(builder, |builder, transport| {
            let group = format!("fragile-{transport:?}");
            ["", "/deflated", "/limited"].into_iter().fold(
                builder.daemon(&group, &options("threads=4")),
                |builder, filter| builder.mount(&format!("{filter}/{group}"), &stream, &group),
            )
        });
        builder
            .line("<Location /deflated>\n  SetOutputFilter DEFLATE\n</Location>")
            .line("<Location /limited>\n  SetOutputFilter RATE_LIMIT\n  SetEnv rate-limit 400\n</Location>")
            .line(format!("ProxyPass /proxied http://127.0.0.1:{behind}"))
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

fn events(httpd: &Httpd, mount: &str, id: &str) -> Vec<String> {
    let json = httpd.get(&format!("{mount}/events?id={id}")).json();
    json.as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect()
}

fn wait_for_event(httpd: &Httpd, id: &str, event: &str) -> Vec<String> {
    eventually(&format!("`{event}` of {id}"), SOON, || {
        let events = events(httpd, "/stream", id);
        events.iter().any(|have| have == event).then_some(events)
    })
}

/// The same question by all transports at once.
fn by_all(
    wire: &Addresses,
    mpm: Mpm,
    ask: impl Fn(&Addresses, Transport) -> Answer + Sync,
) -> Vec<(Transport, Answer)> {
    thread::scope(|scope| {
        let asked: Vec<_> = transports(mpm)
            .iter()
            .map(|transport| (*transport, scope.spawn(|| ask(wire, *transport))))
            .collect();
        asked
            .into_iter()
            .map(|(transport, thread)| (transport, thread.join().expect("it does not panic")))
            .collect()
    })
}

#[test]
fn what_breaks_in_the_middle_is_seen_by_every_client_on_every_mpm() {
    on_every_mpm(Limit::seconds(300), |mpm| {
        let (_site, wire, mut checked) = wire(mpm).checked();
        for transport in transports(mpm) {
            exceptions(&mut checked, &wire, *transport);
            deaths(&mut checked, &wire, *transport);
        }
        hangs(&mut checked, &wire, mpm);
        checked.finish();
    });
}

fn exceptions(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    for when in ["early", "before"] {
        checked.case(
            &format!("49 {transport:?}: an exception {when}"),
            Log::Has(&["RuntimeError: raised"]),
            |httpd| {
                let id = format!("{when}{transport:?}");
                let answer = wire
                    .curl(transport, &format!("/stream/fail?when={when}&id={id}"))
                    .run();
                assert!(answer.complete() && answer.status() == 500, "{answer:?}");
                assert!(
                    !answer.text().contains("raised"),
                    "a traceback is not for the client: {answer:?}"
                );
                if when == "before" {
                    assert_eq!(wait_for_event(httpd, &id, "close"), ["iter", "close"]);
                }
            },
        );
    }
    for query in ["when=between", "when=between&length="] {
        checked.case(
            &format!("49 {transport:?}: an exception {query}"),
            Log::Has(&["raised between pieces"]),
            |httpd| {
                let id = format!("{}{transport:?}", query.len());
                let answer = wire
                    .curl(
                        transport,
                        &format!("/stream/fail?{query}&pause=0.3&id={id}"),
                    )
                    .run();
                broken(&answer, "first piece\n");
                assert_eq!(wait_for_event(httpd, &id, "close"), ["iter", "close"]);
                failure_in_access_log(httpd, &format!("id={id} "));
            },
        );
    }
    checked.case(
        &format!("49 {transport:?}: an exception in close()"),
        Log::Has(&["raised in close"]),
        |_| {
            let answer = wire.curl(transport, "/stream/fail?when=close").run();
            assert_eq!(answer.text(), "first piece\nsecond piece\n");
        },
    );
}

fn deaths(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    let group = format!("/fragile-{transport:?}");
    checked.case(
        &format!("46 {transport:?}: a worker killed before the head"),
        Log::Any,
        |httpd| {
            let answer = wire
                .curl(transport, &format!("{group}/crash?when=before"))
                .run();
            assert!(answer.complete() && answer.status() == 502, "{answer:?}");
            serves(httpd, &format!("{group}/pid"));
        },
    );
    let all = [
        ("", "when=later"),
        ("", "when=later&length="),
        ("/deflated", "when=later&times=2000"),
        ("/limited", "when=later&times=2000"),
        ("/proxied", "when=later"),
        ("/proxied", "when=later&length="),
        ("", "when=later&code=3"),
        ("", "when=later&signal=SIGSEGV"),
    ];
    // How it died makes no difference to the wire: once is enough.
    let some = if transport == Transport::Http1 {
        &all[..]
    } else {
        &all[..6]
    };
    for (filter, query) in some {
        checked.case(
            &format!("47/48 {transport:?}: a worker ends: {filter} {query}"),
            Log::Any,
            |httpd| {
                let curl = wire.curl(transport, &format!("{filter}{group}/crash?{query}"));
                let answer = if *filter == "/deflated" {
                    curl.args(&["--compressed"])
                } else {
                    curl
                }
                .run();
                broken(&answer, "first piece\n");
                serves(httpd, &format!("{group}/pid"));
            },
        );
    }
}

fn hangs(checked: &mut Checked, wire: &Addresses, mpm: Mpm) {
    for (when, seconds) in [("before", 2), ("later", 2)] {
        checked.case(
            &format!("50: nothing for longer than socket-timeout, {when}"),
            Log::Any,
            |_| {
                let begun = Instant::now();
                let path = format!("/brief/hang?when={when}&seconds=5");
                for (transport, answer) in by_all(wire, mpm, |wire, by| wire.curl(by, &path).run())
                {
                    if when == "before" {
                        assert!(
                            answer.complete() && answer.status() == 504,
                            "{transport:?}: {answer:?}"
                        );
                    } else {
                        broken(&answer, "first piece\n");
                    }
                }
                let took = begun.elapsed();
                assert!(
                    took > Duration::from_millis(seconds * 1000 - 500)
                        && took < Duration::from_millis(4800),
                    "{took:?}"
                );
                // Its threads are free when they wake.
                eventually("the group serves again", SOON, || {
                    (wire.curl(Transport::Http1, "/brief/pid").run().status() == 200).then_some(())
                });
            },
        );
    }
}

/// A response that began and did not end.
fn broken(answer: &Answer, first: &str) {
    assert!(
        !answer.complete(),
        "the response looks complete: {answer:?}"
    );
    assert_eq!(answer.status(), 200, "{answer:?}");
    // HTTP/2 may drop what it had when the stream is reset; what came is right.
    let text = answer.text();
    assert!(text.is_empty() || text.starts_with(first), "{answer:?}");
    assert!(
        !text.contains("<html>"),
        "a page was glued to the body: {answer:?}"
    );
}

fn failure_in_access_log(httpd: &Httpd, request: &str) {
    let line = eventually("a line of the access log", SOON, || {
        // The question for the events of the same request is logged too.
        let failed = |line: &&str| line.contains(request) && line.contains("/fail?");
        httpd.access_log().lines().find(failed).map(str::to_owned)
    });
    assert!(
        line.contains(" 502 ") && !line.contains("failure=- "),
        "the access log hides it: {line}"
    );
}

/// Waits until a group serves again.
fn serves(httpd: &Httpd, path: &str) {
    eventually(
        &format!("{path} is served again"),
        Duration::from_secs(20),
        || {
            httpd
                .client()
                .get(path)
                .ok()
                .filter(|response| response.status == 200)
        },
    );
}

#[test]
fn a_killed_supervisor_costs_nothing_by_every_transport_on_every_mpm() {
    heavy_on_every_mpm(Limit::seconds(120), move |mpm| {
        let Wire {
            site: _site,
            httpd,
            tls_port,
        } = wire(mpm);
        let wire = Addresses::of(&httpd, tls_port);
        let children = httpd.pid().children();
        let supervisor = httpd.supervisor().expect("a supervisor runs");
        assert_eq!(httpd.get("/wide/pid").status, 200);
        let asked: Vec<_> = (0..40)
            .map(|number| {
                let mut client = httpd.client();
                thread::spawn(move || {
                    client.get(&format!("/wide/marked?id=wide{number}&seconds=3"))
                })
            })
            .collect();
        let ways = &wire;
        let more: Vec<_> = transports(mpm)
            .iter()
            .flat_map(|by| {
                (0..3).map(move |number| {
                    (
                        *by,
                        ways.curl(*by, &format!("/wide/marked?id={by:?}{number}&seconds=3")),
                    )
                })
            })
            .map(|(by, curl)| (by, thread::spawn(move || curl.run())))
            .collect();
        eventually("all are at the application", SOON, || {
            let at = |id: String| !events(&httpd, "/wide", &id).is_empty();
            ((0..40).all(|number| at(format!("wide{number}")))
                && transports(mpm).iter().all(|by| at(format!("{by:?}2"))))
            .then_some(())
        });
        supervisor.kill();
        let begun = Instant::now();
        // New ones wait for the new supervisor, and none fails.
        for (by, answer) in by_all(&wire, mpm, |wire, by| wire.curl(by, "/wide/pid").run()) {
            assert_eq!(answer.status(), 200, "{by:?}: {answer:?}");
        }
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        for thread in asked {
            let response = thread
                .join()
                .expect("it does not panic")
                .expect("the worker outlives the supervisor");
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "marked\n")
            );
        }
        for (by, thread) in more {
            let answer = thread.join().expect("it does not panic");
            assert!(
                answer.complete() && answer.text() == "marked\n",
                "{by:?}: {answer:?}"
            );
        }
        assert!(httpd.supervisor().is_some_and(|new| new != supervisor));
        assert!(
            children
                .iter()
                .filter(|child| **child != supervisor)
                .all(|child| child.alive()),
            "a child ended"
        );
        assert!(
            !httpd.error_log().contains("long lost child"),
            "{}",
            httpd.error_log()
        );
        httpd.stop();
    });
}

#[test]
fn a_full_queue_answers_in_time() {
    on_every_mpm(Limit::default(), move |mpm| {
        let (_site, wire, mut checked) = wire(mpm).checked();
        checked.case(
            "52: longer in the queue than queue-timeout",
            Log::Any,
            |httpd| {
                assert_eq!(httpd.get("/narrow/pid").status, 200);
                let mut busy = Raw::connect(httpd.address());
                busy.send(get("/narrow/marked?id=long&seconds=6&name=long"));
                httpd.wait_for_running("long", SOON);
                let begun = Instant::now();
                let all = by_all(&wire, mpm, |wire, by| {
                    wire.curl(by, "/narrow/marked?id=waiting").run()
                });
                let took = begun.elapsed();
                for (by, answer) in all {
                    assert_eq!(answer.status(), 504, "{by:?}: {answer:?}");
                }
                assert!(
                    took > Duration::from_millis(1500) && took < Duration::from_millis(5500),
                    "{took:?}"
                );
                assert!(busy.wait_for("marked", SOON), "{}", busy.text());
                assert_eq!(events(httpd, "/narrow", "waiting"), Vec::<String>::new());
            },
        );
        checked.case(
            "52: more than listen-backlog",
            Log::Has(&["queue-full"]),
            |httpd| {
                assert_eq!(httpd.get("/tight/pid").status, 200);
                let mut busy = Raw::connect(httpd.address());
                busy.send(get("/tight/marked?id=long&seconds=5&name=tight"));
                httpd.wait_for_running("tight", SOON);
                // One place: whoever comes first waits there and is served, all others are sent away.
                let all = by_all(&wire, mpm, |wire, by| {
                    wire.curl(by, "/tight/marked?id=behind").run()
                });
                let refused = all
                    .iter()
                    .filter(|(_, answer)| answer.status() == 503)
                    .count();
                let served = all
                    .iter()
                    .filter(|(_, answer)| (answer.status(), &*answer.text()) == (200, "marked\n"))
                    .count();
                assert_eq!((served, refused), (1, all.len() - 1), "{all:?}");
                assert!(busy.wait_for("marked", SOON), "{}", busy.text());
                assert_eq!(events(httpd, "/tight", "behind"), ["called"]);
            },
        );
        checked.finish();
    });
}

#[test]
fn clients_that_leave_are_noticed() {
    on_every_mpm(Limit::seconds(180), move |mpm| {
        let (_site, wire, mut checked) = wire(mpm).checked();
        for transport in transports(mpm) {
            streams_without_reader(&mut checked, &wire, *transport);
        }
        leavers_by_hand(&mut checked);
        if mpm != Mpm::Prefork {
            streams_of_one_connection(&mut checked);
        }
        checked.case(
            "53: clients that leave the queue are not served",
            Log::Any,
            |httpd| {
                assert_eq!(httpd.get("/single/pid").status, 200);
                let mut busy = Raw::connect(httpd.address());
                busy.send(get("/single/marked?id=busy&seconds=4&name=busy"));
                httpd.wait_for_running("busy", SOON);
                let left = by_all(&wire, mpm, |wire, by| {
                    let curl = wire.curl(by, &format!("/single/marked?id=leaver-{by:?}"));
                    curl.args(&["--max-time", "1"]).run()
                });
                assert!(left.iter().all(|(_, answer)| answer.exit == 28), "{left:?}");
                assert!(busy.wait_for("marked", SOON), "{}", busy.text());
                assert_eq!(events(httpd, "/single", "busy"), ["called"]);
                for (by, _) in left {
                    assert_eq!(
                        events(httpd, "/single", &format!("leaver-{by:?}")),
                        Vec::<String>::new(),
                        "{by:?}"
                    );
                }
            },
        );
        checked.finish();
    });
}

fn streams_without_reader(checked: &mut Checked, wire: &Addresses, by: Transport) {
    let closed = |httpd: &Httpd, id: &str| {
        let events = wait_for_event(httpd, id, "close");
        assert_eq!(
            events.iter().filter(|event| *event == "close").count(),
            1,
            "{events:?}"
        );
        assert!(!events.contains(&"end".to_owned()), "{events:?}");
    };
    checked.case(
        &format!("53: the client leaves a quiet stream, by {by:?}"),
        Log::Quiet,
        |httpd| {
            let id = format!("quiet-{by:?}");
            let curl = wire.curl(by, &format!("/stream/timed?count=600&pause=0.05&id={id}"));
            let answer = curl.args(&["--max-time", "1"]).run();
            assert_eq!((answer.exit, answer.status()), (28, 200));
            closed(httpd, &id);
        },
    );
    checked.case(
        &format!("53: the client leaves a loud stream, by {by:?}"),
        Log::Quiet,
        |httpd| {
            let id = format!("loud-{by:?}");
            let curl = wire.curl(by, &format!("/stream/download?size=2000000000&id={id}"));
            let answer = curl.args(&["--max-time", "1", "--limit-rate", "5M"]).run();
            assert_eq!((answer.exit, answer.status()), (28, 200));
            closed(httpd, &id);
        },
    );
}

/// One stream of HTTP/2 that fails or is given up is nothing to the others.
fn streams_of_one_connection(checked: &mut Checked) {
    checked.case(
        "53: the client resets one stream of a connection",
        Log::Quiet,
        |httpd| {
            let mut h2 = H2::connect(httpd.address());
            let left = h2.get("/stream/timed?count=600&pause=0.05&id=stream");
            let other = h2.get("/stream/timed?count=20&pause=0.1");
            assert!(
                !h2.until(left, SOON, |stream| !stream.body.is_empty())
                    .body
                    .is_empty()
            );
            h2.reset(left);
            let events = wait_for_event(httpd, "stream", "close");
            assert_eq!(
                events.iter().filter(|event| *event == "close").count(),
                1,
                "{events:?}"
            );
            assert!(!events.contains(&"end".to_owned()), "{events:?}");
            let other = h2.until(other, SOON, |stream| stream.ended || stream.reset.is_some());
            assert_eq!(
                (other.ended, other.body.len(), other.reset),
                (true, 160, None),
                "the other stream"
            );
            let next = h2.get("/probe/hello");
            assert_eq!(
                h2.until(next, SOON, |stream| stream.ended).body,
                b"Hello World!",
                "the next one"
            );
        },
    );
    checked.case(
        "49: a failure resets its stream alone",
        Log::Has(&["raised between pieces"]),
        |httpd| {
            let mut h2 = H2::connect(httpd.address());
            let other = h2.get("/stream/timed?count=15&pause=0.1");
            let failing = h2.get("/stream/fail?when=between&pause=0.3");
            let failed = h2.until(failing, SOON, |stream| {
                stream.ended || stream.reset.is_some()
            });
            assert!(failed.reset.is_some() && !failed.ended, "{failed:?}");
            let other = h2.until(other, SOON, |stream| stream.ended || stream.reset.is_some());
            assert_eq!(
                (other.ended, other.body.len(), other.reset),
                (true, 120, None),
                "the other stream"
            );
            let next = h2.get("/probe/hello");
            assert_eq!(
                h2.until(next, SOON, |stream| stream.ended).body,
                b"Hello World!",
                "the next one"
            );
        },
    );
}

fn leavers_by_hand(checked: &mut Checked) {
    checked.case(
        "53: a reset in the middle of a stream",
        Log::Quiet,
        |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(get("/stream/download?size=500000000&id=reset"));
            assert!(raw.wait_for("HTTP/1.1 200", SOON));
            raw.reset();
            assert!(!wait_for_event(httpd, "reset", "close").contains(&"end".to_owned()));
        },
    );
    checked.case("53: write() to a client that left", Log::Any, |httpd| {
        let mut raw = Raw::connect(httpd.address());
        raw.send(get("/stream/writes?count=10000&id=writes"));
        assert!(raw.wait_for("HTTP/1.1 200", SOON));
        raw.reset();
        let events = eventually("the end of the writes", SOON, || {
            let events = events(httpd, "/stream", "writes");
            (!events.is_empty()).then_some(events)
        });
        assert!(events[0].starts_with("write: "), "{events:?}");
    });
}
