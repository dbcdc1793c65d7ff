//! `wsgid status --json` says what the documentation lists, and no other keys.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::stand_in::{Httpd, group};

const PAGE: &str = include_str!("../../../docs/many-sites.md");

/// The keys in the first column of the table with this head.
fn documented(head: &str) -> BTreeSet<String> {
    let rows = PAGE
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {head} |")))
        .skip(2);
    let first = rows
        .map_while(|line| line.strip_prefix("| "))
        .filter_map(|line| line.split(" | ").next());
    first
        .flat_map(|cell| cell.split(", ").map(|key| key.trim_matches('`').to_owned()))
        .collect()
}

fn keys(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_key_of_the_status_is_documented() {
    let mut httpd = Httpd::start();
    let good = httpd.script("app.py", "def application(environ, start_response): pass\n");
    let bad = httpd.script("bad.py", "raise ValueError('as asked')\n");
    let mut both = group("site", &good);
    both.preload_scripts
        .extend(group("site", &bad).preload_scripts);
    both.runs.add_file(&bad.to_string_lossy());
    httpd.configure(vec![both]);
    httpd.wait("a worker", |httpd| httpd.workers("ready").len() == 1);
    let status = httpd.status_json();
    let groups = &status["groups"][0];
    let pool = &groups["pools"][0];
    let worker = &pool["workers"][0];
    for (head, value) in [
        ("key of all", &status),
        ("key of a group", groups),
        ("key of a pool", pool),
        ("key of a worker", worker),
    ] {
        assert_eq!(keys(value), documented(head), "{head}");
    }
    let failed = &worker["failed_scripts"][0];
    assert_eq!(failed["script"], bad.display().to_string());
    assert!(
        failed["traceback"]
            .as_str()
            .unwrap()
            .contains("ValueError: as asked"),
        "{failed}"
    );
}

/// What hangs while it is loaded is what one wants to see most.
#[test]
fn a_worker_that_is_loading_is_dumped_too() {
    let mut httpd = Httpd::start();
    let script = httpd.script(
        "app.py",
        "import time\ndef waits():\n    time.sleep(60)\nwaits()\n",
    );
    httpd.configure(vec![group("site", &script)]);
    httpd.wait("a worker", |httpd| httpd.workers("starting").len() == 1);
    let socket = httpd.dir.path().join("control.sock");
    // The first words reach it together with its specification.
    let begun = std::time::Instant::now();
    httpd.wait("its stack", |_| {
        let mut command = std::process::Command::new(crate::program());
        let out = command
            .args(["dump", "site", "--socket"])
            .arg(&socket)
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).contains("in waits")
    });
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(4),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(httpd.command("stop", "site"), 0);
}
