//! The status as OpenMetrics text, for Prometheus and its like: one table of families, from
//! which docs/watching.md is printed too. Pure. Called by the module for `?openmetrics` and
//! by `wsgid status --openmetrics`.
//!
//! Names follow the conventions: a unit at the end, `_total` for what only grows, base units.

mod family;
mod table;

use std::fmt::Write as _;

use crate::status::Status;
use family::{Facts, Samples};

pub use family::{HttpdThreads, MetricFamily, MetricKind};
pub use table::TABLE;

/// Its content type.
pub const CONTENT_TYPE: &std::ffi::CStr =
    c"application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The whole text.
pub fn openmetrics(status: &Status, httpd: Option<&HttpdThreads>) -> String {
    let mut out = String::new();
    let facts = Facts { status, httpd };
    for family in TABLE {
        let kind = format!("{:?}", family.kind).to_lowercase();
        let name = family.name;
        let _ = writeln!(out, "# TYPE {name} {kind}");
        if let Some(unit) = ["seconds", "bytes"]
            .iter()
            .find(|unit| name.ends_with(**unit))
        {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(out, "# HELP {name} {}", family.help);
        let out = &mut out;
        (family.samples)(&facts, &mut Samples { family, out });
    }
    out.push_str("# EOF\n");
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::{GroupStatus, PoolStatus, UserStatus, WorkerPhase, WorkerStatus};
    use crate::totals::{DurationTotals, GroupTotals};
    use crate::user_limits::UserLimits;

    #[test]
    fn names_follow_the_conventions() {
        let mut known = BTreeSet::new();
        for family in TABLE {
            let name = family.name;
            let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(
                name.starts_with("wsgid_") && is_plain(name) && known.insert(name),
                "{name}"
            );
            let suffixes = ["_total", "_created", "_count", "_sum", "_bucket", "_info"];
            assert!(
                !suffixes.iter().any(|suffix| name.ends_with(suffix)),
                "{name}"
            );
            assert!(family.labels.iter().all(|label| is_plain(label)), "{name}");
            assert!(
                family.help.ends_with('.') && !family.help.contains(['\n', '\\']),
                "{name}"
            );
        }
    }

    #[test]
    fn labels_are_quoted_and_buckets_add_up() {
        let worker = WorkerStatus {
            pid: 7,
            state: WorkerPhase::Ready,
            requests: 4,
            cpu_us: 250_000,
            ..WorkerStatus::default()
        };
        let pool = PoolStatus {
            application_group: "x\ny".to_owned(),
            waiting: 2,
            workers: vec![worker],
            ..PoolStatus::default()
        };
        let totals = GroupTotals {
            since: 1000,
            requests: [("5xx".to_owned(), 3)].into(),
            failures: [("worker-lost".to_owned(), 2)].into(),
            duration: DurationTotals {
                sum_us: 1_500_000,
                histogram: vec![1, 0, 0, 0, 0, 0, 0, 2, 1],
            },
            ..GroupTotals::default()
        };
        let group = GroupStatus {
            name: "a\"b\\".to_owned(),
            threads: 5,
            pools: vec![pool],
            totals: Some(totals),
            ..GroupStatus::default()
        };
        let mut status = Status {
            uptime_s: 5,
            groups: vec![group],
            ..Status::default()
        };
        let mut limits = UserLimits::new("shop");
        limits.processes = 4;
        status.users.push(UserStatus {
            user: "shop".to_owned(),
            processes: 3,
            limits,
            ..UserStatus::default()
        });
        let httpd = HttpdThreads {
            groups: [("a\"b\\".to_owned(), (3, 1))].into(),
            most: 400,
        };
        let text = openmetrics(&status, Some(&httpd));
        let group = "group=\"a\\\"b\\\\\"";
        let labels = format!("{group},application_group=\"x\\ny\"");
        for line in [
            "# TYPE wsgid_requests counter".to_owned(),
            "# UNIT wsgid_request_duration_seconds seconds".to_owned(),
            "wsgid_uptime_seconds 5".to_owned(),
            "wsgid_user_workers{user=\"shop\"} 3".to_owned(),
            "wsgid_user_workers_max{user=\"shop\"} 4".to_owned(),
            "wsgid_httpd_threads_max 400".to_owned(),
            format!("wsgid_httpd_threads{{{group},state=\"running\"}} 3"),
            format!("wsgid_threads{{{group}}} 5"),
            format!("wsgid_requests_total{{{group},status=\"2xx\"}} 0"),
            format!("wsgid_requests_total{{{group},status=\"5xx\"}} 3"),
            format!("wsgid_requests_created{{{group},status=\"5xx\"}} 1000"),
            format!("wsgid_failures_total{{{group},failure=\"worker-lost\"}} 2"),
            format!("wsgid_restarts_total{{{group},reason=\"signalled\"}} 0"),
            format!("wsgid_waiting_requests{{{labels}}} 2"),
            format!("wsgid_workers{{{labels},state=\"ready\"}} 1"),
            format!("wsgid_worker_requests_total{{{labels},pid=\"7\"}} 4"),
            format!("wsgid_worker_cpu_seconds_total{{{labels},pid=\"7\"}} 0.25"),
            format!("wsgid_request_duration_seconds_bucket{{{group},le=\"0.000128\"}} 3"),
            format!("wsgid_request_duration_seconds_bucket{{{group},le=\"0.000256\"}} 4"),
            format!("wsgid_request_duration_seconds_bucket{{{group},le=\"134.217728\"}} 4"),
            format!("wsgid_request_duration_seconds_bucket{{{group},le=\"+Inf\"}} 4"),
            format!("wsgid_request_duration_seconds_count{{{group}}} 4"),
            format!("wsgid_request_duration_seconds_sum{{{group}}} 1.5"),
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n") && !text.contains("\n\n"));
    }
}
