//! Module, supervisor, worker and command line of different releases: whatever
//! one says that another does not know is told in words, and nothing stops.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use wsgid_protocol::config::GroupConfig;
use wsgid_protocol::control::ToParent;
use wsgid_protocol::option::Unread;
use wsgid_protocol::{Failure, FrameHead, Kind, payload};

use crate::reexec::body;
use crate::stand_in::{Answer, Httpd, group};

pub(super) const APP: &str = "
import os, struct, time
def frame(payload):
    return struct.pack('<IBBHQ', len(payload), 0x41, 0, 0, 0) + payload
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/slow': time.sleep(2)
    if path == '/strange':
        for _ in range(5): os.write(3, frame(b'\\x63whatever follows'))
    if path == '/replace': os.write(3, frame(b'\\x03\\x63'))
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

/// As a module one option newer sends it.
pub(super) fn newer(mut config: GroupConfig) -> GroupConfig {
    config.unread.push(Unread {
        name: "hover-height".into(),
        value: "9 cm".into(),
        reason: String::new(),
    });
    config
}

/// The configuration of a module that speaks other versions, and goes on as nobody knows.
fn foreign(httpd: &mut Httpd, lowest: u16, highest: u16, rest: &[u8]) -> Vec<u8> {
    let mut bytes = payload::encode(&httpd.configuration(Vec::new())).unwrap();
    bytes.truncate(17);
    bytes[1..3].copy_from_slice(&lowest.to_le_bytes());
    bytes[3..5].copy_from_slice(&highest.to_le_bytes());
    [&bytes, rest].concat()
}

fn refusal(httpd: &mut Httpd, bytes: &[u8]) -> String {
    httpd.say_bytes(bytes);
    match httpd.reply() {
        ToParent::Refused { reason, .. } => reason,
        other @ ToParent::Applied { .. } => panic!("{other:?}"),
    }
}

#[test]
fn an_option_that_nobody_knows_is_the_problem_of_its_group() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    assert_eq!(
        httpd.configure(vec![group("site", &script), group("other", &script)]),
        [""; 0]
    );
    let pid = body(httpd.get("site", &script, "/"));
    let others = body(httpd.get("other", &script, "/"));

    let (mut site, mut other) = (newer(group("site", &script)), group("other", &script));
    site.set("threads", "7").unwrap();
    other.set("threads", "3").unwrap();
    let mut wrong = group("wrong", &script);
    wrong.unread.push(Unread {
        name: "threads".into(),
        value: "many".into(),
        reason: String::new(),
    });
    let problems = httpd.configure(vec![site, other, newer(group("fresh", &script)), wrong]);
    assert_eq!(problems.len(), 3, "{problems:?}");
    let told = |name: &str| {
        problems
            .iter()
            .find(|text| text.contains(&format!("`{name}`")))
            .unwrap()
    };
    assert!(
        told("site").contains("`hover-height`") && told("site").contains("as it was"),
        "{problems:?}"
    );
    assert!(
        told("fresh").contains("`hover-height`") && told("fresh").contains("release"),
        "{problems:?}"
    );
    assert!(
        told("wrong").contains("option `threads`: `many`"),
        "{problems:?}"
    );

    assert_eq!(
        body(httpd.get("site", &script, "/")),
        pid,
        "what was in force is in force"
    );
    httpd.wait("the other group has what it was to have", |httpd| {
        body(httpd.get("other", &script, "/")) != others
    });
    for (name, words) in [("fresh", "hover-height"), ("wrong", "`many`")] {
        match httpd.get(name, &script, "/") {
            Answer::Failed(code, text) => {
                assert!(text.contains(words), "{text}");
                assert_eq!(Failure::from_code(code).unwrap().row().status, 503);
            }
            answer => panic!("{answer:?}"),
        }
    }
    // Without the option all is well again.
    let good = ["site", "other", "fresh", "wrong"].map(|name| group(name, &script));
    assert_eq!(httpd.configure(good.to_vec()), [""; 0]);
    httpd.wait("the new group serves", |httpd| {
        matches!(httpd.get("fresh", &script, "/"), Answer::Body(200, _))
    });
}

