//! `threads=0`: a script that runs by itself. It hears of its end at once, and
//! there is never one more of it than configured.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::{Httpd, Limit, Pid, Site, case, eventually, wait};

use crate::SOON;

/// Keeps a book, and needs a moment to end.
const SERVICE: &str = "
import os, time
def note(text):
    with open(os.path.join(os.path.dirname(__file__), 'book'), 'a') as book:
        book.write('%s %d\\n' % (text, os.getpid()))
note('begins')
try:
    while True:
        time.sleep(60)
finally:
    time.sleep(float(os.environ.get('SLOW', '0.3')))
    note('ends')
";

fn serve(options: &str) -> (Site, Httpd) {
    let site = Site::new();
    let script = site.write("service.py", SERVICE);
    let _ = fs::set_permissions(site.path(), fs::Permissions::from_mode(0o777));
    let import = format!(
        "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
        script.display()
    );
    let httpd = Httpd::builder()
        .daemon("service", &format!("threads=0 {options}"))
        .line(import)
        .start();
    (site, httpd)
}

fn book(site: &Path) -> Vec<String> {
    fs::read_to_string(site.join("book"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Waits for the entry with this number, and gives the number of the process
/// that made it.
fn entry(site: &Path, number: usize, what: &str) -> i32 {
    let line = eventually(&format!("entry {number}"), SOON, || {
        book(site).get(number).cloned()
    });
    let pid = line
        .strip_prefix(what)
        .unwrap_or_else(|| panic!("{what} was expected: {:?}", book(site)));
    pid.trim().parse().expect("a number")
}

#[test]
fn a_service_ends_with_its_own_words_before_the_next_begins() {
    case(Limit::default(), || {
        let (site, httpd) = serve("");
        let site = site.path();
        entry(site, 0, "begins");
        let begun = Instant::now();
        let _ = httpd.wsgid(&["restart", "service"]);
        entry(site, 1, "ends");
        let second = entry(site, 2, "begins");
        assert!(
            begun.elapsed() < Duration::from_secs(6),
            "nobody waits for a timeout: {:?}",
            begun.elapsed()
        );
        Pid::current(second)
            .expect("it runs")
            .signal(Signal::SIGUSR1);
        entry(site, 3, "ends");
        entry(site, 4, "begins");
        let _ = httpd.wsgid(&["stop", "service"]);
        entry(site, 5, "ends");
        let _ = httpd.wsgid(&["start", "service"]);
        entry(site, 6, "begins");
        let begun = Instant::now();
        httpd.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(4),
            "{:?}",
            begun.elapsed()
        );
        let book = book(site);
        let ends = book
            .get(7)
            .expect("it was told of httpd's end")
            .strip_prefix("ends");
        assert_eq!(ends, book[6].strip_prefix("begins"), "{book:?}");
        assert_eq!(book.len(), 8, "{book:?}");
    });
}

#[test]
fn a_service_is_not_idle() {
    case(Limit::default(), || {
        let (site, httpd) = serve("idle-stop=1 inactivity-timeout=1 processes=1..2");
        entry(site.path(), 0, "begins");
        wait::let_run(Duration::from_secs(4));
        assert_eq!(book(site.path()).len(), 1, "{:?}", book(site.path()));
        httpd.stop();
    });
}

#[test]
fn a_service_that_does_not_end_outlives_its_supervisor_by_shutdown_timeout() {
    case(Limit::default(), || {
        let (site, httpd) = serve("shutdown-timeout=1 graceful-timeout=30 env=SLOW=60");
        let first = Pid::current(entry(site.path(), 0, "begins")).expect("it runs");
        httpd.supervisor().expect("a supervisor").kill();
        let begun = Instant::now();
        eventually("its end", SOON, || (!first.alive()).then_some(()));
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        entry(site.path(), 1, "begins");
        httpd.stop();
    });
}
