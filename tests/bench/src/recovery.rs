//! How long a site is gone when its only worker is killed: from SIGKILL to the
//! next right answer, and how many requests meanwhile got a wrong one or none;
//! and the same when its script is touched, which only replaces the worker.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::{Instance, fetch};
use crate::process::Role;

const GIVE_UP: Duration = Duration::from_secs(15);

/// What one death cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    /// Milliseconds until the next right answer.
    pub(crate) lasted_ms: f64,
    /// Requests that were answered wrong or not at all.
    pub(crate) failures: u32,
}

/// Kills the worker and asks until there is an answer again.
pub(crate) fn measure(instance: &Instance, path: &str) -> Result<Outage> {
    let family = instance.tree().pids();
    let victim = family
        .iter()
        .find(|process| process.role == Role::Worker && process.serves());
    let victim = victim.context("no worker process found")?;
    let start = Instant::now();
    kill(Pid::from_raw(victim.pid), Signal::SIGKILL).context("failed to kill a worker")?;
    let mut failures = 0;
    while victim.is_alive() {
        std::thread::yield_now();
    }
    loop {
        match fetch(instance.address, path) {
            Ok(200) => {
                return Ok(Outage {
                    lasted_ms: start.elapsed().as_secs_f64() * 1000.0,
                    failures,
                });
            }
            _ if start.elapsed() > GIVE_UP => {
                bail!("no answer {} s after a worker's death", GIVE_UP.as_secs())
            }
            _ => failures += 1,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What one new version of a script cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reload {
    /// Milliseconds until the old worker had gone and there was an answer.
    pub(crate) lasted_ms: f64,
    /// Milliseconds that the slowest request meanwhile took.
    pub(crate) slowest_ms: f64,
    /// Requests that were answered wrong or not at all.
    pub(crate) failures: u32,
}

/// Touches the script and asks until its workers have been replaced.
pub(crate) fn reload(instance: &Instance, script: &Path, path: &str) -> Result<Reload> {
    let mut old = instance.tree().pids();
    old.retain(|process| process.role == Role::Worker && process.serves());
    if old.is_empty() {
        bail!("no worker process found");
    }
    let file = File::options()
        .append(true)
        .open(script)
        .context("failed to open the script")?;
    let start = Instant::now();
    file.set_modified(SystemTime::now())
        .context("failed to touch the script")?;
    let mut slowest = Duration::ZERO;
    let mut failures = 0;
    loop {
        let asked = Instant::now();
        let good = matches!(fetch(instance.address, path), Ok(200));
        slowest = slowest.max(asked.elapsed());
        failures += u32::from(!good);
        let lasted = start.elapsed();
        if good && !old.iter().any(|process| process.is_alive()) {
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            return Ok(Reload {
                lasted_ms: ms(lasted),
                slowest_ms: ms(slowest),
                failures,
            });
        }
        if lasted > GIVE_UP {
            bail!(
                "the workers were not replaced {} s after the script was touched",
                GIVE_UP.as_secs()
            );
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
