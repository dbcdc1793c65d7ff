//! New definitions and new files of a site: which generation serves, and which is
//! given up.

use super::*;

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
                Action::Abort(_),
                Action::Abort(_),
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
fn a_generation_that_crashes_is_given_up_after_some_tries() {
    let mut bench = Bench::new(&[], true);
    let old = bench.ready();
    bench.event(Event::Define(definition(&[("threads", "3")])));
    for _ in 0..crate::pool::NEXT_TRIES {
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
        for _ in 0..crate::pool::NEXT_TRIES {
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
