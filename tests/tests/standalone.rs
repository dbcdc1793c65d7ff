//! A supervisor on its own behind httpd: planned ends and starts of it cost no
//! request that a worker had not begun.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wsgid_tests::{
    Client, Httpd, Limit, Pid, Python, Request, Site, artifacts, case, eventually, heavy_case,
    users,
};

/// Notes each request in a journal before it answers; takes as long as the query says.
const JOURNAL: &str = "\
import os, time
journal = os.open(os.path.join(os.path.dirname(__file__), 'journal'), os.O_WRONLY | os.O_APPEND)
def application(environ, start_response):
    os.write(journal, (environ['PATH_INFO'] + '\\n').encode())
    body = environ['wsgi.input'].read()
    time.sleep(float(environ['QUERY_STRING'] or 0))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'did ' + environ['PATH_INFO'].encode() + b' ' + str(len(body)).encode()]
";

/// The supervisor, its files, and the httpd in front of it.
struct Standalone {
    site: Site,
    directory: tempfile::TempDir,
    supervisor: Mutex<Child>,
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let child = self.supervisor.get_mut().expect("no thread has failed");
        let pid = i32::try_from(child.id()).ok().and_then(Pid::current);
        pid.iter().for_each(|pid| pid.signal(Signal::SIGTERM));
        let _ = child.wait();
        if thread::panicking() {
            wsgid_tests::case::note(
                &fs::read_to_string(self.directory.path().join("log")).unwrap_or_default(),
            );
        }
    }
}

impl Standalone {
    fn start(options: &str) -> Self {
        let site = Site::new();
        site.write("journal.wsgi", JOURNAL);
        let journal = site.write("journal", "");
        fs::set_permissions(journal, fs::Permissions::from_mode(0o666)).expect("it is ours");
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let root = directory.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::create_dir(root.join("sites")).expect("it is ours");
        let at = root.display();
        let user = users::of_httpd().name;
        let main = format!(
            "[supervisor]\nsocket = '{at}/httpd.sock'\nhttpd-user = '{user}'\nsites = '{at}/sites'\n"
        );
        fs::write(root.join("wsgid.toml"), main).expect("it is ours");
        let group = format!(
            "[group.site]\nuser = '{user}'\npython-home = '{}'\nscripts = ['{}']\n{options}",
            Python::any().home.display(),
            site.file("journal.wsgi").display()
        );
        fs::write(root.join("sites/site.toml"), group).expect("it is ours");
        let supervisor = Mutex::new(artifacts::supervise(root));
        Self {
            site,
            directory,
            supervisor,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("httpd.sock")
    }

    fn httpd(&self) -> Httpd {
        Httpd::builder()
            .line(format!(
                "WSGIDaemonSocket {}\nWSGIDaemonProcess site",
                self.socket().display()
            ))
            .mount("/", &self.site.file("journal.wsgi"), "site")
            .start()
    }

    /// Asks the supervisor to end, and starts another when it has.
    fn restart(&self) {
        self.end();
        let mut child = self.supervisor.lock().expect("no thread has failed");
        *child = artifacts::supervise(self.directory.path());
    }

    fn end(&self) {
        let mut child = self.supervisor.lock().expect("no thread has failed");
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::current)
            .expect("it runs");
        pid.signal(Signal::SIGTERM);
        let status = child.wait().expect("it is a child of this process");
        assert!(status.success(), "{status}");
    }

    /// Kills the supervisor, and starts another.
    fn kill(&self) {
        let mut child = self.supervisor.lock().expect("no thread has failed");
        child.kill().expect("it runs");
        child.wait().expect("it is a child of this process");
        *child = artifacts::supervise(self.directory.path());
    }

    /// Requests of the group that were answered with 200, as the supervisor says.
    fn counted(&self) -> Option<u64> {
        let out = Command::new(artifacts::wsgid())
            .args(["status", "--openmetrics", "--socket"])
            .arg(self.directory.path())
            .output()
            .expect("wsgid can be run");
        let text = String::from_utf8_lossy(&out.stdout);
        let line = "wsgid_requests_total{group=\"site\",status=\"2xx\"} ";
        let mut lines = text.lines();
        lines.find_map(|known| known.strip_prefix(line)?.parse().ok())
    }

