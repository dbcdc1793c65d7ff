//! Workers, the supervisor and httpd come and go under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wsgid_tests::wait::let_run;
use wsgid_tests::{
    Client, ClientError, Httpd, Limit, Load, Pid, Site, case, eventually, heavy_case, note,
};

const HELLO: &str = "Hello World!";
const WARM: Duration = Duration::from_millis(500);

fn serve(options: &str) -> (Site, Httpd) {
    let site = Site::new();
    let httpd = Httpd::builder()
        .daemon("site", &format!("{options} {}", site.python_path()))
        .mount("/", &site.file("probe.py"), "site")
        .start();
    (site, httpd)
}

fn load(httpd: &Httpd, connections: usize) -> Load {
    Load::new(httpd.address(), "/hello", connections).expect(HELLO)
}

#[test]
fn many_connections_lose_nothing_and_the_supervisor_sleeps() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve("processes=2 threads=5");
        load(&httpd, 32).run_for(WARM).assert_clean();
        let supervisor = httpd.supervisor().expect("a supervisor runs");
        let before = supervisor.cpu_time();
        let tally = load(&httpd, 32).run_for(Duration::from_secs(10));
        tally.assert_clean();
        assert!(tally.ok > 1000, "{tally:?}");
        let used = supervisor.cpu_time() - before;
        // Off the data path: what remains is its own clock, and connections that
        // change workers. To pass on a request would cost ten times as much.
        let each = used / u32::try_from(tally.ok).unwrap();
        note(&format!(
            "the supervisor used {used:?} for {} requests, {each:?} each",
            tally.ok
        ));
        assert!(
            each <= Duration::from_micros(3),
            "the supervisor used {used:?} for {} requests",
            tally.ok
        );
        httpd.stop();
    });
}

#[test]
fn a_killed_worker_costs_only_what_it_was_serving() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve("processes=3 threads=3");
        load(&httpd, 16).run_for(WARM).assert_clean();
        let victim = httpd.wait_for_workers(3, Duration::from_secs(20))[0];
        let running = load(&httpd, 16).start();
        running.wait_for_more(500);
        victim.kill();
        // A killed process is listed until it has been waited for.
        eventually(
            "three workers without the killed one",
            Duration::from_secs(10),
            || {
                let workers = httpd.workers();
                (workers.len() == 3 && !workers.contains(&victim)).then_some(())
            },
        );
        running.wait_for_more(500);
        let tally = running.stop();
        // A worker runs at most its threads' number of requests at a time.
        let lost = tally.of_kind("status 502") + tally.of_kind("truncated");
        assert_eq!(tally.failed(), lost, "other failures than 502: {tally:?}");
        assert!(lost <= 3, "{tally:?}");
        if lost > 0 {
            httpd.wait_for_log("SIGKILL", Duration::from_secs(5));
        }
        load(&httpd, 16).run_for(WARM).assert_clean();
        httpd.stop();
    });
}

/// Sends itself a signal that ends the process, and goes on as if it had not: while its stacks
/// are written to a pipe that holds them up, it answers.
const CRASHES: &str = "import fcntl, os, select, signal, subprocess, threading, time
def deep(level):
    if level:
        deep(level - 1)
    else:
        time.sleep(600)
def application(environ, start_response):
    for _ in range(5):
        threading.Thread(target=deep, args=(90,), daemon=True).start()
    ours, theirs = os.pipe()
    fcntl.fcntl(theirs, 1031, 4096)  # F_SETPIPE_SZ
    subprocess.Popen(['sh', '-c', 'sleep 0.3; exec cat'], stdin=ours, stdout=subprocess.DEVNULL)
    os.dup2(theirs, 2)
    os.kill(os.getpid(), getattr(signal, environ['QUERY_STRING']))
    select.select([ours], [], [])
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'survived']
";

