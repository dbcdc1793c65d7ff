//! The clocks. The monotonic one, which all processes of a machine read alike: for points
//! in time that another process, or the same one after an exec, compares. The other for
//! people and for what is written down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// What it says now; zero where there is none.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default()
}

/// The time since 1970; zero where the clock is before it.
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
