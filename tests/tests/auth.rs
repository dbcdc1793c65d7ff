//! Scripts that decide who comes in: WSGIAccessScript, WSGIAuthUserScript with
//! the Basic and Digest providers, WSGIAuthGroupScript, WSGIDispatchScript. They
//! run in workers, and whatever goes wrong keeps the client out.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use wsgid_tests::{Builder, Httpd, Limit, Python, Request, Response, Site, TestUser, case, users};

const HELLO: &str = "\
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    text = '%s %s %s' % (environ.get('REMOTE_USER', '-'), environ.get('AUTH_TYPE', '-'), os.getuid())
    return [text.encode()]
";

/// What each name and password leads to; and nothing of the password is seen
/// in the environ.
const PASSWORDS: &str = "\
import hashlib, time
def check_password(environ, user, password):
    if any(password in str(value) for value in environ.values()):
        raise RuntimeError('the password is in the environ')
    if 'HTTP_AUTHORIZATION' in environ:
        raise RuntimeError('the credentials are in the environ')
    if user == 'alice':
        return password == 's3cret-of-alice'
    if user == 'alias':
        return 'renamed'
    return {'nobody': None, 'empty': '', 'one': 1, 'list': ['x'], 'broken': Ellipsis}[user]
def get_realm_hash(environ, user, realm):
    if user == 'alice':
        return hashlib.md5(('%s:%s:%s' % (user, realm, 's3cret-of-alice')).encode()).hexdigest()
    if user == 'short':
        return 'abc'
    if user == 'bytes':
        return hashlib.md5(('%s:%s:%s' % (user, realm, 'pass')).encode()).hexdigest().encode()
    return {'nobody': None}[user]
";

const GROUPS: &str = "\
def groups_for_user(environ, user):
    return {'alice': ['staff', b'admins'], 'alias': [], 'renamed': ['guests'], 'none': None}[user]
";

const ACCESS: &str = "\
def allow_access(environ, host):
    if environ['REMOTE_ADDR'] != host:
        raise RuntimeError('the host is ' + host)
    query = environ['QUERY_STRING']
    return {'yes': True, 'no': False, 'neutral': None, 'word': 'True', 'one': 1}[query]
";

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |number, at| {
            number << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let digit = ALPHABET[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

fn basic(httpd: &Httpd, path: &str, user: &str, password: &str) -> Response {
    let credentials = base64(format!("{user}:{password}").as_bytes());
    let request =
        Request::new("GET", path).header("Authorization", &format!("Basic {credentials}"));
    httpd.client().send(&request).expect("an answer")
}

fn with_auth(builder: Builder) -> Builder {
    [
        "auth_basic",
        "auth_digest",
        "authn_core",
        "authz_user",
        "access_compat",
        "authz_host",
    ]
    .into_iter()
    .fold(builder, Builder::load)
}

fn group(site: &Site) -> String {
    format!(
        "processes=1 threads=3 python-home={} {}",
        Python::any().home.display(),
        site.python_path()
    )
}

/// A location whose contents are `directives`.
fn location(path: &str, directives: &str) -> String {
    format!("<Location {path}>\n{directives}\n</Location>")
}

fn basic_auth(script: &Path, options: &str, require: &str) -> String {
    format!(
        "AuthType Basic\nAuthName here\nAuthBasicProvider wsgi\nWSGIAuthUserScript {} {options}\n{require}",
        script.display()
    )
}

#[test]
fn an_access_script_decides_and_errors_keep_out() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let access = site.write("access.py", ACCESS);
        let missing = site.file("missing.py");
        let without = site.write("without.py", "x = 1\n");
        let broken = site.write("broken.py", "raise RuntimeError('at import')\n");
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .mount("/", &app, "site")
            .line(location(
                "/checked",
                &format!("WSGIAccessScript {} process-group=site", access.display()),
            ))
            .line(location(
                "/default",
                &format!("WSGIAccessScript {}", access.display()),
            ))
            .line(location(
                "/missing",
                &format!("WSGIAccessScript {}", missing.display()),
            ))
            .line(location(
                "/without",
                &format!("WSGIAccessScript {}", without.display()),
            ))
            .line(location(
                "/broken",
                &format!("WSGIAccessScript {} process-group=site", broken.display()),
            ))
            .line(location(
                "/denied",
                &format!("Require all denied\nWSGIAccessScript {}", access.display()),
            ))
            .start();
        for place in ["/checked", "/default"] {
            for (query, status) in [
                ("yes", 200),
                ("neutral", 200),
                ("no", 403),
                ("word", 500),
                ("one", 500),
                ("unknown", 500),
            ] {
                let response = httpd.get(&format!("{place}?{query}"));
                assert_eq!(response.status, status, "{place}?{query}");
                assert!(
                    status == 200 || !response.text().starts_with("- -"),
                    "{place}?{query}"
                );
            }
        }
        for place in ["/missing", "/without", "/broken"] {
            assert_eq!(httpd.get(place).status, 500, "{place}");
        }
        assert_eq!(
            httpd.get("/denied?yes").status,
            403,
            "True does not overrule Require"
        );
        assert_eq!(httpd.get("/elsewhere?no").status, 200);
        assert!(httpd.error_log().contains("denies access to 127.0.0.1"));
        httpd.stop();
    });
}

