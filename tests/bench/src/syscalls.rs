//! Counts system calls with `strace -c -f` in a run of its own: tracing slows a
//! server down many times, so nothing else is measured then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::Instance;
use crate::load::{Generator, Order};
use crate::process::{ROLES, Role, Tree};
use crate::workload::Workload;

const ATTACH_TIMEOUT: Duration = Duration::from_secs(20);

/// System calls of each role for one request, all and by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    pub(crate) by_role: BTreeMap<Role, BTreeMap<String, f64>>,
}

impl Count {
    pub(crate) fn of(&self, role: Role) -> f64 {
        self.by_role
            .get(&role)
            .map_or(0.0, |calls| calls.values().sum())
    }

    /// The calls that are made at least in every fiftieth request, most frequent first.
    pub(crate) fn names(&self, role: Role) -> String {
        let mut calls: Vec<(&String, &f64)> =
            self.by_role.get(&role).into_iter().flatten().collect();
        calls.retain(|(_, count)| **count >= 0.02);
        calls.sort_by(|one, other| other.1.total_cmp(one.1));
        calls
            .into_iter()
            .map(|(name, count)| format!("{name} {count:.2}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Runs one turn under strace.
pub(crate) fn count(instance: &Instance, workload: &Workload, order: Order) -> Result<Count> {
    let mut generator = Generator::connect(order, workload)?;
    generator.run(order.pace, order.length / 4)?;
    let tree = instance.tree();
    let mut tracers = Vec::new();
    for role in ROLES {
        if tree.count(role) > 0 {
            tracers.push((role, Tracer::attach(&tree, role)?));
        }
    }
    let outcome = generator.run(order.pace, order.length);
    let mut count = Count::default();
    for (role, tracer) in tracers {
        let calls = tracer.finish()?;
        let answers = outcome.as_ref().map_or(0, |outcome| outcome.answers).max(1) as f64;
        count.by_role.insert(
            role,
            calls
                .into_iter()
                .map(|(name, calls)| (name, calls as f64 / answers))
                .collect(),
        );
    }
    if outcome?.answers == 0 {
        bail!("no answer within {:?}", order.length);
    }
    Ok(count)
}

struct Tracer {
    child: Child,
    table: tempfile::NamedTempFile,
}

impl Tracer {
    fn attach(tree: &Tree, role: Role) -> Result<Self> {
        let table = tempfile::NamedTempFile::new()?;
        let messages = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("strace");
        command
            .args(["-c", "-f", "-U", "name,calls", "-o"])
            .arg(table.path());
        let processes: Vec<i32> = tree
            .pids()
            .iter()
            .filter(|process| process.role == role)
            .map(|process| process.pid)
            .collect();
        for pid in &processes {
            command.arg("-p").arg(pid.to_string());
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(messages.path())?);
        let child = command
            .spawn()
            .context("failed to run `strace`; install strace")?;
        let tracer = Self { child, table };
        let deadline = Instant::now() + ATTACH_TIMEOUT;
        while fs::read_to_string(messages.path())?
            .matches("attached")
            .count()
            < processes.len()
        {
            if Instant::now() > deadline {
                bail!(
                    "strace did not attach: {}",
                    fs::read_to_string(messages.path())?
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(tracer)
    }

    fn finish(mut self) -> Result<BTreeMap<String, u64>> {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT)
            .context("failed to end strace")?;
        self.child.wait()?;
        let text = fs::read_to_string(self.table.path())?;
        let rows = text.lines().filter_map(|line| {
            let (name, calls) = line.trim().split_once(char::is_whitespace)?;
            let calls = calls.trim().parse().ok()?;
            (name != "total").then(|| (name.to_owned(), calls))
        });
        Ok(rows.collect())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
