//! Totals of each process group that never fall: where they lie in memory that httpd and
//! the supervisor share, and what they are as a part of the status. httpd's children count
//! requests there, the supervisor what becomes of workers; so they outlive workers,
//! children of httpd and supervisors. Pure: who makes the memory, and how it is reached, is
//! `module/src/workers/totals.rs` and the supervisor's `totals.rs`.
//!
//! The memory is a row of 64-bit numbers: a head, then a table that httpd writes and one
//! that the supervisor writes. A table is a row of keys, each with a row of numbers. A key
//! is taken in one step and stays, so that nobody has to lock anything. It may be httpd's
//! user's who lies: whoever reads takes numbers, and nothing else depends on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::failure::{self, Failure};

/// What it is called, beside the socket of a supervisor on its own.
pub const FILE_NAME: &str = "totals";

/// Groups of one table. Those that have gone keep their place.
pub const GROUPS: usize = 2048;

/// Places that are tried for a key.
const TRIES: usize = 64;

/// The first number: what is behind it, in which form. Changes with the form.
pub const MARK: u64 = u64::from_be_bytes(*b"wsgid\0\0\x01");

/// Where the time stands at which the memory was made, in seconds since 1970.
pub const SINCE: usize = 1;

/// Numbers of the head.
const HEAD: usize = 8;

/// One of the tables.
#[derive(Clone, Copy, Debug)]
pub struct GroupTable {
    start: usize,
    /// Numbers of a group.
    pub len: usize,
}

/// What httpd's children write.
pub const HTTPDS: GroupTable = GroupTable {
    start: HEAD,
    len: 136,
};

/// What the supervisor writes.
pub const SUPERVISORS: GroupTable = GroupTable {
    start: HTTPDS.end(),
    len: 40,
};

/// Length of the memory in bytes.
pub const LEN: usize = SUPERVISORS.end() * size_of::<u64>();

/// What the memory begins with; behind it are zeros.
pub fn head(since: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&MARK.to_ne_bytes());
    head[8..].copy_from_slice(&since.to_ne_bytes());
    head
}

impl GroupTable {
    const fn end(self) -> usize {
        self.start + GROUPS * (1 + self.len)
    }

    /// Where a key may stand, and the first of its numbers with it. The first place
    /// that has the key is it, the first that has none (0) may be taken.
    pub fn places(self, key: u64) -> impl Iterator<Item = (usize, usize)> {
        let first = (key % GROUPS as u64) as usize;
        (0..TRIES).map(move |step| {
            let place = (first + step) % GROUPS;
            (self.start + place, self.start + GROUPS + place * self.len)
        })
    }
}

/// The key of a group: a number for its name, the same in all processes (FNV-1a), and
/// never 0.
pub fn key_of(group: &str) -> u64 {
    let hash = group
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
    hash.max(1)
}

/// Which of the numbers of [`HTTPDS`] is what.
pub mod httpds {
    use super::{BUCKETS, Failure};

    /// Responses that had begun and broke off.
    pub const BROKEN_OFF: usize = 5;
    /// Microseconds of all requests.
    pub const DURATION_US: usize = 6;
    /// Microseconds that requests waited for a thread of a worker.
    pub const QUEUE_US: usize = 7;
    const DURATIONS: usize = 8;
    const QUEUES: usize = DURATIONS + BUCKETS;
    const FAILURES: usize = QUEUES + BUCKETS;

    /// Requests that were answered with a status of this class.
    pub fn requests(status: i32) -> usize {
        usize::try_from(status / 100).map_or(4, |class| class.clamp(1, 5) - 1)
    }

    /// Requests that took so long.
    pub fn duration(us: u64) -> usize {
        DURATIONS + super::bucket(us)
    }

    /// Requests that waited so long.
    pub fn queue(us: u64) -> usize {
        QUEUES + super::bucket(us)
    }

    /// Requests that failed of this.
    pub const fn failure(failure: Failure) -> usize {
        FAILURES + failure.code() as usize
    }
}

/// Which of the numbers of [`SUPERVISORS`] is what.
pub mod supervisors {
    use super::RestartReason;

    /// Generations, or new workers of one, that did not take over.
    pub const GIVEN_UP: usize = 0;
    /// Microseconds of processor time.
    pub const CPU_US: usize = 1;
    /// Lines that `log-rate=` has kept out of the log.
    pub const LOG_DROPPED_LINES: usize = 2;
    /// Their bytes.
    pub const LOG_DROPPED_BYTES: usize = 3;
    const RESTARTS: usize = 8;

