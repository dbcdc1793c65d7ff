//! What single requests count as, and what the access log can say of them.

use std::time::Duration;

use wsgid_tests::{Client, Httpd, Limit, Site, case, eventually};

use crate::scraper::{Scrape, scrape};
use crate::{SOON, STATUS};

const CASES: &str = r#"
import os, time

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/raises":
        raise ValueError(path)
    if path == "/slow":
        print("running: slow", file=environ["wsgi.errors"], flush=True)
        time.sleep(float(environ["QUERY_STRING"]))
    status = {"/missing": "404 Not Found", "/moved": "302 Found", "/broken": "500 No"}.get(path, "200 OK")
    headers = [("Content-Type", "text/plain")]
    if path == "/moved":
        headers.append(("Location", "http://elsewhere.example/"))
    write = start_response(status, headers)
    if path == "/dies":
        write(b"begun")
        time.sleep(0.2)
        os._exit(3)
    return [b"done"]
"#;

fn server(site: &Site, groups: &[&str]) -> Httpd {
    let script = site.write("cases.py", CASES);
    let builder = groups.iter().fold(Httpd::builder(), |builder, name| {
        let options = format!("threads=5 {}", site.python_path());
        builder
            .daemon(name, &options)
            .mount(&format!("/{name}"), &script, name)
    });
    builder
        .mount("/nowhere", &script, "nobody")
        .line(STATUS)
        .line("LogFormat \"notes %U %{wsgi.group}n %{wsgi.worker}n %{wsgi.queue_us}n %{wsgi.application_us}n\" notes")
        .line("CustomLog access.log notes")
        .start()
}

/// Waits until the counts are there: a request is counted when its answer has left.
fn grown(httpd: &Httpd, before: &Scrape, name: &str, label: &str, by: f64) {
    eventually(&format!("{name} of {label}"), SOON, || {
        (scrape(httpd).of(name, label) - before.of(name, label) >= by).then_some(())
    });
    assert_eq!(
        scrape(httpd).of(name, label) - before.of(name, label),
        by,
        "{name} {label}"
    );
}

#[test]
fn each_request_counts_once_with_what_the_client_got() {
    case(Limit::seconds(90), || {
        let site = Site::new();
        let httpd = server(&site, &["site", "other"]);
        assert_eq!(httpd.get("/site/hello").status, 200);
        let before = scrape(&httpd);
        for (path, status, class) in [
            ("/site/hello", 200, "2xx"),
            ("/site/missing", 404, "4xx"),
            ("/site/moved", 302, "3xx"),
            ("/site/broken", 500, "5xx"),
        ] {
            assert_eq!(httpd.get(path).status, status);
            grown(&httpd, &before, "wsgid_requests_total", class, 1.0);
        }
        assert_eq!(httpd.get("/site/raises").status, 500);
        grown(&httpd, &before, "wsgid_requests_total", "5xx", 2.0);
        grown(
            &httpd,
            &before,
            "wsgid_failures_total",
            "application-error",
            1.0,
        );
        // A status of the application's own is no failure.
        assert_eq!(httpd.get("/nowhere").status, 500);
        grown(
            &httpd,
            &before,
            "wsgid_failures_total",
            "no-such-group",
            1.0,
        );
        assert!(httpd.client().get("/site/dies").is_err());
        grown(
            &httpd,
            &before,
            "wsgid_failures_total",
            "worker-exited",
            1.0,
        );
        grown(
            &httpd,
            &before,
            "wsgid_responses_broken_off_total",
            "site",
            1.0,
        );
        grown(&httpd, &before, "wsgid_restarts_total", "exited", 1.0);
        let after = scrape(&httpd);
        let of_other = |scrape: &Scrape| scrape.of("wsgid_request_duration_seconds_count", "other");
        assert_eq!(of_other(&after), 0.0);
        httpd.stop();
    });
}

#[test]
fn a_client_that_leaves_is_counted_as_that() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let httpd = server(&site, &["site"]);
        assert_eq!(httpd.get("/site/hello").status, 200);
        let before = scrape(&httpd);
        let answer = Client::new(httpd.address())
            .timeout(Duration::from_secs(1))
            .get("/site/slow?4");
        assert!(answer.is_err(), "{answer:?}");
        grown(&httpd, &before, "wsgid_failures_total", "client-gone", 1.0);
        grown(&httpd, &before, "wsgid_requests_total", "4xx", 1.0);
        httpd.stop();
    });
}

/// Of one group, which is counted apart, and of several.
#[test]
fn threads_that_requests_hold_are_seen() {
    case(Limit::seconds(90), || {
        for groups in [&["site"][..], &["site", "other"]] {
            let site = Site::new();
            let httpd = server(&site, groups);
            assert_eq!(httpd.get("/site/hello").status, 200);
            let slow: Vec<_> = (0..3)
                .map(|_| {
                    let mut client = httpd.client();
                    std::thread::spawn(move || {
                        client.get("/site/slow?3").map(|answer| answer.status)
                    })
                })
                .collect();
            eventually("three busy threads", SOON, || {
                let now = scrape(&httpd);
                let held = now.of("wsgid_httpd_threads", "site");
                (held == 3.0 && now.of("wsgid_busy_threads", "site") == 3.0).then_some(())
            });
            let now = scrape(&httpd);
            assert_eq!(now.of("wsgid_threads", "site"), 5.0);
            assert!(now.sum("wsgid_httpd_threads_max") > 1.0);
            for request in slow {
                assert_eq!(request.join().expect("it ends").ok(), Some(200));
            }
            eventually("no busy thread", SOON, || {
                let now = scrape(&httpd);
                let held = now.of("wsgid_httpd_threads", "site");
                (held == 0.0 && now.of("wsgid_busy_threads", "site") == 0.0).then_some(())
            });
            httpd.stop();
        }
    });
}

#[test]
fn the_access_log_says_who_served_and_how_long_it_took() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let httpd = server(&site, &["site"]);
        assert_eq!(httpd.get("/site/slow?0.2").status, 200);
        assert_eq!(httpd.get("/site/raises").status, 500);
        let line = |path: &str| {
            eventually(path, SOON, || {
                let log = httpd.access_log();
                let mut lines = log.lines();
                lines
                    .find(|line| line.starts_with(&format!("notes {path} ")))
                    .map(str::to_owned)
            })
        };
        let slow = line("/site/slow");
        let fields: Vec<&str> = slow.split(' ').skip(2).collect();
        let [group, worker, queue, application] = fields[..] else {
            panic!("{slow}")
        };
        let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{slow}"));
        let workers = httpd.ready_workers();
        assert_eq!(group, "site");
        assert!(
            workers
                .iter()
                .any(|known| known.number.to_string() == worker),
            "{slow} {workers:?}"
        );
        assert!(
            (200_000..2_000_000).contains(&number(application)),
            "{slow}"
        );
        assert!(number(queue) < 20_000_000, "{slow}");
        assert_eq!(line("/site/raises"), "notes /site/raises site - - -");
        httpd.stop();
    });
}
