//! Who holds httpd's threads. A process group that answers nothing while its
//! requests take one thread after the other would leave none to the others: so
//! the last of them are kept for groups that answer. A request that would take one
//! of those is not sent before its group has answered another. Counted over all
//! children (`loads.rs`); asked by `exchange.rs` for each request. Knows nothing of
//! workers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use wsgid_protocol::failure::Failure;

use crate::child;
use crate::groups::Group;
use crate::httpd::shared;
use crate::loads::{Counted, Loads};

/// One thread of so many is kept; of fewer none.
const KEPT: u32 = 10;
/// A group that has so small a part of all threads is not what takes them.
const SMALL: u32 = 10;
/// A group that has answered nothing for so long does not answer: longer than most
/// applications take to load, when their only worker has been killed.
const STANDS: Duration = Duration::from_secs(5);
/// How often a request that waits for an answer to another looks.
const LOOK: Duration = Duration::from_millis(10);

/// Places for groups; those that share one answer for each other.
const PLACES: u32 = 1024;
/// Where the requests of all groups are counted: `PLACES` modulo `PLACES`, the place
/// that no group has.
const ALL: u32 = PLACES;

/// When the groups have last answered, in milliseconds; children inherit it.
static ANSWERED: OnceLock<Option<&'static [AtomicU32]>> = OnceLock::new();

/// Before children are forked.
pub(crate) fn prepare() {
    ANSWERED.get_or_init(|| shared::zeros(PLACES as usize));
}

/// What a child knows of all requests.
pub(crate) struct Crowd {
    loads: Loads,
    answered: Option<&'static [AtomicU32]>,
    /// Of all children together: MaxRequestWorkers.
    threads: u32,
    /// Whether there is anybody to keep threads for.
    several: bool,
}

/// A request that is under way; counted until this is dropped.
pub(crate) struct Held<'c> {
    crowd: &'c Crowd,
    group: u32,
}

/// What becomes of a request.
#[derive(Debug)]
enum Verdict {
    Begins,
    /// Until the group has answered one, or has not for too long.
    Waits,
    Refused(String),
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.crowd.loads.end(self.group);
        self.crowd.loads.end(ALL);
    }
}

impl Crowd {
    /// For the child that calls.
    pub(crate) fn of_child(pid: u32, threads: u32, several: bool) -> Self {
        let answered = ANSWERED.get().copied().flatten();
        Self { loads: Loads::of_child(pid, Counted::Groups), answered, threads, several }
    }

    /// A request begins, perhaps after a wait; or why it must not. Not counted where
    /// there is one group.
    pub(crate) fn enter(&self, group: &Group) -> Result<Option<Held<'_>>, (Failure, String)> {
        if !self.several {
            return Ok(None);
        }
        let entered = now_ms();
        let held = self.count(place_of(group), entered);
        let mut now = entered;
        loop {
            match self.judge(&held, entered, now) {
                Verdict::Waits if !child::is_stopping() => std::thread::sleep(LOOK),
                Verdict::Refused(text) => return Err((Failure::QueueFull, text)),
                Verdict::Begins | Verdict::Waits => return Ok(Some(held)),
            }
            now = now_ms();
        }
    }

    fn count(&self, group: u32, now: u32) -> Held<'_> {
        if self.loads.of(group) == 0 {
            self.note(group, now);
        }
        self.loads.begin(group);
        self.loads.begin(ALL);
        Held { crowd: self, group }
    }

    /// What becomes of a request that is counted already, since `entered`.
    fn judge(&self, held: &Held<'_>, entered: u32, now: u32) -> Verdict {
        let (own, all, kept) = (self.loads.of(held.group), self.loads.of(ALL), self.threads / KEPT);
        let is_small = own <= 1 || own < self.threads / SMALL;
        let Some(at) = self.time(held.group).map(|at| at.load(Ordering::Relaxed)) else { return Verdict::Begins };
        if is_small || all.saturating_add(kept) <= self.threads || passed(entered, at) > Duration::ZERO {
            return Verdict::Begins;
        }
        let silent = passed(at, now);
        if silent < STANDS {
            return Verdict::Waits;
        }
        Verdict::Refused(format!(
            "it has {} of the {} requests that httpd serves at a time (MaxRequestWorkers) and has answered none for {:.1} s; the last {kept} are kept for other process groups",
            own.saturating_sub(1),
            self.threads,
            silent.as_secs_f64()
        ))
    }

    /// The group has answered a request.
    pub(crate) fn answered(&self, group: &Group) {
        if self.several {
            self.note(place_of(group), now_ms());
        }
    }

    fn note(&self, group: u32, now: u32) {
        // All children write here: only what is new.
        if let Some(at) = self.time(group).filter(|at| at.load(Ordering::Relaxed) != now) {
            at.store(now, Ordering::Relaxed);
        }
    }

    fn time(&self, group: u32) -> Option<&AtomicU32> {
        self.answered?.get(usize::try_from(group).ok()?)
    }
}

