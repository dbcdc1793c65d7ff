//! A supervisor on its own: files instead of httpd, reload, notification.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) struct Supervisor {
    dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::SIGTERM);
            self.child.wait().unwrap();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            std::io::Write::write_all(&mut std::io::stderr(), log.as_bytes()).unwrap();
        }
    }
}

impl Supervisor {
    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }
}

pub(crate) fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn ask(dir: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(crate::program());
    let out = command
        .args(args)
        .arg("--socket")
        .arg(dir)
        .output()
        .unwrap();
    (
        out.status.code().unwrap(),
        String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap(),
    )
}

/// A directory with `wsgid.toml`, a script and a place for sites.
pub(crate) fn configured(mode: u32, script: &str) -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    std::fs::create_dir(dir.join("sites")).unwrap();
    std::fs::write(dir.join("app.py"), script).unwrap();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(crate::stand_in::nobody()))
        .unwrap()
        .unwrap()
        .name;
    let root = dir.display();
    let main = format!(
        "[supervisor]\nsocket = '{root}/httpd.sock'\nhttpd-user = '{user}'\nsites = '{root}/sites'\n"
    );
    std::fs::write(dir.join("wsgid.toml"), main).unwrap();
    temporary
}

/// A supervisor with the configuration there, by way of another program.
pub(crate) fn started(temporary: tempfile::TempDir, through: &[&str]) -> Supervisor {
    let dir = temporary.path();
    let program = crate::program();
    let mut words: Vec<&std::ffi::OsStr> = through.iter().map(|word| (*word).as_ref()).collect();
    words.push(program.as_os_str());
    let notify = UnixDatagram::bind(dir.join("notify")).unwrap();
    notify
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let child = Command::new(words[0])
        .args(&words[1..])
        .args(["supervise", "--config"])
        .arg(dir.join("wsgid.toml"))
        .env("NOTIFY_SOCKET", dir.join("notify"))
        .env("CANARY", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("log")).unwrap())
        .spawn()
        .unwrap();
    let supervisor = Supervisor {
        dir: temporary,
        child,
    };
    heard(&notify, "READY=1");
    supervisor
}

