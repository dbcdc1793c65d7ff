//! `preload=On`: the application is loaded once, workers are forked from the
//! process that has done it, and everything else is as it is without.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use wsgid_tests::{
    Httpd, Limit, Load, Pid, Python, Site, case, eventually, heavy_case, note, users,
};

const SOON: Duration = Duration::from_secs(30);

/// Takes a while to load, keeps some memory, and counts how often it is loaded.
const SLOW: &str = r#"
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

fn site(script: &str) -> Site {
    let site = Site::new();
    site.write("app.py", script);
    // Applications count in files beside themselves.
    let _ = fs::set_permissions(
        site.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    );
    site
}

fn serve(site: &Site, options: &str) -> Httpd {
    let options = format!("{options} {}", site.python_path());
    Httpd::builder()
        .daemon("site", &options)
        .mount("/", &site.file("app.py"), "site")
        .start()
}

/// How often the application was loaded.
fn loads(site: &Site) -> usize {
    fs::read_to_string(site.file("app.py.count"))
        .unwrap_or_default()
        .len()
}

fn ready(httpd: &Httpd, count: usize) -> Vec<Pid> {
    eventually(&format!("{count} ready workers"), SOON, || {
        let workers = httpd.ready_workers();
        (workers.len() == count).then_some(workers)
    })
}

fn preloader(httpd: &Httpd) -> Pid {
    eventually("a preloader", SOON, || httpd.preloader())
}

/// Bytes that belong to this process alone.
fn private(pid: Pid) -> u64 {
    let text =
        fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.number)).expect("the worker runs");
    let parts = text.lines().filter(|line| line.starts_with("Private_"));
    parts
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>()
        * 1024
}

#[test]
fn it_loads_once_shares_memory_and_is_back_in_milliseconds() {
    heavy_case(Limit::default(), || {
        let plain_site = site(SLOW);
        let plain = serve(&plain_site, "processes=3 threads=2");
        let alone = ready(&plain, 3)
            .into_iter()
            .map(private)
            .min()
            .expect("three workers");
        assert_eq!(loads(&plain_site), 3);
        plain.stop();

        let site = site(SLOW);
        let httpd = serve(&site, "processes=3 threads=2 preload=On");
        let workers = ready(&httpd, 3);
        assert_eq!(loads(&site), 1);
        let supervisor = httpd.supervisor().expect("it runs");
        assert!(
            workers
                .iter()
                .all(|worker| supervisor.children().contains(worker)),
            "{workers:?}"
        );
        let shared = workers
            .iter()
            .copied()
            .map(private)
            .max()
            .expect("three workers");
        note(&format!(
            "private memory of a worker: {} KiB, without preload {} KiB",
            shared >> 10,
            alone >> 10
        ));
        assert!(shared * 2 < alone, "{shared} of {alone}");

        let before = preloader(&httpd);
        let mut client = httpd.client();
        assert!(
            client
                .get("/")
                .expect("an answer")
                .text()
                .starts_with("one")
        );
        let begun = Instant::now();
        workers[0].kill();
        let back = eventually("another worker", SOON, || {
            let now = httpd.ready_workers();
            (now.len() == 3 && !now.contains(&workers[0])).then(|| begun.elapsed())
        });
        note(&format!(
            "a killed worker was replaced after {} ms",
            back.as_millis()
        ));
        assert!(
            back < Duration::from_millis(1400),
            "{back:?}: as long as it takes to load the application"
        );
        assert_eq!((loads(&site), preloader(&httpd)), (1, before));
        httpd.stop();
    });
}

