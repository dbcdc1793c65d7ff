//! Scripts that decide who comes in: WSGIAccessScript, WSGIAuthUserScript with
//! the Basic and Digest providers, WSGIAuthGroupScript, WSGIDispatchScript. They
//! run in workers, and whatever goes wrong keeps the client out.

mod decisions;
mod dispatch;
mod htaccess;
mod server;

use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Site, TestUser, case, users};

use crate::server::{ACCESS, HELLO, group, location, with_auth};

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
