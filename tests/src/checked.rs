//! A server that serves many cases, with what must hold after every one of them:
//! no process of httpd died, the supervisor is the same, and the error log has
//! no line of level error or worse that the case did not name. At the end no
//! descriptor is left, and no request in any worker or queue.
//!
//! Failures are collected, so that one bad case does not hide the others.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use wsgid_protocol::status::GroupStatus;

use crate::case::show;
use crate::control;
use crate::httpd::Httpd;
use crate::process::Pid;
use crate::wait::until;

/// What a case may leave in the error log at level error or worse.
#[derive(Clone, Copy, Debug)]
pub enum Log<'a> {
    /// Nothing.
    Quiet,
    /// Each of these texts, and beside them anything.
    Has(&'a [&'a str]),
    /// Anything: the case looks itself, or its log is not the point.
    Any,
}

/// A server and what its cases have brought so far.
#[derive(Debug)]
pub struct Checked {
    httpd: Httpd,
    supervisor: Option<Pid>,
    descriptors: BTreeMap<Pid, Counted>,
    passed: usize,
    failures: Vec<String>,
}

/// Sockets that a child may have more than at the start: ThreadsPerChild of the
/// harness's servers is httpd's default of 25, and some clients are just leaving.
const POOLED: usize = 32;

/// Open descriptors of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    sockets: usize,
    others: usize,
}

impl Checked {
    /// Begins; the server should have been warmed up.
    #[must_use]
    pub fn new(httpd: Httpd) -> Self {
        let supervisor = httpd.supervisor();
        // A child that is only just starting has fewer than it will have: no request is needed for that.
        until(Duration::from_secs(5), || {
            let threads: BTreeSet<usize> = children(&httpd).into_iter().map(Pid::threads).collect();
            (threads.len() <= 1).then_some(())
        });
        let descriptors = count_all(&httpd);
        Self {
            httpd,
            supervisor,
            descriptors,
            passed: 0,
            failures: Vec::new(),
        }
    }

    /// The server.
    #[must_use]
    pub const fn httpd(&self) -> &Httpd {
        &self.httpd
    }

    /// Runs one case and looks whether all that must hold still does.
    pub fn case(&mut self, name: &str, log: Log<'_>, body: impl FnOnce(&Httpd)) {
        let before = self.httpd.error_log().len();
        let result = panic::catch_unwind(AssertUnwindSafe(|| body(&self.httpd)));
        let mut complaints = Vec::new();
        if let Err(cause) = result {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            complaints.push(text.unwrap_or_else(|| "it panicked".to_owned()));
        }
        complaints.extend(self.look_at_log(before, log));
        if self.httpd.supervisor() != self.supervisor {
            complaints.push(format!(
                "the supervisor changed from {:?} to {:?}",
                self.supervisor,
                self.httpd.supervisor()
            ));
            self.supervisor = self.httpd.supervisor();
        }
        if complaints.is_empty() {
            self.passed += 1;
        } else {
            let said: Vec<String> = self
                .log_from(before)
                .lines()
                .take(40)
                .map(|line| format!("    log: {line}\n"))
                .collect();
            let failure = format!("{name}\n  {}\n{}", complaints.join("\n  "), said.concat());
            show(&format!("FAILED {failure}"));
            self.failures.push(name.to_owned());
        }
    }

    /// Looks for leaked descriptors, stops the server and reports.
    ///
    /// # Panics
    /// If a case failed, a descriptor leaked or the server did not stop well.
    pub fn finish(mut self) {
        self.look_at_descriptors();
        self.look_at_groups();
        let Self {
            httpd,
            passed,
            failures,
            ..
        } = self;
        if failures.is_empty() {
            httpd.stop();
        }
        assert!(
            failures.is_empty(),
            "{} of {} cases failed:\n{}",
            failures.len(),
            failures.len() + passed,
            failures.join("\n")
        );
    }

    fn log_from(&self, at: usize) -> String {
        let log = self.httpd.error_log();
        log.get(at..).unwrap_or_default().to_owned()
    }

