//! One test case: a time limit, its turn on the machine, and a report if it fails.
//!
//! A case runs in a thread of its own, so that one that hangs fails with the
//! logs of its servers instead of stopping the whole run.

use std::cell::RefCell;
use std::io::Write as _;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use crate::claims;
use crate::mpm::Mpm;

/// A server that a case has started. One that fails shows its logs when it is
/// dropped; this is for a case that hangs.
pub(crate) trait Server: Send + Sync {
    /// Its logs and processes.
    fn report(&self) -> String;
    /// Ends all its processes, so that the case's own thread gets an error.
    fn kill(&self);
}

type Servers = Arc<Mutex<Vec<Arc<dyn Server>>>>;

thread_local! {
    static SERVERS: RefCell<Option<Servers>> = const { RefCell::new(None) };
}

/// Cases that measure time have the machine (of this test program) for themselves.
static TURN: RwLock<()> = RwLock::new(());

/// How long a case may take.
#[derive(Clone, Copy, Debug)]
pub struct Limit(pub Duration);

impl Limit {
    /// So many seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::seconds(150)
    }
}

/// Runs a case beside others.
///
/// # Panics
/// As the case does, or if it takes longer than its limit.
pub fn case(limit: Limit, body: impl FnOnce() + Send + 'static) {
    beside_others(limit, body);
    claims::check();
}

/// Runs a case on every MPM at the same time.
///
/// # Panics
/// As the case does, or if it takes longer than its limit.
pub fn on_every_mpm(limit: Limit, body: impl Fn(Mpm) + Send + Sync + 'static) {
    at_once(limit, Mpm::ALL, body);
}

/// Runs a case for each of these at the same time, each in a thread with the name of this one.
///
/// # Panics
/// As the case does, or if it takes longer than its limit.
pub fn at_once<T: Send + 'static>(
    limit: Limit,
    each: impl IntoIterator<Item = T>,
    body: impl Fn(T) + Send + Sync + 'static,
) {
    let body = Arc::new(body);
    let name = thread::current().name().unwrap_or("case").to_owned();
    let mut running = Vec::new();
    for one in each {
        let body = Arc::clone(&body);
        let thread = thread::Builder::new().name(name.clone());
        let thread = thread.spawn(move || beside_others(limit, move || body(one)));
        running.push(thread.expect("a thread can be made"));
    }
    for outcome in running.into_iter().map(thread::JoinHandle::join) {
        if let Err(cause) = outcome {
            panic::resume_unwind(cause);
        }
    }
    claims::check();
}

/// Runs a case that loads the machine or measures time: no other case of this
/// program runs at the same time, and `tests/run-suites` runs no other suite.
///
/// # Panics
/// As the case does, or if it takes longer than its limit.
pub fn heavy_case(limit: Limit, body: impl FnOnce() + Send + 'static) {
    alone(limit, body);
    claims::check();
}

/// Runs such a case on one MPM after the other.
///
/// # Panics
/// As the case does, or if it takes longer than its limit on one of them.
pub fn heavy_on_every_mpm(limit: Limit, body: impl Fn(Mpm) + Send + Sync + 'static) {
    let body = Arc::new(body);
    for mpm in Mpm::ALL {
        let body = Arc::clone(&body);
        alone(limit, move || body(mpm));
    }
    claims::check();
}

fn beside_others(limit: Limit, body: impl FnOnce() + Send + 'static) {
    let _turn = TURN.read().unwrap_or_else(PoisonError::into_inner);
    run(limit, body);
}

fn alone(limit: Limit, body: impl FnOnce() + Send + 'static) {
    let _turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    run(limit, body);
}

fn run(Limit(limit): Limit, body: impl FnOnce() + Send + 'static) {
    let servers = Servers::default();
    let theirs = Arc::clone(&servers);
    let (finished, outcome) = mpsc::channel();
    let name = thread::current().name().unwrap_or("case").to_owned();
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || {
            SERVERS.set(Some(theirs));
            let result = panic::catch_unwind(AssertUnwindSafe(body));
            let _ = finished.send(());
            result
        })
        .expect("a thread can be made");
    match outcome.recv_timeout(limit) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            if let Ok(Err(cause)) | Err(cause) = thread.join() {
                panic::resume_unwind(cause);
            }
        }
        Err(RecvTimeoutError::Timeout) => {
            for server in servers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
            {
                show(&server.report());
                server.kill();
            }
            panic!("the case took longer than its limit of {limit:?}");
        }
    }
}

/// Makes a server known to the running case.
pub(crate) fn started(server: Arc<dyn Server>) {
    SERVERS.with_borrow(|servers| {
        if let Some(servers) = servers {
            servers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(server);
        }
    });
}

/// Prints what the test runner keeps and shows if the case fails.
#[expect(
    clippy::print_stderr,
    reason = "only the print macros are captured by the test runner"
)]
pub(crate) fn show(text: &str) {
    eprintln!("{text}");
}

/// Tells the person at the terminal something that is no failure, for instance
/// what was left out and why. The test runner does not swallow it.
pub fn note(text: &str) {
    let name = thread::current().name().unwrap_or("case").to_owned();
    let _ = writeln!(std::io::stderr(), "note: {name}: {text}");
}
