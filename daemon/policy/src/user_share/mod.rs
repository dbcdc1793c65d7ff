//! How many processes each pool of one user may have, where `[user.NAME]` bounds all of them
//! together. Pure: what the pools want is told by them (`pool/allowance.rs`), who does nothing by
//! `supervisor/users.rs`. Never are more started than allowed; who has too many drains.

#[cfg(test)]
mod random_tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::ids::PoolId;
use crate::pool::{Allowance, Demand};

/// A pool, as far as it counts here.
#[derive(Clone, Copy, Debug, Default)]
pub struct Claim {
    /// Which one.
    pub pool: PoolId,
    /// What it has, and what it would have.
    pub demand: Demand,
    /// Workers that have had nothing to do for a while.
    pub idle: usize,
}

/// How many processes each pool may have, if all of them may have `most`. Everybody gets a
/// first worker before anybody gets a second; then comes who works, then what is configured,
/// then what waiting requests call for, then what others do not need, and at last what is
/// wanted for a while to replace others.
pub fn share(most: usize, claims: &[Claim]) -> BTreeMap<PoolId, Allowance> {
    let goals = goals(most, claims);
    let has: usize = claims.iter().map(|claim| claim.demand.has).sum();
    let lacks = |at: usize| goals[at].saturating_sub(claims[at].demand.live);
    let mut granted = vec![0; claims.len()];
    let rank = |at: usize, granted: usize| {
        let claim = &claims[at];
        Reverse((claim.demand.live + granted, claim.pool, at))
    };
    let lacking = (0..claims.len()).filter(|at| lacks(*at) > 0);
    let mut waiting: BinaryHeap<_> = lacking.map(|at| rank(at, 0)).collect();
    for _ in has..most {
        let Some(Reverse((_, _, at))) = waiting.pop() else {
            break;
        };
        granted[at] += 1;
        if granted[at] < lacks(at) {
            waiting.push(rank(at, granted[at]));
        }
    }
    let pools = claims.iter().zip(goals.iter().zip(granted));
    pools
        .map(|(claim, (&live, starts))| (claim.pool, Allowance { live, starts }))
        .collect()
}

/// How many live workers each should have.
fn goals(most: usize, claims: &[Claim]) -> Vec<usize> {
    let rounds: [fn(&Claim) -> usize; 7] = [
        |one| one.demand.wanted.min(1),
        |one| one.demand.live.saturating_sub(one.idle),
        |one| one.demand.least,
        |one| {
            if one.demand.waits {
                one.demand.wanted
            } else {
                0
            }
        },
        |one| one.demand.live,
        |one| one.demand.wanted,
        |one| one.demand.wanted + one.demand.extra,
    ];
    let mut goals = vec![0; claims.len()];
    let mut left = most;
    for (round, wish) in rounds.iter().enumerate() {
        let is_last = round + 1 == rounds.len();
        let wish = |claim: &Claim| {
            let most = if is_last {
                usize::MAX
            } else {
                claim.demand.wanted
            };
            wish(claim).min(most)
        };
        raise(&mut goals, &mut left, claims, wish);
    }
    goals
}

/// Raises all goals to what is wished for, as far as there is something left: the lowest
/// first, of equals those that have it already.
fn raise(goals: &mut [usize], left: &mut usize, claims: &[Claim], wish: impl Fn(&Claim) -> usize) {
    let missing: usize = claims
        .iter()
        .zip(&*goals)
        .map(|(claim, goal)| wish(claim).saturating_sub(*goal))
        .sum();
    if missing <= *left {
        for (claim, goal) in claims.iter().zip(goals) {
            *goal = wish(claim).max(*goal);
        }
        *left -= missing;
        return;
    }
    let rank = |at: usize, goal: usize| {
        let claim = &claims[at];
        Reverse((goal, claim.demand.live <= goal, claim.pool, at))
    };
    let below = (0..claims.len()).filter(|at| goals[*at] < wish(&claims[*at]));
    let mut below: BinaryHeap<_> = below.map(|at| rank(at, goals[at])).collect();
    while *left > 0 {
        let Some(Reverse((_, _, _, at))) = below.pop() else {
            return;
        };
        goals[at] += 1;
        *left -= 1;
        if goals[at] < wish(&claims[at]) {
            below.push(rank(at, goals[at]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(pool: PoolId, live: usize, wanted: usize, least: usize) -> Claim {
        let demand = Demand {
            has: live,
            live,
            wanted,
            least,
            ..Demand::default()
        };
        Claim {
            pool,
            demand,
            idle: 0,
        }
    }

    fn allowed(most: usize, claims: &[Claim]) -> Vec<usize> {
        let shares = share(most, claims).into_values().zip(claims);
        // As many as it has afterwards at most.
        let after = |(allowed, claim): (Allowance, &Claim)| {
            allowed.live.min(claim.demand.live) + allowed.starts
        };
        shares.map(after).collect()
    }

    #[test]
    fn everybody_has_a_first_before_anybody_has_a_second() {
        let new = [claim(1, 0, 3, 3), claim(2, 0, 3, 3), claim(3, 0, 1, 1)];
        assert_eq!(allowed(5, &new), [2, 2, 1]);
        assert_eq!(allowed(9, &new), [3, 3, 1]);
        assert_eq!(
            allowed(2, &new),
            [1, 1, 0],
            "in the order in which they came"
        );
        // One that works gives its second for another's first, and it begins when that has gone.
        let busy = [claim(1, 3, 3, 3), claim(2, 0, 3, 3)];
        assert_eq!(allowed(3, &busy), [2, 0]);
    }

    #[test]
    fn who_works_keeps_what_it_has_and_who_does_nothing_gives_way() {
        let mut grown = claim(1, 5, 5, 1);
        let other = claim(2, 1, 3, 3);
        assert_eq!(allowed(6, &[grown, other]), [5, 1]);
        grown.idle = 5;
        assert_eq!(
            allowed(6, &[grown, other]),
            [3, 1],
            "and next the other grows"
        );
        assert_eq!(
            allowed(8, &[grown, other]),
            [5, 3],
            "there is room for both"
        );
        // What is configured is kept for who has it, whatever waits elsewhere.
        let mut asked = claim(1, 1, 4, 1);
        asked.demand.waits = true;
        let mut idle = claim(2, 2, 2, 2);
        idle.idle = 2;
        assert_eq!(allowed(4, &[asked, idle]), [2, 2]);
    }

    #[test]
    fn those_that_end_count_until_they_have_ended() {
        let mut leaving = claim(1, 0, 0, 0);
        leaving.demand.has = 2;
        assert_eq!(allowed(3, &[leaving, claim(2, 0, 3, 3)]), [0, 1]);
    }

    #[test]
    fn who_replaces_others_comes_last() {
        let mut reloading = claim(1, 2, 2, 2);
        reloading.demand.extra = 2;
        assert_eq!(allowed(3, &[reloading, claim(2, 0, 1, 1)]), [2, 1]);
        assert_eq!(allowed(4, &[reloading, claim(2, 1, 1, 1)]), [3, 1]);
        assert_eq!(allowed(2, &[reloading]), [2]);
    }
}
