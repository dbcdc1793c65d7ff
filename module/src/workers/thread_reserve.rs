//! Who may have another thread of httpd. The last tenth of its threads is kept for
//! groups that have few: a request of a group that has many is sent only while all
//! requests together leave them free. While they do not, it waits for its turn, if
//! the requests of its group end soon; if they hold their threads for long (answers
//! that begin and do not end, long polls, slow downloads), or more of them are under
//! way than end in a second, it is refused at once, for one that waits holds a thread
//! too. Counted over all children (`loads.rs`,
//! `holders.rs`); asked by `exchange.rs` for each request, and by `upgrades.rs`.
//! Knows nothing of workers.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use wsgid_protocol::failure::Failure;

use crate::configuration::groups::Group;
use crate::httpd::shared;
use crate::workers::holders::{Ages, Row, Rows, Seen, passed};
use crate::workers::loads::{Counted, Loads};
use crate::workers::{pace, stopping};

/// One thread of so many is kept; of fewer none.
const KEPT: u32 = 10;
/// A group that has so small a part of all threads is not what takes them.
const SMALL: u32 = 10;
/// A group that has ended nothing for so long does not answer: longer than most
/// applications take to load, when their only worker has been killed.
const STANDS: Duration = Duration::from_secs(5);
/// A group whose requests take so long holds its threads.
const LONG: Duration = Duration::from_secs(6);
/// From when on a request counts as one that holds its thread.
const AGES: Ages = Ages {
    begun: Duration::from_millis(200),
    begun_old: Duration::from_secs(2),
    old: LONG,
};
/// So long nothing of a group has ended whose answers have only just begun: it streams.
const STREAMS: Duration = Duration::from_millis(500);
/// A group needs no longer to end what it has, if its requests may wait.
const DRAINS: Duration = Duration::from_secs(1);
/// How often a request that waits looks.
const LOOK: Duration = Duration::from_millis(10);

/// Places for groups; those that share one are taken for equally quick.
const PLACES: u32 = 16 * 1024;
/// Where all requests are counted, and those that wait.
const ALL: u32 = 1;
const WAITING: u32 = 2;

/// Numbers of a group: when one of its requests has ended last, in milliseconds, how
/// long they took of late, and its pace.
const WIDTH: usize = 2 + pace::WORDS;

/// Those of all groups. Children inherit it.
static HISTORY: OnceLock<Option<&'static [AtomicU32]>> = OnceLock::new();

/// Before children are forked.
pub(crate) fn prepare() {
    HISTORY.get_or_init(|| shared::zeros(PLACES as usize * WIDTH));
}

/// Who wants a thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    /// Tells groups apart.
    pub(crate) key: u32,
    /// So many requests its workers serve at a time; 0 is not known.
    pub(crate) capacity: u32,
    /// Its request holds its thread from the beginning, and never waits for one.
    pub(crate) for_long: bool,
}

impl From<&Group> for Holder {
    fn from(group: &Group) -> Self {
        Self {
            key: group.key,
            capacity: group.capacity,
            for_long: false,
        }
    }
}

/// What a child knows of all requests.
pub(crate) struct Crowd {
    pid: u32,
    loads: Loads,
    rows: Option<Rows>,
    history: Option<&'static [AtomicU32]>,
    /// Of all children together: MaxRequestWorkers.
    threads: u32,
    /// Whether there is anybody to keep threads for.
    several: bool,
}

/// A request that is under way; counted until this is dropped.
pub(crate) struct Held {
    crowd: &'static Crowd,
    holder: Holder,
    row: Row,
    since: u32,
    has_begun: Cell<bool>,
    has_ended: Cell<bool>,
    waits: Cell<bool>,
    /// It was never sent, and says nothing of how long others take.
    is_refused: Cell<bool>,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Begins,
    /// In the place of one that has ended, if no other takes it.
    TakesTurn,
    Waits,
    Refused(Why),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// So many of its requests hold their threads.
    Holds(u32),
    /// Its requests take so long.
    Slow(Duration),
    /// It has ended none for so long.
    Stands(Duration),
    /// So few of them end in a second, and so long it takes until all have ended.
    Drains(u32, Duration),
}

