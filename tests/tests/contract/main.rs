//! What an application of mod_wsgi relies on beyond PEP 3333, asked of mod_wsgi and of
//! us: every method of every stream, requests that are given up, files that are not what
//! their descriptor is, parts of answers. And what only our side has to show.

mod allowed;
mod ours;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use wsgid_tests::judge::{Pair, judge};
use wsgid_tests::raw::exchange;
use wsgid_tests::{Builder, Site, until};

use crate::allowed::{ALLOWED, FILES, PARTS};

const SOON: Duration = Duration::from_secs(10);

fn configured(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let options = format!(
        "processes=1 threads=3 python-home={} {}",
        venv.display(),
        site.python_path()
    );
    let script = site.file("contract_cases.py");
    let builder = builder.line("LogLevel info").daemon("site", &options);
    (builder.mount("/", &script, "site"), 0)
}

fn ready(pair: &Pair) {
    for side in [&pair.theirs, &pair.ours] {
        let served = until(Duration::from_secs(60), || {
            (side.httpd.get("/names").status == 200).then_some(())
        });
        assert!(served.is_some(), "nothing at {}", side.httpd.address());
    }
}

fn ask(pair: &mut Pair, name: &str, path: &str, fields: &str) {
    let path = path.replace(' ', "%20");
    pair.raw(
        name,
        &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n"),
    );
}

#[test]
fn streams_have_the_methods_of_mod_wsgis() {
    judge(ALLOWED, configured, |pair| {
        ready(pair);
        ask(pair, "live", "/streams", "");
        for side in [&pair.theirs, &pair.ours] {
            assert_eq!(side.httpd.get("/keep").status, 200);
        }
        ask(pair, "kept", "/kept", "");
        let asked = pair.ours.httpd.get("/streams").json();
        assert!(asked.as_object().is_some_and(|all| all.len() > 300));
        pair.stale()
    });
}

#[test]
fn a_request_that_is_given_up_and_one_that_fails_twice() {
    judge(&[], configured, |pair| {
        ready(pair);
        for how in ["call", "iterate", "empty"] {
            let path = format!("/timeout?{how}");
            for side in [&pair.theirs, &pair.ours] {
                assert_eq!(side.httpd.get(&path).status, 504, "{path}");
            }
        }
        for side in [&pair.theirs, &pair.ours] {
            assert_eq!(side.httpd.get("/twice").status, 500);
            for text in [
                "ValueError: contract iteration",
                "KeyError: 'contract close'",
            ] {
                side.httpd.wait_for_log(text, SOON);
            }
        }
        let log = pair.ours.httpd.error_log();
        let about: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("application-timeout"))
            .collect();
        assert_eq!(about.len(), 3, "one line each: {about:?}");
        assert!(
            about.iter().all(|line| line.contains(":info]")),
            "{about:?}"
        );
        assert!(!log.contains("RequestTimeout: contract"), "no traceback");
        Vec::new()
    });
}

#[test]
fn wrapped_files_are_what_they_read() {
    judge(FILES, configured, |pair| {
        ready(pair);
        let names = pair.ours.httpd.get("/names").json();
        for name in names.as_object().into_iter().flat_map(|all| all.keys()) {
            ask(pair, name, &format!("/file?{name}"), "");
        }
        pair.stale()
    });
}

#[test]
fn a_part_is_sent_only_of_what_has_a_validator() {
    judge(PARTS, configured, |pair| {
        ready(pair);
        let validators = [
            ("no validator", json!([])),
            ("an ETag", json!([["ETag", "\"one\""]])),
            ("a weak ETag", json!([["ETag", "W/\"one\""]])),
            (
                "a date",
                json!([["Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"]]),
            ),
            (
                "a refusal",
                json!([["ETag", "\"one\""], ["Accept-Ranges", "none"]]),
            ),
        ];
        let sizes = [("list", 1), ("list", 50_000), ("file", 1)];
        for (validator, fields) in &validators {
            for (kind, count) in sizes {
                let head = json!({ "fields": fields, "kind": kind, "count": count });
                for (asked, more) in [
                    ("bytes=2-5", ""),
                    ("bytes=2-", ""),
                    ("bytes=0-1,4-5", ""),
                    ("bytes=2-5", "If-Range: \"one\"\r\n"),
                    ("bytes=2-5", "If-Range: \"two\"\r\n"),
                    ("bytes=2-5", "If-Range: Mon, 01 Jan 2024 00:00:00 GMT\r\n"),
                    ("bytes=2-5", "If-Range: Tue, 02 Jan 2024 00:00:00 GMT\r\n"),
                ] {
                    let name =
                        format!("{asked} {} of {kind} {count} with {validator}", more.trim());
                    let lines = format!("Range: {asked}\r\n{more}X-Head: {head}\r\n");
                    ask(pair, &name, "/part", &lines);
                }
            }
        }
        let mut wrong = parts_of_ours(pair);
        wrong.extend(pair.stale());
        wrong
    });
}

/// What ours has to answer, whatever mod_wsgi does.
fn parts_of_ours(pair: &Pair) -> Vec<String> {
    let mut wrong = Vec::new();
    let etag = json!([["ETag", "\"one\""]]);
    let date = json!([["Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"]]);
    let refused = json!([["ETag", "\"one\""], ["Accept-Ranges", "none"]]);
    for (fields, more, status) in [
        (json!([]), None, 200),
        (etag.clone(), None, 206),
        (etag.clone(), Some("\"one\""), 206),
        (etag, Some("\"two\""), 200),
        (date.clone(), None, 206),
        (date.clone(), Some("Mon, 01 Jan 2024 00:00:00 GMT"), 206),
        (date, Some("Tue, 02 Jan 2024 00:00:00 GMT"), 200),
        (refused, None, 200),
        (json!([["ETag", "W/\"one\""]]), None, 200),
    ] {
        for kind in ["list", "file"] {
            let head = json!({ "fields": fields, "kind": kind, "count": 1 });
            let got = part(pair, &head, more);
            if got != status {
                wrong.push(format!("{got} and not {status} for {head} {more:?}"));
            }
        }
    }
    wrong
}

fn part(pair: &Pair, head: &Value, if_range: Option<&str>) -> u16 {
    let if_range = if_range.map_or_else(String::new, |value| format!("If-Range: {value}\r\n"));
    let text = exchange(
        pair.ours.httpd.address(),
        format!(
            "GET /part HTTP/1.1\r\nHost: h\r\nConnection: close\r\nRange: bytes=2-5\r\n{if_range}X-Head: {head}\r\n\r\n"
        ),
        SOON,
    );
    let status = text.split(' ').nth(1).unwrap_or_default();
    status.parse().unwrap_or_default()
}
