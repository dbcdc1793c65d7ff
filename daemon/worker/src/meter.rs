//! What one request is measured by: where somebody listens to events, or has
//! called `start_recording_metrics`; no other request pays for it. Made by
//! `events`, counted up by `input` and `response` (a file is no write), read at the
//! end of the request by `events` and `metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Number, amount and duration of reads or writes.
#[derive(Default)]
pub(crate) struct Flow {
    calls: AtomicU64,
    bytes: AtomicU64,
    micros: AtomicU64,
}

impl Flow {
    /// Does one read or write, which says what it moved.
    pub(crate) fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = work();
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.micros
            .fetch_add(micros(began.elapsed()), Ordering::Relaxed);
        result
    }

    pub(crate) fn add_bytes(&self, count: usize) {
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            calls: self.calls.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn micros(&self) -> u64 {
        self.micros.load(Ordering::Relaxed)
    }
}

/// Reads of a request's body, or writes of a response's.
#[derive(Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

impl Traffic {
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.bytes += other.bytes;
    }
}

/// CPU time in microseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: u64,
    pub(crate) system: u64,
}

impl Cpu {
    fn of_thread() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else {
            return Self::default();
        };
        Self {
            user: u64::try_from(usage.user_time().num_microseconds()).unwrap_or(0),
            system: u64::try_from(usage.system_time().num_microseconds()).unwrap_or(0),
        }
    }
}

pub(crate) struct Meter {
    pub(crate) input: Flow,
    pub(crate) output: Flow,
    began: Cpu,
}

impl Meter {
    /// Made by the thread that serves the request.
    pub(crate) fn new() -> Self {
        Self {
            input: Flow::default(),
            output: Flow::default(),
            began: Cpu::of_thread(),
        }
    }

    /// CPU time since; asked by the same thread.
    pub(crate) fn cpu(&self) -> Cpu {
        let now = Cpu::of_thread();
        Cpu {
            user: now.user.saturating_sub(self.began.user),
            system: now.system.saturating_sub(self.began.system),
        }
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
