//! The status of a head: unusual ones, redirects, and pages for errors.

use serde_json::json;
use wsgid_tests::{Json, Log, On};

use crate::server::{answers, path};

pub(crate) fn statuses(on: &mut On<'_>) {
    for (line, number, reason) in [
        ("299 Quite Well", 299, "Quite Well"),
        ("418 I'm a teapot", 418, "I'm a teapot"),
        ("599 Nothing", 599, "Nothing"),
        ("200 ", 200, "OK"),
        ("299", 299, ""),
        ("200", 200, "OK"),
        ("404 Not Here At All", 404, "Not Here At All"),
        ("503 Later", 503, "Later"),
    ] {
        let h2 = on.transport.is_h2();
        answers(
            on,
            &format!("26: `{line}`"),
            Log::Quiet,
            &json!({"status": line}),
            |answer| {
                assert_eq!(
                    (answer.status(), answer.text().as_str()),
                    (number, "body\n"),
                    "{answer:?}"
                );
                if !h2 {
                    let got = answer
                        .head
                        .line
                        .splitn(3, ' ')
                        .nth(2)
                        .unwrap_or_default()
                        .trim();
                    assert_eq!(got, reason, "{answer:?}");
                }
            },
        );
    }
}

pub(crate) fn no_statuses(on: &mut On<'_>) {
    for line in [
        "99 Low",
        "600 High",
        "000 Zero",
        "abc",
        "2000 OK",
        "",
        "20",
        "-20 X",
        "100 Continue",
        "101 Switch",
    ] {
        answers(
            on,
            &format!("27: `{line}`"),
            Log::Any,
            &json!({"status": line}),
            |answer| {
                assert!(matches!(answer.status(), 500 | 502), "{answer:?}");
                assert!(!answer.text().contains("body\n"), "{answer:?}");
            },
        );
    }
}

pub(crate) fn injected_lines(on: &mut On<'_>) {
    for (what, headers) in [
        ("a new line", json!([["X", "a\nInjected: yes"]])),
        (
            "a return and a new line",
            json!([["X", "a\r\nInjected: yes"]]),
        ),
        ("a folded line", json!([["X", "a\r\n Injected: yes"]])),
        ("a NUL", json!([["X", "a\u{0}Injected: yes"]])),
        (
            "a whole response",
            json!([["X", "a\r\n\r\nHTTP/1.1 200 OK\r\nInjected: yes\r\n\r\n"]]),
        ),
        ("a new line in a name", json!([["X\nInjected", "yes"]])),
        ("a colon in a name", json!([["Injected: yes\r\nX", "a"]])),
        ("no name", json!([["", "Injected"]])),
        ("a space in a name", json!([["Injected X", "yes"]])),
    ] {
        answers(
            on,
            &format!("28: {what}"),
            Log::Any,
            &json!({"headers": headers}),
            |answer| {
                assert!(matches!(answer.status(), 500 | 502), "{answer:?}");
                let smuggled =
                    answer.head.fields.iter().any(|(name, value)| {
                        name.contains("Injected") || value.contains("Injected")
                    });
                assert!(
                    !smuggled && !answer.text().contains("Injected"),
                    "{answer:?}"
                );
            },
        );
    }
}

pub(crate) fn redirects(on: &mut On<'_>) {
    let spec = json!({"headers": [["Location", "/head/inside/here?q=1"], ["X-First", "gone"]], "body": ["not this"]});
    let wire = on.wire;
    let transport = on.transport;
    on.checked.case(
        &format!("38: 200 with a local Location by {transport:?}"),
        Log::Quiet,
        |_| {
            let answer = wire
                .curl(transport, &path(&spec))
                .post(b"a body".to_vec())
                .run();
            let inside = answer.json();
            assert_eq!(
                (
                    inside["REQUEST_METHOD"].as_str(),
                    inside["CONTENT_LENGTH"].as_str()
                ),
                (Some("GET"), None)
            );
            assert_eq!(
                (
                    inside["PATH_INFO"].as_str(),
                    inside["QUERY_STRING"].as_str()
                ),
                (Some("/inside/here"), Some("q=1"))
            );
            assert_eq!(answer.head.field("Location"), None, "{answer:?}");
        },
    );
    for (status, location) in [
        ("302 Found", "/elsewhere"),
        ("201 Created", "/made/1"),
        ("301 Moved", "http://example.org/"),
    ] {
        let spec = json!({"status": status, "headers": [["Location", location]]});
        answers(
            on,
            &format!("38: {status} with a Location"),
            Log::Quiet,
            &spec,
            |answer| {
                assert_eq!(
                    (answer.status().to_string().as_str(), answer.text().as_str()),
                    (&status[..3], "body\n")
                );
                assert_eq!(answer.head.all("Location"), [location], "{answer:?}");
            },
        );
    }
}

pub(crate) fn error_pages(on: &mut On<'_>) {
    let at = |mount: &str, spec: Json| format!("{mount}{}", &path(&spec)[5..]);
    let not_found = json!({"status": "404 Not Found", "headers": [["Set-Cookie", "a=1"]], "body": ["own page"]});
    on.gets("39: an error page of httpd, if asked for", Log::Quiet, |get| {
        let answer = get(&at("/overridden", not_found.clone()));
        // The page is an application: what it says counts.
        assert_eq!(answer.status(), 200, "{answer:?}");
        assert!(answer.text().contains("\"REDIRECT_STATUS\": \"404\""), "40: the page knows why: {answer:?}");
        assert!(answer.text().contains("\"REQUEST_METHOD\": \"GET\""), "{answer:?}");
        let failed = get(&at("/overridden", json!({"status": "500 Own", "body": ["own page"]})));
        assert_eq!((failed.status(), failed.text().as_str()), (500, "five hundred"));
        let who = get(&at(
            "/overridden",
            json!({"status": "401 Who", "headers": [["WWW-Authenticate", "Basic realm=\"x\""]]}),
        ));
        assert_eq!((who.status(), who.text().as_str()), (401, "who are you"));
        assert_eq!(who.head.field("WWW-Authenticate"), Some("Basic realm=\"x\""), "{who:?}");
        let fine = get(&at("/overridden", json!({})));
        assert_eq!((fine.status(), fine.text().as_str()), (200, "body\n"));
    });
    on.gets(
        "39: the application's own page, if not",
        Log::Quiet,
        |get| {
            let answer = get(&path(&not_found));
            assert_eq!(
                (
                    answer.status(),
                    answer.text().as_str(),
                    answer.head.field("Set-Cookie")
                ),
                (404, "own page", Some("a=1"))
            );
        },
    );
    on.gets("40: an error page that fails too", Log::Any, |get| {
        let answer = get(&at("/failing", not_found.clone()));
        assert!(matches!(answer.status(), 404 | 500), "{answer:?}");
        assert!(
            answer.complete() && !answer.text().contains("Traceback"),
            "{answer:?}"
        );
    });
}
