//! Waiting for a condition with a deadline: the only place that sleeps.

use std::thread;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(10);

/// Polls until `probe` gives a value or the time is over.
pub fn until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(STEP);
    }
}

/// Polls until `probe` gives a value.
///
/// # Panics
/// If it gives none in time; `what` says what was waited for.
pub fn eventually<T>(what: &str, limit: Duration, probe: impl FnMut() -> Option<T>) -> T {
    until(limit, probe).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}

/// Lets a load run for a while: time is what such a test measures, nothing is
/// waited for.
pub fn let_run(time: Duration) {
    thread::sleep(time);
}
