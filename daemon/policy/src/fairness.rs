//! Who gives way to whom: a group that takes a large part of the processors is
//! made to run only where no other group wants to, as long as it does so and
//! there are others; so is one whose workers crash again and again, for what it
//! takes to start them is of no use to anybody. On a machine with processors left
//! it loses nothing; one that needs little gets its little at once. Pure: times
//! in, decisions out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A group that uses this part of all processors is greedy.
pub const GREEDY: f64 = 0.25;
/// A group that uses this part wants to run; workers that only wait use less.
const RUNS: f64 = 0.001;
/// A greedy group that uses less than this part of `GREEDY` is modest.
const MODEST: f64 = 0.5;
/// A group that was modest for so many looks in a row is let go; not after one,
/// for a crash loop has pauses.
const LOOKS: u32 = 4;
/// A group without a control group is given one after so many greedy looks in a
/// row: loading an application takes much too, and a control group has a price.
const LOADING: u32 = 4;
/// Two crashes within this time are a crash loop.
const CRASH_LOOP: Duration = Duration::from_secs(2);
/// Shorter than this no rate can be told.
const SHORTEST: Duration = Duration::from_millis(20);

/// What a group has used so far.
#[derive(Clone, Debug)]
pub struct GroupUse {
    /// Its name.
    pub group: String,
    /// Processor time of all its processes.
    pub used: Duration,
    /// Not to be decided about.
    pub exempt: bool,
    /// The group has a control group of its own.
    pub apart: bool,
}

/// What was seen before.
#[derive(Debug, Default)]
pub struct Fairness {
    at: Option<Instant>,
    used: BTreeMap<String, Duration>,
    /// Groups that give way, and for how many looks they have been modest.
    greedy: BTreeMap<String, u32>,
    /// Groups without a control group that take much, and for how many looks.
    rising: BTreeMap<String, u32>,
    /// The last crash of each, and the one before.
    crashes: BTreeMap<String, (Instant, Option<Instant>)>,
}

impl Fairness {
    /// A worker has ended that nobody had asked to.
    pub fn crashed(&mut self, group: &str, now: Instant) {
        let before = self.crashes.get(group).map(|(last, _)| *last);
        self.crashes.insert(group.to_owned(), (now, before));
    }

    /// Takes a look. Gives every group that is to change, and whether it is to
    /// give way from now on.
    pub fn look(
        &mut self,
        now: Instant,
        uses: Vec<GroupUse>,
        processors: usize,
    ) -> Vec<(String, bool)> {
        let passed = self.at.map(|at| now.duration_since(at)).unwrap_or_default();
        if self.at.is_some() && passed < SHORTEST {
            return Vec::new();
        }
        self.at = Some(now);
        self.forget_crashes(now);
        let most = passed.as_secs_f64() * processors as f64;
        let before = std::mem::take(&mut self.used);
        let part = |one: &GroupUse| match before.get(&one.group) {
            Some(before) if most > 0.0 => one.used.saturating_sub(*before).as_secs_f64() / most,
            _ => 0.0,
        };
        let parts: Vec<(&GroupUse, f64)> = uses.iter().map(|one| (one, part(one))).collect();
        let others_run = parts
            .iter()
            .any(|(one, part)| *part >= RUNS && !self.takes_much(one, *part));
        let mut changes = Vec::new();
        for (one, part) in &parts {
            let change = self.decide(one, *part, others_run);
            changes.extend(change.map(|greedy| (one.group.clone(), greedy)));
        }
        let is_seen = |group: &String| uses.iter().any(|one| one.group == *group);
        self.rising.retain(|group, _| is_seen(group));
        self.greedy.retain(|group, _| {
            // Between two starts of a crash loop there may be no worker.
            let stays = is_seen(group) || is_loop(&self.crashes, group);
            if !stays {
                changes.push((group.clone(), false));
            }
            stays
        });
        self.used = uses.into_iter().map(|one| (one.group, one.used)).collect();
        changes
    }

