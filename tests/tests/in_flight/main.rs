//! Requests while they are in flight: `wsgid requests`, the status page and its JSON, and
//! `wsgid top` on a terminal of its own.

mod top;

use std::process::Command;
use std::time::{Duration, Instant};

use wsgid_protocol::in_flight::Activity;
use wsgid_tests::{Httpd, Json, Limit, Python, Raw, Site, artifacts, case, eventually};

const SOON: Duration = Duration::from_secs(20);

/// Paths name functions; what naps and spins ends when the file `go` is there.
const APPLICATION: &str = "
import ctypes, os, time
GO = os.path.join(os.path.dirname(__file__), 'go')

def nap(environ):
    while not os.path.exists(GO):
        time.sleep(0.05)
    return [b'done']

def spin(environ):
    while not os.path.exists(GO):
        for _ in range(10000):
            pass
    return [b'done']

def read(environ):
    return [b'%d' % len(environ['wsgi.input'].read())]

def write(environ):
    return (b'x' * 65536 for _ in range(4000))

def hello(environ):
    return [b'hello']

def lock(environ):
    ctypes.PyDLL(None).sleep(9)
    return [b'done']

def application(environ, start_response):
    work = globals()[environ['PATH_INFO'].split('/')[1]]
    result = work(environ)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return result
";

fn server(site: &Site, groups: &[(&str, &str)]) -> Httpd {
    let script = site.write("app.py", APPLICATION);
    let mut builder = Httpd::builder()
        .line("<Location /groups>\nSetHandler wsgid-status\nRequire local\n</Location>")
        .load("authz_host");
    for (name, options) in groups {
        let home = Python::any().home.display();
        let options = format!("{options} python-home={home} {}", site.python_path());
        builder = builder
            .daemon(name, &options)
            .mount(&format!("/{name}"), &script, name);
    }
    builder.start()
}

fn get(httpd: &Httpd, path: &str) -> Raw {
    let mut raw = Raw::connect(httpd.address());
    assert!(raw.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")));
    raw
}

/// What the command line says as JSON.
fn told(httpd: &Httpd, args: &[&str]) -> Json {
    let text = httpd.wsgid(&[&["requests", "--json"], args].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn rows(told: &Json) -> &[Json] {
    told["requests"].as_array().expect("a list")
}

/// Waits until these paths do these things, and nothing else is in flight.
fn wait_for(httpd: &Httpd, wanted: &[(&str, Activity)]) -> Json {
    let mut last = Json::Null;
    let mut before = Vec::new();
    let found = wsgid_tests::until(SOON, || {
        last = told(httpd, &[]);
        let mut seen: Vec<(&str, &str)> = rows(&last)
            .iter()
            .map(|row| (row["path"].as_str(), row["activity"].as_str()))
            .map(|(path, does)| (path.unwrap_or("?"), does.unwrap_or("?")))
            .collect();
        seen.sort_unstable();
        let words = format!("{seen:?}");
        if before.last() != Some(&words) {
            before.push(words);
        }
        let mut wanted: Vec<_> = wanted
            .iter()
            .map(|(path, does)| (*path, does.word()))
            .collect();
        wanted.sort_unstable();
        (seen == wanted).then(|| last.clone())
    });
    found.unwrap_or_else(|| panic!("{wanted:?} is not what runs: {before:#?} {last}"))
}

#[test]
fn it_is_told_what_each_request_does_and_who_waits() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = server(
            &site,
            &[("site", "processes=1 threads=4"), ("idle", "threads=1")],
        );
        let begun = Instant::now();
        let mut nap = get(&httpd, "/site/nap/report?secret=1");
        let _spin = get(&httpd, "/site/spin");
        let mut read = Raw::connect(httpd.address());
        assert!(read.send(
            "POST /site/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\nbegin"
        ));
        let write = get(&httpd, "/site/write");
        let told = wait_for(
            &httpd,
            &[
                ("/site/nap/report", Activity::Waiting),
                ("/site/spin", Activity::Computing),
                ("/site/read", Activity::ReadingBody),
                ("/site/write", Activity::Writing),
            ],
        );
        facts_are_right(&httpd, &told, begun);
        let _more = [get(&httpd, "/site/nap"), get(&httpd, "/site/nap")];
        eventually("two that wait for a thread", SOON, || {
            let told = self::told(&httpd, &["site"]);
            (told["waiting"][0]["for_thread"] == 2).then_some(())
        });
        page_and_text_show_them(&httpd);
        stacks_are_those_of_their_threads(&httpd);
        drop(write);
        site.write("go", "");
        assert!(nap.wait_for("done", SOON));
        assert!(read.send(vec![b'x'; 900_000 - 5]) && read.wait_for("900000", SOON));
        eventually("nothing in flight", SOON, || {
            (httpd.wsgid(&["requests"]).trim() == "no request is in flight").then_some(())
        });
        httpd.stop();
    });
}

