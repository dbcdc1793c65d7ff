//! One disturbance after the other, in an order that a seed decides.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_protocol::status::PoolStatus;
use wsgid_tests::wait::let_run;
use wsgid_tests::{Httpd, Pid, Site, control, until};

use crate::SCRIPT;
use crate::record::Record;

/// How long a disturbance may need until it has happened.
const SOON: Duration = Duration::from_secs(20);

type Disturbance = (&'static str, fn(&mut Chaos, &mut Httpd, &Site));

/// All of them.
const DISTURBANCES: &[Disturbance] = &[
    ("httpd restarts gracefully", |_, httpd, _| httpd.graceful()),
    ("the script is touched", |chaos, _, site| {
        chaos.deploy(site, SCRIPT)
    }),
    (
        "a script that does not load is deployed, and taken back",
        Chaos::broken_deploy,
    ),
    ("a worker is killed", |chaos, httpd, _| {
        chaos.kill_workers(httpd, 1)
    }),
    ("all workers are killed", |chaos, httpd, _| {
        chaos.kill_workers(httpd, usize::MAX)
    }),
    ("a worker gets SIGUSR1", Chaos::evict),
    ("a worker stands still for a while", Chaos::stand_still),
    ("the supervisor is killed", |_, httpd, _| {
        kill_supervisor(httpd)
    }),
    (
        "the supervisor is killed, and a worker of it",
        Chaos::kill_both,
    ),
    (
        "the supervisor is killed and httpd restarted",
        |_, httpd, _| {
            kill_supervisor(httpd);
            httpd.graceful();
        },
    ),
    ("an option changes", Chaos::change),
    ("a group is added or removed", Chaos::add_or_remove),
    (
        "a group that cannot work is added or removed",
        Chaos::broken_group,
    ),
    ("the group is restarted by command", |chaos, httpd, _| {
        chaos.command(httpd, &["restart", "site", "--no-wait"])
    }),
    ("the program is executed again", |chaos, httpd, _| {
        chaos.command(httpd, &["reexec"])
    }),
    (
        "the program is executed again while httpd restarts",
        |chaos, httpd, _| {
            httpd.pid().signal(Signal::SIGUSR1);
            chaos.command(httpd, &["reexec"]);
        },
    ),
];

/// The source of disturbances.
pub(crate) struct Chaos {
    state: u64,
    rounds: u64,
    record: Arc<Record>,
}

impl Chaos {
    pub(crate) fn new(seed: u64, record: &Arc<Record>) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            rounds: 0,
            record: Arc::clone(record),
        }
    }

    /// Disturbs until the time is over, and says what it did. Every kind comes
    /// before one comes again.
    pub(crate) fn run(mut self, httpd: &mut Httpd, site: &Site, end: Instant) -> Vec<String> {
        // To look closely at one kind.
        let only = env::var("WSGID_SOAK_ONLY").unwrap_or_default();
        let mut left: Vec<&Disturbance> = Vec::new();
        while Instant::now() < end {
            if left.is_empty() {
                left = DISTURBANCES
                    .iter()
                    .filter(|(name, _)| name.contains(&only))
                    .collect();
                assert!(!left.is_empty(), "no disturbance has `{only}` in its name");
            }
            let (name, disturb) = *left.swap_remove(self.below(left.len()));
            self.rounds += 1;
            self.record.disturbed(name.to_owned());
            disturb(&mut self, httpd, site);
            // Sometimes the next one comes at once: they meet.
            let pause = [0, 30, 300, 1000, 2500][self.below(5)];
            let_run(Duration::from_millis(pause));
        }
        self.record.chaos()
    }

    /// Those that a run of this length must have had: each kind comes before
    /// one comes again.
    pub(crate) fn missing(done: &[String], time: Duration) -> Vec<&'static str> {
        let whole = time >= Duration::from_secs(60) && env::var("WSGID_SOAK_ONLY").is_err();
        let names = DISTURBANCES.iter().map(|(name, _)| *name).filter(|_| whole);
        names
            .filter(|name| !done.iter().any(|line| line.ends_with(&format!(" {name}"))))
            .collect()
    }

    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % end as u64).unwrap_or_default()
    }

    fn note(&self, what: impl Into<String>) {
        self.record.disturbed(format!("  {}", what.into()));
    }

    /// As careful people deploy: the file is there in full or not at all.
    fn deploy(&self, site: &Site, text: &str) {
        let staged = site.write("staged", &format!("{text}\n# {}\n", self.rounds));
        fs::rename(staged, site.file("app.py")).expect("a site's file can be replaced");
    }

    /// Only workers that have it can serve the version before: all are there
    /// when it begins, and one goes while the other keeps serving.
    fn broken_deploy(&mut self, httpd: &mut Httpd, site: &Site) {
        const SIGN: &str = "works in the workers that serve";
        if until(SOON, || all_serve(httpd).then_some(())).is_none() {
            return self.note("left out: not all workers serve");
        }
        let before = httpd.error_log().matches(SIGN).count();
        self.deploy(site, "this is no Python");
        let seen = until(Duration::from_secs(5), || {
            (httpd.error_log().matches(SIGN).count() > before).then_some(())
        });
        if let Some(worker) =
            control::workers(httpd, "site").and_then(|workers| workers.first().copied())
        {
            self.kill(worker);
            let_run(Duration::from_millis(500));
        }
        self.deploy(site, SCRIPT);
        self.note(if seen.is_some() {
            "it was refused"
        } else {
            "nobody looked at it"
        });
    }

    fn kill(&self, worker: Pid) {
        self.record.killed(worker.number);
        self.note(format!("worker {} is killed", worker.number));
        worker.kill();
    }

    fn kill_workers(&mut self, httpd: &mut Httpd, most: usize) {
        let mut workers = httpd.workers();
        let first = self.below(workers.len().max(1));
        workers.rotate_left(first);
        workers
            .into_iter()
            .take(most)
            .for_each(|worker| self.kill(worker));
    }

    fn some_worker(&mut self, httpd: &Httpd) -> Option<Pid> {
        let workers = httpd.workers();
        workers.get(self.below(workers.len().max(1))).copied()
    }

    fn evict(&mut self, httpd: &mut Httpd, _: &Site) {
        if let Some(worker) = self.some_worker(httpd) {
            self.note(format!("worker {}", worker.number));
            worker.signal(Signal::SIGUSR1);
        }
    }

    fn stand_still(&mut self, httpd: &mut Httpd, _: &Site) {
        if let Some(worker) = self.some_worker(httpd) {
            self.note(format!("worker {}", worker.number));
            worker.signal(Signal::SIGSTOP);
            let_run(Duration::from_millis(700));
            worker.signal(Signal::SIGCONT);
        }
    }

    fn kill_both(&mut self, httpd: &mut Httpd, _: &Site) {
        let worker = self.some_worker(httpd);
        kill_supervisor(httpd);
        if let Some(worker) = worker {
            self.kill(worker);
        }
    }

    fn change(&mut self, httpd: &mut Httpd, _: &Site) {
        httpd.configure(|lines| {
            let line = lines
                .iter_mut()
                .find(|line| line.starts_with("WSGIDaemonProcess site "))
                .expect("a group");
            let (old, new) = if line.contains("threads=4") {
                ("threads=4", "threads=5")
            } else {
                ("threads=5", "threads=4")
            };
            *line = line.replace(old, new);
        });
        httpd.graceful();
    }

    fn add_or_remove(&mut self, httpd: &mut Httpd, site: &Site) {
        let options = format!("threads=1 {}", site.python_path());
        if toggle(httpd, "added", &options, &site.file("hello.py")) {
            httpd.graceful();
            let status = httpd.client().get("/added").map(|response| response.status);
            self.note(format!("its first answer: {status:?}"));
        } else {
            httpd.graceful();
        }
    }

    fn broken_group(&mut self, httpd: &mut Httpd, site: &Site) {
        let there = toggle(
            httpd,
            "broken",
            "threads=1 python-home=/nonexistent",
            &site.file("hello.py"),
        );
        httpd.graceful();
        if there {
            let status = httpd
                .client()
                .get("/broken")
                .map(|response| response.status);
            self.note(format!("its first answer: {status:?}"));
        }
    }

    /// A supervisor that was just killed has a successor soon.
    fn command(&mut self, httpd: &mut Httpd, args: &[&str]) {
        let mut last = None;
        let done = until(SOON, || {
            last = control::command(httpd, args);
            last.as_ref().filter(|said| said.code == 0).map(drop)
        });
        self.note(format!("{last:?}"));
        assert!(
            done.is_some(),
            "`wsgid {}` is not obeyed: {last:?}",
            args.join(" ")
        );
    }
}

