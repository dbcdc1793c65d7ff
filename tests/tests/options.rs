//! Options of a process group have an effect that is seen from outside: by
//! the kernel's account of the worker, by answers, or by the log.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::{Httpd, Json, Limit, Pid, Site, artifacts, case, eventually, heavy_case, users};

const SOON: Duration = Duration::from_secs(20);

fn serve(options: &str) -> (Site, Httpd) {
    let site = Site::new();
    let httpd = Httpd::builder()
        .daemon("site", &format!("{options} {}", site.python_path()))
        .mount("/", &site.file("option_cases.py"), "site")
        .start();
    (site, httpd)
}

fn pid(httpd: &Httpd) -> u64 {
    httpd.get("/pid").json().as_u64().expect("a pid")
}

/// Waits until another process answers, with every answer on the way complete.
fn replaced(httpd: &Httpd, old: u64) {
    eventually("another worker", SOON, || (pid(httpd) != old).then_some(()));
}

/// A request in the background, and the status it ends with.
fn background(httpd: &Httpd, path: &str) -> thread::JoinHandle<u16> {
    let (mut client, path) = (httpd.client(), path.to_owned());
    thread::spawn(move || client.get(&path).map_or(0, |response| response.status))
}

/// Waits until a request runs in a worker.
fn wait_until_running(httpd: &Httpd, count: u64) {
    eventually("a running request", SOON, || {
        let running: u64 = workers(httpd)
            .iter()
            .filter_map(|worker| worker["in_flight"].as_u64())
            .sum();
        (running >= count).then_some(())
    });
}

fn workers(httpd: &Httpd) -> Vec<Json> {
    httpd
        .pools()
        .iter()
        .filter_map(|pool| pool["workers"].as_array())
        .flatten()
        .cloned()
        .collect()
}

fn proc_file(worker: Pid, name: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{name}", worker.number)).expect("the worker runs")
}

/// Soft and hard limit.
fn limit(worker: Pid, name: &str) -> [String; 2] {
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

#[test]
fn limits_priority_and_umask_are_the_kernels() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(
            "threads=2 memory-limit=536870912 virtual-memory-limit=2147483648 cpu-time-limit=100 shutdown-timeout=5 \
             cpu-priority=7 umask=0077 stack-size=786432",
        );
        assert_eq!(httpd.get("/stack").json(), 786_432);
        let worker = httpd.workers()[0];
        assert_eq!(limit(worker, "Max data size"), ["536870912"; 2]);
        assert_eq!(limit(worker, "Max address space"), ["2147483648"; 2]);
        assert_eq!(limit(worker, "Max cpu time"), ["100", "106"]);
        assert_eq!(
            proc_file(worker, "stat")
                .rsplit_once(") ")
                .unwrap()
                .1
                .split(' ')
                .nth(16),
            Some("7")
        );
        // Between sessions, which is what sites are to each other, this one counts.
        let by_session = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled")
            .is_ok_and(|on| on.trim() == "1");
        if by_session && users::is_root() {
            let autogroup = proc_file(worker, "autogroup");
            assert!(autogroup.trim_end().ends_with("nice 7"), "{autogroup}");
        }
        assert!(proc_file(worker, "status").contains("Umask:\t0077"));
        let stacks = proc_file(worker, "maps")
            .lines()
            .filter(|line| is_stack(line, 786_432))
            .count();
        assert!(
            stacks >= 2,
            "each request thread has a stack of the size asked for:\n{}",
            proc_file(worker, "maps")
        );
        httpd.stop();
    });
}

/// A mapping of this size, its guard page counted or not.
fn is_stack(line: &str, size: u64) -> bool {
    let Some((from, to)) = line
        .split(' ')
        .next()
        .and_then(|range| range.split_once('-'))
    else {
        return false;
    };
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or_default();
    let len = number(to) - number(from);
    len >= size - 4096 && len <= size + 4096
}

#[test]
fn memory_limit_is_an_exception_and_not_the_end() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 memory-limit=268435456");
        let before = pid(&httpd);
        assert_eq!(httpd.get("/allocate?mib=600").status, 500);
        httpd.wait_for_log("MemoryError", SOON);
        assert_eq!(pid(&httpd), before);
        httpd.stop();
        let (_site, httpd) = serve("threads=2 virtual-memory-limit=1073741824");
        assert_eq!(httpd.get("/allocate?mib=1200").status, 500);
        httpd.stop();
        let (_site, httpd) = serve("threads=2 virtual-memory-limit=1M restart-burst=1");
        assert_eq!(httpd.get("/pid").status, 503);
        httpd.wait_for_log("virtual-memory-limit= may be too low", SOON);
        httpd.stop();
    });
}

