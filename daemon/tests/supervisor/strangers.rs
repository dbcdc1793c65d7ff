//! Who is no child of httpd's, or says what a child may not say: on the request
//! socket, on a connection that a worker has already, and to the launcher.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wsgid_protocol::blocking::{FrameReader, send_frame};
use wsgid_protocol::control::{Identity, ToWorker, WorkerSpec};
use wsgid_protocol::request::VERSIONS;
use wsgid_protocol::{Failure, FrameHead, Kind, payload};

use crate::stand_in::{Answer, Httpd, group, inheritable};
use crate::visitors::{STRANGER, visit};

const APP: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('visited ' + os.environ.get('TOLD', '')).encode()]
";
/// The supervisor waits so long for HELLO.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// So many connections without HELLO a process of httpd's may have.
const HALF_OPEN_EACH: usize = 64;

fn served() -> Answer {
    Answer::Body(200, "visited ".to_owned())
}

fn framed(kind: Kind, bytes: &[u8]) -> Vec<u8> {
    [
        &FrameHead::new(kind, 0, u32::try_from(bytes.len()).unwrap()).encode()[..],
        bytes,
    ]
    .concat()
}

/// A connection that has said nothing yet.
fn silent(httpd: &Httpd) -> UnixStream {
    let stream = UnixStream::connect(httpd.dir.path().join("httpd.sock")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    stream
}

/// Waits until the other end is closed; whatever came first is returned.
fn until_closed(stream: &mut UnixStream) -> Vec<u8> {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        // It was closed with something unread in it.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    said
}

#[test]
fn root_a_user_for_whom_the_socket_is_open_is_turned_away() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    // As if somebody had changed the mode.
    let socket = httpd.dir.path().join("httpd.sock");
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o666)).unwrap();
    let got = visit(&httpd, STRANGER, "site", &script);
    assert!(!got.contains("visited") && !got.contains("closed"), "{got}");
    let told = format!("a connection from uid {STRANGER} ");
    assert!(
        httpd
            .log()
            .lines()
            .any(|line| line.contains(&told) && line.contains("was turned away")),
        "{}",
        httpd.log()
    );
    assert_eq!(httpd.get("site", &script, "/"), served());
}

#[test]
fn a_child_without_the_secret_gets_neither_a_group_nor_the_status() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let right = httpd.secret;
    let mut last = right;
    last[31] ^= 1;
    let mut first = right;
    first[0] ^= 0x80;
    for wrong in [[0; 32], last, first] {
        httpd.secret = wrong;
        for name in ["site", "wsgid:status", "wsgid:spans"] {
            let answer = httpd.get(name, &script, "/");
            let refused =
                matches!(&answer, Answer::Failed(code, _) if *code == Failure::NotAllowed.code());
            assert!(refused, "{name}: {answer:?}");
        }
    }
    httpd.secret = right;
    assert_eq!(httpd.get("site", &script, "/"), served());
    let status = httpd.get("wsgid:status", &script, "/");
    assert!(
        matches!(&status, Answer::Body(_, text) if text.contains("\"site\"")),
        "{status:?}"
    );
}

#[test]
fn a_child_that_does_not_finish_its_hello_is_cut_off_after_five_seconds() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let begun = Instant::now();
    let mut all: Vec<UnixStream> = [&b""[..], b"\x20", &framed(Kind::Hello, &[0; 60])[..40]]
        .iter()
        .map(|bytes| {
            let mut stream = silent(&httpd);
            stream.write_all(bytes).unwrap();
            stream
        })
        .collect();
    for stream in &mut all {
        assert_eq!(until_closed(stream), b"");
    }
    let took = begun.elapsed();
    assert!(
        took > HELLO_TIMEOUT - Duration::from_secs(1)
            && took < HELLO_TIMEOUT + Duration::from_secs(5),
        "{took:?}"
    );
    httpd.wait("a line", |httpd| {
        httpd.log().contains("HELLO was not complete after 5 s")
    });
}

#[test]
fn a_process_that_says_nothing_has_64_connections_and_makes_room_for_its_own() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let begun = Instant::now();
    let mut all: Vec<UnixStream> = (0..HALF_OPEN_EACH + 3).map(|_| silent(&httpd)).collect();
    // The oldest go first.
    for stream in &mut all[..3] {
        assert_eq!(until_closed(stream), b"");
    }
    assert!(begun.elapsed() < HELLO_TIMEOUT / 2, "{:?}", begun.elapsed());
    all[3].set_nonblocking(true).unwrap();
    let kind = all[3].read(&mut [0]).unwrap_err().kind();
    assert_eq!(
        kind,
        std::io::ErrorKind::WouldBlock,
        "it still has its place"
    );
}

#[test]
fn a_connection_does_not_change_its_group_by_another_hello() {
    let mut httpd = Httpd::start();
    let mine = httpd.script("mine.py", APP);
    let yours = httpd.script("yours.py", APP);
    httpd.configure(vec![group("mine", &mine), group("yours", &yours)]);
    let mut connection = httpd.connect("mine", 1, &mine, "/");
    assert_eq!(connection.answer(), served());
    let again = connection.stream.try_clone().unwrap();
    let mut connection = httpd.greet(again, "yours", 1, &yours, "/");
    let answer = connection.answer();
    assert!(!matches!(answer, Answer::Body(..)), "{answer:?}");
    assert_eq!(connection.answer(), Answer::Lost, "it is closed");
}