/// Whether all groups that use the script have all their workers, and nothing
/// is on its way.
fn all_serve(httpd: &Httpd) -> bool {
    let Some(status) = control::status(httpd) else {
        return false;
    };
    ["site", "replaced", "forked"].iter().all(|group| {
        let pools = control::pools(&status, group);
        let whole =
            |pool: &PoolStatus| pool.next_generation.is_none() && control::ready(pool).len() >= 2;
        !pools.is_empty() && pools.iter().all(whole)
    })
}

/// httpd takes a supervisor that ends right after its start for broken, and
/// waits before it tries the next: this one has run for a while.
fn kill_supervisor(httpd: &Httpd) {
    // One that has just been killed may not have a successor yet.
    let old = |pid: &Pid| pid.alive() && pid.age() > Duration::from_millis(2500);
    if let Some(supervisor) = until(SOON, || httpd.supervisor().filter(old)) {
        supervisor.kill();
    }
}

/// Adds a group at a path, or removes it; says whether it is there now.
fn toggle(httpd: &mut Httpd, name: &str, options: &str, script: &Path) -> bool {
    let define = format!("WSGIDaemonProcess {name} {options}");
    let mount = format!(
        "WSGIScriptAlias /{name} {} process-group={name} application-group=%{{GLOBAL}}",
        script.display()
    );
    let mut there = false;
    httpd.configure(
        |lines| match lines.iter().position(|line| *line == define) {
            Some(_) => lines.retain(|line| *line != define && *line != mount),
            None => {
                there = true;
                lines.splice(0..0, [define, mount]);
            }
        },
    );
    there
}
