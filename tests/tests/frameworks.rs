//! Five frameworks with what their users do most: uploads, streams, files,
//! cookies, redirects; each alone and under the referee of the standard library.
//! And libraries that put something else in the place of threads.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use wsgid_tests::cache::make_readable_directory;
use wsgid_tests::curl::Transport;
use wsgid_tests::wire::{Addresses, with_tls};
use wsgid_tests::{Checked, Httpd, Limit, Log, Mpm, Python, Site, case, note, peer, site};

const FRAMEWORKS: [&str; 5] = ["flask", "django", "pyramid", "falcon", "bottle"];

/// A virtual environment that has all of them.
fn venv() -> PathBuf {
    Python::any().venv(&[
        "flask",
        "django",
        "pyramid",
        "setuptools<81",
        "falcon",
        "bottle",
    ])
}

fn serve() -> (Site, Addresses, Checked) {
    let site = Site::new();
    let venv = venv();
    let (mut builder, tls_port) = with_tls(Httpd::builder(), Mpm::Event);
    for framework in FRAMEWORKS {
        let name = format!("{framework}_example.py");
        let text = fs::read_to_string(site::apps().join("frameworks").join(&name))
            .expect("the example is there");
        let script = site.write(&name, &text);
        let options = format!("processes=1 threads=4 python-home={}", venv.display());
        builder = builder
            .daemon(framework, &options)
            .mount(&format!("/{framework}"), &script, framework)
            .mount(&format!("/validated-{framework}"), &script, framework)
            .line(format!(
                "<Location /validated-{framework}>\n  WSGICallableObject validated\n</Location>"
            ));
    }
    let httpd = builder.start();
    let addresses = Addresses::of(&httpd, tls_port);
    for framework in FRAMEWORKS {
        let answer = addresses
            .curl(Transport::Http1, &format!("/{framework}/cookies"))
            .run();
        assert_eq!(answer.status(), 200, "{framework}: {answer:?}");
    }
    (site, addresses, Checked::new(httpd))
}

#[test]
fn what_users_of_frameworks_do_works() {
    case(Limit::seconds(240), || {
        let (_site, wire, mut checked) = serve();
        for framework in FRAMEWORKS {
            for mount in [framework.to_owned(), format!("validated-{framework}")] {
                for transport in [Transport::Http1, Transport::H2] {
                    let on = On {
                        wire: &wire,
                        transport,
                        mount: &mount,
                    };
                    on.uploads(&mut checked);
                    on.downloads(&mut checked);
                    on.cookies_and_redirects(&mut checked);
                }
            }
        }
        checked.finish();
    });
}

/// One framework by one transport.
struct On<'a> {
    wire: &'a Addresses,
    transport: Transport,
    mount: &'a str,
}

impl On<'_> {
    fn curl(&self, path: &str) -> wsgid_tests::Curl {
        self.wire
            .curl(self.transport, &format!("/{}/{path}", self.mount))
    }

    fn named(&self, what: &str) -> String {
        format!("{} by {:?}: {what}", self.mount, self.transport)
    }

    fn uploads(&self, checked: &mut Checked) {
        for size in [10, 3_000_000] {
            checked.case(
                &self.named(&format!("a file of {size} bytes from a form")),
                Log::Quiet,
                |_| {
                    let mut file =
                        tempfile::NamedTempFile::new().expect("a temporary file can be made");
                    file.write_all(&vec![b'u'; size])
                        .expect("it can be written");
                    let part = format!("file=@{};filename=up.bin", file.path().display());
                    let answer = self
                        .curl("upload")
                        .args(&["--form", "field=value", "--form", &part])
                        .run()
                        .json();
                    assert_eq!(
                        (&answer["length"], &answer["field"]),
                        (&size.into(), &"value".into()),
                        "{answer}"
                    );
                    assert_eq!(answer["name"], "up.bin");
                },
            );
            checked.case(
                &self.named(&format!("{size} bytes as they are")),
                Log::Quiet,
                |_| {
                    assert_eq!(
                        self.curl("raw").post(vec![b'r'; size]).run().json()["length"],
                        size
                    );
                },
            );
        }
    }

    fn downloads(&self, checked: &mut Checked) {
        checked.case(&self.named("a stream"), Log::Quiet, |_| {
            let answer = self.curl("stream?pieces=20").run();
            let expected: String = (0..20).map(|number| format!("piece {number}\n")).collect();
            assert!(answer.complete() && answer.text() == expected, "{answer:?}");
        });
        checked.case(&self.named("a file"), Log::Quiet, |_| {
            let answer = self.curl("file").run();
            let name = self.mount.trim_start_matches("validated-");
            let path = site::apps()
                .join("frameworks")
                .join(format!("{name}_example.py"));
            assert!(
                answer.complete() && answer.body == fs::read(path).expect("the example is there"),
                "{answer:?}"
            );
        });
    }

    fn cookies_and_redirects(&self, checked: &mut Checked) {
        checked.case(&self.named("cookies"), Log::Quiet, |_| {
            let answer = self
                .curl("cookies")
                .args(&["--cookie", "mine=1; other=2"])
                .run();
            assert_eq!(
                answer.json(),
                serde_json::json!({"mine": "1", "other": "2"})
            );
            let set = answer.head.all("Set-Cookie");
            assert!(
                set.len() == 2
                    && set[0].starts_with("first=one")
                    && set[1].starts_with("second=two"),
                "{set:?}"
            );
        });
        checked.case(&self.named("a redirect"), Log::Quiet, |_| {
            let answer = self.curl("redirect").args(&["--location"]).run().json();
            assert_eq!(
                answer,
                serde_json::json!({"by": "redirect", "root": format!("/{}", self.mount)})
            );
        });
        checked.case(&self.named("an exception"), Log::Any, |_| {
            let answer = self.curl("fail").run();
            assert!(answer.status() == 500 && answer.complete(), "{answer:?}");
            assert!(!answer.text().contains("raised on purpose"), "{answer:?}");
        });
    }
}

