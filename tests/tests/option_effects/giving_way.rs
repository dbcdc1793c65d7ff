//! A site that takes what others want gives way to them: seen in the status and
//! in what the supervisor itself needs for it. Left out where control groups may
//! not be made.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use wsgid_protocol::status::GroupStatus;
use wsgid_tests::process::Pid;
use wsgid_tests::{Httpd, Limit, Site, artifacts, case, control, eventually, note, users, wait};

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

/// What the status says of a group.
fn group(httpd: &Httpd, name: &str) -> Option<GroupStatus> {
    control::status(httpd)?.group(name).cloned()
}

fn worker(httpd: &Httpd, name: &str) -> Pid {
    control::workers(httpd, name).expect("a supervisor")[0]
}

/// Waits until `burns` gives way to `modest`, which is asked all the time. `false`,
/// and a note, if others leave it too little of the processors to be noticed.
fn burning_gives_way(httpd: &Httpd) -> bool {
    let used = || -> Duration {
        let workers = control::workers(httpd, "burns").unwrap_or_default();
        workers
            .into_iter()
            .flat_map(|one| [vec![one], one.children()].concat())
            .map(Pid::cpu_time)
            .sum()
    };
    let processors = thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
    let until = Instant::now() + SOON;
    let mut noticeable = 0;
    while Instant::now() < until {
        let before = used();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(1) {
            assert_eq!(httpd.get("/modest").text(), "hello");
            if group(httpd, "burns").is_some_and(|group| group.gives_way) {
                return true;
            }
            wait::let_run(Duration::from_millis(20));
        }
        let part = used().saturating_sub(before).as_secs_f64()
            / begun.elapsed().as_secs_f64()
            / processors;
        noticeable = if part > 0.35 { noticeable + 1 } else { 0 };
        assert!(
            noticeable < 4,
            "{part} of the processors, and it does not give way"
        );
    }
    note("left out: other programs leave no quarter of the processors to one that burns");
    // What it has forked is in no control group, and nobody's after its end.
    for name in ["burns", "chosen"] {
        let workers = control::workers(httpd, name).unwrap_or_default();
        workers
            .into_iter()
            .flat_map(Pid::children)
            .for_each(Pid::kill);
    }
    false
}

/// The directory of a process's control group for processors, as the kernel says;
/// none if it has ended.
fn cpu_group(process: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", process.number)).ok()?;
    let of_cpu = |line: &&str| {
        line.split(':')
            .nth(1)
            .is_some_and(|names| names.split(',').any(|name| name == "cpu"))
    };
    let line = text
        .lines()
        .find(of_cpu)
        .or_else(|| text.lines().find(|line| line.starts_with("0::")))?;
    Some(line.splitn(3, ':').nth(2)?.to_owned())
}

#[test]
fn root_a_site_of_the_same_user_is_kept_apart_when_it_takes_much() {
    case(Limit::default(), || {
        let site = Site::new();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let burns = site.write("burns.py", FORKS);
        let hello = site.write("hello.py", HELLO);
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
        assert_eq!(
            eventually("the status", SOON, || group(&httpd, "burns")).control_group,
            None
        );
        // Children burn, not the worker itself.
        assert_eq!(httpd.get(&format!("/burns?{processors}")).text(), "burns");
        if !burning_gives_way(&httpd) {
            return httpd.stop();
        }
        assert_eq!(
            group(&httpd, "modest").expect("its status").control_group,
            None
        );
        let burning = worker(&httpd, "burns");
        eventually("all of them have been moved", SOON, || {
            let own = cpu_group(burning)?;
            let all = burning.children();
            let together = || {
                all.iter()
                    .all(|one| cpu_group(*one).is_some_and(|its| its == own))
            };
            (own.contains(".burns") && all.len() == processors && together()).then_some(())
        });
        assert!(
            !cpu_group(worker(&httpd, "modest"))
                .expect("it runs")
                .contains("wsgid-")
        );
        // Who no longer takes much no longer waits.
        burning.children().into_iter().for_each(Pid::kill);
        eventually("it is as all others again", SOON, || {
            (!group(&httpd, "burns")?.gives_way).then_some(())
        });
        assert_eq!(httpd.get("/burns?0").text(), "burns");
        httpd.stop();
    });
}

