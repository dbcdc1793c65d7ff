//! How a pool and a process group are, in one word and why: for whoever shows it, and
//! the only place where it is decided. Pure. Called by `supervisor/condition.rs`, which
//! remembers since when. Knows nothing of processes and of who asks.

use wsgid_protocol::status::GroupState;

use crate::ids::WorkerId;
use crate::pool::{Member, Mode, Phase, WorkerPool};

/// So many workers that served end unasked within a minute where it is called crashing.
const CRASHES: usize = 3;

/// The word, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The word.
    pub state: GroupState,
    /// In one line; `None` where the word says all.
    pub why: Option<String>,
}

impl From<GroupState> for Condition {
    fn from(state: GroupState) -> Self {
        Self { state, why: None }
    }
}

fn because(state: GroupState, why: impl Into<String>) -> Condition {
    let why = Some(why.into());
    Condition { state, why }
}

/// What a pool does not know of its workers.
#[derive(Clone, Debug, Default)]
pub struct WorkerFacts {
    /// A script that failed to load in it, and why.
    pub failed_script: Option<String>,
    /// It did not answer when it was asked.
    pub is_silent: bool,
    /// Requests that it has.
    pub in_flight: u32,
}

/// What a pool does not know of itself.
pub struct PoolFacts<'a> {
    /// Of each worker.
    pub workers: &'a dyn Fn(WorkerId) -> WorkerFacts,
    /// Why a new worker or generation was given up, if none has taken over since.
    pub given_up: Option<&'a str>,
    /// When workers that had been ready ended unasked, if that was within the last
    /// minute, and how the last one did.
    pub crashes: (usize, Option<&'a str>),
    /// Requests that wait for a worker.
    pub waiting: usize,
    /// Why it has fewer workers than it would, if that is what its user may have.
    pub shortage: Option<&'a str>,
}

/// How a pool is.
pub fn of_pool(pool: &WorkerPool, facts: &PoolFacts<'_>) -> Condition {
    match pool.mode() {
        Mode::Leaving { .. } => GroupState::Leaving.into(),
        Mode::Stopped if pool.members().next().is_some() => GroupState::Stopping.into(),
        Mode::Stopped => GroupState::Stopped.into(),
        Mode::Running | Mode::Failed { .. } if pool.accepting().next().is_some() => {
            serving(pool, facts)
        }
        mode => not_serving(pool, mode, facts),
    }
}

fn not_serving(pool: &WorkerPool, mode: &Mode, facts: &PoolFacts<'_>) -> Condition {
    let problem = pool.last_problem().unwrap_or_default();
    if pool.is_hopeless() {
        return because(GroupState::CannotStart, problem);
    }
    if let Mode::Failed { cause, .. } = mode {
        return because(GroupState::Failed, cause);
    }
    if let Some(why) = failing_starts(pool) {
        return because(GroupState::Failing, why);
    }
    if let Some(crashing) = crashing(facts) {
        return crashing;
    }
    let is_coming =
        |member: &Member| matches!(member.phase, Phase::Queued | Phase::Starting { .. });
    let comes = pool.members().any(|(_, member)| is_coming(member));
    if let Some(why) = facts.shortage.filter(|_| !comes) {
        return because(GroupState::Starting, why);
    }
    if comes || facts.waiting > 0 || pool.wants_workers() {
        GroupState::Starting.into()
    } else {
        GroupState::Idle.into()
    }
}

fn serving(pool: &WorkerPool, facts: &PoolFacts<'_>) -> Condition {
    let workers: Vec<WorkerFacts> = pool.accepting().map(facts.workers).collect();
    if let Some(why) = workers.iter().find_map(|one| one.failed_script.as_ref()) {
        return because(GroupState::ScriptFailed, why);
    }
    if let Some(crashing) = crashing(facts) {
        return crashing;
    }
    if workers.iter().all(|one| one.is_silent) {
        let why = "no worker answers: the interpreter is locked, or the process is stopped";
        return because(GroupState::NotAnswering, why);
    }
    if let Some(why) = facts.given_up {
        return because(GroupState::ServingOldCode, why);
    }
    let next = pool.next_generation();
    if let Some(why) = failing_starts(pool) {
        return because(
            next.map_or(GroupState::Degraded, |_| GroupState::Replacing),
            why,
        );
    }
    if let Mode::Failed { cause, .. } = pool.mode() {
        return because(GroupState::Degraded, cause);
    }
    if let Some(next) = next {
        let why = format!("generation {next} starts, {} serves", pool.generation());
        return because(GroupState::Replacing, why);
    }
    if facts.waiting > 0 {
        let why = match facts.waiting {
            1 => "a request waits for a worker".to_owned(),
            waiting => format!("{waiting} requests wait for a worker"),
        };
        let why = match facts.shortage {
            Some(shortage) => format!("{why}; {shortage}"),
            None => why,
        };
        return because(GroupState::Busy, why);
    }
    let threads = pool.definition().config.threads;
    if threads > 0 && workers.iter().all(|one| one.in_flight >= threads) {
        let why = match workers.len() * threads as usize {
            1 => "its only request thread is taken".to_owned(),
            all => format!("all {all} request threads are taken"),
        };
        return because(GroupState::Busy, why);
    }
    match facts.shortage {
        Some(shortage) => because(GroupState::Running, shortage),
        None => GroupState::Running.into(),
    }
}

