//! What passes between httpd and a worker, and what the interpreter is told.

use std::process::Command;
use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Request, case, note, users};

use crate::serve;

const TOLD: &str = "
import json, sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(sys.getswitchinterval()).encode()]
";

#[test]
fn the_interpreter_is_told() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 switch-interval=0.125", TOLD);
        assert_eq!(httpd.get("/").json(), 0.125);
        httpd.stop();
        let (_site, httpd) = serve("threads=1", TOLD);
        assert_eq!(httpd.get("/").json(), 0.005);
        httpd.stop();
    });
}

const HEADER: &str = "
def application(environ, start_response):
    length = int(environ['QUERY_STRING'])
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Long', 'x' * length)])
    return [b'']
";

#[test]
fn a_header_longer_than_its_buffer_is_refused() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 header-buffer-size=8192", HEADER);
        assert_eq!(httpd.get("/?8000").status, 200);
        assert_eq!(httpd.get("/?9000").status, 500);
        httpd.wait_for_log("response-invalid", Duration::from_secs(10));
        httpd.stop();
        let (_site, httpd) = serve("threads=1", HEADER);
        assert_eq!(httpd.get("/?9000").status, 200);
        httpd.stop();
    });
}

/// A first piece, and a second one after two seconds.
const PIECES: &str = "
import time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    def body():
        yield b'x' * int(environ['QUERY_STRING'])
        time.sleep(2)
        yield b'end'
    return body()
";

/// When the first byte of the body comes.
fn first_byte(httpd: &Httpd, len: usize) -> Duration {
    let begun = Instant::now();
    let mut first = None;
    let request = Request::new("GET", &format!("/?{len}"));
    let answer = httpd.client().send_with(&request, &mut |_: &[u8]| {
        first.get_or_insert_with(|| begun.elapsed());
    });
    assert_eq!(answer.expect("a whole answer").status, 200);
    first.expect("a body")
}

#[test]
fn bytes_are_held_back_for_the_delay_and_up_to_the_size() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 response-flush-delay=0", PIECES);
        let at_once = first_byte(&httpd, 1000);
        assert!(at_once < Duration::from_millis(1500), "{at_once:?}");
        httpd.stop();
        let (_site, httpd) = serve(
            "threads=1 response-flush-delay=10000 response-buffer-size=65536",
            PIECES,
        );
        let held = first_byte(&httpd, 1000);
        assert!(held >= Duration::from_millis(1900), "{held:?}");
        let full = first_byte(&httpd, 200_000);
        assert!(
            full < Duration::from_millis(1500),
            "the buffer is full, {full:?}"
        );
        httpd.stop();
    });
}

/// Prints the buffers of the connections that processes have to a worker. The
/// descriptor of another process is borrowed (438 is `pidfd_getfd`).
const BUFFERS: &str = "
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
for pid in sys.argv[1:]:
    handle = os.pidfd_open(int(pid))
    for number in os.listdir('/proc/%s/fd' % pid):
        got = libc.syscall(438, handle, int(number), 0)
        if got < 0:
            continue
        try:
            one = socket.socket(fileno=got)
            if one.family == socket.AF_UNIX and str(one.getpeername()).endswith('httpd.sock'):
                print(one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
                      one.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        except OSError:
            pass
";

#[test]
fn root_sockets_have_the_buffers_asked_for() {
    case(Limit::default(), || {
        if !users::is_root() {
            return note("left out: it needs root, to look into another process");
        }
        let (_site, httpd) = serve(
            "threads=1 send-buffer-size=50000 receive-buffer-size=30000",
            HEADER,
        );
        let mut client = httpd.client();
        assert_eq!(client.get("/?1").expect("an answer").status, 200);
        let children = httpd.pid().children();
        let supervisor = httpd.supervisor();
        let pids = children
            .iter()
            .filter(|pid| Some(**pid) != supervisor)
            .map(|pid| pid.number.to_string());
        let out = Command::new("python3")
            .arg("-c")
            .arg(BUFFERS)
            .args(pids)
            .output()
            .expect("python3 is installed");
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        // Linux keeps as much again for its own books.
        assert!(
            said.lines().any(|line| line == "100000 60000"),
            "{said}{}",
            String::from_utf8_lossy(&out.stderr)
        );
        httpd.stop();
    });
}
