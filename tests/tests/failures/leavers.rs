//! Clients that leave: their requests are not served, or end.

use wsgid_tests::h2::H2;
use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{Checked, Httpd, Limit, Log, Mpm, Raw, Transport, eventually, on_every_mpm};

use crate::server::{SOON, by_all, events, get, wait_for_event, wire};

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
