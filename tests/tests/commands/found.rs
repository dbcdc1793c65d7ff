//! A supervisor is found without its socket being named: wherever it runs, if it runs
//! as who asks.

use std::process::Command;

use wsgid_tests::{Httpd, Limit, Site, artifacts, case, eventually, users};

use crate::standalone::{Standalone, as_user, said};
use crate::{NOT_SERVING, OK, SOON, script};

/// What `wsgid` ends with.
const UNREACHABLE: i32 = 3;
const NO_SUCH_GROUP: i32 = 5;

/// Others of this machine may be found too.
#[test]
fn the_supervisor_of_an_httpd_anywhere_is_found() {
    case(Limit::default(), || {
        let site = Site::new();
        let path = site.write("app.py", &script("first", ""));
        let httpd = Httpd::builder()
            .daemon("found-by-name", "threads=1")
            .mount("/", &path, "found-by-name")
            .start();
        assert_eq!(httpd.get("/").text(), "first");
        let status = || said(Command::new(artifacts::wsgid()).arg("status")).text;
        assert!(status().contains("found-by-name"), "{}", status());
        // Another program has another command line.
        let _ = httpd.wsgid(&["reexec"]);
        assert!(status().contains("found-by-name"), "{}", status());
        // Of several, the one that has the group is asked.
        let restarted = said(Command::new(artifacts::wsgid()).args(["restart", "found-by-name"]));
        assert_eq!(
            (restarted.code, restarted.text.as_str()),
            (OK, "process group `found-by-name`: generation 2 serves")
        );
        httpd.stop();
    });
}

/// A user that runs nothing else here.
#[test]
fn root_a_user_finds_all_its_supervisors_and_no_others() {
    case(Limit::seconds(120), || {
        let Some([_, _, user]) = users::three() else {
            return;
        };
        let wsgid =
            |one: &Standalone, args: &[&str]| said(as_user(user).arg(one.wsgid()).args(args));
        let roots = Standalone::start(&["roots"], None);
        let none = wsgid(&roots, &["status"]);
        assert_eq!(none.code, UNREACHABLE, "{}", none.text);
        assert!(none.text.contains("none runs as you"), "{}", none.text);
        let one = Standalone::start(&["shop"], Some(user));
        let status = wsgid(&one, &["status"]);
        assert_eq!(status.code, OK, "{}", status.text);
        assert!(status.text.contains("\nshop "), "{}", status.text);
        let two = Standalone::start(&["blog"], Some(user));
        let status = wsgid(&one, &["status"]);
        assert_eq!(status.code, OK, "{}", status.text);
        for part in [
            "\nshop ",
            "\nblog ",
            &one.socket().display().to_string(),
            &two.socket().display().to_string(),
        ] {
            assert!(status.text.contains(part), "{part}: {}", status.text);
        }
        let started = wsgid(&one, &["restart", "blog"]);
        assert_eq!(started.code, OK, "{}", started.text);
        let none = wsgid(&one, &["restart", "roots"]);
        assert_eq!(none.code, NO_SUCH_GROUP, "{}", none.text);
        let several = wsgid(&one, &["reload"]);
        assert!(
            several.code == UNREACHABLE && several.text.contains("several supervisors run: "),
            "{}",
            several.text
        );
        drop(two);
        eventually("the end of one", SOON, || {
            (wsgid(&one, &["reload"]).code == OK).then_some(())
        });
        std::fs::write(one.root().join("shop.py"), "raise ValueError\n").expect("it is ours");
        assert_eq!(wsgid(&one, &["restart", "shop"]).code, NOT_SERVING);
    });
}
