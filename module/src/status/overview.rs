//! What the status page shows beside what the supervisor says: sums, and how long requests
//! take. Pure.

use std::cmp::Reverse;

use serde::Serialize;
use wsgid_protocol::in_flight::RequestInFlight;
use wsgid_protocol::status::{FailedScript, GroupStatus, PoolStatus, Status, WorkerStatus};

/// A group, and its row in the overview.
#[derive(Debug, Serialize)]
pub(super) struct GroupOverview<'s> {
    status: &'s GroupStatus,
    /// Its place among all.
    index: usize,
    pools: Vec<PoolOverview<'s>>,
    ready: usize,
    processes: usize,
    in_flight: u64,
    waiting: u64,
    requests: u64,
    restarts: u64,
    /// Half of the requests took less than 2 to the power of this, in microseconds.
    half_take: Option<usize>,
    /// The same of 99 %.
    most_take: Option<usize>,
}

impl<'s> GroupOverview<'s> {
    pub(super) fn all(status: &'s Status) -> Vec<Self> {
        let groups = status.groups.iter().enumerate();
        let mut groups: Vec<Self> = groups
            .map(|(index, group)| Self::new(index, group))
            .collect();
        // A supervisor of an older release has them in another order.
        groups.sort_by_key(|group| group.status.state);
        groups
    }

    fn new(index: usize, status: &'s GroupStatus) -> Self {
        let totals = status.totals.as_ref();
        let of_workers = || histogram(status.workers());
        let histogram = totals.map_or_else(of_workers, |totals| totals.duration.histogram.clone());
        let counted = totals.map(|totals| sum(totals.requests.values().copied()));
        Self {
            status,
            index,
            pools: status.pools.iter().map(PoolOverview::new).collect(),
            ready: status.workers().filter(|worker| worker.is_ready()).count(),
            processes: status.workers().count().max(status.processes as usize),
            in_flight: sum(status.workers().map(|worker| worker.in_flight)),
            waiting: status.waiting(),
            requests: counted
                .unwrap_or_else(|| sum(status.workers().map(|worker| worker.requests))),
            restarts: sum(status.pools.iter().map(|pool| pool.restarts)),
            half_take: percentile(&histogram, 50),
            most_take: percentile(&histogram, 99),
        }
    }
}

/// A pool, and what is told of its requests.
#[derive(Debug, Serialize)]
struct PoolOverview<'s> {
    status: &'s PoolStatus,
    /// Of its workers, each once: they fail in the same way, mostly.
    failed_scripts: Vec<&'s FailedScript>,
    durations: Vec<DurationCount>,
    /// Those in flight, the oldest first.
    requests: Vec<RequestOverview<'s>>,
    /// Requests that wait for a worker, or in one for a thread.
    waiting: u64,
}

impl<'s> PoolOverview<'s> {
    fn new(status: &'s PoolStatus) -> Self {
        let workers = status.workers.iter();
        let mut failed_scripts = Vec::new();
        for failed in workers.flat_map(|worker| &worker.failed_scripts) {
            if !failed_scripts.contains(&failed) {
                failed_scripts.push(failed);
            }
        }
        let histogram = histogram(&status.workers);
        Self {
            status,
            failed_scripts,
            durations: durations(&histogram),
            requests: requests(&status.workers),
            waiting: status.waiting_requests(),
        }
    }
}

/// A request in flight.
#[derive(Debug, Serialize)]
struct RequestOverview<'s> {
    worker: u32,
    request: &'s RequestInFlight,
}

fn requests(workers: &[WorkerStatus]) -> Vec<RequestOverview<'_>> {
    let mut all: Vec<RequestOverview<'_>> = workers
        .iter()
        .flat_map(|worker| worker.running.iter().map(move |request| (worker, request)))
        .map(|(worker, request)| RequestOverview {
            worker: worker.pid,
            request,
        })
        .collect();
    all.sort_by_key(|one| Reverse(one.request.for_us));
    all
}

