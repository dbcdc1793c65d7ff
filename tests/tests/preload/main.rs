//! `preload=On`: the application is loaded once, workers are forked from the
//! process that has done it, and everything else is as it is without.

mod processes;
mod server;

use std::fs;
use std::time::{Duration, Instant};

use wsgid_protocol::status::PreloaderState;
use wsgid_tests::{Httpd, Limit, Load, Pid, Python, Site, case, eventually, heavy_case, note};

use crate::server::{SLOW, SOON, loads, preloader, ready, serve, site};

/// Bytes that belong to this process alone.
fn private(pid: Pid) -> u64 {
    let text =
        fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.number)).expect("the worker runs");
    let parts = text.lines().filter(|line| line.starts_with("Private_"));
    parts
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>()
        * 1024
}

#[test]
fn it_loads_once_shares_memory_and_is_back_in_milliseconds() {
    heavy_case(Limit::default(), || {
        let plain_site = site(SLOW);
        let plain = serve(&plain_site, "processes=3 threads=2");
        let alone = ready(&plain, 3)
            .into_iter()
            .map(private)
            .min()
            .expect("three workers");
        assert_eq!(loads(&plain_site), 3);
        plain.stop();

        let site = site(SLOW);
        let httpd = serve(&site, "processes=3 threads=2 preload=On");
        let workers = ready(&httpd, 3);
        assert_eq!(loads(&site), 1);
        let supervisor = httpd.supervisor().expect("it runs");
        assert!(
            workers
                .iter()
                .all(|worker| supervisor.children().contains(worker)),
            "{workers:?}"
        );
        let shared = workers
            .iter()
            .copied()
            .map(private)
            .max()
            .expect("three workers");
        note(&format!(
            "private memory of a worker: {} KiB, without preload {} KiB",
            shared >> 10,
            alone >> 10
        ));
        assert!(shared * 2 < alone, "{shared} of {alone}");

        let before = preloader(&httpd);
        let mut client = httpd.client();
        assert!(
            client
                .get("/")
                .expect("an answer")
                .text()
                .starts_with("one")
        );
        let begun = Instant::now();
        workers[0].kill();
        let back = eventually("another worker", SOON, || {
            let now = httpd.ready_workers();
            (now.len() == 3 && !now.contains(&workers[0])).then(|| begun.elapsed())
        });
        note(&format!(
            "a killed worker was replaced after {} ms",
            back.as_millis()
        ));
        assert!(
            back < Duration::from_millis(1400),
            "{back:?}: as long as it takes to load the application"
        );
        assert_eq!((loads(&site), preloader(&httpd)), (1, before));
        httpd.stop();
    });
}

