//! Keeps the last tenth of httpd's threads for groups that have few: a request of a
//! group that has many is sent only while all requests together leave them free. While
//! they do not, the request waits for its turn if the requests of its group end soon; if
//! they hold their threads for long (responses that begin and do not end, long polls,
//! slow downloads), or if more of them are under way than end in a second, the request
//! is refused at once, for a waiting request holds a thread too. `admission.rs` decides;
//! here is what it decides on, counted over all children (`loads.rs`, `thread_table.rs`,
//! `completion_rate.rs`). Asked by `attempts.rs` for each request, and by `upgrades.rs`.
//! Knows nothing of workers.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use wsgid_protocol::metrics::HttpdThreads;

use crate::configuration::groups::GroupView;
use crate::httpd::process;
use crate::httpd::shared::{self, Inherited};
use crate::workers::admission::{
    AGES, Admission, LONG, ReserveFull, ReserveState, ThreadClaim, kept,
};
use crate::workers::loads::{self, Counted, Loads, WORKER_CELLS};
use crate::workers::thread_table::{ThreadRow, ThreadTable, passed};
use crate::workers::{completion_rate, stopping};

/// How often a waiting request looks whether it may begin.
const LOOK: Duration = Duration::from_millis(10);

/// Cells for groups; groups that share a cell are taken for equally quick.
const GROUP_CELLS: u32 = 16 * 1024;
/// Where all requests are counted, and the waiting ones.
const ALL: u32 = 1;
const WAITING: u32 = 2;

/// Numbers of a group: when its last request ended, in milliseconds, how long its
/// requests took of late, and how many end in a second.
type GroupHistory = [AtomicU32; 2 + completion_rate::WORDS];

static HISTORY: Inherited<&[GroupHistory]> = Inherited::new();

/// Before children are forked.
pub(crate) fn prepare() {
    HISTORY.prepare(|| shared::zeros(GROUP_CELLS as usize));
}

/// What a child knows of all requests.
pub(crate) struct ThreadReserve {
    pid: u32,
    loads: Loads,
    rows: Option<ThreadTable>,
    history: Option<&'static [GroupHistory]>,
    /// Threads of all children together: MaxRequestWorkers.
    threads: u32,
    /// Whether there are other groups, or probes, to keep threads for.
    several: bool,
}

/// A request that is under way; counted until this is dropped.
pub(crate) struct HeldThread {
    reserve: &'static ThreadReserve,
    claim: ThreadClaim,
    row: ThreadRow,
    since: u32,
    has_begun: Cell<bool>,
    has_ended: Cell<bool>,
    waits: Cell<bool>,
    /// The request was never sent, and says nothing of how long others take.
    is_refused: Cell<bool>,
}

impl HeldThread {
    /// The response has begun and does not come whole.
    pub(crate) fn begun(&self) {
        if !self.has_begun.replace(true) {
            self.row.begun(now_ms());
        }
    }

    /// The worker has ended the request.
    pub(crate) fn ended(&self) {
        self.has_ended.set(true);
    }

    fn wait(&self, waits: bool) {
        if self.waits.replace(waits) == waits {
            return;
        }
        self.row.waits(waits);
        if waits {
            self.reserve.loads.begin(WAITING);
        } else {
            self.reserve.loads.end(WAITING);
        }
    }
}

impl Drop for HeldThread {
    fn drop(&mut self) {
        self.wait(false);
        self.reserve.loads.end(ALL);
        if !self.claim.for_long && !self.is_refused.get() {
            self.reserve
                .note(self.claim.key, self.since, self.has_ended.get(), now_ms());
        }
    }
}

/// A request that is under way where there is one group; counted until this is dropped.
pub(crate) struct CountedAlone<'l> {
    loads: &'l Loads,
    cell: u32,
}

impl Drop for CountedAlone<'_> {
    fn drop(&mut self) {
        self.loads.end_own(self.cell);
    }
}

/// Where the requests of a group are counted if there is only one, and the implicit one.
const fn cell_of(key: u32) -> u32 {
    const OTHERS: u32 = 8;
    OTHERS + key % (WORKER_CELLS as u32 - OTHERS)
}

impl ThreadReserve {
    /// For the child that calls.
    pub(crate) fn of_child(pid: u32, threads: u32, several: bool) -> Self {
        Self {
            pid,
            loads: Loads::of_child(pid, Counted::Threads),
            rows: ThreadTable::inherited(),
            history: HISTORY.get(),
            threads,
            several,
        }
    }

