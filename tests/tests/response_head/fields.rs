//! The fields of a head: kept, refused, removed, early or too large.

use serde_json::json;
use wsgid_tests::{Log, On};

use crate::server::{answers, path};

pub(crate) fn fields(on: &mut On<'_>) {
    let spec = json!({"status": "401 Unauthorized", "headers": [
        ["Set-Cookie", "a=1; Path=/"], ["Set-Cookie", "b=2, c"], ["Link", "</x>; rel=preload"], ["Link", "</y>"],
        ["WWW-Authenticate", "Basic realm=\"a\""], ["WWW-Authenticate", "Digest realm=\"b\""], ["X-Empty", ""],
        ["x-CaSe", "kept"], ["Content-Type", "text/plain"], ["X-Latin", "caf\u{e9}"]]});
    answers(on, "25: repeated fields", Log::Quiet, &spec, |answer| {
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.head.all("Set-Cookie"), ["a=1; Path=/", "b=2, c"]);
        assert_eq!(
            answer.head.all("WWW-Authenticate"),
            ["Basic realm=\"a\"", "Digest realm=\"b\""]
        );
        assert_eq!(answer.head.all("Link"), ["</x>; rel=preload", "</y>"]);
        assert_eq!(answer.head.all("X-Empty"), [""]);
        assert_eq!(answer.head.all("x-case"), ["kept"]);
    });
    let spec = json!({"headers": [["Date", "Thu, 01 Jan 1970 00:00:00 GMT"], ["Server", "mine"]]});
    answers(
        on,
        "30: Date and Server are the server's",
        Log::Quiet,
        &spec,
        |answer| {
            assert!(
                !answer.head.field("Date").unwrap_or("1970").contains("1970"),
                "{answer:?}"
            );
            assert!(
                answer
                    .head
                    .field("Server")
                    .is_some_and(|server| server.starts_with("Apache")),
                "{answer:?}"
            );
        },
    );
    answers(
        on,
        "31: no Content-Type",
        Log::Quiet,
        &json!({"headers": []}),
        |answer| {
            assert_eq!(answer.head.field("Content-Type"), None, "{answer:?}");
            assert_eq!(answer.text(), "body\n");
        },
    );
    let html = format!(
        "/charset{}",
        &path(&json!({"headers": [["Content-Type", "text/html"]]}))[5..]
    );
    on.gets("32: AddDefaultCharset", Log::Quiet, |get| {
        assert_eq!(
            get(&html).head.field("Content-Type"),
            Some("text/html; charset=utf-8")
        );
    });
}

pub(crate) fn hop_by_hop(on: &mut On<'_>) {
    for (name, value) in [
        ("Transfer-Encoding", "chunked"),
        ("Transfer-Encoding", "gzip"),
        ("Keep-Alive", "timeout=99"),
        ("Connection", "X-Private"),
        ("Upgrade", "websocket"),
        ("Trailer", "X-Sum"),
        ("TE", "trailers"),
        ("Proxy-Authenticate", "Basic"),
        ("Proxy-Connection", "keep-alive"),
    ] {
        let spec = json!({"headers": [[name, value], ["Content-Type", "text/plain"]], "generator": true, "body": ["a", "b"]});
        answers(
            on,
            &format!("29: {name}: {value}"),
            Log::Any,
            &spec,
            |answer| {
                assert!(answer.complete(), "{answer:?}");
                assert_eq!(
                    (answer.status(), answer.text().as_str()),
                    (200, "ab"),
                    "{answer:?}"
                );
                let all = answer.head.all(name);
                let own = name == "Transfer-Encoding" && all == ["chunked"];
                assert!(own || !all.contains(&value), "{answer:?}");
            },
        );
    }
}

pub(crate) fn hints(on: &mut On<'_>) {
    let spec = json!({"hints": [[["Link", "</style.css>; rel=preload"], ["Link", "</a.js>; rel=preload"]]],
        "headers": [["Content-Type", "text/plain"], ["X-Final", "yes"], ["Link", "</last>"]]});
    answers(on, "37: early hints", Log::Quiet, &spec, |answer| {
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "body\n"),
            "{answer:?}"
        );
        assert_eq!(
            answer
                .interim
                .iter()
                .map(|head| head.status)
                .collect::<Vec<_>>(),
            [103],
            "{answer:?}"
        );
        // mod_http2 joins them, as a list may be: see the test below that has no part of ours.
        assert_eq!(
            answer.interim[0].all("Link").join(", "),
            "</style.css>; rel=preload, </a.js>; rel=preload"
        );
        assert_eq!(
            (answer.head.field("X-Final"), answer.head.all("Link")),
            (Some("yes"), vec!["</last>"]),
            "{answer:?}"
        );
    });
}

pub(crate) fn large_heads(on: &mut On<'_>) {
    on.gets(
        "36: heads as large as they may be, and larger",
        Log::Any,
        |get| {
            for (fields, length, fits) in [
                (60, 1000, true),
                (1, 32_000, true),
                (1, 40_000, false),
                (400, 1000, false),
                (600, 10, true),
                (4097, 10, false),
            ] {
                let answer = get(&format!("/head/many?fields={fields}&length={length}"));
                let expected: &[u16] = if fits { &[200] } else { &[500, 502] };
                assert!(
                    expected.contains(&answer.status()),
                    "{fields} × {length}: {answer:?}"
                );
                if fits {
                    let all = answer
                        .head
                        .fields
                        .iter()
                        .filter(|(name, _)| name.to_lowercase().starts_with("x-many-"));
                    assert_eq!(all.count(), fields);
                }
            }
        },
    );
}
