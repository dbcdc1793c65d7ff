//! Many sites that start on demand: what the supervisor costs while nobody asks
//! for them, and how long the first answer of one takes. Called by `main` for
//! `--groups`; uses the harness of the tests, not the peers.

use std::io::{Write, stdout};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wsgid_tests::{Httpd, Site};

/// How long the supervisor is watched while it has nothing to do.
const IDLE: Duration = Duration::from_secs(10);
/// Groups whose first answer is measured.
const COLD: usize = 20;

/// Measures 10 groups and then `count`.
pub(crate) fn run(count: usize) -> Result<()> {
    let python = bare_python()?;
    writeln!(
        stdout(),
        "A bare `python3 -c pass` takes {:.0} ms here.\n",
        ms(python)
    )?;
    writeln!(
        stdout(),
        "| groups | start of httpd, s | supervisor RSS, MiB | CPU in {} s idle, ms | first answer, median ms | slowest ms | RSS with {COLD} workers |",
        IDLE.as_secs()
    )?;
    writeln!(stdout(), "|---|---|---|---|---|---|---|")?;
    for count in [10, count] {
        measure(count)?;
    }
    Ok(())
}

fn measure(count: usize) -> Result<()> {
    let site = Site::new();
    let mut builder = Httpd::builder();
    for number in 0..count {
        let name = format!("site{number}");
        let options = format!(
            "processes=0..1 threads=2 idle-stop=600 {}",
            site.python_path()
        );
        builder = builder.daemon(&name, &options).mount(
            &format!("/{name}"),
            &site.file("hello.py"),
            &name,
        );
    }
    let begun = Instant::now();
    let httpd = builder.start();
    let started = begun.elapsed();
    let supervisor = httpd.supervisor().context("httpd has no supervisor")?;
    wsgid_tests::wait::let_run(Duration::from_secs(2));
    let resident = supervisor.resident();
    let before = supervisor.cpu_time();
    wsgid_tests::wait::let_run(IDLE);
    let idle = supervisor.cpu_time().saturating_sub(before);
    let mut first: Vec<Duration> = (0..count.min(COLD))
        .map(|number| {
            let begun = Instant::now();
            let status = httpd
                .get(&format!("/site{}", number * count / count.min(COLD)))
                .status;
            anyhow::ensure!(status == 200, "a group's first answer was {status}");
            Ok(begun.elapsed())
        })
        .collect::<Result<_>>()?;
    first.sort_unstable();
    writeln!(
        stdout(),
        "| {count} | {:.1} | {:.1} | {} | {:.0} | {:.0} | {:.1} |",
        started.as_secs_f64(),
        mib(resident),
        idle.as_millis(),
        first.get(first.len() / 2).copied().map_or(f64::NAN, ms),
        first.last().copied().map_or(f64::NAN, ms),
        mib(supervisor.resident())
    )?;
    httpd.stop();
    Ok(())
}

fn bare_python() -> Result<Duration> {
    let mut took = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let status = Command::new("/usr/bin/python3")
            .args(["-c", "pass"])
            .status()
            .context("python3 cannot be run")?;
        anyhow::ensure!(status.success(), "python3 ended with {status}");
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took.get(2).copied().context("five times")
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
