//! The kernel counts the descriptors that are on their way in sockets, for each
//! user: where one process of a user has used them up, its workers still serve
//! files.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use wsgid_tests::{Httpd, Limit, Site, case, note, users};

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
        let httpd = Httpd::builder().daemon("site", &options).mount("/", &script, "site").start();
        assert_eq!(httpd.get("/").text(), FILE);
        let mut hoarder = Command::new("setpriv")
            .args(["--reuid", &user.uid.to_string(), "--regid", &user.gid.to_string(), "--clear-groups"])
            .args(["/usr/bin/python3", "-c", HOARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv is installed");
        let mut said = String::new();
        let out = hoarder.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut said).expect("it says when it may not");
        // ETOOMANYREFS; a kernel without this limit has nothing to show.
        match said.trim() == "109" {
            true => (0..5).for_each(|_| assert_eq!(httpd.get("/").text(), FILE)),
            false => note(&format!("left out: the kernel said `{}`", said.trim())),
        }
        drop(hoarder.stdin.take());
        hoarder.wait().expect("it ends with its input");
        assert_eq!(httpd.get("/").text(), FILE);
        httpd.stop();
    });
}
