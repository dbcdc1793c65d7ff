//! Restarts of httpd: under load, in the middle of requests, with groups that
//! change or go, with configurations and artifacts that are new or broken.

mod churn;
mod generations;
mod server;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::{
    Httpd, Limit, Load, Mpm, Site, case, eventually, heavy_on_every_mpm, on_every_mpm, users,
};

use crate::server::{HELLO, SOON, builder, running, worker};

#[test]
fn twenty_graceful_restarts_under_load_on_every_mpm() {
    heavy_on_every_mpm(Limit::seconds(240), move |mpm| {
        let site = Site::new();
        let httpd = builder(mpm, &site, &[("site", "processes=2 threads=5")]).start();
        let load =
            |connections| Load::new(httpd.address(), "/site/hello", connections).expect(HELLO);
        load(8).run_for(Duration::from_millis(500)).assert_clean();
        let workers = httpd.wait_for_workers(2, SOON);
        let supervisor = httpd.supervisor().expect("a supervisor runs");
        let fresh = load(6).fresh_connections().start();
        let measured = |httpd: &Httpd| (httpd.pid().descriptors().len(), httpd.pid().resident());
        let mut before = (0, 0);
        for round in 0..20 {
            httpd.graceful();
            fresh.wait_for_more(10);
            if round == 4 {
                before = measured(&httpd);
            }
        }
        fresh.stop().assert_clean();
        assert_eq!(httpd.workers(), workers, "the same processes serve");
        assert_eq!(httpd.supervisor(), Some(supervisor));
        let after = measured(&httpd);
        assert!(
            after.0 <= before.0,
            "descriptors of the parent: {} after five, {} after twenty",
            before.0,
            after.0
        );
        let grown = after.1.saturating_sub(before.1);
        assert!(
            grown < 2 << 20,
            "the parent grew by {} KiB in 15 restarts",
            grown >> 10
        );
        httpd.stop();
    });
}

#[test]
fn changes_reach_only_whom_they_concern_and_requests_end() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let site = Site::new();
        let groups = [
            ("steady", "threads=2"),
            ("changed", "threads=2"),
            ("removed", "threads=2"),
        ];
        let mut httpd = builder(mpm, &site, &groups).start();
        let pids = groups.map(|(name, _)| worker(&httpd, name));
        let in_flight = groups.map(|(name, _)| running(&httpd, name, 4));
        httpd.configure(|lines| {
            let line = lines
                .iter_mut()
                .find(|line| line.contains("Process changed"))
                .expect("it is configured");
            *line = line.replace("threads=2", "threads=4");
            lines.retain(|line| {
                !line.contains("Process removed") && !line.contains("Alias /removed")
            });
        });
        httpd.graceful();
        eventually("a new worker of the changed group", SOON, || {
            (worker(&httpd, "changed") != pids[1]).then_some(())
        });
        assert_eq!(worker(&httpd, "steady"), pids[0]);
        assert_eq!(httpd.get("/removed/hello").status, 404);
        for (thread, (name, _)) in in_flight.into_iter().zip(groups) {
            let answer = thread.join().expect("it does not panic");
            let response =
                answer.unwrap_or_else(|error| panic!("the request of `{name}`: {error}"));
            assert_eq!(response.status, 200, "{name}: {}", response.text());
        }
        // The old worker of the changed group and the one of the removed group have gone.
        httpd.wait_for_workers(2, SOON);
        assert_eq!(worker(&httpd, "steady"), pids[0]);
        httpd.stop();
    });
}

#[test]
fn a_restart_does_not_wait_for_a_long_request() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let site = Site::new();
        let httpd = builder(mpm, &site, &[("site", "threads=4")]).start();
        let supervisor = httpd.supervisor();
        let pid = worker(&httpd, "site");
        let long: Vec<_> = (0..2).map(|_| running(&httpd, "site", 60)).collect();
        let begun = Instant::now();
        httpd.hup();
        assert_eq!(httpd.get("/site/hello").text(), HELLO);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(10), "the restart took {took:?}");
        assert_eq!(
            (httpd.supervisor(), worker(&httpd, "site")),
            (supervisor, pid),
            "the same ones serve"
        );
        for thread in long {
            // Their connections were httpd's, which has gone: no complete 200.
            let answer = thread.join().expect("it does not panic");
            assert!(
                answer
                    .as_ref()
                    .map_or(true, |response| response.status >= 500),
                "{answer:?}"
            );
        }
        httpd.stop();
    });
}

#[test]
fn a_broken_configuration_changes_nothing_else() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let site = Site::new();
        let mut httpd = builder(
            mpm,
            &site,
            &[("steady", "threads=2"), ("broken", "threads=2")],
        )
        .start();
        let supervisor = httpd.supervisor();
        let steady = worker(&httpd, "steady");
        let broken = worker(&httpd, "broken");
        // What httpd's own test refuses is never tried: the server goes on.
        let good = fs::read_to_string(httpd.root().join("httpd.conf")).expect("it is there");
        for wrong in [
            "WSGIDaemonProcess steady threads=0x",
            "WSGIRestrictProcess",
            "WSGINonsense On",
        ] {
            httpd.configure(|lines| lines.push(wrong.to_owned()));
            let said = httpd.check();
            assert!(
                !said.ok && !said.text.contains("panicked"),
                "{wrong}: {}",
                said.text
            );
            httpd.configure(|lines| lines.truncate(lines.len() - 1));
        }
        assert_eq!(
            fs::read_to_string(httpd.root().join("httpd.conf")).expect("it is there"),
            good
        );
        assert_eq!(
            (worker(&httpd, "steady"), worker(&httpd, "broken")),
            (steady, broken)
        );
        // What only shows when it is tried concerns its own group.
        let set = |httpd: &mut Httpd, from: &str, to: &str| {
            httpd.configure(|lines| {
                let line = lines
                    .iter_mut()
                    .find(|line| line.contains("Process broken"))
                    .expect("it is configured");
                *line = line.replace(from, to);
            });
            httpd.graceful();
        };
        set(
            &mut httpd,
            "threads=2",
            "threads=2 queue-timeout=3 python-home=/nonexistent",
        );
        httpd.wait_for_log("/nonexistent", SOON);
        let answer = httpd.get("/broken/hello");
        assert!(answer.text() == HELLO || answer.status >= 500, "{answer:?}");
        assert_eq!(worker(&httpd, "steady"), steady);
        set(&mut httpd, " queue-timeout=3 python-home=/nonexistent", "");
        eventually("the mended group serves", SOON, || {
            (httpd.get("/broken/hello").text() == HELLO).then_some(())
        });
        assert_eq!(
            (httpd.supervisor(), worker(&httpd, "steady")),
            (supervisor, steady)
        );
        httpd.stop();
    });
}

