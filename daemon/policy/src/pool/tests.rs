//! The transitions of a pool, one by one, with a clock of our own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgid_protocol::control::{RecycleReason, ServerFacts};
use wsgid_protocol::{Failure, GroupConfig};

use super::{Action, Event, Mode, Pool};
use crate::definition::Definition;
use crate::ids::WorkerId;

pub(crate) fn definition(options: &[(&str, &str)]) -> Arc<Definition> {
    let mut config = GroupConfig::new("site", "test");
    for (name, value) in options {
        config.set(name, value).unwrap();
    }
    Arc::new(Definition {
        config,
        identity: Err("none".into()),
        server: ServerFacts::default(),
        httpd_uid: 1,
    })
}

/// A pool with a clock, and what it asked for.
pub(super) struct Bench {
    pub(super) pool: Pool,
    pub(super) now: Instant,
    pub(super) actions: Vec<Action>,
}

impl Bench {
    pub(super) fn new(options: &[(&str, &str)], eager: bool) -> Self {
        let pool = Pool::new(1, definition(options), eager);
        let mut bench = Self {
            pool,
            now: Instant::now(),
            actions: Vec::new(),
        };
        bench.event(Event::Tick);
        bench
    }

    pub(super) fn event(&mut self, event: Event) {
        let actions = self.pool.handle(event, self.now);
        self.actions.extend(actions);
    }

    /// Lets time pass, with every timer on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        while let Some(at) = self.pool.deadline(self.now).filter(|at| *at <= end) {
            turns += 1;
            assert!(turns < 10_000, "a timer that never ends: {:?}", self.pool);
            self.now = self.now.max(at);
            self.event(Event::Tick);
        }
        self.now = end;
        self.event(Event::Tick);
    }

    fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Does the spawns that were asked for.
    fn spawned(&mut self) -> Vec<WorkerId> {
        let spawns: Vec<WorkerId> = self
            .take()
            .into_iter()
            .filter_map(|action| match action {
                Action::Spawn { worker, .. } => Some(worker),
                _ => None,
            })
            .collect();
        spawns.iter().for_each(|id| self.event(Event::Spawned(*id)));
        spawns
    }

    fn ready(&mut self) -> Vec<WorkerId> {
        let ids = self.spawned();
        ids.iter()
            .for_each(|id| self.event(Event::Ready(*id, BTreeSet::new())));
        ids
    }

    fn serving(&self) -> usize {
        self.pool
            .members()
            .filter(|(id, _)| self.pool.accepts(*id))
            .count()
    }

    fn drained(&mut self) -> Vec<WorkerId> {
        let of = |action: &Action| match action {
            Action::Drain(id) => Some(*id),
            _ => None,
        };
        self.actions.iter().filter_map(of).collect()
    }

    fn crash(&mut self, id: WorkerId) {
        self.event(Event::Exited(id, "crashed".into(), false));
    }
}

#[test]
fn on_demand_starts_with_the_first_request() {
    let mut bench = Bench::new(&[("processes", "2")], false);
    assert!(bench.actions.is_empty());
    bench.event(Event::Waiting(1));
    assert_eq!(bench.ready().len(), 2);
    assert_eq!(bench.serving(), 2);
}

#[test]
fn a_reload_switches_when_all_are_ready_and_then_drains() {
    let mut bench = Bench::new(&[("processes", "2")], true);
    let old = bench.ready();
    bench.event(Event::Recycle(old[0], RecycleReason::ScriptChanged));
    bench.event(Event::Recycle(old[1], RecycleReason::ScriptChanged));
    let new = bench.spawned();
    assert_eq!(new.len(), 2);
    bench.event(Event::Ready(new[0], BTreeSet::new()));
    assert!(old.iter().all(|id| bench.pool.accepts(*id)) && bench.drained().is_empty());
    bench.event(Event::Ready(new[1], BTreeSet::new()));
    assert!(new.iter().all(|id| bench.pool.accepts(*id)));
    assert!(!old.iter().any(|id| bench.pool.accepts(*id)));
    assert_eq!(bench.drained(), old);
    // An old one that does not finish is brought down step by step.
    bench.take();
    bench.pass(Duration::from_secs(15));
    assert!(matches!(
        bench.take()[..],
        [Action::Stop(..), Action::Stop(..)]
    ));
    bench.pass(Duration::from_secs(6));
    let steps = bench.take();
    assert!(
        matches!(
            steps[..],
            [
                Action::Terminate(_),
                Action::Terminate(_),
                Action::Kill(_),
                Action::Kill(_)
            ]
        ),
        "{steps:?}"
    );
}

