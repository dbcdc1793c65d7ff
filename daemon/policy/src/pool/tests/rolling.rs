//! `reload-surge`, and workers that are not warm.

use std::collections::BTreeSet;

use super::*;

fn live(bench: &Bench) -> usize {
    bench
        .pool
        .members()
        .filter(|(_, member)| member.is_live())
        .count()
}

fn discarded(bench: &mut Bench) -> Vec<String> {
    let actions = bench.take().into_iter();
    actions
        .filter_map(|action| match action {
            Action::Discarded(_, why) => Some(why),
            _ => None,
        })
        .collect()
}

#[test]
fn one_more_at_a_time_replaces_all_and_nobody_is_missed() {
    let mut bench = Bench::new(&[("processes", "3"), ("reload-surge", "1")], true);
    let old = bench.ready();
    bench.event(Event::Restart);
    let mut new = Vec::new();
    let mut gone = Vec::new();
    for step in 1..=3 {
        let started = bench.spawned();
        assert_eq!((started.len(), live(&bench)), (1, 4), "step {step}");
        assert_eq!(bench.serving(), 3);
        bench.event(Event::Ready(started[0], BTreeSet::new()));
        let drained = bench.drained();
        assert_eq!((drained.len(), bench.serving()), (1, 3), "step {step}");
        assert!(bench.pool.is_newest(started[0]) && bench.pool.accepts(started[0]));
        new.extend(started);
        gone.extend(drained);
    }
    gone.sort_unstable();
    assert_eq!(gone, old);
    assert!(bench.spawned().is_empty() && !bench.pool.is_rolling());
    assert_eq!(bench.pool.newest().collect::<Vec<_>>(), new);
}

#[test]
fn without_it_all_new_ones_come_first() {
    let mut bench = Bench::new(&[("processes", "3")], true);
    bench.ready();
    bench.event(Event::Restart);
    let new = bench.spawned();
    assert_eq!(new.len(), 3);
    bench.event(Event::Ready(new[0], BTreeSet::new()));
    assert!(bench.drained().is_empty() && !bench.pool.accepts(new[0]));
}

#[test]
fn a_first_one_that_is_broken_changes_nothing() {
    let mut bench = Bench::new(&[("processes", "3"), ("reload-surge", "2")], true);
    let old = bench.ready();
    bench.event(Event::Restart);
    let new = bench.spawned();
    assert_eq!(new.len(), 2);
    bench.event(Event::Ready(new[0], BTreeSet::from(["/app.py".into()])));
    assert_eq!(discarded(&mut bench).len(), 1);
    assert!(old.iter().all(|id| bench.pool.accepts(*id)) && bench.pool.next_generation().is_none());
}

#[test]
fn a_newer_generation_waits_for_none_that_is_half_done() {
    let mut bench = Bench::new(&[("processes", "3"), ("reload-surge", "1")], true);
    bench.ready();
    bench.event(Event::Restart);
    let first = bench.spawned();
    bench.event(Event::Ready(first[0], BTreeSet::new()));
    let stuck = bench.spawned();
    bench.event(Event::Restart);
    let newer = bench.spawned();
    assert_eq!(newer.len(), 1, "it does not wait for {stuck:?}");
    assert!(!bench.pool.starts(stuck[0]) && bench.serving() == 3);
    bench.event(Event::Ready(newer[0], BTreeSet::new()));
    assert!(bench.pool.is_newest(newer[0]) && bench.serving() == 3);
    assert!(
        bench.pool.accepts(first[0]),
        "the newest of those before stay longest"
    );
    while let [id] = bench.spawned()[..] {
        bench.event(Event::Ready(id, BTreeSet::new()));
    }
    assert_eq!((bench.pool.newest().count(), bench.serving()), (3, 3));
}

#[test]
fn with_reload_wait_requests_want_new_code_alone() {
    let options = [
        ("processes", "3"),
        ("reload-surge", "1"),
        ("reload-wait", "5"),
    ];
    let mut bench = Bench::new(&options, true);
    bench.ready();
    bench.event(Event::Restart);
    assert_eq!(bench.spawned().len(), 3);
}

#[test]
fn who_is_not_warm_takes_over_from_nobody() {
    let mut bench = Bench::new(&[("processes", "2")], true);
    let old = bench.ready();
    bench.event(Event::Restart);
    let new = bench.spawned();
    bench.event(Event::NotWarmed(new[0], "answered with 500".into()));
    assert_eq!(discarded(&mut bench), ["answered with 500"]);
    assert!(old.iter().all(|id| bench.pool.accepts(*id)) && bench.serving() == 2);
    assert_eq!(bench.pool.next_generation(), None);
    // A replacement too.
    bench.event(Event::Recycle(old[0], RecycleReason::MaximumRequests));
    let other = bench.spawned();
    bench.event(Event::NotWarmed(other[0], "answered with 500".into()));
    assert_eq!(discarded(&mut bench).len(), 1);
    assert_eq!(bench.serving(), 2);
}

#[test]
fn where_nobody_serves_it_is_a_failed_start() {
    let mut bench = Bench::new(&[("restart-burst", "2")], true);
    for _ in 0..3 {
        let [id] = bench.spawned()[..] else {
            panic!("one starts");
        };
        bench.event(Event::NotWarmed(id, "answered with 500".into()));
        bench.crash(id);
        bench.pass(Duration::from_secs(1));
    }
    assert!(
        matches!(bench.pool.mode(), Mode::Failed { cause, .. } if cause == "answered with 500")
    );
}

#[test]
fn a_replacement_that_gives_way_to_a_generation_is_not_forgotten() {
    let mut bench = Bench::new(&[("processes", "3"), ("reload-surge", "1")], true);
    bench.ready();
    bench.event(Event::Restart);
    let first = bench.spawned()[0];
    bench.event(Event::Ready(first, BTreeSet::new()));
    assert!(bench.pool.is_rolling());
    bench.event(Event::Recycle(first, RecycleReason::MaximumRequests));
    let replaces = |(_, member): (WorkerId, &super::super::Member)| {
        member.is_live() && member.replaces == Some(first)
    };
    assert!(bench.pool.members().any(replaces));
    let changed = [("processes", "3"), ("reload-surge", "1"), ("env", "A=1")];
    bench.event(Event::Define(definition(&changed)));
    assert!(bench.pool.next_generation().is_some() && !bench.pool.members().any(replaces));
    let recycle = bench.pool.members[&first].recycle;
    assert!(recycle.is_some_and(|recycle| recycle.at.is_some()));
}