/// What decides, besides what is constant.
#[derive(Clone, Copy, Debug)]
struct Facts {
    threads: u32,
    /// Requests of all groups, this one and those that wait included.
    all: u32,
    /// Those of all groups that wait; this one included once it does.
    waiting: u32,
    seen: Seen,
    holder: Holder,
    /// Since one of the group has ended.
    silent: Duration,
    /// What its requests took of late.
    took: Duration,
    /// How many of them end in a second; `None` is not known.
    ends: Option<u32>,
}

impl Facts {
    fn kept(&self) -> u32 {
        self.threads / KEPT
    }

    fn own(&self) -> u32 {
        self.seen.running + self.seen.waiting
    }

    /// Whether the group holds its threads for long.
    fn holds(&self) -> Option<Why> {
        let Seen {
            running,
            begun,
            old,
            oldest,
            ..
        } = self.seen;
        let silent = self.silent.min(oldest);
        let most = |count: u32| count > 0 && count.saturating_mul(2) >= running;
        let fills = |count: u32| {
            self.holder.capacity > 0 && count.saturating_mul(4) >= self.holder.capacity * 3
        };
        let streams = begun > 0
            && ((most(begun) && silent >= STREAMS) || (fills(begun) && silent >= 2 * STREAMS));
        if self.holder.for_long || streams || most(old) || (fills(old) && begun > 0) {
            return Some(Why::Holds(if streams { begun } else { old }));
        }
        // What waited for a worker that started took long, and may end quickly now.
        let is_quick = self.drains().is_some_and(|(_, time)| time <= DRAINS);
        (self.took >= LONG && !is_quick).then_some(Why::Slow(self.took))
    }

    /// How many end in a second, and when all that are under way have ended; not known
    /// while none ends, as when a worker starts again.
    fn drains(&self) -> Option<(u32, Duration)> {
        let ends = self
            .ends
            .filter(|ends| *ends > 0 && self.silent < pace::WINDOW)?;
        let time = u64::from(self.seen.running) * 1000 / u64::from(ends);
        Some((ends, Duration::from_millis(time)))
    }

    fn verdict(&self) -> Verdict {
        let own = self.own();
        if own <= 1 || self.all.saturating_add(self.kept()) <= self.threads {
            return Verdict::Begins;
        }
        let holds = self.holds();
        if own < self.threads / SMALL {
            // Of those that hold, many small ones must not take all that is kept.
            return match holds {
                Some(why) if self.all.saturating_add(self.kept() / 2) > self.threads => {
                    Verdict::Refused(why)
                }
                _ => Verdict::Begins,
            };
        }
        if let Some(why) = holds {
            return Verdict::Refused(why);
        }
        // Those that wait for their turn begin as others end.
        let running = self.all.saturating_sub(self.waiting);
        if self.waiting > 0
            && self.seen.waiting > 0
            && running.saturating_add(self.kept()) < self.threads
        {
            return Verdict::TakesTurn;
        }
        if let Some((ends, time)) = self.drains().filter(|(_, time)| *time > DRAINS) {
            return Verdict::Refused(Why::Drains(ends, time));
        }
        let silent = self.silent.min(self.seen.oldest);
        if silent < STANDS {
            Verdict::Waits
        } else {
            Verdict::Refused(Why::Stands(silent))
        }
    }

    fn text(&self, why: Why) -> String {
        let kept = self.kept();
        let reason = match why {
            Why::Holds(count) if count > 0 => {
                format!(
                    "{count} of them have begun an answer that does not end or are older than {} s",
                    LONG.as_secs()
                )
            }
            Why::Holds(_) => "they hold their threads until they end".to_owned(),
            Why::Slow(took) => format!("they took {:.1} s each of late", took.as_secs_f64()),
            Why::Drains(ends, time) => {
                format!(
                    "it ends {ends} of them a second, which takes {:.1} s for all",
                    time.as_secs_f64()
                )
            }
            Why::Stands(silent) => {
                format!("it has answered none for {:.1} s", silent.as_secs_f64())
            }
        };
        format!(
            "it has {} of the {} requests that httpd serves at a time (MaxRequestWorkers), and {reason}; the last {kept} are kept for other process groups. A larger MaxRequestWorkers lets in more",
            self.own().saturating_sub(1),
            self.threads,
        )
    }
}

impl Held {
    /// Its answer has begun and does not come whole.
    pub(crate) fn begun(&self) {
        if !self.has_begun.replace(true) {
            self.row.begun(now_ms());
        }
    }

    /// The worker has ended it.
    pub(crate) fn ended(&self) {
        self.has_ended.set(true);
    }

