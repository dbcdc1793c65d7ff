//! A site beside one that does everything wrong: its latency alone and during
//! each deed, in interleaved rounds. Called by `main` for `--neighbour`; uses
//! the harness of the tests, not the peers.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wsgid_tests::load::pester;
use wsgid_tests::{Client, Httpd, Site, users};

/// What the bad site does, and how many ask for it at the same time.
const DEEDS: &[(&str, usize)] = &[("hang", 60), ("crash", 2), ("flood", 2), ("memory", 2), ("fork", 1), ("spin", 2)];
/// One look at the good site.
const TURN: Duration = Duration::from_secs(3);
/// Requests to the good site begin so often, whatever the last one took.
const EVERY: Duration = Duration::from_millis(5);

/// How a bad site is bounded, from not at all to what is advised.
const BOUNDS: &[(&str, &str)] = &[
    ("limits", "process-limit=60 memory-limit=400M"),
    ("limits and cpu-priority", "process-limit=60 memory-limit=400M cpu-priority=19"),
];

/// Percentiles of one turn, in milliseconds.
struct Turn {
    median: f64,
    p99: f64,
    lost: usize,
}

/// Prints a table for each way to bound the bad site.
pub(crate) fn run(rounds: usize) -> Result<()> {
    let users = users::three().context("it needs root, to run two sites as two users")?;
    for (title, bounds) in BOUNDS {
        let sites = [Site::of(&users[0]), Site::of(&users[1])];
        let identity = |at: usize| format!("user={} group={}", users[at].name, users[at].group);
        let bad = format!(
            "processes=2 threads=3 {bounds} request-timeout=3 graceful-timeout=1 shutdown-timeout=1 listen-backlog=20 \
             connect-timeout=0 {}",
            identity(0)
        );
        let httpd = Httpd::builder()
            .daemon("bad", &bad)
            .daemon("good", &format!("processes=1 threads=3 {} {}", identity(1), sites[1].python_path()))
            .mount("/bad", &sites[0].file("bad_neighbour.py"), "bad")
            .mount("/good", &sites[1].file("hello.py"), "good")
            .start();
        anyhow::ensure!(httpd.get("/good").status == 200, "the good site does not answer");
        let mut turns: BTreeMap<&str, Vec<Turn>> = BTreeMap::new();
        for _ in 0..rounds {
            turns.entry("quiet").or_default().push(turn(&httpd));
            for (deed, count) in DEEDS {
                let end = Instant::now() + TURN;
                let evil: Vec<_> = (0..*count).map(|_| pester(httpd.address(), format!("/bad/{deed}"), end)).collect();
                turns.entry(deed).or_default().push(turn(&httpd));
                evil.into_iter().for_each(|one| drop(one.join()));
                // Let it come to rest before the next turn.
                wsgid_tests::wait::let_run(Duration::from_secs(4));
            }
        }
        write(title, &turns)?;
        httpd.stop();
    }
    Ok(())
}

fn write(title: &str, turns: &BTreeMap<&str, Vec<Turn>>) -> Result<()> {
    let middle = |deed: &str, of: fn(&Turn) -> f64| {
        let mut values: Vec<f64> = turns.get(deed).into_iter().flatten().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    writeln!(
        stdout(),
        "\nThe bad site has {title}:\n\n| the neighbour | median ms | p99 ms | p99 against quiet | lost |"
    )?;
    writeln!(stdout(), "|---|---|---|---|---|")?;
    let quiet = middle("quiet", |turn| turn.p99);
    for deed in ["quiet"].into_iter().chain(DEEDS.iter().map(|(deed, _)| *deed)) {
        let (median, p99) = (middle(deed, |turn| turn.median), middle(deed, |turn| turn.p99));
        let lost: usize = turns.get(deed).into_iter().flatten().map(|turn| turn.lost).sum();
        writeln!(stdout(), "| {deed} | {median:.2} | {p99:.2} | {:+.0} % | {lost} |", (p99 / quiet - 1.0) * 100.0)?;
    }
    Ok(())
}

/// Asks the good site at a steady rate on two connections.
fn turn(httpd: &Httpd) -> Turn {
    let address = httpd.address();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(move || {
                let (mut client, mut took, mut lost) = (Client::new(address), Vec::new(), 0);
                let begun = Instant::now();
                let mut due = begun;
                while begun.elapsed() < TURN {
                    wsgid_tests::wait::let_run(due.saturating_duration_since(Instant::now()));
                    // From when it was due: one that waits for its turn has waited.
                    match client.get("/good") {
                        Ok(response) if response.status == 200 => took.push(due.elapsed().as_secs_f64() * 1000.0),
                        _ => lost += 1,
                    }
                    due += EVERY;
                }
                (took, lost)
            })
        })
        .collect();
    let (mut took, mut lost) = (Vec::new(), 0);
    for (some, failed) in threads.into_iter().filter_map(|thread| thread.join().ok()) {
        took.extend(some);
        lost += failed;
    }
    took.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    Turn { median: at(0.5), p99: at(0.99), lost }
}
