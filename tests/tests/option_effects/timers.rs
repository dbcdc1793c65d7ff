//! Every timer works whatever the others are set to: one server with a group
//! for each, all others far away, all tried at the same time.

use std::thread;
use std::time::{Duration, Instant};

use wsgid_protocol::status::GroupStatus;
use wsgid_tests::{Client, Httpd, Limit, Site, control, eventually, heavy_case};

use crate::{SOON, pid};

/// All timers of a group, set to what never comes in a test.
const FAR: &[&str] = &[
    "startup-timeout=500",
    "queue-timeout=500",
    "connect-timeout=500",
    "socket-timeout=500",
    "request-timeout=500",
    "interrupt-timeout=500",
    "deadlock-timeout=500",
    "inactivity-timeout=500",
    "graceful-timeout=500",
    "eviction-timeout=500",
    "shutdown-timeout=500",
    "restart-interval=500",
    "idle-stop=500",
];

type Trial = (&'static str, &'static str, fn(&Httpd, &str));

/// A group, its timers beside all those far away, and what has to happen.
const TRIALS: &[Trial] = &[
    (
        "request",
        "threads=1 request-timeout=1 interrupt-timeout=1 shutdown-timeout=1 graceful-timeout=1",
        |httpd, at| {
            ends(httpd, &format!("{at}/sleep?seconds=60"), 504, 1.0..9.0);
        },
    ),
    ("interrupt", "threads=1 request-timeout=1", |httpd, at| {
        let before = pid(httpd, at);
        ends(httpd, &format!("{at}/spin?seconds=60"), 504, 1.0..9.0);
        assert_eq!(pid(httpd, at), before, "the process survives");
    }),
    ("rule", "threads=8 request-timeout=1", |httpd, at| {
        // 1 + ln(8) is 3.1.
        ends(httpd, &format!("{at}/spin?seconds=60"), 504, 2.8..12.0);
    }),
    (
        "inactivity",
        "threads=1 inactivity-timeout=1",
        |httpd, at| {
            let before = pid(httpd, at);
            gone(httpd, before);
        },
    ),
    ("interval", "threads=1 restart-interval=1", |httpd, at| {
        let before = pid(httpd, at);
        gone(httpd, before);
    }),
    ("queue", "threads=1 queue-timeout=1", |httpd, at| {
        // The start of a worker counts as waiting, too.
        eventually("a ready worker", SOON, || {
            (get(httpd, &format!("{at}/pid")) == 200).then_some(())
        });
        let busy = spawn(httpd, format!("{at}/sleep?seconds=6"));
        eventually("a running request", SOON, || {
            running(httpd, at).then_some(())
        });
        ends(httpd, &format!("{at}/pid"), 504, 0.9..4.5);
        assert_eq!(busy.join().expect("no panic"), 200);
    }),
    ("deadlock", "threads=2 deadlock-timeout=1", |httpd, at| {
        ends(httpd, &format!("{at}/lock?seconds=60"), 504, 1.0..12.0);
    }),
    ("idle", "threads=1 idle-stop=1", |httpd, at| {
        assert!(pid(httpd, at) > 0);
        eventually("no worker", SOON, || no_worker(httpd, at));
    }),
    // A replacement for idleness is as idle as the one that it replaced.
    (
        "both",
        "threads=1 idle-stop=3 inactivity-timeout=1",
        |httpd, at| {
            assert!(pid(httpd, at) > 0);
            eventually("no worker", SOON, || no_worker(httpd, at));
        },
    ),
    (
        "young",
        "threads=1 idle-stop=3 restart-interval=1",
        |httpd, at| {
            assert!(pid(httpd, at) > 0);
            eventually("no worker", SOON, || no_worker(httpd, at));
        },
    ),
    // None of them is meant for a request that runs.
    (
        "long",
        "threads=2 idle-stop=1 inactivity-timeout=1 restart-interval=2 deadlock-timeout=1",
        |httpd, at| {
            ends(httpd, &format!("{at}/sleep?seconds=5"), 200, 5.0..12.0);
        },
    ),
    (
        "graceful",
        "threads=1 graceful-timeout=1 shutdown-timeout=1 eviction-timeout=500",
        |httpd, at| {
            let busy = spawn(httpd, format!("{at}/sleep?seconds=60"));
            eventually("a running request", SOON, || {
                running(httpd, at).then_some(())
            });
            let begun = Instant::now();
            assert_eq!(
                control::command(httpd, &["restart", name(at)]).map(|said| said.code),
                Some(0)
            );
            assert_eq!(busy.join().expect("no panic"), 502);
            assert!(
                begun.elapsed() >= Duration::from_secs(1)
                    && begun.elapsed() < Duration::from_secs(12)
            );
        },
    ),
];

