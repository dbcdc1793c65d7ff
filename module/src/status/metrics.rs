//! The status as OpenMetrics text, for Prometheus and its like.

use std::fmt::Write as _;

use serde_json::Value;
use wsgid_protocol::readable::escaped_lines;

use crate::status::page::{histogram, list, number, text};

/// Power of two of microseconds of the lowest and the highest bucket that is
/// told: 128 µs to 134 s.
const BUCKETS: std::ops::RangeInclusive<usize> = 7..=27;

/// The whole text.
pub(super) fn render(status: &Value) -> String {
    let mut out = String::new();
    family(
        &mut out,
        "wsgid_uptime_seconds",
        "gauge",
        "Time since the supervisor started.",
    );
    let _ = writeln!(out, "wsgid_uptime_seconds {}", number(status, "uptime_s"));
    for (name, key, kind, help) in [
        (
            "wsgid_waiting_requests",
            "waiting",
            "gauge",
            "Requests that wait for a worker.",
        ),
        (
            "wsgid_restarts",
            "restarts",
            "counter",
            "Workers that were replaced.",
        ),
        (
            "wsgid_generation",
            "generation",
            "gauge",
            "Generation of the workers.",
        ),
    ] {
        family(&mut out, name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (labels, pool) in pools(status) {
            let _ = writeln!(out, "{name}{suffix}{{{labels}}} {}", number(pool, key));
        }
    }
    family(&mut out, "wsgid_workers", "gauge", "Workers by state.");
    for (labels, pool) in pools(status) {
        for state in ["queued", "starting", "ready", "draining", "stopping"] {
            let count = list(pool, "workers")
                .iter()
                .filter(|worker| text(worker, "state") == state)
                .count();
            let _ = writeln!(out, "wsgid_workers{{{labels},state=\"{state}\"}} {count}");
        }
    }
    for (name, key, kind, help) in [
        (
            "wsgid_worker_requests",
            "requests",
            "counter",
            "Requests a worker has completed.",
        ),
        (
            "wsgid_worker_in_flight_requests",
            "in_flight",
            "gauge",
            "Requests a worker is serving.",
        ),
    ] {
        family(&mut out, name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (labels, pool) in pools(status) {
            for worker in list(pool, "workers") {
                let _ = writeln!(
                    out,
                    "{name}{suffix}{{{labels},pid=\"{}\"}} {}",
                    number(worker, "pid"),
                    number(worker, key)
                );
            }
        }
    }
    durations(&mut out, status);
    out += "# EOF\n";
    out
}

fn durations(out: &mut String, status: &Value) {
    let name = "wsgid_request_duration_seconds";
    family(
        out,
        name,
        "histogram",
        "Durations of requests, of the workers that run now.",
    );
    for (labels, pool) in pools(status) {
        let counts = histogram(list(pool, "workers"));
        for bucket in BUCKETS {
            let below: u64 = counts.iter().take(bucket + 1).sum();
            let edge = 2_f64.powi(i32::try_from(bucket).unwrap_or(0)) / 1e6;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{edge}\"}} {below}");
        }
        let all: u64 = counts.iter().sum();
        let busy: u64 = list(pool, "workers")
            .iter()
            .map(|worker| number(worker, "busy_us"))
            .sum();
        #[expect(clippy::cast_precision_loss, reason = "the sum is told in seconds")]
        let seconds = busy as f64 / 1e6;
        let _ = write!(
            out,
            "{name}_bucket{{{labels},le=\"+Inf\"}} {all}\n{name}_count{{{labels}}} {all}\n"
        );
        let _ = writeln!(out, "{name}_sum{{{labels}}} {seconds}");
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(out, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
}

/// All pools with their labels.
fn pools(status: &Value) -> impl Iterator<Item = (String, &Value)> {
    list(status, "groups").iter().flat_map(|group| {
        list(group, "pools").iter().map(|pool| {
            let (name, application) = (
                label(text(group, "name")),
                label(text(pool, "application_group")),
            );
            (
                format!("group=\"{name}\",application_group=\"{application}\""),
                pool,
            )
        })
    })
}

fn label(value: &str) -> String {
    escaped_lines(value)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_quoted_and_buckets_add_up() {
        let status = json!({ "uptime_s": 5, "groups": [{ "name": "a\"b\\", "pools": [{ "application_group": "x\ny",
            "waiting": 2, "restarts": 3, "workers": [{ "pid": 7, "state": "ready", "requests": 4, "busy_us": 1_500_000,
            "histogram": [1, 0, 0, 0, 0, 0, 0, 2, 1] }] }] }] });
        let text = render(&status);
        let labels = "group=\"a\\\"b\\\\\",application_group=\"x\\ny\"";
        for line in [
            format!("wsgid_waiting_requests{{{labels}}} 2"),
            format!("wsgid_restarts_total{{{labels}}} 3"),
            format!("wsgid_workers{{{labels},state=\"ready\"}} 1"),
            format!("wsgid_worker_requests_total{{{labels},pid=\"7\"}} 4"),
            format!("wsgid_request_duration_seconds_bucket{{{labels},le=\"0.000128\"}} 3"),
            format!("wsgid_request_duration_seconds_bucket{{{labels},le=\"0.000256\"}} 4"),
            format!("wsgid_request_duration_seconds_count{{{labels}}} 4"),
            format!("wsgid_request_duration_seconds_sum{{{labels}}} 1.5"),
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