#[test]
fn a_generation_that_breaks_a_script_never_takes_over() {
    let mut bench = Bench::new(&[], true);
    let old = bench.ready();
    bench.event(Event::Recycle(old[0], RecycleReason::ScriptChanged));
    let new = bench.spawned();
    bench.event(Event::Ready(new[0], BTreeSet::from(["/srv/app.py".into()])));
    assert!(bench.pool.accepts(old[0]));
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Discarded(..)))
    );
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Stop(id, _) if *id == new[0]))
    );
    // The next touch tries again.
    bench.event(Event::Exited(new[0], "stopped".into(), false));
    bench.event(Event::Recycle(old[0], RecycleReason::ScriptChanged));
    assert_eq!(bench.ready().len(), 1);
    assert!(!bench.pool.accepts(old[0]));
}

#[test]
fn a_script_that_failed_before_may_fail_again() {
    let mut bench = Bench::new(&[], true);
    let old = bench.spawned();
    let broken = BTreeSet::from(["/srv/app.py".into()]);
    bench.event(Event::Ready(old[0], broken.clone()));
    assert!(
        bench.pool.accepts(old[0]),
        "a failing script does not keep a worker from serving"
    );
    bench.event(Event::Recycle(old[0], RecycleReason::LoadFailed));
    let new = bench.spawned();
    bench.event(Event::Ready(new[0], broken));
    assert!(bench.pool.accepts(new[0]) && !bench.pool.accepts(old[0]));
}

#[test]
fn a_gap_is_not_filled_with_what_no_longer_loads_while_others_serve() {
    let mut bench = Bench::new(&[("processes", "2")], true);
    let old = bench.ready();
    let broken = BTreeSet::from(["/srv/app.py".into()]);
    bench.crash(old[0]);
    let new = bench.spawned();
    bench.event(Event::Ready(new[0], broken.clone()));
    assert!(bench.pool.accepts(old[1]) && !bench.pool.accepts(new[0]));
    bench.crash(new[0]);
    bench.pass(Duration::from_secs(4));
    assert!(bench.spawned().is_empty(), "it is not tried all the time");
    bench.pass(Duration::from_secs(2));
    let new = bench.spawned();
    assert_eq!(new.len(), 1);
    bench.event(Event::Ready(new[0], broken.clone()));
    // The last one that serves: now an answer with a traceback beats none.
    bench.crash(old[1]);
    bench.pass(Duration::from_secs(1));
    let new = bench.spawned();
    bench.event(Event::Ready(new[0], broken));
    assert!(bench.pool.accepts(new[0]));
}

