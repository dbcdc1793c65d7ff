//! The files of `conf/monitoring`: every metric and label that they name is one of ours, and
//! every expression is one. Where there is a `promtool`, that says so too, and that each alert
//! fires when it should.

mod expression;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use wsgid_protocol::metrics::TABLE;
use wsgid_tests::{Json, note};

use crate::expression::{Expression, families};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(name: &str) -> String {
    let path = top().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The expressions of the alerts, by name.
fn alerts() -> Vec<(String, String)> {
    let text = read("conf/monitoring/alerts.yml");
    let value = |line: &str, key: &str| {
        line.trim()
            .strip_prefix(key)
            .map(|rest| rest.trim().to_owned())
    };
    let names = text.lines().filter_map(|line| value(line, "- alert:"));
    let expressions = text.lines().filter_map(|line| value(line, "expr:"));
    let both: Vec<_> = names.zip(expressions).collect();
    let count = |key: &str| {
        text.lines()
            .filter(|line| value(line, key).is_some())
            .count()
    };
    for key in [
        "- alert:",
        "expr:",
        "for:",
        "severity:",
        "summary:",
        "description:",
    ] {
        assert_eq!(count(key), both.len(), "{key}");
    }
    both
}

/// All that the dashboard asks for, with a time in the place of Grafana's.
fn asked_by_dashboard() -> Vec<(String, String)> {
    let board: Json =
        serde_json::from_str(&read("conf/monitoring/grafana.json")).expect("it is JSON");
    let panels = board["panels"].as_array().expect("it has panels");
    let of = |panel: &Json| {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"]
            .as_array()
            .expect("it shows something")
            .clone();
        targets.into_iter().map(move |target| {
            let expr = target["expr"].as_str().expect("an expression");
            (title.clone(), expr.replace("$__rate_interval", "5m"))
        })
    };
    let variables = board["templating"]["list"].as_array().expect("variables");
    let queries = variables.iter().filter_map(|variable| {
        let query = variable["query"].as_str()?.strip_prefix("label_values(")?;
        let (asked, _) = query.rsplit_once(", ")?;
        Some(("a variable".to_owned(), asked.to_owned()))
    });
    panels.iter().flat_map(of).chain(queries).collect()
}

#[test]
fn every_expression_names_what_there_is() {
    let (alerts, asked) = (alerts(), asked_by_dashboard());
    assert!(
        alerts.len() >= 15 && asked.len() >= 30,
        "{} {}",
        alerts.len(),
        asked.len()
    );
    for (place, text) in alerts.iter().chain(&asked) {
        if let Err(why) = Expression::new(text).and_then(|expression| expression.check()) {
            panic!("{place}: {why}: {text}");
        }
    }
    let shown: BTreeSet<&str> = asked.iter().flat_map(|(_, text)| families(text)).collect();
    for family in TABLE {
        assert!(
            shown.contains(family.name),
            "the dashboard does not show {}",
            family.name
        );
    }
}

#[test]
fn what_is_no_expression_is_seen() {
    for wrong in [
        "sum(rate(wsgid_requests_total[5m])",
        "wsgid_request_total > 0",
        "wsgid_requests > 0",
        "wsgid_requests_total{stat=\"5xx\"}",
        "sum by (stat) (wsgid_requests_total)",
        "wsgid_requests_total{status=\"5xx}",
        "rates(wsgid_requests_total[5m])",
        "rate(wsgid_requests_total[5 minutes])",
        "wsgid_request_duration_seconds",
    ] {
        let seen = Expression::new(wrong).and_then(|expression| expression.check());
        assert!(seen.is_err(), "{wrong}");
    }
}

#[test]
fn the_page_shows_the_job_as_it_is() {
    let job = read("conf/monitoring/prometheus.yml");
    assert!(read("docs/watching.md").contains(&format!("```yaml\n{job}```\n")));
}

#[test]
fn promtool_takes_all_of_it_and_each_alert_fires() {
    let Ok(version) = Command::new("promtool").arg("--version").output() else {
        return note("no promtool is installed: expressions were checked by the suite alone");
    };
    assert!(version.status.success());
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    for name in ["alerts.yml", "prometheus.yml"] {
        fs::write(
            place.path().join(name),
            read(&format!("conf/monitoring/{name}")),
        )
        .expect("it is ours");
    }
    let tests = read("tests/tests/monitoring/alerts-test.yml");
    for (alert, _) in alerts() {
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "{alert}: nothing sees that it fires"
        );
    }
    fs::write(place.path().join("alerts-test.yml"), tests).expect("it is ours");
    let mut asked = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, (_, expression)) in asked_by_dashboard().iter().enumerate() {
        let expression = Json::from(expression.as_str());
        asked += &format!("      - record: asked:{number}\n        expr: {expression}\n");
    }
    fs::write(place.path().join("dashboard.yml"), asked).expect("it is ours");
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "dashboard.yml"],
        ["test", "rules", "alerts-test.yml"],
    ] {
        let out = Command::new("promtool")
            .args(arguments)
            .current_dir(place.path())
            .output()
            .expect("it can be run");
        let said = [out.stdout, out.stderr].concat();
        assert!(
            out.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&said)
        );
    }
}
