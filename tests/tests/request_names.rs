//! Application groups whose names requests make: however many names clients
//! send, they make a bounded number of processes, which go away again, and what
//! the configuration names answers at all times.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::{Builder, Client, Httpd, Limit, Python, Request, Site, case, eventually};

/// Says in which application group it runs; `?SECONDS` makes it slow.
const WHERE: &str = "\
import os, time
def application(environ, start_response):
    time.sleep(float(environ['QUERY_STRING'] or 0))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [(environ['mod_wsgi.application_group'] + ' ' + str(os.getpid())).encode()]
";

/// Processes of application groups that requests name, for one process group.
const BOUND: usize = 32;

fn builder(options: &str) -> (Site, Builder) {
    let site = Site::new();
    let app = site.write("where.wsgi", WHERE);
    let builder = Httpd::builder()
        .daemon(
            "site",
            &format!(
                "threads=3 python-home={} {options}",
                Python::any().home.display()
            ),
        )
        .line("WSGIProcessGroup site")
        .line(format!(
            "<Directory {}>\nRequire all granted\n</Directory>",
            site.path().display()
        ))
        .line("MaxRequestWorkers 400\nThreadsPerChild 100\nThreadLimit 100\nServerLimit 4");
    let host = format!(
        "<VirtualHost *>\nServerName own.example\nServerAlias Second.example *\nWSGIApplicationGroup %{{HOST}}\n\
         WSGIScriptAlias / {}\n</VirtualHost>",
        app.display()
    );
    (site, builder.line(host))
}

/// Says another port than the listener's if `host` has none: of a Host without a port
/// the application would see what mod_wsgi makes of it.
fn ask(client: &mut Client, path: &str, host: &str) -> (u16, String) {
    let host = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:1")
    };
    let answer = client
        .send(&Request::new("GET", path).header("Host", &host))
        .expect("an answer");
    (answer.status, answer.text())
}

/// The worker processes, launchers not counted.
fn count(httpd: &Httpd) -> usize {
    httpd.workers().len()
}

/// Asks for so many names one after the other, and for the configured one in
/// between. Returns the most processes that were there.
fn ask_for_names(httpd: &Httpd, names: std::ops::Range<usize>) -> usize {
    let mut most = 0;
    for number in names {
        let (status, text) = ask(&mut httpd.client(), "/", &format!("x{number}.example"));
        assert_eq!(status, 200, "x{number}: {text}");
        assert!(text.starts_with(&format!("x{number}.example:")), "{text}");
        if number % 4 == 0 {
            let begun = Instant::now();
            assert_eq!(ask(&mut httpd.client(), "/", "own.example").0, 200);
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "it took {:?}",
                begun.elapsed()
            );
            most = most.max(count(httpd));
        }
    }
    most
}

#[test]
fn ninety_ports_in_host_headers_are_one_application_group() {
    case(Limit::default(), || {
        let site = Site::new();
        let app = site.write("where.wsgi", WHERE);
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!(
                    "processes=2 threads=3 python-home={}",
                    Python::any().home.display()
                ),
            )
            .mount_with("/", &app, "process-group=site")
            .start();
        let port = httpd.address().port();
        let mut client = httpd.client();
        for number in 0..90 {
            let (status, text) = ask(&mut client, "/", &format!("localhost:{}", 5000 + number));
            assert_eq!(status, 200, "{text}");
            assert!(text.starts_with(&format!("localhost:{port}| ")), "{text}");
        }
        assert_eq!(count(&httpd), 2);
        httpd.stop();
    });
}

#[test]
fn spellings_of_a_configured_host_are_one_application_group() {
    case(Limit::default(), || {
        let (_site, builder) = builder("processes=1");
        let httpd = builder.start();
        let port = httpd.address().port();
        let mut client = httpd.client();
        for (host, name) in [
            ("own.example", "own.example"),
            ("OWN.example", "own.example"),
            ("own.example.", "own.example"),
            ("own.example:99", "own.example"),
            ("second.EXAMPLE", "second.example"),
        ] {
            let (status, text) = ask(&mut client, "/", host);
            assert_eq!(
                (status, text.split(' ').next()),
                (200, Some(format!("{name}:{port}").as_str())),
                "{host}"
            );
        }
        // Without a port it is called as mod_wsgi does, and is the same processes.
        let answer = client
            .send(&Request::new("GET", "/").header("Host", "own.example"))
            .expect("an answer");
        assert!(
            answer.text().starts_with("own.example "),
            "{}",
            answer.text()
        );
        let pools = httpd.pools();
        assert_eq!(pools.len(), 2, "{pools:?}");
        assert!(pools.iter().all(|pool| !pool.from_request), "{pools:?}");
        assert_eq!(ask(&mut client, "/", "third.example").0, 200);
        let by_request: Vec<_> = httpd
            .pools()
            .into_iter()
            .filter(|pool| pool.from_request)
            .collect();
        assert_eq!(by_request.len(), 1);
        assert_eq!(
            by_request[0].application_group,
            format!("third.example:{port}")
        );
        let status = httpd.wsgid(&["status"]);
        assert!(
            status.contains(&format!(
                "third.example:{port} (named by a request): running"
            )),
            "{status}"
        );
        httpd.stop();
    });
}

