//! What a status says of workers that a command has begun: whether they serve, were
//! given up, or are under way. Pure; asked by `waiting`.

use std::fmt;

use wsgid_protocol::answers::AwaitedPool;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::status::{FailedScript, GroupState, GroupStatus, PoolStatus, Status};

/// A pool in which nobody serves is not waited for any longer when so many of its
/// workers have ended meanwhile. It is tried again all the same.
const ENDS_MAX: u64 = 3;

/// A pool that is waited for.
#[derive(Debug)]
pub(super) struct Awaited {
    pool: AwaitedPool,
    /// Workers that had ended when it was looked at first, and what had gone wrong last.
    before: Option<(u64, Option<String>)>,
}

/// How it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    UnderWay,
    Came(Outcome),
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This generation serves.
    Serves(u64),
    /// It serves, and these scripts fail to load in it.
    Broken(u64, Vec<FailedScript>),
    /// It was given up, and that one serves on.
    GivenUp {
        generation: u64,
        why: String,
        failed_scripts: Vec<FailedScript>,
        serving: Option<u64>,
    },
    /// Nobody serves, and nobody will without a change.
    DoesNotStart(String),
    /// It was given up, or its definition was taken back; why is known no more.
    Dropped(u64),
    /// Somebody has stopped the group meanwhile.
    Stopped,
    /// It is no longer there.
    Gone,
}

impl Awaited {
    pub(super) const fn new(pool: AwaitedPool) -> Self {
        Self { pool, before: None }
    }

    /// The pool in words.
    pub(super) fn name(&self) -> String {
        let group = escaped(self.pool.group.as_bytes());
        match escaped(self.pool.application_group.as_bytes()).as_str() {
            "" => format!("process group `{group}`"),
            application => format!("process group `{group}`, application group `{application}`"),
        }
    }

    /// What has gone wrong since it is waited for.
    pub(super) fn problem<'s>(&self, status: &'s Status) -> Option<&'s str> {
        let (_, pool) = self.found(status)?;
        let (restarts, problem) = self.before.as_ref()?;
        let ended = pool.causes.last().filter(|_| pool.restarts > *restarts);
        let other = pool.last_problem.as_deref();
        let other = other.filter(|other| Some(*other) != problem.as_deref());
        ended.map(|cause| cause.text.as_str()).or(other)
    }

    fn found<'s>(&self, status: &'s Status) -> Option<(&'s GroupStatus, &'s PoolStatus)> {
        let group = status.group(&self.pool.group)?;
        let mut pools = group.pools.iter();
        let pool = pools.find(|pool| pool.application_group == self.pool.application_group)?;
        Some((group, pool))
    }

    /// How it stands with it.
    pub(super) fn judge(&mut self, status: &Status) -> Standing {
        let Some((group, pool)) = self.found(status) else {
            return Standing::Came(Outcome::Gone);
        };
        if let Some(problem) = &group.problem {
            return Standing::Came(Outcome::DoesNotStart(problem.clone()));
        }
        let now = || (pool.restarts, pool.last_problem.clone());
        let before = self.before.get_or_insert_with(now).0;
        let outcome = match self.of_generation(pool) {
            Some(outcome) => Some(outcome),
            None => of_state(pool, pool.restarts.saturating_sub(before)),
        };
        outcome.map_or(Standing::UnderWay, Standing::Came)
    }

    fn of_generation(&self, pool: &PoolStatus) -> Option<Outcome> {
        let wanted = self.pool.generation;
        if pool.generation >= wanted {
            let mut ready = pool
                .ready()
                .filter(|worker| worker.generation >= wanted)
                .peekable();
            ready.peek()?;
            let mut failed: Vec<FailedScript> = ready
                .flat_map(|worker| worker.failed_scripts.clone())
                .collect();
            failed.sort();
            failed.dedup_by(|one, other| one.script == other.script);
            if !failed.is_empty() {
                return Some(Outcome::Broken(pool.generation, failed));
            }
            // With reload-surge= the old ones leave one after the other.
            let is_whole = pool.ready().all(|worker| worker.generation >= wanted);
            return is_whole.then_some(Outcome::Serves(pool.generation));
        }
        if let Some(given_up) = pool.given_up.as_ref().filter(|up| up.generation >= wanted) {
            return Some(Outcome::GivenUp {
                generation: given_up.generation,
                why: given_up.why.clone(),
                failed_scripts: given_up.failed_scripts.clone(),
                serving: pool.ready().next().map(|_| pool.generation),
            });
        }
        // One that was begun after it is as good: it has what this one was to have.
        let is_coming = pool.next_generation.is_some_and(|next| next >= wanted);
        (!is_coming).then_some(Outcome::Dropped(wanted))
    }
}

