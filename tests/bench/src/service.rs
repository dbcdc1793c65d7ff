//! A server as a service manager keeps one: all its processes in one control group
//! for the processors, so that each peer has the same share of the machine whatever
//! sessions it makes, and the load generator is nobody's part. Without the right to
//! make one, a server gets a session of its own. Called by `instance`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::account::Account;

/// Where the kernel's control groups for processors are: version 1, version 2.
const TREES: [&str; 2] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup"];
const GONE: Duration = Duration::from_secs(2);

static LAST: AtomicU32 = AtomicU32::new(0);

/// The control group of a server; it is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Service(Option<PathBuf>);

impl Service {
    pub(crate) fn new() -> Self {
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("wsgid-bench-{}-{number}", std::process::id());
        let made = TREES
            .iter()
            .map(Path::new)
            .filter(|tree| shares_processors(tree))
            .map(|tree| tree.join(&name));
        Self(made.into_iter().find(|path| fs::create_dir(path).is_ok()))
    }

    /// Whether control groups can be made here.
    pub(crate) fn is_possible() -> bool {
        Self::new().0.is_some()
    }

    /// The command inside, as the account if there is one to change to. It replaces
    /// the shell, so its process is the shell's.
    pub(crate) fn command(&self, program: &Command, account: Option<&Account>) -> Command {
        let mut inside = Command::new("sh");
        match &self.0 {
            Some(group) => inside
                .args(["-c", "echo 0 > \"$0\" && exec setsid \"$@\""])
                .arg(group.join("cgroup.procs")),
            None => inside.args(["-c", "exec setsid \"$@\"", "sh"]),
        };
        if let Some(account) = account.filter(|account| account.changes) {
            let ids = [
                format!("--reuid={}", account.uid),
                format!("--regid={}", account.gid),
            ];
            inside.arg("setpriv").args(ids).arg("--clear-groups");
        }
        inside.arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(directory) = program.get_current_dir() {
            inside.current_dir(directory);
        }
        inside
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let Some(group) = &self.0 else { return };
        let deadline = Instant::now() + GONE;
        while fs::remove_dir(group).is_err() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn shares_processors(tree: &Path) -> bool {
    let enabled = fs::read_to_string(tree.join("cgroup.subtree_control")).unwrap_or_default();
    tree.join("cpu.shares").exists()
        || enabled
            .split_whitespace()
            .any(|controller| controller == "cpu")
}
