//! Which requests hold threads of httpd, for which group, and since when: a row in
//! shared memory for each request, written by the thread that serves it and read by
//! whoever must decide whether a group may have one more (`thread_reserve.rs`). A row lies in
//! a cache line of its own, so that threads do not disturb each other. Knows nothing
//! of limits.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::httpd::shared::{self, Inherited};
use crate::workers::row_owner;

/// Rows; a request that finds none free is not counted.
const ROWS: usize = 16 * 1024;

/// Numbers of a row: owner, key of the group, when the request came, when its response
/// began (0: not yet), whether it waits. What is left fills a cache line.
type Row = [AtomicU32; 16];

static TABLE: Inherited<ThreadTable> = Inherited::new();

thread_local! {
    /// The row this thread had last: free again, most of the time.
    static LAST: Cell<usize> = const { Cell::new(0) };
}

/// All rows; in front of them, how many have ever been used.
#[derive(Clone, Copy)]
pub(crate) struct ThreadTable {
    used: &'static AtomicU32,
    rows: &'static [Row],
}

/// A request's row, until this is dropped.
pub(crate) struct ThreadRow(Option<&'static Row>);

/// What the requests of one group do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupRequests {
    /// Requests that are with a worker, or with another server.
    pub(crate) running: u32,
    /// Requests that wait until they may be sent.
    pub(crate) waiting: u32,
    /// Requests whose responses began at least [`AgeLimits::begun`] ago and did not come
    /// whole.
    pub(crate) begun: u32,
    /// Requests that came at least [`AgeLimits::old`] ago, or whose responses began at
    /// least [`AgeLimits::begun_old`] ago.
    pub(crate) old: u32,
    /// Age of the oldest request.
    pub(crate) oldest: Duration,
}

/// From when on a request counts as one that holds its thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AgeLimits {
    /// Time since its response began.
    pub(crate) begun: Duration,
    /// Time since its response began, for a request that counts as old.
    pub(crate) begun_old: Duration,
    /// Time since the request came, whether its response began or not.
    pub(crate) old: Duration,
}

/// Before children are forked.
pub(crate) fn prepare() {
    TABLE.prepare(ThreadTable::new);
}

/// Frees the rows of children that have gone.
pub(crate) fn sweep() {
    if let Some(table) = TABLE.get() {
        table.sweep(row_owner::is_gone);
    }
}

impl ThreadTable {
    /// `None` if the system refuses.
    pub(crate) fn new() -> Option<Self> {
        let ([used, ..], rows) = shared::zeros::<Row>(ROWS + 1)?.split_first()?;
        Some(Self { used, rows })
    }

    pub(crate) fn inherited() -> Option<Self> {
        TABLE.get()
    }

    /// A row for a request of the group with this key.
    pub(crate) fn claim(self, pid: u32, key: u32, now: u32) -> ThreadRow {
        let Some(at) = std::iter::once(LAST.get())
            .chain(0..ROWS)
            .find(|at| row_owner::claim(&self.rows[*at][0], pid))
        else {
            return ThreadRow(None);
        };
        LAST.set(at);
        let row = &self.rows[at];
        let [_, group, since, begun, waits, ..] = row;
        begun.store(0, Ordering::Relaxed);
        waits.store(0, Ordering::Relaxed);
        since.store(now, Ordering::Relaxed);
        group.store(key, Ordering::Release);
        let used = u32::try_from(at + 1).unwrap_or(u32::MAX);
        if self.used.load(Ordering::Relaxed) < used {
            self.used.fetch_max(used, Ordering::Relaxed);
        }
        ThreadRow(Some(row))
    }

