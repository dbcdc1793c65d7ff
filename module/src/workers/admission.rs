//! Whether a request of a process group may have a thread of httpd, from what its
//! group and all of httpd do at that moment. Pure: `thread_reserve.rs` has the numbers
//! and carries out what is decided.

use std::time::Duration;

use crate::configuration::groups::GroupView;
use crate::workers::completion_rate;
use crate::workers::thread_table::{AgeLimits, GroupRequests};

/// One of this many threads is kept; of fewer threads none is.
const KEPT: u32 = 10;
/// A group with less than this part of all threads is small: others take them.
const SMALL: u32 = 10;
/// A group that has completed no request for this long does not answer. Most
/// applications load in less, when their only worker has been killed.
const STANDS: Duration = Duration::from_secs(5);
/// A group whose requests take this long holds its threads.
pub(crate) const LONG: Duration = Duration::from_secs(6);
/// From which age on a request counts as one that holds its thread.
pub(crate) const AGES: AgeLimits = AgeLimits {
    begun: Duration::from_millis(200),
    begun_old: Duration::from_secs(2),
    old: LONG,
};
/// A group whose responses have begun and that has completed none for this long streams.
const STREAMS: Duration = Duration::from_millis(500);
/// Requests of a group may wait if it completes what it has within this time.
const DRAINS: Duration = Duration::from_secs(1);

/// A request that wants a thread, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadClaim {
    pub(crate) key: u32,
    /// How many requests the workers of its group serve at a time; 0 is not known.
    pub(crate) capacity: u32,
    /// Whether the request holds its thread from the beginning, and never waits for one.
    pub(crate) for_long: bool,
}