#[test]
fn files_and_other_handlers_are_protected_too() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let access = site.write("access.py", ACCESS);
        let httpd = with_auth(Httpd::builder())
            .line(location(
                "/",
                &format!("WSGIAccessScript {}", access.display()),
            ))
            .line("DirectoryIndex index.html");
        std::fs::create_dir(httpd.root().join("htdocs/sub")).expect("a directory can be made");
        for name in ["htdocs/page.html", "htdocs/sub/index.html"] {
            std::fs::write(httpd.root().join(name), "page").expect("a page can be written");
        }
        let httpd = httpd.start();
        for (path, status) in [
            ("/page.html?yes", 200),
            ("/page.html?no", 403),
            ("/page.html", 500),
            ("/sub/?yes", 200),
            ("/sub/?no", 403),
        ] {
            assert_eq!(httpd.get(path).status, status, "{path}");
        }
        httpd.stop();
    });
}

#[test]
fn basic_passwords_are_checked_by_a_script() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let passwords = site.write("passwords.py", PASSWORDS);
        let missing = site.file("missing.py");
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .mount("/", &app, "site")
            .line(location(
                "/secret",
                &basic_auth(&passwords, "process-group=site", "Require valid-user"),
            ))
            .line(location(
                "/default",
                &basic_auth(&passwords, "", "Require valid-user\nCGIPassAuth On"),
            ))
            .line(location(
                "/missing",
                &basic_auth(&missing, "", "Require valid-user"),
            ))
            .line(location(
                "/noscript",
                "AuthType Basic\nAuthName x\nAuthBasicProvider wsgi\nRequire valid-user",
            ))
            .start();
        for place in ["/secret", "/default"] {
            let unasked = httpd.get(place);
            assert_eq!(unasked.status, 401);
            assert!(
                unasked
                    .header("WWW-Authenticate")
                    .is_some_and(|value| value.starts_with("Basic"))
            );
            let good = basic(&httpd, place, "alice", "s3cret-of-alice");
            assert_eq!(good.status, 200, "{place}: {}", good.text());
            assert!(good.text().starts_with("alice Basic "), "{}", good.text());
            let renamed = basic(&httpd, place, "alias", "s3cret-of-alias");
            assert!(
                renamed.text().starts_with("renamed Basic "),
                "{}",
                renamed.text()
            );
            for (user, status) in [
                ("alice", 401),
                ("nobody", 401),
                ("empty", 500),
                ("one", 500),
                ("list", 500),
            ] {
                assert_eq!(
                    basic(&httpd, place, user, "s3cret-wrong").status,
                    status,
                    "{place} {user}"
                );
            }
            assert_eq!(basic(&httpd, place, "broken", "s3cret-wrong").status, 500);
            assert_eq!(
                basic(&httpd, place, "unknown", "s3cret-wrong").status,
                500,
                "KeyError"
            );
        }
        for place in ["/missing", "/noscript"] {
            assert_eq!(
                basic(&httpd, place, "alice", "s3cret-of-alice").status,
                500,
                "{place}"
            );
        }
        let logs = httpd.error_log() + &httpd.access_log();
        assert!(!logs.contains("s3cret"), "a password was logged");
        httpd.stop();
    });
}