#[test]
fn artifacts_that_are_replaced_while_they_run() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let mut builder = builder(Mpm::Event, &site, &[("site", "processes=1 threads=4")]);
        let artifacts = builder.copied_artifacts();
        let httpd = builder.start();
        assert_eq!(httpd.get("/site/hello").text(), HELLO);
        let supervisor = httpd.supervisor();
        // As a package manager does: a new file under the old name.
        for name in ["wsgid", "libmod_wsgid.so", "libwsgid_worker.so"] {
            let old = artifacts.join(name);
            let new = artifacts.join("new");
            fs::copy(&old, &new).expect("it can be copied");
            fs::rename(&new, &old).expect("it can be replaced");
        }
        assert_eq!(httpd.get("/site/hello").text(), HELLO);
        let pid = worker(&httpd, "site");
        for _ in 0..3 {
            httpd.graceful();
            assert_eq!(
                worker(&httpd, "site"),
                pid,
                "a new module talks to the running supervisor"
            );
        }
        // A worker that the running supervisor starts is of the supervisor's own version.
        httpd.workers()[0].kill();
        eventually("a new worker", SOON, || {
            (httpd.client().get("/site/hello").ok()?.text() == HELLO).then_some(())
        });
        assert_ne!(worker(&httpd, "site"), pid);
        assert_eq!(httpd.supervisor(), supervisor);
        // Without its files the supervisor that runs still starts workers; a stop is clean.
        for name in ["wsgid", "libwsgid_worker.so"] {
            fs::remove_file(artifacts.join(name)).expect("it was there");
        }
        httpd.workers()[0].kill();
        eventually("a new worker", SOON, || {
            (httpd.client().get("/site/hello").ok()?.text() == HELLO).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_stop_waits_for_requests_only_if_it_is_graceful() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let site = Site::new();
        let options = "processes=2 threads=2 shutdown-timeout=2";
        let httpd = builder(mpm, &site, &[("site", options)])
            .line("GracefulShutDownTimeout 20")
            .start();
        httpd.wait_for_workers(2, SOON);
        let running = running(&httpd, "site", 3);
        let all = httpd.pid().descendants();
        httpd.pid().signal(Signal::SIGWINCH);
        let answer = running
            .join()
            .expect("it does not panic")
            .expect("a graceful stop waits");
        assert_eq!(answer.status, 200);
        eventually("the end of all processes", SOON, || {
            all.iter().all(|pid| !pid.alive()).then_some(())
        });
        httpd.stop();

        let httpd = builder(mpm, &site, &[("site", options)]).start();
        httpd.wait_for_workers(2, SOON);
        let stuck = self::running(&httpd, "site", 600);
        let begun = Instant::now();
        // Asserts that no process and no socket is left.
        httpd.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(12),
            "{:?}",
            begun.elapsed()
        );
        let answer = stuck.join().expect("it does not panic");
        assert!(
            answer
                .as_ref()
                .map_or(true, |response| response.status >= 500),
            "{answer:?}"
        );
    });
}

#[test]
fn other_users_and_one_process_alone() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let site = Site::new();
        let httpd = builder(mpm, &site, &[("site", "processes=2 threads=2")])
            .one_process()
            .start();
        assert_eq!(httpd.get("/site/hello").text(), HELLO, "-X");
        let first = worker(&httpd, "site");
        httpd
            .wait_for_workers(2, SOON)
            .into_iter()
            .for_each(|worker| worker.kill());
        eventually("a new worker", SOON, || {
            (httpd.client().get("/site/hello").ok()?.text() == HELLO).then_some(())
        });
        assert_ne!(worker(&httpd, "site"), first);
        // The process that does all is not root at its end: the supervisor removes its sockets.
        let all = httpd.pid().descendants();
        httpd.pid().signal(Signal::SIGTERM);
        eventually("the end of all processes", SOON, || {
            all.iter().all(|pid| !pid.alive()).then_some(())
        });
        assert_eq!(httpd.sockets(), Vec::<PathBuf>::new());
        drop(httpd);

        let Some([user, ..]) = users::three() else {
            return;
        };
        let httpd = builder(mpm, &site, &[("site", "processes=1 threads=2")])
            .started_by(user)
            .start();
        let info = httpd.get("/site/info").json();
        assert_eq!(
            info["uid"],
            serde_json::json!([user.uid, user.uid, user.uid]),
            "without root"
        );
        let supervisor = httpd.supervisor();
        httpd.graceful();
        assert_eq!(
            (worker(&httpd, "site"), httpd.supervisor()),
            (info["pid"].as_i64().unwrap_or(0), supervisor)
        );
        httpd.stop();
    });
}