#[test]
fn an_application_does_not_survive_a_signal_of_its_own() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("crashes.py", CRASHES);
        let httpd = Httpd::builder()
            .daemon("one", "threads=1 restart-burst=100")
            .daemon("five", "threads=5 restart-burst=100")
            .daemon("forked", "threads=5 restart-burst=100 preload=On")
            .mount("/one", &script, "one")
            .mount("/five", &script, "five")
            .mount("/forked", &script, "forked")
            .start();
        for crash in [
            "one?SIGSEGV",
            "one?SIGABRT",
            "one?SIGBUS",
            "one?SIGFPE",
            "one?SIGILL",
            "five?SIGSEGV",
            "forked?SIGSEGV",
        ] {
            let answer = httpd.get(&format!("/{crash}"));
            assert_eq!(answer.status, 502, "{crash}: {}", answer.text());
        }
        let failed = || {
            httpd
                .access_log()
                .matches("failure=worker-signalled")
                .count()
        };
        eventually("all in the log", Duration::from_secs(5), || {
            (failed() == 7).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_killed_worker_is_named_with_its_signal() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=1 threads=2");
        let response = httpd.get("/crash?signal=SIGSEGV");
        assert_eq!(response.status, 502);
        let line = httpd.wait_for_log("SIGSEGV", Duration::from_secs(5));
        assert!(line.contains("site"), "the line names the group: {line}");
        // The access log is written after the client has its answer.
        eventually("the note of the signal", Duration::from_secs(5), || {
            httpd
                .access_log()
                .contains("failure=worker-signalled")
                .then_some(())
        });
        let left = httpd.get("/leave?code=7");
        assert_eq!(left.status, 502);
        eventually("the note of the exit", Duration::from_secs(5), || {
            httpd
                .access_log()
                .contains("failure=worker-exited")
                .then_some(())
        });
        assert_eq!(httpd.get("/hello").text(), HELLO);
        httpd.stop();
    });
}

#[test]
fn ten_graceful_restarts_under_load_change_nothing() {
    heavy_case(Limit::seconds(180), || {
        let (_site, httpd) = serve("processes=2 threads=5");
        load(&httpd, 8).run_for(WARM).assert_clean();
        let workers = httpd.wait_for_workers(2, Duration::from_secs(20));
        let supervisor = httpd.supervisor().expect("a supervisor runs");
        let kept = load(&httpd, 8).start();
        let fresh = load(&httpd, 4).fresh_connections().start();
        for _ in 0..10 {
            httpd.graceful();
            kept.wait_for_more(50);
            fresh.wait_for_more(10);
        }
        kept.stop().assert_clean();
        fresh.stop().assert_clean();
        assert_eq!(httpd.workers(), workers, "the same processes serve");
        assert_eq!(httpd.supervisor(), Some(supervisor));
        httpd.stop();
    });
}

#[test]
fn a_graceful_restart_applies_only_what_changed() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut httpd = Httpd::builder()
            .daemon("steady", &format!("threads=2 {}", site.python_path()))
            .daemon("changed", &format!("threads=2 {}", site.python_path()))
            .mount("/steady", &site.file("probe.py"), "steady")
            .mount("/changed", &site.file("probe.py"), "changed")
            .start();
        let pid = |httpd: &Httpd, at: &str| httpd.get(&format!("/{at}/info")).json()["pid"].clone();
        let steady = pid(&httpd, "steady");
        let changed = pid(&httpd, "changed");
        httpd.configure(|lines| {
            let line = lines
                .iter_mut()
                .find(|line| line.contains("Process changed"))
                .expect("it is configured");
            *line = line.replace("threads=2", "threads=4");
        });
        httpd.graceful();
        eventually(
            "a new worker of the changed group",
            Duration::from_secs(20),
            || (pid(&httpd, "changed") != changed).then_some(()),
        );
        assert_eq!(pid(&httpd, "steady"), steady);
        httpd.stop();
    });
}

