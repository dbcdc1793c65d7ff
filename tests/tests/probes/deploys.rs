//! New workers take over when they are warm (`warm-up=`), and a few at a time
//! (`reload-surge=`).

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use wsgid_protocol::status::{PoolStatus, WorkerPhase};
use wsgid_tests::{Builder, Httpd, Limit, Load, Site, case, control, eventually};

const SOON: Duration = Duration::from_secs(40);

/// Of each worker the first request takes long. `/ready` does what the release says.
const APPLICATION: &str = r#"
import os, time
HERE = os.path.dirname(__file__)
cold = True
def application(environ, start_response):
    global cold
    if environ["PATH_INFO"] == "/ready":
        with open(os.path.join(HERE, "asked"), "a") as asked:
            print(environ["wsgi.url_scheme"], environ["HTTP_HOST"], environ["SERVER_PORT"], environ["REQUEST_METHOD"],
                environ["SCRIPT_NAME"] or "-", environ["QUERY_STRING"], environ["HTTP_USER_AGENT"], file=asked)
        READY
    if cold:
        cold = False
        time.sleep(COLD)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"RELEASE"]
"#;

/// A release: what it says, how long the first request takes, and what `/ready` does first.
fn release(site: &Site, name: &str, cold: &str, ready: &str) {
    let text = APPLICATION
        .replace("RELEASE", name)
        .replace("COLD", cold)
        .replace("READY", ready);
    // As a deployment does it: never half a file.
    let new = site.write("app.new", &text);
    fs::rename(new, site.file("app.py")).expect("it is ours");
}

fn open_to_the_application(site: &Site) {
    use std::os::unix::fs::PermissionsExt as _;
    let asked = site.write("asked", "");
    fs::set_permissions(asked, fs::Permissions::from_mode(0o666)).expect("it is ours");
}

fn builder(site: &Site, options: &str) -> Builder {
    Httpd::builder()
        .line("<Location /health>\nSetHandler wsgid-health\nRequire all granted\n</Location>")
        .daemon(
            "site",
            &format!("threads=3 shutdown-timeout=1 graceful-timeout=2 {options}"),
        )
        .mount("/app", &site.file("app.py"), "site")
}

fn wait_until_ready(httpd: &Httpd) {
    eventually("ready", SOON, || {
        (httpd.get("/health?group=site").status == 200).then_some(())
    });
}

fn pool(httpd: &Httpd) -> PoolStatus {
    let status = control::status(httpd).expect("the supervisor answers");
    control::pools(&status, "site")[0].clone()
}

fn says(httpd: &Httpd, release: &str) {
    eventually(release, SOON, || {
        let response = httpd.get("/app");
        assert_eq!(response.status, 200);
        (response.text() == release).then_some(())
    });
}

#[test]
fn nobody_waits_for_the_first_request_of_a_worker() {
    case(Limit::default(), || {
        let site = Site::new();
        open_to_the_application(&site);
        release(&site, "one", "4", "pass");
        let url = "https://shop.example:8443/ready?why=warm";
        let httpd = builder(&site, &format!("processes=2 warm-up={url}")).start();
        wait_until_ready(&httpd);
        let load = Load::new(httpd.address(), "/app", 2).start();
        release(&site, "two", "4", "pass");
        says(&httpd, "two");
        let _ = httpd.wsgid(&["restart", "site"]);
        let before = pool(&httpd).generation;
        eventually("another generation", SOON, || {
            (pool(&httpd).generation > before || before > 2).then_some(())
        });
        let tally = load.stop();
        tally.assert_clean();
        assert!(
            tally.slowest < Duration::from_secs(3),
            "{:?}",
            tally.slowest
        );
        let asked = fs::read_to_string(site.file("asked")).expect("it is there");
        let expected = format!(
            "https shop.example:8443 8443 GET - why=warm wsgid/{} (warm-up)",
            env!("CARGO_PKG_VERSION")
        );
        assert!(asked.lines().count() >= 4, "each worker: {asked}");
        assert!(asked.lines().all(|line| line == expected), "{asked}");
        httpd.stop();
    });
}

