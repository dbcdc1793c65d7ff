//! How many bytes each process group writes to httpd's error log, over all of
//! httpd's children together (`byte_rate.rs` of the protocol says how many it may):
//! one request or one worker is bounded by itself (`frames.rs`), but there may be
//! any number of them. Asked by `exchange.rs` for each record; the parent says what
//! nobody else has said. Knows nothing of frames.

use std::sync::atomic::{AtomicU64, Ordering};

use wsgid_protocol::byte_rate;

use crate::configuration::groups::GroupView;
use crate::httpd::request::Request;
use crate::httpd::shared::Inherited;
use crate::httpd::{log, process, shared};
use crate::log_ids;

/// Cells for groups; groups that share one share what they may write.
const GROUP_CELLS: u32 = 4096;

const SAY_EVERY_US: u64 = 1_000_000;

static CELLS: Inherited<&[[AtomicU64; 3]]> = Inherited::new();

/// Before children are forked.
pub(crate) fn prepare() {
    CELLS.prepare(|| shared::zeros(GROUP_CELLS as usize));
}

struct Cell {
    /// The state of the rate.
    whole_at: &'static AtomicU64,
    /// Lines that were left out since that was said last.
    left_out: &'static AtomicU64,
    said_at: &'static AtomicU64,
}

impl Cell {
    fn of(group: &GroupView) -> Option<Self> {
        let cell = CELLS.get()?.get((group.key % GROUP_CELLS) as usize)?;
        Some(Self::at(cell))
    }

    fn at([whole_at, left_out, said_at]: &'static [AtomicU64; 3]) -> Self {
        Self {
            whole_at,
            left_out,
            said_at,
        }
    }

    fn spends(&self, bytes: u64, now: u64) -> bool {
        self.whole_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |whole_at| {
                byte_rate::spend(whole_at, now, bytes)
            })
            .is_ok()
    }

    /// What is to be said, by one of all that ask.
    fn account(&self, now: u64) -> Option<String> {
        let said = self.said_at.load(Ordering::Relaxed);
        if self.left_out.load(Ordering::Relaxed) == 0 || now.saturating_sub(said) < SAY_EVERY_US {
            return None;
        }
        self.said_at
            .compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        let lines = self.left_out.swap(0, Ordering::Relaxed);
        (lines > 0).then(|| byte_rate::account(lines))
    }
}

/// A record of a group's for the error log of the request, unless the group has
/// written too much. Without shared memory only what a request writes is bounded.
pub(crate) fn write(r: Request<'_>, group: &GroupView, code: u16, record: &[u8]) {
    if !log::is_written(r, code) {
        return;
    }
    let Some(cell) = Cell::of(group) else {
        return log::from_worker(r, code, record);
    };
    let now = now_us();
    // What is not UTF-8 becomes longer before httpd escapes it.
    let text = String::from_utf8_lossy(record);
    if cell.spends(byte_rate::cost(text.as_bytes()), now) {
        log::from_worker(r, code, record);
    } else {
        let lines = log::lines(record).count().max(1);
        cell.left_out.fetch_add(lines as u64, Ordering::Relaxed);
    }
    if let Some(text) = cell.account(now) {
        log::request(r, log_ids::LINES_LEFT_OUT, || {
            format!("process group `{}`: {text}", group.name)
        });
    }
}

/// In the parent, every few seconds: says what was left out of groups that have
/// written nothing since.
pub(crate) fn say_rest<'g>(groups: impl Iterator<Item = &'g GroupView>) {
    let now = now_us();
    for group in groups {
        if let Some(text) = Cell::of(group).and_then(|cell| cell.account(now)) {
            log::server(log_ids::LINES_LEFT_OUT, || {
                format!("process group `{}`: {text}", group.name)
            });
        }
    }
}

fn now_us() -> u64 {
    u64::try_from(process::monotonic().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As two processes have them.
    fn two_of_one_group() -> [Cell; 2] {
        let cells = shared::zeros(1).unwrap();
        [Cell::at(&cells[0]), Cell::at(&cells[0])]
    }

    #[test]
    fn all_that_write_for_a_group_share_what_it_may() {
        let [one, other] = two_of_one_group();
        let now = 100_000_000;
        assert!(one.spends(byte_rate::BURST, now));
        assert!(!other.spends(1, now));
        assert!(other.spends(1, now + 1000));
    }

    #[test]
    fn what_was_left_out_is_said_once_a_second_by_one_of_all() {
        let [one, other] = two_of_one_group();
        assert_eq!(one.account(5_000_000), None, "nothing was left out");
        one.left_out.fetch_add(3, Ordering::Relaxed);
        assert!(
            other
                .account(5_000_000)
                .is_some_and(|text| text.starts_with("(3 lines dropped"))
        );
        one.left_out.fetch_add(2, Ordering::Relaxed);
        assert_eq!(one.account(5_900_000), None);
        assert!(
            one.account(6_000_000)
                .is_some_and(|text| text.starts_with("(2 lines dropped"))
        );
    }
}
