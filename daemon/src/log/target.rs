//! Where the output of a group goes, and how much of it (`byte_rate.rs` of the
//! protocol, `log-rate=`). All processes of the group share it, so what they may write
//! they may write together. Asked by `output.rs` for each line, told by whoever puts a
//! definition in force; knows nothing of pipes.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wsgid_protocol::byte_rate::{ByteRate, LINE_COST, LeftOut};
use wsgid_protocol::clock::monotonic;
use wsgid_protocol::config::LogFormat;

use super::syslog::Syslog;

/// How often it is said that lines were left out.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(1);

/// Lines of one group that may wait for the disk. Its pipes are read no further then, so
/// that what many groups write has room in the queue.
const QUEUED_MAX: usize = 256;

#[derive(Clone, Debug, Default)]
pub(crate) enum LogDestination {
    /// Where the supervisor's own go.
    #[default]
    Main,
    /// A file or pipe.
    File(Arc<File>),
    /// The system's log.
    Syslog(Arc<Syslog>),
}

/// Where the output of a group goes; changed by the next configuration while
/// its workers run.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputTarget(Arc<Mutex<TargetState>>, QueuedLines);

#[derive(Debug, Default)]
struct TargetState {
    destination: LogDestination,
    format: LogFormat,
    rate: ByteRate,
    /// The state of the rate.
    whole_at_us: u64,
    /// What was left out, and nobody has been told of.
    untold: LeftOut,
    said_at: Option<Duration>,
    /// What was left out of the logs of its processes and requests.
    left_out: LeftOut,
}

impl OutputTarget {
    /// Sends what follows elsewhere.
    pub(crate) fn set(&self, destination: LogDestination) {
        self.lock().destination = destination;
    }

    /// And so.
    pub(crate) fn set_format(&self, format: LogFormat) {
        self.lock().format = format;
    }

    pub(super) fn format(&self) -> LogFormat {
        self.lock().format
    }

    /// So much of what follows.
    pub(crate) fn set_rate(&self, rate: ByteRate) {
        self.lock().rate = rate;
    }

    pub(super) fn destination(&self) -> LogDestination {
        self.lock().destination.clone()
    }

    /// Whether a line may be written; else it counts as left out.
    pub(super) fn admits(&self, line: &str) -> bool {
        let now_us = u64::try_from(monotonic().as_micros()).unwrap_or(u64::MAX);
        let bytes = line.len() as u64;
        let mut state = self.lock();
        let after = state
            .rate
            .spend(state.whole_at_us, now_us, bytes + LINE_COST);
        if let Some(after) = after {
            state.whole_at_us = after;
            return true;
        }
        let line = LeftOut { lines: 1, bytes };
        state.untold.add(line);
        state.left_out.add(line);
        false
    }

    /// What requests wrote and httpd left out.
    pub(crate) fn count(&self, left_out: LeftOut) {
        self.lock().left_out.add(left_out);
    }

    /// All that was left out.
    pub(crate) fn left_out(&self) -> LeftOut {
        self.lock().left_out
    }

    /// Whether something is to be said, now or later.
    pub(super) fn has_untold(&self) -> bool {
        !self.lock().untold.is_empty()
    }

    /// What is to be said now of what was left out; `last`: there may be no later.
    pub(super) fn account(&self, last: bool) -> Option<String> {
        let now = monotonic();
        let mut state = self.lock();
        let is_due = last
            || state
                .said_at
                .is_none_or(|said| now.saturating_sub(said) >= SAY_EVERY);
        if state.untold.is_empty() || !is_due {
            return None;
        }
        state.said_at = Some(now);
        let untold = std::mem::take(&mut state.untold);
        Some(state.rate.account(untold))
    }

    /// One line more waits for the disk, until what is returned is dropped.
    pub(super) fn queued(&self) -> QueuedLine {
        self.1.0.fetch_add(1, Ordering::Relaxed);
        QueuedLine(self.1.clone())
    }

    /// Whether so many wait that the next should be asked for later.
    pub(super) fn is_behind(&self) -> bool {
        self.1.0.load(Ordering::Relaxed) >= QUEUED_MAX
    }

    fn lock(&self) -> MutexGuard<'_, TargetState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Debug, Default)]
struct QueuedLines(Arc<AtomicUsize>);

/// A line that waits for the disk.
pub(super) struct QueuedLine(QueuedLines);

impl Drop for QueuedLine {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_write_for_a_group_share_what_it_may() {
        let target = OutputTarget::default();
        target.set_rate(ByteRate::new(1 << 20));
        let line = "x".repeat(8 << 10);
        let passed = (0..4000).filter(|_| target.admits(&line)).count();
        let burst = (16 << 20) / (line.len() + 128);
        assert!((burst..burst + 500).contains(&passed), "{passed} lines");
        let process = target.clone();
        assert!(!process.admits(&line), "another process of the group");
        assert!(OutputTarget::default().admits(&line), "another group");
        let left_out = process.left_out();
        assert_eq!(left_out.lines, 4001 - passed as u64);
        assert_eq!(left_out.bytes, left_out.lines * (8 << 10));
        let text = process.account(false).expect("it is said");
        let lines = left_out.lines;
        assert!(text.starts_with(&format!("({lines} lines, ")), "{text}");
        assert!(!target.admits(&line) && target.has_untold());
        assert_eq!(target.account(false), None, "not all the time");
        assert!(target.account(true).is_some() && !target.has_untold());
    }

    #[test]
    fn a_group_that_is_far_behind_the_disk_is_known() {
        let target = OutputTarget::default();
        let waiting: Vec<QueuedLine> = (0..QUEUED_MAX).map(|_| target.queued()).collect();
        assert!(target.clone().is_behind() && !OutputTarget::default().is_behind());
        drop(waiting);
        assert!(!target.is_behind());
    }
}
