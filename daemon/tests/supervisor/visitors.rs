//! `socket-user=`: a child of httpd that has another user by now reaches the
//! groups that name it, and no other.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use wsgid_protocol::GroupConfig;

use crate::stand_in::{Httpd, group};

const VISITOR: u32 = 64_003;
pub(crate) const STRANGER: u32 = 64_004;

/// Connects as whoever runs it, passes on what it is given, and prints what
/// comes back.
const CARRIER: &str = "
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
try:
    s.connect(sys.argv[1])
except PermissionError:
    sys.exit('closed')
s.sendall(sys.stdin.buffer.read())
got = b''
while b'visited' not in got:
    try:
        part = s.recv(65536)
    except ConnectionResetError:
        break
    if not part:
        break
    got += part
sys.stdout.buffer.write(got)
";

const APP: &str = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'visited']
";

/// What a user gets to see of a group.
pub(crate) fn visit(httpd: &Httpd, uid: u32, group: &str, script: &Path) -> String {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let connection = httpd.greet(ours, group, 9, script, "/");
    connection.stream.shutdown(Shutdown::Write).unwrap();
    let mut request = Vec::new();
    theirs.read_to_end(&mut request).unwrap();
    let mut carrier = Command::new("setpriv")
        .args([
            "--reuid",
            &uid.to_string(),
            "--regid",
            &uid.to_string(),
            "--clear-groups",
            "python3",
            "-c",
            CARRIER,
        ])
        .arg(httpd.dir.path().join("httpd.sock"))
        // The Python that everybody may execute, as for workers.
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    carrier.stdin.take().unwrap().write_all(&request).unwrap();
    let out = carrier.wait_with_output().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

fn named(name: &str, script: &Path, visitor: Option<u32>) -> GroupConfig {
    let mut config = group(name, script);
    if let Some(uid) = visitor {
        config.set("socket-user", &format!("#{uid}")).unwrap();
    }
    config
}

#[test]
fn root_a_visitor_reaches_the_groups_that_name_it() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    let problems = httpd.configure(vec![
        named("mine", &script, Some(VISITOR)),
        named("yours", &script, None),
    ]);
    if problems
        .iter()
        .any(|problem| problem.contains("access list"))
    {
        // A file system without them: said, and nobody is let in.
        assert!(visit(&httpd, VISITOR, "mine", &script).contains("closed"));
        return;
    }
    assert_eq!(problems, Vec::<String>::new());
    let mine = visit(&httpd, VISITOR, "mine", &script);
    assert!(mine.contains("visited"), "{mine}");
    let yours = visit(&httpd, VISITOR, "yours", &script);
    assert!(yours.contains("is not the socket-user="), "{yours}");
    assert!(visit(&httpd, STRANGER, "mine", &script).contains("closed"));
    // The next program knows them too, and a configuration without them none.
    assert_eq!(crate::reexec::reexec(&httpd).0, 0);
    assert!(visit(&httpd, VISITOR, "mine", &script).contains("visited"));
    httpd.configure(vec![named("mine", &script, None)]);
    assert!(visit(&httpd, VISITOR, "mine", &script).contains("closed"));
}

/// Starts the supervisor without the capability to change what others own.
const WITHOUT: [&str; 3] = ["setpriv", "--bounding-set=-fowner", "--inh-caps=-fowner"];

#[test]
fn root_a_supervisor_without_cap_fowner_has_no_problem_until_a_visitor_is_named() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let wrapper = tempfile::tempdir().unwrap();
    let program = wrapper.path().join("wsgid");
    let words = [&WITHOUT.join(" "), &crate::program().display().to_string()]
        .map(String::as_str)
        .join(" ");
    std::fs::write(&program, format!("#!/bin/sh\nexec {words} \"$@\"\n")).unwrap();
    std::fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut httpd = Httpd::start_program(&program);
    std::os::unix::fs::chown(
        httpd.dir.path().join("httpd.sock"),
        Some(crate::stand_in::nobody()),
        None,
    )
    .unwrap();
    let script = httpd.script("app.py", APP);
    assert_eq!(
        httpd.configure(vec![named("mine", &script, None)]),
        Vec::<String>::new()
    );
    let problems = httpd.configure(vec![named("mine", &script, Some(VISITOR))]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let said = &problems[0];
    assert!(
        said.contains("socket-user= has no effect") && said.contains("add CAP_FOWNER"),
        "{said}"
    );
    assert_eq!(
        httpd.configure(vec![named("mine", &script, None)]),
        Vec::<String>::new()
    );
}

#[test]
fn root_a_supervisor_on_its_own_without_cap_fowner_reloads() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let temporary = crate::standalone::configured(0o755, APP);
    let dir = temporary.path().to_path_buf();
    let site = |more: &str| {
        let text = format!(
            "[group.a]\nuser = '#{}'\nscripts = ['{}/app.py']\n{more}",
            crate::stand_in::nobody(),
            dir.display()
        );
        std::fs::write(dir.join("sites/a.toml"), text).unwrap();
    };
    site("");
    let _supervisor = crate::standalone::started(temporary, &WITHOUT);
    let log = || std::fs::read_to_string(dir.join("log")).unwrap();
    crate::standalone::wait("a configuration in force", || log().contains("is in force"));
    assert!(log().contains("1 process group, 0 problems"), "{}", log());
    assert_eq!(
        crate::standalone::ask(&dir, &["reload"]),
        (
            0,
            "the configuration is in force; no worker has to be replaced for it\n".to_owned()
        )
    );
    site(&format!("socket-user = '#{VISITOR}'\n"));
    let (code, said) = crate::standalone::ask(&dir, &["reload"]);
    assert!(
        code == 7 && said.contains("add CAP_FOWNER") && !said.contains("WSGISocketPrefix"),
        "{code} {said}"
    );
    site("");
    assert_eq!(crate::standalone::ask(&dir, &["reload"]).0, 0);
}
