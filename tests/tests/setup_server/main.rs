//! `wsgid setup-server`: the server root it writes passes httpd's own check for
//! many combinations of options, and its apachectl starts, restarts and stops.

mod defines;
mod owners;
mod server;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wsgid_tests::httpd::free_port;
use wsgid_tests::{Client, Limit, Site, case, eventually};

use crate::server::{outcome, set_up};

fn control(root: &Path, words: &str) -> Result<(), String> {
    outcome(
        Command::new(root.join("apachectl"))
            .args(words.split(' '))
            .stdin(Stdio::null()),
    )
}

/// A server that runs in the background; it is stopped with the test, and its
/// log is shown when the test fails.
struct Running<'a>(&'a Path);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            wsgid_tests::note(
                &std::fs::read_to_string(self.0.join("error_log")).unwrap_or_default(),
            );
        }
        let _ = control(self.0, "stop");
    }
}

const COMBINATIONS: &[&[&str]] = &[
    &[],
    &[
        "--server-mpm",
        "prefork",
        "--processes",
        "4",
        "--threads",
        "1",
    ],
    &[
        "--server-mpm",
        "worker",
        "--processes",
        "2..8",
        "--keep-alive-timeout",
        "0",
    ],
    &[
        "--server-name",
        "www.example.com",
        "--server-alias",
        "*.example.com",
        "--allow-localhost",
    ],
    &[
        "--proxy-mount-point",
        "/x",
        "http://127.0.0.1:9/",
        "--proxy-virtual-host",
        "a.example",
        "http://127.0.0.1:9",
    ],
    &[
        "--url-alias",
        "/f",
        "/etc/passwd",
        "--url-alias",
        "/d/",
        "/usr",
        "--directory-listing",
        "--directory-index",
        "a.html",
    ],
    &[
        "--access-log",
        "--access-log-format",
        "combined",
        "--error-log-format",
        "[%t] %M",
        "--log-to-terminal",
    ],
    &[
        "--access-log",
        "--rotate-logs",
        "--access-log-format",
        "%h \"%r\"",
    ],
    &[
        "--server-status",
        "--compress-responses",
        "--enable-sendfile",
        "--setenv",
        "A",
        "b \"c\"",
        "--passenv",
        "PATH",
    ],
    &[
        "--mount-point",
        "/sub/x.y/",
        "--add-handler",
        ".md",
        "/etc/passwd",
        "--error-document",
        "404",
        "/gone",
    ],
    &["--application-type", "static", "--document-root", "/usr"],
    &[
        "--header-timeout",
        "0",
        "--body-timeout",
        "0",
        "--limit-request-body",
        "0",
        "--allow-override",
        "All",
    ],
    &[
        "--trust-proxy-header",
        "X-Forwarded-For",
        "--trust-proxy",
        "127.0.0.1",
        "--ignore-activity",
        "/health",
    ],
    &[
        "--chunked-request",
        "--error-override",
        "--map-head-to-get",
        "on",
        "--disable-reloading",
        "--http2",
    ],
    &[
        "--reload-on-changes",
        "--enable-debugger",
        "--enable-profiler",
        "--enable-coverage",
        "--enable-recorder",
    ],
    &[
        "--service-script",
        "tick",
        "/etc/passwd",
        "--service-log-file",
        "tick",
        "/dev/null",
    ],
    &[
        "--embedded-mode",
        "--free-threading",
        "--orphan-interpreter",
        "--with-php5",
        "--verbose-debugging",
    ],
];

#[test]
fn httpd_accepts_what_is_generated() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut refused = Vec::new();
        for (at, more) in COMBINATIONS.iter().enumerate() {
            let root = site.file(&format!("root{at}"));
            let checked = set_up(&site.file("hello.py"), &root, free_port(), more)
                .and_then(|()| control(&root, "configtest"));
            refused.extend(checked.err().map(|text| format!("{more:?}: {text}")));
        }
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    });
}

