//! Options of a process group that `options.rs` does not have: what restarts
//! workers, what passes between httpd and them, and how timers get on with each
//! other.

mod control_groups;
mod giving_way;
mod passing;
mod restarts;
mod services;
mod timers;
mod waits;

use std::time::Duration;

use wsgid_tests::{Httpd, Site};

const SOON: Duration = Duration::from_secs(20);

/// One group with these options that serves this script.
fn serve(options: &str, script: &str) -> (Site, Httpd) {
    let site = Site::new();
    let path = site.write("app.py", script);
    let httpd = Httpd::builder()
        .daemon("site", &format!("{options} {}", site.python_path()))
        .mount("/", &path, "site")
        .start();
    (site, httpd)
}

fn pid(httpd: &Httpd, at: &str) -> u64 {
    httpd
        .get(&format!("{at}/pid"))
        .json()
        .as_u64()
        .expect("a pid")
}