#[test]
fn digest_hashes_come_from_a_script() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let passwords = site.write("passwords.py", PASSWORDS);
        let digest = format!(
            "AuthType Digest\nAuthName here\nAuthDigestProvider wsgi\nWSGIAuthUserScript {} process-group=site\n\
             Require valid-user",
            passwords.display()
        );
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .mount("/", &app, "site")
            .line(location("/secret", &digest))
            .start();
        let ask = |user: &str, password: &str| {
            let output = Command::new("curl")
                .args([
                    "-sS",
                    "--digest",
                    "-u",
                    &format!("{user}:{password}"),
                    "-w",
                    " %{http_code}",
                ])
                .arg(httpd.url("/secret"))
                .output()
                .expect("curl can be run");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let good = ask("alice", "s3cret-of-alice");
        assert!(
            good.starts_with("alice Digest ") && good.ends_with(" 200"),
            "{good}"
        );
        assert!(ask("bytes", "pass").ends_with(" 200"));
        for (user, status) in [
            ("alice", "401"),
            ("nobody", "401"),
            ("short", "500"),
            ("unknown", "500"),
        ] {
            let answer = ask(user, "s3cret-wrong");
            assert!(answer.ends_with(status), "{user}: {answer}");
        }
        httpd.stop();
    });
}

#[test]
fn groups_come_from_a_script() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let passwords = site.write("passwords.py", PASSWORDS);
        let groups = site.write("groups.py", GROUPS);
        let place = |path: &str, require: &str| {
            let lines = format!(
                "WSGIAuthGroupScript {} process-group=site\n{require}",
                groups.display()
            );
            location(path, &basic_auth(&passwords, "process-group=site", &lines))
        };
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .mount("/", &app, "site")
            .line(place("/staff", "Require wsgi-group staff"))
            .line(place(
                "/either",
                "Require wsgi-group \"nothing here\" guests",
            ))
            .line(place("/admins", "Require wsgi-group admins"))
            .line(place("/expression", "Require wsgi-group %{req:X-Group}"))
            .line(place(
                "/not",
                "<RequireAll>\nRequire valid-user\nRequire not wsgi-group staff\n</RequireAll>",
            ))
            .line(location(
                "/noscript",
                &basic_auth(&passwords, "", "Require wsgi-group staff"),
            ))
            .start();
        for (path, user, status) in [
            ("/staff", "alice", 200),
            ("/staff", "alias", 401),
            ("/either", "alias", 200),
            ("/either", "alice", 401),
            ("/admins", "alice", 200),
            ("/expression", "alice", 401),
            ("/not", "alice", 401),
            ("/not", "alias", 200),
            ("/noscript", "alice", 500),
        ] {
            assert_eq!(
                basic(&httpd, path, user, "s3cret-of-alice").status,
                status,
                "{path} {user}"
            );
        }
        assert_eq!(httpd.get("/staff").status, 401, "nobody is asked who he is");
        httpd.stop();
    });
}

