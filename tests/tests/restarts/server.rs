//! A server with several groups, and a request that runs for a while.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use wsgid_tests::{Builder, Client, ClientError, Httpd, Mpm, Response, Site};

pub(crate) const HELLO: &str = "Hello World!";

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Requests in the background, for their names.
static STARTED: AtomicU32 = AtomicU32::new(0);

pub(crate) fn builder(mpm: Mpm, site: &Site, groups: &[(&str, &str)]) -> Builder {
    groups
        .iter()
        .fold(Httpd::builder().mpm(mpm), |builder, (name, options)| {
            builder
                .daemon(name, &format!("{options} {}", site.python_path()))
                .mount(&format!("/{name}"), &site.file("probe.py"), name)
        })
}

/// A GET in the background that is at the application when this returns.
pub(crate) fn running(
    httpd: &Httpd,
    group: &str,
    seconds: u32,
) -> JoinHandle<Result<Response, ClientError>> {
    let mut client = Client::new(httpd.address()).timeout(Duration::from_secs(90));
    let name = format!("{group}-{}", STARTED.fetch_add(1, Ordering::Relaxed));
    let path = format!("/{group}/sleep?seconds={seconds}&name={name}");
    let thread = thread::spawn(move || client.get(&path));
    httpd.wait_for_running(&name, SOON);
    thread
}

pub(crate) fn worker(httpd: &Httpd, group: &str) -> i64 {
    httpd.get(&format!("/{group}/info")).json()["pid"]
        .as_i64()
        .expect("a number")
}
