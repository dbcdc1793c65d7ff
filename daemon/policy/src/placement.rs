//! Which worker of a pool gets a connection: the supervisor's part of placement.
//! The other parts are httpd's, which sends a request on the connection whose
//! worker has the fewest, and the worker's, which gives a connection back when it
//! has no thread for it. The times are in the protocol's limits. Called by
//! `supervisor/placing.rs`.

use std::time::{Duration, Instant};

use wsgid_protocol::limits::{FULL_FOR, SATURATED_FOR};

use crate::ids::WorkerId;

/// A ready worker of the serving generation.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its number.
    pub worker: WorkerId,
    /// How many connections it has.
    pub connections: usize,
    /// When it last gave a request back because it had no thread for it.
    pub gave_back: Option<Instant>,
    /// Its control socket is closed, or it does not read it.
    pub is_broken: bool,
}

impl Candidate {
    fn gave_back_within(&self, time: Duration, now: Instant) -> bool {
        self.gave_back.is_some_and(|at| now < at + time)
    }

    /// Whether it may have the connection at all. `request`: one waits on it.
    fn is_able(&self, request: bool, now: Instant) -> bool {
        let is_saturated = request && self.gave_back_within(SATURATED_FOR, now);
        !self.is_broken && !is_saturated
    }
}

/// The worker with the fewest connections, rather not one that was full of late;
/// one that has just given a request back only if no request waits.
#[must_use]
pub fn choose(candidates: &[Candidate], request: bool, now: Instant) -> Option<WorkerId> {
    candidates
        .iter()
        .filter(|one| one.is_able(request, now))
        .min_by_key(|one| {
            (
                one.gave_back_within(FULL_FOR, now),
                one.connections,
                one.worker,
            )
        })
        .map(|one| one.worker)
}

/// When the first of those that have just given a request back is worth another try.
#[must_use]
pub fn next_try(candidates: &[Candidate], now: Instant) -> Option<Instant> {
    candidates
        .iter()
        .filter_map(|one| Some(one.gave_back? + SATURATED_FOR))
        .filter(|at| *at > now)
        .min()
}

/// Whether no worker is left that could have a thread for one more request.
#[must_use]
pub fn are_all_full(candidates: &[Candidate], now: Instant) -> bool {
    candidates
        .iter()
        .all(|one| one.gave_back_within(FULL_FOR, now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn candidate(worker: u64, connections: usize) -> Candidate {
        Candidate {
            worker: WorkerId(worker),
            connections,
            gave_back: None,
            is_broken: false,
        }
    }

    #[test]
    fn the_fewest_connections_decide_and_then_age() {
        let now = Instant::now();
        let all = [candidate(1, 2), candidate(2, 1), candidate(3, 1)];
        assert_eq!(choose(&all, true, now), Some(WorkerId(2)));
        assert_eq!(choose(&[], true, now), None);
    }

    #[test]
    fn a_worker_that_gave_a_request_back_is_asked_last_and_then_like_any_other() {
        let then = Instant::now();
        let full = Candidate {
            gave_back: Some(then),
            ..candidate(1, 0)
        };
        let all = [full, candidate(2, 9)];
        assert_eq!(choose(&all, true, then), Some(WorkerId(2)));
        assert_eq!(choose(&all, true, then + FULL_FOR - MS), Some(WorkerId(2)));
        assert_eq!(choose(&all, true, then + FULL_FOR), Some(WorkerId(1)));
        // Alone it gets none for a moment only, and connections without a request at once.
        assert_eq!(choose(&[full], true, then + SATURATED_FOR - MS), None);
        assert_eq!(next_try(&[full], then), Some(then + SATURATED_FOR));
        assert_eq!(
            choose(&[full], true, then + SATURATED_FOR),
            Some(WorkerId(1))
        );
        assert_eq!(choose(&[full], false, then), Some(WorkerId(1)));
    }

    #[test]
    fn a_broken_worker_gets_nothing() {
        let broken = Candidate {
            is_broken: true,
            ..candidate(1, 0)
        };
        assert_eq!(choose(&[broken], false, Instant::now()), None);
    }

    #[test]
    fn all_are_full_until_the_first_has_been_so_for_long_enough() {
        let then = Instant::now();
        let at = |worker, ms| Candidate {
            gave_back: Some(then + ms * MS),
            ..candidate(worker, 1)
        };
        let all = [at(1, 0), at(2, 100)];
        assert!(are_all_full(&all, then + FULL_FOR - MS));
        assert!(!are_all_full(&all, then + FULL_FOR));
        assert!(!are_all_full(&[at(1, 0), candidate(2, 5)], then));
    }

    /// Workers as they may be at an instant, which is 400 ms after `start`.
    fn workers(start: Instant) -> impl Strategy<Value = Vec<Candidate>> {
        let one = (
            0..4_usize,
            prop::option::of(0..401_u32),
            prop::bool::weighted(0.1),
        );
        prop::collection::vec(one, 0..8).prop_map(move |all| {
            let numbered = (1..).zip(all);
            numbered
                .map(|(worker, (connections, gave_back, is_broken))| Candidate {
                    gave_back: gave_back.map(|ms| start + ms * MS),
                    is_broken,
                    ..candidate(worker, connections)
                })
                .collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 2_000 } else { 20_000 }))]

        #[test]
        fn no_able_worker_is_better_than_the_one_that_is_chosen(
            (start, all) in Just(Instant::now()).prop_flat_map(|start| (Just(start), workers(start))),
            request: bool,
        ) {
            let now = start + 400 * MS;
            let able = all.iter().filter(|one| one.is_able(request, now));
            match choose(&all, request, now) {
                None => prop_assert_eq!(able.count(), 0),
                Some(chosen) => {
                    let chosen = all.iter().find(|one| one.worker == chosen).unwrap();
                    prop_assert!(chosen.is_able(request, now));
                    for other in able {
                        let fresher = chosen.gave_back_within(FULL_FOR, now) && !other.gave_back_within(FULL_FOR, now);
                        prop_assert!(!fresher, "{:?} before {:?}", chosen, other);
                        let alike = chosen.gave_back_within(FULL_FOR, now) == other.gave_back_within(FULL_FOR, now);
                        prop_assert!(!alike || chosen.connections <= other.connections, "{:?} before {:?}", chosen, other);
                    }
                }
            }
        }

        #[test]
        fn a_request_that_no_worker_gets_has_one_at_the_next_try(
            (start, all) in Just(Instant::now()).prop_flat_map(|start| (Just(start), workers(start))),
        ) {
            let mut now = start + 400 * MS;
            while choose(&all, true, now).is_none() && all.iter().any(|one| !one.is_broken) {
                let next = next_try(&all, now);
                prop_assert!(next.is_some_and(|at| at > now && at <= now + SATURATED_FOR), "{:?}", next);
                now = next.unwrap();
            }
        }
    }
}