#[test]
fn the_environment_is_what_the_options_say() {
    case(Limit::default(), || {
        let site = Site::new();
        let file = site.write("env", "# a comment\nFROM_FILE=\"two words\"\nBOTH=file\n");
        let modules = site.path().join("modules");
        fs::create_dir(&modules).expect("a directory can be made");
        let options = format!(
            "threads=1 lang=C.UTF-8 locale=POSIX env=PLAIN=1 env=BOTH=option env-file={} python-eggs=/var/eggs python-path={}",
            file.display(),
            modules.display()
        );
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &site.file("option_cases.py"), "site")
            .start();
        let environment = httpd.get("/environment").json();
        for (name, value) in [
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "POSIX"),
            ("PLAIN", "1"),
            ("FROM_FILE", "two words"),
            ("BOTH", "option"),
            ("PYTHON_EGG_CACHE", "/var/eggs"),
        ] {
            assert_eq!(environment[name], value, "{name}");
        }
        let path = httpd.get("/path").json();
        assert_eq!(path[0], modules.display().to_string());
        let started_with = httpd.workers()[0].environment();
        assert_eq!(
            started_with.get("PLAIN").map(String::as_str),
            Some("1"),
            "{started_with:?}"
        );
        httpd.stop();
    });
}

#[test]
fn root_groups_are_those_that_were_named() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let site = Site::of(&users[0]);
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!(
                    "threads=1 user={} group={} supplementary-groups={},{} {}",
                    users[0].name,
                    users[0].group,
                    users[1].group,
                    users[2].group,
                    site.python_path()
                ),
            )
            .mount("/", &site.file("option_cases.py"), "site")
            .start();
        assert_eq!(httpd.get("/pid").status, 200);
        let identity = httpd.workers()[0].identity().expect("it runs");
        let mut expected = vec![users[0].gid, users[1].gid, users[2].gid];
        expected.sort_unstable();
        assert_eq!(
            (identity.uids, identity.groups),
            ([users[0].uid; 4], expected)
        );
        httpd.stop();
    });
}

#[test]
fn chroot_confines_and_says_what_is_missing() {
    case(Limit::default(), || {
        if !users::is_root() {
            return;
        }
        let site = Site::new();
        let root = site.path().join("root");
        fs::create_dir(&root).expect("a directory can be made");
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!("threads=1 chroot={} restart-burst=2", root.display()),
            )
            .mount("/", &site.file("option_cases.py"), "site")
            .start();
        // There is no Python in an empty root.
        assert_eq!(httpd.get("/pid").status, 503);
        httpd.wait_for_log("no `python3` on", SOON);
        httpd.stop();
    });
}

