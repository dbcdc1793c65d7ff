//! The page: the machine, one table for each scenario, system calls, memory.
//! Ratios are taken within each round and only then the median: what disturbs a round disturbs both.

use std::fmt::Write as _;

use crate::measure::Sample;
use crate::options::Options;
use crate::peer::Peer;
use crate::process::{ROLES, Role};
use crate::schedule::{Finding, Record};
use crate::statistic::Spread;

pub(super) fn page(
    options: &Options,
    machine: &[String],
    peers: &[Peer],
    record: &Record,
    plots: &[(String, String)],
) -> String {
    let mut text = String::from(
        "# Benchmark results\n\nWritten by `make bench`; docs/performance.md explains them.\n\n",
    );
    for line in machine {
        let _ = writeln!(text, "* {line}");
    }
    let _ = writeln!(
        text,
        "* {} rounds of {:.1} s for each peer, interleaved; medians, ± half the distance of the quartiles\n\
         * peers: {}\n",
        options.rounds(),
        options.turn().as_secs_f64(),
        peers
            .iter()
            .map(|peer| peer.name())
            .collect::<Vec<_>>()
            .join(", ")
    );
    for (file, title) in plots {
        let _ = writeln!(text, "![{title}]({file})\n");
    }
    for finding in &record.results {
        scenario(&mut text, finding);
    }
    syscalls(&mut text, record);
    memory(&mut text, record);
    outages(&mut text, record);
    reloads(&mut text, record);
    text
}

fn scenario(text: &mut String, finding: &Finding) {
    let _ = writeln!(
        text,
        "## {}\n\n{}",
        finding.scenario.title(),
        finding.scenario.workload.what
    );
    if let Some(rate) = finding.rate {
        let _ = writeln!(text, "; {rate:.0} requests/s asked for");
    }
    let has_rare = finding.scenario.workload.rare.is_some();
    let _ = writeln!(
        text,
        "\n| | requests/s | ± % | × mod_wsgi | × limit | p50 ms | p99 ms | p99.9 ms |{} CPU µs/request | × mod_wsgi | × limit | httpd + supervisor + worker µs | switches/request (+ involuntary) | failures |",
        if has_rare {
            " p99 ms of the rare |"
        } else {
            ""
        }
    );
    let _ = writeln!(
        text,
        "|---|{}",
        "---:|".repeat(if has_rare { 14 } else { 13 })
    );
    for (peer, samples) in &finding.samples {
        let median = |value: fn(&Sample) -> f64| Spread::of(samples.iter().map(value));
        let rate = median(|sample| sample.rps);
        let role = |index: usize| {
            Spread::of(
                samples
                    .iter()
                    .map(|sample| sample.cpu_by_role.get(index).copied().unwrap_or_default()),
            )
            .median
        };
        let _ = write!(
            text,
            "| {} | {} | {:.0} | {} | {} | {} | {} | {} |",
            peer.name(),
            number(rate.median),
            rate.percent(),
            ratio(finding, *peer, Peer::ModWsgi, |sample| sample.rps),
            ratio(finding, *peer, Peer::Limit, |sample| sample.rps),
            number(median(|sample| sample.p50).median),
            number(median(|sample| sample.p99).median),
            number(median(|sample| sample.p999).median),
        );
        if has_rare {
            let _ = write!(
                text,
                " {} |",
                number(median(|sample| sample.rare_p99).median)
            );
        }
        let _ = writeln!(
            text,
            " {} | {} | {} | {} + {} + {} | {:.2} (+ {:.2}) | {} |",
            number(median(|sample| sample.cpu).median),
            ratio(finding, *peer, Peer::ModWsgi, |sample| sample.cpu),
            ratio(finding, *peer, Peer::Limit, |sample| sample.cpu),
            number(role(0)),
            number(role(1)),
            number(role(2)),
            median(|sample| sample.voluntary).median,
            median(|sample| sample.involuntary).median,
            failures(samples),
        );
    }
    text.push('\n');
}

fn failures(samples: &[Sample]) -> String {
    let count: u64 = samples.iter().map(|sample| sample.failures).sum();
    match samples
        .iter()
        .find_map(|sample| sample.first_failure.as_deref())
    {
        Some(first) => format!("{count} ({})", first.replace('|', "/")),
        None => count.to_string(),
    }
}

