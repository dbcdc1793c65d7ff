//! What breaks: applications that raise or hang, workers and supervisors that
//! die, queues that are full, clients that leave. A failure in the middle must
//! never look like the end, to no client, behind no filter and no proxy.

mod absent;
mod leavers;
mod middle;
mod nested;
mod refusals;
mod server;

use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{Limit, Log, Raw, Wire, eventually, heavy_on_every_mpm, on_every_mpm};

use crate::server::{SOON, by_all, events, get, wire};

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
