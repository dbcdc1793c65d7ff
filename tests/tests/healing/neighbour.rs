//! A site that does everything wrong beside one that does not: the good one
//! loses nothing and goes on answering. How fast is the benchmark's business
//! (`--neighbour`); here nothing depends on the machine.

use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::load::pester;
use wsgid_tests::{
    Client, Httpd, Limit, Load, Mpm, Site, TestUser, at_once, heavy_case, note, users,
};

use crate::SOON;

/// What the bad site does: a path, and how many ask for it at the same time.
const DEEDS: &[(&str, usize)] = &[
    ("hang", 60),
    ("crash", 2),
    ("flood", 2),
    ("memory", 2),
    ("fork", 1),
    ("spin", 2),
];

/// How long each deed goes on.
const TIME: Duration = Duration::from_millis(2500);

fn identity(user: Option<&TestUser>) -> String {
    user.map_or_else(String::new, |user| {
        format!("user={} group={}", user.name, user.group)
    })
}

#[test]
fn nothing_that_a_site_does_costs_its_neighbour_a_request() {
    heavy_case(Limit::seconds(150), || {
        let accounts = users::three();
        let one = accounts.map(|users| &users[0]);
        let two = accounts.map(|users| &users[1]);
        let sites = [one, two].map(|user| user.map_or_else(Site::new, Site::of));
        let bad = sites[0].file("bad_neighbour.py");
        let limits = "log-rate=512K process-limit=60 memory-limit=400M request-timeout=3 graceful-timeout=1 shutdown-timeout=1 \
                      restart-burst=1000000 listen-backlog=20 connect-timeout=0 cpu-priority=10";
        let httpd = Httpd::builder()
            .daemon(
                "bad",
                &format!("processes=2 threads=3 {limits} {}", identity(one)),
            )
            .daemon(
                "good",
                &format!(
                    "processes=1 threads=3 {} {}",
                    identity(two),
                    sites[1].python_path()
                ),
            )
            .mount("/bad", &bad, "bad")
            .mount("/good", &sites[1].file("hello.py"), "good")
            .start();
        let load = Load::new(httpd.address(), "/good", 2)
            .expect("Hello World!")
            .start();
        load.wait_for_more(50);
        let quiet = per_second(&load);
        for (deed, count) in DEEDS {
            let end = Instant::now() + TIME;
            let evil: Vec<_> = (0..*count)
                .map(|_| pester(httpd.address(), format!("/bad/{deed}"), end))
                .collect();
            let speed = per_second(&load);
            note(&format!(
                "{deed}: the neighbour has {speed:.0} answers a second, {quiet:.0} when it is quiet"
            ));
            assert!(speed > 0.0, "no answer at all during {deed}");
            for one in evil {
                one.join().expect("no panic");
            }
        }
        load.stop().assert_clean();
        let log = httpd.error_log().len();
        assert!(
            log < 40 << 20,
            "the flood of one site fills the disk: {log} bytes of log"
        );
        httpd.stop();
    });
}

fn per_second(load: &wsgid_tests::load::Running) -> f64 {
    let before = load.finished();
    let begun = Instant::now();
    wsgid_tests::wait::let_run(Duration::from_secs(2));
    (load.finished() - before) as f64 / begun.elapsed().as_secs_f64()
}

