//! What the supervisor knows of generations of httpd's children, and when one ends.

use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_tests::{Httpd, Limit, Mpm, Site, at_once, case, eventually};

use crate::server::{SOON, builder, running, worker};

/// The httpd generations whose children the supervisor takes to be there.
fn generations(httpd: &Httpd) -> Vec<u64> {
    httpd
        .status()
        .supervisor
        .expect("root sees all")
        .generations
}

/// Nothing of a generation that has no children is kept, in whatever way they went.
#[test]
fn a_site_that_is_taken_out_after_hard_restarts_ends() {
    const HUP: Signal = Signal::SIGHUP;
    const USR1: Signal = Signal::SIGUSR1;
    for mpm in [Mpm::Event, Mpm::Prefork] {
        let orders = [
            &[HUP, USR1][..],
            &[HUP, HUP, USR1, HUP],
            &[USR1, HUP, HUP],
            &[USR1, USR1, HUP, USR1],
        ];
        at_once(Limit::seconds(120), orders, move |order| {
            let site = Site::new();
            let mut httpd = builder(
                mpm,
                &site,
                &[("shop", "processes=1"), ("blog", "processes=1")],
            )
            .start();
            let shop = worker(&httpd, "shop");
            let blog = worker(&httpd, "blog");
            let (last, before) = order.split_last().expect("there are restarts");
            for signal in before {
                if *signal == HUP {
                    httpd.hup()
                } else {
                    httpd.graceful()
                }
                assert_eq!(
                    (worker(&httpd, "shop"), worker(&httpd, "blog")),
                    (shop, blog)
                );
            }
            httpd.configure(|lines| lines.retain(|line| !line.contains("blog")));
            // Children that do not end by themselves.
            httpd
                .pid()
                .children()
                .into_iter()
                .filter(|child| Some(*child) != httpd.supervisor())
                .for_each(|child| {
                    child.kill();
                });
            if *last == HUP {
                httpd.hup()
            } else {
                httpd.graceful()
            }
            let limit = Duration::from_secs(5);
            let left = eventually("the end of the site", limit, || {
                let workers = httpd.workers();
                (workers.len() == 1).then_some(workers)
            });
            assert_eq!(i64::from(left[0].number), shop, "{mpm:?} {order:?}");
            eventually("one generation", limit, || {
                (generations(&httpd).len() == 1).then_some(())
            });
            assert_eq!(worker(&httpd, "shop"), shop);
            httpd.stop();
        });
    }
}

/// A new supervisor knows the children of before, who go on with what they have.
#[test]
fn a_supervisor_that_is_killed_knows_the_children_of_a_graceful_restart_again() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let httpd = builder(Mpm::Event, &site, &[("site", "processes=1 threads=4")]).start();
        let slow = running(&httpd, "site", 6);
        let upload = {
            // Its body ends, and so its worker is looked for, after both.
            let mut raw = wsgid_tests::Raw::connect(httpd.address());
            raw.send("POST /site/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
            raw
        };
        httpd.graceful();
        let before = httpd.supervisor().expect("a supervisor runs");
        before.kill();
        eventually("another supervisor", SOON, || {
            httpd.supervisor().filter(|pid| *pid != before)
        });
        eventually("both generations", SOON, || {
            (generations(&httpd).len() == 2).then_some(())
        });
        let mut upload = upload;
        upload.send("cd");
        assert!(upload.wait_for("abcd", SOON), "{}", upload.text());
        let _ = slow.join();
        eventually("one generation", SOON, || {
            (generations(&httpd).len() == 1).then_some(())
        });
        httpd.stop();
    });
}
