//! Descriptors that an httpd child sends on a request connection and that sleep
//! when they are closed: whoever has the connection last, nobody waits.

use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{MsgFlags, setsockopt, sockopt};
use nix::unistd::Pid;
use wsgid_protocol::fds::send_with_fds;

use crate::stand_in::{Answer, Connection, Httpd, group};

/// `/allow` has its worker's sockets take descriptors again (`SO_PASSRIGHTS`).
const APP: &str = "
import os, socket, time
def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow': time.sleep(1.5)
    if environ['PATH_INFO'] == '/allow':
        for number in os.listdir('/proc/self/fd'):
            try: socket.socket(fileno=os.dup(int(number))).setsockopt(socket.SOL_SOCKET, 83, 1)
            except OSError: pass
    start_response('200 OK', [])
    return [b'hello']
";

/// Others are served within this; the close sleeps for 45 s.
const QUICK: Duration = Duration::from_secs(4);

/// Sends a byte with a descriptor whose last close sleeps, and keeps none.
/// Returns what keeps it asleep, or `None` where the kernel refuses.
fn send_sleeper(connection: &Connection) -> Option<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    setsockopt(
        &stream,
        sockopt::Linger,
        &libc::linger {
            l_onoff: 1,
            l_linger: 45,
        },
    )
    .unwrap();
    stream.set_nonblocking(true).unwrap();
    while stream.write(&[0; 65536]).is_ok() {}
    stream.set_nonblocking(false).unwrap();
    let sent = send_with_fds(
        connection.stream.as_fd(),
        &[IoSlice::new(b"x")],
        &[stream.as_fd()],
        MsgFlags::empty(),
    );
    if sent.is_err() {
        // The last one is ours.
        setsockopt(
            &stream,
            sockopt::Linger,
            &libc::linger {
                l_onoff: 0,
                l_linger: 0,
            },
        )
        .unwrap();
    }
    sent.is_ok().then_some(listener)
}

fn assert_nobody_waits(httpd: &Httpd, script: &std::path::Path) {
    let begun = Instant::now();
    assert_eq!(
        httpd.get("other", script, "/"),
        Answer::Body(200, "hello".to_owned())
    );
    assert!(!httpd.workers("ready").is_empty());
    assert!(begun.elapsed() < QUICK, "{:?}", begun.elapsed());
}

fn a_connection_that_was_given_back(old_kernel: bool) {
    let mut httpd = Httpd::start_on(old_kernel);
    let script = httpd.script("app.py", APP);
    let mut busy = group("site", &script);
    busy.threads = 1;
    httpd.configure(vec![busy, group("other", &script)]);
    let mut slow = httpd.connect("site", 1, &script, "/slow");
    std::thread::sleep(Duration::from_millis(300));
    // The worker has no thread for these and gives them back, with all that is behind.
    let waiting: Vec<_> = (2..5)
        .map(|nonce| httpd.connect("site", nonce, &script, "/"))
        .collect();
    let asleep: Vec<_> = waiting.iter().filter_map(send_sleeper).collect();
    assert_eq!(asleep.len(), if old_kernel { 3 } else { 0 });
    std::thread::sleep(Duration::from_millis(400));
    drop(waiting);
    assert_nobody_waits(&httpd, &script);
    assert_eq!(slow.answer(), Answer::Body(200, "hello".to_owned()));
    assert_nobody_waits(&httpd, &script);
}

#[test]
fn a_connection_that_was_given_back_with_a_sleeper_stops_nobody() {
    a_connection_that_was_given_back(false);
    a_connection_that_was_given_back(true);
}

fn a_worker_that_dies(old_kernel: bool) {
    let mut httpd = Httpd::start_on(old_kernel);
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script), group("other", &script)]);
    let mut idle = httpd.connect("site", 1, &script, "/allow");
    assert_eq!(idle.answer(), Answer::Body(200, "hello".to_owned()));
    let workers = httpd.workers("ready");
    for worker in &workers {
        kill(Pid::from_raw(*worker), Signal::SIGSTOP).unwrap();
    }
    let asleep = send_sleeper(&idle);
    assert!(asleep.is_some());
    for worker in &workers {
        kill(Pid::from_raw(*worker), Signal::SIGKILL).unwrap();
    }
    assert_nobody_waits(&httpd, &script);
}

#[test]
fn a_worker_that_dies_before_a_sleeper_is_read_stops_nobody() {
    a_worker_that_dies(false);
    a_worker_that_dies(true);
}