fn place_of(group: &Group) -> u32 {
    1 + group.number.saturating_sub(1) % (PLACES - 1)
}

/// The clock of all processes; it begins again after 49 days.
fn now_ms() -> u32 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map(Duration::from).unwrap_or_default();
    (now.as_millis() & u128::from(u32::MAX)) as u32
}

/// From one time to another; none if that was before, for children note times of
/// their own.
fn passed(from: u32, to: u32) -> Duration {
    let passed = to.wrapping_sub(from);
    if passed.cast_signed() < 0 { Duration::ZERO } else { Duration::from_millis(passed.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(threads: u32) -> Crowd {
        Crowd { loads: Loads::private(), answered: shared::zeros(PLACES as usize), threads, several: true }
    }

    /// So many requests that come at this time, and what becomes of the last.
    fn enter(crowd: &Crowd, group: u32, count: usize, now: u32) -> (Vec<Held<'_>>, Verdict) {
        let (mut held, mut verdict) = (Vec::new(), Verdict::Begins);
        for _ in 0..count {
            let one = crowd.count(group, now);
            verdict = crowd.judge(&one, now, now);
            if matches!(verdict, Verdict::Refused(_)) {
                break;
            }
            held.push(one);
        }
        (held, verdict)
    }

    #[test]
    fn a_group_that_answers_nothing_leaves_the_last_threads() {
        let crowd = crowd(50);
        let (stuck, begun) = enter(&crowd, 1, 45, 100);
        assert!(stuck.len() == 45 && matches!(begun, Verdict::Begins));
        // That many have come at once may be chance.
        let (waits, verdict) = enter(&crowd, 1, 5, 200);
        assert!(matches!(verdict, Verdict::Waits), "{verdict:?}");
        let Verdict::Refused(text) = crowd.judge(&waits[0], 200, 5100) else { panic!("it has waited long enough") };
        assert!(text.starts_with("it has 49 of the 50 ") && text.contains("5.0 s"), "{text}");
        drop(waits);
        assert!(matches!(enter(&crowd, 1, 1, 5200).1, Verdict::Refused(_)));
        // They are there for others.
        assert!(matches!(enter(&crowd, 2, 4, 5200).1, Verdict::Begins));
    }

    #[test]
    fn an_answer_lets_those_begin_that_wait() {
        let crowd = crowd(50);
        let (held, verdict) = enter(&crowd, 1, 50, 100);
        assert!(matches!(verdict, Verdict::Waits));
        crowd.note(1, 500);
        assert!(matches!(crowd.judge(&held[49], 100, 510), Verdict::Begins));
        // Who comes later waits for the next.
        let (_later, verdict) = enter(&crowd, 1, 1, 600);
        assert!(matches!(verdict, Verdict::Waits));
    }

    #[test]
    fn who_holds_little_is_not_held_off() {
        let crowd = crowd(50);
        let (_few, _many) = (enter(&crowd, 2, 2, 100), enter(&crowd, 1, 50, 100));
        assert!(matches!(enter(&crowd, 2, 2, 9000).1, Verdict::Begins));
        assert!(matches!(enter(&crowd, 1, 1, 9000).1, Verdict::Refused(_)));
    }

    #[test]
    fn of_few_threads_none_is_kept() {
        let crowd = crowd(9);
        let (_held, verdict) = enter(&crowd, 1, 9, 100);
        assert!(matches!(verdict, Verdict::Begins));
    }

    #[test]
    fn what_is_over_no_longer_counts() {
        let crowd = crowd(10);
        drop(enter(&crowd, 1, 10, 0));
        assert_eq!((crowd.loads.of(1), crowd.loads.of(ALL)), (0, 0));
        // The time of another child may be ahead, and the clock begins again.
        assert_eq!((passed(5, 3), passed(u32::MAX, 9)), (Duration::ZERO, Duration::from_millis(10)));
    }
}
