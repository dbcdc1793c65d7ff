//! A site that takes what others want gives way to them: seen in the status and
//! in what the supervisor itself needs for it. Left out where control groups may
//! not be made.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::process::Pid;
use wsgid_tests::{Httpd, Limit, Site, case, control, eventually, users, wait};

use super::control_groups::possible;
use crate::SOON;

/// As many processes of this as there are processors take all of them.
const BURNS: &str = "
import threading
def burn():
    while True: pass
threading.Thread(target=burn, daemon=True).start()
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'burns']
";
/// Children that burn, as many as asked for.
const FORKS: &str = "
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def application(environ, start_response):
    for _ in range(int(environ['QUERY_STRING'])):
        if os.fork() == 0:
            while True: pass
    start_response('200 OK', [])
    return [b'burns']
";
const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

/// What the status says of a group's control group.
fn control_group(httpd: &Httpd, name: &str) -> Option<serde_json::Value> {
    let status = control::status(httpd)?;
    let all = status["groups"].as_array()?;
    all.iter().find(|group| group["name"] == name).map(|group| group["control_group"].clone())
}

/// The directory of a process's control group for processors, as the kernel says.
fn cpu_group(worker: Pid) -> String {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", worker.number)).expect("it runs");
    let of_cpu = |line: &&str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == "cpu"));
    let line = text.lines().find(of_cpu).or_else(|| text.lines().find(|line| line.starts_with("0::")));
    line.expect("it is in one").to_owned()
}

#[test]
fn root_a_site_of_the_same_user_is_kept_apart_when_it_takes_much() {
    case(Limit::default(), || {
        let (site, processors) = (Site::new(), thread::available_parallelism().map_or(1, usize::from));
        let (burns, hello) = (site.write("burns.py", FORKS), site.write("hello.py", HELLO));
        let path = site.python_path();
        let httpd = Httpd::builder()
            .daemon("burns", &format!("processes=1 threads=1 {path}"))
            .daemon("modest", &format!("threads=1 {path}"))
            .mount("/burns", &burns, "burns")
            .mount("/modest", &hello, "modest")
            .start();
        assert_eq!(httpd.get("/modest").text(), "hello");
        if !users::is_root() || !possible(&httpd) {
            return httpd.stop();
        }
        assert_eq!(eventually("the status", SOON, || control_group(&httpd, "burns")), serde_json::Value::Null);
        // Children burn, not the worker itself.
        assert_eq!(httpd.get(&format!("/burns?{processors}")).text(), "burns");
        eventually("it gives way", SOON, || {
            assert_eq!(httpd.get("/modest").text(), "hello");
            (control_group(&httpd, "burns")?["waits_for_others"] == true).then_some(())
        });
        assert_eq!(control_group(&httpd, "modest"), Some(serde_json::Value::Null));
        let worker = control::workers(&httpd, "burns").expect("a supervisor")[0];
        eventually("all of them have been moved", SOON, || {
            let own = cpu_group(worker);
            let all = worker.children();
            (own.contains(".burns") && all.len() == processors && all.iter().all(|one| cpu_group(*one) == own))
                .then_some(())
        });
        assert!(!cpu_group(control::workers(&httpd, "modest").expect("a supervisor")[0]).contains("wsgid-"));
        // Who no longer takes much no longer waits.
        worker.children().into_iter().for_each(Pid::kill);
        eventually("it is as all others again", SOON, || {
            (control_group(&httpd, "burns")?["waits_for_others"] == false).then_some(())
        });
        assert_eq!(httpd.get("/burns?0").text(), "burns");
        httpd.stop();
    });
}

#[test]
fn root_who_takes_much_gives_way_to_the_sites_of_others() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let (site, processors) = (Site::new(), thread::available_parallelism().map_or(1, usize::from));
        let (burns, hello) = (site.write("burns.py", BURNS), site.write("hello.py", HELLO));
        let options = |of: usize| format!("user={} {}", users[of].name, site.python_path());
        let httpd = Httpd::builder()
            .daemon("burns", &format!("processes={processors} threads=1 {}", options(0)))
            .daemon("modest", &format!("threads=1 {}", options(1)))
            .mount("/burns", &burns, "burns")
            .mount("/modest", &hello, "modest")
            .start();
        assert_eq!(httpd.get("/modest").text(), "hello");
        if !possible(&httpd) {
            return httpd.stop();
        }
        for name in ["burns", "modest"] {
            let own = eventually("the status", SOON, || control_group(&httpd, name));
            assert!(own.is_object(), "{name} has no control group from its first start on");
        }
        eventually("it gives way", SOON, || {
            assert_eq!(httpd.get("/modest").text(), "hello");
            (control_group(&httpd, "burns")?["waits_for_others"] == true).then_some(())
        });
        assert_eq!(control_group(&httpd, "modest").expect("its status")["waits_for_others"], false);
        // Watching costs next to nothing.
        let supervisor = httpd.supervisor().expect("it runs");
        let (before, begun) = (supervisor.cpu_time(), Instant::now());
        wait::let_run(Duration::from_secs(1));
        let used = supervisor.cpu_time().saturating_sub(before);
        assert!(used < begun.elapsed() / 4, "the supervisor used {used:?} of a second");
        httpd.stop();
    });
}