fn name(at: &str) -> &str {
    at.trim_start_matches('/')
}

fn no_worker(httpd: &Httpd, at: &str) -> Option<()> {
    control::workers(httpd, name(at))?.is_empty().then_some(())
}

fn get(httpd: &Httpd, path: &str) -> u16 {
    Client::new(httpd.address())
        .timeout(Duration::from_secs(60))
        .get(path)
        .map_or(0, |response| response.status)
}

fn spawn(httpd: &Httpd, path: String) -> thread::JoinHandle<u16> {
    let address = httpd.address();
    thread::spawn(move || {
        Client::new(address)
            .timeout(Duration::from_secs(60))
            .get(&path)
            .map_or(0, |response| response.status)
    })
}

fn ends(httpd: &Httpd, path: &str, status: u16, within: std::ops::Range<f64>) {
    let begun = Instant::now();
    let got = get(httpd, path);
    let took = begun.elapsed().as_secs_f64();
    assert!(
        got == status && within.contains(&took),
        "{path}: status {got} after {took:.1} s"
    );
}

fn gone(httpd: &Httpd, pid: u64) {
    let pid = i32::try_from(pid).ok().and_then(wsgid_tests::Pid::current);
    eventually("the end of the worker", SOON, || {
        pid.is_none_or(|pid| !pid.alive()).then_some(())
    });
    assert!(httpd.supervisor().is_some());
}

fn running(httpd: &Httpd, at: &str) -> bool {
    let status = control::status(httpd).unwrap_or_default();
    let mut workers = status
        .group(name(at))
        .into_iter()
        .flat_map(GroupStatus::workers);
    workers.any(|worker| worker.in_flight == 1)
}

#[test]
fn every_timer_works_whatever_the_others_are_set_to() {
    heavy_case(Limit::seconds(120), || {
        let site = Site::new();
        let mut builder = Httpd::builder();
        for (name, options, _) in TRIALS {
            let set = |far: &&&str| {
                let option = far.split('=').next().unwrap_or_default();
                !options
                    .split(' ')
                    .any(|own| own.split('=').next() == Some(option))
            };
            let far: Vec<&str> = FAR.iter().filter(set).copied().collect();
            builder = builder
                .daemon(
                    name,
                    &format!("{options} {} {}", far.join(" "), site.python_path()),
                )
                .mount(&format!("/{name}"), &site.file("option_cases.py"), name);
        }
        let httpd = builder.start();
        thread::scope(|scope| {
            let trials: Vec<_> = TRIALS
                .iter()
                .map(|(name, _, trial)| {
                    let httpd = &httpd;
                    (name, scope.spawn(move || trial(httpd, &format!("/{name}"))))
                })
                .collect();
            let failed: Vec<_> = trials
                .into_iter()
                .filter_map(|(name, trial)| {
                    let cause = trial.join().err()?;
                    Some(format!("{name}: {:?}", cause.downcast_ref::<String>()))
                })
                .collect();
            assert!(failed.is_empty(), "{failed:#?}");
        });
    });
}