#[test]
fn a_reload_forks_from_a_new_preloader_and_a_broken_one_changes_nothing() {
    heavy_case(Limit::default(), || {
        let script = |text: &str| SLOW.replace("1.5", "0.1").replace("one", text);
        let site = site(&script("one"));
        let httpd = serve(&site, "processes=2 threads=3 preload=On");
        let old = ready(&httpd, 2);
        let before = preloader(&httpd);
        let running = Load::new(httpd.address(), "/", 8).start();
        running.wait_for_more(100);
        site.write("app.py", &script("two"));
        let mut client = httpd.client();
        eventually("the new text", SOON, || {
            client
                .get("/")
                .ok()?
                .text()
                .starts_with("two")
                .then_some(())
        });
        running.wait_for_more(100);
        let new = ready(&httpd, 2);
        assert!(new.iter().all(|worker| !old.contains(worker)));
        let after = preloader(&httpd);
        assert!(
            after != before && !before.alive(),
            "the old preloader has gone"
        );
        assert_eq!(loads(&site), 2);

        site.write("app.py", "raise ValueError('half-written')\n");
        httpd.wait_for_log("ValueError: half-written", SOON);
        httpd.wait_for_log("was given up, the old ones serve on", SOON);
        running.wait_for_more(200);
        running.stop().assert_clean();
        assert!(httpd.get("/").text().starts_with("two"));
        site.write("app.py", &script("three"));
        eventually("the mended text", SOON, || {
            httpd.get("/").text().starts_with("three").then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_dead_preloader_is_replaced_and_workers_live_on() {
    heavy_case(Limit::default(), || {
        let site = site(&SLOW.replace("1.5", "0.1"));
        let httpd = serve(&site, "processes=2 threads=2 preload=On");
        let workers = ready(&httpd, 2);
        let first = preloader(&httpd);
        first.kill();
        let second = eventually("another preloader", SOON, || {
            httpd.preloader().filter(|new| *new != first)
        });
        assert_eq!(ready(&httpd, 2), workers);
        assert!(httpd.get("/").text().starts_with("one"));
        workers[0].kill();
        eventually("a worker forked from it", SOON, || {
            let now = httpd.ready_workers();
            (now.len() == 2 && !now.contains(&workers[0])).then_some(())
        });
        assert_eq!((loads(&site), preloader(&httpd)), (2, second));
        httpd.stop();
    });
}

#[test]
fn a_thread_at_import_means_plain_workers_and_a_line_that_names_it() {
    case(Limit::default(), || {
        let site = site(
            "import os, threading, time\n\
             threading.Thread(target=time.sleep, args=(999,), name='the-poller', daemon=True).start()\n\
             def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'plain']\n",
        );
        let httpd = serve(&site, "processes=2 threads=2 preload=On");
        ready(&httpd, 2);
        assert_eq!(httpd.get("/").text(), "plain");
        let line = httpd.wait_for_log("preload=On has no effect", SOON);
        assert!(line.contains("`the-poller`"), "{line}");
        assert!(httpd.preloader().is_none());
        httpd.stop();
    });
}

#[test]
fn what_fails_to_load_is_shown_and_mended_without_a_restart() {
    case(Limit::default(), || {
        let site = site("raise ValueError('not today')\n");
        let httpd = serve(&site, "processes=2 threads=2 preload=On");
        assert_eq!(httpd.get("/").status, 500);
        httpd.wait_for_log("ValueError: not today", SOON);
        site.write(
            "app.py",
            "def application(e, s):\n    s('200 OK', [])\n    return [b'mended']\n",
        );
        eventually("the mended script", SOON, || {
            (httpd.get("/").status == 200).then_some(())
        });
        eventually("all of it", SOON, || {
            (0..10).all(|_| httpd.get("/").status == 200).then_some(())
        });
        assert!(httpd.preloader().is_some());
        httpd.stop();

        // It ends the process that loads it: plain workers show how.
        let site = self::site("import os\nos._exit(9)\n");
        let httpd = serve(&site, "processes=1 threads=2 preload=On restart-burst=2");
        assert_eq!(httpd.get("/").status, 503);
        httpd.wait_for_log("exited with code 9", SOON);
        httpd.stop();
    });
}

/// What the kernel shows of a worker, without what differs between any two.
fn privileges(pid: Pid) -> String {
    let read =
        |name: &str| fs::read_to_string(format!("/proc/{}/{name}", pid.number)).unwrap_or_default();
    let wanted = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "NoNewPrivs",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "Seccomp",
    ];
    let status = read("status");
    let status: Vec<&str> = status
        .lines()
        .filter(|line| {
            wanted
                .iter()
                .any(|name| line.starts_with(&format!("{name}:")))
        })
        .collect();
    let nice = read("stat")
        .rsplit_once(')')
        .and_then(|(_, rest)| Some(rest.split_whitespace().nth(16)?.to_owned()));
    let directory = fs::read_link(format!("/proc/{}/cwd", pid.number)).ok();
    let mut environment: Vec<_> = pid.environment().into_iter().collect();
    environment.sort();
    format!(
        "{status:#?}\nnice {nice:?}\n{directory:?}\n{environment:#?}\n{}",
        read("limits")
    )
}

/// Kinds of open descriptors.
fn descriptors(pid: Pid) -> Vec<String> {
    let kind = |text: &String| text.split([':', '[']).next().unwrap_or_default().to_owned();
    let mut kinds: Vec<String> = pid.descriptors().values().map(kind).collect();
    kinds.sort();
    kinds
}

#[test]
fn root_a_forked_worker_is_who_a_plain_one_is() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let user = &users[0];
        let look = |preload: &str| {
            let site = Site::of(user);
            let script = site.write(
                "app.py",
                &SLOW
                    .replace("1.5", "0")
                    .replace("__file__ + \".count\"", "os.devnull"),
            );
            let options = format!(
                "processes=2 threads=2 user={} umask=0027 cpu-priority=5 memory-limit=1000000000 \
                 cpu-time-limit=100 home={} env=COLOUR=green {preload}",
                user.name,
                site.path().display(),
            );
            let httpd = Httpd::builder()
                .daemon("site", &options)
                .mount("/", &script, "site")
                .start();
            let workers = ready(&httpd, 2);
            let mut clients: Vec<_> = (0..4).map(|_| httpd.client()).collect();
            clients
                .iter_mut()
                .for_each(|client| assert_eq!(client.get("/").expect("an answer").status, 200));
            let groups: BTreeSet<_> = workers
                .iter()
                .map(|worker| process_group(*worker))
                .collect();
            assert_eq!(
                groups,
                workers.iter().map(|worker| Some(worker.number)).collect(),
                "a process group each"
            );
            let identity = workers[0].identity().expect("it runs");
            assert_eq!(
                (identity.uids, identity.gids),
                ([user.uid; 4], [user.gid; 4])
            );
            assert!(
                identity.no_new_privs && identity.capabilities == 0,
                "{identity:?}"
            );
            if let Some(preloader) = httpd.preloader() {
                assert_eq!(preloader.identity().expect("it runs").uids, [user.uid; 4]);
            }
            let place = site.path().display().to_string();
            let seen = (
                privileges(workers[1]).replace(&place, "SITE"),
                descriptors(workers[1]),
            );
            httpd.stop();
            seen
        };
        let (plain, forked) = (look(""), look("preload=On"));
        assert_eq!(plain.0, forked.0);
        let sockets = |kinds: &[String]| {
            kinds
                .iter()
                .filter(|kind| *kind != "socket")
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(sockets(&plain.1), sockets(&forked.1));
    });
}

fn process_group(pid: Pid) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.number)).ok()?;
    text.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(2)?
        .parse()
        .ok()
}

