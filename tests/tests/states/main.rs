//! How a site can be, and how a worker can end: each brought about for real, and what
//! `wsgid status`, the page, the JSON, `?auto` and the metrics say of it.

mod ends;
mod shown;

use std::thread::{self, JoinHandle};
use std::time::Duration;

use wsgid_protocol::status::{GroupState, GroupStatus};
use wsgid_tests::{Builder, Httpd, Site, control, eventually};

const SOON: Duration = Duration::from_secs(40);

/// Waits, dies or answers, as the path says. `HERE` is a prefix of files.
const APPLICATION: &str = "
import ctypes, os, time
HERE = __file__
def hold():
    while not os.path.exists(os.path.dirname(HERE) + '/go'):
        time.sleep(0.05)
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/hold':
        hold()
    elif path == '/long':
        time.sleep(60)
    elif path == '/lock':
        ctypes.PyDLL(None).usleep(60000000)
    elif path == '/die':
        os.kill(os.getpid(), 9)
    elif path == '/exit':
        os._exit(int(environ['QUERY_STRING']))
    elif path == '/close':
        os.close(3)
        hold()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
";

/// A server with the pages of the status.
fn builder() -> Builder {
    let page = |at: &str, handler: &str| {
        format!("<Location {at}>\nSetHandler {handler}\nRequire local\n</Location>")
    };
    Httpd::builder()
        .load("status")
        .load("authz_host")
        .line(page("/groups", "wsgid-status"))
        .line(page("/server", "server-status"))
}

/// A request whose answer comes late or never.
fn begin(httpd: &Httpd, path: &str) -> JoinHandle<u16> {
    let mut client = httpd.client();
    let path = path.to_owned();
    thread::spawn(move || client.get(&path).map_or(0, |response| response.status))
}

fn group(httpd: &Httpd, name: &str) -> Option<GroupStatus> {
    control::status(httpd)?.group(name).cloned()
}

/// Waits until a group is so.
fn wait_for(httpd: &Httpd, name: &str, state: GroupState) -> GroupStatus {
    let mut last = None;
    let found = wsgid_tests::until(SOON, || {
        last = group(httpd, name);
        last.clone().filter(|group| group.state == state)
    });
    found.unwrap_or_else(|| panic!("{name} is not {state:?}: {last:#?}"))
}

fn wait_for_answer(httpd: &Httpd, path: &str) {
    eventually("an answer", SOON, || {
        (httpd.get(path).status == 200).then_some(())
    });
}

fn wait_for_running(httpd: &Httpd, name: &str) {
    eventually("a running request", SOON, || {
        let group = group(httpd, name)?;
        group
            .workers()
            .any(|worker| worker.in_flight > 0)
            .then_some(())
    });
}

/// Lets all that holds go on.
fn let_go(site: &Site) {
    site.write("go", "");
}
