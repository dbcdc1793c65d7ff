//! A machine of its own for a page of documentation: the files of this one,
//! with a layer on top that goes away, no network but loopback, processes that
//! end with it, and mod_wsgid installed where its package puts it. So commands
//! run exactly as they are printed, on port 80 and below `/etc`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::artifacts;
use crate::document::{Step, Who, missing};
use crate::site::temporary_directory;
use crate::wait::{eventually, until};

const SETUP: &str = include_str!("machine.sh");
/// For one command.
const PATIENCE: Duration = Duration::from_secs(120);
/// For what a command that only looks is to show.
const SIGHT: Duration = Duration::from_secs(30);

/// The machine.
#[derive(Debug)]
pub struct Machine {
    shared: TempDir,
    process: Child,
    sessions: [File; 2],
    count: usize,
}

impl Machine {
    /// Whether this system lets root make one: some containers do not.
    ///
    /// # Panics
    /// If `unshare` is not there.
    #[must_use]
    pub fn is_possible() -> bool {
        let layers = "mount -t tmpfs none /mnt && mkdir /mnt/u /mnt/w &&
            mount -t overlay none -o lowerdir=/etc,upperdir=/mnt/u,workdir=/mnt/w /etc";
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            layers,
        ]);
        command
            .output()
            .expect("unshare is installed (util-linux)")
            .status
            .success()
    }

    /// Sets one up. Needs root.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn new() -> Self {
        let shared = temporary_directory("wsgid-machine-");
        let at = shared.path();
        let _ = fs::set_permissions(at, Permissions::from_mode(0o1777));
        fs::write(at.join("setup"), SETUP).expect("a file can be written");
        for name in ["user", "root"] {
            nix::unistd::mkfifo(
                &at.join(name),
                nix::sys::stat::Mode::from_bits_truncate(0o600),
            )
            .expect("a pipe");
        }
        let log = File::create(at.join("log")).expect("a file can be made");
        let process = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child=KILL",
                "--mount-proc",
                "bash",
            ])
            .arg(at.join("setup"))
            .args([at, &artifacts::directory()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be doubled"))
            .stderr(log)
            .spawn()
            .expect("unshare can be run");
        // Opened for both ways, so that neither side waits for the other.
        let session = |name| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(at.join(name))
                .expect("a pipe")
        };
        let sessions = [session("user"), session("root")];
        let mut machine = Self {
            shared,
            process,
            sessions,
            count: 0,
        };
        let ready = until(PATIENCE, || {
            let ended = machine.process.try_wait().ok().flatten().is_some();
            (ended || machine.shared.path().join("ready").exists()).then_some(!ended)
        });
        assert_eq!(
            ready,
            Some(true),
            "the machine was not set up:\n{}",
            machine.read("log")
        );
        machine
    }

    /// Writes a file of the page, readable for all.
    ///
    /// # Panics
    /// If that fails.
    pub fn write(&mut self, path: &str, text: &str) {
        fs::write(self.shared.path().join("file"), text).expect("a file can be written");
        let from = self.shared.path().join("file").display().to_string();
        let (who, place) = if path.starts_with('/') {
            (Who::Root, path.to_owned())
        } else {
            (Who::User, format!("./{path}"))
        };
        let (code, output) = self.run(who, &format!("install -D -m 644 '{from}' '{place}'"));
        assert_eq!(code, 0, "{path}: {output}");
    }

    /// Runs a command; the exit code and all it printed.
    ///
    /// # Panics
    /// If it does not end.
    pub fn run(&mut self, who: Who, command: &str) -> (i32, String) {
        self.count += 1;
        let at = self.shared.path().join(self.count.to_string());
        let file = |end: &str| at.with_extension(end);
        fs::write(file("sh"), format!("{command}\n")).expect("a file can be written");
        let line = format!(
            ". {0}.sh > {0}.out 2>&1 < /dev/null; echo $? > {0}.code; mv {0}.code {0}.done\n",
            at.display()
        );
        self.sessions[who as usize]
            .write_all(line.as_bytes())
            .expect("the session listens");
        let code = until(PATIENCE, || {
            fs::read_to_string(file("done")).ok()?.trim().parse().ok()
        });
        let output =
            String::from_utf8_lossy(&fs::read(file("out")).unwrap_or_default()).into_owned();
        (
            code.unwrap_or_else(|| panic!("`{command}` did not end:\n{output}")),
            output,
        )
    }

    /// Does a step of a page. What only looks is repeated until it shows what
    /// the page promises; after what goes on in the background the next command
    /// waits for its port, as a person would.
    ///
    /// # Panics
    /// If the page's promise is not kept.
    pub fn step(&mut self, step: &Step) {
        // Others come and go meanwhile: which there are tells more than how many.
        let listening = "awk '$4 == \"0A\" { print $2 }' /proc/net/tcp /proc/net/tcp6; true";
        let starts = step.command.ends_with('&') || step.command.starts_with("apachectl start");
        let before = if starts {
            self.run(Who::Root, listening).1
        } else {
            String::new()
        };
        let looks = ["curl ", "wsgid status", "tail ", "grep "]
            .iter()
            .any(|word| step.command.contains(word));
        let mut last = self.run(step.who, &step.command);
        let kept =
            |(code, output): &(i32, String)| *code == 0 && missing(&step.output, output).is_none();
        if looks && !kept(&last) {
            until(SIGHT, || {
                last = self.run(step.who, &step.command);
                kept(&last).then_some(())
            });
        }
        let (code, output) = last;
        let lack = missing(&step.output, &output);
        assert!(
            code == 0 && lack.is_none(),
            "`{}` ended with {code} and lacks {lack:?}; it printed:\n{output}\n{}",
            step.command,
            self.run(Who::Root, "tail -n 40 /var/log/apache2/error.log")
                .1
        );
        if starts && !step.command.contains("supervise") {
            eventually("a new port", SIGHT, || {
                let now = self.run(Who::Root, listening).1;
                let is_new = |line: &str| !before.lines().any(|known| known == line);
                now.lines().any(is_new).then_some(())
            });
        }
    }

    fn read(&self, name: &str) -> String {
        read(&self.shared.path().join(name))
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its init ends with it, and everything with that.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
