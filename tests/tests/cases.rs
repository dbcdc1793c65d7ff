//! The list of cases, and a check that every one of them has a test: a test says
//! `Case 46.` or `Cases 46, 47.` in its doc comment. What it runs on is read from
//! its text: `Mpm::ALL` or `on_every_mpm(`, and `transports(`, `on_each(` or `Transport::ALL`,
//! else the event MPM and HTTP/1.1 in clear. `tests/CASES.md` is made from both
//! (`UPDATE_DOCS=1 cargo test -p wsgid-tests --test cases`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a case has to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    /// On every MPM by every transport.
    All,
    /// On every MPM, by one transport: why.
    Mpms(&'static str),
    /// Once: why.
    Once(&'static str),
    /// Not by a test of this repository: why.
    Elsewhere(&'static str),
}
use On::{All, Elsewhere, Mpms, Once};

const ONE: On = Mpms("the bytes of HTTP/1.1");
const EXPECT: On = Mpms("HTTP/2 has no 100 to wait for");
const STALL: On = Mpms("mod_reqtimeout does not look into HTTP/2 streams");
const CONFIGURATION: On = Once("configuration, before any MPM or protocol");
const MAPPING: On = Once("hooks before the handler, the same for all");

/// Number, what is expected, where.
const CASES: &[(u32, &str, On)] = &[
    (1, "no body: `read()` gives nothing", All),
    (2, "bodies with Content-Length arrive byte for byte", All),
    (
        3,
        "bodies of unknown length; 411 without WSGIChunkedRequest",
        All,
    ),
    (4, "trailers do no harm", ONE),
    (5, "codings other than chunked: 501", ONE),
    (
        6,
        "Content-Length and chunked together: chunked counts, then the connection ends",
        ONE,
    ),
    (
        7,
        "more than LimitRequestBody: 413 without the application",
        All,
    ),
    (
        8,
        "a body that grows over LimitRequestBody: 413, the read raises",
        All,
    ),
    (
        9,
        "the same after the response has begun: the response breaks",
        All,
    ),
    (10, "a chunk header that is none: 400, the read raises", ONE),
    (
        11,
        "a client that stalls in its body: 408 by RequestReadTimeout",
        STALL,
    ),
    (12, "a client that leaves in its body: the read raises", All),
    (
        13,
        "half closed after a whole request: an ordinary answer",
        ONE,
    ),
    (
        14,
        "Expect: exactly one 100 when the application reads",
        EXPECT,
    ),
    (
        15,
        "an early refusal: no 100, the body stays with the client",
        All,
    ),
    (
        16,
        "Expect, head before the first read: no 100 inside the body",
        EXPECT,
    ),
    (17, "Expect on HTTP/1.0: ignored", EXPECT),
    (
        18,
        "a flood against an upload that nobody reads: all of it arrives",
        All,
    ),
    (19, "50 MB back while they come", All),
    (20, "one byte read of 5 MB: an ordinary answer", All),
    (21, "a slow small POST holds no Python thread", All),
    (
        22,
        "an application that reads late, after body= has passed",
        STALL,
    ),
    (23, "a body that grows when it is inflated", All),
    (24, "doubtful framing: never two requests", ONE),
    (25, "repeated fields stay separate and in order", All),
    (26, "unusual statuses pass", All),
    (27, "statuses that are none: an error", All),
    (28, "CR, LF, NUL in fields: an error, nothing injected", All),
    (29, "fields of the connection are removed", All),
    (30, "Date and Server are the server's", All),
    (31, "no Content-Type: none from the script's name", All),
    (32, "AddDefaultCharset and output filters work", All),
    (
        33,
        "HEAD: the fields of GET, no body; WSGIMapHEADToGET",
        All,
    ),
    (34, "204 and 304 have no body; the connection is kept", All),
    (35, "Content-Length is policed", All),
    (36, "large heads, and too large ones", All),
    (37, "103 Early Hints", All),
    (38, "Location with 200 and with 302", All),
    (39, "WSGIErrorOverride", All),
    (
        40,
        "an application as ErrorDocument, also a failing one",
        All,
    ),
    (41, "a conditional GET that the application answers", All),
    (42, "small responses in one piece with their length", All),
    (43, "each yielded piece arrives at once", All),
    (44, "large streams in constant memory", All),
    (45, "a slow client holds no Python thread", ONE),
    (46, "a worker killed before the head: 502", All),
    (47, "a worker killed later: a broken transfer", All),
    (
        48,
        "the same with Content-Length, deflate, ratelimit and behind mod_proxy",
        All,
    ),
    (49, "an exception before and after the first piece", All),
    (
        50,
        "an application that hangs: 504, or a broken transfer",
        All,
    ),
    (51, "the supervisor killed during many requests", All),
    (52, "a queue that is too long or too slow: 503, 504", All),
    (
        53,
        "a client that leaves: not served, or `close()` called once",
        All,
    ),
    (54, "pipelined requests, the first one slow", ONE),
    (55, "frames that no worker of ours would send", All),
    (56, "a panic in the module: 500, the child lives", All),
    (57, "a file by sendfile, and without", All),
    (58, "ranges of a file", All),
    (59, "files over TLS, HTTP/2 and DEFLATE", All),
    (
        60,
        "10,000 files: no descriptor is left",
        Mpms("descriptors do not know the protocol"),
    ),
    (61, "parts of files, files that shrink", All),
    (62, "descriptors that are no files, or too many", All),
    (
        63,
        "a test of the configuration starts and touches nothing",
        CONFIGURATION,
    ),
    (64, "each directive in each context", CONFIGURATION),
    (
        65,
        "groups of one virtual host are not another's",
        CONFIGURATION,
    ),
    (66, "names of groups made from the request", MAPPING),
    (67, "from URL to script", MAPPING),
    (68, "authentication scripts", MAPPING),
    (69, "Authorization and Proxy fields", MAPPING),
    (
        70,
        "the environ, compared with mod_wsgi",
        Once("mod_wsgi in the place of ours, by all protocols"),
    ),
    (
        71,
        "twenty graceful restarts under load",
        Mpms("connections do not know the protocol"),
    ),
    (
        72,
        "a changed option: only that group's workers, requests end",
        Mpms("control, not data"),
    ),
    (
        73,
        "a group that is taken away while it serves",
        Mpms("control, not data"),
    ),
    (
        74,
        "a restart with a long request does not wait for it",
        Mpms("control, not data"),
    ),
    (
        75,
        "stop leaves nothing behind, in bounded time",
        Mpms("control, not data"),
    ),
    (
        76,
        "a broken configuration at a reload",
        Mpms("control, not data"),
    ),
    (
        77,
        "other users, foreground, one process",
        Mpms("control, not data"),
    ),
    (
        78,
        "children that come and go under load",
        Mpms("connections do not know the protocol"),
    ),
    (
        79,
        "log rotation, piped logs",
        Once("who writes to the log does not know the MPM"),
    ),
    (
        80,
        "module and supervisor of different versions",
        Once("control, not data"),
    ),
    (
        81,
        "the same file in other distributions' httpd",
        Elsewhere(
            "it needs their machines; the ABI is checked against the installed headers (`module/tests`), \
             the package and the wheel by the suite `wheel`",
        ),
    ),
];

/// A test that names cases.
#[derive(Debug)]
struct Named {
    test: String,
    numbers: Vec<u32>,
    mpms: bool,
    transports: bool,
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All tests of the suites that name cases.
fn named() -> Vec<Named> {
    let mut files: Vec<PathBuf> = fs::read_dir(top().join("tests"))
        .expect("the suites are there")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let suites = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"));
    suites
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "cases"))
        .flat_map(|path| of_suite(path))
        .collect()
}

fn of_suite(path: &Path) -> Vec<Named> {
    let suite = path
        .file_stem()
        .expect("a file has a name")
        .to_string_lossy()
        .into_owned();
    let text = fs::read_to_string(path).expect("a suite is text");
    let lines: Vec<&str> = text.lines().collect();
    let starts = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| **line == "#[test]")
        .map(|(at, _)| at);
    starts
        .filter_map(|at| {
            let comment: Vec<&str> = lines[..at]
                .iter()
                .rev()
                .map_while(|line| line.strip_prefix("///"))
                .collect();
            let comment: String = comment.into_iter().rev().collect();
            let numbers = numbers(&comment);
            let name = lines[at..]
                .iter()
                .find_map(|line| line.strip_prefix("fn ")?.split('(').next())?;
            let body: Vec<&str> = lines[at..]
                .iter()
                .take_while(|line| **line != "}")
                .copied()
                .collect();
            let body = comment.clone() + &body.concat();
            (!numbers.is_empty()).then(|| Named {
                test: format!("{suite}::{name}"),
                numbers,
                mpms: body.contains("Mpm::ALL") || body.contains("on_every_mpm("),
                transports: ["transports(", "Transport::ALL", "on_each("]
                    .iter()
                    .any(|word| body.contains(word)),
            })
        })
        .collect()
}