#[test]
fn a_generation_that_crashes_is_given_up_after_some_tries() {
    let mut bench = Bench::new(&[], true);
    let old = bench.ready();
    bench.event(Event::Define(definition(&[("threads", "3")])));
    for _ in 0..super::NEXT_TRIES {
        let new = bench.spawned();
        assert_eq!(new.len(), 1);
        bench.crash(new[0]);
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(bench.pool.next_generation(), None);
    assert!(bench.pool.accepts(old[0]));
    bench.pass(Duration::from_secs(100));
    assert!(bench.spawned().is_empty());
}

#[test]
fn maximum_requests_replaces_one_worker_at_a_time() {
    let mut bench = Bench::new(&[("processes", "3")], true);
    let old = bench.ready();
    bench.event(Event::Recycle(old[1], RecycleReason::MaximumRequests));
    let new = bench.spawned();
    assert_eq!(new.len(), 1);
    assert_eq!(bench.serving(), 3);
    bench.event(Event::Ready(new[0], BTreeSet::new()));
    assert_eq!(bench.drained(), [old[1]]);
    assert_eq!(bench.serving(), 3);
    bench.crash(old[1]);
    assert!(bench.spawned().is_empty());
}

#[test]
fn too_many_failures_refuse_and_heal_after_the_window() {
    let mut bench = Bench::new(&[("restart-burst", "3"), ("restart-window", "60")], true);
    let mut starts = 0;
    for _ in 0..200 {
        for id in bench.spawned() {
            starts += 1;
            bench.crash(id);
        }
        bench.pass(Duration::from_millis(250));
        if matches!(bench.pool.mode(), Mode::Failed { .. }) {
            break;
        }
    }
    assert_eq!(starts, 4);
    bench.event(Event::Waiting(1));
    assert!(bench.spawned().is_empty());
    bench.pass(Duration::from_secs(61));
    let probe = bench.spawned();
    assert_eq!(probe.len(), 1, "one try after the window");
    bench.event(Event::Ready(probe[0], BTreeSet::new()));
    assert_eq!(*bench.pool.mode(), Mode::Running);
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Serve))
    );
}

#[test]
fn workers_that_die_at_work_never_make_the_group_failed() {
    let mut bench = Bench::new(&[("restart-burst", "3"), ("restart-window", "60")], true);
    for _ in 0..40 {
        let id = bench.ready()[0];
        bench.crash(id);
        // Longer than the longest delay, which chance stretches by a quarter.
        bench.pass(Duration::from_millis(1300));
    }
    assert_eq!(*bench.pool.mode(), Mode::Running);
    assert_eq!(bench.ready().len(), 1);
}

#[test]
fn restart_and_start_clear_a_failure_at_once() {
    for command in [Event::Restart, Event::Start] {
        let mut bench = Bench::new(&[("restart-burst", "1")], true);
        for _ in 0..2 {
            let ids = bench.spawned();
            bench.crash(ids[0]);
            bench.pass(Duration::from_secs(1));
        }
        assert!(
            bench
                .actions
                .iter()
                .any(|action| matches!(action, Action::Refuse(Failure::GroupFailed, _)))
        );
        bench.take();
        bench.event(command);
        assert!(
            bench
                .actions
                .iter()
                .any(|action| matches!(action, Action::Serve))
        );
        assert_eq!(bench.ready().len(), 1);
    }
}

#[test]
fn what_cannot_start_refuses_at_once_and_is_tried_again() {
    let mut bench = Bench::new(&[], true);
    let first = match bench.take()[..] {
        [Action::Spawn { worker, .. }] => worker,
        ref other => panic!("{other:?}"),
    };
    bench.event(Event::SpawnFailed(first, "no such user".into()));
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Refuse(Failure::SpawnFailed, _)))
    );
    bench.pass(Duration::from_secs(1));
    assert!(!bench.ready().is_empty());
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Serve))
    );
}

#[test]
fn a_hanging_start_is_ended_at_startup_timeout() {
    let mut bench = Bench::new(&[("startup-timeout", "10")], true);
    let first = bench.spawned()[0];
    bench.pass(Duration::from_secs(9));
    assert!(bench.take().is_empty());
    bench.pass(Duration::from_secs(2));
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Kill(id) if *id == first))
    );
}

#[test]
fn it_scales_with_the_queue_and_back() {
    let mut bench = Bench::new(&[("processes", "1..3"), ("idle-stop", "60")], true);
    let mut all = bench.ready();
    for _ in 0..5 {
        bench.event(Event::Waiting(4));
        all.extend(bench.ready());
    }
    assert_eq!(bench.serving(), 3);
    bench.event(Event::Waiting(0));
    for id in all {
        bench.event(Event::Idle(id));
    }
    assert_eq!(bench.serving(), 0);
    bench.take();
    bench.event(Event::Waiting(1));
    assert_eq!(bench.ready().len(), 1);
}

