//! What is counted of each process group, as `?openmetrics` says it: it is what clients
//! saw, and it never falls, whatever becomes of workers and supervisors.

mod counts;
mod scraper;

use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_tests::{Httpd, Limit, Load, Mpm, Pid, Site, case, control, eventually, heavy_case};

use crate::scraper::{Scraper, scrape};

const SOON: Duration = Duration::from_secs(30);

/// Takes long enough to be met by a signal.
const STEADY: &str = "import time\ndef application(environ, start_response):\n    time.sleep(0.02)\n    \
                      start_response('200 OK', [('Content-Length', '5')])\n    return [b'hello']\n";

const STATUS: &str =
    "<Location /groups>\nSetHandler wsgid-status\nRequire all granted\n</Location>";

fn server(site: &Site, options: &str) -> Httpd {
    let script = site.write("steady.py", STEADY);
    Httpd::builder()
        .mpm(Mpm::Event)
        .daemon("site", &format!("{options} {}", site.python_path()))
        .mount("/site", &script, "site")
        .line(STATUS)
        .start()
}

/// Workers are killed and recycled, generations replaced, supervisors replaced and killed,
/// httpd reloaded, while clients count and somebody scrapes five times a second.
#[test]
fn totals_are_what_clients_counted_and_never_fall() {
    heavy_case(Limit::seconds(300), || {
        let site = Site::new();
        let httpd = server(&site, "processes=2 threads=4 maximum-requests=20");
        assert_eq!(httpd.get("/site").status, 200);
        let before = scrape(&httpd);
        let scraper = Scraper::start(&httpd);
        let load = Load::new(httpd.address(), "/site", 6)
            .expect("hello")
            .start();
        for _ in 0..3 {
            load.wait_for_more(60);
            let worker = eventually("a worker", SOON, || httpd.ready_workers().pop());
            worker.signal(Signal::SIGKILL);
        }
        load.wait_for_more(60);
        let _ = httpd.wsgid(&["restart", "site"]);
        load.wait_for_more(100);
        let _ = httpd.wsgid(&["reexec"]);
        load.wait_for_more(60);
        httpd.graceful();
        load.wait_for_more(60);
        kill_supervisor(&httpd);
        load.wait_for_more(60);
        eventually(
            "fifty recycles, a thousand requests",
            Duration::from_secs(200),
            || {
                let now = scrape(&httpd);
                let recycled = now.of("wsgid_restarts_total", "maximum-requests");
                (recycled >= 50.0 && load.finished() >= 1000).then_some(())
            },
        );
        let tally = load.stop();
        let scrapes = scraper.stop();
        assert!(scrapes >= 50, "{scrapes} scrapes");
        // What has just been answered is counted a moment later, its failure after that.
        let asked = tally.ok + tally.failed();
        let after = eventually("all requests", SOON, || {
            let after = scrape(&httpd);
            let sum = |name| after.sum(name) - before.sum(name);
            let is_all = sum("wsgid_requests_total") >= asked as f64
                && sum("wsgid_failures_total") >= tally.failed() as f64;
            is_all.then_some(after)
        });
        let grew = |name: &str, label: &str| after.of(name, label) - before.of(name, label);
        assert_eq!(
            grew("wsgid_requests_total", "2xx"),
            tally.ok as f64,
            "{tally:?}"
        );
        let failed = |status: &str| tally.of_kind(&format!("status {status}"));
        let server_errors = (failed("502") + failed("503")) as f64;
        assert_eq!(
            grew("wsgid_requests_total", "5xx"),
            server_errors,
            "{tally:?}"
        );
        assert_eq!(server_errors, tally.failed() as f64, "{tally:?}");
        // Each of them has its cause.
        let failures = after.sum("wsgid_failures_total") - before.sum("wsgid_failures_total");
        assert_eq!(failures, server_errors, "{}", httpd.error_log());
        assert!(grew("wsgid_failures_total", "worker-signalled") >= 1.0);
        assert_eq!(grew("wsgid_restarts_total", "signalled"), 3.0);
        for histogram in [
            "wsgid_request_duration_seconds",
            "wsgid_request_queue_seconds",
        ] {
            let name = format!("{histogram}_count");
            let all = after.sum(&name) - before.sum(&name);
            let expected = if histogram.contains("queue") {
                tally.ok
            } else {
                asked
            };
            assert_eq!(all, expected as f64, "{name}");
        }
        assert!(
            after.sum("wsgid_cpu_seconds_total") > 0.0 && after.sum("wsgid_memory_bytes") > 1e6
        );
        httpd.stop();
    });
}

fn kill_supervisor(httpd: &Httpd) {
    let before = httpd.supervisor().expect("a supervisor runs");
    before.kill();
    eventually("another supervisor", SOON, || {
        let now: Option<Pid> = httpd.supervisor();
        now.filter(|now| *now != before)?;
        control::status(httpd)
    });
}

/// Also those of a worker that never was ready.
#[test]
fn what_becomes_of_starts_and_deploys_is_counted() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let httpd = server(&site, "processes=1 threads=2 startup-timeout=10");
        assert_eq!(httpd.get("/site").status, 200);
        site.write("steady.py", "raise RuntimeError('broken')\n");
        eventually("a generation that was given up", SOON, || {
            assert_eq!(httpd.get("/site").status, 200, "the old one serves on");
            let now = scrape(&httpd);
            (now.sum("wsgid_generations_given_up_total") >= 1.0).then_some(())
        });
        httpd.stop();
    });
}
