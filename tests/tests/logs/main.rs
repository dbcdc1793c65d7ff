//! Where lines of workers and of the supervisor end up: rotation, virtual
//! hosts, and a quiet end.

mod bounds;
mod json;
mod levels;
mod owners;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use wsgid_tests::document::Who;
use wsgid_tests::machine::Machine;
use wsgid_tests::{Httpd, Json, Limit, Request, Site, case, eventually, heavy_case, note, users};

const SOON: Duration = Duration::from_secs(10);

fn serve() -> (Site, Httpd) {
    let site = Site::new();
    let httpd = Httpd::builder()
        .daemon(
            "site",
            &format!("processes=1 threads=2 {}", site.python_path()),
        )
        .mount("/", &site.file("probe.py"), "site")
        .start();
    assert_eq!(httpd.get("/hello").status, 200);
    (site, httpd)
}

/// Output of the process that belongs to no request.
const ASIDE: &str = "import os\n\
    def application(environ, start_response):\n    \
    os.write(2, b'aside ' + environ['QUERY_STRING'].encode() + b'\\n')\n    \
    start_response('200 OK', [])\n    return [b'%d' % os.getpid()]\n";

#[test]
fn a_rotated_log_is_followed_by_supervisor_and_workers() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("aside.py", ASIDE);
        let httpd = Httpd::builder()
            .daemon("site", "threads=2")
            .mount("/", &script, "site")
            .start();
        let worker = httpd.get("/?one").text();
        httpd.wait_for_log("aside one", SOON);
        let old = httpd.root().join("error.log.1");
        fs::rename(httpd.root().join("error.log"), &old).expect("the log can be moved");
        httpd.graceful();
        // The worker is the same one: nobody restarted it to change its log.
        assert_eq!(httpd.get("/?two").text(), worker);
        httpd.wait_for_log("aside two", SOON);
        httpd.workers()[0].kill();
        let line = httpd.wait_for_log("SIGKILL", SOON);
        assert!(line.contains("wsgid:error"), "{line}");
        let rotated = fs::read_to_string(&old).expect("the old log is there");
        assert!(
            !rotated.contains("aside two") && !rotated.contains("SIGKILL"),
            "{rotated}"
        );
        httpd.stop();
    });
}

#[test]
fn a_virtual_hosts_group_writes_to_its_log_also_after_rotation() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("aside.py", ASIDE);
        let builder = Httpd::builder();
        let own = builder.root().join("own.log");
        let host = format!(
            "<VirtualHost *>\nServerName own.test\nErrorLog {}\nWSGIDaemonProcess own threads=2\n\
             WSGIScriptAlias / {} process-group=own application-group=%{{GLOBAL}}\n\
             <Directory {}>\nRequire all granted\n</Directory>\n</VirtualHost>",
            own.display(),
            script.display(),
            site.path().display()
        );
        let httpd = builder.line(host).start();
        let wait = |text: &str| {
            eventually(text, SOON, || {
                fs::read_to_string(&own)
                    .unwrap_or_default()
                    .contains(text)
                    .then_some(())
            });
        };
        assert_eq!(httpd.get("/?one").status, 200);
        wait("aside one");
        assert!(!httpd.error_log().contains("aside one"));
        fs::rename(&own, own.with_extension("1")).expect("the log can be moved");
        httpd.graceful();
        assert_eq!(httpd.get("/?two").status, 200);
        wait("aside two");
        httpd.stop();
    });
}

/// What is found while the configuration is read, before there is a log.
#[test]
fn a_server_in_the_background_has_its_warnings_in_the_log() {
    case(Limit::default(), || {
        let builder = Httpd::builder().line("WSGIDaemonProcess nothing threads=0");
        let log = || fs::read_to_string(builder.root().join("error.log")).unwrap_or_default();
        let started = builder.ask("-kstart");
        let begun = std::time::Instant::now();
        while !log().contains("resuming normal operations") && begun.elapsed() < SOON {
            std::thread::sleep(Duration::from_millis(20));
        }
        let stopped = builder.ask("-kstop");
        eventually("its end", SOON, || {
            log().contains("wsgid has ended").then_some(())
        });
        assert!(started.ok && stopped.ok, "{started:?} {stopped:?}");
        let log = log();
        assert_eq!(log.matches("WSGID0017").count(), 1, "{log}");
        assert!(
            log.contains("process group `nothing` has threads=0 and no script"),
            "{log}"
        );
    });
}

