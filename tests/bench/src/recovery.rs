//! How long a site is gone when its only worker is killed: from SIGKILL to the
//! next right answer, and how many requests meanwhile got a wrong one or none.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::{Instance, fetch};
use crate::process::{Role, Tree};

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
    let family = Tree::scan(instance).pids();
    let victim = family.iter().find(|process| process.role == Role::Worker && process.serves());
    let victim = victim.context("no worker process found")?;
    let start = Instant::now();
    kill(Pid::from_raw(victim.pid), Signal::SIGKILL).context("failed to kill a worker")?;
    let mut failures = 0;
    while victim.is_alive() {
        std::thread::yield_now();
    }
    loop {
        match fetch(instance.address, path) {
            Ok(200) => return Ok(Outage { lasted_ms: start.elapsed().as_secs_f64() * 1000.0, failures }),
            _ if start.elapsed() > GIVE_UP => bail!("no answer {} s after a worker's death", GIVE_UP.as_secs()),
            _ => failures += 1,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
