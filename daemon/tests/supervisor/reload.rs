//! Reloads and commands with real workers: nothing is lost on the way.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::stand_in::{Answer, Httpd, group};

fn app(answer: &str) -> String {
    format!(
        "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{answer} %d' % os.getpid()]\n"
    )
}

fn touch(script: &Path, text: &str, second: u64) {
    std::fs::write(script, text).unwrap();
    // Another second than before, whatever the file system's clock does.
    let file = std::fs::File::options().write(true).open(script).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(second))
        .unwrap();
}

fn body(answer: Answer) -> String {
    match answer {
        Answer::Body(200, text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn touching_the_script_under_load_loses_nothing() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", &app("v0"));
    let mut config = group("site", &script);
    config.set("processes", "2").unwrap();
    httpd.configure(vec![config]);
    httpd.wait("two ready workers", |httpd| {
        httpd.workers("ready").len() == 2
    });
    let (stop, httpd) = (AtomicBool::new(false), &httpd);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|nonce| {
                let (stop, script) = (&stop, &script);
                scope.spawn(move || {
                    let mut connection = httpd.connect("site", nonce, script, "/");
                    let (mut count, mut seen) = (0, BTreeSet::new());
                    while !stop.load(Ordering::Relaxed) {
                        seen.insert(body(connection.answer()));
                        count += 1;
                        // A connection outlives the worker that served it.
                        connection.request(script, "/").unwrap();
                    }
                    body(connection.answer());
                    (count, seen)
                })
            })
            .collect();
        for version in 1..=4 {
            touch(&script, &app(&format!("v{version}")), version);
            let wanted = format!("v{version} ");
            httpd.wait(&wanted, |httpd| {
                body(httpd.get("site", &script, "/")).starts_with(&wanted)
            });
        }
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            let (count, seen) = client.join().unwrap();
            assert!(count > 10 && seen.len() > 1, "{count} {seen:?}");
        }
    });
}

#[test]
fn a_broken_script_leaves_the_old_one_serving() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", &app("good"));
    httpd.configure(vec![group("site", &script)]);
    let before = body(httpd.get("site", &script, "/"));
    touch(&script, "raise RuntimeError('half deployed')\n", 1);
    httpd.wait("the new generation is given up", |httpd| {
        assert_eq!(body(httpd.get("site", &script, "/")), before);
        httpd.log().contains("was given up")
    });
    assert!(httpd.log().contains("half deployed"));
    assert_eq!(body(httpd.get("site", &script, "/")), before);
    touch(&script, &app("mended"), 2);
    httpd.wait("the mended script serves", |httpd| {
        body(httpd.get("site", &script, "/")).starts_with("mended")
    });
}

#[test]
fn only_what_changed_is_reloaded() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", &app("x"));
    let (a, b) = (group("a", &script), group("b", &script));
    httpd.configure(vec![a.clone(), b.clone()]);
    let (pid_a, pid_b) = (
        body(httpd.get("a", &script, "/")),
        body(httpd.get("b", &script, "/")),
    );
    let mut changed = b.clone();
    changed.set("threads", "2").unwrap();
    let mut broken = group("broken", &script);
    broken.set("python-home", "/no/such/venv").unwrap();
    httpd.configure(vec![a.clone(), changed.clone(), broken.clone()]);
    httpd.wait("b is reloaded", |httpd| {
        body(httpd.get("b", &script, "/")) != pid_b
    });
    assert_eq!(body(httpd.get("a", &script, "/")), pid_a);
    match httpd.get("broken", &script, "/") {
        Answer::Failed(10, text) => assert!(text.contains("no Python interpreter"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(
        httpd.log().contains("`/no` does not exist"),
        "{}",
        httpd.log()
    );
    // A removed group drains when no child of a generation that had it is left.
    httpd.configure(vec![a]);
    assert!(body(httpd.get("b", &script, "/")).starts_with('x'));
    httpd.say(&wsgid_protocol::control::FromParent::GenerationEnded(1));
    httpd.say(&wsgid_protocol::control::FromParent::GenerationEnded(2));
    httpd.wait("b has ended", |httpd| httpd.status().groups.len() == 1);
    assert!(matches!(httpd.get("b", &script, "/"), Answer::Failed(2, _)));
    assert_eq!(body(httpd.get("a", &script, "/")), pid_a);
}

#[test]
fn commands_and_their_exit_codes() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", &app("x"));
    httpd.configure(vec![group("site", &script)]);
    let pid = body(httpd.get("site", &script, "/"));
    assert_eq!(httpd.command("restart", "site"), 0);
    httpd.wait("another worker", |httpd| {
        body(httpd.get("site", &script, "/")) != pid
    });
    assert_eq!(httpd.command("stop", "site"), 0);
    assert!(matches!(
        httpd.get("site", &script, "/"),
        Answer::Failed(9, _)
    ));
    assert_eq!(httpd.command("start", "site"), 0);
    assert!(body(httpd.get("site", &script, "/")).starts_with('x'));
    assert_eq!(httpd.command("dump", "site"), 0);
    assert_eq!(httpd.command("restart", "nobody-knows"), 5);
}

#[test]
fn an_application_that_cannot_live_is_refused_and_named() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", "import os\nos._exit(9)\n");
    let mut config = group("site", &script);
    config.set("restart-burst", "3").unwrap();
    let good = httpd.script("good.py", &app("x"));
    httpd.configure(vec![config, group("good", &good)]);
    let start = Instant::now();
    match httpd.get("site", &script, "/") {
        Answer::Failed(8, text) => assert!(text.contains("exited with code 9"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(start.elapsed() < Duration::from_secs(8));
    assert!(body(httpd.get("good", &good, "/")).starts_with('x'));
}

#[test]
fn a_hundred_connections_survive_the_worker_they_are_on() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", &app("x"));
    httpd.configure(vec![group("site", &script)]);
    let mut connections: Vec<_> = (0..100)
        .map(|nonce| httpd.connect("site", nonce, &script, "/"))
        .collect();
    let mut pids = BTreeSet::new();
    for connection in &mut connections {
        pids.insert(body(connection.answer()));
    }
    assert_eq!(pids.len(), 1);
    httpd.command("restart", "site");
    httpd.wait("the old worker has left", |httpd| {
        httpd.workers("draining").is_empty() && httpd.status().groups[0].pools[0].generation == 2
    });
    for connection in &mut connections {
        connection.request(&script, "/").unwrap();
        assert!(!pids.contains(&body(connection.answer())));
    }
}

#[test]
fn an_idle_group_goes_and_comes_back() {
    let mut httpd = Httpd::start();
    let script = httpd.script("app.py", &app("x"));
    let mut config = group("site", &script);
    config.set("processes", "2").unwrap();
    config.set("idle-stop", "1").unwrap();
    httpd.configure(vec![config]);
    let mut connection = httpd.connect("site", 3, &script, "/");
    let first = body(connection.answer());
    httpd.wait("no worker is left", |httpd| {
        httpd.status().groups[0].pools[0].workers.is_empty()
    });
    // The module's connection outlived its worker, and wakes the group up.
    connection.request(&script, "/").unwrap();
    assert_ne!(body(connection.answer()), first);
}