#[test]
fn root_a_site_has_a_log_of_its_own_with_its_own_rights() {
    case(Limit::default(), || {
        let Some(users) = users::three() else {
            return note("left out: it needs root and three users");
        };
        let site = Site::of(&users[0]);
        let other = Site::of(&users[1]);
        let script = site.write("aside.py", ASIDE);
        let own = site.file("own.log");
        let foreign = other.file("foreign.log");
        let group = |name: &str, log: &std::path::Path| {
            let user = &users[0].name;
            let group = &users[0].group;
            (
                name.to_owned(),
                format!(
                    "threads=1 user={user} group={group} log-file={}",
                    log.display()
                ),
            )
        };
        let mut builder = Httpd::builder();
        for (name, options) in [group("own", &own), group("foreign", &foreign)] {
            builder = builder
                .daemon(&name, &options)
                .mount(&format!("/{name}"), &script, &name);
        }
        let httpd = builder.start();
        let wait = |text: &str| {
            eventually(text, SOON, || {
                fs::read_to_string(&own)
                    .is_ok_and(|log| log.contains(text))
                    .then_some(())
            });
        };
        let worker = httpd.get("/own?one").text();
        wait("aside one");
        assert_eq!(fs::metadata(&own).expect("it is there").uid(), users[0].uid);
        assert!(!httpd.error_log().contains("aside one"));
        fs::rename(&own, own.with_extension("1")).expect("the log can be moved");
        httpd.graceful();
        assert_eq!(httpd.get("/own?two").text(), worker);
        wait("aside two");
        // In the directory of another user it may not write: said, and not lost.
        assert_eq!(httpd.get("/foreign?three").status, 200);
        httpd.wait_for_log("failed to open the log", SOON);
        httpd.wait_for_log("aside three", SOON);
        assert!(!foreign.exists());
        httpd.stop();
    });
}

/// httpd's records have an end; what is longer goes on in the next.
#[test]
fn nothing_of_a_long_line_is_lost() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "long.py",
            "def application(environ, start_response):\n    environ['wsgi.errors'].write('L' * 100000 + '\\n')\n    \
             start_response('200 OK', [])\n    return []\n",
        );
        let httpd = Httpd::builder()
            .daemon("site", "threads=1")
            .mount("/", &script, "site")
            .start();
        assert_eq!(httpd.get("/").status, 200);
        eventually("every letter", SOON, || {
            let log = httpd.error_log();
            let longest = log.lines().map(str::len).max().unwrap_or_default();
            (longest <= 8192
                && log
                    .lines()
                    .filter_map(|line| line.rsplit(' ').next())
                    .map(|text| text.matches('L').count())
                    .sum::<usize>()
                    >= 100_000)
                .then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn each_of_many_virtual_hosts_has_its_own_log() {
    case(Limit::default(), || {
        const HOSTS: usize = 300;
        let site = Site::new();
        let script = site.write("aside.py", ASIDE);
        let mut builder = Httpd::builder();
        let root = builder.root().to_owned();
        for number in 0..HOSTS {
            // Not preloaded: the application group is not fixed.
            builder = builder.line(format!(
                "<VirtualHost *>\nServerName h{number}.test\nErrorLog {0}/own-{number}.log\n\
                 WSGIDaemonProcess g{number} threads=1\nWSGIProcessGroup g{number}\nWSGIScriptAlias / {1}\n\
                 <Directory {2}>\nRequire all granted\n</Directory>\n</VirtualHost>",
                root.display(),
                script.display(),
                site.path().display()
            ));
        }
        let httpd = builder.start();
        for turn in ["first", "again"] {
            for number in [0, 249, 250, HOSTS - 1] {
                let request = Request::new("GET", &format!("/?{turn}{number}"))
                    .header("Host", &format!("h{number}.test"));
                assert_eq!(
                    httpd.client().send(&request).expect("an answer").status,
                    200
                );
                let log = root.join(format!("own-{number}.log"));
                eventually("the line", SOON, || {
                    fs::read_to_string(&log)
                        .is_ok_and(|text| text.contains(&format!("aside {turn}{number}")))
                        .then_some(())
                });
            }
            httpd.graceful();
        }
        httpd.stop();
    });
}

#[test]
fn a_piped_log_gets_the_lines_of_workers() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("aside.py", ASIDE);
        let own = format!(
            "<VirtualHost *>\nServerName own.test\nErrorLog \"|$/bin/cat >> {0}\"\nWSGIDaemonProcess own threads=2\n\
             WSGIScriptAlias / {1} process-group=own application-group=%{{GLOBAL}}\n\
             <Directory {2}>\nRequire all granted\n</Directory>\n</VirtualHost>",
            site.path().join("piped.log").display(),
            script.display(),
            site.path().display()
        );
        let httpd = Httpd::builder().line(own).start();
        let wait = |text: &str| {
            let log = site.path().join("piped.log");
            eventually(text, SOON, || {
                fs::read_to_string(&log)
                    .unwrap_or_default()
                    .contains(text)
                    .then_some(())
            });
        };
        let worker = httpd.get("/?one").text();
        wait("aside one");
        let loggers = |httpd: &Httpd| {
            let all = httpd.pid().descendants();
            all.into_iter()
                .filter(|pid| pid.command_line().ends_with("/bin/cat"))
                .count()
        };
        // httpd ends the logger and starts another; the worker stays.
        (0..5).for_each(|_| httpd.graceful());
        eventually("one logger is left", SOON, || {
            (loggers(&httpd) <= 1).then_some(())
        });
        assert_eq!(httpd.get("/?two").text(), worker);
        wait("aside two");
        httpd.stop();
    });
}