/// A project as Django itself begins one, at Debian's `LogLevel warn`, with workers that are
/// replaced all the time: nothing of that is for who reads the log.
#[test]
fn a_django_project_logs_no_more_than_under_mod_wsgi() {
    const REQUESTS: usize = 1000;
    let Some((home, module)) = peer::peer() else {
        return;
    };
    case(Limit::seconds(300), move || {
        let site = Site::new();
        let django = venv();
        let project = site.file("project");
        make_readable_directory(&project);
        let made = Command::new(django.join("bin/django-admin"))
            .args(["startproject", "shop"])
            .arg(&project)
            .status();
        assert!(made.is_ok_and(|status| status.success()), "no project");
        // Django is pure Python: both servers run it with the Python that mod_wsgi is built for.
        let (major, minor) = Python::any().version;
        let options = format!(
            "processes=2 threads=5 maximum-requests=20 python-home={} python-path={}:{}",
            home.display(),
            project.display(),
            django
                .join(format!("lib/python{major}.{minor}/site-packages"))
                .display()
        );
        let lines = [None, Some(module.clone())].map(|peer| {
            let mut builder = Httpd::builder();
            if let Some(module) = peer {
                builder = builder.peer(module);
            }
            let httpd = builder
                .line("LogLevel warn")
                .daemon("shop", &options)
                .mount_with(
                    "/",
                    &project.join("shop/wsgi.py"),
                    "process-group=shop application-group=%{GLOBAL}",
                )
                .start();
            let page = || {
                let answer = httpd.get("/admin/login/");
                assert_eq!(answer.status, 200);
                assert!(answer.text().contains("Django administration"));
            };
            page();
            let before = httpd.error_log().lines().count();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..REQUESTS / 4).for_each(|_| page()));
                }
            });
            let log = httpd.error_log();
            httpd.stop();
            (log.lines().count() - before, before)
        });
        let [(ours, start), (theirs, start_of_theirs)] = lines;
        let text = format!(
            "{REQUESTS} requests: {ours} lines after {start} of the start, mod_wsgi's {theirs} after {start_of_theirs}"
        );
        note(&text);
        assert!(ours <= theirs, "{text}");
    });
}

/// What gevent's `patch_all()` does to threads: they become something that only
/// runs while the main thread waits in its way.
const GREEN: &str = "
import _thread, threading, time
def green(*words, **more): pass
threading._start_new_thread = threading._start_joinable_thread = _thread.start_new_thread = green
def application(environ, start_response):
    time.sleep(0.3)
    start_response('200 OK', [])
    return [threading.current_thread().name.encode()]
";

#[test]
fn an_application_may_replace_threads_by_something_else() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("green.py", GREEN);
        let httpd = Httpd::builder()
            .daemon("plain", "threads=2")
            .daemon("preloaded", "threads=2 preload=On")
            .mount("/plain", &script, "plain")
            .mount("/preloaded", &script, "preloaded")
            .start();
        for group in ["/plain", "/preloaded"] {
            let names: BTreeSet<String> = thread::scope(|scope| {
                let both = [(); 2].map(|()| scope.spawn(|| httpd.get(group).text()));
                both.into_iter()
                    .map(|one| one.join().expect("an answer"))
                    .collect()
            });
            assert_eq!(names, ["wsgid-1", "wsgid-2"].map(str::to_owned).into());
        }
        httpd.stop();
    });
}