    /// Workers that ended for this.
    pub const fn restarts(reason: RestartReason) -> usize {
        RESTARTS + reason as usize
    }
}

const _: () = {
    let mut at = 0;
    while at < failure::TABLE.len() {
        assert!(httpds::failure(failure::TABLE[at].failure) < HTTPDS.len);
        at += 1;
    }
    let mut at = 0;
    while at < RestartReason::ALL.len() {
        let (reason, _) = RestartReason::ALL[at];
        assert!(reason as usize == at && supervisors::restarts(reason) < SUPERVISORS.len);
        at += 1;
    }
};

/// Powers of two of microseconds that are told apart: up to about half an hour.
pub const BUCKETS: usize = 32;

/// Entry of a histogram: entry `n` counts what took less than 2^n microseconds, and no
/// less than half of that; the last one counts all that took longer, too.
pub const fn bucket(us: u64) -> usize {
    let power = (u64::BITS - us.leading_zeros()) as usize;
    if power < BUCKETS { power } else { BUCKETS - 1 }
}

/// Why a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartReason {
    /// It exited by itself.
    Exited,
    /// A signal ended it that the supervisor did not send.
    Signalled,
    /// The kernel ended it for memory.
    OutOfMemory,
    /// It could not be started.
    NotStarted,
    /// It was not ready within `startup-timeout`.
    StartupTimeout,
    /// A request ran longer than `request-timeout` and did not stop.
    RequestTimeout,
    /// Its interpreter was locked for longer than `deadlock-timeout`.
    Deadlock,
    /// It was asked to end, and what it had was not done in time.
    ShutdownTimeout,
    /// It closed its control socket, or did not read it.
    ControlLost,
    /// A script failed to load in it.
    LoadFailed,
    /// No descriptor was left to it.
    NoDescriptors,
    /// `memory-recycle` was exceeded.
    Memory,
    /// `maximum-requests` was reached.
    MaximumRequests,
    /// `restart-interval` passed.
    RestartInterval,
    /// `inactivity-timeout` passed.
    Inactivity,
    /// `cpu-time-limit` was reached.
    CpuTimeLimit,
    /// SIGUSR1 came.
    Signal,
    /// A file of its code changed.
    ScriptChanged,
    /// It was asked to: a command, another configuration, fewer processes, idleness.
    Asked,
}

impl RestartReason {
    /// All of them, in their order, each with its name.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Exited, "exited"),
        (Self::Signalled, "signalled"),
        (Self::OutOfMemory, "out-of-memory"),
        (Self::NotStarted, "not-started"),
        (Self::StartupTimeout, "startup-timeout"),
        (Self::RequestTimeout, "request-timeout"),
        (Self::Deadlock, "deadlock"),
        (Self::ShutdownTimeout, "shutdown-timeout"),
        (Self::ControlLost, "control-lost"),
        (Self::LoadFailed, "load-failed"),
        (Self::NoDescriptors, "no-descriptors"),
        (Self::Memory, "memory-recycle"),
        (Self::MaximumRequests, "maximum-requests"),
        (Self::RestartInterval, "restart-interval"),
        (Self::Inactivity, "inactivity-timeout"),
        (Self::CpuTimeLimit, "cpu-time-limit"),
        (Self::Signal, "eviction"),
        (Self::ScriptChanged, "script-changed"),
        (Self::Asked, "asked"),
    ];
}

/// The totals of one process group. Classes, failures and reasons that are not named are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupTotals {
    /// Since when they are counted, in seconds since 1970.
    pub since: u64,
    /// Requests by the class of the status with which they were answered: `2xx`.
    pub requests: BTreeMap<String, u64>,
    /// Requests that failed, by the names of docs/failures.md.
    pub failures: BTreeMap<String, u64>,
    /// Responses that had begun and broke off.
    pub broken_off: u64,
    /// How long requests took, from their first line to the end of the response.
    pub duration: DurationTotals,
    /// How long requests that a worker answered had waited for one of its threads.
    pub queue: DurationTotals,
    /// Workers that ended, by the reason.
    pub restarts: BTreeMap<String, u64>,
    /// Generations, or new workers of one, that did not take over.
    pub given_up: u64,
    /// Microseconds of processor time of its workers.
    pub cpu_us: u64,
    /// Lines that `log-rate=` has kept out of the log.
    pub log_dropped_lines: u64,
    /// Their bytes.
    pub log_dropped_bytes: u64,
}

