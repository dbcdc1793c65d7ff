//! `[user.NAME]`: what all process groups of one user may have together, with real users and
//! the kernel's control groups. Supervisors on their own, without httpd: workers start with them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use wsgid_protocol::status::Status;
use wsgid_tests::users::TestUser;
use wsgid_tests::{Limit, Pid, Python, Site, artifacts, case, eventually, note, users};

const SOON: Duration = Duration::from_secs(30);

/// Takes as much memory as a file beside it says, when it is there.
const APP: &str = "\
import os, threading, time
def look():
    path = os.path.join(os.path.dirname(__file__), os.environ['EATS'])
    while not os.path.exists(path):
        time.sleep(0.05)
    kept = []
    for _ in range(int(open(path).read())):
        kept.append(bytearray(os.urandom(1 << 20)))
    time.sleep(1000)
threading.Thread(target=look, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

/// A supervisor with its files.
struct Server {
    site: Site,
    directory: tempfile::TempDir,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            pid.signal(Signal::SIGTERM);
        }
        let _ = self.child.wait();
        if thread::panicking() {
            note(&self.log());
        }
    }
}

impl Server {
    /// `limits`: the tables of users. `groups`: name, user and options.
    fn start(limits: &str, groups: &[(&str, &TestUser, &str)]) -> Self {
        let site = Site::new();
        site.write("app.wsgi", APP);
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::create_dir(root.join("sites")).expect("it is ours");
        write_main(root, limits);
        for (name, user, options) in groups {
            write_group(root, &site, name, user, options);
        }
        let child = artifacts::supervise(root);
        let server = Self {
            site,
            directory,
            child,
        };
        eventually("an answer of the supervisor", SOON, || server.status());
        server
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::current)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root().join("log")).unwrap_or_default()
    }

    fn limit(&self, limits: &str) {
        write_main(self.root(), limits);
    }

    fn define(&self, name: &str, user: &TestUser, options: &str) {
        write_group(self.root(), &self.site, name, user, options);
    }

    /// Exit code and words of a command.
    fn command(&self, words: &[&str]) -> (i32, String) {
        let out = Command::new(artifacts::wsgid())
            .args(words)
            .arg("--socket")
            .arg(self.root().join("control.sock"))
            .output()
            .expect("wsgid can be run");
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (out.status.code().unwrap_or(-1), text)
    }

    fn status(&self) -> Option<Status> {
        serde_json::from_str(&self.command(&["status", "--json"]).1).ok()
    }

    /// The workers of each group that are there, those that end included.
    fn all_workers(&self) -> BTreeMap<String, Vec<Pid>> {
        let status = self.status().expect("a supervisor");
        let workers = status.groups.iter().map(|group| {
            let pids = group.workers().filter_map(|worker| {
                let pid = i32::try_from(worker.pid).ok()?;
                Pid::current(pid)
            });
            (group.name.clone(), pids.collect())
        });
        workers.collect()
    }

    /// How many workers each group has, if all of them are ready.
    fn ready(&self) -> Option<BTreeMap<String, usize>> {
        let status = self.status().expect("a supervisor");
        let mut workers = status.groups.iter().flat_map(|group| group.workers());
        let all_ready = workers.all(|worker| worker.is_ready());
        let groups = status.groups.iter();
        all_ready.then(|| {
            let counts = groups.map(|group| (group.name.clone(), group.workers().count()));
            counts.collect()
        })
    }

    /// Waits until each group has as many workers as expected, and all are ready.
    fn wait_for(&self, expected: &[(&str, usize)]) {
        let expected: BTreeMap<String, usize> = expected
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        eventually(&format!("{expected:?}"), SOON, || {
            (self.ready()? == expected).then_some(())
        });
    }

    /// Waits until `a` and `b` share three workers, whoever of them worked last; the others
    /// are as they were.
    fn wait_for_four_of_one(&self) {
        eventually("four workers of the user", SOON, || {
            let ready = self.ready()?;
            let [a, b] = ["a", "b"].map(|name| ready[name]);
            let shared = a + b == 3 && a > 0 && b > 0;
            (shared && ready["c"] == 1 && ready["d"] == 3).then_some(())
        });
    }

    /// Whether this machine lets the supervisor make control groups.
    fn has_control_groups(&self) -> bool {
        let supervisor = self.status().and_then(|status| status.supervisor);
        let problem = supervisor.and_then(|own| own.control_groups_problem);
        if let Some(problem) = &problem {
            note(&format!("left out: {problem}"));
        }
        problem.is_none()
    }
}