/// What the whole pool comes to, whatever its generations.
fn of_state(pool: &PoolStatus, ends: u64) -> Option<Outcome> {
    let problem = || {
        let last = pool.causes.last().map(|cause| cause.text.clone());
        let known = [pool.why.clone(), last, pool.last_problem.clone()];
        known.into_iter().flatten().next().unwrap_or_default()
    };
    match pool.state {
        GroupState::Stopped | GroupState::Stopping => return Some(Outcome::Stopped),
        GroupState::Leaving => return Some(Outcome::Gone),
        GroupState::Failed | GroupState::CannotStart => {
            return Some(Outcome::DoesNotStart(problem()));
        }
        _ => {}
    }
    if ends < ENDS_MAX || pool.ready().next().is_some() {
        return None;
    }
    Some(Outcome::DoesNotStart(problem()))
}

/// Whether a group has stopped; `Some(false)`: it was started meanwhile.
pub(super) fn stopped(status: &Status, group: &str) -> Option<bool> {
    let Some(group) = status.group(group) else {
        return Some(true);
    };
    if !group.stopped {
        return Some(false);
    }
    group.workers().next().is_none().then_some(true)
}

impl Outcome {
    pub(super) const fn is_success(&self) -> bool {
        matches!(self, Self::Serves(_))
    }

