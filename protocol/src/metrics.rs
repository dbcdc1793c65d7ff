//! The status as OpenMetrics text, for Prometheus and its like: one table of families, from
//! which docs/watching.md is printed too. Pure. Called by the module for `?openmetrics` and
//! by `wsgid status --openmetrics`.
//!
//! Names follow the conventions: a unit at the end, `_total` for what only grows, base units.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use crate::readable::escaped_lines;
use crate::status::{GroupState, GroupStatus, PoolStatus, Status, WorkerStatus};
use crate::totals::{CLASSES, DurationTotals, GroupTotals, RestartReason};

/// Its content type.
pub const CONTENT_TYPE: &std::ffi::CStr =
    c"application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Powers of two of microseconds that are edges of buckets: 128 µs to 134 s.
const EDGES: std::ops::RangeInclusive<usize> = 7..=27;

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Counts by size.
    Histogram,
    /// A text in a label.
    Info,
}

/// A family of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, without what a kind adds at the end.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The labels of each of its metrics.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
    samples: fn(&Facts<'_>, &mut Samples<'_>),
}

impl Family {
    /// The name as it is asked for.
    pub fn full_name(&self) -> String {
        let suffix = match self.kind {
            Kind::Gauge | Kind::Histogram => "",
            Kind::Counter => "_total",
            Kind::Info => "_info",
        };
        format!("{}{suffix}", self.name)
    }
}

/// Threads of httpd, all children together, as the module alone knows them.
#[derive(Clone, Debug, Default)]
pub struct HttpdThreads {
    /// By the name of the group: how many serve its requests, and how many wait until they
    /// may begin.
    pub groups: BTreeMap<String, (u32, u32)>,
    /// MaxRequestWorkers.
    pub most: u32,
}

struct Facts<'s> {
    status: &'s Status,
    httpd: Option<&'s HttpdThreads>,
}

impl<'s> Facts<'s> {
    fn totals(&self) -> impl Iterator<Item = (&'s GroupStatus, &'s GroupTotals)> {
        let groups = self.status.groups.iter();
        groups.filter_map(|group| Some((group, group.totals.as_ref()?)))
    }

    fn pools(&self) -> impl Iterator<Item = (&'s GroupStatus, &'s PoolStatus)> {
        let groups = self.status.groups.iter();
        groups.flat_map(|group| group.pools.iter().map(move |pool| (group, pool)))
    }

    fn workers(&self) -> impl Iterator<Item = ([&'s str; 2], &'s WorkerStatus)> {
        self.pools().flat_map(|(group, pool)| {
            let names = [group.name.as_str(), pool.application_group.as_str()];
            pool.workers.iter().map(move |worker| (names, worker))
        })
    }
}

/// Where the samples of a family go.
struct Samples<'o> {
    family: &'o Family,
    out: &'o mut String,
}