    /// How often each request was begun.
    fn begun(&self) -> BTreeMap<String, usize> {
        let text = fs::read_to_string(self.site.file("journal")).expect("it is there");
        let mut begun = BTreeMap::new();
        text.lines()
            .for_each(|line| *begun.entry(line.to_owned()).or_default() += 1);
        begun
    }
}

#[test]
fn twenty_planned_restarts_under_load_lose_nothing() {
    heavy_case(Limit::seconds(240), || {
        let standalone =
            Standalone::start("processes = 2\nthreads = 3\nshutdown-timeout = '10s'\n");
        let httpd = standalone.httpd();
        eventually("the first answer", Duration::from_secs(20), || {
            (httpd.client().get("/first").ok()?.status == 200).then_some(())
        });
        let done = AtomicBool::new(false);
        let count = AtomicU32::new(0);
        let failures = Mutex::new(Vec::new());
        let asked = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for kind in 0..8_usize {
                let (done, count, failures, asked, httpd) =
                    (&done, &count, &failures, &asked, &httpd);
                scope.spawn(move || {
                    let mut client = Client::new(httpd.address()).timeout(Duration::from_secs(60));
                    while !done.load(Ordering::SeqCst) {
                        let path = format!("/{}", count.fetch_add(1, Ordering::SeqCst));
                        // Bodies that travel with the request, and such that are asked for.
                        let len = [0, 100, 300_000][kind % 3];
                        let query = if kind < 3 { "?0.3" } else { "" };
                        let answer =
                            client.send(&Request::post(&format!("{path}{query}"), vec![b'x'; len]));
                        let wanted = format!("did {path} {len}");
                        match answer {
                            Ok(answer) if answer.status == 200 && answer.text() == wanted => {}
                            Ok(answer) => failures
                                .lock()
                                .unwrap()
                                .push(format!("{path}: {}", answer.status)),
                            Err(error) => failures.lock().unwrap().push(format!("{path}: {error}")),
                        }
                        asked.lock().unwrap().push(path);
                        if kind > 5 {
                            client.disconnect();
                        }
                    }
                });
            }
            for _ in 0..20 {
                standalone.restart();
                let before = count.load(Ordering::SeqCst);
                eventually("answers", Duration::from_secs(20), || {
                    (count.load(Ordering::SeqCst) > before + 12).then_some(())
                });
            }
            done.store(true, Ordering::SeqCst);
        });
        let failures = failures.into_inner().unwrap();
        assert!(failures.is_empty(), "{failures:?}\n{}", httpd.error_log());
        let begun = standalone.begun();
        let others: Vec<_> = asked
            .into_inner()
            .unwrap()
            .into_iter()
            .filter(|path| begun.get(path) != Some(&1))
            .collect();
        assert!(others.is_empty(), "not begun exactly once: {others:?}");
        httpd.stop();
    });
}

#[test]
fn what_a_worker_has_begun_ends_before_the_supervisor_and_the_rest_waits_for_the_next() {
    heavy_case(Limit::seconds(120), || {
        let standalone =
            Standalone::start("processes = 1\nthreads = 1\nshutdown-timeout = '10s'\n");
        let httpd = standalone.httpd();
        eventually("the first answer", Duration::from_secs(20), || {
            (httpd.client().get("/first").ok()?.status == 200).then_some(())
        });
        thread::scope(|scope| {
            let ask = |path: &'static str| {
                let mut client = Client::new(httpd.address()).timeout(Duration::from_secs(60));
                scope.spawn(move || client.get(path).map(|answer| answer.status))
            };
            let slow = ask("/slow?3");
            eventually("the slow request", Duration::from_secs(20), || {
                standalone.begun().contains_key("/slow").then_some(())
            });
            // One that has no thread, and one that comes while the supervisor ends.
            let waiting = ask("/waiting");
            thread::sleep(Duration::from_millis(300));
            let late = scope.spawn(|| {
                thread::sleep(Duration::from_millis(500));
                httpd.client().get("/late").map(|answer| answer.status)
            });
            standalone.restart();
            for (name, asked) in [("slow", slow), ("waiting", waiting)] {
                assert_eq!(asked.join().expect("no panic").ok(), Some(200), "{name}");
            }
            assert_eq!(late.join().expect("no panic").ok(), Some(200));
        });
        let begun = standalone.begun();
        assert!(
            ["/slow", "/waiting", "/late"]
                .iter()
                .all(|path| begun.get(*path) == Some(&1)),
            "{begun:?}"
        );
        httpd.stop();
    });
}

