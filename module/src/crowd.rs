//! Who holds httpd's threads. A process group that answers nothing while its
//! requests take one thread after the other would leave none to the others: so
//! the last of them are kept for groups that answer. Counted over all children
//! (`loads.rs`); asked by `exchange.rs` for each request. Knows nothing of workers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use wsgid_protocol::failure::Failure;

use crate::groups::Group;
use crate::httpd::shared;
use crate::loads::{Counted, Loads};

/// One thread of so many is kept; of fewer none.
const KEPT: u32 = 10;
/// A group that has so small a part of all threads is not what takes them.
const SMALL: u32 = 10;
/// A group that has answered nothing for so long does not answer.
const STANDS: Duration = Duration::from_secs(1);

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

    /// A request begins; or why it must not. Not counted where there is one group.
    pub(crate) fn enter(&self, group: &Group) -> Result<Option<Held<'_>>, (Failure, String)> {
        if !self.several {
            return Ok(None);
        }
        self.enter_at(place_of(group), now_ms()).map(Some).map_err(|text| (Failure::QueueFull, text))
    }

    fn enter_at(&self, group: u32, now: u32) -> Result<Held<'_>, String> {
        let before = self.loads.of(group);
        self.loads.begin(group);
        self.loads.begin(ALL);
        let held = Held { crowd: self, group };
        if before == 0 {
            self.note(group, now);
            return Ok(held);
        }
        let (own, all) = (before.saturating_add(1), self.loads.of(ALL));
        let kept = self.threads / KEPT;
        if all.saturating_add(kept) <= self.threads || own < self.threads / SMALL {
            return Ok(held);
        }
        let silent = self.time(group).map_or(Duration::ZERO, |at| since(at, now));
        if silent < STANDS {
            return Ok(held);
        }
        Err(format!(
            "it has {before} of the {} requests that httpd serves at a time (MaxRequestWorkers) and has answered none for {:.1} s; the last {kept} are kept for other process groups",
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

/// Another child may have noted a later time than this one's now.
fn since(at: &AtomicU32, now: u32) -> Duration {
    let passed = now.wrapping_sub(at.load(Ordering::Relaxed));
    if passed.cast_signed() < 0 { Duration::ZERO } else { Duration::from_millis(passed.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(threads: u32) -> Crowd {
        Crowd { loads: Loads::private(), answered: shared::zeros(PLACES as usize), threads, several: true }
    }

    fn enter(crowd: &Crowd, group: u32, count: usize, now: u32) -> Vec<Held<'_>> {
        (0..count).map_while(|_| crowd.enter_at(group, now).ok()).collect()
    }

    #[test]
    fn a_group_that_answers_nothing_leaves_the_last_threads() {
        let crowd = crowd(50);
        let stuck = enter(&crowd, 1, 30, 100);
        assert_eq!(stuck.len(), 30);
        // For a second it may be that many have come at once.
        let more = enter(&crowd, 1, 20, 1000);
        assert_eq!(more.len(), 20);
        drop(more);
        let more = enter(&crowd, 1, 20, 1200);
        assert_eq!(stuck.len() + more.len(), 45);
        // They are there for others, also for one that is slow.
        assert_eq!(enter(&crowd, 2, 5, 1200).len(), 5);
        crowd.note(1, 1300);
        assert_eq!(enter(&crowd, 1, 3, 1400).len(), 3);
    }

    #[test]
    fn who_holds_little_is_not_held_off() {
        let crowd = crowd(50);
        let (_few, _many) = (enter(&crowd, 2, 2, 100), enter(&crowd, 1, 50, 100));
        assert_eq!(enter(&crowd, 2, 2, 9000).len(), 2);
        assert!(enter(&crowd, 1, 1, 9000).is_empty());
    }

    #[test]
    fn of_few_threads_none_is_kept() {
        let crowd = crowd(9);
        let mut held = enter(&crowd, 1, 9, 100);
        assert_eq!(held.len(), 9);
        held.pop();
        assert_eq!(enter(&crowd, 1, 1, 9000).len(), 1);
    }

    #[test]
    fn what_is_over_no_longer_counts() {
        let crowd = crowd(10);
        drop(enter(&crowd, 1, 10, 0));
        assert_eq!((crowd.loads.of(1), crowd.loads.of(ALL)), (0, 0));
        // The time of another child may be ahead, and the clock begins again.
        crowd.note(1, 5);
        assert_eq!(since(crowd.time(1).unwrap(), 3), Duration::ZERO);
        assert_eq!(since(&AtomicU32::new(u32::MAX), 9), Duration::from_millis(10));
    }
}
