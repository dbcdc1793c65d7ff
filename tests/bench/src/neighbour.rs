//! A site beside one that does everything wrong: its latency in pairs of turns,
//! alone and during a deed, for our module and for mod_wsgi. Called by `main`
//! for `--neighbour`; uses the harness of the tests, not the peers.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wsgid_tests::client::ClientError;
use wsgid_tests::load::pester;
use wsgid_tests::{Client, Httpd, Site, control, peer, users};

use crate::environment::progress;
use crate::options::Options;

/// What the bad site does: a name, its path, and how many ask for it at the same
/// time. Nothing, too: what that row shows is how far two equal turns differ here.
/// Of twenty that ask for what hangs all wait; of sixty most are refused, at once and
/// again and again. Two rows more are for comparison: a site that only answers, asked as
/// often as one that crashes, and what httpd refuses by itself, asked for as often as
/// what is refused.
const DEEDS: &[(&str, &str, usize)] = &[
    ("nothing", "", 0),
    ("answer", "/bad/answer", 2),
    ("missing", "/missing", 60),
    ("hang", "/bad/hang", 20),
    ("refuse", "/bad/hang", 60),
    ("crash", "/bad/crash", 2),
    ("flood", "/bad/flood", 2),
    ("memory", "/bad/memory", 2),
    ("fork", "/bad/fork", 1),
    ("spin", "/bad/spin", 2),
];
/// One look at the good site.
const TURN: Duration = Duration::from_secs(2);
/// A deed goes on for so long before the look: what is measured is how one lives
/// with it, not the moment in which it begins.
const BEFORE: Duration = Duration::from_secs(1);
/// Requests to the good site begin so often, whatever the last one took.
const EVERY: Duration = Duration::from_millis(5);
/// After this a request is lost.
const PATIENCE: Duration = Duration::from_secs(8);

/// A server, and how the bad site is bounded in it.
struct Subject {
    title: &'static str,
    bounds: &'static str,
    module: Option<PathBuf>,
}

/// What requests took, in milliseconds, in one turn or in several together.
#[derive(Default)]
struct Turn {
    took: Vec<f64>,
    lost: usize,
}

impl Turn {
    fn add(&mut self, other: Turn) {
        self.took.extend(other.took);
        self.took.sort_unstable_by(f64::total_cmp);
        self.lost += other.lost;
    }

    fn at(&self, share: f64) -> f64 {
        self.took
            .get((self.took.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    }
}

/// What was seen with one deed: the quiet turns right before it, those beside
/// it, and the p99 of each pair.
#[derive(Default)]
struct Seen {
    quiet: Turn,
    beside: Turn,
    pairs: Vec<(f64, f64)>,
}

type Table<'a> = BTreeMap<&'a str, Seen>;

/// Prints a table for each server.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut subjects = vec![
        Subject {
            title: "limits",
            bounds: "process-limit=60 memory-limit=400M",
            module: None,
        },
        Subject {
            title: "memory-max",
            bounds: "tasks-max=60 memory-max=500M memory-limit=400M",
            module: None,
        },
    ];
    if let Some((_, module)) = peer::peer() {
        let bounds = "memory-limit=419430400";
        subjects.push(Subject {
            title: "mod_wsgi",
            bounds,
            module: Some(module),
        });
    }
    let named = |title: &str| options.workloads.iter().any(|one| one == title);
    let all = !subjects.iter().any(|subject| named(subject.title));
    let chosen = |subject: &&Subject| all || named(subject.title);
    for subject in subjects.iter().filter(chosen) {
        write(subject.title, &measure(subject, options)?)?;
    }
    Ok(())
}