#[test]
fn stop_refuses_and_start_serves() {
    let mut bench = Bench::new(&[("processes", "2")], true);
    let old = bench.ready();
    bench.event(Event::Stop);
    assert_eq!(bench.drained(), old);
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Refuse(Failure::GroupStopped, _)))
    );
    old.iter()
        .for_each(|id| bench.event(Event::Exited(*id, "drained".into(), false)));
    bench.event(Event::Waiting(1));
    assert!(bench.spawned().is_empty());
    bench.event(Event::Start);
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Serve))
    );
    assert_eq!(bench.ready().len(), 2);
}

#[test]
fn the_same_workers_stay_for_the_same_definition() {
    let mut bench = Bench::new(&[("threads", "5")], true);
    let old = bench.ready();
    bench.event(Event::Define(definition(&[
        ("threads", "5"),
        ("restart-burst", "7"),
    ])));
    assert!(bench.actions.is_empty() && bench.pool.accepts(old[0]));
    bench.event(Event::Define(definition(&[("threads", "6")])));
    assert_eq!(bench.ready().len(), 1);
    assert_eq!(bench.drained(), old);
}

#[test]
fn a_restart_goes_on_when_the_same_definition_comes_again() {
    let mut bench = Bench::new(&[("threads", "5")], true);
    let old = bench.ready();
    bench.event(Event::Restart);
    let new = bench.spawned();
    assert_eq!(new.len(), 1);
    bench.event(Event::Define(definition(&[
        ("threads", "5"),
        ("restart-burst", "7"),
    ])));
    assert!(bench.actions.is_empty(), "{:?}", bench.actions);
    bench.event(Event::Ready(new[0], BTreeSet::new()));
    assert!(bench.pool.accepts(new[0]));
    assert_eq!(bench.drained(), old);
}

#[test]
fn a_definition_on_its_way_is_not_begun_again() {
    let mut bench = Bench::new(&[("threads", "5")], true);
    bench.ready();
    bench.event(Event::Define(definition(&[("threads", "6")])));
    let new = bench.spawned();
    bench.event(Event::Define(definition(&[("threads", "6")])));
    assert!(bench.actions.is_empty(), "{:?}", bench.actions);
    bench.event(Event::Ready(new[0], BTreeSet::new()));
    assert!(bench.pool.accepts(new[0]));
}

#[test]
fn shutdown_is_bounded() {
    let mut bench = Bench::new(&[("shutdown-timeout", "2")], true);
    let ids = bench.ready();
    bench.event(Event::Shutdown);
    bench.pass(Duration::from_millis(2600));
    assert!(matches!(bench.actions.last(), Some(Action::Kill(id)) if *id == ids[0]));
    bench.crash(ids[0]);
    assert!(matches!(bench.actions.last(), Some(Action::Gone)));
}

#[test]
fn a_locked_worker_writes_its_stacks_before_it_is_killed() {
    let mut bench = Bench::new(&[], true);
    let id = bench.ready()[0];
    bench.take();
    bench.event(Event::Locked(id));
    bench.event(Event::Locked(id));
    let first = bench.take();
    assert_eq!(
        first
            .iter()
            .filter(|action| matches!(action, Action::Abort(_)))
            .count(),
        1,
        "{first:?}"
    );
    assert!(!first.iter().any(|action| matches!(action, Action::Kill(_))));
    assert_eq!(bench.serving(), 0);
    bench.pass(Duration::from_secs(2));
    assert!(
        bench
            .take()
            .iter()
            .any(|action| matches!(action, Action::Kill(killed) if *killed == id))
    );
}

#[test]
fn a_wish_to_be_replaced_before_the_first_request_is_remembered() {
    let mut bench = Bench::new(&[("processes", "1")], true);
    let first = bench.spawned();
    bench.event(Event::Recycle(first[0], RecycleReason::CpuTimeLimit));
    bench.event(Event::Ready(first[0], BTreeSet::new()));
    let second = bench.ready();
    assert_eq!(second.len(), 1);
    assert_eq!(bench.drained(), first);
}

