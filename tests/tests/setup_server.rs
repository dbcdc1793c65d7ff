//! `wsgid setup-server`: the server root it writes passes httpd's own check for
//! many combinations of options, and its apachectl starts, restarts and stops.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use wsgid_tests::httpd::free_port;
use wsgid_tests::{Client, Limit, Python, Site, TestUser, artifacts, case, eventually, users};

fn set_up(script: &Path, root: &Path, port: u16, more: &[&str]) -> Result<(), String> {
    let mut command = Command::new(artifacts::wsgid());
    command
        .arg("setup-server")
        .arg(script)
        .arg("--server-root")
        .arg(root);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    command.arg("--python-home").arg(&Python::any().home);
    if users::is_root() {
        let user = users::of_httpd();
        command.args(["--user", &user.name, "--group", &user.group]);
    }
    command.args(more).stdin(Stdio::null());
    outcome(&mut command)
}

fn control(root: &Path, word: &str) -> Result<(), String> {
    outcome(
        Command::new(root.join("apachectl"))
            .arg(word)
            .stdin(Stdio::null()),
    )
}

fn outcome(command: &mut Command) -> Result<(), String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it can be run");
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}\n{text}"))
    }
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
        for word in ["graceful", "restart"] {
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

/// What root reads, runs or writes must be root's with every directory above it:
/// whoever has one of them could put his own configuration there before the next
/// reload.
#[test]
fn root_nothing_in_the_hands_of_another_user_is_used() {
    case(Limit::seconds(120), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let stranger = &accounts[0];
        let site = Site::new();
        let theirs = Site::of(stranger);
        let script = site.write("app.py", "def application(environ, start_response): pass\n");
        let made = |name: &str| theirs.write(name, "").display().to_string();
        let place = |name: &str| theirs.path().join(name).display().to_string();
        std::fs::create_dir(theirs.path().join("roots")).expect("a directory can be made");
        std::fs::write(theirs.path().join("roots/file"), "").expect("a file can be written");
        // In /tmp everybody may make a link, and have it lead elsewhere later.
        let link = std::env::temp_dir().join(format!("wsgid-hands-{}", std::process::id()));
        std::os::unix::fs::symlink(site.path(), &link).expect("a link can be made");
        std::os::unix::fs::lchown(&link, Some(stranger.uid), None).expect("it is ours to give");
        let through = link.join("log").display().to_string();
        let env = made("envvars");
        let crt = made("a.crt");
        let key = made("a.key");
        let roots = place("roots/file");
        let conf = made("more.conf");
        let tls = [
            "--https-port",
            "1443",
            "--ssl-certificate-file",
            &crt,
            "--ssl-certificate-key-file",
            &key,
        ];
        let new = place("new");
        let pid = place("httpd.pid");
        let logs = place("logs");
        let cases: [&[&str]; 12] = [
            &["--server-root", &new],
            &["--server-root", &place("roots/deep/new")],
            &["--log-directory", &logs],
            &["--log-directory", &through],
            &["--error-log-name", &place("error_log")],
            &["--pid-file", &pid],
            &["--envvars-script", &env],
            &["--include-file", &conf],
            &["--include-file", &roots],
            &["--rewrite-rules", &conf],
            &tls,
            &[
                "--enable-coverage",
                "--coverage-directory",
                &place("coverage"),
            ],
        ];
        for more in cases {
            let refused =
                set_up(&script, &site.file("root"), 8000, more).expect_err("it is refused");
            let owner = format!("belongs to uid {}", stranger.uid);
            assert!(
                refused.contains(more[0]) || refused.contains("TLS"),
                "{more:?}: {refused}"
            );
            assert!(
                refused.contains(&owner) && refused.contains("chown")
                    || refused.contains("the link"),
                "{refused}"
            );
            assert!(!site.file("root").exists(), "{more:?}: nothing was written");
        }
        for untouched in [&new, &logs] {
            assert!(!Path::new(untouched).exists(), "{untouched}");
        }
        assert_temporary_directory_is_refused(&script, stranger, theirs.path());
        std::fs::remove_file(&link).expect("it is there");
        set_up(
            &script,
            &site.file("root"),
            free_port(),
            &["--log-directory", &place("../").replace("../", "")],
        )
        .expect_err("the directory itself");
        set_up(&script, &site.file("root"), free_port(), &[]).expect("what is root's is used");
    });
}

fn assert_temporary_directory_is_refused(script: &Path, stranger: &TestUser, theirs: &Path) {
    let temporary = outcome(
        Command::new(artifacts::wsgid())
            .args([
                "setup-server",
                &script.display().to_string(),
                "--user",
                &stranger.name,
                "--port",
                "8000",
            ])
            .args(["--python-home", &Python::any().home.display().to_string()])
            .env("TMPDIR", theirs),
    );
    assert!(
        temporary.is_err_and(|why| why.contains("--server-root")),
        "TMPDIR names the server root"
    );
}

/// The Python of `--python-home` may be the application's user's: it is asked as
/// that user.
#[test]
fn root_a_python_of_the_user_does_not_run_as_root() {
    case(Limit::seconds(60), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let user = &accounts[0];
        let site = Site::of(user);
        let script = site.write("app.py", "def application(environ, start_response): pass\n");
        let seen = site.file("seen");
        let python = site.write(
            "venv/bin/python",
            &format!(
                "#!/bin/sh\nid -u >> {0}\nid -G >> {0}\necho typed 2> /dev/null > /dev/tty && echo tty >> {0}\n\
                 echo 3.11.1; echo /usr; echo /usr\n",
                seen.display()
            ),
        );
        std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("it is ours");
        let root = Site::new();
        let mut command = Command::new(artifacts::wsgid());
        command
            .arg("setup-server")
            .arg(&script)
            .arg("--server-root")
            .arg(root.file("root"));
        command.args([
            "--user",
            &user.name,
            "--group",
            &user.group,
            "--port",
            "8000",
            "--python-home",
        ]);
        outcome(command.arg(site.file("venv")).stdin(Stdio::null())).expect("it is written");
        let seen = std::fs::read_to_string(seen).expect("it was asked");
        assert_eq!(
            seen,
            format!("{}\n{}\n", user.uid, user.gid),
            "as the user, without groups and terminal"
        );
    });
}
