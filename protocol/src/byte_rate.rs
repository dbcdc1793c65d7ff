//! How many bytes a process group may write to a log: so many in a row, and so
//! many a second after that. Pure: the state is one number that whoever asks keeps
//! where all that write for the group can see it, the module in memory that
//! httpd's children share, the supervisor beside the group's log. Knows nothing of
//! lines; `line_rate.rs` counts those of one process or request.

/// What a group may write in a row, after it has written little for a while.
pub const BURST: u64 = 8 << 20;

/// What it may write a second after that: 30 MiB a minute.
pub const PER_SECOND: u64 = 512 << 10;

/// What a line costs besides its own bytes: the time, level and process that are
/// put in front of it.
pub const LINE_COST: u64 = 128;

/// Longest time of credit, in microseconds.
const CREDIT_US: u64 = BURST * 1_000_000 / PER_SECOND;

/// Whether `bytes` may be written at `now_us`, and then the new state. The state is
/// the time at which the group has its whole burst again; it begins with 0. A group
/// below its limit may exceed it with one record: records are not torn.
#[must_use]
pub fn spend(whole_at_us: u64, now_us: u64, bytes: u64) -> Option<u64> {
    let whole_at = whole_at_us.max(now_us);
    if whole_at - now_us >= CREDIT_US {
        return None;
    }
    Some(whole_at + bytes.saturating_mul(1_000_000) / PER_SECOND)
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

/// What to say about what was left out.
pub fn account(lines: u64) -> String {
    format!(
        "({lines} lines dropped: the process group writes more than {} MiB a minute)",
        (PER_SECOND * 60) >> 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// What passes of records that cost so much, one after the other.
    fn passed(state: &mut u64, now: u64, record: u64, count: u64) -> u64 {
        let mut bytes = 0;
        for _ in 0..count {
            if let Some(next) = spend(*state, now, record) {
                (*state, bytes) = (next, bytes + record);
            }
        }
        bytes
    }

    #[test]
    fn a_burst_passes_a_flood_does_not_and_time_refills() {
        let mut state = 0;
        assert_eq!(passed(&mut state, 100 * SECOND, 8 << 10, 10_000), BURST);
        assert_eq!(passed(&mut state, 100 * SECOND, 1, 10), 0);
        assert_eq!(
            passed(&mut state, 102 * SECOND, 8 << 10, 10_000),
            2 * PER_SECOND
        );
        assert_eq!(
            passed(&mut state, 1000 * SECOND, 8 << 10, 10_000),
            BURST,
            "never more than the burst"
        );
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut state = 0;
        assert_eq!(passed(&mut state, 100 * SECOND, 1 << 20, 100), BURST);
        assert_eq!(passed(&mut state, 50 * SECOND, 1, 1), 0);
    }

    #[test]
    fn a_record_is_written_whole_and_paid_for() {
        let state = spend(0, SECOND, u64::MAX).unwrap();
        assert_eq!(spend(state, 1_000_000 * SECOND, 1), None);
    }

    #[test]
    fn what_is_escaped_costs_what_it_becomes() {
        assert_eq!(cost(b"abc"), 3 + LINE_COST);
        assert_eq!(cost(b"a\nb"), 2 + 2 * LINE_COST);
        assert_eq!(cost("\x1b\u{202e}".as_bytes()), 16 + LINE_COST);
        assert_eq!(
            account(7),
            "(7 lines dropped: the process group writes more than 30 MiB a minute)"
        );
    }
}
