//! The supervisor with real workers, without httpd.

use std::time::{Duration, Instant};

use crate::stand_in::{Answer, Httpd, group};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wsgid_protocol::control::FromParent;

const APP: &str = "
import os, time
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/die': os._exit(3)
    if path == '/slow': time.sleep(1)
    text = {'/pid': str(os.getpid()), '/uid': str(os.getuid()), '/cwd': os.getcwd()}.get(path, 'hello')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text.encode()]
";

fn body(answer: Answer) -> String {
    match answer {
        Answer::Body(200, text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_reaches_a_worker_of_the_sites_user() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    assert_eq!(
        httpd.configure(vec![group("site", &script)]),
        Vec::<String>::new()
    );
    assert_eq!(body(httpd.get("site", &script, "/")), "hello");
    assert_eq!(
        body(httpd.get("site", &script, "/uid")),
        crate::stand_in::nobody().to_string()
    );
    let mut connection = httpd.connect("site", 9, &script, "/");
    assert_eq!(body(connection.answer()), "hello");
    connection.request(&script, "/").unwrap();
    assert_eq!(body(connection.answer()), "hello");
}

#[test]
fn a_killed_worker_is_named_and_replaced() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let pid: i32 = body(httpd.get("site", &script, "/pid")).parse().unwrap();
    let mut idle = httpd.connect("site", 1, &script, "/");
    assert_eq!(body(idle.answer()), "hello");
    let mut slow = httpd.connect("site", 2, &script, "/slow");
    std::thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    match slow.answer() {
        Answer::Failed(21, text) => assert!(
            text.contains("SIGKILL") && text.contains(&pid.to_string()),
            "{text}"
        ),
        other => panic!("{other:?}"),
    }
    let start = Instant::now();
    assert_ne!(body(httpd.get("site", &script, "/pid")), pid.to_string());
    assert!(start.elapsed() < Duration::from_secs(3));
    // The idle one was closed for sending before anything could be lost on it.
    assert!(idle.request(&script, "/").is_err());
    match httpd.get("site", &script, "/die") {
        Answer::Failed(20, text) => assert!(text.contains("exited with code 3"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(body(httpd.get("site", &script, "/")), "hello");
}

#[test]
fn the_secret_of_a_generation_ends_with_it() {
    // Restarted at once, the children end before the next configuration comes.
    for ends_before in [true, false] {
        let mut httpd = Httpd::start();
        let script = httpd.script("app.py", APP);
        httpd.configure(vec![group("site", &script)]);
        let before = std::mem::replace(&mut httpd.secret, [9; 32]);
        if ends_before {
            httpd.say(&FromParent::GenerationEnded(1));
        }
        httpd.configure(vec![group("site", &script)]);
        if !ends_before {
            let now = std::mem::replace(&mut httpd.secret, before);
            assert!(
                matches!(httpd.get("site", &script, "/"), Answer::Body(200, _)),
                "it has children"
            );
            httpd.secret = now;
            httpd.say(&FromParent::GenerationEnded(1));
        }
        httpd.wait("the end of a generation", |httpd| {
            httpd.status().supervisor.unwrap().generations == [2]
        });
        assert!(matches!(
            httpd.get("site", &script, "/"),
            Answer::Body(200, _)
        ));
        httpd.secret = before;
        let answer = httpd.get("site", &script, "/");
        assert!(
            matches!(&answer, Answer::Failed(_, text) if text.contains("does not come from")),
            "{answer:?}"
        );
    }
}
