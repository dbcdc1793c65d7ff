//! `SetHandler wsgid-health`: says what is ready and why not, and asks nobody for it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::{
    Builder, Httpd, Json, Limit, Request, Site, case, control, eventually, heavy_case, note,
};

const SOON: Duration = Duration::from_secs(30);

/// Loads when a file `go` stands beside it, and sleeps as long as the query says.
const APPLICATION: &str = r#"
import os, time
while not os.path.exists(os.path.join(os.path.dirname(__file__), "go")):
    time.sleep(0.02)
def application(environ, start_response):
    time.sleep(float(environ["QUERY_STRING"] or 0))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"it answers"]
"#;

fn probed(builder: Builder) -> Builder {
    builder.line("<Location /health>\nSetHandler wsgid-health\nRequire all granted\n</Location>")
}

/// Status and answer, which is one line of JSON.
fn ask(httpd: &Httpd, query: &str) -> (u16, Json) {
    let response = httpd.get(&format!("/health{query}"));
    assert_eq!(response.header("Content-Type"), Some("application/json"));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    let text = response.text();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    (response.status, text.parse().expect("JSON"))
}

fn wait_for(httpd: &Httpd, query: &str, status: u16) -> Json {
    eventually(&format!("{query} is {status}"), SOON, || {
        let (is, said) = ask(httpd, query);
        (is == status).then_some(said)
    })
}