fn write_main(root: &Path, limits: &str) {
    let (at, user) = (root.display(), users::of_httpd().name);
    let main = format!(
        "[supervisor]\nsocket = '{at}/httpd.sock'\nhttpd-user = '{user}'\nsites = '{at}/sites'\n{limits}"
    );
    fs::write(root.join("wsgid.toml"), main).expect("it is ours");
}

fn write_group(root: &Path, site: &Site, name: &str, user: &TestUser, options: &str) {
    let group = format!(
        "[group.{name}]\nuser = '{}'\npython-home = '{}'\nscripts = ['{}']\nenv = {{ EATS = 'eat-{name}' }}\n{options}\n",
        user.name,
        Python::any().home.display(),
        site.file("app.wsgi").display()
    );
    fs::write(root.join(format!("sites/{name}.toml")), group).expect("it is ours");
}

/// The directory that this controller has for a process.
fn directory(worker: Pid, controller: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", worker.number)).expect("it runs");
    let mut fallback = None;
    for line in text.lines() {
        let rest = line.split_once(':').map(|(_, rest)| rest);
        let Some((names, path)) = rest.and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        let root = PathBuf::from("/sys/fs/cgroup");
        if names.split(',').any(|name| name == controller) {
            return root.join(controller).join(path);
        }
        if names.is_empty() {
            fallback = Some(root.join(path));
        }
    }
    fallback.expect("version 2")
}

fn first(parent: &Path, names: [&str; 2]) -> String {
    let mut read = names
        .iter()
        .filter_map(|name| fs::read_to_string(parent.join(name)).ok());
    read.next().expect("a file").trim().to_owned()
}

fn is_of(directory: &Path, user: &TestUser) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(&format!(".@{}", user.uid))
}

#[test]
fn root_worker_processes_of_a_user_are_shared_among_its_groups() {
    case(Limit::seconds(180), || {
        let Some([one, other, _]) = users::three() else {
            return;
        };
        let groups = [
            ("a", one, "processes = 3"),
            ("b", one, "processes = 3"),
            ("c", one, "processes = 1"),
            ("d", other, "processes = 3"),
        ];
        let server = Server::start("", &groups);
        server.wait_for(&[("a", 3), ("b", 3), ("c", 1), ("d", 3)]);
        // Who does nothing gives way, and everybody keeps one.
        let limit = |most: u32| format!("[user.{}]\nprocesses = {most}\n", one.name);
        server.limit(&limit(4));
        assert_eq!(server.command(&["reload"]).0, 0);
        server.wait_for_four_of_one();
        let (_, text) = server.command(&["status"]);
        let words = format!("user {}: 4 of 4 processes", one.name);
        assert!(text.contains(&words), "{text}");
        assert!(
            text.contains("no more workers are started for it"),
            "{text}"
        );
        // A rolling reload of all of them fits in, with never a process more.
        let before = server.all_workers();
        for name in ["a", "b", "c"] {
            assert_eq!(server.command(&["restart", name]).0, 0);
        }
        eventually("new workers everywhere", SOON, || {
            let now = server.all_workers();
            let count: usize = ["a", "b", "c"].iter().map(|name| now[*name].len()).sum();
            assert!(count <= 4, "{now:?}");
            let is_new = |name: &&str| {
                !now[*name].is_empty() && now[*name].iter().all(|pid| !before[*name].contains(pid))
            };
            ["a", "b", "c"].iter().all(is_new).then_some(())
        });
        server.wait_for_four_of_one();
        // The next program knows it, and more are started when they may be.
        assert_eq!(server.command(&["reexec"]).0, 0);
        let before = eventually("its status", SOON, || Some(server.status()?.users));
        assert_eq!(before.len(), 1);
        let before = server.all_workers();
        server.limit(&limit(7));
        assert_eq!(server.command(&["reload"]).0, 0);
        server.wait_for(&[("a", 3), ("b", 3), ("c", 1), ("d", 3)]);
        let now = server.all_workers();
        for (name, pids) in before {
            assert!(pids.iter().all(|pid| now[&name].contains(pid)), "{name}");
        }
        server.limit("");
        assert_eq!(server.command(&["reload"]).0, 0);
        assert!(server.status().expect("a supervisor").users.is_empty());
        server.define("c", one, "processes = 4");
        assert_eq!(server.command(&["reload"]).0, 0);
        server.wait_for(&[("a", 3), ("b", 3), ("c", 4), ("d", 3)]);
    });
}