/// An error of the group script is not "denied", which `Require not` would
/// turn into a reason to let the user in.
#[test]
fn a_broken_group_script_keeps_out_behind_require_not() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let passwords = site.write("passwords.py", PASSWORDS);
        let groups = site.write(
            "groups.py",
            "def groups_for_user(environ, user):\n    raise RuntimeError('no')\n",
        );
        let lines = format!(
            "WSGIAuthGroupScript {}\n<RequireAll>\nRequire valid-user\nRequire not wsgi-group blocked\n</RequireAll>",
            groups.display()
        );
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .mount("/", &app, "site")
            .line(location(
                "/",
                &basic_auth(&passwords, "process-group=site", &lines),
            ))
            .start();
        assert_eq!(basic(&httpd, "/", "alice", "s3cret-of-alice").status, 500);
        httpd.stop();
    });
}

#[test]
fn a_script_that_never_answers_keeps_out_after_a_short_time() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let slow = site.write(
            "slow.py",
            "import time\ndef allow_access(environ, host):\n    \
             while True:\n        print('still at it', file=environ['wsgi.errors'])\n        time.sleep(0.1)\n",
        );
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .mount("/", &app, "site")
            .line(location(
                "/",
                &format!("WSGIAccessScript {} process-group=site", slow.display()),
            ))
            .start();
        let began = Instant::now();
        assert_eq!(httpd.get("/").status, 504);
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{:?}",
            began.elapsed()
        );
        httpd.stop();
    });
}

#[test]
fn nobody_comes_in_while_the_group_cannot_run() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let access = site.write("access.py", ACCESS);
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .daemon("dead", "python-home=/nonexistent")
            .mount("/", &app, "site")
            .line(location(
                "/",
                &format!("WSGIAccessScript {} process-group=dead", access.display()),
            ))
            .start();
        let status = httpd.get("/?yes").status;
        assert!((500..=504).contains(&status), "{status}");
        httpd.stop();
    });
}

#[test]
fn a_changed_script_is_loaded_again() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let access = site.write(
            "access.py",
            "def allow_access(environ, host):\n    return True\n",
        );
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .mount("/", &app, "site")
            .line(location(
                "/",
                &format!("WSGIAccessScript {} process-group=site", access.display()),
            ))
            .start();
        assert_eq!(httpd.get("/").status, 200);
        site.write(
            "access.py",
            "def allow_access(environ, host):\n    return False  # now\n",
        );
        wsgid_tests::eventually("the changed script", Duration::from_secs(20), || {
            (httpd.get("/").status == 403).then_some(())
        });
        httpd.stop();
    });
}

#[test]
fn a_dispatch_script_chooses_groups_and_callable() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write(
            "app.py",
            "def answer(name):\n    def application(environ, start_response):\n        \
             start_response('200 OK', [])\n        \
             return [('%s %s %s' % (name, environ['mod_wsgi.process_group'], \
             environ['mod_wsgi.application_group'])).encode()]\n    return application\n\
             application = answer('application')\nother = answer('other')\n",
        );
        let dispatch = site.write(
            "dispatch.py",
            "import json\ndef chosen(environ, name):\n    query = environ['QUERY_STRING']\n    \
             if query == 'raise':\n        raise RuntimeError('no')\n    \
             return dict(part.split('=') for part in query.split('&') if part).get(name)\n\
             def process_group(environ):\n    return chosen(environ, 'group')\n\
             def application_group(environ):\n    return chosen(environ, 'app')\n\
             def callable_object(environ):\n    return chosen(environ, 'callable')\n",
        );
        let broken = site.write("broken.py", "raise RuntimeError('at import')\n");
        let httpd = Httpd::builder()
            .daemon("one", &group(&site))
            .daemon("two", &group(&site))
            .daemon("three", &group(&site))
            .mount("/", &app, "one")
            .line(location(
                "/",
                &format!(
                    "WSGIRestrictProcess one two\nWSGIDispatchScript {} process-group=one",
                    dispatch.display()
                ),
            ))
            .line(location(
                "/broken",
                &format!("WSGIDispatchScript {} process-group=one", broken.display()),
            ))
            .start();
        for (query, expected) in [
            ("", Some("application one ")),
            ("group=two", Some("application two ")),
            ("callable=other", Some("other one ")),
            ("app=extra", Some("application one extra")),
            (
                "group=two&app=%{SERVER}",
                Some("application two localhost:"),
            ),
            // WSGIRestrictProcess holds for what a script chooses.
            ("group=three", None),
            ("group=unknown", None),
            ("raise", None),
        ] {
            let response = httpd.get(&format!("/?{query}"));
            match expected {
                Some(expected) => {
                    assert_eq!(response.status, 200, "{query}");
                    assert!(
                        response.text().starts_with(expected),
                        "{query}: {}",
                        response.text()
                    );
                }
                None => assert_eq!(response.status, 500, "{query}"),
            }
        }
        assert_eq!(
            httpd.get("/broken").status,
            500,
            "a broken dispatch script stops the request"
        );
        httpd.stop();
    });
}