impl Samples<'_> {
    fn line(
        &mut self,
        suffix: &str,
        labels: &[&str],
        more: Option<(&str, &str)>,
        value: impl Display,
    ) {
        self.out.push_str(self.family.name);
        self.out.push_str(suffix);
        let named = self
            .family
            .labels
            .iter()
            .copied()
            .zip(labels.iter().copied());
        let mut separator = '{';
        for (name, value) in named.chain(more) {
            let _ = write!(self.out, "{separator}{name}=\"{}\"", label(value));
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn gauge(&mut self, labels: &[&str], value: impl Display) {
        self.line("", labels, None, value);
    }

    fn counter(&mut self, labels: &[&str], value: impl Display, since: Option<u64>) {
        self.line("_total", labels, None, value);
        if let Some(since) = since {
            self.line("_created", labels, None, since);
        }
    }

    fn histogram(&mut self, labels: &[&str], durations: &DurationTotals, since: u64) {
        let mut below = 0;
        let mut counts = durations.histogram.iter().enumerate().peekable();
        for edge in EDGES {
            while let Some((_, count)) = counts.next_if(|(power, _)| *power <= edge) {
                below = u64::saturating_add(below, *count);
            }
            let seconds = ((1_u64 << edge) as f64 / 1e6).to_string();
            self.line("_bucket", labels, Some(("le", &seconds)), below);
        }
        let all = counts.fold(below, |all, (_, count)| all.saturating_add(*count));
        self.line("_bucket", labels, Some(("le", "+Inf")), all);
        self.line("_count", labels, None, all);
        self.line("_sum", labels, None, seconds(durations.sum_us));
        self.line("_created", labels, None, since);
    }
}

/// The value of a label.
fn label(text: &str) -> String {
    escaped_lines(text)
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

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

/// A row for each group that has totals.
fn by_group(facts: &Facts<'_>, out: &mut Samples<'_>, number: fn(&GroupTotals) -> u64) {
    for (group, totals) in facts.totals() {
        out.counter(&[&group.name], number(totals), Some(totals.since));
    }
}

fn named(counts: &BTreeMap<String, u64>, name: &str) -> u64 {
    counts.get(name).copied().unwrap_or_default()
}

/// Request threads of a group's workers that serve.
fn threads(group: &GroupStatus) -> u64 {
    let ready = group.workers().filter(|worker| worker.is_ready()).count() as u64;
    ready.saturating_mul(group.threads.into())
}

const GROUP: &[&str] = &["group"];
const POOL: &[&str] = &["group", "application_group"];
const WORKER: &[&str] = &["group", "application_group", "pid"];

/// All families, in the order in which they are shown.
pub const TABLE: &[Family] = &[
    Family {
        name: "wsgid_group_state",
        kind: Kind::Gauge,
        labels: &["group", "state"],
        help: "Whether a process group is in this state: 1 or 0.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                for state in GroupState::ALL {
                    out.gauge(
                        &[&group.name, state.word()],
                        u8::from(group.state == *state),
                    );
                }
            }
        },
    },
    Family {
        name: "wsgid_requests",
        kind: Kind::Counter,
        labels: &["group", "status"],
        help: "Requests by the class of the status with which they were answered (2xx).",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                for class in CLASSES {
                    let count = named(&totals.requests, class);
                    out.counter(&[&group.name, class], count, Some(totals.since));
                }
            }
        },
    },
    Family {
        name: "wsgid_failures",
        kind: Kind::Counter,
        labels: &["group", "failure"],
        help: "Requests that failed, by the names of docs/failures.md; without a group, those that named none that is defined.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                for (failure, count) in &totals.failures {
                    out.counter(&[&group.name, failure], count, Some(totals.since));
                }
            }
            for (failure, count) in facts.status.supervisor.iter().flat_map(|own| &own.failures) {
                out.counter(&["", failure], count, None);
            }
        },
    },
    Family {
        name: "wsgid_responses_broken_off",
        kind: Kind::Counter,
        labels: GROUP,
        help: "Responses that had begun and did not come to their end, clients that went away included.",
        samples: |facts, out| by_group(facts, out, |totals| totals.broken_off),
    },
    Family {
        name: "wsgid_request_duration_seconds",
        kind: Kind::Histogram,
        labels: GROUP,
        help: "Time from a request's first line to the end of its response.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                out.histogram(&[&group.name], &totals.duration, totals.since);
            }
        },
    },
    Family {
        name: "wsgid_request_queue_seconds",
        kind: Kind::Histogram,
        labels: GROUP,
        help: "Time that requests which a worker answered had waited for one of its threads.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                out.histogram(&[&group.name], &totals.queue, totals.since);
            }
        },
    },
    Family {
        name: "wsgid_waiting_requests",
        kind: Kind::Gauge,
        labels: POOL,
        help: "Requests that wait in the supervisor for a worker.",
        samples: |facts, out| {
            for (group, pool) in facts.pools() {
                out.gauge(&[&group.name, &pool.application_group], pool.waiting);
            }
        },
    },
    Family {
        name: "wsgid_busy_threads",
        kind: Kind::Gauge,
        labels: GROUP,
        help: "Threads of workers that serve a request.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                let busy = group.workers().map(|worker| worker.in_flight);
                out.gauge(&[&group.name], busy.fold(0, u64::saturating_add));
            }
        },
    },
    Family {
        name: "wsgid_threads",
        kind: Kind::Gauge,
        labels: GROUP,
        help: "Threads of the workers that are ready.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                out.gauge(&[&group.name], threads(group));
            }
        },
    },
    Family {
        name: "wsgid_threads_max",
        kind: Kind::Gauge,
        labels: GROUP,
        help: "Threads that it has with all processes that are configured, in one application group.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                let most = u64::from(group.processes_max) * u64::from(group.threads);
                out.gauge(&[&group.name], most);
            }
        },
    },
    Family {
        name: "wsgid_httpd_threads",
        kind: Kind::Gauge,
        labels: &["group", "state"],
        help: "Threads of httpd that the group's requests hold: running, or waiting until they may begin.",
        samples: |facts, out| {
            for (group, (running, waiting)) in facts.httpd.iter().flat_map(|httpd| &httpd.groups) {
                out.gauge(&[group, "running"], running);
                out.gauge(&[group, "waiting"], waiting);
            }
        },
    },
    Family {
        name: "wsgid_httpd_threads_max",
        kind: Kind::Gauge,
        labels: &[],
        help: "Threads that httpd has for requests: MaxRequestWorkers.",
        samples: |facts, out| {
            if let Some(httpd) = facts.httpd {
                out.gauge(&[], httpd.most);
            }
        },
    },
    Family {
        name: "wsgid_workers",
        kind: Kind::Gauge,
        labels: &["group", "application_group", "state"],
        help: "Workers by state.",
        samples: |facts, out| {
            for (group, pool) in facts.pools() {
                for state in ["queued", "starting", "ready", "draining", "stopping"] {
                    let workers = pool.workers.iter();
                    let count = workers
                        .filter(|worker| worker.state.word() == state)
                        .count();
                    out.gauge(&[&group.name, &pool.application_group, state], count);
                }
            }
        },
    },
    Family {
        name: "wsgid_restarts",
        kind: Kind::Counter,
        labels: &["group", "reason"],
        help: "Workers that ended, by the reason.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                for (_, reason) in RestartReason::ALL {
                    let count = named(&totals.restarts, reason);
                    out.counter(&[&group.name, reason], count, Some(totals.since));
                }
            }
        },
    },
    Family {
        name: "wsgid_generations_given_up",
        kind: Kind::Counter,
        labels: GROUP,
        help: "New generations of workers, or single new workers, that did not take over from the old ones.",
        samples: |facts, out| by_group(facts, out, |totals| totals.given_up),
    },
    Family {
        name: "wsgid_generation",
        kind: Kind::Gauge,
        labels: POOL,
        help: "Generation of the workers that serve.",
        samples: |facts, out| {
            for (group, pool) in facts.pools() {
                out.gauge(&[&group.name, &pool.application_group], pool.generation);
            }
        },
    },
    Family {
        name: "wsgid_memory_bytes",
        kind: Kind::Gauge,
        labels: GROUP,
        help: "Memory of the workers: of their control group, or as they say.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                out.gauge(&[&group.name], group.memory);
            }
        },
    },
    Family {
        name: "wsgid_cpu_seconds",
        kind: Kind::Counter,
        labels: GROUP,
        help: "Processor time of the workers, as they say.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                out.counter(&[&group.name], seconds(totals.cpu_us), Some(totals.since));
            }
        },
    },
    Family {
        name: "wsgid_log_dropped_lines",
        kind: Kind::Counter,
        labels: GROUP,
        help: "Lines that log-rate= has kept out of the log.",
        samples: |facts, out| by_group(facts, out, |totals| totals.log_dropped_lines),
    },
    Family {
        name: "wsgid_log_dropped_bytes",
        kind: Kind::Counter,
        labels: GROUP,
        help: "Bytes of these lines.",
        samples: |facts, out| by_group(facts, out, |totals| totals.log_dropped_bytes),
    },
    Family {
        name: "wsgid_worker_requests",
        kind: Kind::Counter,
        labels: WORKER,
        help: "Requests that a worker has ended, as it says.",
        samples: |facts, out| {
            for ([group, application_group], worker) in facts.workers() {
                let pid = worker.pid.to_string();
                out.counter(&[group, application_group, &pid], worker.requests, None);
            }
        },
    },
    Family {
        name: "wsgid_worker_in_flight_requests",
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Requests that a worker serves, as it says.",
        samples: |facts, out| {
            for ([group, application_group], worker) in facts.workers() {
                let pid = worker.pid.to_string();
                out.gauge(&[group, application_group, &pid], worker.in_flight);
            }
        },
    },
    Family {
        name: "wsgid_worker_memory_bytes",
        kind: Kind::Gauge,
        labels: WORKER,
        help: "Resident memory of a worker, as it says.",
        samples: |facts, out| {
            for ([group, application_group], worker) in facts.workers() {
                let pid = worker.pid.to_string();
                out.gauge(&[group, application_group, &pid], worker.memory);
            }
        },
    },
    Family {
        name: "wsgid_worker_cpu_seconds",
        kind: Kind::Counter,
        labels: WORKER,
        help: "Processor time of a worker, as it says.",
        samples: |facts, out| {
            for ([group, application_group], worker) in facts.workers() {
                let pid = worker.pid.to_string();
                let used = seconds(worker.cpu_us);
                out.counter(&[group, application_group, &pid], used, None);
            }
        },
    },
    Family {
        name: "wsgid_uptime_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "Time since the supervisor started.",
        samples: |facts, out| out.gauge(&[], facts.status.uptime_s),
    },
    Family {
        name: "wsgid_build",
        kind: Kind::Info,
        labels: &["version"],
        help: "Release of the supervisor.",
        samples: |facts, out| out.line("_info", &[&facts.status.version], None, 1),
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::status::WorkerPhase;

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
        let status = Status {
            uptime_s: 5,
            groups: vec![group],
            ..Status::default()
        };
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
