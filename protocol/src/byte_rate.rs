//! How many bytes a process group may write to a log: so many a second (`log-rate=`),
//! and after a while with little, [`SAVED_SECONDS`] times as many in a row. The one bound
//! of all logs. Pure: the state is one number that whoever asks keeps where all that
//! write for the group can see it, the module in memory that httpd's children share,
//! the supervisor beside the group's log. Knows nothing of processes and requests.

/// What a group may write a second unless `log-rate=` says otherwise.
pub const DEFAULT_PER_SECOND: u64 = 2 << 20;

/// For so many seconds a group saves what it does not write.
pub const SAVED_SECONDS: u64 = 16;

/// What a line costs besides its own bytes: the time, level and process that are
/// put in front of it.
pub const LINE_COST: u64 = 128;

const SECOND_US: u64 = 1_000_000;

/// What a group may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// 0 is no limit.
    per_second: u64,
}

impl Default for ByteRate {
    fn default() -> Self {
        Self::new(DEFAULT_PER_SECOND)
    }
}

impl ByteRate {
    /// So many bytes a second; 0 is no limit.
    pub const fn new(per_second: u64) -> Self {
        Self { per_second }
    }

    /// Whether `bytes` may be written at `now_us`, and then the new state. The state is
    /// the time at which the group has saved all it can; it begins with 0. A group
    /// below its limit may exceed it with one record: records are not torn.
    #[must_use]
    pub fn spend(self, whole_at_us: u64, now_us: u64, bytes: u64) -> Option<u64> {
        if self.per_second == 0 {
            return Some(whole_at_us);
        }
        let whole_at = whole_at_us.max(now_us);
        if whole_at - now_us >= SAVED_SECONDS * SECOND_US {
            return None;
        }
        let takes_us = bytes.saturating_mul(SECOND_US) / self.per_second;
        Some(whole_at.saturating_add(takes_us))
    }

    /// What to say about what was left out.
    pub fn account(self, left_out: LeftOut) -> String {
        let LeftOut { lines, bytes } = left_out;
        let rate = match self.per_second {
            rate if rate != 0 && rate % (1 << 20) == 0 => format!("{} MiB", rate >> 20),
            rate => format!("{rate} bytes"),
        };
        format!(
            "({lines} lines, {bytes} bytes dropped: more than {rate} per second; log-rate= sets it)"
        )
    }
}

/// What was not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Lines.
    pub lines: u64,
    /// Their bytes, as they came.
    pub bytes: u64,
}

impl LeftOut {
    /// Counts more; whoever says how much may say anything.
    pub fn add(&mut self, more: Self) {
        self.lines = self.lines.saturating_add(more.lines);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }

    /// Whether nothing was.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What a record costs, as a log writes it: a byte that is not printable ASCII
/// becomes four (`\x1b`), and each line end begins another line.
pub fn cost(record: &[u8]) -> u64 {
    let cost_of = record.iter().map(|byte| match byte {
        b' '..=b'~' => 1,
        b'\n' => LINE_COST,
        _ => 4,
    });
    cost_of.sum::<u64>() + LINE_COST
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: ByteRate = ByteRate::new(512 << 10);
    const BURST: u64 = SAVED_SECONDS * RATE.per_second;

    /// What passes of records that cost so much, one after the other.
    fn passed(rate: ByteRate, state: &mut u64, now: u64, record: u64, count: u64) -> u64 {
        let mut bytes = 0;
        for _ in 0..count {
            if let Some(next) = rate.spend(*state, now, record) {
                (*state, bytes) = (next, bytes + record);
            }
        }
        bytes
    }

    #[test]
    fn a_burst_passes_a_flood_does_not_and_time_refills() {
        let mut state = 0;
        let mut write = |at, record, count| passed(RATE, &mut state, at * SECOND_US, record, count);
        assert_eq!(write(100, 8 << 10, 10_000), BURST);
        assert_eq!(write(100, 1, 10), 0);
        assert_eq!(write(102, 8 << 10, 10_000), 2 * RATE.per_second);
        assert_eq!(write(1000, 8 << 10, 10_000), BURST, "never more");
    }

    #[test]
    fn tens_of_thousands_of_lines_at_once_and_thousands_a_second_pass_by_default() {
        let mut state = 0;
        let rate = ByteRate::default();
        let line = 50 + LINE_COST;
        let at_once = passed(rate, &mut state, SECOND_US, line, 100_000);
        assert_eq!(at_once, 100_000 * line);
        for second in 2..3600 {
            let sustained = passed(rate, &mut state, second * SECOND_US, line, 5000);
            assert_eq!(sustained, 5000 * line, "second {second}");
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let none = ByteRate::new(0);
        assert_eq!(passed(none, &mut 0, 1, 1 << 40, 1000), 1000 << 40);
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut state = 0;
        assert_eq!(
            passed(RATE, &mut state, 100 * SECOND_US, 1 << 20, 100),
            BURST
        );
        assert_eq!(passed(RATE, &mut state, 50 * SECOND_US, 1, 1), 0);
    }

    #[test]
    fn a_record_is_written_whole_and_paid_for() {
        let state = RATE.spend(0, SECOND_US, u64::MAX).unwrap();
        assert_eq!(RATE.spend(state, 1_000_000 * SECOND_US, 1), None);
        let slow = ByteRate::new(1);
        let state = slow.spend(u64::MAX - 1, u64::MAX - 1, u64::MAX);
        assert_eq!(state, Some(u64::MAX));
    }

    #[test]
    fn what_is_escaped_costs_what_it_becomes() {
        assert_eq!(cost(b"abc"), 3 + LINE_COST);
        assert_eq!(cost(b"a\nb"), 2 + 2 * LINE_COST);
        assert_eq!(cost("\x1b\u{202e}".as_bytes()), 16 + LINE_COST);
    }

    #[test]
    fn it_is_said_how_much_was_left_out_and_what_sets_the_limit() {
        let mut left_out = LeftOut::default();
        assert!(left_out.is_empty());
        left_out.add(LeftOut {
            lines: 7,
            bytes: 90,
        });
        assert_eq!(
            ByteRate::default().account(left_out),
            "(7 lines, 90 bytes dropped: more than 2 MiB per second; log-rate= sets it)"
        );
        assert!(
            ByteRate::new(1000)
                .account(left_out)
                .contains("more than 1000 bytes per second")
        );
        left_out.add(LeftOut {
            lines: u64::MAX,
            bytes: u64::MAX,
        });
        assert_eq!(left_out.lines, u64::MAX);
    }
}
