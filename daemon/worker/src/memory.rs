//! When a worker is to be replaced: `memory-recycle` and `maximum-requests`.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wsgid_protocol::GroupConfig;

/// Resident memory is looked at this often at most.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Memory {
    /// Milliseconds after the start at which it was looked at.
    looked_at: AtomicU64,
    exceeded: AtomicBool,
}

impl Memory {
    /// Whether two samples in a row, taken after requests, were above the
    /// limit. One peak alone is what a large response leaves for a moment.
    pub(crate) fn exceeds(&self, limit: u64, age: Duration) -> bool {
        let now = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before = self.looked_at.load(Ordering::Relaxed);
        if before != 0 && now.saturating_sub(before) < INTERVAL.as_millis() as u64 {
            return false;
        }
        self.looked_at.store(now.max(1), Ordering::Relaxed);
        let above = resident().is_some_and(|bytes| bytes > limit);
        let twice = above && self.exceeded.load(Ordering::Relaxed);
        self.exceeded.store(above, Ordering::Relaxed);
        twice
    }
}

/// Resident bytes of this process.
pub(crate) fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * u64::try_from(page).ok()?)
}

/// The number of requests after which this worker asks to be replaced, so that
/// the workers of a group do not all do so at once; 0 for never.
pub(crate) fn requests_max(group: &GroupConfig) -> u64 {
    let jitter = match group.maximum_requests_jitter {
        0 => 0,
        most => RandomState::new().hash_one(std::process::id()) % most.saturating_add(1),
    };
    if group.maximum_requests == 0 {
        0
    } else {
        group.maximum_requests.saturating_add(jitter)
    }
}