#[test]
fn apachectl_starts_restarts_and_stops() {
    case(Limit::default(), || {
        let site = Site::new();
        let root = site.file("root");
        let port = free_port();
        set_up(
            &site.file("probe.py"),
            &root,
            port,
            &["--python-path", &site.path().display().to_string()],
        )
        .unwrap_or_else(|text| panic!("{text}"));
        std::fs::write(root.join("envvars"), "export FROM_ENVVARS='it works'\n").unwrap();
        let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
        let pid = || {
            Client::new(address)
                .get("/info")
                .ok()
                .filter(|answer| answer.status == 200)?
                .json()["pid"]
                .as_u64()
        };
        control(&root, "start").unwrap_or_else(|text| panic!("{text}"));
        let running = Running(&root);
        let mut served = eventually("the first answer", Duration::from_secs(30), pid);
        let environment = std::fs::read_to_string(root.join("environment")).unwrap();
        assert!(
            environment.contains("FROM_ENVVARS=\"it works\""),
            "{environment}"
        );
        for word in ["graceful", "restart", "-k graceful"] {
            control(&root, word).unwrap_or_else(|text| panic!("{text}"));
            let before = served;
            served = eventually(word, Duration::from_secs(30), || {
                pid().filter(|now| *now != before)
            });
        }
        drop(running);
        eventually("the end", Duration::from_secs(20), || {
            left(&root).is_empty().then_some(())
        });
    });
}

/// What of a running server is in its root.
fn left(root: &Path) -> Vec<String> {
    let names = std::fs::read_dir(root).into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name == "httpd.pid" || name.starts_with("wsgi."))
        .collect()
}

/// Each with another MPM and other ways to the application.
const SERVED: &[&[&str]] = &[
    &[
        "--server-mpm",
        "worker",
        "--processes",
        "2",
        "--threads",
        "3",
        "--keep-alive-timeout",
        "0",
    ],
    &[
        "--server-mpm",
        "prefork",
        "--threads",
        "1",
        "--compress-responses",
        "--access-log",
        "--rotate-logs",
    ],
    &[
        "--server-name",
        "127.0.0.1",
        "--mount-point",
        "/",
        "--enable-sendfile",
        "--chunked-request",
        "--server-status",
    ],
    &[
        "--enable-profiler",
        "--disable-reloading",
        "--socket-prefix",
        "run",
        "--pid-file",
        "other.pid",
    ],
];

#[test]
fn other_combinations_serve_too() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        for (at, more) in SERVED.iter().enumerate() {
            let root = site.file(&format!("served{at}"));
            let port = free_port();
            let path = ["--python-path", &site.path().display().to_string()].map(str::to_owned);
            let pid_file = root.join("other.pid").display().to_string();
            let more = more.iter().map(|word| {
                if *word == "other.pid" {
                    &*pid_file
                } else {
                    *word
                }
            });
            let more: Vec<&str> = more.chain(path.iter().map(String::as_str)).collect();
            let done = |result: Result<(), String>| {
                result.unwrap_or_else(|text| panic!("{more:?}: {text}"))
            };
            done(set_up(&site.file("probe.py"), &root, port, &more));
            done(control(&root, "start"));
            let running = Running(&root);
            let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port));
            let pid = || {
                Client::new(address)
                    .get("/info")
                    .ok()
                    .filter(|answer| answer.status == 200)?
                    .json()["pid"]
                    .as_u64()
            };
            let before = eventually("the first answer", Duration::from_secs(30), pid);
            done(control(&root, "graceful"));
            eventually("new processes", Duration::from_secs(30), || {
                pid().filter(|now| *now != before)
            });
            drop(running);
            eventually("the end", Duration::from_secs(20), || {
                (left(&root).is_empty() && std::net::TcpStream::connect(address).is_err())
                    .then_some(())
            });
        }
    });
}