#[test]
fn eighty_names_of_a_wildcard_make_a_bounded_number_of_processes() {
    case(Limit::seconds(420), || {
        let (_site, builder) = builder("processes=1");
        let httpd = builder.start();
        let most = ask_for_names(&httpd, 0..80);
        assert!((BOUND / 2..=BOUND + 1).contains(&most), "{most} processes");
        httpd.graceful();
        let most = ask_for_names(&httpd, 80..90);
        assert!(
            most <= BOUND + 1,
            "{most} processes after a graceful restart"
        );
        // Whoever is asked for again is there again.
        assert_eq!(ask(&mut httpd.client(), "/", "x0.example").0, 200);
        let rest = Duration::from_secs(100);
        eventually("the end of what nobody asks for", rest, || {
            (count(&httpd) == 1).then_some(())
        });
        let names: Vec<_> = httpd
            .pools()
            .into_iter()
            .map(|pool| pool.application_group)
            .collect();
        assert_eq!(names, [format!("own.example:{}", httpd.address().port())]);
        httpd.stop();
    });
}

#[test]
fn names_of_a_pattern_make_a_bounded_number_of_processes() {
    case(Limit::seconds(420), || {
        let site = Site::new();
        let app = site.write("where.wsgi", WHERE);
        let app = app.display();
        let httpd = Httpd::builder()
            .daemon("site", &format!("processes=2 threads=3 python-home={}", Python::any().home.display()))
            .line(format!("<Directory {}>\nRequire all granted\n</Directory>", site.path().display()))
            .line(format!("WSGIProcessGroup site\nWSGIScriptAlias /own {app}\nWSGIScriptAliasMatch ^/fixed$ {app}"))
            .line(format!("WSGIScriptAliasMatch ^/([^/]+) {app}"))
            .start();
        let port = httpd.address().port();
        let mut client = httpd.client();
        assert_eq!(ask(&mut client, "/fixed", "localhost").0, 200);
        let mut most = 0;
        for number in 0..70 {
            let (status, text) = ask(&mut client, &format!("/x{number}/y"), "localhost");
            assert_eq!(status, 200, "{text}");
            assert!(
                text.starts_with(&format!("localhost:{port}|/x{number} ")),
                "{text}"
            );
            if number % 4 == 0 {
                assert_eq!(ask(&mut client, "/own/y", "localhost").0, 200);
                most = most.max(count(&httpd));
            }
        }
        assert!((BOUND / 2..=BOUND + 4).contains(&most), "{most} processes");
        let configured = httpd.pools().into_iter().filter(|pool| !pool.from_request);
        let configured: BTreeSet<_> = configured.map(|pool| pool.application_group).collect();
        let wanted = ["/fixed", "/own"].map(|path| format!("localhost:{port}|{path}"));
        assert_eq!(configured, wanted.into());
        httpd.stop();
    });
}

#[test]
fn names_of_groups_that_preload_or_stop_when_idle_are_bounded() {
    for options in ["processes=1 preload=On", "processes=2 idle-stop=120"] {
        case(Limit::seconds(420), move || {
            let (_site, builder) = builder(options);
            let httpd = builder.start();
            let most = ask_for_names(&httpd, 0..40);
            // Two processes each, of the configured name too.
            assert!(most <= BOUND + 2, "{options}: {most} processes");
            httpd.stop();
        });
    }
}