#[test]
fn a_reload_forks_from_a_new_preloader_and_a_broken_one_changes_nothing() {
    heavy_case(Limit::default(), || {
        let script = |text: &str| SLOW.replace("1.5", "0.1").replace("one", text);
        let site = site(&script("one"));
        let httpd = serve(&site, "processes=2 threads=3 preload=On");
        let old = ready(&httpd, 2);
        let before = preloader(&httpd);
        let running = Load::new(httpd.address(), "/", 8).start();
        running.wait_for_more(100);
        site.write("app.py", &script("two"));
        let mut client = httpd.client();
        eventually("the new text", SOON, || {
            client
                .get("/")
                .ok()?
                .text()
                .starts_with("two")
                .then_some(())
        });
        running.wait_for_more(100);
        let new = ready(&httpd, 2);
        assert!(new.iter().all(|worker| !old.contains(worker)));
        let after = preloader(&httpd);
        assert!(
            after != before && !before.alive(),
            "the old preloader has gone"
        );
        assert_eq!(loads(&site), 2);

        site.write("app.py", "raise ValueError('half-written')\n");
        httpd.wait_for_log("ValueError: half-written", SOON);
        httpd.wait_for_log("was given up, the old ones serve on", SOON);
        running.wait_for_more(200);
        running.stop().assert_clean();
        assert!(httpd.get("/").text().starts_with("two"));
        site.write("app.py", &script("three"));
        eventually("the mended text", SOON, || {
            httpd.get("/").text().starts_with("three").then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_dead_preloader_is_replaced_and_workers_live_on() {
    heavy_case(Limit::default(), || {
        let site = site(&SLOW.replace("1.5", "0.1"));
        let httpd = serve(&site, "processes=2 threads=2 preload=On");
        let workers = ready(&httpd, 2);
        let first = preloader(&httpd);
        first.kill();
        let second = eventually("another preloader", SOON, || {
            httpd.preloader().filter(|new| *new != first)
        });
        assert_eq!(ready(&httpd, 2), workers);
        assert!(httpd.get("/").text().starts_with("one"));
        workers[0].kill();
        eventually("a worker forked from it", SOON, || {
            let now = httpd.ready_workers();
            (now.len() == 2 && !now.contains(&workers[0])).then_some(())
        });
        assert_eq!((loads(&site), preloader(&httpd)), (2, second));
        httpd.stop();
    });
}

#[test]
fn a_thread_at_import_means_plain_workers_and_a_line_that_names_it() {
    case(Limit::default(), || {
        let site = site(
            "import os, threading, time\n\
             threading.Thread(target=time.sleep, args=(999,), name='the-poller', daemon=True).start()\n\
             def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'plain']\n",
        );
        let httpd = serve(&site, "processes=2 threads=2 preload=On");
        ready(&httpd, 2);
        assert_eq!(httpd.get("/").text(), "plain");
        let line = httpd.wait_for_log("preload=On has no effect", SOON);
        assert!(line.contains("`the-poller`"), "{line}");
        assert!(httpd.preloader().is_none());
        httpd.stop();
    });
}

#[test]
fn what_fails_to_load_is_shown_and_mended_without_a_restart() {
    case(Limit::default(), || {
        let site = site("raise ValueError('not today')\n");
        let httpd = serve(&site, "processes=2 threads=2 preload=On");
        assert_eq!(httpd.get("/").status, 500);
        httpd.wait_for_log("ValueError: not today", SOON);
        site.write(
            "app.py",
            "def application(e, s):\n    s('200 OK', [])\n    return [b'mended']\n",
        );
        eventually("the mended script", SOON, || {
            (httpd.get("/").status == 200).then_some(())
        });
        eventually("all of it", SOON, || {
            (0..10).all(|_| httpd.get("/").status == 200).then_some(())
        });
        assert!(httpd.preloader().is_some());
        httpd.stop();

        // It ends the process that loads it: plain workers show how.
        let site = self::site("import os\nos._exit(9)\n");
        let httpd = serve(&site, "processes=1 threads=2 preload=On restart-burst=2");
        assert_eq!(httpd.get("/").status, 503);
        httpd.wait_for_log("exited with code 9", SOON);
        httpd.stop();
    });
}

#[test]
fn every_python_forks() {
    heavy_case(Limit::default(), || {
        let mut builder = Httpd::builder();
        let site = site(&SLOW.replace("1.5", "0").replace(
            "open(__file__ + \".count\", \"a\")",
            "open(os.devnull, \"a\")",
        ));
        let pythons = Python::all();
        assert!(!pythons.is_empty());
        for (number, python) in pythons.iter().enumerate() {
            let home = python.venv(&[]).display().to_string();
            builder = builder
                .daemon(
                    &format!("site{number}"),
                    &format!("processes=2 threads=2 preload=On python-home={home}"),
                )
                .mount(
                    &format!("/{number}"),
                    &site.file("app.py"),
                    &format!("site{number}"),
                );
        }
        let httpd = builder.start();
        ready(&httpd, 2 * pythons.len());
        for pool in httpd.pools() {
            let preloader = pool.preloader.as_ref().expect("with preload=On");
            assert_eq!(preloader.state, PreloaderState::Ready, "{pool:?}");
        }
        for number in 0..pythons.len() {
            assert!(httpd.get(&format!("/{number}")).text().starts_with("one"));
        }
        httpd.stop();
    });
}

fn hello(text: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
    )
}

/// Scripts that no directive ties to both groups are known once a worker has
/// loaded them, whatever `preload` says.
#[test]
fn a_script_loaded_for_a_request_is_not_replaced_by_one_that_fails() {
    heavy_case(Limit::default(), || {
        for preload in ["Off", "On"] {
            let site = Site::new();
            let first = site.write("first.py", &hello("one"));
            let second = site.write("second.py", &hello("one"));
            let httpd = Httpd::builder()
                .daemon("site", &format!("processes=1 threads=2 preload={preload}"))
                .line("WSGIProcessGroup site\nWSGIApplicationGroup %{GLOBAL}")
                .mount_with("/first", &first, "")
                .mount_with("/second", &second, "")
                .start();
            assert_eq!(
                (httpd.get("/first").text(), httpd.get("/second").text()),
                ("one".into(), "one".into())
            );
            let worker = ready(&httpd, 1);
            site.write("second.py", "raise ValueError('half-written')\n");
            let given_up = || {
                httpd
                    .error_log()
                    .matches("was given up, the old ones serve on")
                    .count()
            };
            eventually("the end of the new generation", SOON, || {
                assert_eq!(httpd.get("/second").text(), "one");
                (given_up() == 1).then_some(())
            });
            httpd.wait_for_log("half-written", SOON);
            assert_eq!(
                (httpd.get("/second").text(), ready(&httpd, 1)),
                ("one".into(), worker.clone())
            );
            site.write("second.py", &hello("two"));
            eventually("the mended script", SOON, || {
                (httpd.get("/second").text() == "two").then_some(())
            });

            // One that ends the process is no better.
            site.write("second.py", "import os\nos._exit(7)\n");
            eventually("the end of all tries", SOON, || {
                assert_eq!(httpd.get("/second").text(), "two");
                (given_up() == 2).then_some(())
            });
            assert_eq!(httpd.get("/second").text(), "two");

            // One that has gone stands in nobody's way.
            fs::remove_file(&second).expect("it is there");
            site.write("first.py", &hello("three"));
            eventually("the other script", SOON, || {
                (httpd.get("/first").text() == "three").then_some(())
            });
            httpd.stop();
        }
    });
}
