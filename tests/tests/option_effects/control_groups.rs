//! What the kernel's control groups do for a process group, seen by what its
//! processes get and from `/proc`; and `no-new-privileges`. Left out where
//! control groups may not be made, which the supervisor's status tells.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::thread;

use nix::sys::signal::Signal;
use wsgid_tests::process::Pid;
use wsgid_tests::{Httpd, Limit, Site, case, control, eventually, note, users};

use crate::{SOON, serve};

/// Whether this machine lets the supervisor make control groups.
pub(crate) fn possible(httpd: &Httpd) -> bool {
    let supervisor = control::status(httpd).and_then(|status| status.supervisor);
    let problem = supervisor.and_then(|own| own.control_groups_problem);
    if let Some(problem) = &problem {
        note(&format!("left out: {problem}"));
    }
    problem.is_none()
}

/// The directory that this controller has for a process.
fn directory(worker: Pid, controller: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", worker.number)).expect("it runs");
    let own = |names: &str| names.split(',').any(|name| name == controller);
    let find = |unified: bool| {
        text.lines().find_map(|line| {
            let (names, path) = line.split_once(':')?.1.split_once(':')?;
            (if unified {
                names.is_empty()
            } else {
                own(names)
            })
            .then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let root = PathBuf::from("/sys/fs/cgroup");
    match find(false) {
        Some(path) => root.join(controller).join(path),
        None => root.join(find(true).expect("version 2")),
    }
}

/// Control groups that a supervisor has made, in all hierarchies.
fn made_by(supervisor: Pid, like: &std::path::Path) -> Vec<PathBuf> {
    let prefix = format!("wsgid-{}-", supervisor.number);
    let entries = fs::read_dir(like.parent().expect("it is in another")).expect("it can be read");
    let all = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
    all.map(|entry| entry.path()).collect()
}

const BURN: &str = "
import os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
def application(environ, start_response):
    end, begun = time.monotonic() + 2, time.thread_time()
    if environ['QUERY_STRING'] == 'burn':
        while time.monotonic() < end: pass
    start_response('200 OK', [])
    return [b'%f' % (time.thread_time() - begun)]
";

#[test]
fn root_processors_are_shared_by_weight() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("app.py", BURN);
        // They are on one processor, and each has more than one process there.
        let httpd = Httpd::builder()
            .daemon(
                "small",
                &format!("threads=1 cpu-weight=20 {}", site.python_path()),
            )
            .daemon(
                "large",
                &format!("threads=1 cpu-weight=400 {}", site.python_path()),
            )
            .mount("/small", &script, "small")
            .mount("/large", &script, "large")
            .start();
        if !users::is_root() || !possible(&httpd) {
            return httpd.stop();
        }
        for path in ["/small", "/large"] {
            assert_eq!(httpd.get(path).status, 200);
        }
        let [small, large]: [f64; 2] = thread::scope(|scope| {
            let httpd = &httpd;
            let burn = |path| scope.spawn(move || httpd.get(path).text().parse().expect("seconds"));
            [burn("/small?burn"), burn("/large?burn")].map(|one| one.join().expect("no panic"))
        });
        note(&format!(
            "cpu-weight=20 had {small:.2} s, cpu-weight=400 {large:.2} s"
        ));
        assert!(large > 3.0 * small, "{small} and {large} s");
        httpd.stop();
    });
}

const EAT: &str = "
import os
kept = []
def application(environ, start_response):
    if environ['QUERY_STRING'] == 'eat' and os.fork() == 0:
        # In a child: what counts is the group.
        try:
            kept.append(b'x' * (40 << 20))
            import time; time.sleep(60)
        finally:
            os._exit(1)
    if environ['QUERY_STRING'] == 'more':
        for _ in range(40): kept.append(b'x' * (4 << 20))
    start_response('200 OK', [])
    return [b'still here']
";