    /// Nobody was looked at: there was enough for all.
    pub fn skip(&mut self, now: Instant) {
        self.at = Some(now);
        self.forget_crashes(now);
        self.used.clear();
        self.rising.clear();
    }

    /// Whether somebody gives way, or is to, however much is left for others.
    pub fn is_at_work(&self) -> bool {
        !self.greedy.is_empty()
            || self
                .crashes
                .keys()
                .any(|group| is_loop(&self.crashes, group))
    }

    /// Whether this group gives way.
    pub fn gives_way(&self, group: &str) -> bool {
        self.greedy.contains_key(group)
    }

    /// All that give way.
    pub fn greedy(&self) -> impl Iterator<Item = &String> {
        self.greedy.keys()
    }

    fn takes_much(&self, one: &GroupUse, part: f64) -> bool {
        !one.exempt && (part >= GREEDY || self.greedy.contains_key(&one.group))
    }

    fn decide(&mut self, one: &GroupUse, part: f64, others_run: bool) -> Option<bool> {
        if one.exempt {
            return self.greedy.remove(&one.group).map(|_| false);
        }
        let crashes = is_loop(&self.crashes, &one.group);
        let Some(modest) = self.greedy.get_mut(&one.group) else {
            let looks = self
                .rising
                .remove(&one.group)
                .map_or(1, |before| before + 1);
            if !crashes && part < GREEDY {
                return None;
            }
            if !crashes && (!others_run || !one.apart && looks < LOADING) {
                self.rising.insert(one.group.clone(), looks);
                return None;
            }
            self.greedy.insert(one.group.clone(), 0);
            return Some(true);
        };
        *modest = if part < GREEDY * MODEST && !crashes {
            *modest + 1
        } else {
            0
        };
        if *modest >= LOOKS {
            self.greedy.remove(&one.group);
            return Some(false);
        }
        None
    }

    fn forget_crashes(&mut self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) > CRASH_LOOP;
        self.crashes.retain(|_, (last, before)| {
            *before = before.filter(|at| !is_old(*at));
            !is_old(*last)
        });
    }
}