#[test]
fn root_who_takes_much_gives_way_to_the_sites_of_others() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let site = Site::new();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let burns = site.write("burns.py", BURNS);
        let hello = site.write("hello.py", HELLO);
        let options = |of: usize| format!("user={} {}", users[of].name, site.python_path());
        let httpd = Httpd::builder()
            .daemon(
                "burns",
                &format!("processes={processors} threads=1 {}", options(0)),
            )
            .daemon("modest", &format!("threads=1 {}", options(1)))
            .mount("/burns", &burns, "burns")
            .mount("/modest", &hello, "modest")
            .start();
        assert_eq!(httpd.get("/modest").text(), "hello");
        if !possible(&httpd) {
            return httpd.stop();
        }
        for name in ["burns", "modest"] {
            let own = eventually("the status", SOON, || group(&httpd, name));
            assert!(
                own.control_group.is_some(),
                "{name} has no control group from its first start on"
            );
        }
        if !burning_gives_way(&httpd) {
            return httpd.stop();
        }
        assert!(!group(&httpd, "modest").expect("its status").gives_way);
        // Watching costs next to nothing.
        let supervisor = httpd.supervisor().expect("it runs");
        let before = supervisor.cpu_time();
        let begun = Instant::now();
        wait::let_run(Duration::from_secs(1));
        let used = supervisor.cpu_time().saturating_sub(before);
        assert!(
            used < begun.elapsed() / 4,
            "the supervisor used {used:?} of a second"
        );
        httpd.stop();
    });
}

/// Whether the kernel runs this process only where no other wants to.
fn is_idle(process: Pid) -> bool {
    let Some(path) = cpu_group(process) else {
        return false;
    };
    let mounts = [
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/cpu",
        "/sys/fs/cgroup/unified",
        "/sys/fs/cgroup",
    ];
    let files = mounts.iter().map(|mount| format!("{mount}{path}/cpu.idle"));
    files
        .filter_map(|file| fs::read_to_string(file).ok())
        .any(|text| text.trim() == "1")
}

#[test]
fn root_a_site_that_crashes_again_and_again_gives_way() {
    case(Limit::default(), || {
        let site = Site::new();
        let hello = site.write("hello.py", HELLO);
        let path = site.python_path();
        let httpd = Httpd::builder()
            .daemon(
                "crashes",
                &format!("processes=3 threads=1 restart-burst=1000000 {path}"),
            )
            .daemon("modest", &format!("threads=1 {path}"))
            .mount("/crashes", &hello, "crashes")
            .mount("/modest", &hello, "modest")
            .start();
        assert_eq!(httpd.get("/modest").text(), "hello");
        if !users::is_root() || !possible(&httpd) {
            return httpd.stop();
        }
        let gives_way = |name: &str| Some(group(&httpd, name)?.gives_way);
        // One crash is an accident.
        worker(&httpd, "crashes").kill();
        wait::let_run(Duration::from_millis(600));
        assert_eq!(gives_way("crashes"), Some(false));
        let behind = eventually("a worker behind the others", SOON, || {
            let workers = control::workers(&httpd, "crashes")?;
            if !gives_way("crashes")? {
                workers.iter().take(2).for_each(|one| one.kill());
                wait::let_run(Duration::from_millis(400));
            }
            workers.into_iter().find(|one| one.alive() && is_idle(*one))
        });
        assert_eq!(gives_way("modest"), Some(false));
        // It has stopped, and is like all others.
        eventually("it is as all others again", SOON, || {
            (!gives_way("crashes")?).then_some(())
        });
        assert!(!is_idle(behind));
        assert_eq!(httpd.get("/crashes").text(), "hello");
        httpd.stop();
    });
}

/// The nice value of every thread of a process.
fn nice_values(process: Pid) -> BTreeSet<i32> {
    let threads = fs::read_dir(format!("/proc/{}/task", process.number))
        .into_iter()
        .flatten()
        .flatten();
    let stats = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    // Field 19 of the whole line; the name before may hold spaces.
    stats
        .filter_map(|stat| {
            stat.rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(16)?
                .parse()
                .ok()
        })
        .collect()
}

/// Thousands of threads that sleep, and one that burns.
const THREADED: &str = "
import threading
threading.stack_size(64 * 1024)
def burn():
    while True: pass
def application(environ, start_response):
    for _ in range(int(environ['QUERY_STRING'])):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    threading.Thread(target=burn, daemon=True).start()
    start_response('200 OK', [])
    return [b'threaded']
";

