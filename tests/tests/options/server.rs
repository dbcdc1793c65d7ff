//! A server with one process group, and what can be seen of its processes.

use std::time::Duration;
use std::{fs, thread};

use wsgid_protocol::status::GroupStatus;
use wsgid_tests::{Httpd, Pid, Site, eventually};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn serve(options: &str) -> (Site, Httpd) {
    let site = Site::new();
    let httpd = Httpd::builder()
        .daemon("site", &format!("{options} {}", site.python_path()))
        .mount("/", &site.file("option_cases.py"), "site")
        .start();
    (site, httpd)
}

pub(crate) fn pid(httpd: &Httpd) -> u64 {
    httpd.get("/pid").json().as_u64().expect("a pid")
}

/// Waits until another process answers, with every answer on the way complete.
pub(crate) fn replaced(httpd: &Httpd, old: u64) {
    eventually("another worker", SOON, || (pid(httpd) != old).then_some(()));
}

/// A request in the background, and the status it ends with.
pub(crate) fn background(httpd: &Httpd, path: &str) -> thread::JoinHandle<u16> {
    let mut client = httpd.client();
    let path = path.to_owned();
    thread::spawn(move || client.get(&path).map_or(0, |response| response.status))
}

/// Waits until a request runs in a worker.
pub(crate) fn wait_until_running(httpd: &Httpd, count: u64) {
    eventually("a running request", SOON, || {
        let status = httpd.status();
        let workers = status.groups.iter().flat_map(GroupStatus::workers);
        let running: u64 = workers.map(|worker| worker.in_flight).sum();
        (running >= count).then_some(())
    });
}

pub(crate) fn proc_file(worker: Pid, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", worker.number)).expect("the worker runs")
}

/// Soft and hard limit.
pub(crate) fn limit(worker: Pid, name: &str) -> [String; 2] {
    let text = proc_file(worker, "limits");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_else(|| panic!("{name} in {text}"));
    let mut words = line.split_whitespace().map(str::to_owned);
    [
        words.next().expect("the soft limit"),
        words.next().expect("the hard limit"),
    ]
}
