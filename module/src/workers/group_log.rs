//! How many bytes each process group writes to httpd's error log, over all of
//! httpd's children together (`byte_rate.rs` of the protocol, `log-rate=`): any number
//! of requests and workers may write for it. Asked by `exchange.rs` for each record; the
//! parent says what nobody else has said, and passes on to the supervisor what was left
//! out. Knows nothing of frames.

use std::sync::atomic::{AtomicU64, Ordering};

use wsgid_protocol::byte_rate::{self, ByteRate, LeftOut};

use crate::configuration::groups::GroupView;
use crate::httpd::request::Request;
use crate::httpd::shared::Inherited;
use crate::httpd::{log, process, shared};
use crate::log_ids;

/// Cells for groups; groups that share one share what they may write.
const GROUP_CELLS: u32 = 4096;

const SAY_EVERY_US: u64 = 1_000_000;

static CELLS: Inherited<&[[AtomicU64; 6]]> = Inherited::new();

/// Before children are forked.
pub(crate) fn prepare() {
    CELLS.prepare(|| shared::zeros(GROUP_CELLS as usize));
}

/// Lines and bytes that were left out, and that somebody is still to hear of.
struct Untold {
    lines: &'static AtomicU64,
    bytes: &'static AtomicU64,
}

impl Untold {
    fn add(&self, more: LeftOut) {
        self.bytes.fetch_add(more.bytes, Ordering::Relaxed);
        self.lines.fetch_add(more.lines, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.lines.load(Ordering::Relaxed) == 0
    }

    fn take(&self) -> LeftOut {
        LeftOut {
            lines: self.lines.swap(0, Ordering::Relaxed),
            bytes: self.bytes.swap(0, Ordering::Relaxed),
        }
    }
}

struct Cell {
    /// The state of the rate.
    whole_at: &'static AtomicU64,
    said_at: &'static AtomicU64,
    /// What the log is to say.
    for_log: Untold,
    /// What the supervisor is to count.
    for_supervisor: Untold,
}

impl Cell {
    fn of(group: &GroupView) -> Option<Self> {
        let cell = CELLS.get()?.get((group.key % GROUP_CELLS) as usize)?;
        Some(Self::at(cell))
    }

    fn at(
        [whole_at, said_at, lines, bytes, more_lines, more_bytes]: &'static [AtomicU64; 6],
    ) -> Self {
        Self {
            whole_at,
            said_at,
            for_log: Untold { lines, bytes },
            for_supervisor: Untold {
                lines: more_lines,
                bytes: more_bytes,
            },
        }
    }

    fn spends(&self, rate: ByteRate, bytes: u64, now: u64) -> bool {
        self.whole_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |whole_at| {
                rate.spend(whole_at, now, bytes)
            })
            .is_ok()
    }

    fn leave_out(&self, what: LeftOut) {
        self.for_log.add(what);
        self.for_supervisor.add(what);
    }

    /// What is to be said, by one of all that ask.
    fn account(&self, rate: ByteRate, now: u64) -> Option<String> {
        let said = self.said_at.load(Ordering::Relaxed);
        if self.for_log.is_empty() || now.saturating_sub(said) < SAY_EVERY_US {
            return None;
        }
        self.said_at
            .compare_exchange(said, now, Ordering::Relaxed, Ordering::Relaxed)
            .ok()?;
        let left_out = self.for_log.take();
        (!left_out.is_empty()).then(|| rate.account(left_out))
    }
}

/// A record of a group's for the error log of the request, unless the group has
/// written too much. Without shared memory nothing is bounded.
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
    if cell.spends(group.log_rate, byte_rate::cost(text.as_bytes()), now) {
        log::from_worker(r, code, record);
    } else {
        let lines = log::lines(record).count().max(1);
        cell.leave_out(LeftOut {
            lines: lines as u64,
            bytes: record.len() as u64,
        });
    }
    if let Some(text) = cell.account(group.log_rate, now) {
        log::request(r, log_ids::LINES_LEFT_OUT, || in_words(group, &text));
    }
}

fn in_words(group: &GroupView, text: &str) -> String {
    format!("process group `{}`: {text}", group.name)
}

/// In the parent, every few seconds: says what was left out of groups that have
/// written nothing since. Returns what the supervisor is to count.
pub(crate) fn say_rest<'g>(groups: impl Iterator<Item = &'g GroupView>) -> Vec<(String, u64, u64)> {
    let now = now_us();
    let mut counts = Vec::new();
    for group in groups {
        let Some(cell) = Cell::of(group) else {
            return counts;
        };
        if let Some(text) = cell.account(group.log_rate, now) {
            log::server(log_ids::LINES_LEFT_OUT, || in_words(group, &text));
        }
        if !cell.for_supervisor.is_empty() {
            let LeftOut { lines, bytes } = cell.for_supervisor.take();
            counts.push((group.name.clone(), lines, bytes));
        }
    }
    counts
}

fn now_us() -> u64 {
    u64::try_from(process::monotonic().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ByteRate = ByteRate::new(1 << 20);

    /// As two processes have them.
    fn two_of_one_group() -> [Cell; 2] {
        let cells = shared::zeros(1).unwrap();
        [Cell::at(&cells[0]), Cell::at(&cells[0])]
    }

    #[test]
    fn all_that_write_for_a_group_share_what_it_may() {
        let [one, other] = two_of_one_group();
        let now = 100_000_000;
        assert!(one.spends(RATE, byte_rate::SAVED_SECONDS << 20, now));
        assert!(!other.spends(RATE, 1, now));
        assert!(other.spends(RATE, 1, now + 1000));
    }

    #[test]
    fn what_was_left_out_is_said_once_a_second_by_one_of_all() {
        let [one, other] = two_of_one_group();
        let text = |cell: &Cell, now| cell.account(RATE, now);
        assert_eq!(text(&one, 5_000_000), None, "nothing was left out");
        one.leave_out(LeftOut {
            lines: 3,
            bytes: 40,
        });
        assert!(
            text(&other, 5_000_000)
                .is_some_and(|text| text.starts_with("(3 lines, 40 bytes dropped"))
        );
        one.leave_out(LeftOut {
            lines: 2,
            bytes: 20,
        });
        assert_eq!(text(&one, 5_900_000), None);
        assert!(text(&one, 6_000_000).is_some_and(|text| text.starts_with("(2 lines, 20 bytes")));
        let counted = other.for_supervisor.take();
        assert_eq!((counted.lines, counted.bytes), (5, 60));
    }
}