/// How many threads a site has is its own affair: the supervisor answers as ever.
#[test]
fn root_thousands_of_sleeping_threads_stop_nobody() {
    const THREADS: usize = 12_000;
    case(Limit::seconds(120), || {
        if !users::is_root() {
            return;
        }
        let site = Site::new();
        let threaded = site.write("threaded.py", THREADED);
        let hello = site.write("hello.py", HELLO);
        let path = site.python_path();
        let supervisor = without_control_groups(&site);
        let httpd = Httpd::builder()
            .line(format!("WSGISupervisorExecutable {}", supervisor.display()))
            .daemon("threaded", &format!("processes=1 threads=1 {path}"))
            .daemon("modest", &format!("threads=5 {path}"))
            .mount("/threaded", &threaded, "threaded")
            .mount("/modest", &hello, "modest")
            .start();
        assert_eq!(httpd.get("/modest").text(), "hello");
        assert_eq!(
            httpd.get(&format!("/threaded?{THREADS}")).text(),
            "threaded"
        );
        let process = worker(&httpd, "threaded");
        let threads =
            || fs::read_dir(format!("/proc/{}/task", process.number)).map_or(0, Iterator::count);
        eventually("all threads", SOON, || (threads() > THREADS).then_some(()));
        let mut slow = Vec::new();
        for round in 0..40 {
            wait::let_run(Duration::from_millis(50));
            let begun = Instant::now();
            let socket = std::os::unix::net::UnixStream::connect(&httpd.sockets()[0]);
            let status = control::status(&httpd);
            assert!(socket.is_ok() && status.is_some(), "round {round}");
            if begun.elapsed() > Duration::from_millis(500) {
                slow.push(begun.elapsed());
            }
        }
        // Other programs on the machine may hold up one or two.
        assert!(
            slow.len() <= 4,
            "the supervisor was busy with something else: {slow:?}"
        );
        httpd.stop();
    });
}

/// A supervisor as under systemd without `Delegate=`: nothing that could be used.
fn without_control_groups(site: &Site) -> std::path::PathBuf {
    let hidden = "umount --all --lazy --types cgroup,cgroup2";
    let start = format!("{hidden}; exec {} \"$@\"", artifacts::wsgid().display());
    let supervisor = site.write(
        "wsgid",
        &format!("#!/bin/sh\nexec unshare -m sh -c '{start}' wsgid \"$@\"\n"),
    );
    fs::set_permissions(&supervisor, fs::Permissions::from_mode(0o755)).expect("it is ours");
    supervisor
}

#[test]
fn root_without_control_groups_priorities_do_it() {
    case(Limit::default(), || {
        if !users::is_root() {
            return;
        }
        let site = Site::new();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let burns = site.write("burns.py", FORKS);
        let hello = site.write("hello.py", HELLO);
        let path = site.python_path();
        let supervisor = without_control_groups(&site);
        let httpd = Httpd::builder()
            .line(format!("WSGISupervisorExecutable {}", supervisor.display()))
            .daemon("burns", &format!("processes=1 threads=1 {path}"))
            .daemon(
                "chosen",
                &format!("processes=1 threads=1 cpu-priority=0 {path}"),
            )
            .daemon("modest", &format!("threads=1 {path}"))
            .mount("/burns", &burns, "burns")
            .mount("/chosen", &burns, "chosen")
            .mount("/modest", &hello, "modest")
            .start();
        assert_eq!(httpd.get("/modest").text(), "hello");
        let status = eventually("the status", SOON, || control::status(&httpd));
        let supervisor = status.supervisor.expect("root sees all");
        let problem = supervisor.control_groups_problem.unwrap_or_default();
        assert!(problem.contains("Delegate="), "{problem}");
        for site in ["/burns", "/chosen"] {
            assert_eq!(httpd.get(&format!("{site}?{processors}")).text(), "burns");
        }
        if !burning_gives_way(&httpd) {
            return httpd.stop();
        }
        let family =
            |name: &str| [vec![worker(&httpd, name)], worker(&httpd, name).children()].concat();
        let all_have = |name: &str, nice: i32| {
            family(name)
                .into_iter()
                .all(|one| nice_values(one) == [nice].into())
        };
        eventually("the least priority", SOON, || {
            all_have("burns", 19).then_some(())
        });
        // With a priority of its own the administrator has decided.
        assert!(all_have("chosen", 0) && all_have("modest", 0));
        [worker(&httpd, "burns"), worker(&httpd, "chosen")]
            .into_iter()
            .flat_map(Pid::children)
            .for_each(Pid::kill);
        eventually("its priority is back", SOON, || {
            all_have("burns", 0).then_some(())
        });
        httpd.stop();
    });
}