    /// Which threads the groups have, over all children.
    pub(crate) fn threads<'g>(&self, groups: impl Iterator<Item = &'g GroupView>) -> HttpdThreads {
        let several = self
            .rows
            .filter(|_| self.several)
            .map(ThreadTable::by_group);
        let of = |group: &GroupView| match &several {
            Some(counts) => counts.get(&group.key).copied().unwrap_or_default(),
            None => (loads::in_all_rows(Counted::Threads, cell_of(group.key)), 0),
        };
        HttpdThreads {
            groups: groups
                .map(|group| (group.name.clone(), of(group)))
                .collect(),
            most: self.threads,
        }
    }

    /// Counts the thread of a request where groups need not be kept apart, and nothing is
    /// decided by it: two additions that no other process sees.
    pub(crate) fn count_alone(&self, key: u32) -> Option<CountedAlone<'_>> {
        let cell = cell_of(key);
        (!self.several).then(|| {
            self.loads.begin_own(cell);
            CountedAlone {
                loads: &self.loads,
                cell,
            }
        })
    }

    /// Lets a request begin, perhaps after a wait; or says why it must not. Where there
    /// is one group, only what holds its thread from the beginning is counted.
    pub(crate) fn admit(
        &'static self,
        claim: ThreadClaim,
    ) -> Result<Option<HeldThread>, ReserveFull> {
        let Some(rows) = self.rows.filter(|_| self.several || claim.for_long) else {
            return Ok(None);
        };
        let held = self.count(rows, claim, now_ms());
        // Nearly always there is room.
        if self.loads.of(ALL).saturating_add(kept(self.threads)) <= self.threads {
            return Ok(Some(held));
        }
        loop {
            let state = self.state_of(rows, claim, now_ms());
            let begins = match state.admission() {
                Admission::Begins => true,
                Admission::TakesTurn => self.takes_turn(&held),
                Admission::Waits => stopping::is_stopping(),
                Admission::Refused(why) => {
                    held.is_refused.set(true);
                    return Err(ReserveFull { state, why });
                }
            };
            held.wait(!begins);
            if begins {
                return Ok(Some(held));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The requests of this group that have a thread of httpd.
    pub(crate) fn requests_of(&self, key: u32) -> u32 {
        let seen = self.rows.map(|rows| rows.look(key, now_ms(), AGES));
        seen.map_or(0, |seen| seen.running.saturating_add(seen.waiting))
    }

    fn count(&'static self, rows: ThreadTable, claim: ThreadClaim, now: u32) -> HeldThread {
        let row = rows.claim(self.pid, claim.key, now);
        if claim.for_long {
            row.begun(now);
        }
        self.loads.begin(ALL);
        HeldThread {
            reserve: self,
            claim,
            row,
            since: now,
            has_begun: Cell::new(false),
            has_ended: Cell::new(false),
            waits: Cell::new(false),
            is_refused: Cell::new(false),
        }
    }

    /// Whether there is room for this request: others may have seen the same end.
    fn takes_turn(&self, held: &HeldThread) -> bool {
        held.wait(false);
        let running = self.loads.of(ALL).saturating_sub(self.loads.of(WAITING));
        running.saturating_add(kept(self.threads)) <= self.threads
    }

    fn state_of(&self, rows: ThreadTable, claim: ThreadClaim, now: u32) -> ReserveState {
        let history = self.history_of(claim.key);
        let ended = history.map_or(0, |[ended, ..]| ended.load(Ordering::Relaxed));
        let took = history.map_or(0, |[_, took, ..]| took.load(Ordering::Relaxed));
        ReserveState {
            threads: self.threads,
            all: self.loads.of(ALL),
            waiting: self.loads.of(WAITING),
            group: rows.look(claim.key, now, AGES),
            claim,
            silent: passed(ended, now),
            took: Duration::from_millis(took.into()),
            ends: history.and_then(|[_, _, rate @ ..]| completion_rate::per_second(rate, now)),
        }
    }

    /// Notes the end of a request that came at `since`.
    fn note(&self, key: u32, since: u32, by_worker: bool, now: u32) {
        let Some([ended, took, rate @ ..]) = self.history_of(key) else {
            return;
        };
        if by_worker {
            let last = ended.load(Ordering::Relaxed);
            // All children write here, so only new values are stored.
            if last != now {
                ended.store(now, Ordering::Relaxed);
            }
            completion_rate::note(rate, passed(last, now) >= completion_rate::WINDOW, now);
        }
        let before = took.load(Ordering::Relaxed);
        let after = smoothed(before, passed(since, now));
        if after != before {
            took.store(after, Ordering::Relaxed);
        }
    }

    /// The numbers of a group; `None` without shared memory.
    fn history_of(&self, key: u32) -> Option<&'static GroupHistory> {
        self.history?.get((key % GROUP_CELLS) as usize)
    }
}

/// How long requests take, after one more took `took`: the last dozens count, each for
/// at most twice [`LONG`].
fn smoothed(before: u32, took: Duration) -> u32 {
    let took = u32::try_from(took.min(2 * LONG).as_millis()).unwrap_or(u32::MAX);
    before - before / 16 + took / 16
}

/// The clock of all processes; it begins again after 49 days.
fn now_ms() -> u32 {
    (process::monotonic().as_millis() & u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::thread_table::GroupRequests;

    const CLAIM: ThreadClaim = ThreadClaim {
        key: 7,
        capacity: 3,
        for_long: false,
    };

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// That of a process of its own, of 20 threads for several groups.
    fn reserve() -> &'static ThreadReserve {
        Box::leak(Box::new(ThreadReserve {
            pid: 10,
            loads: Loads::private(),
            rows: ThreadTable::new(),
            history: shared::zeros(GROUP_CELLS as usize),
            threads: 20,
            several: true,
        }))
    }

    #[test]
    fn what_requests_took_is_known_after_some() {
        let long = (0..12).fold(0, |took, _| smoothed(took, Duration::from_secs(60)));
        assert!(long >= 6000, "{long}");
        let quick = (0..12).fold(long, |took, _| smoothed(took, ms(5)));
        assert!(quick < 4000, "{quick}");
    }

    #[test]
    fn requests_that_are_refused_do_not_make_a_group_quick() {
        let reserve = reserve();
        let took = &reserve.history_of(7).unwrap()[1];
        took.store(9000, Ordering::Relaxed);
        let held: Vec<_> = (0..18)
            .map(|_| reserve.admit(CLAIM).unwrap().unwrap())
            .collect();
        for _ in 0..50 {
            assert!(
                reserve
                    .admit(CLAIM)
                    .is_err_and(|full| full.to_string().contains("took 9.0 s each"))
            );
        }
        assert_eq!(took.load(Ordering::Relaxed), 9000);
        drop(held);
        assert!(
            took.load(Ordering::Relaxed) < 9000,
            "those that were served do"
        );
    }

    #[test]
    fn beside_one_group_upgrades_leave_the_last_threads() {
        let reserve = Box::leak(Box::new(ThreadReserve {
            pid: 10,
            loads: Loads::private(),
            rows: ThreadTable::new(),
            history: None,
            threads: 20,
            several: false,
        }));
        let upgrade = ThreadClaim {
            capacity: 0,
            for_long: true,
            ..CLAIM
        };
        let held: Vec<_> = (0..18).map(|_| reserve.admit(upgrade).unwrap()).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(reserve.admit(upgrade).is_err());
        assert!(reserve.admit(CLAIM).unwrap().is_none(), "not counted");
        drop(held);
        assert!(reserve.admit(upgrade).unwrap().is_some());
    }

    #[test]
    fn what_is_over_no_longer_counts() {
        let reserve = reserve();
        let held: Vec<_> = (0..18)
            .map(|_| reserve.admit(CLAIM).unwrap().unwrap())
            .collect();
        held[0].ended();
        held[1].wait(true);
        assert_eq!((reserve.loads.of(ALL), reserve.loads.of(WAITING)), (18, 1));
        assert!(reserve.takes_turn(&held[1]), "17 others run");
        drop(held);
        assert_eq!((reserve.loads.of(ALL), reserve.loads.of(WAITING)), (0, 0));
        assert_eq!(
            reserve.rows.unwrap().look(7, now_ms(), AGES),
            GroupRequests::default()
        );
        let ended = &reserve.history_of(7).unwrap()[0];
        assert!(ended.load(Ordering::Relaxed) > 0);
    }
}
