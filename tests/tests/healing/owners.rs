//! Who may command what: root everything, a group's user that group, and an
//! application no more than its user, whatever it sends.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use wsgid_protocol::status::Status;
use wsgid_tests::{Httpd, Limit, Site, artifacts, case, control, eventually, users};

/// Opens the control socket itself, and prints what came back.
const APPLICATION: &str = "
import glob, json, socket, struct
def ask(number, group):
    found = glob.glob(PREFIX + '/**/control.sock', recursive=True)
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(found[0])
    payload = bytes([number]) + (bytes([len(group)]) + group.encode() if group else b'')
    stream.sendall(struct.pack('<IBBHQ', len(payload), 0x41, 0, 0, 0) + payload)
    answer = b''
    while True:
        piece = stream.recv(65536)
        if not piece:
            return json.loads(answer[16:] or 'null')
        answer += piece
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    command, _, group = environ['QUERY_STRING'].partition('=')
    return [json.dumps(ask(int(command), group)).encode()]
";
const RESTART: u8 = 1;
const DUMP: u8 = 4;
const RELOAD: u8 = 5;
const REEXEC: u8 = 6;

/// Runs `wsgid` as this user, who is also in these groups.
fn as_user(httpd: &Httpd, uid: u32, groups: &str, args: &[&str]) -> (i32, String) {
    let program = artifacts::wsgid();
    let program = httpd
        .root()
        .join("bin")
        .join(program.file_name().expect("it has a name"));
    let groups = if groups.is_empty() {
        "--clear-groups".to_owned()
    } else {
        format!("--groups={groups}")
    };
    let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), groups];
    let mut command = Command::new("setpriv");
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .args(ids)
        .arg(program)
        .args(args)
        .arg("--socket")
        .arg(httpd.control_socket())
        .output()
        .expect("setpriv is installed");
    (
        status.code().unwrap_or(-1),
        String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
    )
}

fn groups_seen(httpd: &Httpd, uid: u32, groups: &str) -> Vec<String> {
    let (code, text) = as_user(httpd, uid, groups, &["status", "--json"]);
    assert_eq!(code, 0, "{text}");
    let status: Status = serde_json::from_str(&text).expect("a status");
    status.groups.into_iter().map(|group| group.name).collect()
}

fn server(site: &Site, script: &Path) -> Httpd {
    let [one, two, _] = users::three().expect("root");
    let group =
        |user: &users::TestUser| format!("threads=1 user={} group={}", user.name, user.group);
    let mut builder = Httpd::builder();
    builder.copied_artifacts();
    builder
        .daemon("first", &group(one))
        .daemon("second", &group(one))
        .daemon("other", &group(two))
        .daemon("httpds", "threads=1")
        .mount("/first", script, "first")
        .mount("/other", &site.file("hello.py"), "other")
        .mount("/httpds", script, "httpds")
        .start()
}

fn restarts(httpd: &Httpd, group: &str) -> Vec<u64> {
    let status = control::status(httpd).expect("a status");
    control::pools(&status, group)
        .iter()
        .map(|pool| pool.generation)
        .collect()
}

#[test]
fn root_each_user_commands_its_own_groups() {
    case(Limit::default(), || {
        let Some([one, two, three]) = users::three() else {
            return;
        };
        let site = Site::new();
        let httpd_uid = users::of_httpd().uid;
        let script = site.write("asks.py", "");
        let httpd = server(&site, &script);
        let prefix = format!("PREFIX = {:?}\n", httpd.root().display().to_string());
        site.write("asks.py", &(prefix + APPLICATION));
        assert_eq!(groups_seen(&httpd, one.uid, ""), ["first", "second"]);
        assert_eq!(groups_seen(&httpd, two.uid, ""), ["other"]);
        // Neither membership in a group nor being httpd makes an owner.
        assert_eq!(
            groups_seen(&httpd, three.uid, &format!("{},{}", one.gid, two.gid)),
            [""; 0]
        );
        assert_eq!(groups_seen(&httpd, httpd_uid, ""), [""; 0]);
        let word = |uid: u32, args: &[&str]| as_user(&httpd, uid, &one.gid.to_string(), args);
        for (uid, group, expected) in [
            (one.uid, "first", 0),
            (one.uid, "second", 0),
            (one.uid, "other", 4),
            (one.uid, "httpds", 4),
            (one.uid, "no-such-group", 4),
            (two.uid, "other", 0),
            (two.uid, "first", 4),
            (three.uid, "first", 4),
            (httpd_uid, "first", 4),
            (httpd_uid, "httpds", 4),
            (0, "httpds", 0),
            (0, "no-such-group", 5),
        ] {
            for command in ["stop", "start", "restart", "dump", "requests"] {
                let begun = Instant::now();
                let (code, text) = word(uid, &[command, group]);
                assert!(
                    begun.elapsed() < Duration::from_secs(4),
                    "{command} {group}: {text}"
                );
                assert_eq!(code, expected, "uid {uid}: {command} {group}: {text}");
                assert_eq!(
                    text.contains("may not command process group"),
                    expected == 4,
                    "{text}"
                );
            }
        }
        // Nor is anybody told whether a group of others exists.
        let without_name =
            |group: &str| word(one.uid, &["restart", group]).1.replace(group, "NAME");
        assert_eq!(without_name("other"), without_name("no-such-group"));
        for command in ["reload", "reexec"] {
            assert_eq!(word(one.uid, &[command]).0, 4, "{command}");
            assert_eq!(word(httpd_uid, &[command]).0, 4, "{command}");
        }
        an_application_may_do_no_more_than_its_user(&httpd);
        let (code, text) = word(0, &["restart", &"x".repeat(5000)]);
        assert!(
            code == 1 && text.contains("more than a command may have"),
            "{code} {text}"
        );
        httpd.stop();
    });
}