    fn look_at_log(&self, before: usize, expected: Log<'_>) -> Vec<String> {
        let mut complaints = Vec::new();
        if let Log::Has(texts) = expected {
            // The line may come after the answer.
            until(Duration::from_secs(5), || {
                let log = self.log_from(before);
                texts.iter().all(|text| log.contains(text)).then_some(())
            });
            let log = self.log_from(before);
            complaints.extend(
                texts
                    .iter()
                    .filter(|text| !log.contains(*text))
                    .map(|text| format!("`{text}` is not in the error log")),
            );
        }
        if !matches!(expected, Log::Quiet) {
            self.wait_for_silence();
        }
        let log = self.log_from(before);
        for line in log.lines() {
            let crashed = ["exit signal", "panicked", "AH00052"]
                .iter()
                .any(|sign| line.contains(sign));
            if crashed || (matches!(expected, Log::Quiet) && is_error(line)) {
                complaints.push(format!("unexpected in the error log: {line}"));
            }
        }
        complaints
    }

    /// Lets a traceback that is still being written belong to its own case.
    fn wait_for_silence(&self) {
        let mut seen = (self.httpd.error_log().len(), Instant::now());
        until(Duration::from_secs(2), || {
            let len = self.httpd.error_log().len();
            if len != seen.0 {
                seen = (len, Instant::now());
            }
            (seen.1.elapsed() > Duration::from_millis(60)).then_some(())
        });
    }

    /// Every request has left its worker and the queues.
    fn look_at_groups(&mut self) {
        // A module that is compared with ours has none.
        if self.supervisor.is_none() {
            return;
        }
        if until(Duration::from_secs(15), || {
            busy(&self.httpd).is_none().then_some(())
        })
        .is_none()
        {
            show(&format!("requests are left: {:?}", busy(&self.httpd)));
            self.failures
                .push("a request was left in a worker or a queue".to_owned());
        }
    }

    fn look_at_descriptors(&mut self) {
        // Connections to clients come and go, and a child keeps up to one idle
        // connection to a worker for each of its threads; a file, pipe or memfd
        // that a request left behind stays.
        let settled = until(Duration::from_secs(10), || {
            let now = count_all(&self.httpd);
            let most = self
                .descriptors
                .values()
                .map(|before| before.others)
                .max()
                .unwrap_or_default();
            let leaked = self.descriptors.iter().any(|(pid, before)| {
                now.get(pid)
                    .is_some_and(|now| now.others > most || now.sockets > before.sockets + POOLED)
            });
            (!leaked).then_some(())
        });
        if settled.is_none() {
            show(&format!(
                "descriptors before {:?} and after {:?}",
                self.descriptors,
                count_all(&self.httpd)
            ));
            self.failures.push("descriptors were leaked".to_owned());
        }
    }
}

/// What the supervisor says of requests that run or wait in any group. The group
/// `hostile` may claim what it likes.
fn busy(httpd: &Httpd) -> Option<String> {
    let Some(status) = control::status(httpd) else {
        return Some("there is no status".to_owned());
    };
    let groups = status.groups.iter().filter(|group| group.name != "hostile");
    let requests = |group: &GroupStatus| {
        let running: u64 = group.workers().map(|worker| worker.in_flight).sum();
        let waiting: u64 = group.pools.iter().map(|pool| pool.waiting).sum();
        running + waiting
    };
    let left: u64 = groups.map(requests).sum();
    (left > 0).then(|| format!("{status:?}"))
}

/// Whether a line of the log has level error or worse.
#[must_use]
pub fn is_error(line: &str) -> bool {
    [":error]", ":crit]", ":alert]", ":emerg]"]
        .iter()
        .any(|level| line.contains(level))
}

/// Of httpd's own processes: the supervisor has more with every worker.
fn count_all(httpd: &Httpd) -> BTreeMap<Pid, Counted> {
    children(httpd)
        .into_iter()
        .map(|pid| (pid, count(pid)))
        .collect()
}

fn children(httpd: &Httpd) -> Vec<Pid> {
    let supervisor = httpd.supervisor();
    let mut children = httpd.pid().children();
    children.retain(|pid| Some(*pid) != supervisor && pid.alive());
    children
}

fn count(pid: Pid) -> Counted {
    let all = pid.descriptors();
    let sockets = all
        .values()
        .filter(|what| what.starts_with("socket:"))
        .count();
    Counted {
        sockets,
        others: all.len() - sockets,
    }
}