/// The numbers after `Case` or `Cases`, up to the full stop.
fn numbers(comment: &str) -> Vec<u32> {
    let list = comment
        .split_once("Cases ")
        .or_else(|| comment.split_once("Case "))
        .map(|(_, rest)| rest);
    let list = list
        .and_then(|rest| rest.split(['.', ':']).next())
        .unwrap_or_default();
    list.split(", ")
        .filter_map(|word| word.trim().parse().ok())
        .collect()
}

/// The tests of each case.
fn by_number(all: &[Named]) -> BTreeMap<u32, Vec<&Named>> {
    let mut found: BTreeMap<u32, Vec<&Named>> = BTreeMap::new();
    for test in all {
        for number in &test.numbers {
            found.entry(*number).or_default().push(test);
        }
    }
    found
}

/// Whether the tests of a case together run where it has to be tried.
fn complaint(on: On, tests: &[&Named]) -> Option<&'static str> {
    match on {
        All if !tests.iter().any(|test| test.mpms && test.transports) => {
            Some("no test runs it on every MPM by every transport")
        }
        Mpms(_) if !tests.iter().any(|test| test.mpms) => Some("no test runs it on every MPM"),
        Once(_) if tests.is_empty() => Some("no test names it"),
        Elsewhere(_) if !tests.is_empty() => Some("there is a test after all"),
        _ => None,
    }
}