fn failing_starts(pool: &WorkerPool) -> Option<String> {
    let problem = pool.last_problem().unwrap_or_default();
    match pool.failed_starts() {
        0 => None,
        1 => Some(problem.to_owned()),
        times => Some(format!(
            "{times} starts in a row came to nothing: {problem}"
        )),
    }
}

fn crashing(facts: &PoolFacts<'_>) -> Option<Condition> {
    let (count, last) = facts.crashes;
    let last = last.unwrap_or_default();
    let why = || format!("{count} workers ended unasked within a minute, the last one: {last}");
    (count >= CRASHES).then(|| because(GroupState::Crashing, why()))
}

/// What the definition and the operator say of a process group.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupFacts<'a> {
    /// Why it cannot start, whatever its pools say.
    pub problem: Option<&'a str>,
    /// Whether `wsgid stop` has stopped it.
    pub stopped: bool,
    /// Whether it is no longer configured.
    pub removed: bool,
}

/// How a group is: as the worst of its pools. The time is theirs and stays with the word.
pub fn of_group(
    facts: GroupFacts<'_>,
    pools: impl Iterator<Item = (Condition, u64)>,
) -> (Condition, Option<u64>) {
    if facts.removed {
        let since = pools.map(|(_, since)| since).min();
        return (GroupState::Leaving.into(), since);
    }
    if let Some(problem) = facts.problem {
        return (because(GroupState::CannotStart, problem), None);
    }
    // One that leaves belongs to no group that stays: a request named it.
    let pools = pools.filter(|(one, _)| one.state != GroupState::Leaving);
    match pools.min_by_key(|(one, since)| (one.state, *since)) {
        Some((worst, since)) => (worst, Some(since)),
        None if facts.stopped => (GroupState::Stopped.into(), None),
        None => (GroupState::Idle.into(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(state: GroupState, since: u64) -> (Condition, u64) {
        (because(state, format!("since {since}")), since)
    }

    #[test]
    fn a_group_is_as_its_worst_pool() {
        let group = |facts, pools: Vec<_>| of_group(facts, pools.into_iter());
        let none = GroupFacts::default();
        let (running, failed) = (pool(GroupState::Running, 1), pool(GroupState::Failed, 2));
        let leaving = pool(GroupState::Leaving, 3);
        let pools = vec![running.clone(), leaving.clone(), failed.clone()];
        assert_eq!(group(none, pools), (failed.0, Some(2)));
        let pools = vec![running.clone(), leaving.clone()];
        assert_eq!(group(none, pools), (running.0, Some(1)));
        assert_eq!(group(none, Vec::new()).0.state, GroupState::Idle);
        let stopped = GroupFacts {
            stopped: true,
            ..none
        };
        assert_eq!(group(stopped, Vec::new()).0.state, GroupState::Stopped);
        let removed = GroupFacts {
            removed: true,
            ..none
        };
        assert_eq!(group(removed, vec![leaving]).0.state, GroupState::Leaving);
        let no_user = GroupFacts {
            problem: Some("no such user"),
            ..none
        };
        let idle = pool(GroupState::Idle, 1);
        let expected = because(GroupState::CannotStart, "no such user");
        assert_eq!(group(no_user, vec![idle]), (expected, None));
    }

    #[test]
    fn the_worst_come_first() {
        let all = GroupState::ALL;
        assert!(all.is_sorted() && all.is_sorted_by_key(|state| !state.is_bad()));
    }
}
