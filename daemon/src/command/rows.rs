//! The requests in flight of a status in rows, and where others wait: for `requests`
//! and `top`. Pure; knows no terminal.

use std::cmp::Reverse;

use serde::Serialize;
use wsgid_protocol::in_flight::RequestInFlight;
use wsgid_protocol::status::{GroupStatus, Status};

/// A request in flight, and where it is.
#[derive(Debug, Serialize)]
pub(super) struct RequestRow<'s> {
    pub(super) group: &'s str,
    pub(super) application_group: &'s str,
    pub(super) worker: u32,
    #[serde(flatten)]
    pub(super) request: &'s RequestInFlight,
}

/// How many requests of a group wait, and where.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct WaitingRequests<'s> {
    pub(super) group: &'s str,
    /// In a worker, for one of its threads.
    for_thread: u64,
    /// In the supervisor, for a worker.
    for_worker: u64,
    /// In the supervisor, until their application group has room.
    for_room: u64,
    /// In httpd, until it may spend a thread.
    in_httpd: u64,
}

/// The requests of all groups, the oldest first.
pub(super) fn requests(status: &Status) -> Vec<RequestRow<'_>> {
    let mut rows: Vec<RequestRow<'_>> = status.groups.iter().flat_map(requests_of).collect();
    rows.sort_by_key(|row| Reverse(row.request.for_us));
    rows
}

fn requests_of(group: &GroupStatus) -> impl Iterator<Item = RequestRow<'_>> {
    let pools = group.pools.iter();
    let workers = pools.flat_map(|pool| pool.workers.iter().map(move |worker| (pool, worker)));
    workers.flat_map(|(pool, worker)| {
        worker.running.iter().map(|request| RequestRow {
            group: &group.name,
            application_group: &pool.application_group,
            worker: worker.pid,
            request,
        })
    })
}

impl<'s> WaitingRequests<'s> {
    pub(super) fn of(group: &'s GroupStatus) -> Self {
        let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
        Self {
            group: &group.name,
            for_thread: sum(&mut group.workers().map(|worker| worker.queued)),
            for_worker: sum(&mut group.pools.iter().map(|pool| pool.waiting)),
            for_room: group.waiting_for_room,
            in_httpd: group.waiting_in_httpd,
        }
    }

    /// In words; `None` if none waits.
    pub(super) fn text(&self) -> Option<String> {
        let parts = [
            (self.for_thread, "for a thread of its worker"),
            (self.for_worker, "for a worker"),
            (self.for_room, "for room for another application group"),
            (self.in_httpd, "for a thread of httpd"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let text: Vec<String> = parts
            .map(|(count, what)| {
                let verb = if *count == 1 { "waits" } else { "wait" };
                format!("{count} {verb} {what}")
            })
            .collect();
        (!text.is_empty()).then(|| text.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::status::{PoolStatus, WorkerStatus};

    use super::*;

    fn worker(pid: u32, ages: &[u64]) -> WorkerStatus {
        let request = |for_us: &u64| RequestInFlight {
            for_us: *for_us,
            ..RequestInFlight::default()
        };
        WorkerStatus {
            pid,
            queued: 1,
            running: ages.iter().map(request).collect(),
            ..WorkerStatus::default()
        }
    }

    #[test]
    fn the_oldest_is_first_whatever_group_it_is_in() {
        let group = |name: &str, workers| GroupStatus {
            name: name.to_owned(),
            pools: vec![PoolStatus {
                waiting: 3,
                workers,
                ..PoolStatus::default()
            }],
            ..GroupStatus::default()
        };
        let status = Status {
            groups: vec![
                group("a", vec![worker(1, &[5, 9]), worker(2, &[7])]),
                group("b", vec![worker(3, &[8])]),
            ],
            ..Status::default()
        };
        let rows = requests(&status);
        let rows: Vec<_> = rows.iter().map(|row| (row.group, row.worker)).collect();
        assert_eq!(rows, [("a", 1), ("b", 3), ("a", 2), ("a", 1)]);
        let waiting = WaitingRequests::of(&status.groups[0]);
        assert_eq!(
            waiting.text().unwrap(),
            "2 wait for a thread of its worker, 3 wait for a worker"
        );
        assert_eq!(status.groups[0].waiting(), 5);
        let none = GroupStatus::default();
        assert_eq!(WaitingRequests::of(&none).text(), None);
    }
}