/// How many requests took less than 2 to the power of `exponent` microseconds, and
/// no less than half of that.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct DurationCount {
    exponent: usize,
    requests: u64,
}

fn durations(histogram: &[u64]) -> Vec<DurationCount> {
    let end = histogram.iter().rposition(|requests| *requests > 0);
    let all = histogram.iter().copied().enumerate();
    all.take(end.map_or(0, |last| last + 1))
        .skip_while(|(_, requests)| *requests == 0)
        .map(|(exponent, requests)| DurationCount { exponent, requests })
        .collect()
}

/// Durations of requests, all workers together: entry `n` is below 2^n µs.
fn histogram<'s>(workers: impl IntoIterator<Item = &'s WorkerStatus>) -> Vec<u64> {
    let mut sums: Vec<u64> = Vec::new();
    for worker in workers {
        sums.resize(sums.len().max(worker.histogram.len()), 0);
        for (sum, count) in sums.iter_mut().zip(&worker.histogram) {
            *sum = sum.saturating_add(*count);
        }
    }
    sums
}

/// A worker may claim any number.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// The entry of the histogram within which so many of a hundred requests ended.
fn percentile(histogram: &[u64], percent: u128) -> Option<usize> {
    let all: u128 = histogram.iter().copied().map(u128::from).sum();
    let mut seen = 0;
    let at = histogram.iter().position(|count| {
        seen += u128::from(*count);
        seen * 100 >= all * percent
    });
    at.filter(|_| all > 0)
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::totals::{DurationTotals, GroupTotals};

    use super::*;

    fn with_pool(pool: PoolStatus) -> GroupStatus {
        GroupStatus {
            pools: vec![pool],
            ..GroupStatus::default()
        }
    }

    #[test]
    fn percentiles_are_bounds() {
        let durations = [0, 98, 0, 1, 1];
        assert_eq!(percentile(&durations, 50), Some(1));
        assert_eq!(percentile(&durations, 99), Some(3));
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(percentile(&[0], 50), None);
    }

    #[test]
    fn durations_begin_with_the_shortest_and_end_with_the_longest() {
        let duration = |exponent, requests| DurationCount { exponent, requests };
        assert_eq!(
            durations(&[0, 10, 0, 40, 0]),
            [duration(1, 10), duration(2, 0), duration(3, 40)]
        );
        assert_eq!(durations(&[0, 0]), []);
        assert_eq!(durations(&[]), []);
    }

    #[test]
    fn what_a_worker_claims_is_no_panic() {
        let worker = WorkerStatus {
            in_flight: u64::MAX,
            histogram: vec![u64::MAX, u64::MAX],
            ..WorkerStatus::default()
        };
        let pool = PoolStatus {
            workers: vec![worker.clone(), worker],
            ..PoolStatus::default()
        };
        let group = with_pool(pool);
        let overview = GroupOverview::new(0, &group);
        assert_eq!(overview.in_flight, u64::MAX);
        assert_eq!(overview.half_take, Some(0));
    }

    #[test]
    fn totals_are_shown_where_there_are_any() {
        let worker = WorkerStatus {
            requests: 5,
            histogram: vec![5],
            ..WorkerStatus::default()
        };
        let mut group = with_pool(PoolStatus {
            workers: vec![worker],
            ..PoolStatus::default()
        });
        let seen = |group: &GroupStatus| {
            let overview = GroupOverview::new(0, group);
            (overview.requests, overview.half_take)
        };
        assert_eq!(seen(&group), (5, Some(0)));
        group.totals = Some(GroupTotals {
            requests: [("2xx".to_owned(), 70), ("5xx".to_owned(), 30)].into(),
            duration: DurationTotals {
                histogram: vec![0, 0, 100],
                ..DurationTotals::default()
            },
            ..GroupTotals::default()
        });
        assert_eq!(seen(&group), (100, Some(2)));
    }
}
