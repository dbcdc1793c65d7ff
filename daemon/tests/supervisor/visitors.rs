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
const STRANGER: u32 = 64_004;

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
fn visit(httpd: &Httpd, uid: u32, group: &str, script: &Path) -> String {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let connection = httpd.greet(ours, group, 9, script, "/");
    connection.stream.shutdown(Shutdown::Write).unwrap();
    let mut request = Vec::new();
    theirs.read_to_end(&mut request).unwrap();
    let mut carrier = Command::new("setpriv")
        .args(["--reuid", &uid.to_string(), "--regid", &uid.to_string(), "--clear-groups", "python3", "-c", CARRIER])
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
    let problems = httpd.configure(vec![named("mine", &script, Some(VISITOR)), named("yours", &script, None)]);
    if problems.iter().any(|problem| problem.contains("access list")) {
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