#[test]
fn an_ordinary_stop_says_nothing_of_errors() {
    case(Limit::default(), || {
        let (_site, httpd) = serve();
        let root = httpd.root().to_owned();
        let kept = root.with_extension("kept");
        fs::hard_link(root.join("error.log"), &kept).expect("the log can be linked");
        httpd.stop();
        let log = fs::read_to_string(&kept).expect("the log is there");
        let _ = fs::remove_file(&kept);
        let errors: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("wsgid:error"))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}");
    });
}

#[test]
fn slow_requests_are_named() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "naps.py",
            "import time\ndef application(environ, start_response):\n    \
             time.sleep(float(environ['QUERY_STRING']))\n    start_response('200 OK', [])\n    return [b'x']\n",
        );
        let httpd = Httpd::builder()
            .daemon("site", "threads=2")
            .mount("/naps", &script, "site")
            .line("WSGISlowRequests 1.5")
            .start();
        for nap in ["0", "1.6", "0.01"] {
            assert_eq!(httpd.get(&format!("/naps?{nap}")).status, 200);
        }
        let line = httpd.wait_for_log(
            "GET /naps?1.6 (process group `site`, application group ``)",
            SOON,
        );
        assert!(
            line.contains("WSGID0090") && line.contains("wsgi:warn"),
            "{line}"
        );
        // The first request waits for its worker, which may take long, too.
        let slow = httpd
            .error_log()
            .lines()
            .filter(|line| line.contains("WSGID0090") && line.contains("?0.01"))
            .count();
        assert_eq!(slow, 0);
        httpd.stop();
    });
}

/// Stands for the system's log: writes down what it hears.
const LISTENER: &str = "
import os, socket, sys
if os.path.exists('/dev/log'): os.unlink('/dev/log')
heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
heard.bind('/dev/log')
while True:
    with open('/srv/heard', 'ab') as out:
        out.write(heard.recv(65536).rstrip(b'\\n\\0') + b'\\n')
";

/// A `/dev/log` of its own is laid over the machine's.
const LAYER: &str = "mkdir -p /run/dev/upper /run/dev/work && \
    mount -t overlay overlay -o lowerdir=/dev,upperdir=/run/dev/upper,workdir=/run/dev/work /dev";