    fn wait(&self, waits: bool) {
        if self.waits.replace(waits) == waits {
            return;
        }
        self.row.waits(waits);
        if waits {
            self.crowd.loads.begin(WAITING);
        } else {
            self.crowd.loads.end(WAITING);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.wait(false);
        self.crowd.loads.end(ALL);
        if !self.holder.for_long && !self.is_refused.get() {
            self.crowd
                .note(self.holder.key, self.since, self.has_ended.get(), now_ms());
        }
    }
}

impl Crowd {
    /// For the child that calls.
    pub(crate) fn of_child(pid: u32, threads: u32, several: bool) -> Self {
        let history = HISTORY.get().copied().flatten();
        let loads = Loads::of_child(pid, Counted::Threads);
        Self {
            pid,
            loads,
            rows: Rows::inherited(),
            history,
            threads,
            several,
        }
    }

    /// A request begins, perhaps after a wait; or why it must not. Not counted where
    /// there is one group.
    pub(crate) fn enter(&'static self, holder: Holder) -> Result<Option<Held>, (Failure, String)> {
        let Some(rows) = self.rows.filter(|_| self.several) else {
            return Ok(None);
        };
        let held = self.count(rows, holder, now_ms());
        // Nearly always there is room.
        if self.loads.of(ALL).saturating_add(self.threads / KEPT) <= self.threads {
            return Ok(Some(held));
        }
        loop {
            let facts = self.facts(rows, holder, now_ms());
            let begins = match facts.verdict() {
                Verdict::Begins => true,
                Verdict::TakesTurn => self.takes_turn(&held),
                Verdict::Waits => stopping::is_stopping(),
                Verdict::Refused(why) => {
                    held.is_refused.set(true);
                    return Err((Failure::QueueFull, facts.text(why)));
                }
            };
            held.wait(!begins);
            if begins {
                return Ok(Some(held));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn count(&'static self, rows: Rows, holder: Holder, now: u32) -> Held {
        let row = rows.claim(self.pid, holder.key, now);
        if holder.for_long {
            row.begun(now);
        }
        self.loads.begin(ALL);
        let no = || Cell::new(false);
        Held {
            crowd: self,
            holder,
            row,
            since: now,
            has_begun: no(),
            has_ended: no(),
            waits: no(),
            is_refused: no(),
        }
    }

    /// Whether there is a turn for this one: others may have seen the same end.
    fn takes_turn(&self, held: &Held) -> bool {
        held.wait(false);
        let running = self.loads.of(ALL).saturating_sub(self.loads.of(WAITING));
        running.saturating_add(self.threads / KEPT) <= self.threads
    }

    fn facts(&self, rows: Rows, holder: Holder, now: u32) -> Facts {
        let history = self.history_of(holder.key);
        let number = |at: usize| {
            history
                .get(at)
                .map_or(0, |cell| cell.load(Ordering::Relaxed))
        };
        Facts {
            threads: self.threads,
            all: self.loads.of(ALL),
            waiting: self.loads.of(WAITING),
            seen: rows.look(holder.key, now, AGES),
            holder,
            silent: passed(number(0), now),
            took: Duration::from_millis(number(1).into()),
            ends: pace::per_second(history.get(2..).unwrap_or_default(), now),
        }
    }

    /// A request has ended that came at `since`.
    fn note(&self, key: u32, since: u32, by_worker: bool, now: u32) {
        let [ended, took, pace @ ..] = self.history_of(key) else {
            return;
        };
        if by_worker {
            let last = ended.load(Ordering::Relaxed);
            // All children write here: only what is new.
            if last != now {
                ended.store(now, Ordering::Relaxed);
            }
            pace::note(pace, passed(last, now) >= pace::WINDOW, now);
        }
        let before = took.load(Ordering::Relaxed);
        let after = smoothed(before, passed(since, now));
        if after != before {
            took.store(after, Ordering::Relaxed);
        }
    }

    /// The numbers of a group; none if there is no memory for them.
    fn history_of(&self, key: u32) -> &'static [AtomicU32] {
        let at = (key % PLACES) as usize * WIDTH;
        self.history
            .and_then(|history| history.get(at..at + WIDTH))
            .unwrap_or_default()
    }
}

/// What requests take, after one more took so long: the last dozens count, and none
/// for more than twice what is long.
fn smoothed(before: u32, took: Duration) -> u32 {
    let took = u32::try_from(took.min(2 * LONG).as_millis()).unwrap_or(u32::MAX);
    before - before / 16 + took / 16
}

/// The clock of all processes; it begins again after 49 days.
fn now_ms() -> u32 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)
        .map(Duration::from)
        .unwrap_or_default();
    (now.as_millis() & u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(threads: u32, all: u32, running: u32) -> Facts {
        let seen = Seen {
            running,
            oldest: Duration::from_secs(30),
            ..Seen::default()
        };
        let holder = Holder {
            key: 1,
            capacity: 15,
            for_long: false,
        };
        Facts {
            threads,
            all,
            waiting: 0,
            seen,
            holder,
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
        let mut facts = facts(150, 135, 135);
        facts.seen.old = 135;
        assert_eq!(facts.verdict(), Verdict::Begins);
        facts.all = 136;
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Holds(135)));
    }