#[test]
fn an_end_that_is_asked_for_while_the_program_changes_is_not_forgotten() {
    for delay in [0, 20, 30, 45] {
        let mut supervisor = started(
            configured(0o755, "def application(environ, start_response): pass\n"),
            &[],
        );
        let mut reexec = Command::new(crate::program())
            .args(["reexec", "--socket"])
            .arg(supervisor.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        supervisor.signal(Signal::SIGTERM);
        let mut ended = None;
        wait("its end", || {
            ended = supervisor.child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(
            ended.and_then(|status| status.code()),
            Some(0),
            "after {delay} ms"
        );
        // It may be asking a supervisor that has gone.
        let _ = reexec.kill();
        reexec.wait().unwrap();
    }
}

#[test]
fn sites_come_and_go_without_httpd() {
    let temporary = configured(0o755, "def application(environ, start_response): pass\n");
    let dir = temporary.path().to_path_buf();
    let path = |name: &str| dir.join(name);
    let app = path("app.py");
    let site = |name: &str, more: &str| {
        std::fs::write(
            path("sites").join(format!("{name}.toml")),
            format!(
                "[group.{name}]\nuser = '#{}'\nscripts = ['{}']\n{more}",
                crate::stand_in::nobody(),
                app.display()
            ),
        )
        .unwrap();
    };
    site("a", "");
    let notify = UnixDatagram::bind(path("notify")).unwrap();
    notify
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let child = Command::new(crate::program())
        .args(["supervise", "--config"])
        .arg(path("wsgid.toml"))
        .env("NOTIFY_SOCKET", path("notify"))
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(path("log")).unwrap())
        .spawn()
        .unwrap();
    let _supervisor = Supervisor {
        dir: temporary,
        child,
    };
    let dir = dir.as_path();
    heard(&notify, "READY=1");
    let states = |text: &str| -> usize { text.matches(" ready ").count() };
    wait("a worker of a", || states(&ask(dir, &["status"]).1) == 1);
    let socket = dir.display().to_string();
    for words in [
        ["status", "--socket", &socket].as_slice(),
        &["completions", "bash"],
    ] {
        let full = std::fs::File::create("/dev/full").unwrap();
        let out = Command::new(crate::program())
            .args(words)
            .stdout(full)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(
            out.status.code() == Some(1)
                && said.contains("No space left")
                && said.lines().count() == 1,
            "{said}"
        );
    }
    site("b", "");
    assert_eq!(ask(dir, &["reload"]).0, 0);
    wait("a worker of b", || states(&ask(dir, &["status"]).1) == 2);
    // A site with a mistake stays as it was, and the mistake is named.
    site("b", "thread = 4\n");
    let (code, text) = ask(dir, &["reload"]);
    assert!(
        code == 7 && text.contains("did you mean `threads`"),
        "{code} {text}"
    );
    assert_eq!(states(&ask(dir, &["status"]).1), 2);
    // Nor is anybody stopped because the directory cannot be listed.
    std::fs::rename(dir.join("sites"), dir.join("moved")).unwrap();
    let (code, text) = ask(dir, &["reload"]);
    assert!(code == 7 && text.contains("sites = "), "{code} {text}");
    assert_eq!(states(&ask(dir, &["status"]).1), 2);
    std::fs::rename(dir.join("moved"), dir.join("sites")).unwrap();
    std::fs::remove_file(dir.join("sites/b.toml")).unwrap();
    assert_eq!(ask(dir, &["reload"]).0, 0);
    wait("b is gone", || !ask(dir, &["status"]).1.contains("\nb "));
}

#[test]
fn a_second_supervisor_and_another_socket_change_nothing() {
    let temporary = configured(0o755, "def application(environ, start_response): pass\n");
    let dir = temporary.path().to_path_buf();
    let config = dir.join("wsgid.toml");
    let supervisor = started(temporary, &[]);
    let dir = dir.as_path();
    let mut second = Command::new(crate::program());
    let second = second
        .args(["supervise", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(6), "{said}");
    assert!(
        said.contains(&format!(
            "the supervisor with pid {} listens at",
            supervisor.child.id()
        )),
        "{said}"
    );
    assert_eq!(ask(dir, &["status"]).0, 0);
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("httpd.sock", "other.sock")).unwrap();
    let (code, said) = ask(dir, &["reload"]);
    assert!(
        code == 7 && said.contains("other.sock`: the supervisor still listens at"),
        "{code} {said}"
    );
}

#[test]
fn root_sites_and_sockets_in_the_hands_of_others_are_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let temporary = configured(0o755, "def application(environ, start_response): pass\n");
    let dir = temporary.path().to_path_buf();
    let own =
        |name: &str, uid: u32| std::os::unix::fs::chown(dir.join(name), Some(uid), None).unwrap();
    own("sites", 65534);
    let check = Command::new(crate::program())
        .args(["check", "--config"])
        .arg(dir.join("wsgid.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(7), "{said}");
    assert!(
        said.contains("/sites` belongs to uid 65534, who could put other files there"),
        "{said}"
    );
    own("sites", 0);
    own(".", 65534);
    let start = Command::new(crate::program())
        .args(["supervise", "--config"])
        .arg(dir.join("wsgid.toml"))
        .output();
    let start = start.unwrap();
    let said = String::from_utf8_lossy(&start.stderr);
    assert_eq!(start.status.code(), Some(7), "{said}");
    assert!(
        said.contains("wsgid.toml`: ") && said.contains("belongs to uid 65534"),
        "{said}"
    );
    own(".", 0);
    std::fs::create_dir(dir.join("theirs")).unwrap();
    own("theirs", 65534);
    let text = std::fs::read_to_string(dir.join("wsgid.toml")).unwrap();
    std::fs::write(
        dir.join("wsgid.toml"),
        text.replace("/httpd.sock", "/theirs/new/httpd.sock"),
    )
    .unwrap();
    let start = Command::new(crate::program())
        .args(["supervise", "--config"])
        .arg(dir.join("wsgid.toml"))
        .output();
    let start = start.unwrap();
    let said = String::from_utf8_lossy(&start.stderr);
    assert_eq!(start.status.code(), Some(6), "{said}");
    assert!(
        said.contains("httpd.sock`: ") && said.contains("theirs` belongs to uid 65534"),
        "{said}"
    );
    assert!(!dir.join("theirs/new").exists(), "nothing was made there");
}

/// Prints its session keyring.
const KEYRING: &str = "import ctypes, os\nlibc = ctypes.CDLL(None)\n\
    number = {'x86_64': 250, 'aarch64': 219}[os.uname().machine]\n\
    print('keyring', libc.syscall(number, 0, -3, 0), flush=True)\n";

/// What the login that started the supervisor keeps in its keyring is not the
/// sites' to read.
#[test]
fn root_keyrings_are_not_inherited() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let script = format!(
        "{KEYRING}print('environment', *sorted(os.environ), flush=True)\nprint([line for line in open('/proc/self/status') if 'CapInh' in line], flush=True)\ndef application(environ, start_response): pass\n"
    );
    let temporary = configured(0o755, &script);
    let dir = temporary.path().to_path_buf();
    std::fs::write(
        dir.join("sites/a.toml"),
        format!(
            "[group.a]\nuser = '#{}'\nscripts = ['{}/app.py']\n",
            crate::stand_in::nobody(),
            dir.display()
        ),
    )
    .unwrap();
    // A session of its own, as a login has, and then the supervisor.
    let login = "import sys\nif libc.syscall(number, 1, None) < 0:\n    print('no keyrings', file=sys.stderr, flush=True)\n\
        print('keyring', libc.syscall(number, 0, -3, 0), file=sys.stderr, flush=True)\n\
        os.execv(sys.argv[1], ['wsgid'] + sys.argv[2:])\n";
    // Nor what capabilities it hands on, if it may.
    let inheritable = ["setpriv", "--inh-caps=+net_bind_service"];
    let may = Command::new(inheritable[0])
        .args([inheritable[1], "true"])
        .status()
        .is_ok_and(|status| status.success());
    let login = KEYRING.to_owned() + login;
    let words = [
        if may { &inheritable[..] } else { &[] },
        &["/usr/bin/python3", "-c", &login],
    ]
    .concat();
    let supervisor = started(temporary, &words);
    let rings = || -> Vec<String> {
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        log.lines()
            .filter_map(|line| Some(line.split_once("keyring ")?.1.to_owned()))
            .collect()
    };
    let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
    wait("a worker", || rings().len() == 2);
    let rings = rings();
    assert!(
        rings[0] != rings[1] || log().contains("no keyrings"),
        "{rings:?}"
    );
    // Nor is anything of its environment.
    wait("the environment", || log().contains("environment "));
    wait("the capabilities", || log().contains("CapInh"));
    let log = log();
    assert!(log.contains("CapInh:\\t0000000000000000"), "{log}");
    let line = log
        .lines()
        .find_map(|line| Some(line.split_once("environment ")?.1))
        .unwrap();
    let known = [
        "HOME", "LANG", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TZ", "USER", "USERNAME",
    ];
    assert!(line.split(' ').all(|name| known.contains(&name)), "{line}");
    drop(supervisor);
}

/// Says what systemd hears until it has heard this.
fn heard(notify: &UnixDatagram, until: &str) -> String {
    let mut said = String::new();
    while !said.contains(until) {
        let mut buffer = [0; 256];
        let count = notify
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("{until} after {said}: {error}"));
        said.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    said
}

#[test]
fn systemd_hears_of_every_step_and_logs_follow_a_rotation() {
    let script = "import atexit, threading, time, sys\natexit.register(time.sleep, 1)\ndef talk():\n    while True:\n        print('tick', flush=True)\n        \
                  time.sleep(0.05)\nthreading.Thread(target=talk, daemon=True).start()\n\
                  def application(environ, start_response): pass\n";
    let temporary = configured(0o1777, script);
    let dir = temporary.path().to_path_buf();
    let path = |name: &str| dir.join(name);
    let root = dir.display();
    let user = crate::stand_in::nobody();
    let site =
        format!("[group.a]\nuser = '#{user}'\nscripts = ['{root}/app.py']\nlog = '{root}/a.log'\n");
    std::fs::write(path("sites/a.toml"), site).unwrap();
    let notify = UnixDatagram::bind(path("notify")).unwrap();
    notify
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let child = Command::new(crate::program())
        .args(["supervise", "--config"])
        .arg(path("wsgid.toml"))
        .env("NOTIFY_SOCKET", path("notify"))
        .env("WATCHDOG_USEC", "500000")
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(path("log")).unwrap())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let supervisor = Supervisor {
        dir: temporary,
        child,
    };
    let said = heard(&notify, "READY=1");
    assert!(!said.contains("RELOADING"), "{said}");
    assert_eq!(ask(&dir, &["status"]).0, 0, "who is ready answers");
    let begun = Instant::now();
    let pings: String = (0..6).map(|_| heard(&notify, "WATCHDOG=1")).collect();
    assert_eq!(pings.matches("WATCHDOG=1").count(), 6, "{pings}");
    let each = begun.elapsed() / 6;
    assert!(
        each >= Duration::from_millis(150) && each < Duration::from_millis(500),
        "{each:?} between two pings"
    );

    let log = |name: &str| std::fs::read_to_string(path(name)).unwrap_or_default();
    wait("output of the worker", || log("a.log").contains("tick"));
    std::fs::rename(path("a.log"), path("a.log.1")).unwrap();
    kill(pid, Signal::SIGHUP).unwrap();
    let reload = heard(&notify, "RELOADING=1") + &heard(&notify, "READY=1");
    assert!(reload.contains("MONOTONIC_USEC="), "{reload}");
    wait("output in the new file", || log("a.log").contains("tick"));
    let old = log("a.log.1").len();
    wait("more output", || log("a.log").matches("tick").count() > 10);
    assert_eq!(log("a.log.1").len(), old, "nothing follows in the old file");

    // Nobody reads what is printed: no panic, and no words.
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let out = Command::new(crate::program())
        .args(["status", "--socket"])
        .arg(&dir)
        .stdout(writer)
        .output()
        .unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&out.status);
    assert_eq!(
        (signal, &*out.stderr),
        (Some(Signal::SIGPIPE as i32), &b""[..])
    );

    kill(pid, Signal::SIGTERM).unwrap();
    let begun = Instant::now();
    heard(&notify, "STOPPING=1");
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "{:?}: it is said at the beginning",
        begun.elapsed()
    );
    drop(supervisor);
}