#[test]
fn a_killed_supervisor_loses_no_request() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve("processes=2 threads=5");
        load(&httpd, 16).run_for(WARM).assert_clean();
        let supervisor = httpd.supervisor().expect("a supervisor runs");
        let old = httpd.wait_for_workers(2, Duration::from_secs(20));
        let running = load(&httpd, 16).start();
        running.wait_for_more(500);
        let begun = Instant::now();
        supervisor.kill();
        let new = eventually(
            "a new supervisor with two workers",
            Duration::from_secs(15),
            || {
                // First the supervisor: workers that are listed before it may be the old one's.
                httpd.supervisor().filter(|new| *new != supervisor)?;
                let workers = httpd.workers();
                (workers.len() == 2).then_some(workers)
            },
        );
        let back = begun.elapsed();
        running.wait_for_more(500);
        assert!(new.iter().all(|worker| !old.contains(worker)));
        // The old workers leave after their grace; the load goes on all the while.
        eventually(
            "the end of the old workers",
            Duration::from_secs(25),
            || old.iter().all(|worker| !worker.alive()).then_some(()),
        );
        running.wait_for_more(500);
        running.stop().assert_clean();
        assert!(
            back <= Duration::from_secs(2),
            "new workers only after {back:?}"
        );
        httpd.stop();
    });
}

#[test]
fn a_worker_killed_in_mid_stream_is_seen_by_the_client() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=1 threads=2");
        let result = httpd.client().get("/crash?when=later");
        assert!(
            matches!(
                result,
                Err(ClientError::Truncated {
                    status: Some(200),
                    ..
                })
            ),
            "{result:?}"
        );
        let curl = std::process::Command::new("curl")
            .args([
                "--silent",
                "--http1.1",
                "--output",
                "/dev/null",
                &httpd.url("/crash?when=later"),
            ])
            .status()
            .expect("curl is installed");
        assert_eq!(
            curl.code(),
            Some(18),
            "curl calls an incomplete transfer 18"
        );
        httpd.wait_for_log("SIGKILL", Duration::from_secs(5));
        httpd.stop();
    });
}

#[test]
fn a_touched_script_is_loaded_again_without_a_lost_request() {
    heavy_case(Limit::default(), || {
        let site = Site::new();
        let script = |text: &str| {
            format!(
                "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
            )
        };
        let path = site.write("touched.py", &script("one"));
        let httpd = Httpd::builder()
            .daemon("site", "processes=2 threads=3")
            .mount("/", &path, "site")
            .start();
        assert_eq!(httpd.get("/").text(), "one");
        let running = Load::new(httpd.address(), "/", 8).start();
        running.wait_for_more(100);
        // File times have whole jiffies: the next write must not share one.
        let_run(Duration::from_millis(50));
        site.write("touched.py", &script("two"));
        let mut client = httpd.client();
        eventually("the new text", Duration::from_secs(20), || {
            (client.get("/").ok()?.text() == "two").then_some(())
        });
        running.wait_for_more(100);
        running.stop().assert_clean();
        eventually("only the new text", Duration::from_secs(20), || {
            (0..20)
                .all(|_| httpd.get("/").text() == "two")
                .then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn stopping_ends_everything_in_bounded_time_also_with_a_stuck_request() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=2 threads=2 shutdown-timeout=2");
        assert_eq!(httpd.get("/hello").status, 200);
        let address = httpd.address();
        let stuck =
            std::thread::spawn(move || Client::new(address).get("/sleep?seconds=600&name=stuck"));
        let before: BTreeSet<Pid> = httpd.pid().descendants().into_iter().collect();
        assert!(before.len() > 3);
        httpd.wait_for_running("stuck", Duration::from_secs(20));
        httpd.stop();
        let answer = stuck.join().expect("the client ends");
        assert!(
            !matches!(answer, Ok(ref response) if response.status == 200),
            "{answer:?}"
        );
    });
}

/// Who holds the parent's end of the control socket can define a group of any
/// user, and who holds the listening socket can take other children's requests.
#[test]
fn children_of_httpd_hold_no_socket_of_the_parent() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=1 threads=2");
        assert_eq!(httpd.get("/hello").status, 200);
        let table = std::fs::read_to_string("/proc/net/unix").expect("the kernel lists sockets");
        let of_unix = |what: &String| {
            let inode = what
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            inode.is_some_and(|inode| {
                table
                    .lines()
                    .any(|line| line.split_whitespace().nth(6) == Some(inode))
            })
        };
        let of_parent: BTreeSet<String> = httpd
            .pid()
            .descriptors()
            .into_values()
            .filter(of_unix)
            .collect();
        assert!(
            of_parent.len() >= 2,
            "control and listening socket: {of_parent:?}"
        );
        let supervisor = httpd.supervisor().expect("a supervisor runs");
        let children = httpd.pid().children();
        for child in children.into_iter().filter(|child| *child != supervisor) {
            let held: Vec<String> = child
                .descriptors()
                .into_values()
                .filter(|what| of_parent.contains(what))
                .collect();
            assert!(held.is_empty(), "{} holds {held:?}", child.command_line());
        }
        httpd.stop();
    });
}

