//! What breaks in the middle of a response is seen by every client.

use std::time::{Duration, Instant};

use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{Answer, Checked, Httpd, Limit, Log, Mpm, Transport, eventually, on_every_mpm};

use crate::server::{SOON, by_all, serves, wait_for_event, wire};

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
