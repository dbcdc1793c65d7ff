//! `wsgid reexec`: another program goes on, and nobody notices.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stand_in::{Answer, Httpd, group};

const APP: &str = "
import os, sys, time
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/slow': time.sleep(2)
    if path == '/say':
        os.write(2, b'first half,')
        time.sleep(1.5)
        os.write(2, b' second half\\n')
    start_response('200 OK', [])
    return [b'%d' % os.getpid()]
";

pub(crate) fn body(answer: Answer) -> String {
    match answer {
        Answer::Body(200, text) => text,
        other => panic!("{other:?}"),
    }
}

/// A copy of the program in a directory of its own, as a package upgrade would
/// replace it.
pub(crate) fn copy(dir: &Path) -> PathBuf {
    for name in ["wsgid", "libwsgid_worker.so"] {
        // Never into the file that is mapped by a running process.
        let staged = dir.join("staged");
        std::fs::copy(crate::program().with_file_name(name), &staged).unwrap();
        std::fs::rename(staged, dir.join(name)).unwrap();
    }
    dir.join("wsgid")
}

pub(crate) fn reexec(httpd: &Httpd) -> (i32, String) {
    let mut command = Command::new(crate::program());
    let out = command
        .args(["reexec", "--socket"])
        .arg(httpd.dir.path())
        .output()
        .unwrap();
    (
        out.status.code().unwrap(),
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
    )
}

/// The program that runs, as the kernel knows it.
fn running(httpd: &Httpd) -> String {
    std::fs::read_link(format!("/proc/{}/exe", httpd.child.id()))
        .unwrap()
        .display()
        .to_string()
}

/// Stops the load.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn another_program_goes_on_under_load() {
    let place = tempfile::tempdir().unwrap();
    let program = copy(place.path());
    let mut httpd = Httpd::start_program(&program);
    let script = httpd.script("app.py", APP);
    let mut config = group("site", &script);
    config.set("processes", "2").unwrap();
    httpd.configure(vec![config.clone()]);
    httpd.wait("two ready workers", |httpd| {
        httpd.workers("ready").len() == 2
    });
    let mut before = httpd.workers("ready");
    before.sort_unstable();
    let (stop, shared) = (AtomicBool::new(false), &httpd);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|nonce| {
                let (stop, script) = (&stop, &script);
                scope.spawn(move || {
                    let mut connection = shared.connect("site", nonce, script, "/");
                    let mut count = 0;
                    while !stop.load(Ordering::Relaxed) {
                        body(connection.answer());
                        count += 1;
                        connection.request(script, "/").unwrap();
                        if count % 10 == 0 {
                            // A new connection now and then.
                            body(shared.get("site", script, "/"));
                        }
                    }
                    body(connection.answer());
                    count
                })
            })
            .collect();
        // Also when an assertion fails: the scope waits for the clients.
        let _ends = Ends(&stop);
        let mut slow = shared.connect("site", 99, &script, "/slow");
        for turn in 0..5 {
            copy(place.path());
            let (code, text) = reexec(shared);
            assert_eq!(code, 0, "{turn}: {text}\n{}", shared.log());
            assert_eq!(
                running(shared),
                program.display().to_string(),
                "the new file runs"
            );
        }
        body(slow.answer());
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().unwrap() > 10);
        }
    });
    let mut after = httpd.workers("ready");
    after.sort_unstable();
    assert_eq!(after, before, "the workers are the same processes");
    // The workers are its children still: an end is named, and made good.
    kill(Pid::from_raw(before[0]), Signal::SIGSEGV).unwrap();
    httpd.wait("another worker", |httpd| {
        let ready = httpd.workers("ready");
        ready.len() == 2 && !ready.contains(&before[0])
    });
    assert!(
        httpd.log().contains("was ended by SIGSEGV"),
        "{}",
        httpd.log()
    );
    // And the parent is heard.
    config.set("threads", "3").unwrap();
    httpd.configure(vec![config]);
    httpd.wait("the new definition", |httpd| {
        !httpd.workers("ready").contains(&before[1])
    });
    assert_eq!(httpd.status().supervisor.unwrap().reexecs, 5);
    body(httpd.get("site", &script, "/"));
}

/// Reaped, and its last words are still being read: the next program must not
/// look for a process that is no more.
#[test]
fn a_worker_that_has_just_died_is_buried_by_the_next_program() {
    let mut httpd = Httpd::start();
    // A child that keeps the worker's standard error open makes that take long.
    let app = APP.replace(
        "def application",
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(3)\n    os._exit(0)\ndef application",
    );
    let script = httpd.script("app.py", &app);
    let mut config = group("site", &script);
    config.set("processes", "2").unwrap();
    httpd.configure(vec![config]);
    for turn in 0..6 {
        httpd.wait("two ready workers", |httpd| {
            httpd.workers("ready").len() == 2
        });
        let victim = httpd.workers("ready")[0];
        kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
        let (code, text) = reexec(&httpd);
        assert_eq!(code, 0, "{turn}: {text}\n{}", httpd.log());
        assert_eq!(
            httpd.status().supervisor.unwrap().reexecs,
            turn + 1,
            "{}",
            httpd.log()
        );
        httpd.wait("its end is known", |httpd| {
            !httpd.workers("ready").contains(&victim)
        });
    }
    assert!(
        httpd.log().contains("was ended by SIGKILL"),
        "{}",
        httpd.log()
    );
    body(httpd.get("site", &script, "/"));
}

#[test]
fn what_waits_is_served_by_the_next_program() {
    let mut httpd = Httpd::start();
    let script = httpd.script(
        "app.py",
        &APP.replace("import os", "import time; time.sleep(1.5)\nimport os"),
    );
    httpd.configure(vec![group("site", &script)]);
    // Nobody is ready: it is held, and its worker is being started.
    let mut held = httpd.connect("site", 1, &script, "/");
    assert_eq!(reexec(&httpd).0, 0, "{}", httpd.log());
    assert!(body(held.answer()).parse::<i32>().is_ok());
    let mut saying = httpd.connect("site", 2, &script, "/say");
    httpd.wait("the request runs", |httpd| httpd.in_flight() == 1);
    assert_eq!(reexec(&httpd).0, 0);
    body(saying.answer());
    httpd.wait("output after it", |httpd| {
        httpd.log().contains("second half")
    });
}

#[test]
fn a_program_that_does_not_run_changes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let program = copy(place.path());
    let mut httpd = Httpd::start_program(&program);
    let script = httpd.script("app.py", APP);
    httpd.configure(vec![group("site", &script)]);
    let mut connection = httpd.connect("site", 1, &script, "/");
    let pid = body(connection.answer());
    for text in ["#!/bin/sh\nexit 1\n", "no program at all"] {
        std::fs::remove_file(&program).unwrap();
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (code, said) = reexec(&httpd);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("cannot take over"), "{said}");
        connection.request(&script, "/").unwrap();
        assert_eq!(body(connection.answer()), pid);
        assert_eq!(body(httpd.get("site", &script, "/")), pid);
    }
    httpd.configure(vec![group("site", &script)]);
    assert_eq!(httpd.command("restart", "site"), 0);
    httpd.wait("another worker", |httpd| {
        body(httpd.get("site", &script, "/")) != pid
    });
}