#[test]
fn every_case_has_a_test_where_it_makes_sense() {
    let all = named();
    let found = by_number(&all);
    let missing: Vec<String> = CASES
        .iter()
        .filter_map(|(number, what, on)| {
            let tests = found.get(number).map(Vec::as_slice).unwrap_or_default();
            complaint(*on, tests).map(|why| format!("case {number}, {what}: {why}"))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
    let unknown: Vec<&u32> = found
        .keys()
        .filter(|number| !CASES.iter().any(|(known, ..)| known == *number))
        .collect();
    assert!(unknown.is_empty(), "no such cases: {unknown:?}");
}

#[test]
fn the_cases_are_numbered_from_1_to_81() {
    assert!(CASES.iter().map(|(number, ..)| *number).eq(1..=81));
}

#[test]
fn the_page_is_what_the_list_and_the_tests_say() {
    let text = page(&named());
    let path = top().join("CASES.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).expect("the page can be written");
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        have == text,
        "tests/CASES.md is old; UPDATE_DOCS=1 cargo test -p wsgid-tests --test cases"
    );
}

fn page(all: &[Named]) -> String {
    let found = by_number(all);
    let mut text = String::from(
        "# The cases of WSGI over HTTP\n\n\
         Made from `tests/tests/cases.rs` and the doc comments of the tests. After every case of a suite that uses\n\
         `Checked`, no process of httpd may have died, the supervisor must be the same, the error log must have no line\n\
         that the case did not name, and at the end no descriptor and no running\n         or waiting request may be left.\n\n\
         *All* is event, worker and prefork, each by HTTP/1.1, HTTP/1.1 over TLS, h2c and h2 over TLS; prefork knows no\n\
         HTTP/2.\n\n\
         | case | expected | on | tests |\n|---|---|---|---|\n",
    );
    for (number, what, on) in CASES {
        let on = match on {
            All => "all".to_owned(),
            Mpms(why) => format!("every MPM ({why})"),
            Once(why) => format!("event ({why})"),
            Elsewhere(why) => format!("not here: {why}"),
        };
        let tests = found.get(number).map(Vec::as_slice).unwrap_or_default();
        let tests: Vec<String> = tests
            .iter()
            .map(|test| format!("`{}`", test.test))
            .collect();
        text += &format!("| {number} | {what} | {on} | {} |\n", tests.join(", "));
    }
    text
}