impl From<&GroupView> for ThreadClaim {
    fn from(group: &GroupView) -> Self {
        Self {
            key: group.key,
            capacity: group.capacity,
            for_long: false,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Begins,
    /// It begins in the place of a request that has ended, if no other takes that place.
    TakesTurn,
    Waits,
    Refused(RefusalReason),
}

/// What a group does that lets none of its requests begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// This many of its requests hold their threads.
    Holds(u32),
    /// Its requests take this long.
    Slow(Duration),
    /// It has completed none for this long.
    Stands(Duration),
    /// How many requests it completes in a second, and how long all of them take.
    Drains(u32, Duration),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ReserveState {
    /// MaxRequestWorkers.
    pub(crate) threads: u32,
    /// Requests of all groups, this one and the waiting ones included.
    pub(crate) all: u32,
    /// Waiting requests of all groups, this one included once it waits.
    pub(crate) waiting: u32,
    pub(crate) group: GroupRequests,
    pub(crate) claim: ThreadClaim,
    /// Time since the group completed a request.
    pub(crate) silent: Duration,
    /// How long its requests took of late.
    pub(crate) took: Duration,
    /// How many of its requests end in a second; `None` is not known.
    pub(crate) ends: Option<u32>,
}

/// Why a request gets no thread, in words: [`wsgid_protocol::Failure::QueueFull`].
#[derive(Debug, thiserror::Error)]
#[error("{}", state.text(*why))]
pub(crate) struct ReserveFull {
    pub(crate) state: ReserveState,
    pub(crate) why: RefusalReason,
}

/// How many of all threads are kept.
pub(crate) const fn kept(threads: u32) -> u32 {
    threads / KEPT
}

impl ReserveState {
    fn kept(&self) -> u32 {
        kept(self.threads)
    }

    fn own(&self) -> u32 {
        self.group.running + self.group.waiting
    }

    /// Time since the group completed a request, but none before its requests came.
    fn silent_of_present(&self) -> Duration {
        self.silent.min(self.group.oldest)
    }

    /// Whether so many of the group's requests are at least half of them.
    fn is_most(&self, count: u32) -> bool {
        count > 0 && count.saturating_mul(2) >= self.group.running
    }

    /// Whether so many are three quarters of what the group's workers serve at a time.
    fn fills_workers(&self, count: u32) -> bool {
        let capacity = self.claim.capacity;
        capacity > 0 && count.saturating_mul(4) >= capacity * 3
    }

    /// Why the group holds its threads for long, if it does.
    fn holds(&self) -> Option<RefusalReason> {
        let GroupRequests { begun, old, .. } = self.group;
        let silent = self.silent_of_present();
        let streams = (self.is_most(begun) && silent >= STREAMS)
            || (begun > 0 && self.fills_workers(begun) && silent >= 2 * STREAMS);
        let is_old = self.is_most(old) || (begun > 0 && self.fills_workers(old));
        if self.claim.for_long || streams || is_old {
            return Some(RefusalReason::Holds(if streams { begun } else { old }));
        }
        // Requests that waited for a worker that started took long; the group may be
        // quick now.
        let is_quick = self.drains().is_some_and(|(_, time)| time <= DRAINS);
        (self.took >= LONG && !is_quick).then_some(RefusalReason::Slow(self.took))
    }

    /// How many requests of the group end in a second, and how long it takes until all
    /// that are under way have ended. Not known while none ends, as when a worker starts
    /// again.
    fn drains(&self) -> Option<(u32, Duration)> {
        let ends = self
            .ends
            .filter(|ends| *ends > 0 && self.silent < completion_rate::WINDOW)?;
        let time = u64::from(self.group.running) * 1000 / u64::from(ends);
        Some((ends, Duration::from_millis(time)))
    }

    pub(crate) fn admission(&self) -> Admission {
        let own = self.own();
        if own <= 1 || self.all.saturating_add(self.kept()) <= self.threads {
            return Admission::Begins;
        }
        let holds = self.holds();
        if own < self.threads / SMALL {
            // Many small groups that hold their threads must not take all that is kept.
            return match holds {
                Some(why) if self.all.saturating_add(self.kept() / 2) > self.threads => {
                    Admission::Refused(why)
                }
                _ => Admission::Begins,
            };
        }
        if let Some(why) = holds {
            return Admission::Refused(why);
        }
        // Waiting requests begin as others end.
        let running = self.all.saturating_sub(self.waiting);
        if self.waiting > 0
            && self.group.waiting > 0
            && running.saturating_add(self.kept()) < self.threads
        {
            return Admission::TakesTurn;
        }
        if let Some((ends, time)) = self.drains().filter(|(_, time)| *time > DRAINS) {
            return Admission::Refused(RefusalReason::Drains(ends, time));
        }
        let silent = self.silent_of_present();
        if silent < STANDS {
            Admission::Waits
        } else {
            Admission::Refused(RefusalReason::Stands(silent))
        }
    }

    fn text(&self, why: RefusalReason) -> String {
        let kept = self.kept();
        let reason = match why {
            RefusalReason::Holds(count) if count > 0 => {
                format!(
                    "{count} of them have begun an answer that does not end or are older than {} s",
                    LONG.as_secs()
                )
            }
            RefusalReason::Holds(_) => "they hold their threads until they end".to_owned(),
            RefusalReason::Slow(took) => {
                format!("they took {:.1} s each of late", took.as_secs_f64())
            }
            RefusalReason::Drains(ends, time) => {
                format!(
                    "it ends {ends} of them a second, which takes {:.1} s for all",
                    time.as_secs_f64()
                )
            }
            RefusalReason::Stands(silent) => {
                format!("it has answered none for {:.1} s", silent.as_secs_f64())
            }
        };
        format!(
            "it has {} of the {} requests that httpd serves at a time (MaxRequestWorkers), and {reason}; the last {kept} are kept for others. A larger MaxRequestWorkers lets in more",
            self.own().saturating_sub(1),
            self.threads,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(threads: u32, all: u32, running: u32) -> ReserveState {
        let group = GroupRequests {
            running,
            oldest: Duration::from_secs(30),
            ..GroupRequests::default()
        };
        let claim = ThreadClaim {
            key: 1,
            capacity: 15,
            for_long: false,
        };
        ReserveState {
            threads,
            all,
            waiting: 0,
            group,
            claim,
            silent: Duration::ZERO,
            took: Duration::ZERO,
            ends: None,
        }
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn while_enough_is_free_every_request_begins() {
        let mut state = state_of(150, 135, 135);
        state.group.old = 135;
        assert_eq!(state.admission(), Admission::Begins);
        state.all = 136;
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Holds(135))
        );
    }

    #[test]
    fn streams_beyond_the_share_are_refused_at_once() {
        let mut state = state_of(150, 136, 136);
        state.group.begun = 100;
        state.silent = ms(400);
        assert_eq!(
            state.admission(),
            Admission::Waits,
            "they may be answers that are just on their way"
        );
        state.silent = ms(500);
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Holds(100))
        );
        let text = state.text(RefusalReason::Holds(100));
        assert!(
            text.starts_with("it has 135 of the 150 requests")
                && text.contains("the last 15 are kept"),
            "{text}"
        );
        // Quick requests beside them do not make them anything else.
        state.silent = ms(0);
        state.group.old = 100;
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Holds(100))
        );
    }

    #[test]
    fn streams_that_fill_their_workers_are_known_though_most_wait_in_the_queue() {
        let mut state = state_of(150, 140, 140);
        state.group.begun = 15;
        state.silent = ms(1000);
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Holds(15))
        );
        state.group.begun = 8;
        assert_eq!(state.admission(), Admission::Waits);
    }

    #[test]
    fn long_polls_are_refused_at_once() {
        let mut state = state_of(150, 140, 140);
        state.took = ms(6000);
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Slow(ms(6000)))
        );
        state.took = ms(5000);
        assert_eq!(state.admission(), Admission::Waits);
        // Their length is known before one has ended, by how old they are.
        state.took = ms(0);
        state.group.old = 70;
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Holds(70))
        );
    }

    #[test]
    fn quick_requests_wait_for_their_turn() {
        let mut state = state_of(150, 150, 135);
        assert_eq!(state.admission(), Admission::Waits);
        state.group.waiting = 15;
        state.waiting = 15;
        assert_eq!(state.admission(), Admission::Waits);
        // One has ended, and its thread took another that waits.
        state.group.running = 134;
        state.group.waiting = 16;
        state.waiting = 16;
        assert_eq!(state.admission(), Admission::TakesTurn);
    }

    #[test]
    fn a_group_whose_worker_starts_again_may_wait_for_some_seconds() {
        let mut state = state_of(150, 150, 140);
        state.silent = ms(4990);
        assert_eq!(state.admission(), Admission::Waits);
        state.silent = ms(5000);
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Stands(ms(5000)))
        );
        assert!(
            state
                .text(RefusalReason::Stands(ms(5000)))
                .contains("answered none for 5.0 s")
        );
        // What was before its requests came does not count.
        state.group.oldest = ms(300);
        assert_eq!(state.admission(), Admission::Waits);
    }

    #[test]
    fn requests_of_a_group_that_ends_few_do_not_wait() {
        let mut state = state_of(150, 136, 136);
        state.took = ms(4500);
        assert_eq!(state.admission(), Admission::Waits, "its pace is not known");
        state.ends = Some(30);
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Drains(30, ms(4533)))
        );
        let text = state.text(RefusalReason::Drains(30, ms(4533)));
        assert!(
            text.contains("it ends 30 of them a second, which takes 4.5 s for all"),
            "{text}"
        );
        // One that waits has its turn all the same.
        state.group.running = 134;
        state.group.waiting = 2;
        state.waiting = 2;
        assert_eq!(state.admission(), Admission::TakesTurn);
        // A worker that starts again ends none for a while.
        state.all = 150;
        state.silent = ms(1000);
        assert_eq!(state.admission(), Admission::Waits);
    }

    #[test]
    fn requests_of_a_group_that_ends_many_wait() {
        let mut state = state_of(150, 150, 136);
        state.ends = Some(136);
        assert_eq!(state.admission(), Admission::Waits);
        // They waited for a worker that started, and end quickly now.
        state.took = ms(6000);
        assert_eq!(state.admission(), Admission::Waits);
        state.ends = Some(100);
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Slow(ms(6000)))
        );
    }

    #[test]
    fn who_has_little_takes_from_what_is_kept() {
        let mut state = state_of(150, 149, 4);
        assert_eq!(state.admission(), Admission::Begins);
        state.group.old = 4;
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Holds(4)),
            "many that hold would take all of it"
        );
        state.all = 140;
        assert_eq!(state.admission(), Admission::Begins);
        state.all = 150;
        state.group.running = 1;
        assert_eq!(
            state.admission(),
            Admission::Begins,
            "the first is served while there is a thread"
        );
    }

    #[test]
    fn what_is_upgraded_never_waits() {
        let mut state = state_of(20, 19, 18);
        state.claim.for_long = true;
        assert_eq!(
            state.admission(),
            Admission::Refused(RefusalReason::Holds(0))
        );
        assert!(
            state
                .text(RefusalReason::Holds(0))
                .contains("until they end")
        );
        state.all = 18;
        assert_eq!(state.admission(), Admission::Begins);
    }

    #[test]
    fn of_few_threads_none_is_kept() {
        let mut state = state_of(9, 9, 9);
        state.group.old = 9;
        assert_eq!(state.admission(), Admission::Begins);
    }
}