    /// The rows that have ever been used.
    fn used(self) -> impl Iterator<Item = &'static Row> {
        self.rows
            .iter()
            .take(self.used.load(Ordering::Relaxed) as usize)
    }

    pub(crate) fn look(self, key: u32, now: u32, ages: AgeLimits) -> GroupRequests {
        let mut seen = GroupRequests::default();
        for [owner, group, since, begun, waits, ..] in self.used() {
            if owner.load(Ordering::Relaxed) == 0 || group.load(Ordering::Relaxed) != key {
                continue;
            }
            let age = passed(since.load(Ordering::Relaxed), now);
            seen.oldest = seen.oldest.max(age);
            if waits.load(Ordering::Relaxed) != 0 {
                seen.waiting += 1;
                continue;
            }
            seen.running += 1;
            let begun = Some(begun.load(Ordering::Relaxed)).filter(|at| *at != 0);
            let begun = begun.map(|at| passed(at, now));
            seen.begun += u32::from(begun.is_some_and(|age| age >= ages.begun));
            seen.old +=
                u32::from(age >= ages.old || begun.is_some_and(|age| age >= ages.begun_old));
        }
        seen
    }

    /// By key, how many requests run and how many wait.
    pub(crate) fn by_group(self) -> BTreeMap<u32, (u32, u32)> {
        let mut counts = BTreeMap::<u32, (u32, u32)>::new();
        for [owner, group, _, _, waits, ..] in self.used() {
            if owner.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let (running, waiting) = counts.entry(group.load(Ordering::Relaxed)).or_default();
            if waits.load(Ordering::Relaxed) == 0 {
                *running += 1;
            } else {
                *waiting += 1;
            }
        }
        counts
    }

    /// Frees the rows of processes that have gone.
    fn sweep(self, is_gone: impl Fn(u32) -> bool) {
        for [owner, key, ..] in self.used() {
            row_owner::sweep(owner, &is_gone, || key.store(0, Ordering::Relaxed));
        }
    }
}

impl ThreadRow {
    /// The answer has begun.
    pub(crate) fn begun(&self, now: u32) {
        if let Some([_, _, _, begun, ..]) = self.0 {
            begun.store(now.max(1), Ordering::Relaxed);
        }
    }

    /// Whether the request waits until it may be sent.
    pub(crate) fn waits(&self, waits: bool) {
        if let Some([_, _, _, _, cell, ..]) = self.0 {
            cell.store(waits.into(), Ordering::Relaxed);
        }
    }
}

impl Drop for ThreadRow {
    fn drop(&mut self) {
        if let Some([owner, key, ..]) = self.0 {
            key.store(0, Ordering::Relaxed);
            owner.store(0, Ordering::Release);
        }
    }
}

/// From one time to another, both in milliseconds; none if that was before, for
/// children note times of their own. The clock begins again after 49 days.
pub(crate) fn passed(from: u32, to: u32) -> Duration {
    let passed = to.wrapping_sub(from);
    if passed.cast_signed() < 0 {
        Duration::ZERO
    } else {
        Duration::from_millis(passed.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: AgeLimits = AgeLimits {
        begun: Duration::from_millis(200),
        begun_old: Duration::from_secs(2),
        old: Duration::from_secs(6),
    };

    #[test]
    fn a_group_is_seen_as_it_is() {
        let rows = ThreadTable::new().unwrap();
        let held: Vec<ThreadRow> = (0..4).map(|_| rows.claim(10, 7, 1000)).collect();
        let _other = rows.claim(11, 8, 1000);
        held[0].begun(1000);
        held[1].begun(1150);
        held[2].waits(true);
        let seen = rows.look(7, 1250, AGES);
        assert_eq!(
            (seen.running, seen.waiting, seen.begun, seen.old),
            (3, 1, 1, 0)
        );
        assert_eq!(seen.oldest, Duration::from_millis(250));
        let seen = rows.look(7, 3000, AGES);
        assert_eq!((seen.begun, seen.old), (2, 1));
        assert_eq!(rows.look(7, 7000, AGES).old, 3);
        assert_eq!(rows.by_group(), [(7, (3, 1)), (8, (1, 0))].into());
        drop(held);
        assert_eq!(rows.look(7, 7000, AGES), GroupRequests::default());
    }

    #[test]
    fn rows_of_a_child_that_died_are_free_again() {
        let rows = ThreadTable::new().unwrap();
        std::mem::forget([rows.claim(10, 7, 0), rows.claim(10, 7, 0)]);
        let alive = rows.claim(11, 7, 0);
        rows.sweep(|pid| pid == 10);
        assert_eq!(rows.look(7, 0, AGES).running, 1);
        drop(alive);
        let (_one, _two) = (rows.claim(12, 9, 0), rows.claim(12, 9, 0));
        assert_eq!(
            (
                rows.look(9, 0, AGES).running,
                rows.used.load(Ordering::Relaxed)
            ),
            (2, 3)
        );
    }

    #[test]
    fn times_wrap_and_may_be_ahead() {
        assert_eq!(
            (passed(5, 3), passed(u32::MAX, 9)),
            (Duration::ZERO, Duration::from_millis(10))
        );
    }
}