#[test]
fn maximum_requests_replaces_the_process_and_loses_nothing() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 maximum-requests=5");
        let mut client = httpd.client();
        let mut pids = std::collections::BTreeSet::new();
        eventually("three processes in turn", SOON, || {
            let response = client.get("/pid").expect("every request is answered");
            assert_eq!(response.status, 200);
            pids.insert(response.json().as_u64());
            (pids.len() >= 3).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn age_idleness_and_cpu_time_replace_the_process() {
    case(Limit::default(), || {
        for options in ["restart-interval=1", "inactivity-timeout=1"] {
            let (_site, httpd) = serve(&format!("threads=2 {options}"));
            let before = pid(&httpd);
            let old = httpd.workers()[0];
            eventually(options, SOON, || {
                (!old.alive() && !httpd.workers().is_empty()).then_some(())
            });
            assert_ne!(pid(&httpd), before, "{options}");
            httpd.stop();
        }
        let (_site, httpd) = serve("threads=2 cpu-time-limit=2");
        let before = pid(&httpd);
        assert_eq!(
            httpd.get("/spin?seconds=2.2").status,
            200,
            "the request that used it up is finished"
        );
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn memory_recycle_replaces_a_process_that_has_grown() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 memory-recycle=104857600");
        let before = pid(&httpd);
        assert_eq!(httpd.get("/allocate?mib=150").status, 200);
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn idle_stop_goes_to_zero_and_the_next_request_comes_back() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 idle-stop=1 processes=2");
        assert_eq!(httpd.get("/pid").status, 200);
        httpd.wait_for_workers(0, SOON);
        let begun = Instant::now();
        assert_eq!(httpd.get("/pid").status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "a cold start took {:?}",
            begun.elapsed()
        );
        httpd.stop();
    });
}

#[test]
fn processes_grow_with_the_queue_and_not_beyond_the_maximum() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=0..3 threads=1");
        assert_eq!(httpd.get("/pid").status, 200);
        thread::sleep(Duration::from_millis(500));
        assert_eq!(httpd.workers().len(), 1, "one request needs one process");
        httpd.stop();
        let (_site, httpd) = serve("processes=1..5 threads=1");
        assert_eq!(httpd.wait_for_workers(1, SOON).len(), 1);
        let requests: Vec<_> = (0..6)
            .map(|_| background(&httpd, "/sleep?seconds=4"))
            .collect();
        // Before the first of them has ended: nobody waits while there may be more.
        let most = eventually("five workers", Duration::from_secs(4), || {
            let count = httpd.workers().len();
            (count >= 5).then_some(count)
        });
        assert_eq!(most, 5);
        assert!(
            requests
                .into_iter()
                .all(|request| request.join().expect("no panic") == 200)
        );
        httpd.stop();
    });
}

#[test]
fn request_timeout_ends_what_takes_too_long_and_shows_where_it_was() {
    case(Limit::default(), || {
        let (_site, httpd) =
            serve("threads=1 request-timeout=1 graceful-timeout=1 shutdown-timeout=1");
        let before = pid(&httpd);
        let begun = Instant::now();
        assert_eq!(httpd.get("/sleep?seconds=60").status, 504);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        httpd.wait_for_log("option_cases.py", SOON);
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn interrupt_timeout_ends_the_request_and_not_the_process() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 request-timeout=1 interrupt-timeout=5");
        let before = pid(&httpd);
        // Interruptible: Python code runs all the time.
        assert_eq!(httpd.get("/spin?seconds=60").status, 504);
        assert_eq!(pid(&httpd), before);
        httpd.stop();
    });
}

#[test]
fn deadlock_timeout_writes_stacks_and_replaces_the_process() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=2 deadlock-timeout=2");
        let before = pid(&httpd);
        assert_eq!(httpd.get("/lock?seconds=60").status, 504);
        httpd.wait_for_log("deadlock-timeout", SOON);
        httpd.wait_for_log("Fatal Python error: Aborted", SOON);
        httpd.wait_for_log("in lock", SOON);
        replaced(&httpd, before);
        httpd.stop();
    });
}

#[test]
fn startup_timeout_refuses_what_does_not_load() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("slow.py", "import time\ntime.sleep(60)\n");
        let httpd = Httpd::builder()
            .daemon("site", "threads=1 startup-timeout=1 restart-burst=1")
            .mount("/", &script, "site")
            .start();
        let begun = Instant::now();
        assert!(matches!(httpd.get("/").status, 503 | 504));
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{:?}",
            begun.elapsed()
        );
        httpd.wait_for_log("startup-timeout", SOON);
        httpd.stop();
    });
}

#[test]
fn queue_timeout_refuses_what_would_wait() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("threads=1 queue-timeout=1");
        assert_eq!(httpd.get("/pid").status, 200);
        let busy = background(&httpd, "/sleep?seconds=6");
        wait_until_running(&httpd, 1);
        let begun = Instant::now();
        assert_eq!(httpd.get("/pid").status, 504);
        let waited = begun.elapsed();
        assert!(
            waited >= Duration::from_millis(900) && waited < Duration::from_secs(4),
            "{waited:?}"
        );
        assert_eq!(busy.join().expect("no panic"), 200);
        httpd.stop();
    });
}