/// httpd would do it by itself, within ten seconds.
#[test]
fn a_socket_that_somebody_removed_is_made_anew() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=1 threads=2");
        assert_eq!(httpd.get("/hello").status, 200);
        let before = httpd.sockets();
        assert!(before.len() > 1, "{before:?}");
        before
            .iter()
            .for_each(|socket| std::fs::remove_file(socket).expect("a socket can be removed"));
        httpd.graceful();
        assert_eq!(httpd.get("/hello").status, 200);
        eventually("all sockets", Duration::from_secs(10), || {
            (httpd.sockets() == before).then_some(())
        });
        assert!(httpd.error_log().contains("WSGID0033"));
        httpd.stop();
    });
}

/// Each of these would otherwise be taken for one that cannot run.
#[test]
fn supervisors_that_are_killed_one_after_the_other_are_replaced_at_once() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=1 threads=2");
        let begun = Instant::now();
        for _ in 0..4 {
            let old = eventually("a supervisor", Duration::from_secs(10), || {
                httpd.supervisor()
            });
            old.kill();
            eventually("its end", Duration::from_secs(10), || {
                (httpd.supervisor() != Some(old)).then_some(())
            });
        }
        assert_eq!(httpd.get("/hello").status, 200);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        httpd.stop();
    });
}

#[test]
fn a_parent_that_is_killed_leaves_nothing_behind() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("processes=2 threads=2 shutdown-timeout=2 graceful-timeout=2");
        assert_eq!(httpd.get("/hello").status, 200);
        let supervisor = httpd.supervisor().expect("a supervisor runs");
        let workers = httpd.wait_for_workers(2, Duration::from_secs(20));
        let children = httpd.pid().children();
        httpd.pid().kill();
        eventually(
            "the end of supervisor and workers",
            Duration::from_secs(20),
            || {
                workers
                    .iter()
                    .chain([&supervisor])
                    .all(|pid| !pid.alive())
                    .then_some(())
            },
        );
        assert!(httpd.sockets().is_empty(), "{:?}", httpd.sockets());
        // httpd's own children do not notice by themselves.
        children.iter().for_each(|child| child.kill());
    });
}

/// Where nobody was left to do it, the next httpd does.
#[test]
fn sockets_of_a_server_that_was_killed_with_its_supervisor_are_removed_by_the_next() {
    case(Limit::default(), || {
        let place = Site::new();
        let prefix = place.file("sockets");
        let server = || {
            let site = Site::new();
            let httpd = Httpd::builder()
                .line(format!("WSGISocketPrefix {}", prefix.display()))
                .daemon(
                    "site",
                    &format!("processes=1 threads=2 {}", site.python_path()),
                )
                .mount("/", &site.file("probe.py"), "site")
                .start();
            assert_eq!(httpd.get("/hello").status, 200);
            (site, httpd)
        };
        let ours =
            |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("sockets.");
        let top = prefix.parent().expect("a directory");
        let directories = || {
            std::fs::read_dir(top)
                .expect("a directory")
                .flatten()
                .filter(ours)
                .count()
        };
        let (_kept, lives) = server();
        let (_site, killed) = server();
        assert_eq!(directories(), 2);
        let all = killed.pid().descendants();
        [killed.pid()].iter().chain(&all).for_each(|pid| pid.kill());
        eventually("their end", Duration::from_secs(20), || {
            all.iter().all(|pid| !pid.alive()).then_some(())
        });
        drop(killed);
        assert_eq!(directories(), 2);
        let (_site, next) = server();
        assert_eq!(directories(), 2, "of the one that lives and the new one");
        assert_eq!(lives.get("/hello").status, 200);
        next.stop();
        lives.stop();
        assert_eq!(directories(), 0);
    });
}