#[test]
fn a_child_that_configures_a_group_has_none() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let message = payload::encode(&httpd.configuration(vec![group("more", &script)])).unwrap();
    let mut stream = silent(&httpd);
    stream.write_all(&framed(Kind::Control, &message)).unwrap();
    assert_eq!(until_closed(&mut stream), b"");
    httpd.wait("a line", |httpd| {
        httpd.log().contains("Control came instead of HELLO")
    });
    let status = httpd.status();
    let names: Vec<_> = status.groups.iter().map(|group| &group.name).collect();
    assert_eq!(names, ["site"]);
}

#[test]
fn a_request_with_another_nonce_is_not_served() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    for wrong in [2, 0, u32::MAX] {
        let mut connection = httpd.connect("site", 1, &script, "/");
        assert_eq!(connection.answer(), served());
        connection.nonce = wrong;
        connection.request(&script, "/").unwrap();
        let answer = connection.answer();
        assert!(!matches!(answer, Answer::Body(..)), "{wrong}: {answer:?}");
        assert_eq!(connection.answer(), Answer::Lost, "{wrong}: it is closed");
    }
}

/// What becomes of a launcher that is told to be this user.
fn launched_as(uid: u32, gid: u32) -> (Option<i32>, String) {
    let (ours, other) = UnixStream::pair().unwrap();
    let theirs = inheritable(other.as_fd());
    let nothing = std::fs::File::open("/dev/null").unwrap();
    let extension = inheritable(nothing.as_fd());
    let child = Command::new(crate::program())
        .arg("worker-exec")
        .args([
            theirs.as_raw_fd().to_string(),
            extension.as_raw_fd().to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop((other, theirs));
    let identity = Identity {
        uid,
        gid,
        user: "somebody".to_owned(),
        home: "/".into(),
        change: true,
        ..Identity::default()
    };
    let spec = WorkerSpec {
        versions: VERSIONS,
        group: group("site", std::path::Path::new("/nowhere.py")),
        identity,
        ..WorkerSpec::default()
    };
    let bytes = payload::encode(&ToWorker::Spec(Box::new(spec))).unwrap();
    let head = FrameHead::new(Kind::Control, 0, u32::try_from(bytes.len()).unwrap());
    send_frame(ours.as_fd(), head, &bytes, &[]).unwrap();
    // Whoever comes so far as Python finds no extension, and no second copy.
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reader = FrameReader::new(0);
    assert!(reader.next(ours.as_fd()).is_err(), "it says nothing");
    let out = child.wait_with_output().unwrap();
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    )
}

#[test]
fn root_the_launcher_itself_refuses_root() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    for (uid, gid) in [(0, 0), (0, 65534), (65534, 0)] {
        let (code, said) = launched_as(uid, gid);
        assert_eq!(code, Some(106), "{said}");
        assert!(said.contains("workers never run as root"), "{said}");
    }
    // Everybody else comes as far as Python, which is given no extension here.
    let (code, said) = launched_as(65534, 65534);
    assert_eq!(code, Some(120), "{said}");
}

#[test]
fn root_an_env_file_that_only_root_can_read_is_not_read() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    let file = httpd.script("environment", "TOLD=the-secret-of-root\n");
    let with_file = || {
        let mut config = group("site", &script);
        config.set("env-file", &file.display().to_string()).unwrap();
        vec![config]
    };
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    httpd.configure(with_file());
    httpd.wait("a line", |httpd| httpd.log().contains("Permission denied"));
    let answer = httpd.get("site", &script, "/");
    assert!(matches!(answer, Answer::Failed(..)), "{answer:?}");
    assert!(
        !httpd.log().contains("the-secret-of-root"),
        "{}",
        httpd.log()
    );
    // For those that it is meant for it is read.
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(httpd.command("restart", "site"), 0);
    httpd.wait("the environment", |httpd| {
        httpd.get("site", &script, "/")
            == Answer::Body(200, "visited the-secret-of-root".to_owned())
    });
}

#[test]
fn root_without_cap_sys_resource_it_is_said_once_that_workers_may_outlast_httpd() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let wrapper = tempfile::tempdir().unwrap();
    let program = wrapper.path().join("wsgid");
    let text = format!(
        "#!/bin/sh\nexec setpriv --bounding-set=-sys_resource --inh-caps=-sys_resource {} \"$@\"\n",
        crate::program().display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut httpd = Httpd::start_program(&program);
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script), group("other", &script)]);
    assert_eq!(httpd.get("site", &script, "/"), served());
    assert_eq!(
        httpd
            .log()
            .matches("this root lacks CAP_SYS_RESOURCE")
            .count(),
        1,
        "{}",
        httpd.log()
    );
    let worker = httpd.workers("ready")[0];
    assert_eq!(
        std::fs::read_to_string(format!("/proc/{worker}/oom_score_adj"))
            .unwrap()
            .trim(),
        "100"
    );
}