#[test]
fn a_service_is_replaced_after_it_has_gone() {
    let mut bench = Bench::new(&[("processes", "2"), ("threads", "0")], true);
    let old = bench.ready();
    bench.event(Event::Restart);
    assert_eq!(bench.drained(), old);
    assert!(bench.spawned().is_empty(), "both still run");
    bench.event(Event::Exited(old[0], "as asked".into(), false));
    let new = bench.ready();
    assert_eq!(new.len(), 1);
    bench.event(Event::Recycle(new[0], RecycleReason::Signal));
    assert_eq!(bench.drained(), new);
    assert!(bench.spawned().is_empty());
    bench.event(Event::Exited(new[0], "as asked".into(), false));
    bench.event(Event::Exited(old[1], "as asked".into(), false));
    assert_eq!(bench.ready().len(), 2);
}

#[test]
fn one_request_starts_one_worker_of_a_range() {
    for options in [
        &[("processes", "0..3")][..],
        &[("processes", "1..3"), ("idle-stop", "60")],
    ] {
        let mut bench = Bench::new(options, false);
        bench.event(Event::Waiting(1));
        assert_eq!(bench.ready().len(), 1);
        // It gets what waited.
        bench.event(Event::Waiting(0));
        bench.pass(Duration::from_secs(5));
        assert!(bench.spawned().is_empty(), "{options:?}");
        // With all threads busy it gives back what it cannot serve.
        bench.event(Event::Waiting(1));
        assert_eq!(bench.ready().len(), 1);
    }
}

#[test]
fn a_range_never_has_fewer_than_its_minimum() {
    let mut bench = Bench::new(&[("processes", "1..4")], true);
    bench.ready();
    bench.event(Event::Define(definition(&[("processes", "3..4")])));
    assert_eq!(bench.ready().len(), 3);
    assert_eq!(bench.serving(), 3);
}

#[test]
fn a_replacement_that_was_called_off_is_tried_again() {
    let options = [
        ("processes", "2"),
        ("restart-burst", "1"),
        ("restart-window", "10"),
    ];
    let mut bench = Bench::new(&options, true);
    let old = bench.ready();
    let asked_for = |bench: &mut Bench| -> WorkerId {
        bench.pass(Duration::from_secs(1));
        match bench.take()[..] {
            [Action::Spawn { worker, .. }] => worker,
            ref other => panic!("{other:?}"),
        }
    };
    bench.crash(old[1]);
    let first = asked_for(&mut bench);
    bench.event(Event::SpawnFailed(first, "refused".into()));
    bench.take();
    let second = asked_for(&mut bench);
    // It waits for its turn when the group is given up.
    bench.event(Event::Recycle(old[0], RecycleReason::MaximumRequests));
    let replacement = asked_for(&mut bench);
    bench.event(Event::SpawnFailed(second, "refused".into()));
    assert!(matches!(bench.pool.mode(), Mode::Failed { .. }));
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::CancelSpawn(id) if *id == replacement))
    );
    for _ in 0..20 {
        bench.pass(Duration::from_secs(2));
        bench.ready();
    }
    assert!(!bench.pool.accepts(old[0]), "it has asked to be replaced");
    assert_eq!(bench.serving(), 2);
}

#[test]
fn what_hangs_while_it_loads_is_given_up_for_what_has_changed_since() {
    let mut bench = Bench::new(&[], true);
    let old = bench.spawned()[0];
    bench.pass(Duration::from_secs(2));
    bench.event(Event::Ready(old, BTreeSet::new()));
    bench.event(Event::Recycle(old, RecycleReason::ScriptChanged));
    let hangs = bench.spawned()[0];
    bench.pass(Duration::from_secs(60));
    assert!(
        bench.take().is_empty(),
        "without startup-timeout it may take its time"
    );
    bench.event(Event::Recycle(old, RecycleReason::ScriptChanged));
    assert!(
        bench
            .actions
            .iter()
            .any(|action| matches!(action, Action::Stop(id, _) if *id == hangs))
    );
    let cured = bench.ready();
    assert!(cured.len() == 1 && bench.pool.accepts(cured[0]));
}