#[test]
fn root_memory_of_a_group_is_bounded_and_the_cause_is_told() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 memory-max=100M", EAT);
        if !users::is_root() || !possible(&httpd) {
            return httpd.stop();
        }
        assert_eq!(httpd.get("/").text(), "still here");
        assert_eq!(httpd.get("/?eat").text(), "still here");
        // The child and the worker together are too much; whichever of them the
        // kernel takes, a worker goes in the end.
        let mut answers = Vec::new();
        eventually("the end of a worker", SOON, || {
            answers.push(httpd.get("/?more").status);
            httpd
                .error_log()
                .contains("has used up its memory-max")
                .then_some(())
        });
        assert!(
            answers
                .iter()
                .all(|status| [200, 500, 502, 503].contains(status)),
            "{answers:?}"
        );
        eventually("another worker", SOON, || {
            (httpd.get("/").status == 200).then_some(())
        });
        httpd.stop();
    });
}

/// Forks children that leave the session, until it may not.
const FORKS: &str = "
import json, os, time
def application(environ, start_response):
    children = []
    try:
        while len(children) < 100:
            pid = os.fork()
            if pid == 0:
                os.setsid()
                time.sleep(100)
                os._exit(0)
            children.append(pid)
    except BlockingIOError:
        pass
    start_response('200 OK', [])
    return [json.dumps(children).encode()]
";

#[test]
fn root_a_group_has_no_more_tasks_than_allowed() {
    case(Limit::default(), || {
        let (_site, mut httpd) = serve("threads=2 tasks-max=30", FORKS);
        if !users::is_root() || !possible(&httpd) {
            return httpd.stop();
        }
        let worker = httpd.wait_for_workers(1, SOON)[0];
        let most = directory(worker, "pids").join("pids.max");
        assert_eq!(fs::read_to_string(&most).expect("a limit").trim(), "30");
        let children: Vec<i32> = serde_json::from_value(httpd.get("/").json()).expect("numbers");
        assert!((5..30).contains(&children.len()), "{children:?}");
        // A changed limit is in force at once, in the same processes.
        httpd.configure(|lines| {
            lines
                .iter_mut()
                .for_each(|line| *line = line.replace("tasks-max=30", "tasks-max=60"))
        });
        httpd.graceful();
        eventually("the new limit", SOON, || {
            (fs::read_to_string(&most).ok()?.trim() == "60").then_some(())
        });
        assert_eq!(httpd.workers(), [worker]);
        // A site that is stopped leaves nothing behind.
        let said = control::command(&httpd, &["stop", "site"]).expect("a supervisor");
        assert_eq!(said.code, 0, "{}", said.text);
        eventually("the end of what it has left behind", SOON, || {
            children
                .iter()
                .all(|number| Pid::current(*number).is_none_or(|pid| !pid.alive()))
                .then_some(())
        });
        httpd.stop();
    });
}

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'hello']
";

#[test]
fn root_control_groups_come_and_go_with_their_supervisor() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 tasks-max=100", HELLO);
        if !users::is_root() || !possible(&httpd) {
            return httpd.stop();
        }
        assert_eq!(httpd.get("/").text(), "hello");
        let first = httpd.supervisor().expect("it runs");
        let worker = httpd.wait_for_workers(1, SOON)[0];
        let place = directory(worker, "pids");
        assert_eq!(made_by(first, &place), std::slice::from_ref(&place));
        // The next program goes on with it.
        let said = control::command(&httpd, &["reexec"]).expect("a supervisor");
        assert_eq!(said.code, 0, "{}", said.text);
        let shown = eventually("its status", SOON, || {
            let status = control::status(&httpd)?;
            let mut groups = status.groups.iter();
            groups.find_map(|group| group.control_group.as_ref()?.tasks)
        });
        assert!(shown > 0);
        assert_eq!(made_by(first, &place), std::slice::from_ref(&place));
        // One that was killed leaves them to its successor, which removes them.
        first.signal(Signal::SIGKILL);
        let second = eventually("another supervisor", SOON, || {
            httpd.supervisor().filter(|pid| *pid != first)
        });
        eventually("an answer", SOON, || {
            (httpd.get("/").status == 200).then_some(())
        });
        eventually("the end of the old ones", SOON, || {
            made_by(first, &place).is_empty().then_some(())
        });
        let kept: BTreeSet<_> = made_by(second, &place).into_iter().collect();
        assert_eq!(kept.len(), 1);
        httpd.stop();
        assert!(made_by(second, &place).is_empty());
    });
}