fn facts_are_right(httpd: &Httpd, told: &Json, begun: Instant) {
    let worker = httpd
        .status()
        .group("site")
        .and_then(|site| site.workers().next().cloned());
    let worker = worker.expect("a worker").pid;
    let mut threads: Vec<u64> = Vec::new();
    let mut ages: Vec<u64> = Vec::new();
    for row in rows(told) {
        assert_eq!(
            (&row["group"], &row["application_group"]),
            (&"site".into(), &"".into())
        );
        assert_eq!(row["worker"], worker, "{row}");
        let method = if row["path"] == "/site/read" {
            "POST"
        } else {
            "GET"
        };
        assert_eq!(row["method"], method, "{row}");
        assert!(row["id"].as_str().is_some_and(|id| id.len() > 8), "{row}");
        assert_eq!(row["stack"], Json::Null, "nobody asked for it");
        threads.extend(row["thread"].as_u64());
        ages.extend(row["for_us"].as_u64());
    }
    threads.sort_unstable();
    assert_eq!(threads, [1, 2, 3, 4]);
    assert!(
        ages.is_sorted_by(|a, b| a >= b),
        "the oldest is first: {ages:?}"
    );
    let most = u64::try_from(begun.elapsed().as_micros()).expect("a short time");
    assert!(ages.iter().all(|age| *age < most), "{ages:?} {most}");
    assert!(!told.to_string().contains("secret"), "{told}");
    let idle = self::told(httpd, &["idle"]);
    assert_eq!(rows(&idle), [Json::Null; 0], "of that group alone");
}

fn page_and_text_show_them(httpd: &Httpd) {
    let text = httpd.wsgid(&["requests"]);
    let line = text.lines().find(|line| line.contains("/site/nap/report"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    let words = [" s  GET ", "  site  worker ", " thread "];
    assert!(words.iter().all(|word| line.contains(word)), "{line}");
    assert!(
        text.contains("site: 2 wait for a thread of its worker"),
        "{text}"
    );
    let page = httpd.get("/groups").text().replace("&#x2f;", "/");
    for part in [
        "/site/nap/report",
        "/site/read",
        "reading the body",
        "writing to the client",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(page.contains("2 waiting"), "{page}");
    assert!(!page.contains("secret"), "{page}");
    let json = httpd.get("/groups?json").json();
    let groups = json["groups"].as_array().expect("a list");
    let site = groups
        .iter()
        .find(|group| group["name"] == "site")
        .expect("it is there");
    let worker = &site["pools"][0]["workers"][0];
    assert_eq!(
        worker["running"].as_array().map(Vec::len),
        Some(4),
        "{worker}"
    );
    assert_eq!(worker["queued"], 2, "{worker}");
}

fn stacks_are_those_of_their_threads(httpd: &Httpd) {
    let told = told(httpd, &["--stack"]);
    for row in rows(&told) {
        let stack = row["stack"]
            .as_str()
            .unwrap_or_else(|| panic!("no stack: {row}"));
        let function = row["path"].as_str().and_then(|path| path.split('/').nth(2));
        let others = ["nap", "spin", "read"];
        for name in others {
            let has = stack.contains(&format!("in {name}\n"));
            assert_eq!(has, function == Some(name), "{row}");
        }
        assert!(
            !stack.contains("runtime.py"),
            "what is the application's alone: {stack}"
        );
    }
    let text = httpd.wsgid(&["requests", "--stack", "site"]);
    assert!(text.contains("in nap") && text.contains("app.py"), "{text}");
}

#[test]
fn requests_that_nobody_has_begun_are_counted_where_they_wait() {
    case(Limit::default(), || {
        let site = Site::new();
        let slow = "import os, time\nwhile not os.path.exists(os.path.dirname(__file__) + '/go'):\n    time.sleep(0.05)\n";
        let script = site.write("slow.py", &format!("{slow}from app import application\n"));
        site.write("app.py", APPLICATION);
        let httpd = Httpd::builder()
            .daemon("slow", &format!("threads=1 {}", site.python_path()))
            .mount("/slow", &script, "slow")
            .start();
        let mut first = get(&httpd, "/slow/hello");
        eventually("it waits for a worker", SOON, || {
            let told = told(&httpd, &[]);
            (told["waiting"][0]["for_worker"] == 1).then_some(())
        });
        let text = httpd.wsgid(&["requests"]);
        assert!(text.contains("slow: 1 waits for a worker"), "{text}");
        site.write("go", "");
        assert!(first.wait_for("hello", SOON));
        httpd.stop();
    });
}

#[test]
fn a_locked_interpreter_hides_the_stack_and_not_the_request() {
    case(Limit::default(), || {
        let site = Site::new();
        // No heartbeat: it waits for the interpreter, and the worker says nothing meanwhile.
        let options = "processes=1 threads=2 deadlock-timeout=0";
        let httpd = server(&site, &[("site", options)]);
        assert_eq!(httpd.get("/site/hello").status, 200);
        let mut lock = get(&httpd, "/site/lock");
        wait_for(&httpd, &[("/site/lock", Activity::Waiting)]);
        let text = httpd.wsgid(&["requests", "--stack"]);
        assert!(
            text.contains("GET /site/lock")
                && text.contains("no stack: ")
                && text.contains("does not answer now: its interpreter is locked"),
            "{text}"
        );
        // Until then nobody can tell more; what was known is not forgotten.
        wait_for(&httpd, &[("/site/lock", Activity::Waiting)]);
        assert!(lock.wait_for("done", SOON));
        httpd.stop();
    });
}

#[test]
fn who_asks_for_what_is_not_there_is_told() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = server(&site, &[("site", "threads=1")]);
        let said = wsgid_tests::control::command(&httpd, &["requests", "nosuch"]);
        let said = said.expect("a socket");
        assert_eq!(said.code, 5, "{}", said.text);
        assert!(
            said.text.contains("`nosuch` is not defined"),
            "{}",
            said.text
        );
        // Without a terminal there is nothing to draw on.
        let out = Command::new(artifacts::wsgid())
            .args(["top", "--socket"])
            .arg(httpd.control_socket())
            .output()
            .expect("wsgid can be run");
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{text}");
        assert!(text.contains("needs a terminal"), "{text}");
        httpd.stop();
    });
}
