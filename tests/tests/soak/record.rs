//! What the clients and the chaos report, and the judgement of it: which
//! failures are explained by a process that was killed, and which are not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far from a trouble the chaos is shown with it.
const AROUND: Duration = Duration::from_secs(4);
/// How much later than it happened a kill may be noted.
const NOTED: Duration = Duration::from_millis(50);
/// How long after its process was killed a request may fail.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// How one request ended.
pub(crate) struct Outcome {
    pub(crate) id: String,
    pub(crate) what: &'static str,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) result: Result,
}

/// What the client saw.
pub(crate) enum Result {
    /// A complete 200 with the right body.
    Good,
    /// The connection, used before, was closed without an answer: any client
    /// asks again, if nothing has begun.
    Closed,
    /// A failure that a killed process explains, in words.
    Failed(String),
    /// What nothing explains.
    Wrong(String),
}

/// Shared by all threads.
pub(crate) struct Record {
    started: Instant,
    stop: AtomicBool,
    ids: AtomicU64,
    good: AtomicU64,
    bad: Mutex<Vec<Outcome>>,
    chaos: Mutex<Vec<(Instant, String)>>,
    killed: Mutex<BTreeMap<i32, Vec<Instant>>>,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            stop: AtomicBool::new(false),
            ids: AtomicU64::new(1),
            good: AtomicU64::new(0),
            bad: Mutex::default(),
            chaos: Mutex::default(),
            killed: Mutex::default(),
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn runs(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// A name that no other request has.
    pub(crate) fn id(&self) -> String {
        format!("r{}", self.ids.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn outcome(&self, outcome: Outcome) {
        match outcome.result {
            Result::Good => drop(self.good.fetch_add(1, Ordering::Relaxed)),
            _ => self
                .bad
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(outcome),
        }
    }

    /// What the chaos does now.
    pub(crate) fn disturbed(&self, what: String) {
        self.chaos
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((Instant::now(), what));
    }

    pub(crate) fn killed(&self, pid: i32) {
        let mut killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        killed.entry(pid).or_default().push(Instant::now());
    }

    /// The chaos in words.
    pub(crate) fn chaos(&self) -> Vec<String> {
        let chaos = self.chaos.lock().unwrap_or_else(PoisonError::into_inner);
        chaos
            .iter()
            .map(|(at, what)| format!("{} {what}", self.clock(*at)))
            .collect()
    }

    fn clock(&self, at: Instant) -> String {
        format!("{:8.3}", at.duration_since(self.started).as_secs_f64())
    }

    /// Compares what clients saw with what workers wrote and httpd logged.
    pub(crate) fn judge(&self, journal: &str, access_log: &str) -> Verdict {
        let begun = begun(journal);
        let noted: BTreeMap<&str, &str> = access_log
            .lines()
            .filter_map(|line| Some((id_of(line)?, line)))
            .collect();
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let mut verdict = Verdict {
            good: self.good.load(Ordering::Relaxed),
            disturbances: self
                .chaos
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len(),
            ..Verdict::default()
        };
        for (id, pids) in begun.iter().filter(|(_, pids)| pids.len() > 1) {
            verdict
                .troubles
                .push(format!("{id} was begun {} times: by {pids:?}", pids.len()));
        }
        for outcome in bad.iter() {
            let by = begun
                .get(outcome.id.as_str())
                .map_or(&[][..], Vec::as_slice);
            let line = noted.get(outcome.id.as_str()).copied();
            match self.unexplained(outcome, by, line) {
                None => match outcome.result {
                    Result::Closed => verdict.closed += 1,
                    _ => verdict.lost += 1,
                },
                Some(why) => verdict
                    .troubles
                    .push(self.describe(outcome, &why, by, line)),
            }
        }
        let lost: BTreeSet<&str> = bad.iter().map(|outcome| outcome.id.as_str()).collect();
        verdict.begun_of_lost = begun.keys().filter(|id| lost.contains(*id)).count();
        verdict.killed = self
            .killed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .map(Vec::len)
            .sum();
        verdict
    }

    /// Why nothing explains this, if nothing does.
    fn unexplained(&self, outcome: &Outcome, by: &[i32], line: Option<&str>) -> Option<String> {
        let failure = match &outcome.result {
            Result::Good => return None,
            Result::Closed if by.is_empty() => return None,
            Result::Closed => {
                return Some("closed without an answer, and had been begun".to_owned());
            }
            Result::Wrong(what) => return Some(what.clone()),
            Result::Failed(what) => what,
        };
        let killed = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
        // The client may see it a little before the chaos has noted what it did.
        let during =
            |at: &Instant| *at + AFTER_KILL >= outcome.begun && *at <= outcome.ended + NOTED;
        let within = |times: &Vec<Instant>| times.iter().any(during);
        let explained = match by {
            [pid] => killed.get(pid).is_some_and(within),
            // Taken by a worker that was killed before the application wrote it
            // down: its supervisor has said so, unless that was killed with it.
            [] => line.is_some_and(|line| {
                let sudden = |times: &Vec<Instant>| {
                    times.iter().any(|at| during(at) && *at >= outcome.begun)
                };
                (line.contains("failure=worker-signalled") && killed.values().any(within))
                    || (line.contains("failure=worker-lost") && killed.values().any(sudden))
            }),
            _ => false,
        };
        (!explained).then(|| failure.clone())
    }

    fn describe(&self, outcome: &Outcome, why: &str, by: &[i32], line: Option<&str>) -> String {
        let mut text = format!(
            "{} {} {}: {why}; begun by {by:?}",
            self.clock(outcome.begun),
            outcome.id,
            outcome.what
        );
        let _ = write!(text, "\n    access log: {}", line.unwrap_or("nothing"));
        for (at, what) in self
            .chaos
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            if *at + AROUND >= outcome.begun && *at <= outcome.begun + AROUND {
                let _ = write!(text, "\n    chaos: {} {what}", self.clock(*at));
            }
        }
        text
    }
}

/// Which processes began which request.
fn begun(journal: &str) -> BTreeMap<&str, Vec<i32>> {
    let mut begun: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for line in journal.lines() {
        let mut words = line.split(' ');
        if let (Some("begun"), Some(id), Some(Ok(pid))) =
            (words.next(), words.next(), words.next().map(str::parse))
        {
            begun.entry(id).or_default().push(pid);
        }
    }
    begun
}

fn id_of(line: &str) -> Option<&str> {
    line.split_once("?id=")?.1.split([' ', '&']).next()
}

/// What came of it all.
#[derive(Default)]
pub(crate) struct Verdict {
    pub(crate) troubles: Vec<String>,
    good: u64,
    lost: u64,
    closed: u64,
    begun_of_lost: usize,
    killed: usize,
    disturbances: usize,
}

impl Verdict {
    /// The first of them; all would fill the screen.
    pub(crate) fn first(&self) -> String {
        self.troubles
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} requests were answered in full; {} disturbances killed {} workers and cost {} requests in flight on them \
             ({} of these the application had begun); {} idle connections were closed; {} troubles",
            self.good,
            self.disturbances,
            self.killed,
            self.lost,
            self.begun_of_lost,
            self.closed,
            self.troubles.len()
        )
    }
}
