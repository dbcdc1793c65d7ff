//! What the requests of this worker are like: short or long, computing or
//! waiting. Fed by `serve`, it decides whether threads wake each other eagerly.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::sys;

/// Requests longer than this on average, that mostly wait, are served eagerly.
const LONG: Duration = Duration::from_micros(500);

/// CPU time below this share of the wall time, in thousandths, is waiting.
const WAITS: u64 = 800;

/// Short requests are measured only one in so many: the clock of a thread costs
/// a system call.
const SAMPLE: u64 = 16;

/// Weight of one request in the averages, as a power of two.
const WEIGHT: u32 = 3;

/// The usual time of a request does not sink below this.
const USUAL_MIN_NS: u64 = 10_000;

/// Averages over the last requests.
pub(crate) struct LoadProfile {
    wall_ns: AtomicU64,
    usual_ns: AtomicU64,
    cpu_share: AtomicU64,
    count: AtomicU64,
    /// Whether threads wake the next leader when they take a request.
    eager: AtomicBool,
    /// Some requests sleep, too few to show in the averages.
    sleeping: AtomicBool,
}

impl Default for LoadProfile {
    fn default() -> Self {
        Self {
            wall_ns: AtomicU64::new(0),
            usual_ns: AtomicU64::new(USUAL_MIN_NS),
            // Until something else is seen, requests compute.
            cpu_share: AtomicU64::new(1000),
            count: AtomicU64::new(0),
            eager: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
        }
    }
}

impl LoadProfile {
    pub(crate) fn is_eager(&self) -> bool {
        self.eager.load(Ordering::Relaxed) || self.sleeping.load(Ordering::Relaxed)
    }

    /// How long a request usually takes: about the median, which a few long
    /// ones do not move.
    pub(crate) fn usual(&self) -> Duration {
        Duration::from_nanos(self.usual_ns.load(Ordering::Relaxed))
    }

    /// The ticker has seen, or not seen for long, requests that sleep.
    pub(crate) fn note_sleeping(&self, about: bool) {
        if about != self.sleeping.load(Ordering::Relaxed) {
            self.sleeping.store(about, Ordering::Relaxed);
        }
    }

    /// A request begins: the CPU clock, if this one is measured.
    pub(crate) fn begin(&self) -> Option<u64> {
        let long = self.wall_ns.load(Ordering::Relaxed) * 2 > LONG.as_nanos() as u64;
        (long
            || self
                .count
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(SAMPLE))
        .then(sys::own_cpu_ns)
    }

    pub(crate) fn end(&self, wall: Duration, cpu_began: Option<u64>) {
        let wall = wall.min(Duration::from_secs(60)).as_nanos() as u64;
        let average = mix(&self.wall_ns, wall);
        step(&self.usual_ns, wall);
        let Some(began) = cpu_began else { return };
        let cpu = sys::own_cpu_ns().saturating_sub(began);
        let share = cpu.saturating_mul(1000) / wall.max(1);
        let share = mix(&self.cpu_share, share.min(1000));
        let eager = average > LONG.as_nanos() as u64 && share < WAITS;
        if eager != self.eager.load(Ordering::Relaxed) {
            self.eager.store(eager, Ordering::Relaxed);
        }
    }
}

/// Moves a median towards a value, by a sixteenth of itself.
fn step(median: &AtomicU64, value: u64) {
    let old = median.load(Ordering::Relaxed);
    let new = if value > old {
        old + (old >> 4)
    } else {
        (old - (old >> 4)).max(USUAL_MIN_NS)
    };
    median.store(new, Ordering::Relaxed);
}

/// Moves an average towards a value. Two threads at once may lose one value,
/// which does not matter to an average.
fn mix(average: &AtomicU64, value: u64) -> u64 {
    let old = average.load(Ordering::Relaxed);
    let new = if value >= old {
        old + ((value - old) >> WEIGHT)
    } else {
        old - ((old - value) >> WEIGHT)
    };
    average.store(new, Ordering::Relaxed);
    new
}