#[test]
fn a_change_in_the_time_that_loading_takes_waits_for_it() {
    let mut bench = Bench::new(&[("processes", "2")], true);
    let old = bench.spawned();
    bench.pass(Duration::from_secs(5));
    old.iter()
        .for_each(|id| bench.event(Event::Ready(*id, BTreeSet::new())));
    bench.event(Event::Recycle(old[0], RecycleReason::ScriptChanged));
    let new = bench.spawned();
    // The same change, seen by the other one.
    bench.event(Event::Recycle(old[1], RecycleReason::ScriptChanged));
    bench.pass(Duration::from_secs(20));
    assert!(
        bench.take().is_empty(),
        "five seconds before, twenty now: it is slow"
    );
    new.iter()
        .for_each(|id| bench.event(Event::Ready(*id, BTreeSet::new())));
    assert!(new.iter().all(|id| bench.pool.accepts(*id)));
}

#[test]
fn a_definition_that_met_broken_files_is_used_with_the_next() {
    let mut bench = Bench::new(&[("threads", "5")], true);
    let old = bench.ready()[0];
    bench.event(Event::Define(definition(&[("threads", "6")])));
    let new = bench.spawned()[0];
    bench.event(Event::Ready(new, BTreeSet::from(["/srv/app.py".into()])));
    assert!(bench.pool.accepts(old));
    bench.event(Event::Exited(new, "stopped".into(), false));
    bench.event(Event::Recycle(old, RecycleReason::ScriptChanged));
    assert_eq!(bench.ready().len(), 1);
    assert_eq!(bench.pool.definition().config.threads, 6);
}

#[test]
fn a_definition_that_does_not_work_keeps_no_new_files_back() {
    let mut bench = Bench::new(&[("threads", "5")], true);
    let old = bench.ready()[0];
    let refuse_all = |bench: &mut Bench| {
        for _ in 0..super::NEXT_TRIES {
            let new = bench.spawned();
            assert_eq!(new.len(), 1);
            bench.event(Event::Exited(new[0], "no such python".into(), true));
            bench.pass(Duration::from_secs(1));
        }
    };
    bench.event(Event::Define(definition(&[("threads", "6")])));
    refuse_all(&mut bench);
    assert!(bench.spawned().is_empty() && bench.pool.accepts(old));
    bench.event(Event::Recycle(old, RecycleReason::ScriptChanged));
    refuse_all(&mut bench);
    assert_eq!(bench.ready().len(), 1);
    assert_eq!(bench.pool.definition().config.threads, 5);
    assert!(
        !bench.pool.accepts(old),
        "new files with the definition that works"
    );
}

#[test]
fn a_definition_gives_a_failed_group_another_try() {
    let mut bench = Bench::new(&[("restart-burst", "1")], true);
    for _ in 0..2 {
        let ids = bench.spawned();
        bench.crash(ids[0]);
        bench.pass(Duration::from_secs(1));
    }
    assert!(matches!(bench.pool.mode(), Mode::Failed { .. }));
    bench.take();
    bench.event(Event::Define(definition(&[("restart-burst", "1")])));
    assert_eq!(bench.ready().len(), 1);
}

#[test]
fn a_worker_that_is_lost_before_it_is_ready_is_a_failed_start() {
    let mut bench = Bench::new(&[("restart-burst", "3")], true);
    for _ in 0..10 {
        for id in bench.spawned() {
            bench.event(Event::Lost(id));
            bench.event(Event::Exited(id, "killed".into(), false));
        }
        bench.pass(Duration::from_secs(2));
    }
    assert!(
        matches!(bench.pool.mode(), Mode::Failed { .. }),
        "{:?}",
        bench.pool.mode()
    );
}