/// Whether its workers have crashed twice, of what is remembered.
fn is_loop(crashes: &BTreeMap<String, (Instant, Option<Instant>)>, group: &str) -> bool {
    crashes
        .get(group)
        .is_some_and(|(_, before)| before.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds looks of a quarter of a second each; every pair is the part of two
    /// processors that `a` and `b` use.
    fn run(parts: &[(f64, f64)]) -> Vec<(usize, String, bool)> {
        run_with(parts, true)
    }

    fn run_with(parts: &[(f64, f64)], apart: bool) -> Vec<(usize, String, bool)> {
        let mut fairness = Fairness::default();
        let start = Instant::now();
        let mut used = [Duration::ZERO; 2];
        let mut out = Vec::new();
        for (at, (a, b)) in [(0.0, 0.0)].iter().chain(parts).enumerate() {
            used[0] += Duration::from_secs_f64(a * 0.5);
            used[1] += Duration::from_secs_f64(b * 0.5);
            let uses = ["a", "b"].iter().zip(used).map(|(group, used)| GroupUse {
                group: (*group).to_owned(),
                used,
                exempt: false,
                apart,
            });
            let now = start + Duration::from_millis(250) * u32::try_from(at).unwrap();
            out.extend(
                fairness
                    .look(now, uses.collect(), 2)
                    .into_iter()
                    .map(|(group, idle)| (at, group, idle)),
            );
        }
        out
    }

    #[test]
    fn who_takes_much_gives_way_until_it_is_modest_again() {
        let burns = (0.9, 0.02);
        assert_eq!(run(&[burns]), [(1, "a".to_owned(), true)]);
        let rest = (0.0, 0.02);
        let changes = run(&[
            burns, burns, rest, rest, rest, burns, rest, rest, rest, rest, rest,
        ]);
        assert_eq!(
            changes,
            [(1, "a".to_owned(), true), (10, "a".to_owned(), false)]
        );
    }

    #[test]
    fn loading_an_application_is_no_reason_to_keep_it_apart() {
        let burns = (0.9, 0.02);
        let rest = (0.0, 0.02);
        assert_eq!(
            run_with(
                &[burns, burns, burns, rest, burns, burns, burns, rest],
                false
            ),
            []
        );
        assert_eq!(run_with(&[burns; 5], false), [(4, "a".to_owned(), true)]);
        // Also if the others come later.
        assert_eq!(
            run_with(&[(0.9, 0.0), (0.9, 0.0), (0.9, 0.0), burns], false),
            [(4, "a".to_owned(), true)]
        );
    }

    #[test]
    fn nobody_gives_way_to_nobody() {
        assert_eq!(run(&[(0.9, 0.0), (0.9, 0.0)]), []);
        // One that only waits needs nothing.
        assert_eq!(run(&[(0.9, 0.0005), (0.9, 0.0005)]), []);
        // Both take much: the kernel shares as it does.
        assert_eq!(run(&[(0.5, 0.5), (0.5, 0.5)]), []);
        // A busy site that leaves most of the machine to others is left alone.
        assert_eq!(run(&[(0.2, 0.01); 8]), []);
    }

    /// Looks of a quarter of a second each, with the crashes of `a` right before
    /// some; neither uses much, and between its crashes `a` has no worker.
    fn crash_before(crashes: &[usize], looks: usize) -> Vec<(usize, String, bool)> {
        let mut fairness = Fairness::default();
        let start = Instant::now();
        let mut out = Vec::new();
        for at in 1..=looks {
            let now = start + Duration::from_millis(250) * u32::try_from(at).unwrap();
            let crashed = crashes.contains(&at);
            if crashed {
                fairness.crashed("a", now);
            }
            let worker = |group: &str| GroupUse {
                group: group.to_owned(),
                used: Duration::ZERO,
                exempt: false,
                apart: true,
            };
            let uses = if crashed {
                vec![worker("a"), worker("b")]
            } else {
                vec![worker("b")]
            };
            out.extend(
                fairness
                    .look(now, uses, 2)
                    .into_iter()
                    .map(|(group, gives_way)| (at, group, gives_way)),
            );
        }
        out
    }

    #[test]
    fn a_crash_loop_gives_way_until_it_is_over() {
        let changes = crash_before(&[1, 4, 8, 12, 16], 40);
        // The last pair of crashes lies four looks apart: eight are remembered.
        assert_eq!(
            changes,
            [(4, "a".to_owned(), true), (21, "a".to_owned(), false)]
        );
    }

    #[test]
    fn a_crash_now_and_then_is_no_loop() {
        assert_eq!(crash_before(&[1, 10, 19, 28], 40), []);
        let mut fairness = Fairness::default();
        fairness.crashed("a", Instant::now());
        assert!(!fairness.is_at_work());
        fairness.crashed("a", Instant::now());
        assert!(fairness.is_at_work());
        fairness.skip(Instant::now() + CRASH_LOOP * 2);
        assert!(!fairness.is_at_work());
    }

    #[test]
    fn a_decision_of_the_administrator_stands() {
        let mut fairness = Fairness::default();
        let uses = |seconds: u64| {
            let one = |group: &str, used, exempt| GroupUse {
                group: group.to_owned(),
                used,
                exempt,
                apart: true,
            };
            vec![
                one("a", Duration::from_secs(seconds), true),
                one("b", Duration::from_millis(seconds), false),
            ]
        };
        let start = Instant::now();
        assert_eq!(fairness.look(start, uses(0), 2), []);
        assert_eq!(
            fairness.look(start + Duration::from_secs(1), uses(2), 2),
            []
        );
    }
}