    #[test]
    fn streams_beyond_the_share_are_refused_at_once() {
        let mut facts = facts(150, 136, 136);
        facts.seen.begun = 100;
        facts.silent = ms(400);
        assert_eq!(
            facts.verdict(),
            Verdict::Waits,
            "they may be answers that are just on their way"
        );
        facts.silent = ms(500);
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Holds(100)));
        let text = facts.text(Why::Holds(100));
        assert!(
            text.starts_with("it has 135 of the 150 requests")
                && text.contains("the last 15 are kept"),
            "{text}"
        );
        // Quick requests beside them do not make them anything else.
        (facts.silent, facts.seen.old) = (ms(0), 100);
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Holds(100)));
    }

    #[test]
    fn streams_that_fill_their_workers_are_known_though_most_wait_in_the_queue() {
        let mut facts = facts(150, 140, 140);
        (facts.seen.begun, facts.silent) = (15, ms(1000));
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Holds(15)));
        facts.seen.begun = 8;
        assert_eq!(facts.verdict(), Verdict::Waits);
    }

    #[test]
    fn long_polls_are_refused_at_once() {
        let mut facts = facts(150, 140, 140);
        facts.took = ms(6000);
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Slow(ms(6000))));
        facts.took = ms(5000);
        assert_eq!(facts.verdict(), Verdict::Waits);
        // Their length is known before one has ended, by how old they are.
        (facts.took, facts.seen.old) = (ms(0), 70);
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Holds(70)));
    }

    #[test]
    fn quick_requests_wait_for_their_turn() {
        let mut facts = facts(150, 150, 135);
        assert_eq!(facts.verdict(), Verdict::Waits);
        (facts.seen.waiting, facts.waiting) = (15, 15);
        assert_eq!(facts.verdict(), Verdict::Waits);
        // One has ended, and its thread took another that waits.
        (facts.seen.running, facts.seen.waiting, facts.waiting) = (134, 16, 16);
        assert_eq!(facts.verdict(), Verdict::TakesTurn);
    }

    #[test]
    fn a_group_whose_worker_starts_again_may_wait_for_some_seconds() {
        let mut facts = facts(150, 150, 140);
        facts.silent = ms(4990);
        assert_eq!(facts.verdict(), Verdict::Waits);
        facts.silent = ms(5000);
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Stands(ms(5000))));
        assert!(
            facts
                .text(Why::Stands(ms(5000)))
                .contains("answered none for 5.0 s")
        );
        // What was before its requests came does not count.
        facts.seen.oldest = ms(300);
        assert_eq!(facts.verdict(), Verdict::Waits);
    }

    #[test]
    fn requests_of_a_group_that_ends_few_do_not_wait() {
        let mut facts = facts(150, 136, 136);
        facts.took = ms(4500);
        assert_eq!(facts.verdict(), Verdict::Waits, "its pace is not known");
        facts.ends = Some(30);
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Drains(30, ms(4533))));
        let text = facts.text(Why::Drains(30, ms(4533)));
        assert!(
            text.contains("it ends 30 of them a second, which takes 4.5 s for all"),
            "{text}"
        );
        // One that waits has its turn all the same.
        (facts.seen.running, facts.seen.waiting, facts.waiting) = (134, 2, 2);
        assert_eq!(facts.verdict(), Verdict::TakesTurn);
        // A worker that starts again ends none for a while.
        (facts.all, facts.silent) = (150, ms(1000));
        assert_eq!(facts.verdict(), Verdict::Waits);
    }

    #[test]
    fn requests_of_a_group_that_ends_many_wait() {
        let mut facts = facts(150, 150, 136);
        facts.ends = Some(136);
        assert_eq!(facts.verdict(), Verdict::Waits);
        // They waited for a worker that started, and end quickly now.
        facts.took = ms(6000);
        assert_eq!(facts.verdict(), Verdict::Waits);
        facts.ends = Some(100);
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Slow(ms(6000))));
    }

    #[test]
    fn who_has_little_takes_from_what_is_kept() {
        let mut facts = facts(150, 149, 4);
        assert_eq!(facts.verdict(), Verdict::Begins);
        facts.seen.old = 4;
        assert_eq!(
            facts.verdict(),
            Verdict::Refused(Why::Holds(4)),
            "many that hold would take all of it"
        );
        facts.all = 140;
        assert_eq!(facts.verdict(), Verdict::Begins);
        (facts.all, facts.seen.running) = (150, 1);
        assert_eq!(
            facts.verdict(),
            Verdict::Begins,
            "the first is served while there is a thread"
        );
    }

    #[test]
    fn what_is_upgraded_never_waits() {
        let mut facts = facts(20, 19, 18);
        facts.holder.for_long = true;
        assert_eq!(facts.verdict(), Verdict::Refused(Why::Holds(0)));
        assert!(facts.text(Why::Holds(0)).contains("until they end"));
        facts.all = 18;
        assert_eq!(facts.verdict(), Verdict::Begins);
    }

    #[test]
    fn of_few_threads_none_is_kept() {
        let mut facts = facts(9, 9, 9);
        facts.seen.old = 9;
        assert_eq!(facts.verdict(), Verdict::Begins);
    }

    #[test]
    fn what_requests_took_is_known_after_some() {
        let long = (0..12).fold(0, |took, _| smoothed(took, Duration::from_secs(60)));
        assert!(long >= 6000, "{long}");
        let quick = (0..12).fold(long, |took, _| smoothed(took, ms(5)));
        assert!(quick < 4000, "{quick}");
    }

    #[test]
    fn requests_that_are_refused_do_not_make_a_group_quick() {
        let history = shared::zeros(PLACES as usize * WIDTH);
        let crowd = Crowd {
            pid: 10,
            loads: Loads::private(),
            rows: Rows::new(),
            history,
            threads: 20,
            several: true,
        };
        let crowd: &'static Crowd = Box::leak(Box::new(crowd));
        let holder = Holder {
            key: 7,
            capacity: 3,
            for_long: false,
        };
        let took = &crowd.history_of(7)[1];
        took.store(9000, Ordering::Relaxed);
        let held: Vec<_> = (0..18)
            .map(|_| crowd.enter(holder).unwrap().unwrap())
            .collect();
        for _ in 0..50 {
            assert!(
                crowd
                    .enter(holder)
                    .is_err_and(|(_, text)| text.contains("took 9.0 s each"))
            );
        }
        assert_eq!(took.load(Ordering::Relaxed), 9000);
        drop(held);
        assert!(
            took.load(Ordering::Relaxed) < 9000,
            "those that were served do"
        );
    }

    #[test]
    fn what_is_over_no_longer_counts() {
        let history = shared::zeros(PLACES as usize * WIDTH);
        let crowd = Crowd {
            pid: 10,
            loads: Loads::private(),
            rows: Rows::new(),
            history,
            threads: 20,
            several: true,
        };
        let crowd: &'static Crowd = Box::leak(Box::new(crowd));
        let holder = Holder {
            key: 7,
            capacity: 3,
            for_long: false,
        };
        let held: Vec<_> = (0..18)
            .map(|_| crowd.enter(holder).unwrap().unwrap())
            .collect();
        held[0].ended();
        held[1].wait(true);
        assert_eq!((crowd.loads.of(ALL), crowd.loads.of(WAITING)), (18, 1));
        assert!(crowd.takes_turn(&held[1]), "17 others run");
        drop(held);
        assert_eq!((crowd.loads.of(ALL), crowd.loads.of(WAITING)), (0, 0));
        assert_eq!(crowd.rows.unwrap().look(7, now_ms(), AGES), Seen::default());
        let ended = &crowd.history_of(7)[0];
        assert!(ended.load(Ordering::Relaxed) > 0);
    }
}