/// `.htaccess` may name a script, as with mod_wsgi; but not one that runs as
/// httpd's user or as another site: only in a group that the server's
/// configuration lists there, or has set for the place.
#[test]
fn a_script_in_htaccess_runs_only_where_the_server_says() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let marks = site.path().join("marks");
        std::fs::create_dir(&marks).expect("a directory can be made");
        std::fs::set_permissions(&marks, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("it is ours");
        let text = marking_script(&marks);
        let script = site.write("answers.py", &text);
        let passwords = site.write(
            "passwords.py",
            "def check_password(environ, user, password):\n    return True\n",
        );
        let builder = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .daemon("other", &group(&site));
        let docs = builder.root().join("htdocs");
        let script = script.display();
        let basic = "AuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n";
        let asks_user = format!("{basic}WSGIAuthUserScript {script}\nRequire valid-user");
        let asks_group = format!(
            "{basic}WSGIAuthUserScript {} process-group=site\nWSGIAuthGroupScript {script}\nRequire wsgi-group staff",
            passwords.display()
        );
        let reads_file = format!(
            "{basic}WSGIAuthUserScript {} process-group=site\nWSGIAuthGroupScript {script} process-group=site\n\
             Require wsgi-group \"%{{file:/etc/passwd}}\"",
            passwords.display()
        );
        let places = [
            ("reads-file", reads_file, "WSGIRestrictProcess site", false),
            ("plain", format!("WSGIAccessScript {script}"), "", false),
            ("user", asks_user, "", false),
            ("group", asks_group, "WSGIRestrictProcess site", false),
            (
                "named",
                format!("WSGIAccessScript {script} process-group=site"),
                "",
                false,
            ),
            (
                "none",
                format!("WSGIAccessScript {script} process-group=no"),
                "",
                false,
            ),
            (
                "global",
                format!("WSGIAccessScript {script} process-group=%{{GLOBAL}}"),
                "",
                false,
            ),
            (
                "implicit",
                format!("WSGIAccessScript {script} process-group=wsgid:default"),
                "",
                false,
            ),
            (
                "even-listed",
                format!("WSGIAccessScript {script} process-group=%{{GLOBAL}}"),
                "WSGIRestrictProcess %{GLOBAL} site",
                false,
            ),
            (
                "variable",
                format!(
                    "SetEnv WHICH %{{GLOBAL}}\nWSGIAccessScript {script} process-group=%{{ENV:WHICH}}"
                ),
                "WSGIRestrictProcess site %{GLOBAL}",
                false,
            ),
            (
                "in-if",
                format!("<If \"true\">\nWSGIAccessScript {script}\n</If>"),
                "",
                false,
            ),
            (
                "listed",
                format!("WSGIAccessScript {script} process-group=site"),
                "WSGIRestrictProcess site",
                true,
            ),
            (
                "place",
                format!("WSGIAccessScript {script}"),
                "WSGIProcessGroup site",
                true,
            ),
            (
                "shut-place",
                format!("WSGIAccessScript {script}"),
                "WSGIProcessGroup site\nWSGIRestrictProcess other",
                false,
            ),
            (
                "by-variable",
                format!("WSGIAccessScript {script}"),
                "WSGIProcessGroup %{ENV:WHICH}",
                false,
            ),
        ];
        let mut builder = builder.load("env").line(format!(
            "<Directory {}>\nAllowOverride AuthConfig FileInfo\n</Directory>",
            docs.display()
        ));
        for (name, lines, server, _) in &places {
            let directory = docs.join(name);
            std::fs::create_dir(&directory).expect("a directory can be made");
            std::fs::write(directory.join("page.html"), "page").expect("a page can be written");
            std::fs::write(directory.join(".htaccess"), format!("{lines}\n"))
                .expect("a file can be written");
            builder = builder.line(format!(
                "<Directory {}>\n{server}\n</Directory>",
                directory.display()
            ));
        }
        let httpd = builder.start();
        for (name, lines, _, runs) in &places {
            let status = basic_status(&httpd, name);
            let marked = marks.join(format!("-{name}-page.html")).exists();
            assert_eq!(
                (status, marked),
                (if *runs { 200 } else { 500 }, *runs),
                "{name}: {lines}"
            );
        }
        let log = httpd.error_log();
        let told = log
            .lines()
            .find(|line| line.contains("plain/.htaccess:1") && line.contains("as httpd's user"));
        assert!(
            told.is_some_and(|line| line.contains("answers.py") && line.contains("process-group=")),
            "{log}"
        );
        httpd.stop();
    });
}