/// So many at the same time; the statuses, with how long each took.
fn crowd(httpd: &Httpd, count: usize, path: &str) -> Vec<(u16, Duration)> {
    let begun = Instant::now();
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let (mut client, path) = (httpd.client(), path.to_owned());
            thread::spawn(move || {
                (
                    client.get(&path).map_or(0, |response| response.status),
                    begun.elapsed(),
                )
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().expect("no panic"))
        .collect()
}

#[test]
fn listen_backlog_bounds_what_waits_and_the_rest_is_refused() {
    heavy_case(Limit::default(), || {
        let serves = |options: &str, served: std::ops::RangeInclusive<usize>, soonest: u64| {
            let (_site, httpd) = serve(options);
            assert_eq!(httpd.get("/pid").status, 200);
            let answers = crowd(&httpd, 9, "/sleep?seconds=1.5");
            let good = answers.iter().filter(|(status, _)| *status == 200).count();
            let refused: Vec<_> = answers
                .iter()
                .filter(|(status, _)| *status == 503)
                .map(|(_, took)| *took)
                .collect();
            assert!(
                served.contains(&good) && good + refused.len() == 9,
                "{options}: {answers:?}"
            );
            let soonest = Duration::from_millis(soonest);
            // Before any place became free again.
            let in_time = |took: &Duration| *took >= soonest && *took < Duration::from_millis(1500);
            assert!(refused.iter().all(in_time), "{options}: {answers:?}");
            httpd.wait_for_log("queue-full", SOON);
            httpd.wait_for_log("(listen-backlog)", SOON);
            httpd.stop();
        };
        serves("threads=1 listen-backlog=2 connect-timeout=0", 3..=3, 0);
        serves(
            "threads=3 listen-backlog=1 connect-timeout=500ms",
            4..=4,
            450,
        );
        // Each process has its share; a request may be on its way from one to the other.
        serves(
            "processes=2 threads=1 listen-backlog=2 connect-timeout=500ms",
            3..=6,
            450,
        );
    });
}

#[test]
fn graceful_eviction_and_shutdown_timeouts_bound_a_running_request() {
    heavy_case(Limit::default(), || {
        let end_of = |options: &str, how: &dyn Fn(&Httpd, Pid)| {
            let (_site, httpd) = serve(&format!("threads=1 {options}"));
            assert_eq!(httpd.get("/pid").status, 200);
            let old = httpd.workers()[0];
            let running = background(&httpd, "/sleep?seconds=60");
            wait_until_running(&httpd, 1);
            let begun = Instant::now();
            how(&httpd, old);
            eventually(options, SOON, || (!old.alive()).then_some(()));
            let took = begun.elapsed();
            assert!(matches!(running.join().expect("no panic"), 502..=504));
            assert_eq!(httpd.get("/pid").status, 200);
            httpd.stop();
            took
        };
        let restart = |httpd: &Httpd, _: Pid| drop(httpd.wsgid(&["restart", "site"]));
        let evict = |_: &Httpd, worker: Pid| worker.signal(Signal::SIGUSR1);
        let took = end_of("graceful-timeout=2 shutdown-timeout=1", &restart);
        assert!(
            took >= Duration::from_secs(2) && took < Duration::from_secs(7),
            "graceful-timeout: {took:?}"
        );
        let took = end_of(
            "graceful-timeout=50 eviction-timeout=1 shutdown-timeout=1",
            &evict,
        );
        assert!(
            took >= Duration::from_secs(1) && took < Duration::from_secs(7),
            "eviction-timeout: {took:?}"
        );
        let (_site, httpd) = serve("threads=1 shutdown-timeout=1");
        assert_eq!(httpd.get("/pid").status, 200);
        let running = background(&httpd, "/sleep?seconds=60");
        wait_until_running(&httpd, 1);
        let begun = Instant::now();
        httpd.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "shutdown-timeout: {:?}",
            begun.elapsed()
        );
        drop(running);
    });
}

