//! One peer's turn: load on one side, what it cost on the other.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::instance::Instance;
use crate::load::{Generator, Order, Pace};
use crate::process::{ROLES, Usage};
use crate::statistic::percentile;
use crate::workload::Workload;

/// Warm-up: connections are opened and caches filled before anything counts.
const WARM_UP: Duration = Duration::from_millis(150);

/// The figures of one turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) rps: f64,
    /// Milliseconds: median, 99 and 99.9 per cent, of the common kind of request.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// 99 per cent of the rare kind of request; 0 if there is none.
    pub(crate) rare_p99: f64,
    /// Server-side CPU in µs for each request: all, and by role (httpd, supervisor, worker).
    pub(crate) cpu: f64,
    pub(crate) cpu_by_role: [f64; 3],
    pub(crate) voluntary: f64,
    pub(crate) involuntary: f64,
    pub(crate) failures: u64,
    pub(crate) first_failure: Option<String>,
}

/// Lets one server work for a turn.
pub(crate) fn turn(instance: &Instance, workload: &Workload, order: Order) -> Result<Sample> {
    let mut generator = Generator::connect(order, workload)?;
    let warm = generator.run(Pace::Closed, WARM_UP.min(order.length))?;
    let tree = instance.tree();
    let before = Usage::read(&tree);
    let start = Instant::now();
    let mut outcome = generator.run(order.pace, order.length)?;
    let lasted = start.elapsed();
    let spent = Usage::read(&instance.tree()).since(&before);
    let answers = outcome.answers.max(1) as f64;
    for latencies in &mut outcome.latencies {
        latencies.sort_unstable();
    }
    let [common, rare] = &outcome.latencies;
    let per_request = |ns: u64| ns as f64 / 1000.0 / answers;
    // A transfer can last longer than a turn; then only the time until its end tells the rate.
    let long = outcome.in_time < 2 * order.connections as u64;
    let rps = if long {
        outcome.answers as f64 / lasted.as_secs_f64()
    } else {
        outcome.in_time as f64 / outcome.length.as_secs_f64()
    };
    Ok(Sample {
        rps,
        p50: percentile(common, 0.5),
        p99: percentile(common, 0.99),
        p999: percentile(common, 0.999),
        rare_p99: percentile(rare, 0.99),
        cpu: per_request(spent.cpu_ns.values().sum()),
        cpu_by_role: ROLES
            .map(|role| per_request(spent.cpu_ns.get(&role).copied().unwrap_or_default())),
        voluntary: spent.voluntary as f64 / answers,
        involuntary: spent.involuntary as f64 / answers,
        failures: outcome.failures + warm.failures,
        first_failure: outcome.first_failure.or(warm.first_failure),
    })
}