/// A script that answers every question with yes, and leaves a file behind for each place.
fn marking_script(marks: &Path) -> String {
    format!(
        "def mark(environ):\n    open({:?} + environ['SCRIPT_NAME'].replace('/', '-'), 'w').close()\n\
         def allow_access(environ, host):\n    mark(environ)\n    return True\n\
         def check_password(environ, user, password):\n    mark(environ)\n    return True\n\
         def groups_for_user(environ, user):\n    mark(environ)\n    return ['staff']\n",
        format!("{}/", marks.display())
    )
}

fn basic_status(httpd: &Httpd, place: &str) -> u16 {
    basic(httpd, &format!("/{place}/page.html"), "alice", "any").status
}

/// With `WSGIRestrictEmbedded On` no application runs without a group; these
/// scripts do, as with mod_wsgi.
#[test]
fn restrict_embedded_leaves_the_scripts_working() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let access = site.write("access.py", ACCESS);
        let httpd = with_auth(Httpd::builder())
            .line("WSGIRestrictEmbedded On")
            .daemon("site", &group(&site))
            .mount("/in", &app, "site")
            .mount_with("/out", &app, "")
            .line(location(
                "/in",
                &format!("WSGIAccessScript {}", access.display()),
            ))
            .start();
        assert_eq!(httpd.get("/in?yes").status, 200);
        assert_eq!(httpd.get("/in?no").status, 403);
        assert_eq!(httpd.get("/out").status, 500);
        httpd.stop();
    });
}

#[test]
fn root_a_script_runs_as_the_user_of_its_group() {
    case(Limit::seconds(60), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let user: &TestUser = &accounts[0];
        let site = Site::of(user);
        let app = site.write("hello.py", HELLO);
        let access = site.write(
            "access.py",
            &format!(
                "import os\ndef allow_access(environ, host):\n    return os.getuid() == {}\n",
                user.uid
            ),
        );
        let options = format!("{} user={} group={}", group(&site), user.name, user.group);
        let httpd = with_auth(Httpd::builder())
            .daemon("site", &options)
            .mount("/", &app, "site")
            .line(location(
                "/",
                &format!("WSGIAccessScript {} process-group=site", access.display()),
            ))
            .start();
        assert_eq!(httpd.get("/").status, 200);
        httpd.stop();
    });
}