    pub(super) fn failed_scripts(&self) -> &[FailedScript] {
        match self {
            Self::Broken(_, failed_scripts) | Self::GivenUp { failed_scripts, .. } => {
                failed_scripts
            }
            _ => &[],
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serves(generation) => write!(out, "generation {generation} serves"),
            Self::Broken(generation, failed) => {
                let scripts: Vec<String> = failed
                    .iter()
                    .map(|failed| format!("`{}`", escaped(failed.script.as_bytes())))
                    .collect();
                let scripts = scripts.join(", ");
                write!(
                    out,
                    "generation {generation} serves, but {scripts} failed to load"
                )
            }
            Self::GivenUp {
                generation,
                why,
                serving,
                ..
            } => {
                write!(out, "generation {generation} was given up")?;
                if let Some(serving) = serving {
                    write!(out, ", generation {serving} serves on")?;
                }
                write!(out, ": {}", escaped(why.as_bytes()))
            }
            Self::DoesNotStart(cause) => {
                write!(out, "it does not start: {}", escaped(cause.as_bytes()))
            }
            Self::Dropped(generation) => write!(
                out,
                "generation {generation} does not serve: it was given up meanwhile, or its definition was taken back"
            ),
            Self::Stopped => out.write_str("it was stopped meanwhile"),
            Self::Gone => out.write_str("it is no longer configured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use wsgid_protocol::status::{CauseStatus, GivenUpStatus, WorkerPhase, WorkerStatus};

    use super::*;

    fn awaited() -> Awaited {
        Awaited::new(AwaitedPool {
            group: "site".into(),
            application_group: String::new(),
            generation: 3,
        })
    }

    fn worker(generation: u64, state: WorkerPhase) -> WorkerStatus {
        WorkerStatus {
            generation,
            state,
            ..WorkerStatus::default()
        }
    }

    fn pool(generation: u64, next: Option<u64>, workers: &[(u64, WorkerPhase)]) -> PoolStatus {
        PoolStatus {
            state: GroupState::Running,
            generation,
            next_generation: next,
            workers: workers
                .iter()
                .map(|(of, state)| worker(*of, *state))
                .collect(),
            ..PoolStatus::default()
        }
    }

    fn of(pool: PoolStatus) -> Status {
        Status {
            groups: vec![GroupStatus {
                name: "site".into(),
                pools: vec![pool],
                ..GroupStatus::default()
            }],
            ..Status::default()
        }
    }

    fn judge(pool: PoolStatus) -> Standing {
        awaited().judge(&of(pool))
    }

    #[test]
    fn a_generation_that_serves_or_comes() {
        use WorkerPhase::{Draining, Ready, Starting};
        let serves = |generation| Standing::Came(Outcome::Serves(generation));
        assert_eq!(
            judge(pool(2, Some(3), &[(2, Ready), (3, Starting)])),
            Standing::UnderWay
        );
        // Others of it are ready, and the old one serves yet.
        assert_eq!(
            judge(pool(2, Some(3), &[(2, Ready), (3, Ready), (3, Starting)])),
            Standing::UnderWay
        );
        assert_eq!(
            judge(pool(3, None, &[(2, Draining), (3, Ready)])),
            serves(3)
        );
        assert_eq!(
            judge(pool(3, None, &[(2, Draining), (3, Starting)])),
            Standing::UnderWay
        );
        // It takes over, a worker at a time.
        assert_eq!(
            judge(pool(3, None, &[(2, Ready), (3, Ready)])),
            Standing::UnderWay
        );
        // A later one has been begun, has taken over.
        assert_eq!(judge(pool(2, Some(4), &[(2, Ready)])), Standing::UnderWay);
        assert_eq!(judge(pool(4, None, &[(4, Ready)])), serves(4));
        assert_eq!(
            judge(pool(2, None, &[(2, Ready)])),
            Standing::Came(Outcome::Dropped(3))
        );
        assert_eq!(
            awaited().judge(&Status::default()),
            Standing::Came(Outcome::Gone)
        );
    }

    #[test]
    fn a_generation_that_was_given_up_or_is_broken() {
        use WorkerPhase::{Ready, Starting};
        let given_up = |generation, next| PoolStatus {
            given_up: Some(GivenUpStatus {
                generation,
                why: "broken".into(),
                ..GivenUpStatus::default()
            }),
            ..pool(2, next, &[(2, Ready)])
        };
        let Standing::Came(outcome) = judge(given_up(3, None)) else {
            panic!("it was given up");
        };
        assert_eq!(
            outcome.to_string(),
            "generation 3 was given up, generation 2 serves on: broken"
        );
        assert!(!outcome.is_success());
        // What was given up before the command is history.
        assert_eq!(judge(given_up(2, Some(3))), Standing::UnderWay);
        // The next one was begun because files changed meanwhile.
        assert!(matches!(
            judge(given_up(3, Some(4))),
            Standing::Came(Outcome::GivenUp { generation: 3, .. })
        ));
        let mut broken = pool(3, None, &[(3, Ready), (3, Starting), (3, Ready)]);
        for at in [0, 2] {
            broken.workers[at].failed_scripts = vec![FailedScript {
                script: "/a.wsgi".into(),
                traceback: format!("worker {at}"),
            }];
        }
        let Standing::Came(outcome) = judge(broken) else {
            panic!("it serves");
        };
        assert_eq!(outcome.failed_scripts().len(), 1);
        assert!(!outcome.is_success(), "{outcome}");
    }

    #[test]
    fn what_does_not_start_is_not_waited_for() {
        use WorkerPhase::{Ready, Starting};
        let ended = |restarts, state| PoolStatus {
            restarts,
            causes: vec![CauseStatus {
                text: "exit code 3".into(),
                ..CauseStatus::default()
            }],
            ..pool(3, None, &[(3, state)])
        };
        let mut one = awaited();
        assert_eq!(one.judge(&of(ended(7, Starting))), Standing::UnderWay);
        assert_eq!(one.judge(&of(ended(9, Starting))), Standing::UnderWay);
        assert_eq!(
            one.judge(&of(ended(10, Starting))),
            Standing::Came(Outcome::DoesNotStart("exit code 3".into()))
        );
        assert_eq!(
            one.judge(&of(ended(10, Ready))),
            Standing::Came(Outcome::Serves(3))
        );
        let failed = PoolStatus {
            state: GroupState::Failed,
            why: Some("no python".into()),
            ..pool(3, None, &[])
        };
        assert_eq!(
            judge(failed),
            Standing::Came(Outcome::DoesNotStart("no python".into()))
        );
        let stopped = PoolStatus {
            state: GroupState::Stopped,
            ..pool(3, None, &[])
        };
        assert_eq!(judge(stopped), Standing::Came(Outcome::Stopped));
        let mut unknown_user = of(pool(3, None, &[]));
        unknown_user.groups[0].problem = Some("no such user".into());
        assert_eq!(
            awaited().judge(&unknown_user),
            Standing::Came(Outcome::DoesNotStart("no such user".into()))
        );
    }

    #[test]
    fn what_went_wrong_before_is_no_reason() {
        let mut one = awaited();
        let at = |restarts, problem: &str, cause: &str| PoolStatus {
            restarts,
            last_problem: Some(problem.into()),
            causes: vec![CauseStatus {
                text: cause.into(),
                ..CauseStatus::default()
            }],
            ..pool(2, Some(3), &[(2, WorkerPhase::Ready)])
        };
        let first = of(at(4, "old", "older"));
        assert_eq!(one.judge(&first), Standing::UnderWay);
        assert_eq!(one.problem(&first), None);
        assert_eq!(one.problem(&of(at(4, "new", "older"))), Some("new"));
        assert_eq!(one.problem(&of(at(5, "old", "exit"))), Some("exit"));
    }

    #[test]
    fn a_group_has_stopped_when_its_last_worker_has_ended() {
        let mut status = of(pool(3, None, &[(3, WorkerPhase::Draining)]));
        assert_eq!(stopped(&status, "site"), Some(false));
        status.groups[0].stopped = true;
        assert_eq!(stopped(&status, "site"), None);
        status.groups[0].pools[0].workers.clear();
        assert_eq!(stopped(&status, "site"), Some(true));
        assert_eq!(stopped(&status, "other"), Some(true));
    }
}