#[test]
fn root_sites_of_one_user_share_its_group_and_those_of_two_do_not() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let site = Site::new();
        let script = site.write("app.py", HELLO);
        let daemon = |name: &str, of: usize| {
            format!("{name} user={} {}", users[of].name, site.python_path())
        };
        let of_two = format!("WSGIDaemonProcess {}", daemon("two", 1));
        let of_one = format!("WSGIDaemonProcess {}", daemon("two", 0));
        let mut httpd = Httpd::builder()
            .line(format!("WSGIDaemonProcess {}", daemon("one", 0)))
            .line(&of_one)
            .mount("/one", &script, "one")
            .mount("/two", &script, "two")
            .start();
        let groups = |httpd: &Httpd| {
            let status = control::status(httpd)?;
            let of = |name: &str| Some(status.group(name)?.control_group.is_some());
            Some((of("one")?, of("two")?))
        };
        let ask = |httpd: &Httpd| {
            ["/one", "/two"]
                .iter()
                .for_each(|path| assert_eq!(httpd.get(path).text(), "hello"))
        };
        ask(&httpd);
        if !possible(&httpd) {
            return httpd.stop();
        }
        assert_eq!(
            eventually("the status", SOON, || groups(&httpd)),
            (false, false)
        );
        let first = control::workers(&httpd, "one").expect("a supervisor")[0];
        httpd.configure(|lines| {
            lines
                .iter_mut()
                .for_each(|line| *line = line.replace(&of_one, &of_two))
        });
        httpd.graceful();
        // The first goes on with the same processes, which are moved.
        eventually("a control group of both", SOON, || {
            (groups(&httpd)? == (true, true)).then_some(())
        });
        eventually("the first is in its own", SOON, || {
            directory(first, "cpu")
                .to_string_lossy()
                .ends_with(".one")
                .then_some(())
        });
        assert_eq!(control::workers(&httpd, "one"), Some(vec![first]));
        // The next program knows it too, also of one that does not run just now.
        let command = |words: &[&str]| {
            assert_eq!(
                control::command(&httpd, words).expect("a supervisor").code,
                0
            )
        };
        command(&["stop", "two"]);
        eventually("the end of the second's", SOON, || {
            (groups(&httpd)? == (true, false)).then_some(())
        });
        command(&["reexec"]);
        command(&["start", "two"]);
        eventually("a control group of both again", SOON, || {
            (groups(&httpd)? == (true, true)).then_some(())
        });
        ask(&httpd);
        httpd.stop();
    });
}

/// Its child leaves session and process group, and forgets its parent.
const LEAVES: &str = "
import os, time
def application(environ, start_response):
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.setsid()
        child = os.fork()
        if child:
            os.write(theirs, b'%d' % child)
            os._exit(0)
        time.sleep(300)
        os._exit(0)
    start_response('200 OK', [])
    return [os.read(ours, 20)]
";

#[test]
fn root_a_stop_ends_what_has_left_its_session() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 tasks-max=50", LEAVES);
        if !users::is_root() || !possible(&httpd) {
            return httpd.stop();
        }
        let number = httpd.get("/").text().parse().expect("a number");
        let child = Pid::current(number).expect("it sleeps");
        // The next process is of the same group, and leaves it alone.
        let worker = httpd.workers()[0];
        worker.signal(Signal::SIGTERM);
        eventually("the end of the worker", SOON, || {
            (!worker.alive()).then_some(())
        });
        assert!(child.alive(), "it counts as the site's, and the site runs");
        assert_eq!(
            control::command(&httpd, &["stop", "site"])
                .expect("a supervisor")
                .code,
            0
        );
        eventually("the end of what it left", SOON, || {
            (!child.alive()).then_some(())
        });
        httpd.stop();
    });
}

const ATTRIBUTES: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [next(line for line in open('/proc/self/status', 'rb') if line.startswith(b'NoNewPrivs')).split()[1]]
";

#[test]
fn programs_gain_no_privileges_unless_it_is_allowed() {
    case(Limit::default(), || {
        for (options, expected) in [
            ("no-new-privileges=On", "1"),
            ("no-new-privileges=Off", "0"),
            ("", "1"),
        ] {
            let (_site, httpd) = serve(&format!("threads=1 {options}"), ATTRIBUTES);
            assert_eq!(httpd.get("/").text(), expected, "{options}");
            httpd.stop();
        }
    });
}
