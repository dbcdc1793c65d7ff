//! The raw samples as comma-separated values, one line a turn.

use std::fmt::Write as _;

use crate::schedule::Record;

pub(super) fn csv(record: &Record) -> String {
    let mut text = String::from(
        "workload,processes,threads,connections,rate,peer,round,rps,p50_ms,p99_ms,p999_ms,rare_p99_ms,cpu_us,\
         cpu_httpd_us,cpu_supervisor_us,cpu_worker_us,voluntary_switches,involuntary_switches,failures\n",
    );
    for finding in &record.results {
        let scenario = &finding.scenario;
        for (peer, samples) in &finding.samples {
            for (round, sample) in samples.iter().enumerate() {
                let [httpd, supervisor, worker] = sample.cpu_by_role;
                let _ = writeln!(
                    text,
                    "{},{},{},{},{:.1},{},{round},{:.1},{:.4},{:.4},{:.4},{:.4},{:.2},{httpd:.2},{supervisor:.2},{worker:.2},{:.3},{:.3},{}",
                    scenario.workload.name,
                    scenario.shape.processes,
                    scenario.shape.threads,
                    scenario.connections,
                    finding.rate.unwrap_or_default(),
                    peer.name(),
                    sample.rps,
                    sample.p50,
                    sample.p99,
                    sample.p999,
                    sample.rare_p99,
                    sample.cpu,
                    sample.voluntary,
                    sample.involuntary,
                    sample.failures,
                );
            }
        }
    }
    text
}