#[test]
fn a_release_that_is_not_warm_does_not_take_over() {
    case(Limit::default(), || {
        let site = Site::new();
        open_to_the_application(&site);
        release(&site, "one", "0", "pass");
        let httpd = builder(&site, "processes=2 warm-up=/ready startup-timeout=3").start();
        wait_until_ready(&httpd);
        release(&site, "two", "0", "raise LookupError('no table')");
        let log = httpd.wait_for_log("LookupError: no table", SOON);
        assert!(
            log.contains("warm-up: `GET /ready` failed (application-error): LookupError"),
            "{log}"
        );
        let given_up = eventually("it is given up", SOON, || pool(&httpd).given_up);
        assert!(
            given_up.why.contains("LookupError: no table"),
            "{}",
            given_up.why
        );
        assert_eq!(httpd.get("/app").text(), "one");

        release(&site, "three", "0", "time.sleep(60)");
        eventually("the next is given up too", SOON, || {
            let why = pool(&httpd).given_up?.why;
            why.contains("not answered within startup-timeout (3 s)")
                .then_some(())
        });
        assert_eq!(httpd.get("/app").text(), "one");
        assert_eq!(httpd.get("/health?group=site").status, 200, "it serves");

        release(&site, "four", "0", "pass");
        says(&httpd, "four");
        httpd.stop();
    });
}

#[test]
fn where_nobody_serves_it_is_a_failed_start() {
    case(Limit::default(), || {
        let site = Site::new();
        open_to_the_application(&site);
        release(&site, "one", "0", "raise LookupError('no table')");
        let httpd = builder(&site, "warm-up=/ready restart-burst=2 restart-window=2").start();
        let why = "warm-up: `GET /ready` failed (application-error): LookupError";
        eventually("it has failed", SOON, || {
            let text = httpd.get("/health?group=site").text();
            text.contains(why).then_some(())
        });
        eventually("its requests are refused", SOON, || {
            (httpd.get("/app").status == 503).then_some(())
        });
        // What becomes of it shows at the next try.
        release(&site, "two", "0", "pass");
        says_at_last(&httpd, "two");
        httpd.stop();
    });
}

fn says_at_last(httpd: &Httpd, release: &str) {
    eventually(release, SOON, || {
        (httpd.get("/app").text() == release).then_some(())
    });
}

#[test]
fn another_program_asks_again() {
    case(Limit::default(), || {
        let site = Site::new();
        open_to_the_application(&site);
        let wait = "while not os.path.exists(os.path.join(HERE, 'go')): time.sleep(0.02)";
        release(&site, "one", "0", wait);
        let httpd = builder(&site, "warm-up=/ready").start();
        let asked = site.file("asked");
        let asked = || {
            fs::read_to_string(&asked)
                .unwrap_or_default()
                .lines()
                .count()
        };
        eventually("it is asked", SOON, || (asked() == 1).then_some(()));
        let _ = httpd.wsgid(&["reexec"]);
        eventually("it is asked again", SOON, || (asked() == 2).then_some(()));
        assert_eq!(httpd.get("/health?group=site").status, 503);
        site.write("go", "");
        wait_until_ready(&httpd);
        assert_eq!(httpd.get("/app").text(), "one");
        httpd.stop();
    });
}

#[test]
fn a_reload_has_so_many_workers_more_and_no_others() {
    case(Limit::default(), || {
        let site = Site::new();
        release(&site, "one", "0", "pass");
        let httpd = builder(&site, "processes=4 reload-surge=1").start();
        let working = |pool: &PoolStatus| {
            let phases = [
                WorkerPhase::Queued,
                WorkerPhase::Starting,
                WorkerPhase::Ready,
            ];
            let workers = pool.workers.iter();
            workers
                .filter(|worker| phases.contains(&worker.state))
                .map(|worker| worker.generation)
                .collect::<Vec<_>>()
        };
        eventually("four workers", SOON, || {
            (pool(&httpd).ready().count() == 4).then_some(())
        });
        let load = Load::new(httpd.address(), "/app", 3).start();
        let old = pool(&httpd).generation;
        release(&site, "two", "0", "pass");
        let begun = Instant::now();
        let mut mixed = BTreeSet::new();
        loop {
            let pool = pool(&httpd);
            let workers = working(&pool);
            assert!(workers.len() <= 5, "{workers:?}");
            let new = workers
                .iter()
                .filter(|generation| **generation > old)
                .count();
            mixed.insert(workers.len() - new);
            if new == 4 && workers.len() == 4 {
                break;
            }
            assert!(begun.elapsed() < SOON, "{workers:?}");
        }
        assert!(mixed.len() > 3, "one after the other: {mixed:?}");
        let tally = load.stop();
        tally.assert_clean();
        says(&httpd, "two");
        httpd.stop();
    });
}
