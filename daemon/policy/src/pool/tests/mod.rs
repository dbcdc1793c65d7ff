//! The transitions of a pool, one by one, with a clock of our own.

mod definitions;
mod failures;
mod rolling;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wsgid_protocol::control::{RecycleReason, ServerFacts};
use wsgid_protocol::{Failure, GroupConfig};

use super::{Action, Event, Mode, WorkerPool};
use crate::definition::Definition;
use crate::ids::WorkerId;

pub(crate) fn definition(options: &[(&str, &str)]) -> Arc<Definition> {
    let mut config = GroupConfig::new("site", "test");
    for (name, value) in options {
        config.set(name, value).unwrap();
    }
    Arc::new(Definition {
        config,
        identity: Err(crate::definition::IdentityError::Nobody),
        server: ServerFacts::default(),
        httpd_uid: 1,
    })
}

/// A pool with a clock, and what it asked for.
pub(super) struct Bench {
    pub(super) pool: WorkerPool,
    pub(super) now: Instant,
    pub(super) actions: Vec<Action>,
}

impl Bench {
    pub(super) fn new(options: &[(&str, &str)], eager: bool) -> Self {
        let pool = WorkerPool::new(1, definition(options), eager);
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
fn shutdown_is_bounded() {
    let mut bench = Bench::new(&[("shutdown-timeout", "2")], true);
    let ids = bench.ready();
    bench.event(Event::Shutdown);
    bench.pass(Duration::from_millis(3100));
    assert!(matches!(bench.actions.last(), Some(Action::Kill(id)) if *id == ids[0]));
    bench.crash(ids[0]);
    assert!(matches!(bench.actions.last(), Some(Action::Gone)));
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
