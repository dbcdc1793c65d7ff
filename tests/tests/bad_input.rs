//! What an administrator gets wrong gives one clear message, as early as it can
//! be known, and other sites go on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use wsgid_tests::{Builder, Httpd, Limit, Site, case, users};

const SOON: Duration = Duration::from_secs(15);

/// Asserts that httpd refuses the configuration with all of these words in its message.
fn assert_refused(builder: &Builder, words: &[&str]) {
    let check = builder.check();
    assert!(!check.ok, "httpd took it; it said: {}", check.text);
    for word in words {
        assert!(check.text.contains(word), "no `{word}` in: {}", check.text);
    }
}

/// Asserts that httpd takes the configuration and warns with all of these words, and the place.
fn assert_warned(builder: &Builder, words: &[&str]) {
    let check = builder.check();
    assert!(check.ok, "httpd refused it: {}", check.text);
    for word in words.iter().chain(&["httpd.conf:", "Syntax OK"]) {
        assert!(check.text.contains(word), "no `{word}` in: {}", check.text);
    }
}

#[test]
fn unknown_options_are_named() {
    case(Limit::default(), || {
        assert_refused(
            &Httpd::builder().daemon("site", "colour=blue"),
            &["httpd.conf", "colour"],
        );
    });
}

#[test]
fn wrong_values_are_named() {
    case(Limit::default(), || {
        for (option, name) in [
            ("threads=many", "threads"),
            ("processes=0", "processes"),
            ("umask=99", "umask"),
            ("request-timeout=-1", "request-timeout"),
            ("home=not/absolute", "home"),
        ] {
            let check = Httpd::builder().daemon("site", option).check();
            assert!(
                !check.ok && check.text.contains(name),
                "{option}: {}",
                check.text
            );
        }
    });
}

#[test]
fn a_group_cannot_be_defined_twice_in_different_ways() {
    case(Limit::default(), || {
        let twice = Httpd::builder()
            .daemon("site", "threads=2")
            .daemon("site", "threads=3");
        assert_refused(&twice, &["site"]);
    });
}

#[test]
fn an_unknown_group_is_named() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.file("hello.py");
        assert_warned(
            &Httpd::builder().mount("/", &script, "nobody-defined-me"),
            &["nobody-defined-me"],
        );
        assert_warned(
            &Httpd::builder().line("WSGIProcessGroup nobody-defined-me"),
            &["nobody-defined-me"],
        );
    });
}

#[test]
fn root_an_unknown_user_is_named() {
    case(Limit::default(), || {
        if users::three().is_some() {
            assert_warned(
                &Httpd::builder().daemon("site", "user=no-such-user"),
                &["no-such-user"],
            );
            assert_warned(
                &Httpd::builder().daemon("site", "group=no-such-group"),
                &["no-such-group"],
            );
            assert_warned(&Httpd::builder().daemon("site", "user=root"), &["root"]);
        }
    });
}

#[test]
fn root_a_user_of_roots_group_is_refused_unless_another_group_is_named() {
    case(Limit::default(), || {
        let (Some(rooted), Some([user, ..])) = (users::in_roots_group(), users::three()) else {
            return;
        };
        let words = [
            &format!("`{}`", rooted.name),
            "root's",
            "name another with group=",
        ];
        assert_warned(
            &Httpd::builder().daemon("site", &format!("user={}", rooted.name)),
            &words,
        );
        // With another group it runs, and root's is not among the further ones.
        let site = Site::new();
        let options = format!(
            "user={} group={} {}",
            rooted.name,
            user.group,
            site.python_path()
        );
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &site.file("probe.py"), "site")
            .start();
        let info = httpd.get("/info").json();
        assert_eq!(
            info["uid"],
            serde_json::json!([rooted.uid, rooted.uid, rooted.uid])
        );
        assert_eq!(
            info["gid"],
            serde_json::json!([user.gid, user.gid, user.gid])
        );
        assert!(
            !info["groups"]
                .as_array()
                .is_some_and(|groups| groups.contains(&0.into())),
            "{}",
            info["groups"]
        );
        httpd.stop();
    });
}

#[test]
fn root_a_server_without_user_is_told_the_directive() {
    case(Limit::default(), || {
        let Some([user, ..]) = users::three() else {
            return;
        };
        let without = || Httpd::builder().without_user();
        let own_user = || without().daemon("own", &format!("user={}", user.name));
        let words = [
            "`site`",
            "the directives User and Group are missing",
            "httpd.conf",
            "add `User ",
        ];
        assert_warned(&without().daemon("site", "threads=2"), &words);
        assert_warned(&own_user().daemon("site", "threads=2"), &words);
        let half = without().line(format!("User {}", user.name));
        assert_warned(
            &half.daemon("site", "threads=2"),
            &["`site`", "the directive Group is missing"],
        );
        let half = without().line(format!("Group {}", user.group));
        assert_warned(
            &half.daemon("site", "threads=2"),
            &["`site`", "the directive User is missing"],
        );
        let roots = without().line(format!("User {}\nGroup root", user.name));
        assert_warned(
            &roots.daemon("site", "threads=2"),
            &["`site`", "root's", "Group"],
        );
        // The directives may follow, and a group that has all it needs is fine.
        let after = without()
            .daemon("site", "threads=2")
            .line(format!("User {}\nGroup {}", user.name, user.group));
        assert!(after.check().ok, "{}", after.check().text);
        for builder in [own_user(), without()] {
            let check = builder.check();
            assert!(
                check.ok
                    && check
                        .text
                        .contains("the directives User and Group are missing"),
                "{}",
                check.text
            );
        }
    });
}

