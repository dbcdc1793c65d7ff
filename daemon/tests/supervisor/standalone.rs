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

#[test]
fn sites_come_and_go_without_httpd() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().to_path_buf();
    std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = |name: &str| dir.join(name);
    std::fs::create_dir(path("sites")).unwrap();
    std::fs::write(path("app.py"), "def application(environ, start_response): pass\n").unwrap();
    let user =
        nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(crate::stand_in::nobody())).unwrap().unwrap().name;
    let (root, app) = (dir.display(), path("app.py"));
    let main = format!("[supervisor]\nsocket = '{root}/httpd.sock'\nhttpd-user = '{user}'\nsites = '{root}/sites'\n");
    std::fs::write(path("wsgid.toml"), main).unwrap();
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
    let mut said = String::new();
    while !said.contains("READY=1") {
        let mut buffer = [0; 256];
        let count = notify.recv(&mut buffer).unwrap();
        said.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
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
