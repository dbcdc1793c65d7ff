//! What becomes of preloaders, case by case, with a clock of our own.

use super::*;
use crate::pool::tests_definition as definition;

const KEY: GenerationKey = (1, 1);

fn worker(number: u64) -> WorkerId {
    WorkerId(1 << 32 | number)
}

/// The actions in short.
fn short(actions: Actions) -> Vec<String> {
    let short = |action| match action {
        PreloaderAction::Start { preloader, .. } => format!("start {}", preloader.0),
        PreloaderAction::Fork { preloader, worker } => {
            format!("fork {} from {}", worker.0 & 0xFF, preloader.0)
        }
        PreloaderAction::Plain(worker) => format!("plain {}", worker.0 & 0xFF),
        PreloaderAction::End(preloader) => format!("end {}", preloader.0),
        PreloaderAction::Overdue(preloader) => format!("overdue {}", preloader.0),
    };
    actions.into_iter().map(short).collect()
}

#[test]
fn workers_wait_for_the_preloader_and_are_forked() {
    let mut preloaders = Preloaders::default();
    let now = Instant::now();
    let definition = definition(&[]);
    assert_eq!(
        short(preloaders.want(KEY, worker(1), &definition, now)),
        ["start 1"]
    );
    assert!(preloaders.want(KEY, worker(2), &definition, now).is_empty());
    assert_eq!(
        short(preloaders.ready(WorkerId(1), false, now)),
        ["fork 1 from 1", "fork 2 from 1"]
    );
    preloaders.forked(worker(1));
    assert_eq!(
        short(preloaders.want(KEY, worker(3), &definition, now)),
        ["fork 3 from 1"]
    );
}

#[test]
fn one_that_cannot_fork_is_not_tried_again() {
    let mut preloaders = Preloaders::default();
    let now = Instant::now();
    let definition = definition(&[]);
    preloaders.want(KEY, worker(1), &definition, now);
    assert_eq!(short(preloaders.cannot(WorkerId(1))), ["end 1", "plain 1"]);
    preloaders.exited(WorkerId(1), now);
    let later = now + Duration::from_secs(3600);
    assert_eq!(
        short(preloaders.want(KEY, worker(2), &definition, later)),
        ["plain 2"]
    );
    assert!(preloaders.tick(later).is_empty() && preloaders.deadline().is_none());
    assert_eq!(
        short(preloaders.want((1, 2), worker(3), &definition, later)),
        ["start 2"],
        "the next generation may"
    );
}

#[test]
fn a_death_is_made_up_for_in_the_background() {
    let mut preloaders = Preloaders::default();
    let now = Instant::now();
    let definition = definition(&[]);
    preloaders.want(KEY, worker(1), &definition, now);
    preloaders.ready(WorkerId(1), false, now);
    preloaders.forked(worker(1));
    let later = now + PROVED_AFTER;
    assert_eq!(
        short(preloaders.exited(WorkerId(1), later)),
        ["start 2"],
        "at once after a long life"
    );
    preloaders.ready(WorkerId(2), false, later);
    assert!(preloaders.exited(WorkerId(2), later).is_empty());
    assert_eq!(preloaders.deadline(), Some(later + FIRST_PAUSE));
    assert_eq!(
        short(preloaders.want(KEY, worker(2), &definition, later)),
        ["plain 2"],
        "nobody waits for the pause"
    );
    assert_eq!(short(preloaders.tick(later + FIRST_PAUSE)), ["start 3"]);
}

#[test]
fn a_hanging_start_is_given_up() {
    let mut preloaders = Preloaders::default();
    let now = Instant::now();
    preloaders.want(
        KEY,
        worker(1),
        &definition(&[("startup-timeout", "5")]),
        now,
    );
    assert_eq!(preloaders.deadline(), Some(now + Duration::from_secs(5)));
    assert_eq!(
        short(preloaders.tick(now + Duration::from_secs(5))),
        ["overdue 1", "plain 1"]
    );
    assert!(
        preloaders.deadline().is_none(),
        "it was never ready: only another worker is a reason to try again"
    );
}

#[test]
fn one_that_does_not_fork_in_time_is_ended() {
    let mut preloaders = Preloaders::default();
    let now = Instant::now();
    let definition = definition(&[]);
    preloaders.want(KEY, worker(1), &definition, now);
    preloaders.want(KEY, worker(2), &definition, now);
    preloaders.ready(WorkerId(1), false, now);
    assert_eq!(
        short(preloaders.not_forked(worker(1), now)),
        ["end 1", "plain 1", "plain 2"]
    );
    assert!(preloaders.not_forked(worker(2), now).is_empty());
}

#[test]
fn a_script_that_failed_is_tried_again_by_the_next_preloader() {
    let mut preloaders = Preloaders::default();
    let now = Instant::now();
    let definition = definition(&[]);
    preloaders.want(KEY, worker(1), &definition, now);
    preloaders.ready(WorkerId(1), true, now);
    assert_eq!(
        short(preloaders.want(KEY, worker(2), &definition, now)),
        ["fork 2 from 1"]
    );
    preloaders.forked(worker(1));
    preloaders.forked(worker(2));
    preloaders.load_failed(KEY);
    assert_eq!(
        short(preloaders.want(KEY, worker(3), &definition, now)),
        ["end 1", "start 2"]
    );
    assert!(preloaders.exited(WorkerId(1), now).is_empty());
    assert_eq!(
        short(preloaders.ready(WorkerId(2), false, now)),
        ["fork 3 from 2"]
    );
    preloaders.load_failed(KEY);
    assert_eq!(
        short(preloaders.want(KEY, worker(4), &definition, now)),
        ["fork 4 from 2"],
        "nothing failed in this one"
    );
}

#[test]
fn generations_without_workers_lose_their_preloader() {
    let mut preloaders = Preloaders::default();
    let now = Instant::now();
    let definition = definition(&[]);
    preloaders.want((1, 1), worker(1), &definition, now);
    preloaders.want((1, 2), worker(2), &definition, now);
    preloaders.want((2, 1), worker(3), &definition, now);
    assert_eq!(short(preloaders.keep(1, &[2])), ["end 1", "plain 1"]);
    preloaders.cancel(worker(2));
    assert_eq!(short(preloaders.keep(1, &[])), ["end 2"]);
    assert!(!preloaders.knows(1) && preloaders.knows(2));
}
