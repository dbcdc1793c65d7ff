//! All families of metrics: a row each, with what it means and where its numbers are in a
//! status.

use std::collections::BTreeMap;

use super::family::{Facts, MetricFamily, MetricKind, Samples, seconds};
use crate::status::{GroupState, GroupStatus};
use crate::totals::{CLASSES, GroupTotals, RestartReason};

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
const USER: &[&str] = &["user"];
const POOL: &[&str] = &["group", "application_group"];
const WORKER: &[&str] = &["group", "application_group", "pid"];

/// All families, in the order in which they are shown.
pub const TABLE: &[MetricFamily] = &[
    MetricFamily {
        name: "wsgid_group_state",
        kind: MetricKind::Gauge,
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
    MetricFamily {
        name: "wsgid_requests",
        kind: MetricKind::Counter,
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
    MetricFamily {
        name: "wsgid_failures",
        kind: MetricKind::Counter,
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
    MetricFamily {
        name: "wsgid_responses_broken_off",
        kind: MetricKind::Counter,
        labels: GROUP,
        help: "Responses that had begun and did not come to their end, clients that went away included.",
        samples: |facts, out| by_group(facts, out, |totals| totals.broken_off),
    },
    MetricFamily {
        name: "wsgid_request_duration_seconds",
        kind: MetricKind::Histogram,
        labels: GROUP,
        help: "Time from a request's first line to the end of its response.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                out.histogram(&[&group.name], &totals.duration, totals.since);
            }
        },
    },
    MetricFamily {
        name: "wsgid_request_queue_seconds",
        kind: MetricKind::Histogram,
        labels: GROUP,
        help: "Time that requests which a worker answered had waited for one of its threads.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                out.histogram(&[&group.name], &totals.queue, totals.since);
            }
        },
    },
    MetricFamily {
        name: "wsgid_waiting_requests",
        kind: MetricKind::Gauge,
        labels: POOL,
        help: "Requests that wait in the supervisor for a worker.",
        samples: |facts, out| {
            for (group, pool) in facts.pools() {
                out.gauge(&[&group.name, &pool.application_group], pool.waiting);
            }
        },
    },
    MetricFamily {
        name: "wsgid_busy_threads",
        kind: MetricKind::Gauge,
        labels: GROUP,
        help: "Threads of workers that serve a request.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                let busy = group.workers().map(|worker| worker.in_flight);
                out.gauge(&[&group.name], busy.fold(0, u64::saturating_add));
            }
        },
    },
    MetricFamily {
        name: "wsgid_threads",
        kind: MetricKind::Gauge,
        labels: GROUP,
        help: "Threads of the workers that are ready.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                out.gauge(&[&group.name], threads(group));
            }
        },
    },
    MetricFamily {
        name: "wsgid_threads_max",
        kind: MetricKind::Gauge,
        labels: GROUP,
        help: "Threads that it has with all processes that are configured, in one application group.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                let most = u64::from(group.processes_max) * u64::from(group.threads);
                out.gauge(&[&group.name], most);
            }
        },
    },
    MetricFamily {
        name: "wsgid_httpd_threads",
        kind: MetricKind::Gauge,
        labels: &["group", "state"],
        help: "Threads of httpd that the group's requests hold: running, or waiting until they may begin.",
        samples: |facts, out| {
            for (group, (running, waiting)) in facts.httpd.iter().flat_map(|httpd| &httpd.groups) {
                out.gauge(&[group, "running"], running);
                out.gauge(&[group, "waiting"], waiting);
            }
        },
    },
    MetricFamily {
        name: "wsgid_httpd_threads_max",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Threads that httpd has for requests: MaxRequestWorkers.",
        samples: |facts, out| {
            if let Some(httpd) = facts.httpd {
                out.gauge(&[], httpd.most);
            }
        },
    },
    MetricFamily {
        name: "wsgid_workers",
        kind: MetricKind::Gauge,
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
    MetricFamily {
        name: "wsgid_restarts",
        kind: MetricKind::Counter,
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
    MetricFamily {
        name: "wsgid_generations_given_up",
        kind: MetricKind::Counter,
        labels: GROUP,
        help: "New generations of workers, or single new workers, that did not take over from the old ones.",
        samples: |facts, out| by_group(facts, out, |totals| totals.given_up),
    },
    MetricFamily {
        name: "wsgid_generation",
        kind: MetricKind::Gauge,
        labels: POOL,
        help: "Generation of the workers that serve.",
        samples: |facts, out| {
            for (group, pool) in facts.pools() {
                out.gauge(&[&group.name, &pool.application_group], pool.generation);
            }
        },
    },
    MetricFamily {
        name: "wsgid_memory_bytes",
        kind: MetricKind::Gauge,
        labels: GROUP,
        help: "Memory of the workers: of their control group, or as they say.",
        samples: |facts, out| {
            for group in &facts.status.groups {
                out.gauge(&[&group.name], group.memory);
            }
        },
    },
    MetricFamily {
        name: "wsgid_cpu_seconds",
        kind: MetricKind::Counter,
        labels: GROUP,
        help: "Processor time of the workers, as they say.",
        samples: |facts, out| {
            for (group, totals) in facts.totals() {
                out.counter(&[&group.name], seconds(totals.cpu_us), Some(totals.since));
            }
        },
    },
    MetricFamily {
        name: "wsgid_log_dropped_lines",
        kind: MetricKind::Counter,
        labels: GROUP,
        help: "Lines that log-rate= has kept out of the log.",
        samples: |facts, out| by_group(facts, out, |totals| totals.log_dropped_lines),
    },
    MetricFamily {
        name: "wsgid_log_dropped_bytes",
        kind: MetricKind::Counter,
        labels: GROUP,
        help: "Bytes of these lines.",
        samples: |facts, out| by_group(facts, out, |totals| totals.log_dropped_bytes),
    },
    MetricFamily {
        name: "wsgid_worker_requests",
        kind: MetricKind::Counter,
        labels: WORKER,
        help: "Requests that a worker has ended, as it says.",
        samples: |facts, out| {
            for ([group, application_group], worker) in facts.workers() {
                let pid = worker.pid.to_string();
                out.counter(&[group, application_group, &pid], worker.requests, None);
            }
        },
    },
    MetricFamily {
        name: "wsgid_worker_in_flight_requests",
        kind: MetricKind::Gauge,
        labels: WORKER,
        help: "Requests that a worker serves, as it says.",
        samples: |facts, out| {
            for ([group, application_group], worker) in facts.workers() {
                let pid = worker.pid.to_string();
                out.gauge(&[group, application_group, &pid], worker.in_flight);
            }
        },
    },
    MetricFamily {
        name: "wsgid_worker_memory_bytes",
        kind: MetricKind::Gauge,
        labels: WORKER,
        help: "Resident memory of a worker, as it says.",
        samples: |facts, out| {
            for ([group, application_group], worker) in facts.workers() {
                let pid = worker.pid.to_string();
                out.gauge(&[group, application_group, &pid], worker.memory);
            }
        },
    },
    MetricFamily {
        name: "wsgid_worker_cpu_seconds",
        kind: MetricKind::Counter,
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
    MetricFamily {
        name: "wsgid_user_workers",
        kind: MetricKind::Gauge,
        labels: USER,
        help: "Worker processes of all process groups of a user that has limits.",
        samples: |facts, out| {
            for user in &facts.status.users {
                out.gauge(&[&user.user], user.processes);
            }
        },
    },
    MetricFamily {
        name: "wsgid_user_workers_max",
        kind: MetricKind::Gauge,
        labels: USER,
        help: "Worker processes that a user may have, where that is limited.",
        samples: |facts, out| {
            for user in &facts.status.users {
                if user.limits.processes > 0 {
                    out.gauge(&[&user.user], user.limits.processes);
                }
            }
        },
    },
    MetricFamily {
        name: "wsgid_user_memory_bytes",
        kind: MetricKind::Gauge,
        labels: USER,
        help: "Memory of all processes of a user that has limits, where the kernel counts it.",
        samples: |facts, out| {
            for user in &facts.status.users {
                if let Some(bytes) = user.control_group.as_ref().and_then(|own| own.memory) {
                    out.gauge(&[&user.user], bytes);
                }
            }
        },
    },
    MetricFamily {
        name: "wsgid_user_memory_max_bytes",
        kind: MetricKind::Gauge,
        labels: USER,
        help: "Memory that a user may have, where that is limited.",
        samples: |facts, out| {
            for user in &facts.status.users {
                if user.limits.memory_max > 0 {
                    out.gauge(&[&user.user], user.limits.memory_max);
                }
            }
        },
    },
    MetricFamily {
        name: "wsgid_uptime_seconds",
        kind: MetricKind::Gauge,
        labels: &[],
        help: "Time since the supervisor started.",
        samples: |facts, out| out.gauge(&[], facts.status.uptime_s),
    },
    MetricFamily {
        name: "wsgid_build",
        kind: MetricKind::Info,
        labels: &["version"],
        help: "Release of the supervisor.",
        samples: |facts, out| out.line("_info", &[&facts.status.version], None, 1),
    },
];