#[test]
fn a_supervisor_that_is_stopped_for_good_is_said_after_connect_timeout() {
    heavy_case(Limit::seconds(60), || {
        let standalone = Standalone::start("");
        let httpd = Httpd::builder()
            .line(format!(
                "WSGIDaemonSocket {}",
                standalone.socket().display()
            ))
            .line("WSGIDaemonProcess site connect-timeout=2")
            .mount("/", &standalone.site.file("journal.wsgi"), "site")
            .start();
        eventually("the first answer", Duration::from_secs(20), || {
            (httpd.client().get("/first").ok()?.status == 200).then_some(())
        });
        {
            let mut child = standalone.supervisor.lock().expect("no thread has failed");
            let pid = i32::try_from(child.id())
                .ok()
                .and_then(Pid::current)
                .expect("it runs");
            pid.signal(Signal::SIGTERM);
            child.wait().expect("it is a child of this process");
        }
        let begun = Instant::now();
        assert_eq!(httpd.get("/second").status, 503);
        assert!(
            (Duration::from_secs(2)..Duration::from_secs(5)).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
        httpd.stop();
    });
}

/// httpd's children go on counting in the file that they have; the next supervisor, and the
/// next httpd, go on with it.
#[test]
fn totals_outlive_the_supervisor_and_httpd() {
    heavy_case(Limit::seconds(120), || {
        let standalone = Standalone::start("shutdown-timeout = '10s'\n");
        let mut sent = 0;
        let mut ask = |httpd: &Httpd| {
            for _ in 0..5 {
                eventually("an answer", Duration::from_secs(20), || {
                    (httpd.client().get("/x").ok()?.status == 200).then_some(())
                });
                sent += 1;
            }
            eventually("the count", Duration::from_secs(20), || {
                let counted = standalone.counted()?;
                assert!(counted <= sent, "{counted} of {sent}");
                (counted == sent).then_some(())
            });
        };
        let httpd = standalone.httpd();
        ask(&httpd);
        standalone.kill();
        ask(&httpd);
        standalone.restart();
        ask(&httpd);
        httpd.stop();
        let another = standalone.httpd();
        ask(&another);
        another.stop();
        if nix::unistd::geteuid().is_root() {
            let file = fs::metadata(standalone.directory.path().join("totals"));
            let mode = file.expect("it is beside the socket").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    });
}

/// Also a supervisor that httpd has not started says what is ready, to httpd's user.
#[test]
fn probes_of_httpd_know_what_is_ready() {
    case(Limit::default(), || {
        let standalone = Standalone::start("threads = 3\n");
        let health =
            "<Location /health>\nSetHandler wsgid-health\nRequire all granted\n</Location>";
        let socket = standalone.socket();
        let httpd = Httpd::builder()
            .line(format!(
                "WSGIDaemonSocket {}\nWSGIDaemonProcess site",
                socket.display()
            ))
            .line(health)
            .mount("/", &standalone.site.file("journal.wsgi"), "site")
            .start();
        let is = |status| {
            eventually("the probe", Duration::from_secs(30), || {
                let said = httpd.get("/health?group=site");
                (said.status == status).then(|| said.text())
            })
        };
        let said = is(200);
        assert!(said.contains("\"capacity\":3"), "{said}");
        standalone.restart();
        is(200);
        standalone.end();
        let said = is(503);
        assert!(said.contains("the supervisor has said nothing"), "{said}");
        httpd.stop();
    });
}