#[test]
fn restart_burst_makes_a_group_failed_and_restart_clears_it() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("dies.py", "import os\nos._exit(9)\n");
        let httpd = Httpd::builder()
            .daemon("site", "threads=1 restart-burst=2 restart-window=600")
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").status, 503);
        httpd.wait_for_log("exited with code 9", SOON);
        let begun = Instant::now();
        assert_eq!(httpd.get("/").status, 503, "refused at once");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        site.write(
            "dies.py",
            "def application(e, s):\n    s('200 OK', [])\n    return [b'mended']\n",
        );
        let _ = httpd.wsgid(&["restart", "site"]);
        eventually("the mended script", SOON, || {
            (httpd.get("/").status == 200).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn threads_zero_is_a_service_without_requests() {
    case(Limit::default(), || {
        let site = Site::new();
        let mark = site.path().join("mark");
        let script = site.write(
            "service.py",
            &format!(
                "open({:?}, 'w').write('ran')\nimport time\nwhile True: time.sleep(1)\n",
                mark.display().to_string()
            ),
        );
        let _ = fs::set_permissions(
            site.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        );
        let httpd = Httpd::builder()
            .daemon("service", "threads=0")
            .line(format!(
                "WSGIImportScript {} process-group=service application-group=%{{GLOBAL}}",
                script.display()
            ))
            .mount("/", &site.file("option_cases.py"), "service")
            .start();
        eventually("the service", SOON, || {
            fs::read_to_string(&mark)
                .is_ok_and(|text| text == "ran")
                .then_some(())
        });
        assert!(httpd.get("/pid").status >= 500);
        httpd.stop();
    });
}

#[test]
fn root_the_owner_of_a_group_restarts_it_without_root() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let sites = [Site::of(&users[0]), Site::of(&users[1])];
        let mut builder = Httpd::builder();
        for ((name, user), site) in ["mine", "yours"].into_iter().zip(users).zip(&sites) {
            builder = builder
                .daemon(
                    name,
                    &format!(
                        "threads=1 user={} group={} {}",
                        user.name,
                        user.group,
                        site.python_path()
                    ),
                )
                .mount(&format!("/{name}"), &site.file("option_cases.py"), name);
        }
        let httpd = builder.start();
        let pid = |name: &str| httpd.get(&format!("/{name}/pid")).json();
        let (mine, yours) = (pid("mine"), pid("yours"));
        let program = Site::new();
        let copy = program.path().join("wsgid");
        fs::copy(artifacts::wsgid(), &copy).expect("the program can be copied");
        let socket = httpd.control_socket();
        let as_owner = |args: &[&str]| {
            let owner = users[0].uid.to_string();
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid",
                    &owner,
                    "--regid",
                    &users[0].gid.to_string(),
                    "--clear-groups",
                ])
                .arg(&copy);
            let out = command
                .args(args)
                .arg("--socket")
                .arg(&socket)
                .output()
                .expect("setpriv is installed");
            (
                out.status.code(),
                String::from_utf8_lossy(&out.stdout).into_owned(),
            )
        };
        assert_eq!(as_owner(&["restart", "mine"]).0, Some(0));
        eventually("another worker", SOON, || {
            (pid("mine") != mine).then_some(())
        });
        for command in ["restart", "stop", "dump"] {
            assert_eq!(as_owner(&[command, "yours"]).0, Some(4), "{command}");
        }
        let (code, text) = as_owner(&["status", "--json"]);
        assert_eq!(code, Some(0));
        assert!(
            text.contains("\"mine\"") && !text.contains("yours"),
            "{text}"
        );
        assert_eq!(pid("yours"), yours);
        httpd.stop();
    });
}

const OWNED: &str = "
import mod_wsgi
print('loaded in', mod_wsgi.process_group, flush=True)
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'owned']
";

#[test]
fn script_user_and_group_refuse_what_others_own_or_may_write() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("owned.py", OWNED);
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let httpd = Httpd::builder()
            .daemon(
                "own",
                &format!("threads=1 script-user=#{uid} script-group=#{gid}"),
            )
            .daemon("user", "threads=1 script-user=#65533")
            .daemon("group", "threads=1 script-group=#65533")
            .mount("/user", &script, "user")
            .mount("/group", &script, "group")
            .mount("/", &script, "own")
            .start();
        assert_eq!(httpd.get("/").status, 200);
        for name in ["user", "group"] {
            assert_eq!(httpd.get(&format!("/{name}")).status, 403);
            httpd.wait_for_log(&format!("script-{name}= demands `#65533`"), SOON);
            let line = httpd.wait_for_log(&format!("[group {name}]"), SOON);
            assert!(line.contains("is not loaded beforehand"), "{line}");
            assert!(
                !httpd.error_log().contains(&format!("loaded in {name}")),
                "{name}"
            );
        }
        httpd.wait_for_log("loaded in own", SOON);
        let open = |mode| {
            fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(mode))
                .unwrap()
        };
        open(0o666);
        assert_eq!(httpd.get("/").status, 403);
        httpd.wait_for_log("may be written by others (mode 666)", SOON);
        open(0o644);
        assert_eq!(httpd.get("/").status, 200);
        httpd.stop();
    });
}