#[test]
fn a_module_of_another_version_is_refused_and_the_supervisor_goes_on() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    // Before there is any configuration, too.
    let bytes = foreign(&mut httpd, 3, 3, b"\xff\xff\xff\xff\xff");
    let reason = refusal(&mut httpd, &bytes);
    assert!(
        reason.contains("versions 3 to 3") && reason.contains("this supervisor 2 to 2"),
        "{reason}"
    );
    assert!(reason.contains("stop and start httpd"), "{reason}");

    httpd.configure(vec![group("site", &script)]);
    let pid = body(httpd.get("site", &script, "/"));
    for rest in [
        &b""[..],
        b"\x00",
        b"\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
        &[b'{'; 5000],
    ] {
        let bytes = foreign(&mut httpd, 3, 4, rest);
        assert!(refusal(&mut httpd, &bytes).contains("versions 3 to 4"));
        let bytes = foreign(&mut httpd, 1, 1, rest);
        assert!(refusal(&mut httpd, &bytes).contains("versions 1 to 1"));
        let bytes = foreign(&mut httpd, 2, 9, rest);
        assert!(refusal(&mut httpd, &bytes).contains("cannot be read"));
    }
    assert_eq!(body(httpd.get("site", &script, "/")), pid);
    assert!(!httpd.log().contains("has gone"), "{}", httpd.log());
    assert_eq!(httpd.configure(vec![group("site", &script)]), [""; 0]);
}

#[test]
fn what_the_parent_says_beside_is_ignored() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let pid = body(httpd.get("site", &script, "/"));
    httpd.say_bytes(b"\x63whatever follows");
    // `GenerationEnded` with a field that nobody knows.
    httpd.say_bytes(b"\x01\x01more of it");
    assert_eq!(httpd.configure(vec![group("site", &script)]), [""; 0]);
    assert_eq!(body(httpd.get("site", &script, "/")), pid);
    assert_eq!(
        httpd.log().matches("is of another release").count(),
        1,
        "{}",
        httpd.log()
    );
}

#[test]
fn a_child_of_another_version_is_told() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let mut stream = UnixStream::connect(httpd.dir.path().join("httpd.sock")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let hello = b"\x03\x04what follows is laid out in another way";
    let head = FrameHead::new(Kind::Hello, 0, u32::try_from(hello.len()).unwrap()).encode();
    stream.write_all(&[&head[..], hello].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = FrameHead::parse(answer.first_chunk().unwrap()).unwrap();
    assert_eq!(
        (head.kind, head.code),
        (Kind::Fail, Failure::VersionMismatch.code())
    );
    assert!(String::from_utf8_lossy(&answer).contains("versions 3 to 4"));
    httpd.wait("it is logged", |httpd| {
        httpd.log().contains("versions 3 to 4")
    });
    body(httpd.get("site", &script, "/"));
}

/// The answer to a command, as the command line gets it.
fn ask(httpd: &Httpd, command: &[u8]) -> serde_json::Value {
    let mut stream = UnixStream::connect(httpd.dir.path().join("control.sock")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let head = FrameHead::new(Kind::Control, 0, u32::try_from(command.len()).unwrap()).encode();
    stream.write_all(&[&head[..], command].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    serde_json::from_slice(&answer[16..]).unwrap()
}

#[test]
fn a_command_of_another_release_is_refused_and_nothing_is_done() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let pid = body(httpd.get("site", &script, "/"));
    // A kind that there is not; `Stop` with a field more; `Stop` without its field.
    for command in [&b"\x63site"[..], b"\x02\x04site\x01", b"\x02"] {
        let answer = ask(&httpd, command);
        assert_eq!(answer["error"], "not-a-command", "{answer}");
        let text = answer["text"].as_str().unwrap();
        assert!(
            text.contains("release") && text.contains("wsgid reexec"),
            "{text}"
        );
    }
    assert_eq!(body(httpd.get("site", &script, "/")), pid);
}

#[test]
fn what_a_worker_of_another_release_says_is_ignored_with_one_line() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let mut connection = httpd.connect("site", 5, &script, "/strange");
    let pid = body(connection.answer());
    connection.request(&script, "/strange").unwrap();
    assert_eq!(body(connection.answer()), pid);
    httpd.wait("it is told", |httpd| {
        httpd.log().contains("is of another release")
    });
    assert_eq!(body(httpd.get("site", &script, "/")), pid);
    assert_eq!(
        httpd.log().matches("is of another release").count(),
        1,
        "{}",
        httpd.log()
    );
    // A reason that nobody knows is a reason.
    body(httpd.get("site", &script, "/replace"));
    httpd.wait("another worker", |httpd| {
        body(httpd.get("site", &script, "/")) != pid
    });
    assert!(!httpd.log().contains("malformed"), "{}", httpd.log());
}