#[test]
fn it_says_what_is_ready_and_why_not() {
    case(Limit::default(), || {
        let site = Site::new();
        let late = site.write("late/late.py", APPLICATION);
        let broken = site.write("broken/broken.py", "import no_such_module\n");
        let options = format!("threads=3 processes=2 {}", site.python_path());
        let httpd = probed(Httpd::builder())
            .daemon("late", &options)
            .daemon("broken", &options)
            .daemon("unused", &options)
            .mount("/late", &late, "late")
            .mount("/broken", &broken, "broken")
            .start();
        let (status, said) = ask(&httpd, "?live");
        assert_eq!((status, &said["live"]), (200, &Json::Bool(true)), "{said}");
        let said = eventually("the supervisor speaks", SOON, || {
            let (status, said) = ask(&httpd, "?group=broken");
            let why = said["why"].as_str().unwrap_or_default();
            (status == 503 && why.contains("broken.py` failed to load")).then_some(said)
        });
        assert_eq!(said["ready"], false, "{said}");
        let (status, said) = ask(&httpd, "?group=late");
        assert_eq!((status, &said["why"]), (503, &Json::from("it starts")));
        assert_eq!(said["capacity"], 0, "{said}");
        assert_eq!(ask(&httpd, "?group=unused").0, 200, "a request starts it");
        let (status, said) = ask(&httpd, "?group=n%6fne");
        assert_eq!((status, &said["group"]), (503, &Json::from("none")));
        let (status, said) = ask(&httpd, "?ready");
        let missing = said["missing"].as_array().expect("a list");
        let names = missing.iter().filter_map(|one| one["group"].as_str());
        let names: Vec<_> = names.collect();
        assert_eq!((status, names), (503, vec!["broken", "late"]), "{said}");

        site.write("late/go", "");
        let said = wait_for(&httpd, "?group=late", 200);
        assert!(said["capacity"] == 3 || said["capacity"] == 6, "{said}");
        eventually("both workers", SOON, || {
            (ask(&httpd, "?group=late").1["capacity"] == 6).then_some(())
        });
        site.write(
            "broken/broken.py",
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n",
        );
        let said = wait_for(&httpd, "", 200);
        assert_eq!(
            (&said["ready"], &said["busy"]),
            (&Json::Bool(true), &Json::from(0))
        );

        let _ = httpd.wsgid(&["stop", "late"]);
        let said = wait_for(&httpd, "?group=late", 503);
        assert!(
            said["why"]
                .as_str()
                .is_some_and(|why| why.contains("stopped")),
            "{said}"
        );
        assert_eq!(ask(&httpd, "?ready").0, 200, "that was somebody's wish");
        let _ = httpd.wsgid(&["start", "late"]);
        wait_for(&httpd, "?group=late", 200);

        let post = httpd.client().send(&Request::post("/health", "x"));
        assert_eq!(post.expect("an answer").status, 405);
        assert_eq!(httpd.get("/health?else").status, 400);
        let probes = httpd.root().to_owned();
        httpd.stop();
        let left: Vec<_> = fs::read_dir(probes.join("run"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

#[test]
fn who_drains_serves_on_and_is_not_ready() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = probed(Httpd::builder())
            .daemon("site", &site.python_path())
            .daemon("other", &site.python_path())
            .mount("/site", &site.file("hello.py"), "site")
            .mount("/other", &site.file("hello.py"), "other")
            .start();
        wait_for(&httpd, "?ready", 200);
        let said = httpd.wsgid(&["drain", "site"]);
        assert!(said.contains("process group `site` serves on"), "{said}");
        wait_for(&httpd, "?group=site", 503);
        assert_eq!(ask(&httpd, "?ready").0, 200, "the server has others");
        let _ = httpd.wsgid(&["drain", "site", "--off"]);
        wait_for(&httpd, "?group=site", 200);

        let _ = httpd.wsgid(&["drain"]);
        let said = wait_for(&httpd, "?ready", 503);
        assert_eq!(said["draining"], true, "{said}");
        assert_eq!(ask(&httpd, "?group=other").0, 503);
        assert_eq!(ask(&httpd, "?live").0, 200);
        assert_eq!(httpd.get("/site").status, 200);
        let pid = httpd.supervisor();
        let _ = httpd.wsgid(&["reexec"]);
        assert_eq!(httpd.supervisor(), pid);
        // What the program before wrote is there all the time; the next writes its own.
        let file = httpd.control_socket().with_file_name("ready.json");
        fs::remove_file(&file).expect("it is there");
        eventually("the next program writes", SOON, || {
            file.exists().then_some(())
        });
        assert_eq!(ask(&httpd, "?ready").1["draining"], true);
        let _ = httpd.wsgid(&["drain", "--off"]);
        wait_for(&httpd, "?ready", 200);
        let unknown = control::command(&httpd, &["drain", "none"]).expect("a socket");
        assert_eq!(unknown.code, 5, "{}", unknown.text);
        httpd.stop();
    });
}

/// Nobody but httpd works: the probe is answered, as long as what it says is new.
#[test]
fn it_asks_neither_the_supervisor_nor_a_worker() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = probed(Httpd::builder())
            .daemon("site", &format!("processes=2 {}", site.python_path()))
            .mount("/", &site.file("hello.py"), "site")
            .start();
        wait_for(&httpd, "?ready", 200);
        let workers = httpd.wait_for_workers(2, SOON);
        let supervisor = httpd.supervisor().expect("a supervisor");
        let all: Vec<_> = workers.into_iter().chain([supervisor]).collect();
        all.iter().for_each(|pid| pid.signal(Signal::SIGSTOP));
        let begun = Instant::now();
        for _ in 0..200 {
            assert_eq!(ask(&httpd, "?group=site").0, 200);
        }
        assert!(
            begun.elapsed() < Duration::from_secs(9),
            "{:?}",
            begun.elapsed()
        );
        let said = wait_for(&httpd, "?ready", 503);
        let why = said["why"].as_str().unwrap_or_default();
        assert!(why.contains("said nothing for"), "{said}");
        assert_eq!(ask(&httpd, "?live").0, 200, "it may come back");
        all.iter().for_each(|pid| pid.signal(Signal::SIGCONT));
        wait_for(&httpd, "?ready", 200);
        supervisor.kill();
        eventually("another supervisor", SOON, || {
            let other = httpd.supervisor()?;
            (other != supervisor).then_some(())
        });
        wait_for(&httpd, "?ready", 200);
        httpd.stop();
    });
}