/// Durations of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DurationTotals {
    /// Of all together, in microseconds.
    pub sum_us: u64,
    /// Entry `n` counts those below 2^n microseconds that no entry before counts.
    pub histogram: Vec<u64>,
}

/// Classes of a status.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl GroupTotals {
    /// From the numbers in both tables; what is missing is 0.
    pub fn new(since: u64, httpds: &[u64], supervisors: &[u64]) -> Self {
        let at = |numbers: &[u64], at: usize| numbers.get(at).copied().unwrap_or_default();
        let histogram = |entry: fn(u64) -> usize| {
            let powers = (0..BUCKETS).map(|power| (1_u64 << power) / 2);
            powers.map(|us| at(httpds, entry(us))).collect()
        };
        let named = |pairs: &mut dyn Iterator<Item = (&'static str, u64)>| {
            let counted = pairs.filter(|(_, count)| *count > 0);
            counted
                .map(|(name, count)| (name.to_owned(), count))
                .collect()
        };
        let own = |cell| at(supervisors, cell);
        Self {
            since,
            requests: named(&mut CLASSES.into_iter().zip(httpds.iter().copied())),
            failures: named(
                &mut failure::TABLE
                    .iter()
                    .map(|row| (row.name, at(httpds, httpds::failure(row.failure)))),
            ),
            broken_off: at(httpds, httpds::BROKEN_OFF),
            duration: DurationTotals {
                sum_us: at(httpds, httpds::DURATION_US),
                histogram: histogram(httpds::duration),
            },
            queue: DurationTotals {
                sum_us: at(httpds, httpds::QUEUE_US),
                histogram: histogram(httpds::queue),
            },
            restarts: named(
                &mut RestartReason::ALL
                    .iter()
                    .map(|(reason, name)| (*name, own(supervisors::restarts(*reason)))),
            ),
            given_up: own(supervisors::GIVEN_UP),
            cpu_us: own(supervisors::CPU_US),
            log_dropped_lines: own(supervisors::LOG_DROPPED_LINES),
            log_dropped_bytes: own(supervisors::LOG_DROPPED_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_do_not_overlap_and_end_with_the_memory() {
        let last = |table: GroupTable, key| table.places(key).last().unwrap();
        let (_, numbers) = last(HTTPDS, 2 * GROUPS as u64 - TRIES as u64);
        assert_eq!(numbers + HTTPDS.len, SUPERVISORS.start);
        let (_, numbers) = last(SUPERVISORS, 2 * GROUPS as u64 - TRIES as u64);
        assert_eq!((numbers + SUPERVISORS.len) * size_of::<u64>(), LEN);
        let (key, numbers) = HTTPDS.places(0).next().unwrap();
        assert_eq!((key, numbers), (HEAD, HEAD + GROUPS));
    }

    #[test]
    fn what_is_counted_is_found_under_its_name() {
        let mut numbers = vec![0; HTTPDS.len];
        for status in [200, 204, 304, 502, 999, -102] {
            numbers[httpds::requests(status)] += 1;
        }
        numbers[httpds::failure(Failure::WorkerSignalled)] += 1;
        for us in [0, 1, 5, u64::MAX] {
            numbers[httpds::duration(us)] += 1;
        }
        let mut own = vec![0; SUPERVISORS.len];
        own[supervisors::restarts(RestartReason::Asked)] = 7;
        let totals = GroupTotals::new(5, &numbers, &own);
        let pairs = |map: &BTreeMap<String, u64>| {
            let pairs = map.iter().map(|(name, count)| format!("{name} {count}"));
            pairs.collect::<Vec<_>>().join(", ")
        };
        assert_eq!(pairs(&totals.requests), "2xx 2, 3xx 1, 5xx 3");
        assert_eq!(pairs(&totals.failures), "worker-signalled 1");
        assert_eq!(pairs(&totals.restarts), "asked 7");
        let histogram = &totals.duration.histogram;
        assert_eq!((histogram[0], histogram[1], histogram[3]), (1, 1, 1));
        assert_eq!((histogram[BUCKETS - 1], histogram.iter().sum()), (1, 4));
        assert_eq!(GroupTotals::new(0, &[], &[]).requests, BTreeMap::new());
    }
}