/// The control group of this user that a process is below.
fn of_its_user(pid: Pid, controller: &str, user: &TestUser) -> Option<PathBuf> {
    let own = directory(pid, controller);
    let parent = own.parent().filter(|parent| is_of(parent, user));
    parent.map(Path::to_owned)
}

#[test]
fn root_bounds_of_a_user_come_and_go_without_a_restart() {
    case(Limit::seconds(180), || {
        let Some([one, _, _]) = users::three() else {
            return;
        };
        let mut server = Server::start("", &[("a", one, ""), ("b", one, "")]);
        server.wait_for(&[("a", 1), ("b", 1)]);
        if !server.has_control_groups() {
            return;
        }
        let workers = server.all_workers();
        let [a, b] = ["a", "b"].map(|name| workers[name][0]);
        assert!(
            !directory(a, "pids").to_string_lossy().contains("wsgid-"),
            "free when off"
        );
        let limit = |tasks: u32| {
            format!(
                "[user.{}]\nmemory-max = '300M'\ntasks-max = {tasks}\ncpu-weight = 50\n",
                one.name
            )
        };
        server.limit(&limit(200));
        assert_eq!(server.command(&["reload"]).0, 0);
        let parent = |pid: Pid, controller: &str| of_its_user(pid, controller, one);
        for pid in [a, b] {
            for controller in ["memory", "pids", "cpu"] {
                eventually("its user's control group", SOON, || parent(pid, controller));
            }
        }
        assert_eq!(server.all_workers(), workers, "they were moved");
        let tasks = parent(a, "pids").expect("it is there");
        let memory = parent(b, "memory").expect("it is there");
        let cpu = parent(b, "cpu").expect("it is there");
        let read = |most: &str| {
            assert_eq!(first(&tasks, ["pids.max", "pids.max"]), most);
            let bytes = first(&memory, ["memory.limit_in_bytes", "memory.max"]);
            assert_eq!(bytes, (300_u64 << 20).to_string());
            let weight = first(&cpu, ["cpu.shares", "cpu.weight"]);
            assert!(["512", "50"].contains(&weight.as_str()), "{weight}");
        };
        read("200");
        // To who gives way the kernel gives no weight.
        let idle = cpu.join("cpu.idle");
        if idle.exists() {
            fs::write(&idle, "1").expect("it is of the same user");
        }
        // Another number is in force at once, also in the next program.
        server.limit(&limit(150));
        assert_eq!(server.command(&["reload"]).0, 0);
        read("150");
        assert_eq!(server.command(&["reexec"]).0, 0);
        let used = eventually("its status", SOON, || {
            server.status()?.users.first()?.control_group.clone()
        });
        assert!(
            used.tasks.is_some_and(|tasks| (2..150).contains(&tasks)),
            "{used:?}"
        );
        read("150");
        // A worker that starts from now on begins there.
        a.signal(Signal::SIGTERM);
        eventually("the next worker in its user's control group", SOON, || {
            let next = *server.all_workers().get("a")?.first()?;
            (next != a && parent(next, "pids").as_ref() == Some(&tasks)).then_some(())
        });
        // Taken back, it bounds nothing.
        server.limit("");
        assert_eq!(server.command(&["reload"]).0, 0);
        assert_eq!(first(&tasks, ["pids.max", "pids.max"]), "max");
        assert_eq!(server.all_workers()["b"], [b]);
        // One that was killed leaves it to its successor, which removes it.
        server.limit(&limit(150));
        server.child.kill().expect("it runs");
        server.child.wait().expect("it is a child of this process");
        server.child = artifacts::supervise(server.root());
        eventually("the end of the old one", SOON, || {
            (!tasks.exists() && !memory.exists()).then_some(())
        });
        server.wait_for(&[("a", 1), ("b", 1)]);
        let next = server.all_workers()["a"][0];
        let tasks = parent(next, "pids").expect("it has one");
        drop(server);
        assert!(!tasks.exists(), "nothing stays behind");
    });
}