#[test]
fn root_a_user_or_group_that_the_system_cannot_have_is_named() {
    case(Limit::default(), || {
        if users::three().is_some() {
            for (option, value) in [
                ("user", "#4294967295"),
                ("group", "#4294967295"),
                ("user", "#-1"),
                ("user", "#"),
            ] {
                let words = [&format!("option `{option}`"), &*format!("`{value}`")];
                assert_warned(
                    &Httpd::builder().daemon("site", &format!("{option}={value}")),
                    &words,
                );
            }
        }
    });
}

/// A server with a good group at `/good` and a bad one at `/bad`.
fn good_and_bad(site: &Site, options: &str, script: &str) -> Httpd {
    Httpd::builder()
        .daemon("good", &format!("threads=2 {}", site.python_path()))
        .daemon("bad", options)
        .mount("/good", &site.file("hello.py"), "good")
        .mount("/bad", std::path::Path::new(script), "bad")
        .start()
}

/// Asserts that the bad group fails with one of these statuses and a log line
/// with these words, and that the good one does not care.
fn assert_only_bad_fails(httpd: &Httpd, statuses: &[u16], words: &[&str]) {
    assert_eq!(httpd.get("/good").status, 200);
    let status = httpd.get("/bad").status;
    assert!(statuses.contains(&status), "status {status}");
    let found = wsgid_tests::until(SOON, || {
        httpd
            .error_log()
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
            .then_some(())
    });
    assert!(
        found.is_some(),
        "no line of the error log has all of {words:?}"
    );
    assert_eq!(httpd.get("/good").status, 200);
}

#[test]
fn a_missing_script_is_named() {
    case(Limit::default(), || {
        let site = Site::new();
        let missing = site.file("missing.py").display().to_string();
        let httpd = good_and_bad(&site, "threads=2", &missing);
        assert_only_bad_fails(&httpd, &[404, 500], &[&missing]);
        httpd.stop();
    });
}

#[test]
fn a_missing_python_is_named() {
    case(Limit::default(), || {
        let site = Site::new();
        let home = site.file("no-venv").display().to_string();
        let script = site.file("hello.py").display().to_string();
        let options = format!("threads=2 python-home={home}");
        let check = Httpd::builder().daemon("bad", &options).check();
        if check.ok {
            let httpd = good_and_bad(&site, &options, &script);
            assert_only_bad_fails(&httpd, &[500, 503], &["bad", &home]);
            httpd.stop();
        } else {
            assert!(check.text.contains(&home), "{}", check.text);
        }
    });
}

#[test]
fn a_python_that_cannot_run_is_described() {
    case(Limit::default(), || {
        let site = Site::new();
        let program = site.write("broken-venv/bin/python", "#!/nonexistent/python\n");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let home = site.file("broken-venv").display().to_string();
        let script = site.file("hello.py").display().to_string();
        let httpd = good_and_bad(&site, &format!("threads=2 python-home={home}"), &script);
        assert_only_bad_fails(&httpd, &[500, 503], &["bad", &home]);
        httpd.stop();
    });
}

#[test]
fn root_a_closed_directory_names_its_path_component() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let site = Site::new();
        let script = site.write(
            "closed/inside/app.py",
            &fs::read_to_string(site.file("hello.py")).unwrap(),
        );
        let closed = site.file("closed");
        // httpd's own children have to map the URL; only the site's user is kept out.
        users::give(&closed, &users::of_httpd());
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let options = format!("threads=2 user={} group={}", users[0].name, users[0].group);
        let httpd = good_and_bad(&site, &options, &script.display().to_string());
        assert_only_bad_fails(
            &httpd,
            &[500, 503],
            &[&format!("`{}`", closed.display()), &users[0].name],
        );
        httpd.stop();
    });
}

#[test]
fn root_a_closed_home_names_its_path_component() {
    case(Limit::default(), || {
        let Some(users) = users::three() else { return };
        let site = Site::new();
        site.write("closed/home/file", "");
        let closed = site.file("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let home = site.file("closed/home");
        let options = format!(
            "threads=2 user={} group={} home={}",
            users[0].name,
            users[0].group,
            home.display()
        );
        let httpd = good_and_bad(
            &site,
            &options,
            &site.file("hello.py").display().to_string(),
        );
        assert_only_bad_fails(
            &httpd,
            &[500, 503],
            &[&format!("`{}`", closed.display()), &users[0].name],
        );
        httpd.stop();
    });
}

#[test]
fn a_missing_callable_is_named() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("empty.py", "x = 1\n").display().to_string();
        let httpd = good_and_bad(&site, "threads=2", &script);
        assert_only_bad_fails(&httpd, &[500], &["application", &script]);
        httpd.stop();
    });
}

#[test]
fn a_syntax_error_shows_its_place() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site
            .write("syntax.py", "def application(:\n")
            .display()
            .to_string();
        let httpd = good_and_bad(&site, "threads=2", &script);
        assert_only_bad_fails(&httpd, &[500], &["SyntaxError"]);
        httpd.wait_for_log(&script, SOON);
        httpd.stop();
    });
}

#[test]
fn root_what_has_no_effect_leaves_a_line() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = Httpd::builder()
            .line("LogLevel info")
            .daemon("site", "socket-user=nobody supplementary-groups=root")
            .mount("/", &site.file("hello.py"), "site")
            .start();
        if users::three().is_some() {
            assert_eq!(httpd.get("/").status, 200);
            assert_eq!(
                httpd.ready_workers()[0].identity().expect("it runs").groups,
                [users::of_httpd().gid]
            );
        }
        httpd.wait_for_log("is root's group and is left out", Duration::from_secs(10));
        httpd.stop();
    });
}