#[test]
fn forked_workers_survive_a_new_program_and_leave_a_dead_supervisor() {
    heavy_case(Limit::default(), || {
        let site = site(&SLOW.replace("1.5", "0.1"));
        let httpd = serve(&site, "processes=2 threads=2 preload=On graceful-timeout=2");
        let workers = ready(&httpd, 2);
        let first = preloader(&httpd);
        let running = Load::new(httpd.address(), "/", 4).start();
        running.wait_for_more(100);
        let _ = httpd.wsgid(&["reexec"]);
        eventually("the preloader of the next program", SOON, || {
            httpd.preloader().filter(|new| *new != first)
        });
        assert_eq!(ready(&httpd, 2), workers, "the workers are the same");
        running.wait_for_more(100);
        running.stop().assert_clean();
        workers[0].kill();
        let now = eventually("a worker forked by the next program", SOON, || {
            let now = httpd.ready_workers();
            (now.len() == 2 && !now.contains(&workers[0])).then_some(now)
        });
        // Ended processes are waited for, also those that nobody had started.
        let supervisor = httpd.supervisor().expect("it runs");
        eventually("no zombies", SOON, || {
            supervisor
                .children()
                .iter()
                .all(|child| child.alive())
                .then_some(())
        });

        let second = preloader(&httpd);
        let running = Load::new(httpd.address(), "/", 4).start();
        running.wait_for_more(100);
        supervisor.kill();
        eventually("the end of the old ones", SOON, || {
            now.iter()
                .chain([&second])
                .all(|process| !process.alive())
                .then_some(())
        });
        running.wait_for_more(100);
        running.stop().assert_clean();
        httpd.stop();
    });
}

