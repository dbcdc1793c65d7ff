//! Reads what processes cost from `/proc`: CPU time to the nanosecond, context
//! switches, memory; for a whole tree of processes, divided by what each is for.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::environment::Environment;

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Httpd,
    Supervisor,
    Worker,
}

pub(crate) const ROLES: [Role; 3] = [Role::Httpd, Role::Supervisor, Role::Worker];

/// One process of a tree; its start time tells it from a later one of the same number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) role: Role,
    started: u64,
}

impl Process {
    pub(crate) fn is_alive(&self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.started == self.started && !stat.is_zombie)
    }

    /// Not one of Python's own attendants.
    pub(crate) fn serves(&self) -> bool {
        let command = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        !String::from_utf8_lossy(&command).contains("multiprocessing.resource_tracker")
    }
}

#[derive(Debug)]
struct Stat {
    parent: i32,
    started: u64,
    is_zombie: bool,
    /// Clock ticks of children that were waited for.
    reaped_ticks: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses can contain anything, also parentheses.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split(' ').collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        Some(Self {
            is_zombie: fields.first() == Some(&"Z"),
            parent: number(1)? as i32,
            reaped_ticks: number(13)? + number(14)?,
            started: number(19)?,
        })
    }
}

/// All processes of one server.
#[derive(Clone, Debug)]
pub(crate) struct Tree(Vec<Process>);

impl Tree {
    /// Looks at all processes of the machine once; those of httpd and of the
    /// backend, and their children, are the server's.
    pub(crate) fn scan(httpd: i32, backend: Option<i32>) -> Self {
        let mut children: BTreeMap<i32, Vec<(i32, u64)>> = BTreeMap::new();
        let mut started = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok())
            else {
                continue;
            };
            let Some(stat) = Stat::read(pid) else {
                continue;
            };
            children
                .entry(stat.parent)
                .or_default()
                .push((pid, stat.started));
            started.insert(pid, stat.started);
        }
        let mut found = Vec::new();
        let mut queue: Vec<(i32, u64, Option<Role>)> = std::iter::once(httpd)
            .chain(backend)
            .filter_map(|pid| started.get(&pid).map(|started| (pid, *started, None)))
            .collect();
        while let Some((pid, started, parent_role)) = queue.pop() {
            let role = role_of(pid, parent_role, backend);
            found.push(Process { pid, role, started });
            for (child, started) in children.remove(&pid).unwrap_or_default() {
                queue.push((child, started, Some(role)));
            }
        }
        Self(found)
    }

    pub(crate) fn pids(&self) -> Vec<Process> {
        self.0.clone()
    }

    pub(crate) fn count(&self, role: Role) -> usize {
        self.0.iter().filter(|process| process.role == role).count()
    }
}

fn role_of(pid: i32, parent: Option<Role>, backend: Option<i32>) -> Role {
    if matches!(parent, Some(Role::Supervisor | Role::Worker)) {
        return Role::Worker;
    }
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    if backend == Some(pid) || program.ends_with(b"/wsgid") || program == b"wsgid" {
        Role::Supervisor
    } else if program.starts_with(b"(wsgi") {
        // mod_wsgi forks its daemons from httpd's parent.
        Role::Worker
    } else {
        Role::Httpd
    }
}

/// What a tree had used at one moment.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    cpu_ns: BTreeMap<i32, (Role, u64)>,
    reaped_ticks: BTreeMap<i32, u64>,
    voluntary: u64,
    involuntary: u64,
}

impl Usage {
    pub(crate) fn read(tree: &Tree) -> Self {
        let mut usage = Self::default();
        for process in &tree.0 {
            let clock =
                ClockId::pid_cpu_clock_id(Pid::from_raw(process.pid)).and_then(clock_gettime);
            if let Ok(time) = clock {
                let ns = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
                usage.cpu_ns.insert(process.pid, (process.role, ns));
            }
            if let Some(stat) = Stat::read(process.pid) {
                usage.reaped_ticks.insert(process.pid, stat.reaped_ticks);
            }
            let (voluntary, involuntary) = switches(process.pid);
            usage.voluntary += voluntary;
            usage.involuntary += involuntary;
        }
        usage
    }

    /// What was used since `before`.
    pub(crate) fn since(&self, before: &Self) -> Spent {
        let mut spent = Spent {
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
            ..Spent::default()
        };
        for (pid, (role, ns)) in &self.cpu_ns {
            let old = before.cpu_ns.get(pid).map_or(0, |(_, ns)| *ns);
            *spent.cpu_ns.entry(*role).or_default() += ns.saturating_sub(old);
            // Processes that ended meanwhile count with the one that waited for them.
            let ticks = |usage: &Self| usage.reaped_ticks.get(pid).copied().unwrap_or_default();
            let reaped = ticks(self).saturating_sub(if before.cpu_ns.contains_key(pid) {
                ticks(before)
            } else {
                0
            });
            *spent.cpu_ns.entry(*role).or_default() += reaped * 10_000_000;
        }
        spent
    }
}

/// The difference of two usages.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    pub(crate) cpu_ns: BTreeMap<Role, u64>,
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
}

fn switches(pid: i32) -> (u64, u64) {
    let mut sums = (0, 0);
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        sums.0 += field(&text, "voluntary_ctxt_switches:");
        sums.1 += field(&text, "nonvoluntary_ctxt_switches:");
    }
    sums
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Memory of the processes with one role, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) processes: usize,
    pub(crate) rss: u64,
    pub(crate) pss: u64,
    /// Pages that nobody else has.
    pub(crate) private: u64,
}

/// Reads the memory of a tree.
pub(crate) fn memory(tree: &Tree) -> BTreeMap<Role, Memory> {
    let mut sums: BTreeMap<Role, Memory> = BTreeMap::new();
    for process in &tree.0 {
        let own = memory_of(process.pid);
        let sum = sums.entry(process.role).or_default();
        sum.processes += 1;
        sum.rss += own.rss;
        sum.pss += own.pss;
        sum.private += own.private;
    }
    sums
}

/// Memory of an interpreter that has imported a module and does nothing more.
pub(crate) fn bare_interpreter(environment: &Environment, module: &str) -> Result<Memory> {
    let program = "import sys; sys.path.insert(0, sys.argv[1]); __import__(sys.argv[2]); print(flush=True); sys.stdin.read()";
    let mut command = Command::new(environment.python());
    command
        .args(["-c", program])
        .arg(environment.apps())
        .arg(module);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to run Python")?;
    let read = child.stdout.as_mut().map(|out| out.read(&mut [0]));
    let memory = memory_of(child.id() as i32);
    child.kill()?;
    child.wait()?;
    match read {
        Some(Ok(1)) => Ok(memory),
        _ => bail!("`{module}` cannot be imported"),
    }
}

/// Reads the memory of one process.
pub(crate) fn memory_of(pid: i32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    Memory {
        processes: 1,
        rss: field(&text, "Rss:"),
        pss: field(&text, "Pss:"),
        private: field(&text, "Private_Clean:") + field(&text, "Private_Dirty:"),
    }
}
