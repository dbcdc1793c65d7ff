//! Every case and every option has a test, every test that is said to show one
//! exists, and `tests/CASES.md` says the same as the list
//! (`UPDATE_DOCS=1 cargo test -p wsgid-tests --test claims`).

use std::fs;
use std::path::Path;

use wsgid_protocol::option::TABLE;
use wsgid_tests::claims::cases::{CASES, On};
use wsgid_tests::claims::options::{ELSEWHERE, SEEN};
use wsgid_tests::listed::listed;

#[test]
fn every_test_that_is_named_exists() {
    let all = listed(&["-p", "wsgid-tests"]);
    let of_cases = CASES
        .iter()
        .flat_map(|case| [case.tests, case.also].concat());
    let of_options = SEEN.iter().map(|(test, _)| *test);
    let missing: Vec<&str> = of_cases
        .chain(of_options)
        .filter(|test| !all.contains(&("tests".to_owned(), (*test).to_owned())))
        .collect();
    assert!(missing.is_empty(), "there are no such tests: {missing:#?}");
}

#[test]
fn the_cases_are_numbered_and_have_tests() {
    assert!(CASES.iter().map(|case| case.number).eq(1..=82));
    for case in CASES {
        let elsewhere = matches!(case.on, On::Elsewhere(_));
        assert_eq!(case.tests.is_empty(), elsewhere, "{case:?}");
    }
}

#[test]
fn every_option_has_a_test() {
    let seen: Vec<&str> = SEEN
        .iter()
        .flat_map(|(_, options)| *options)
        .copied()
        .collect();
    let named: Vec<&str> = ELSEWHERE
        .iter()
        .map(|(option, _)| *option)
        .chain(seen)
        .collect();
    for row in TABLE {
        assert!(named.contains(&row.name), "`{}` has no test", row.name);
    }
    for option in named {
        assert!(
            TABLE.iter().any(|row| row.name == option),
            "`{option}` is no option"
        );
    }
}

#[test]
fn the_page_is_what_the_list_says() {
    let text = page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CASES.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).expect("the page can be written");
    }
    let have = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        have == text,
        "tests/CASES.md is old; UPDATE_DOCS=1 cargo test -p wsgid-tests --test claims"
    );
}

fn page() -> String {
    let mut text = String::from(
        "# The cases of WSGI over HTTP\n\n\
         Made from `tests/src/claims/cases.rs`; a test that does not run where it is said to fails. After every case of\n\
         a suite that uses `Checked`, no process of httpd may have died, the supervisor must be the same, the error log\n\
         must have no line that the case did not name, and at the end no descriptor and no running or waiting request\n\
         may be left.\n\n\
         *All* is event, worker and prefork, each by HTTP/1.1, HTTP/1.1 over TLS, h2c and h2 over TLS; prefork knows no\n\
         HTTP/2.\n\n\
         | case | expected | on | tests |\n|---|---|---|---|\n",
    );
    for case in CASES {
        let on = match case.on {
            On::All => "all".to_owned(),
            On::Mpms(why) => format!("every MPM ({why})"),
            On::Once(why) => format!("event ({why})"),
            On::Elsewhere(why) => format!("not here: {why}"),
        };
        let tests = [case.tests, case.also].concat();
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        text += &format!(
            "| {} | {} | {on} | {} |\n",
            case.number,
            case.expected,
            tests.join(", ")
        );
    }
    text
}