fn measure(subject: &Subject, options: &Options) -> Result<Table<'static>> {
    let users = users::three().context("it needs root, to run two sites as two users")?;
    let sites = [Site::of(&users[0]), Site::of(&users[1])];
    // mod_wsgi insists on a directory, and these users have no home.
    let identity = |at: usize| format!("user={} group={} home=/", users[at].name, users[at].group);
    let bad = format!(
        "processes=2 threads=3 {} request-timeout=3 graceful-timeout=1 shutdown-timeout=1 listen-backlog=20 \
         connect-timeout=1 {}",
        subject.bounds,
        identity(0)
    );
    let mut builder = Httpd::builder()
        .daemon("bad", &bad)
        .daemon(
            "good",
            &format!(
                "processes=1 threads=3 {} {}",
                identity(1),
                sites[1].python_path()
            ),
        )
        .mount("/bad", &sites[0].file("bad_neighbour.py"), "bad")
        .mount("/good", &sites[1].file("hello.py"), "good");
    if let Some(module) = &subject.module {
        builder = builder.peer(module.clone());
    }
    let httpd = builder.start();
    anyhow::ensure!(
        httpd.get("/good").status == 200,
        "the good site does not answer"
    );
    let mut table = Table::new();
    let names = |deed: &str| options.workloads.iter().any(|one| one == deed);
    let all = !DEEDS.iter().any(|(deed, ..)| names(deed));
    for round in 0..options.rounds() {
        for (deed, path, count) in DEEDS.iter().filter(|(deed, ..)| all || names(deed)) {
            let quiet = turn(&httpd);
            let end = Instant::now() + BEFORE + TURN;
            let evil: Vec<_> = (0..*count)
                .map(|_| pester(httpd.address(), (*path).to_owned(), end))
                .collect();
            wsgid_tests::wait::let_run(BEFORE);
            let beside = turn(&httpd);
            evil.into_iter().for_each(|one| drop(one.join()));
            let pair = (quiet.at(0.99), beside.at(0.99));
            progress(&format!(
                "{}, round {round}, {deed}: p99 {:.2} and {:.2} ms",
                subject.title, pair.0, pair.1
            ));
            let seen = table.entry(deed).or_default();
            seen.pairs.push(pair);
            seen.quiet.add(quiet);
            seen.beside.add(beside);
            // Let it come to rest before the next turn.
            wsgid_tests::wait::let_run(Duration::from_secs(4));
        }
    }
    httpd.stop();
    Ok(table)
}

/// All turns of a deed together, so that one hiccup of the machine does not decide,
/// and the median of the pairs.
fn write(title: &str, table: &Table<'_>) -> Result<()> {
    writeln!(stdout(), "\n{title}:\n")?;
    writeln!(
        stdout(),
        "| the neighbour does | median ms, quiet | beside | p99 ms, quiet | beside | p99 of pairs, median | lost |"
    )?;
    writeln!(stdout(), "|---|---|---|---|---|---|---|")?;
    for (deed, ..) in DEEDS {
        let Some(Seen {
            quiet,
            beside,
            pairs,
        }) = table.get(deed)
        else {
            continue;
        };
        let mut ratios: Vec<f64> = pairs.iter().map(|(quiet, beside)| beside / quiet).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
        writeln!(
            stdout(),
            "| {deed} | {:.2} | {:.2} | {:.2} | {:.2} | {:+.0} % | {} |",
            quiet.at(0.5),
            beside.at(0.5),
            quiet.at(0.99),
            beside.at(0.99),
            (ratio - 1.0) * 100.0,
            quiet.lost + beside.lost
        )?;
    }
    Ok(())
}

/// Asks the good site at a steady rate on two connections.
fn turn(httpd: &Httpd) -> Turn {
    let mut took = Vec::new();
    let mut lost = 0;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| ask(httpd))).collect();
        for (some, failed) in threads.into_iter().filter_map(|thread| thread.join().ok()) {
            took.extend(some);
            lost += failed;
        }
    });
    took.sort_unstable_by(f64::total_cmp);
    Turn { took, lost }
}

/// A lost request is never expected: everything that tells why.
fn explain(httpd: &Httpd, what: &str) {
    let log = httpd.error_log();
    let lines: Vec<&str> = log
        .lines()
        .rev()
        .filter(|line| !line.contains("xxxxxxxx"))
        .take(30)
        .collect();
    let status = control::status(httpd).unwrap_or_default();
    progress(&format!("lost: {what}\n{status:#?}\n{}", lines.join("\n")));
}

fn ask(httpd: &Httpd) -> (Vec<f64>, usize) {
    let mut client = Client::new(httpd.address()).timeout(PATIENCE);
    let mut took = Vec::new();
    let mut lost = 0;
    let begun = Instant::now();
    let mut due = begun;
    while begun.elapsed() < TURN {
        wsgid_tests::wait::let_run(due.saturating_duration_since(Instant::now()));
        // From when it was due: one that waits for its turn has waited.
        let mut answer = client.get("/good");
        if matches!(answer, Err(ClientError::Closed)) {
            // httpd closes idle connections when all its threads are busy; a
            // client then asks again, and its time goes on.
            answer = client.get("/good");
        }
        match answer {
            Ok(response) if response.status == 200 => {
                took.push(due.elapsed().as_secs_f64() * 1000.0)
            }
            Ok(response) => {
                lost += 1;
                explain(httpd, &format!("status {}", response.status));
            }
            Err(error) => {
                lost += 1;
                explain(httpd, &error.to_string());
            }
        }
        due += EVERY;
    }
    (took, lost)
}
