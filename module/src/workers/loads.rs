//! How many requests each worker has at this moment, and httpd as a whole, from
//! all children of this httpd together: `pool.rs` sends a request where the fewest
//! are, `thread_reserve.rs` keeps threads of httpd free. A table each in shared memory, made
//! by the parent. Every child counts in a row of its own too, so that what a child
//! that died had counted can be taken back.
//!
//! A worker's cell is its process id modulo the length of the table. Two workers that
//! share a cell look twice as busy as they are, which costs speed, not more.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::httpd::shared::{self, Inherited};
use crate::workers::row_owner;

pub(crate) const WORKER_CELLS: usize = 1024;

/// Rows for children; who finds none counts for itself alone.
const ROWS: usize = 256;

static TABLES: [Inherited<Table>; 2] = [const { Inherited::new() }; 2];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Counted {
    Workers,
    Threads,
}

/// Owners, totals, then a row of counts for each child: what is read often lies
/// together, and rows nobody owns never take memory.
#[derive(Clone, Copy)]
struct Table {
    owners: &'static [AtomicU32],
    totals: &'static [AtomicU32],
    rows: &'static [AtomicU32],
}

impl Table {
    fn of(cells: &'static [AtomicU32], rows: usize) -> Self {
        let (owners, cells) = cells.split_at(rows);
        let (totals, rows) = cells.split_at(WORKER_CELLS);
        Self {
            owners,
            totals,
            rows,
        }
    }

    const fn len(rows: usize) -> usize {
        rows + WORKER_CELLS + rows * WORKER_CELLS
    }

    /// A table of this process alone.
    fn private() -> Self {
        let cells: Vec<AtomicU32> = (0..Self::len(1)).map(|_| AtomicU32::new(0)).collect();
        Self::of(cells.leak(), 1)
    }

    /// A free row, from now on this process's.
    fn claim(self, pid: u32) -> Option<Loads> {
        let mut owners = self.owners.iter();
        let row = owners.position(|owner| row_owner::claim(owner, pid))?;
        Some(Loads {
            totals: self.totals,
            row: self.rows.chunks(WORKER_CELLS).nth(row)?,
        })
    }

    fn in_all_rows(self, cell: u32) -> u32 {
        let rows = self.owners.iter().zip(self.rows.chunks(WORKER_CELLS));
        rows.filter(|(owner, _)| owner.load(Ordering::Relaxed) != 0)
            .filter_map(|(_, row)| row.get(cell as usize))
            .fold(0, |sum, count| sum + count.load(Ordering::Relaxed))
    }

    /// Takes back what processes that have gone had counted. A child that is
    /// killed between the two steps of one count leaves that one wrong.
    fn sweep(self, is_gone: impl Fn(u32) -> bool) {
        for (owner, row) in self.owners.iter().zip(self.rows.chunks(WORKER_CELLS)) {
            row_owner::sweep(owner, &is_gone, || {
                for (count, total) in row.iter().zip(self.totals) {
                    total.fetch_sub(count.swap(0, Ordering::Relaxed), Ordering::Relaxed);
                }
            });
        }
    }
}

/// Before children are forked.
pub(crate) fn prepare() {
    for table in &TABLES {
        table.prepare(|| shared::zeros(Table::len(ROWS)).map(|cells| Table::of(cells, ROWS)));
    }
}

/// Takes back what children that have gone had counted.
pub(crate) fn sweep() {
    for table in TABLES.iter().filter_map(Inherited::get) {
        table.sweep(row_owner::is_gone);
    }
}

/// What the children that live have counted in their own rows.
pub(crate) fn in_all_rows(counted: Counted, cell: u32) -> u32 {
    let table = TABLES[counted as usize].get();
    table.map_or(0, |table| table.in_all_rows(cell))
}

/// What one child counts, and sees of all.
pub(crate) struct Loads {
    totals: &'static [AtomicU32],
    row: &'static [AtomicU32],
}

impl Loads {
    /// For the child that calls. Where nothing can be shared it sees its own
    /// requests alone.
    pub(crate) fn of_child(pid: u32, counted: Counted) -> Self {
        sweep();
        let shared = TABLES[counted as usize].get();
        shared
            .and_then(|table| table.claim(pid))
            .unwrap_or_else(Self::private)
    }

    pub(crate) fn private() -> Self {
        let table = Table::private();
        Self {
            totals: table.totals,
            row: table.rows,
        }
    }

    /// Requests that are counted there; of an unknown worker (0), none.
    pub(crate) fn of(&self, worker: u32) -> u32 {
        let total = self
            .cells_of(worker)
            .map_or(0, |(total, _)| total.load(Ordering::Relaxed));
        // Below zero for an instant while others count.
        if total.cast_signed() < 0 { 0 } else { total }
    }

    pub(crate) fn begin(&self, worker: u32) {
        if let Some((total, own)) = self.cells_of(worker) {
            own.fetch_add(1, Ordering::Relaxed);
            total.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts in the child's own row alone.
    pub(crate) fn begin_own(&self, cell: u32) {
        if let Some((_, own)) = self.cells_of(cell) {
            own.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn end_own(&self, cell: u32) {
        if let Some((_, own)) = self.cells_of(cell) {
            own.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn end(&self, worker: u32) {
        if let Some((total, own)) = self.cells_of(worker) {
            total.fetch_sub(1, Ordering::Relaxed);
            own.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn cells_of(&self, worker: u32) -> Option<(&AtomicU32, &AtomicU32)> {
        let place = usize::try_from(worker).ok().filter(|worker| *worker != 0)? % WORKER_CELLS;
        self.totals.get(place).zip(self.row.get(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: usize) -> Table {
        Table::of(shared::zeros(Table::len(rows)).unwrap(), rows)
    }

    #[test]
    fn children_see_each_others_requests() {
        let table = table(2);
        let one = table.claim(10).unwrap();
        let other = table.claim(11).unwrap();
        assert!(table.claim(12).is_none());
        one.begin(7);
        other.begin(7);
        other.begin(8);
        assert_eq!((one.of(7), one.of(8), other.of(9)), (2, 1, 0));
        one.end(7);
        other.end(7);
        assert_eq!(other.of(7), 0);
    }

    #[test]
    fn what_a_dead_child_had_counted_is_taken_back() {
        let table = table(2);
        let dead = table.claim(10).unwrap();
        let alive = table.claim(11).unwrap();
        dead.begin(7);
        dead.begin(7);
        alive.begin(7);
        table.sweep(|pid| pid == 10);
        assert_eq!(alive.of(7), 1);
        // Its row is free again, and empty.
        let next = table.claim(12).unwrap();
        table.sweep(|pid| pid == 12);
        assert_eq!(next.of(7), 1);
    }

    #[test]
    fn what_a_child_counts_for_itself_is_summed_and_forgotten_with_it() {
        let table = table(2);
        let [one, dead] = [10, 11].map(|pid| table.claim(pid).unwrap());
        one.begin_own(9);
        one.begin_own(9);
        one.end_own(9);
        dead.begin_own(9);
        assert_eq!(table.in_all_rows(9), 2);
        table.sweep(|pid| pid == 11);
        assert_eq!(table.in_all_rows(9), 1);
    }

    #[test]
    fn an_unknown_worker_is_not_counted() {
        let loads = Loads::private();
        loads.begin(0);
        assert_eq!(loads.of(0), 0);
        loads.end(0);
    }
}