const SITE: &str = "ErrorLog syslog:local5:front\n\
    WSGIDaemonProcess site threads=2 user=shop\nWSGIScriptAlias / /srv/shop/aside.py process-group=site\n\
    <Directory /srv/shop>\nRequire all granted\n</Directory>\n";

#[test]
fn root_syslog_gets_what_supervisor_and_workers_say() {
    heavy_case(Limit::seconds(120), || {
        if !users::is_root() || !Machine::is_possible() {
            return note("left out: it needs root, and namespaces, for a /dev/log of its own");
        }
        let mut machine = Machine::new();
        machine.write("/srv/listener.py", LISTENER);
        machine.write("/srv/shop/aside.py", ASIDE);
        machine.write("/etc/apache2/sites-enabled/site.conf", SITE);
        let start = "python3 /srv/listener.py & echo $! > /srv/listener.pid; \
                     for i in $(seq 100); do test -S /dev/log && break; sleep 0.1; done; test -S /dev/log";
        for command in [LAYER, start, "apachectl start"] {
            let (code, output) = machine.run(Who::Root, command);
            assert_eq!(code, 0, "{command}: {output}");
        }
        let say = |what: &str, machine: &mut Machine| {
            let line = eventually(what, SOON, || {
                machine.run(
                    Who::Root,
                    &format!("curl --silent 'http://localhost/?{what}'"),
                );
                let (_, heard) = machine.run(Who::Root, "cat /srv/heard");
                heard
                    .lines()
                    .find(|line| line.contains(&format!("aside {what}")))
                    .map(str::to_owned)
            });
            // local5 is 21; what a process prints to standard error is an error, 3.
            assert!(
                line.starts_with("<171>")
                    && line.contains(" front[")
                    && line.contains("]: [group site]"),
                "{line}"
            );
        };
        say("one", &mut machine);
        let (_, heard) = machine.run(Who::Root, "cat /srv/heard");
        assert!(
            heard
                .lines()
                .any(|line| line.starts_with("<173>") && line.contains("is ready after")),
            "{heard}"
        );
        // The daemon is restarted, and heard again; and so is the next program.
        let again = format!("kill $(cat /srv/listener.pid); rm /dev/log; {start}");
        assert_eq!(machine.run(Who::Root, &again).0, 0);
        say("two", &mut machine);
        assert_eq!(machine.run(Who::Root, "wsgid reexec").0, 0);
        say("three", &mut machine);
        machine.run(Who::Root, "apachectl stop; kill $(cat /srv/listener.pid)");
    });
}

/// Text that turns around or hides what stands beside it is written out; ordinary
/// text is not.
#[test]
fn text_that_deceives_its_reader_is_written_out() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "to\u{202e}yp.py",
            "print('user \\u202etoor\\u2066 \\u2028 gr\\u00fc\\u00dfe \\u65e5\\u672c', flush=True)\n\
             raise RuntimeError('\\u202etoor')\n",
        );
        let httpd = Httpd::builder()
            .daemon("site", &format!("threads=1 {}", site.python_path()))
            .mount_with(
                "/",
                &script,
                "process-group=site application-group=%{GLOBAL}",
            )
            .start();
        assert_eq!(httpd.get("/").status, 500);
        let log = httpd.wait_for_log("user \\u{202e}toor\\u{2066} \\u{2028} grüße 日本", SOON);
        assert!(!log.contains(['\u{202e}', '\u{2066}', '\u{2028}']), "{log}");
        let status = eventually("the failure in the status", SOON, || {
            let said = wsgid_tests::control::command(&httpd, &["status"])?;
            said.text
                .contains("to\\u{202e}yp.py` failed to load")
                .then_some(said.text)
        });
        assert!(!status.contains('\u{202e}'), "{status}");
        let json = wsgid_tests::control::command(&httpd, &["status", "--json"])
            .expect("a supervisor")
            .text;
        assert!(
            !json.contains('\u{202e}') && json.contains("\\u202e"),
            "{json}"
        );
        let read: Json = serde_json::from_str(&json).expect("JSON");
        assert!(read.to_string().contains('\u{202e}'), "it means the same");
        httpd.stop();
    });
}