fn an_application_may_do_no_more_than_its_user(httpd: &Httpd) {
    let said = |path: &str, command: u8, group: &str| {
        httpd.get(&format!("{path}?{command}={group}")).json()
    };
    assert_eq!(said("/first", RESTART, "second")["ok"], true);
    let before = restarts(httpd, "other");
    for (path, command, group) in [
        ("/first", RESTART, "other"),
        ("/first", DUMP, "other"),
        ("/first", RELOAD, ""),
        ("/first", REEXEC, ""),
        ("/httpds", RESTART, "httpds"),
        ("/httpds", RESTART, "other"),
    ] {
        assert_eq!(
            said(path, command, group)["error"],
            "denied",
            "{path} {command} {group}"
        );
    }
    assert_eq!(restarts(httpd, "other"), before);
    assert_eq!(
        said("/first", 200, "")["error"],
        "not-a-command",
        "no command has this number"
    );
}

#[test]
fn root_nobody_keeps_the_administrator_waiting() {
    case(Limit::default(), || {
        let Some([one, two, _]) = users::three() else {
            return;
        };
        let site = Site::new();
        let httpd = server(&site, &site.file("hello.py"));
        let socket = httpd.control_socket();
        // Connects again and again, keeps it, and says nothing.
        let opener = "import socket, sys\nkept = []\nwhile True:\n    stream = socket.socket(socket.AF_UNIX)\n    \
                     stream.connect(sys.argv[1])\n    kept = kept[-900:] + [stream]\n";
        let begin = || {
            Command::new("setpriv")
                .args([
                    &format!("--reuid={}", one.uid),
                    &format!("--regid={}", one.gid),
                    "--clear-groups",
                ])
                .args(["/usr/bin/python3", "-c", opener])
                .arg(&socket)
                .spawn()
                .expect("setpriv is installed")
        };
        let mut openers: Vec<_> = (0..8).map(|_| begin()).collect();
        wsgid_tests::wait::let_run(Duration::from_secs(1));
        for uid in [0, two.uid] {
            let begun = Instant::now();
            let (code, text) = as_user(&httpd, uid, "", &["status"]);
            assert_eq!(code, 0, "{text}");
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{:?} for uid {uid}",
                begun.elapsed()
            );
        }
        let supervisor = httpd.supervisor().expect("it runs");
        let before = supervisor.cpu_time();
        wsgid_tests::wait::let_run(Duration::from_secs(1));
        let used = supervisor.cpu_time().saturating_sub(before);
        assert!(
            used < Duration::from_millis(500),
            "{used:?} of a second for being asked nothing"
        );
        assert_eq!(httpd.get("/other").status, 200);
        assert!(
            supervisor.descriptors().len() < 200,
            "{:?}",
            supervisor.descriptors().len()
        );
        for opener in &mut openers {
            assert!(
                opener.try_wait().expect("a child").is_none(),
                "it goes on all the time"
            );
            opener.kill().expect("it runs");
            opener.wait().expect("it has ended");
        }
        eventually("its owner is heard again", Duration::from_secs(10), || {
            (as_user(&httpd, one.uid, "", &["restart", "first"]).0 == 0).then_some(())
        });
        httpd.stop();
    });
}