/// httpd's threads; one in ten is kept free.
const THREADS: usize = 20;

fn small(builder: Builder) -> Builder {
    probed(builder)
        .line("StartServers 1")
        .line("ThreadsPerChild 10")
        .line(format!("MaxRequestWorkers {THREADS}"))
}

/// Clients that ask for what takes long, until this is set.
fn sleepers(httpd: &Httpd, path: &'static str, count: usize, stop: &Arc<AtomicBool>) {
    for _ in 0..count {
        let mut client = httpd.client();
        let stop = Arc::clone(stop);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let _ = client.get(path);
            }
        });
    }
}

#[test]
fn it_is_quick_while_every_thread_of_every_group_sleeps() {
    heavy_case(Limit::default(), || {
        let site = Site::new();
        site.write("go", "");
        let script = site.write("sleeps.py", APPLICATION);
        let options = "threads=2 shutdown-timeout=1 graceful-timeout=1";
        let httpd = small(Httpd::builder())
            .daemon("one", options)
            .daemon("two", options)
            .mount("/one", &script, "one")
            .mount("/two", &script, "two")
            .start();
        wait_for(&httpd, "?ready", 200);
        let stop = Arc::new(AtomicBool::new(false));
        sleepers(&httpd, "/one?60", 6, &stop);
        sleepers(&httpd, "/two?60", 6, &stop);
        let said = eventually("all threads sleep", SOON, || {
            let (_, said) = ask(&httpd, "?ready");
            (said["busy"] == 4 && said["waiting"] == 8).then_some(said)
        });
        assert_eq!(said["capacity"], 4, "{said}");
        let requests = |httpd: &Httpd| -> u64 {
            let status = httpd.status();
            let workers = status.groups.iter().flat_map(|group| group.workers());
            workers
                .map(|worker| worker.requests + worker.in_flight)
                .sum()
        };
        let before = requests(&httpd);
        let mut client = httpd.client();
        let mut took: Vec<Duration> = (0..500)
            .map(|_| {
                let begun = Instant::now();
                let status = client.get("/health?ready").map(|response| response.status);
                assert!(matches!(status, Ok(200)), "{status:?}");
                begun.elapsed()
            })
            .collect();
        assert_eq!(requests(&httpd), before, "no worker had one of these");
        took.sort_unstable();
        let p99 = took[took.len() * 99 / 100];
        note(&format!("p50 {:?}, p99 {p99:?}", took[took.len() / 2]));
        assert!(p99 < Duration::from_millis(20), "{p99:?}");
        stop.store(true, Ordering::Relaxed);
        httpd.stop();
    });
}

/// One site alone may not take the last threads of httpd from those who ask how it is.
#[test]
fn a_single_site_with_more_clients_than_httpd_has_threads_leaves_it_room() {
    heavy_case(Limit::default(), || {
        let site = Site::new();
        site.write("go", "");
        let script = site.write("sleeps.py", APPLICATION);
        let httpd = small(Httpd::builder())
            .daemon("one", "threads=2 shutdown-timeout=1 graceful-timeout=1")
            .mount("/one", &script, "one")
            .start();
        wait_for(&httpd, "?ready", 200);
        let stop = Arc::new(AtomicBool::new(false));
        sleepers(&httpd, "/one?60", 2 * THREADS, &stop);
        eventually("all of httpd's threads that it may have", SOON, || {
            let (_, said) = ask(&httpd, "?ready");
            said["waiting"].as_u64().filter(|waiting| *waiting >= 14)
        });
        for _ in 0..20 {
            let begun = Instant::now();
            assert_eq!(ask(&httpd, "?ready").0, 200);
            assert!(
                begun.elapsed() < Duration::from_secs(3),
                "{:?}",
                begun.elapsed()
            );
        }
        stop.store(true, Ordering::Relaxed);
        httpd.stop();
    });
}