/// More clients than httpd has threads ask a group that never answers. With the
/// defaults all of them wait, some for ever; nothing would be left for others.
#[test]
fn a_group_that_hangs_does_not_take_the_last_thread_of_httpd() {
    let both = [
        (
            Mpm::Event,
            [
                "StartServers 1",
                "ThreadsPerChild 10",
                "MaxRequestWorkers 20",
            ],
        ),
        (
            Mpm::Prefork,
            [
                "StartServers 5",
                "MinSpareServers 1",
                "MaxRequestWorkers 20",
            ],
        ),
    ];
    at_once(Limit::seconds(90), both, |(mpm, lines)| {
        let site = Site::new();
        let builder = Httpd::builder().mpm(mpm);
        let httpd = lines
            .iter()
            .fold(builder, |builder, line| builder.line(*line))
            .daemon(
                "bad",
                &format!(
                    "threads=2 graceful-timeout=1 shutdown-timeout=1 {}",
                    site.python_path()
                ),
            )
            .daemon("good", &format!("threads=2 {}", site.python_path()))
            .mount("/bad", &site.file("bad_neighbour.py"), "bad")
            .mount("/good", &site.file("hello.py"), "good")
            .start();
        let address = httpd.address();
        let hang = move || {
            Client::new(address)
                .timeout(Duration::from_secs(80))
                .get("/bad/hang")
        };
        let insist = move || {
            while hang().is_ok() {
                wsgid_tests::wait::let_run(Duration::from_millis(20));
            }
        };
        // They are left to themselves: httpd's end is theirs.
        (0..40).for_each(|_| drop(thread::spawn(insist)));
        httpd.wait_for_log("are kept for others", SOON);
        for _ in 0..20 {
            let answer = Client::new(address)
                .timeout(Duration::from_secs(10))
                .get("/good");
            assert_eq!(answer.expect("a thread for it").text(), "Hello World!");
        }
        httpd.stop();
    });
}

/// More requests than httpd has threads, to groups that answer, also while workers are
/// replaced: nobody is refused for it.
#[test]
fn a_full_httpd_refuses_nobody_whose_group_answers() {
    heavy_case(Limit::seconds(60), || {
        let site = Site::new();
        let options = format!("threads=3 {}", site.python_path());
        let httpd = [
            "StartServers 2",
            "ThreadsPerChild 10",
            "MaxRequestWorkers 20",
        ]
        .iter()
        .fold(Httpd::builder(), |builder, line| builder.line(*line))
        .daemon("one", &options)
        .daemon("two", &options)
        .mount("/one", &site.file("probe.py"), "one")
        .mount("/two", &site.file("probe.py"), "two")
        .start();
        let loads = ["/one", "/two"].map(|path| {
            let path = format!("{path}/sleep?seconds=0.1");
            Load::new(httpd.address(), &path, 15)
                .fresh_connections()
                .start()
        });
        for load in &loads {
            load.wait_for_more(60);
        }
        assert_eq!(httpd.wsgid(&["restart", "one", "--no-wait"]), "");
        for load in &loads {
            load.wait_for_more(60);
        }
        for load in loads {
            load.stop().assert_clean();
        }
        httpd.stop();
    });
}

/// More clients than httpd has threads ask a group of quick requests; its only worker
/// is killed, and the next one takes a while to load: what the first had not begun
/// waits for it, and nobody is told that the group has too much.
#[test]
fn a_worker_that_starts_again_has_nobody_refused() {
    const APPLICATION: &str = "\
import os, time
time.sleep(1)
def application(environ, start_response):
    time.sleep(0.05)
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    heavy_case(Limit::seconds(60), || {
        let site = Site::new();
        let options = format!("threads=3 {}", site.python_path());
        let httpd = [
            "StartServers 2",
            "ThreadsPerChild 10",
            "MaxRequestWorkers 20",
        ]
        .iter()
        .fold(Httpd::builder(), |builder, line| builder.line(*line))
        .daemon("one", &options)
        .daemon("two", &options)
        .mount("/one", &site.write("slow.py", APPLICATION), "one")
        .mount("/two", &site.file("hello.py"), "two")
        .start();
        let worker = httpd.get("/one").text();
        let load = Load::new(httpd.address(), "/one", 40)
            .fresh_connections()
            .start();
        load.wait_for_more(60);
        let pid = worker.parse().expect("a process id");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        )
        .expect("it runs");
        load.wait_for_more(150);
        let tally = load.stop();
        assert_ne!(httpd.get("/one").text(), worker, "another worker");
        assert!(
            tally.ok > 100 && tally.of_kind("status 503") == 0,
            "{tally:?}"
        );
        assert!(
            tally.failed() <= 3,
            "only what the worker had begun: {tally:?}"
        );
        httpd.stop();
    });
}