#[test]
fn root_memory_of_a_user_ends_one_of_its_workers_and_the_user_is_named() {
    case(Limit::seconds(120), || {
        let Some([one, other, _]) = users::three() else {
            return;
        };
        let limit = format!("[user.{}]\nmemory-max = '200M'\n", one.name);
        let groups = [("a", one, ""), ("b", one, ""), ("c", other, "")];
        let server = Server::start(&limit, &groups);
        server.wait_for(&[("a", 1), ("b", 1), ("c", 1)]);
        if !server.has_control_groups() {
            return;
        }
        let before = server.all_workers();
        // Another user may have it.
        server.site.write("eat-c", "250");
        // Each alone may have it, both together not.
        for name in ["eat-a", "eat-b"] {
            server.site.write(name, "120");
        }
        let words = format!(
            "the process groups of user `{}` have used up the memory-max",
            one.name
        );
        eventually("the end of a worker", SOON, || {
            server.log().contains(&words).then_some(())
        });
        let killed = eventually("its count", SOON, || {
            server
                .status()?
                .users
                .first()?
                .control_group
                .as_ref()?
                .memory_kills
                .filter(|it| *it > 0)
        });
        let (_, text) = server.command(&["status"]);
        assert!(
            text.contains("of 200 MiB") && text.contains("killed for memory"),
            "{killed}: {text}"
        );
        assert_eq!(server.all_workers()["c"], before["c"]);
    });
}

#[test]
fn root_a_user_has_no_more_sites_than_allowed_and_those_in_force_stay() {
    case(Limit::seconds(120), || {
        let Some([one, other, _]) = users::three() else {
            return;
        };
        let limit = |most: u32| format!("[user.{}]\nsites = {most}\n", one.name);
        let groups = [("b", one, ""), ("c", one, ""), ("d", other, "")];
        let server = Server::start(&limit(2), &groups);
        server.wait_for(&[("b", 1), ("c", 1), ("d", 1)]);
        let before = server.all_workers();
        // It would be the first by its name, but it is new.
        server.define("a", one, "");
        let (code, text) = server.command(&["reload"]);
        assert_eq!(code, 7, "{text}");
        let words = format!("[user.{}] allows sites = 2", one.name);
        assert!(
            text.contains("process group `a`") && text.contains(&words),
            "{text}"
        );
        // With fewer, those in force stay.
        server.limit(&limit(1));
        assert_eq!(server.command(&["reload"]).0, 7);
        assert_eq!(server.all_workers(), before);
        let checked = Command::new(artifacts::wsgid())
            .args(["check", "--config"])
            .arg(server.root().join("wsgid.toml"))
            .output()
            .expect("wsgid can be run");
        let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.contains("leaves out `b`, `c`"), "{checked}");
        // One goes, and there is room for none yet; with two there is.
        fs::remove_file(server.root().join("sites/c.toml")).expect("it is there");
        server.limit(&limit(2));
        let (code, text) = server.command(&["reload"]);
        assert_eq!(code, 0, "{text}");
        server.wait_for(&[("a", 1), ("b", 1), ("d", 1)]);
        assert_eq!(server.all_workers()["b"], before["b"]);
        // One of another user's that changes hands is new to this one.
        server.define("d", one, "");
        let (code, text) = server.command(&["reload"]);
        assert!(code == 7 && text.contains("process group `d`"), "{text}");
        assert_eq!(server.all_workers()["d"], before["d"]);
    });
}
