//! The monotonic clock, which all processes of a machine read alike. Used for
//! points in time that another process, or the same one after an exec, compares.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// What it says now; zero where there is none.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default()
}
