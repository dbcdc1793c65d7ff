//! What `wsgid top` tells of each process group: numbers of one status, and rates from
//! two of them. Those that need somebody are first, whatever they are sorted by. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Instant;

use wsgid_protocol::status::{GroupStatus, Status, Urgency};

/// What the groups may be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SortedBy {
    #[default]
    Busy,
    Waiting,
    Rate,
    Slowest,
    Memory,
    Processor,
    Name,
}

impl SortedBy {
    pub(super) const ALL: [Self; 7] = [
        Self::Busy,
        Self::Waiting,
        Self::Rate,
        Self::Slowest,
        Self::Memory,
        Self::Processor,
        Self::Name,
    ];

    pub(super) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|one| *one == self);
        let next = (at.unwrap_or(0) + 1) % Self::ALL.len();
        Self::ALL[next]
    }
}

/// A process group.
#[derive(Clone, Debug)]
pub(super) struct GroupRow {
    pub(super) name: String,
    pub(super) state: &'static str,
    pub(super) urgency: Urgency,
    pub(super) ready: usize,
    pub(super) workers: usize,
    pub(super) busy: u64,
    /// Requests that may run at the same time.
    pub(super) capacity: u64,
    pub(super) waiting: u64,
    /// Requests that ended in a second.
    pub(super) per_second: Option<f64>,
    /// 99 % of the requests took less, in microseconds.
    pub(super) slowest_us: Option<u64>,
    pub(super) memory: Option<u64>,
    /// Processors in use: 1.5 is one and a half.
    pub(super) processors: Option<f64>,
}

/// The groups of the last status.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) status: Status,
    looked: Option<Instant>,
    rows: Vec<GroupRow>,
}

impl Groups {
    pub(super) fn note(&mut self, status: Status, now: Instant) {
        let before = std::mem::replace(&mut self.status, status);
        let looked = self.looked.replace(now);
        let passed = looked.map(|then| now.saturating_duration_since(then).as_secs_f64());
        let rows = self.status.groups.iter().map(|group| {
            let earlier = passed
                .filter(|passed| *passed > 0.0)
                .zip(before.group(&group.name));
            GroupRow::new(group, earlier)
        });
        self.rows = rows.collect();
    }

    /// In the order in which they are shown: what needs somebody first.
    pub(super) fn rows(&self, by: SortedBy, is_reversed: bool) -> Vec<&GroupRow> {
        let mut rows: Vec<&GroupRow> = self.rows.iter().collect();
        rows.sort_by(|a, b| {
            let order = a.compare(b, by);
            let order = if is_reversed { order.reverse() } else { order };
            a.urgency
                .min(Urgency::Good)
                .cmp(&b.urgency.min(Urgency::Good))
                .then(order)
                .then_with(|| a.name.cmp(&b.name))
        });
        rows
    }
}

impl GroupRow {
    /// `earlier`: the group as it was some seconds before.
    fn new(group: &GroupStatus, earlier: Option<(f64, &GroupStatus)>) -> Self {
        let ready = group.workers().filter(|worker| worker.is_ready()).count();
        let capacity = (ready as u64).saturating_mul(group.threads.into());
        let used = |group: &GroupStatus| group.totals.as_ref().map(|totals| totals.cpu_us);
        let processors = earlier.and_then(|(passed, before)| {
            let us = used(group)?.checked_sub(used(before)?)?;
            Some(us as f64 / 1e6 / passed)
        });
        Self {
            name: group.name.clone(),
            state: group.state.word(),
            urgency: group.state.urgency(),
            ready,
            workers: group.workers().count(),
            busy: sum(group.workers().map(|worker| worker.in_flight)),
            capacity,
            waiting: group.waiting(),
            per_second: earlier.map(|(passed, before)| ended(group, before) as f64 / passed),
            slowest_us: slowest(group),
            memory: Some(group.memory).filter(|bytes| *bytes > 0),
            processors,
        }
    }

    /// What is most comes first, but for names.
    fn compare(&self, other: &Self, by: SortedBy) -> Ordering {
        let floats = |a: Option<f64>, b: Option<f64>| b.unwrap_or(0.0).total_cmp(&a.unwrap_or(0.0));
        match by {
            SortedBy::Busy => other.busy.cmp(&self.busy),
            SortedBy::Waiting => other.waiting.cmp(&self.waiting),
            SortedBy::Rate => floats(self.per_second, other.per_second),
            SortedBy::Slowest => other.slowest_us.cmp(&self.slowest_us),
            SortedBy::Memory => other.memory.cmp(&self.memory),
            SortedBy::Processor => floats(self.processors, other.processors),
            SortedBy::Name => self.name.cmp(&other.name),
        }
    }
}