#[test]
fn ninety_names_at_work_at_once_do_not_stop_the_configured_one() {
    case(Limit::seconds(420), || {
        let (_site, builder) = builder("processes=1");
        let httpd = builder.start();
        assert_eq!(ask(&mut httpd.client(), "/", "own.example").0, 200);
        let served = AtomicUsize::new(0);
        let refused = AtomicUsize::new(0);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let busy: Vec<_> = (0..90)
                .map(|number| {
                    let httpd = &httpd;
                    let served = &served;
                    let refused = &refused;
                    scope.spawn(move || {
                        match ask(&mut httpd.client(), "/?8", &format!("b{number}.example")).0 {
                            200 => served.fetch_add(1, Ordering::SeqCst),
                            503 => refused.fetch_add(1, Ordering::SeqCst),
                            other => panic!("b{number}: {other}"),
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                busy.into_iter().for_each(|one| drop(one.join()));
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                let begun = Instant::now();
                assert_eq!(ask(&mut httpd.client(), "/", "own.example").0, 200);
                assert!(
                    begun.elapsed() < Duration::from_secs(10),
                    "it took {:?}",
                    begun.elapsed()
                );
                assert!(count(&httpd) <= BOUND + 1, "{} processes", count(&httpd));
                thread::sleep(Duration::from_millis(50));
            }
        });
        assert_eq!(
            (served.into_inner(), refused.into_inner()),
            (BOUND, 90 - BOUND)
        );
        let line = httpd.wait_for_log("queue-full", Duration::from_secs(5));
        assert!(
            line.contains("set WSGIApplicationGroup %{GLOBAL}"),
            "{line}"
        );
        httpd.stop();
    });
}

/// What does not show, but changes how the rest of a page, log or terminal does.
fn hidden(text: &str) -> Vec<char> {
    let turns = |c: &char| {
        "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}"
            .contains(*c)
    };
    text.chars()
        .filter(|c| (c.is_control() && !['\n', '\t'].contains(c)) || turns(c))
        .collect()
}

/// The name of the application group holds the decoded path.
#[test]
fn a_path_with_line_ends_and_controls_is_one_harmless_line_everywhere() {
    case(Limit::default(), || {
        let site = Site::new();
        // One that works, and one whose failure is told in many places.
        let app = site.write("where.wsgi", WHERE);
        let broken = site.write("broken.wsgi", "import os\nos._exit(9)\n");
        let app = app.display();
        let broken = broken.display();
        let python = Python::any().home.display().to_string();
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!("processes=1 threads=2 python-home={python}"),
            )
            .line(format!(
                "<Directory {}>\nRequire all granted\n</Directory>",
                site.path().display()
            ))
            .line(format!(
                "WSGIProcessGroup site\nWSGIScriptAliasMatch ^/b([^/]+) {broken}"
            ))
            .line(format!(
                "WSGIScriptAliasMatch ^/([^/]+) {app}\nLogLevel debug"
            ))
            .line("<Location /status>\nSetHandler wsgid-status\n</Location>")
            .start();
        let evil = "ma%0a[Sun%20Nov%2022%2013:00:00.123456%202026]%20[core:crit]%20FAKE%1b[2J%e2%80%ae%c2%9b%85%ff%7f";
        for path in [format!("/{evil}/x"), format!("/b{evil}/x")] {
            let mut raw = wsgid_tests::Raw::connect(httpd.address());
            raw.send(format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            ));
            assert!(raw.wait_for_close(Duration::from_secs(20)));
            assert!(!raw.received.is_empty());
        }
        let status = httpd.wsgid(&["status"]);
        assert!(
            status.contains("|/ma\\x0a[Sun") && status.contains("FAKE\\x1b[2J"),
            "{status}"
        );
        let json = httpd.wsgid(&["status", "--json"]);
        let pages =
            ["", "?json", "?openmetrics"].map(|form| httpd.get(&format!("/status{form}")).text());
        assert!(pages.iter().all(|page| page.contains("FAKE")), "{pages:?}");
        let log = httpd.error_log();
        assert!(log.contains("|/ma\\x0a[Sun"), "{log}");
        for text in [&status, &json, &log].into_iter().chain(&pages) {
            assert_eq!(hidden(text), [], "{text}");
            let fake = text
                .lines()
                .find(|line| line.starts_with("[Sun Nov 22") || line.starts_with("FAKE"));
            assert_eq!(fake, None, "{text}");
        }
        httpd.stop();
    });
}

#[test]
fn scripts_that_the_configuration_maps_are_not_named_by_requests() {
    case(Limit::default(), || {
        let site = Site::new();
        let app = site.write("apps/where.wsgi", WHERE);
        let directory = app
            .parent()
            .expect("it is below the site")
            .display()
            .to_string();
        let builder = Httpd::builder();
        let root = builder.root().join("htdocs").display().to_string();
        std::fs::copy(&app, format!("{root}/rooted.wsgi")).expect("a script can be copied");
        let allowed = "Require all granted\nOptions +ExecCGI\nAddHandler wsgi-script .wsgi";
        let httpd = builder
            .daemon("site", &format!("processes=1 threads=3 python-home={}", Python::any().home.display()))
            .line(format!("<Directory {directory}>\n{allowed}\n</Directory>"))
            .line(format!("<Directory {root}>\n{allowed}\n</Directory>"))
            .line(format!("WSGIProcessGroup site\nAlias /al {directory}\nAliasMatch ^/am/[^/]+ {directory}/where.wsgi"))
            .line(format!("WSGIScriptAlias /dir/ {directory}/\nWSGIScriptAlias /app {directory}/where.wsgi"))
            .start();
        let port = httpd.address().port();
        for (path, script_name, from_request) in [
            ("/app/x", "/app", false),
            ("/app//x", "/app", false),
            ("/dir/where.wsgi/x", "/dir/where.wsgi", false),
            ("/rooted.wsgi/x/y", "/rooted.wsgi", false),
            ("/al/where.wsgi", "/al/where.wsgi", false),
            ("/am/any", "/am/any", true),
        ] {
            let (status, text) = ask(&mut httpd.client(), path, "localhost");
            let name = format!("localhost:{port}|{script_name}");
            assert_eq!(
                (status, text.split(' ').next()),
                (200, Some(name.as_str())),
                "{path}"
            );
            let pools = httpd.pools();
            let pool = pools
                .iter()
                .find(|pool| pool.application_group == name)
                .expect("it was just used");
            assert_eq!(pool.from_request, from_request, "{path}");
        }
        httpd.stop();
    });
}