#[test]
fn what_a_site_leaves_running_is_reaped_when_it_ends() {
    case(Limit::default(), || {
        let site = site(
            "import os, subprocess\n\
             def application(environ, start_response):\n    \
                 subprocess.run(['sh', '-c', 'sleep 1 & echo $!'], stdout=open(__file__ + '.pid', 'w'))\n    \
                 start_response('200 OK', [])\n    return [b'left']\n",
        );
        let httpd = serve(&site, "processes=1 threads=1 preload=On");
        assert_eq!(httpd.get("/").text(), "left");
        let number: i32 = fs::read_to_string(site.file("app.py.pid"))
            .expect("written")
            .trim()
            .parse()
            .expect("a pid");
        eventually("no trace of it", SOON, || {
            (!fs::exists(format!("/proc/{number}")).unwrap_or(true)).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn every_python_forks() {
    heavy_case(Limit::default(), || {
        let mut builder = Httpd::builder();
        let site = site(&SLOW.replace("1.5", "0").replace(
            "open(__file__ + \".count\", \"a\")",
            "open(os.devnull, \"a\")",
        ));
        let pythons = Python::all();
        assert!(!pythons.is_empty());
        for (number, python) in pythons.iter().enumerate() {
            let home = python.venv(&[]).display().to_string();
            builder = builder
                .daemon(
                    &format!("site{number}"),
                    &format!("processes=2 threads=2 preload=On python-home={home}"),
                )
                .mount(
                    &format!("/{number}"),
                    &site.file("app.py"),
                    &format!("site{number}"),
                );
        }
        let httpd = builder.start();
        ready(&httpd, 2 * pythons.len());
        for pool in httpd.pools() {
            assert_eq!(pool["preloader"]["state"], "ready", "{pool}");
        }
        for number in 0..pythons.len() {
            assert!(httpd.get(&format!("/{number}")).text().starts_with("one"));
        }
        httpd.stop();
    });
}

fn hello(text: &str) -> String {
    format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
    )
}

/// Scripts that no directive ties to both groups are known once a worker has
/// loaded them, whatever `preload` says.
#[test]
fn a_script_loaded_for_a_request_is_not_replaced_by_one_that_fails() {
    heavy_case(Limit::default(), || {
        for preload in ["Off", "On"] {
            let site = Site::new();
            let (first, second) = (
                site.write("first.py", &hello("one")),
                site.write("second.py", &hello("one")),
            );
            let httpd = Httpd::builder()
                .daemon("site", &format!("processes=1 threads=2 preload={preload}"))
                .line("WSGIProcessGroup site\nWSGIApplicationGroup %{GLOBAL}")
                .mount_with("/first", &first, "")
                .mount_with("/second", &second, "")
                .start();
            assert_eq!(
                (httpd.get("/first").text(), httpd.get("/second").text()),
                ("one".into(), "one".into())
            );
            let worker = ready(&httpd, 1);
            site.write("second.py", "raise ValueError('half-written')\n");
            let given_up = || {
                httpd
                    .error_log()
                    .matches("was given up, the old ones serve on")
                    .count()
            };
            eventually("the end of the new generation", SOON, || {
                assert_eq!(httpd.get("/second").text(), "one");
                (given_up() == 1).then_some(())
            });
            httpd.wait_for_log("half-written", SOON);
            assert_eq!(
                (httpd.get("/second").text(), ready(&httpd, 1)),
                ("one".into(), worker.clone())
            );
            site.write("second.py", &hello("two"));
            eventually("the mended script", SOON, || {
                (httpd.get("/second").text() == "two").then_some(())
            });

            // One that ends the process is no better.
            site.write("second.py", "import os\nos._exit(7)\n");
            eventually("the end of all tries", SOON, || {
                assert_eq!(httpd.get("/second").text(), "two");
                (given_up() == 2).then_some(())
            });
            assert_eq!(httpd.get("/second").text(), "two");

            // One that has gone stands in nobody's way.
            fs::remove_file(&second).expect("it is there");
            site.write("first.py", &hello("three"));
            eventually("the other script", SOON, || {
                (httpd.get("/first").text() == "three").then_some(())
            });
            httpd.stop();
        }
    });
}
