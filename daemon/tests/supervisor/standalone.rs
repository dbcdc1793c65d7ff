//! A supervisor on its own: files instead of httpd, reload, notification.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Supervisor {
    dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            std::io::Write::write_all(&mut std::io::stderr(), log.as_bytes()).unwrap();
        }
    }
}

fn wait(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ask(dir: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(crate::program());
    let out = command.args(args).arg("--socket").arg(dir).output().unwrap();
    (out.status.code().unwrap(), String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap())
}

/// A directory with `wsgid.toml`, a script and a place for sites.
fn configured(mode: u32, script: &str) -> tempfile::TempDir {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    std::fs::create_dir(dir.join("sites")).unwrap();
    std::fs::write(dir.join("app.py"), script).unwrap();
    let user =
        nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(crate::stand_in::nobody())).unwrap().unwrap().name;
    let root = dir.display();
    let main = format!("[supervisor]\nsocket = '{root}/httpd.sock'\nhttpd-user = '{user}'\nsites = '{root}/sites'\n");
    std::fs::write(dir.join("wsgid.toml"), main).unwrap();
    temporary
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
            format!("[group.{name}]\nscripts = ['{}']\n{more}", app.display()),
        )
        .unwrap();
    };
    site("a", "");
    let notify = UnixDatagram::bind(path("notify")).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let child = Command::new(crate::program())
        .args(["supervise", "--config"])
        .arg(path("wsgid.toml"))
        .env("NOTIFY_SOCKET", path("notify"))
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(path("log")).unwrap())
        .spawn()
        .unwrap();
    let _supervisor = Supervisor { dir: temporary, child };
    let dir = dir.as_path();
    heard(&notify, "READY=1");
    let states = |text: &str| -> usize { text.matches(" ready ").count() };
    wait("a worker of a", || states(&ask(dir, &["status"]).1) == 1);
    site("b", "");
    assert_eq!(ask(dir, &["reload"]).0, 0);
    wait("a worker of b", || states(&ask(dir, &["status"]).1) == 2);
    // A site with a mistake stays as it was, and the mistake is named.
    site("b", "thread = 4\n");
    let (code, text) = ask(dir, &["reload"]);
    assert!(code == 7 && text.contains("did you mean `threads`"), "{code} {text}");
    assert_eq!(states(&ask(dir, &["status"]).1), 2);
    std::fs::remove_file(dir.join("sites/b.toml")).unwrap();
    assert_eq!(ask(dir, &["reload"]).0, 0);
    wait("b is gone", || !ask(dir, &["status"]).1.contains("\nb "));
}

/// Says what systemd hears until it has heard this.
fn heard(notify: &UnixDatagram, until: &str) -> String {
    let mut said = String::new();
    while !said.contains(until) {
        let mut buffer = [0; 256];
        let count = notify.recv(&mut buffer).unwrap_or_else(|error| panic!("{until} after {said}: {error}"));
        said.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
    said
}

#[test]
fn systemd_hears_of_every_step_and_logs_follow_a_rotation() {
    let script = "import threading, time, sys\ndef talk():\n    while True:\n        print('tick', flush=True)\n        \
                  time.sleep(0.05)\nthreading.Thread(target=talk, daemon=True).start()\n\
                  def application(environ, start_response): pass\n";
    let temporary = configured(0o777, script);
    let dir = temporary.path().to_path_buf();
    let path = |name: &str| dir.join(name);
    let root = dir.display();
    let site = format!("[group.a]\nscripts = ['{root}/app.py']\nlog = '{root}/a.log'\n");
    std::fs::write(path("sites/a.toml"), site).unwrap();
    let notify = UnixDatagram::bind(path("notify")).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
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
    let supervisor = Supervisor { dir: temporary, child };
    heard(&notify, "READY=1");
    let begun = Instant::now();
    let pings: String = (0..6).map(|_| heard(&notify, "WATCHDOG=1")).collect();
    assert_eq!(pings.matches("WATCHDOG=1").count(), 6, "{pings}");
    let each = begun.elapsed() / 6;
    assert!(each >= Duration::from_millis(150) && each < Duration::from_millis(500), "{each:?} between two pings");

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
    let out = Command::new(crate::program()).args(["status", "--socket"]).arg(&dir).stdout(writer).output().unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&out.status);
    assert_eq!((signal, &*out.stderr), (Some(Signal::SIGPIPE as i32), &b""[..]));

    kill(pid, Signal::SIGTERM).unwrap();
    heard(&notify, "STOPPING=1");
    drop(supervisor);
}
