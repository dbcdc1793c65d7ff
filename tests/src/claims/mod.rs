//! What tests are said to show (`cases`, `options`), held against what they did: the
//! harness notes on what servers a test has run, and `case` compares at its end. The
//! suite `claims` looks whether every case and option has a test, and whether the
//! tests named exist (`listed`).

pub mod cases;
pub mod options;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use crate::claims::cases::{CASES, On};
use crate::claims::options::SEEN;
use crate::mpm::Mpm;

/// What a test has done so far.
#[derive(Clone, Debug, Default)]
struct Done {
    mpms: Vec<Mpm>,
    by_every_transport: Vec<Mpm>,
    configuration: String,
}

/// By the name of the test's thread, which `case` passes on.
static DONE: Mutex<BTreeMap<String, Done>> = Mutex::new(BTreeMap::new());

fn thread_name() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

fn note(change: impl FnOnce(&mut Done)) {
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    change(done.entry(thread_name()).or_default());
}

/// The running test has written this configuration for a server.
pub(crate) fn configured(mpm: Mpm, configuration: &str) {
    note(|done| {
        done.mpms.push(mpm);
        done.configuration += configuration;
    });
}

/// The running test goes through all transports of this MPM.
pub(crate) fn by_every_transport(mpm: Mpm) {
    note(|done| done.by_every_transport.push(mpm));
}

/// The name of a test as claims have it: its suite, and its function.
pub(crate) fn short(suite: &str, path: &str) -> String {
    format!("{suite}::{}", path.rsplit("::").next().unwrap_or(path))
}

/// Compares what this thread's test has done with what it is said to show. A test
/// that had to leave everything out has started no server, and is not held to it;
/// nor is one whose thread has no name (`--test-threads=1`).
///
/// # Panics
/// If it has done less.
pub(crate) fn check() {
    let done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(done) = done.get(&thread_name()).cloned() else {
        return;
    };
    let program = env::current_exe().unwrap_or_default();
    let suite = program.file_stem().and_then(|stem| stem.to_str());
    let suite = suite.and_then(|stem| Some(stem.rsplit_once('-')?.0));
    let test = short(suite.unwrap_or_default(), &thread_name());
    for case in CASES.iter().filter(|case| case.tests.contains(&&*test)) {
        let lacking = match case.on {
            On::All => Mpm::ALL.map(|mpm| !done.by_every_transport.contains(&mpm)),
            On::Mpms(_) => Mpm::ALL.map(|mpm| !done.mpms.contains(&mpm)),
            On::Once(_) | On::Elsewhere(_) => continue,
        };
        assert!(
            !lacking.contains(&true),
            "it does not show case {} on every MPM (by every transport)",
            case.number
        );
    }
    for (_, options) in SEEN.iter().filter(|(seen, _)| *seen == test) {
        for option in *options {
            assert!(
                sets(&done.configuration, option),
                "it does not set {option}="
            );
        }
    }
}

fn sets(configuration: &str, option: &str) -> bool {
    configuration.split_whitespace().any(|word| {
        let word = word.trim_start_matches(['"', '\'']);
        word.split_once('=').is_some_and(|(name, _)| name == option)
    })
}