fn ratio(finding: &Finding, peer: Peer, base: Peer, value: fn(&Sample) -> f64) -> String {
    match super::plot::ratio(finding, peer, base, value) {
        Some(spread) => format!("{:.2}", spread.median),
        None => "–".to_owned(),
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

fn syscalls(text: &mut String, record: &Record) {
    if record
        .results
        .iter()
        .all(|finding| finding.syscalls.is_empty())
    {
        return;
    }
    text.push_str("## System calls for each request\n\nFrom runs of their own under strace.\n\n");
    text.push_str(
        "| scenario | | all | httpd | supervisor | worker |\n|---|---|---:|---|---|---|\n",
    );
    for finding in &record.results {
        for (peer, count) in &finding.syscalls {
            let all: f64 = ROLES.iter().map(|role| count.of(*role)).sum();
            let _ = write!(
                text,
                "| {} | {} | {all:.1} |",
                finding.scenario.title(),
                peer.name()
            );
            for role in ROLES {
                let _ = write!(text, " {:.1}: {} |", count.of(role), count.names(role));
            }
            text.push('\n');
        }
    }
    text.push('\n');
}

fn memory(text: &mut String, record: &Record) {
    text.push_str(
        "## Memory after the load\n\nMiB; private = pages that no other process has.\n\n",
    );
    text.push_str(
        "| application | | a worker: RSS | PSS | private | supervisor: RSS | PSS | httpd: PSS |\n",
    );
    text.push_str("|---|---|---:|---:|---:|---:|---:|---:|\n");
    for row in &record.memory {
        let of = |role: Role| row.by_role.get(&role).copied().unwrap_or_default();
        let worker = of(Role::Worker);
        let supervisor = of(Role::Supervisor);
        let httpd = of(Role::Httpd);
        let each = |sum: u64| number(sum as f64 / 1024.0 / worker.processes.max(1) as f64);
        let _ = writeln!(
            text,
            "| {:?} {} | {} | {} | {} | {} | {} | {} | {} |",
            row.app,
            row.shape,
            row.peer.name(),
            each(worker.rss),
            each(worker.pss),
            each(worker.private),
            number(supervisor.rss as f64 / 1024.0),
            number(supervisor.pss as f64 / 1024.0),
            number(httpd.pss as f64 / 1024.0),
        );
    }
    for (app, memory) in &record.bare {
        let [rss, pss, private] =
            [memory.rss, memory.pss, memory.private].map(|sum| number(sum as f64 / 1024.0));
        let _ = writeln!(
            text,
            "| {app:?} | bare interpreter, application imported | {rss} | {pss} | {private} | | | |"
        );
    }
    text.push('\n');
}

fn outages(text: &mut String, record: &Record) {
    if record.outages.is_empty() {
        return;
    }
    text.push_str("## The only worker is killed\n\nFrom SIGKILL to the next right answer; asked again and again on new connections.\n\n");
    text.push_str("| application | | ms | ± % | failures each time |\n|---|---|---:|---:|---:|\n");
    for ((app, peer), outages) in &record.outages {
        let lasted = Spread::of(outages.iter().map(|outage| outage.lasted_ms));
        let failures = Spread::of(outages.iter().map(|outage| f64::from(outage.failures)));
        let _ = writeln!(
            text,
            "| {app:?} | {} | {} | {:.0} | {} |",
            peer.name(),
            number(lasted.median),
            lasted.percent(),
            failures.median
        );
    }
}

fn reloads(text: &mut String, record: &Record) {
    if record.reloads.is_empty() {
        return;
    }
    text.push_str(
        "\n## The script is touched\n\nUntil the old worker has gone; asked again and again on new connections.\n\n",
    );
    text.push_str(
        "| application | | ms | ± % | slowest request ms | failures each time |\n|---|---|---:|---:|---:|---:|\n",
    );
    for ((app, peer), reloads) in &record.reloads {
        let lasted = Spread::of(reloads.iter().map(|reload| reload.lasted_ms));
        let slowest = Spread::of(reloads.iter().map(|reload| reload.slowest_ms));
        let failures = Spread::of(reloads.iter().map(|reload| f64::from(reload.failures)));
        let _ = writeln!(
            text,
            "| {app:?} | {} | {} | {:.0} | {} | {} |",
            peer.name(),
            number(lasted.median),
            lasted.percent(),
            number(slowest.median),
            failures.median
        );
    }
}
