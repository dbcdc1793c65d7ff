//! `wsgid top` in a terminal of 80 columns and 24 lines.

use std::process::Command;

use nix::sys::signal::Signal;
use wsgid_protocol::in_flight::Activity;
use wsgid_tests::terminal::Terminal;
use wsgid_tests::{Httpd, Limit, Site, artifacts, case};

use crate::{get, server, wait_for};

fn top(httpd: &Httpd) -> Terminal {
    let mut command = Command::new(artifacts::wsgid());
    command.args(["top", "--interval", "0.2", "--socket"]);
    let mut top = Terminal::start(command.arg(httpd.control_socket()), 80, 24);
    top.wait("the last line", |lines| lines[23].starts_with("q quit"));
    assert!(top.is_taken());
    top
}

fn place(lines: &[String], start: &str) -> usize {
    let at = lines.iter().position(|line| line.starts_with(start));
    at.unwrap_or_else(|| panic!("no {start} in {lines:#?}"))
}

#[test]
fn top_shows_what_failed_first_and_follows_keys() {
    case(Limit::default(), || {
        let site = Site::new();
        let groups = [
            ("busy", "threads=3"),
            ("calm", "threads=3"),
            ("zoo", "threads=1 user=no-such-user-here"),
        ];
        let httpd = server(&site, &groups);
        assert_eq!(httpd.get("/calm/hello").status, 200);
        let _nap = get(&httpd, "/busy/nap");
        wait_for(&httpd, &[("/busy/nap", Activity::Waiting)]);
        let mut top = top(&httpd);
        let lines = top.wait("one in flight", |lines| lines[1].contains("1 in flight"));
        assert!(lines[0].starts_with("wsgid "), "{lines:#?}");
        assert!(lines[2].starts_with("GROUP"), "{lines:#?}");
        assert!(
            lines[3].starts_with("zoo") && lines[3].contains("cannot start"),
            "{lines:#?}"
        );
        assert!(place(&lines, "busy") < place(&lines, "calm"), "{lines:#?}");
        let request = &lines[place(&lines, "SECONDS") + 1];
        for part in ["GET", "/busy/nap", "waiting"] {
            assert!(request.contains(part), "{part}: {request}");
        }
        top.types("r");
        top.wait("the other order", |lines| {
            place(lines, "calm") < place(lines, "busy") && lines[3].starts_with("zoo")
        });
        top.types("rs");
        top.wait("another order", |lines| {
            lines[1].ends_with("sorted by WAIT")
        });
        // The first group has no request.
        top.types("j");
        top.wait("no request", |lines| {
            !lines.iter().any(|line| line.contains("/busy/nap"))
        });
        site.write("go", "");
        top.types("\u{1b}[B");
        top.wait("nothing in flight", |lines| {
            lines[1].contains("0 in flight")
        });
        top.types("q");
        assert_eq!(top.ends().code(), Some(0));
        httpd.stop();
    });
}

#[test]
fn top_gives_the_terminal_back_however_it_ends() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = server(&site, &[("site", "threads=1")]);
        let mut interrupted = top(&httpd);
        interrupted.types("\u{3}");
        assert_eq!(interrupted.ends().code(), Some(0));
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
            let top = top(&httpd);
            top.signals(signal);
            assert_eq!(top.ends().code(), Some(0), "{signal}");
        }
        // A supervisor that ends is told of, and the last numbers stay.
        let mut left = top(&httpd);
        httpd.stop();
        left.wait("what is wrong", |lines| {
            lines[0].contains("failed to ask the supervisor") && lines[3].starts_with("site")
        });
        left.types("q");
        assert_eq!(left.ends().code(), Some(0));
    });
}
