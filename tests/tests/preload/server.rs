//! A site that is slow to load, its preloader and its workers.

use std::fs;
use std::time::Duration;

use wsgid_tests::{Httpd, Pid, Site, eventually};

pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Takes a while to load, keeps some memory, and counts how often it is loaded.
pub(crate) const SLOW: &str = r#"
import os, time
with open(__file__ + ".count", "a") as file:
    file.write("x")
time.sleep(1.5)
KEPT = [str(number) for number in range(300_000)]
TEXT = b"one"

def application(environ, start_response):
    start_response("200 OK", [])
    return [b"%s %d" % (TEXT, os.getpid())]
"#;

pub(crate) fn site(script: &str) -> Site {
    let site = Site::new();
    site.write("app.py", script);
    // Applications count in files beside themselves.
    let _ = fs::set_permissions(
        site.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    );
    site
}

pub(crate) fn serve(site: &Site, options: &str) -> Httpd {
    let options = format!("{options} {}", site.python_path());
    Httpd::builder()
        .daemon("site", &options)
        .mount("/", &site.file("app.py"), "site")
        .start()
}

/// How often the application was loaded.
pub(crate) fn loads(site: &Site) -> usize {
    fs::read_to_string(site.file("app.py.count"))
        .unwrap_or_default()
        .len()
}

pub(crate) fn ready(httpd: &Httpd, count: usize) -> Vec<Pid> {
    eventually(&format!("{count} ready workers"), SOON, || {
        let workers = httpd.ready_workers();
        (workers.len() == count).then_some(workers)
    })
}

pub(crate) fn preloader(httpd: &Httpd) -> Pid {
    eventually("a preloader", SOON, || httpd.preloader())
}
