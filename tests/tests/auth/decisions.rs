//! What scripts for access, passwords and groups decide, and that their errors keep out.

use std::process::Command;

use wsgid_tests::{Httpd, Limit, Site, case};

use crate::server::{
    ACCESS, GROUPS, HELLO, PASSWORDS, basic, basic_auth, group, location, with_auth,
};

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
