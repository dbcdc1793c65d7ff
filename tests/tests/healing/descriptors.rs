//! Descriptors that run out. The kernel counts those that are on their way in
//! sockets, for each user: where one process of a user has used them up, its
//! workers still serve files. And an application that keeps all that its process
//! may have costs no request.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use wsgid_tests::{Client, Httpd, Limit, Site, case, eventually, note, users};

use crate::SOON;

const FILE: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
";

/// Sends itself descriptors and takes none, until it may not.
const HOARD: &str = "
import array, os, socket, sys
null, kept = os.open('/dev/null', os.O_RDONLY), []
message = ([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [null] * 250))])
try:
    while len(kept) < 1000:
        kept.append(socket.socketpair())
        kept[-1][0].setblocking(False)
        try:
            while True:
                kept[-1][0].sendmsg(*message)
        except BlockingIOError:
            pass
except OSError as error:
    print(error.errno, flush=True)
sys.stdin.read()
";

#[test]
fn root_a_file_is_served_where_no_descriptor_can_be_passed() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let user = &users[2];
        let site = Site::of(user);
        let script = site.write("app.py", FILE);
        let options = format!("threads=2 user={} group={}", user.name, user.group);
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").text(), FILE);
        let mut hoarder = Command::new("setpriv")
            .args([
                "--reuid",
                &user.uid.to_string(),
                "--regid",
                &user.gid.to_string(),
                "--clear-groups",
            ])
            .args(["/usr/bin/python3", "-c", HOARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv is installed");
        let mut said = String::new();
        let out = hoarder.stdout.take().expect("a pipe");
        BufReader::new(out)
            .read_line(&mut said)
            .expect("it says when it may not");
        // ETOOMANYREFS; a kernel without this limit has nothing to show.
        if said.trim() == "109" {
            for _ in 0..5 {
                assert_eq!(httpd.get("/").text(), FILE);
            }
        } else {
            note(&format!("left out: the kernel said `{}`", said.trim()));
        }
        drop(hoarder.stdin.take());
        hoarder.wait().expect("it ends with its input");
        assert_eq!(httpd.get("/").text(), FILE);
        httpd.stop();
    });
}

const GREEDY: &str = "
import os, resource, time
kept = []
def application(environ, start_response):
    if environ['PATH_INFO'] == '/hoard':
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            while True: kept.append(os.open('/dev/null', os.O_RDONLY))
        except OSError: pass
    else:
        time.sleep(0.1)
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

#[test]
fn an_application_that_keeps_all_descriptors_loses_no_request() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("app.py", GREEDY);
        let httpd = Httpd::builder()
            .daemon("site", "threads=4")
            .mount("/", &script, "site")
            .start();
        let full = httpd.get("/hoard").text();
        // Each at the same time needs a connection of its own, which the worker cannot receive.
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let address = httpd.address();
                thread::spawn(move || {
                    Client::new(address)
                        .get("/")
                        .map(|answer| (answer.status, answer.text()))
                })
            })
            .collect();
        for client in clients {
            let answer = client.join().expect("it does not panic");
            assert!(matches!(answer, Ok((200, _))), "{answer:?}");
        }
        httpd.wait_for_log("no file descriptor left", SOON);
        eventually("another process", SOON, || {
            (httpd.get("/").text() != full).then_some(())
        });
        httpd.stop();
    });
}
