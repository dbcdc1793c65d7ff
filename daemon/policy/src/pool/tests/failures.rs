//! Workers that fail: pauses, refusals, replacements, and starts that hang.

use super::*;

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
fn a_hanging_start_is_asked_what_it_does_and_killed_at_startup_timeout() {
    for answers in [true, false] {
        let mut bench = Bench::new(&[("startup-timeout", "10")], true);
        let first = bench.spawned()[0];
        bench.pass(Duration::from_secs(9));
        assert!(bench.take().is_empty());
        bench.event(Event::Told(first));
        assert!(bench.take().is_empty(), "somebody else had asked");
        bench.pass(Duration::from_secs(1));
        let actions = bench.take();
        let overdue = |action: &Action| matches!(action, Action::Overdue(id) if *id == first);
        assert!(actions.iter().any(overdue), "{actions:?}");
        let is_killed = |actions: &[Action]| {
            actions
                .iter()
                .any(|one| matches!(one, Action::Kill(id) if *id == first))
        };
        if answers {
            bench.event(Event::Told(first));
        } else {
            bench.pass(Duration::from_secs(1));
            let actions = bench.take();
            let aborts = |action: &Action| matches!(action, Action::Abort(id) if *id == first);
            assert!(
                actions.iter().any(aborts) && !is_killed(&actions),
                "{actions:?}"
            );
            bench.pass(Duration::from_secs(2));
        }
        assert!(is_killed(&bench.take()), "{answers}");
    }
}

#[test]
fn starts_that_always_take_too_long_are_given_up_for_a_while() {
    let options = [
        ("startup-timeout", "15"),
        ("restart-burst", "10"),
        ("restart-window", "60"),
    ];
    let mut bench = Bench::new(&options, true);
    let mut starts = 0;
    for _ in 0..600 {
        starts += bench.spawned().len();
        bench.pass(Duration::from_secs(1));
        if matches!(bench.pool.mode(), Mode::Failed { .. }) {
            break;
        }
    }
    assert_eq!(starts, 11);
    let cause = "a worker was killed because it was not ready within startup-timeout (15 s)";
    assert!(matches!(bench.pool.mode(), Mode::Failed { cause: why, .. } if why.starts_with(cause)));
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