/// Requests that have ended since: as they are counted for good, or else in workers that
/// are still there. A worker that is new has served all of its requests since.
fn ended(group: &GroupStatus, before: &GroupStatus) -> u64 {
    let counted = |group: &GroupStatus| {
        let totals = group.totals.as_ref()?;
        Some(sum(totals.requests.values().copied()))
    };
    if let (Some(now), Some(before)) = (counted(group), counted(before)) {
        return now.saturating_sub(before);
    }
    let before: BTreeMap<u32, u64> = before
        .workers()
        .map(|worker| (worker.pid, worker.requests))
        .collect();
    sum(group.workers().map(|worker| {
        let earlier = before.get(&worker.pid).copied().unwrap_or(0);
        worker.requests.saturating_sub(earlier)
    }))
}

/// 99 of a hundred requests took less than this, in microseconds.
fn slowest(group: &GroupStatus) -> Option<u64> {
    let mut sums: Vec<u64> = Vec::new();
    for worker in group.workers() {
        sums.resize(sums.len().max(worker.histogram.len()), 0);
        for (sum, count) in sums.iter_mut().zip(&worker.histogram) {
            *sum = sum.saturating_add(*count);
        }
    }
    let all = sum(sums.iter().copied());
    let mut seen: u64 = 0;
    let at = sums.iter().position(|count| {
        seen = seen.saturating_add(*count);
        u128::from(seen) * 100 >= u128::from(all) * 99
    });
    let exponent = u32::try_from(at.filter(|_| all > 0)?).ok()?;
    Some(1_u64.checked_shl(exponent).unwrap_or(u64::MAX))
}

/// A worker may claim any number.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wsgid_protocol::status::{GroupState, PoolStatus, WorkerPhase, WorkerStatus};
    use wsgid_protocol::totals::GroupTotals;

    use super::*;

    fn group(name: &str, in_flight: u64, requests: u64) -> GroupStatus {
        let worker = WorkerStatus {
            pid: 7,
            state: WorkerPhase::Ready,
            in_flight,
            requests,
            histogram: vec![0, 0, 98, 0, 2],
            ..WorkerStatus::default()
        };
        GroupStatus {
            name: name.to_owned(),
            state: GroupState::Running,
            threads: 5,
            memory: 1 << 20,
            totals: Some(GroupTotals {
                requests: [("2xx".to_owned(), requests)].into(),
                cpu_us: requests * 10_000,
                ..GroupTotals::default()
            }),
            pools: vec![PoolStatus {
                workers: vec![worker],
                ..PoolStatus::default()
            }],
            ..GroupStatus::default()
        }
    }

    fn named(groups: Vec<GroupStatus>) -> Groups {
        let mut all = Groups::default();
        let status = Status {
            groups,
            ..Status::default()
        };
        all.note(status, Instant::now());
        all
    }

    #[test]
    fn what_needs_somebody_is_first_whatever_the_order() {
        let failed = GroupStatus {
            name: "zoo".to_owned(),
            state: GroupState::CannotStart,
            ..GroupStatus::default()
        };
        let stopped = GroupStatus {
            name: "bar".to_owned(),
            state: GroupState::Stopped,
            ..GroupStatus::default()
        };
        let all = named(vec![group("a", 1, 9), stopped, group("c", 4, 2), failed]);
        for by in SortedBy::ALL {
            for is_reversed in [false, true] {
                assert_eq!(all.rows(by, is_reversed)[0].name, "zoo", "{by:?}");
            }
        }
        let names = |by, is_reversed| -> Vec<&str> {
            let rows = all.rows(by, is_reversed).into_iter();
            rows.map(|row| row.name.as_str()).collect()
        };
        assert_eq!(names(SortedBy::Busy, false), ["zoo", "c", "a", "bar"]);
        assert_eq!(names(SortedBy::Busy, true), ["zoo", "bar", "a", "c"]);
        assert_eq!(names(SortedBy::Name, false), ["zoo", "a", "bar", "c"]);
    }

    #[test]
    fn rates_are_those_between_two_looks() {
        let begun = Instant::now();
        let mut all = Groups::default();
        let status = |requests| Status {
            groups: vec![group("a", 1, requests)],
            ..Status::default()
        };
        all.note(status(100), begun);
        assert_eq!(all.rows[0].per_second, None);
        all.note(status(150), begun + Duration::from_secs(2));
        let row = &all.rows[0];
        assert_eq!(row.per_second, Some(25.0));
        assert_eq!(row.processors, Some(0.25));
        assert_eq!(row.slowest_us, Some(16));
        assert_eq!((row.busy, row.capacity, row.memory), (1, 5, Some(1 << 20)));
        // Nothing is counted for good: workers that are still there have it.
        let mut alone = |requests| {
            let mut status = status(requests);
            status.groups[0].totals = None;
            all.note(status, begun + Duration::from_secs(requests));
            all.rows[0].per_second
        };
        alone(150);
        assert_eq!(alone(160), Some(1.0));
        assert_eq!(alone(162), Some(1.0));
    }
}
