//! From a URL to a script, its groups and its status: every rule of mapping and
//! of scope through both. Where no process group is named, mod_wsgi runs the
//! script inside httpd and we in the implicit group; all else has to be equal.

mod configuration;
mod questions;

use std::path::Path;

use wsgid_tests::judge::{Allowed, Pair, judge};
use wsgid_tests::{Builder, Site};

use crate::configuration::{QUESTIONS, RESTRICTED, WHERE, configured};
use crate::questions::{BODIES, HEADERS, HOSTS, PATHS};

/// What may differ.
const ALLOWED: &[Allowed] = &[
    ("-field expires", "", "an error of ours is not to be cached"),
    (
        "",
        "embedded /empty",
        "404 there; in daemon mode 500, as here",
    ),
    ("", "X-Choice: missing", "likewise"),
    (
        "",
        "?boom",
        "an access script that fails is an error, not a refusal",
    ),
    ("", "?odd", "likewise"),
    (
        "-field content-length",
        "too large",
        "the error page is one piece",
    ),
    (
        "body",
        "/docs/include",
        "SCRIPT_NAME of an included page ends before PATH_INFO, as PEP 3333 has it",
    ),
];

#[test]
fn a_url_finds_the_same_script_in_the_same_groups() {
    judge(ALLOWED, configured, |pair| {
        for path in PATHS {
            ask(pair, path, path, "localhost", "");
        }
        ask(pair, "embedded /empty", "/empty", "localhost", "");
        for (name, request) in BODIES {
            pair.raw(name, request);
        }
        for (path, header) in HEADERS {
            ask(
                pair,
                &format!("{path} {header}"),
                path,
                "localhost",
                &format!("{header}\r\n"),
            );
        }
        ask(pair, "another host", "/groups/host", "other.example", "");
        for (host, path) in HOSTS {
            pair.elsewhere(&format!("{host}{path}"), &request(path, host, ""));
        }
        pair.stale()
    });
}

#[test]
fn restrict_embedded_refuses_the_same() {
    fn configured(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
        site.write("where.wsgi", WHERE);
        site.write("questions.py", QUESTIONS);
        let site = site.path().display().to_string();
        let lines = RESTRICTED
            .replace("$/", &format!("{site}/"))
            .replace("$>", &format!("{site}>"));
        let builder = builder.line(format!("WSGIPythonHome {}", venv.display()));
        let options = format!("processes=1 threads=3 python-home={}", venv.display());
        (builder.daemon("main", &options).line(lines), 0)
    }
    judge(
        &[("-field expires", "", "an error of ours is not to be cached")],
        configured,
        |pair| {
            for path in [
                "/none",
                "/global",
                "/named/x",
                "/asked/x?allow",
                "/asked/x?deny",
            ] {
                ask(pair, path, path, "localhost", "");
            }
            pair.stale()
        },
    );
}

fn request(path: &str, host: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n")
}

fn ask(pair: &mut Pair, name: &str, path: &str, host: &str, headers: &str) {
    pair.raw(name, &request(path, host, headers));
}
