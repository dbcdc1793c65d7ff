//! A connection that a site's process has had never reaches a process of
//! another identity, and nobody's copy of it keeps it open.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use wsgid_protocol::GroupConfig;

use crate::stand_in::{Answer, Httpd, group};

/// The first request leaves a child behind that keeps every descriptor. It
/// forks behind Python's back: the worker's own fork hook would close them.
const APP: &str = "
import ctypes, os
libc, child = ctypes.PyDLL(None), None
def application(environ, start_response):
    global child
    if child is None:
        child = libc.fork()
        if child == 0:
            libc.setsid()
            while True: libc.pause()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d %d %d' % (os.getuid(), os.getpid(), child)]
";

/// Uid, pid and the child's pid.
fn who(answer: Answer) -> [i32; 3] {
    match answer {
        Answer::Body(200, text) => {
            let numbers: Vec<i32> = text.split(' ').map(|word| word.parse().unwrap()).collect();
            [numbers[0], numbers[1], numbers[2]]
        }
        other => panic!("{other:?}"),
    }
}

fn group_of(uid: i32, script: &Path) -> GroupConfig {
    let mut config = group("site", script);
    config.set("user", &format!("#{uid}")).unwrap();
    config
}

/// Ends the child that an application left behind.
struct Left(i32);

impl Drop for Left {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0), Signal::SIGKILL);
    }
}

#[test]
fn root_a_connection_never_changes_hands_between_users() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    const OLD: i32 = 64_001;
    const NEW: i32 = 64_002;
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group_of(OLD, &script)]);
    let mut idle = httpd.connect("site", 1, &script, "/");
    let [uid, _, child] = who(idle.answer());
    let _left = Left(child);
    assert_eq!(uid, OLD);
    httpd.configure(vec![group_of(NEW, &script)]);
    let mut lefts = Vec::new();
    httpd.wait("the new user serves", |httpd| {
        let [uid, _, child] = who(httpd.get("site", &script, "/"));
        lefts.push(Left(child));
        uid == NEW
    });
    httpd.wait("the old worker has left", |httpd| {
        httpd.workers("draining").is_empty()
    });
    // The child of the old user still has the connection; the module must not
    // be able to say anything on it.
    match idle.request(&script, "/") {
        Err(_) => {}
        Ok(()) => assert!(
            !matches!(idle.answer(), Answer::Body(..)),
            "the request was served on the old connection"
        ),
    }
    assert!(
        idle.request(&script, "/").is_err(),
        "the connection is still open"
    );
}

#[test]
fn a_child_that_outlives_its_worker_holds_no_connection_open() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let mut idle = httpd.connect("site", 1, &script, "/");
    let [_, pid, child] = who(idle.answer());
    let _left = Left(child);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    httpd.wait("another worker", |httpd| {
        let ready = httpd.workers("ready");
        !ready.is_empty() && !ready.contains(&pid)
    });
    assert!(matches!(idle.answer(), Answer::Failed(21, _)));
    let start = Instant::now();
    assert_eq!(idle.answer(), Answer::Lost);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "the connection stayed open"
    );
}
