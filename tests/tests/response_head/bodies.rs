//! How long the body of a response is: HEAD, no body at all, and Content-Length.

use serde_json::json;
use wsgid_tests::{Json, Log, On};

use crate::server::answers;

pub(crate) fn head_requests(on: &mut On<'_>) {
    let wire = on.wire;
    let transport = on.transport;
    for (mount, length, method) in [
        ("/head", true, "HEAD"),
        ("/head", false, "HEAD"),
        ("/mapped", true, "GET"),
        ("/mapped", false, "GET"),
        ("/unmapped", true, "HEAD"),
        ("/unmapped", false, "HEAD"),
        // A filter needs the body that GET has.
        ("/deflated", false, "GET"),
    ] {
        let path = format!("{mount}/head?{}", if length { "length" } else { "" });
        on.checked.case(
            &format!("33: HEAD {path} by {transport:?}"),
            Log::Quiet,
            |_| {
                let head = wire.curl(transport, &path).head().run();
                let get = wire.curl(transport, &path).run();
                assert!(head.complete() && head.body.is_empty(), "{head:?}");
                assert_eq!(head.head.field("X-Method"), Some(method), "{head:?}");
                assert_eq!(
                    head.head.field("Content-Type"),
                    get.head.field("Content-Type")
                );
                if length {
                    assert_eq!(head.head.field("Content-Length"), Some("26"), "{head:?}");
                }
                assert_eq!(get.text(), "the same for HEAD and GET\n");
            },
        );
    }
}

/// The fields leave with the first piece; nothing of the others may follow, which
/// an HTTP/2 client would take for a breach of the protocol.
pub(crate) fn head_of_a_stream(on: &mut On<'_>) {
    let wire = on.wire;
    let transport = on.transport;
    // An HTTP/2 client has all it wants and leaves; write() tells the application so.
    on.checked.case(
        &format!("33: HEAD of a large stream by {transport:?}"),
        Log::Any,
        |_| {
            for path in [
                "/stream/download?size=3000000",
                "/stream/timed?count=4&pause=0.02",
                "/stream/writes?count=30&id=head",
            ] {
                for _ in 0..6 {
                    let head = wire.curl(transport, path).head().run();
                    assert!(
                        head.complete() && head.status() == 200 && head.body.is_empty(),
                        "{path}: {head:?}"
                    );
                }
            }
        },
    );
}

pub(crate) fn without_body(on: &mut On<'_>) {
    for (status, body) in [
        ("204 No Content", json!(["not allowed"])),
        ("304 Not Modified", json!(["nor here"])),
        ("204 No Content", json!([])),
    ] {
        let spec = json!({"status": status, "body": body, "headers": [["Content-Type", "text/plain"], ["Content-Length", "11"], ["ETag", "\"e\""]]});
        let number: u16 = status[..3].parse().expect("a number");
        // A body that is missing does not matter where none may be.
        answers(
            on,
            &format!("34: {status} {body}"),
            Log::Quiet,
            &spec,
            |answer| {
                assert!(answer.complete(), "{answer:?}");
                assert_eq!(
                    (answer.status(), answer.body.len()),
                    (number, 0),
                    "{answer:?}"
                );
                assert_eq!(answer.head.field("Transfer-Encoding"), None, "{answer:?}");
                if number == 204 {
                    assert_eq!(answer.head.field("Content-Length"), None, "{answer:?}");
                }
            },
        );
    }
    let wire = on.wire;
    let transport = on.transport;
    on.checked.case(
        &format!("41: a conditional GET by {transport:?}"),
        Log::Quiet,
        |_| {
            let first = wire.curl(transport, "/head/etag").run();
            assert_eq!(
                (first.status(), first.head.field("ETag")),
                (200, Some("\"one\""))
            );
            let second = wire
                .curl(transport, "/head/etag")
                .header("If-None-Match: \"one\"")
                .run();
            assert_eq!(
                (
                    second.status(),
                    second.head.field("ETag"),
                    second.body.len()
                ),
                (304, Some("\"one\""), 0)
            );
            assert!(second.complete());
        },
    );
}

pub(crate) fn lengths(on: &mut On<'_>) {
    let of = |length: Json, body: Json| {
        let lengths: Vec<Json> = length
            .as_array()
            .map_or_else(|| vec![length.clone()], Clone::clone);
        let headers: Vec<Json> = lengths
            .iter()
            .map(|length| json!(["Content-Length", length]))
            .collect();
        json!({"headers": headers, "body": body, "generator": body.as_array().is_some_and(|body| body.len() > 1)})
    };
    for (what, spec) in [
        ("in one piece", of(json!("3"), json!(["abcdef"]))),
        ("in pieces", of(json!("3"), json!(["ab", "cd", "ef"]))),
    ] {
        answers(
            on,
            &format!("35: more than announced, {what}"),
            Log::Any,
            &spec,
            |answer| {
                assert!(answer.complete(), "{answer:?}");
                assert_eq!(
                    (answer.text().as_str(), answer.head.field("Content-Length")),
                    ("abc", Some("3")),
                    "{answer:?}"
                );
            },
        );
    }
    for (what, spec) in [
        ("in one piece", of(json!("10"), json!(["abc"]))),
        ("in pieces", of(json!("10"), json!(["a", "bc"]))),
        ("nothing", of(json!("10"), json!([]))),
    ] {
        answers(
            on,
            &format!("35: less than announced, {what}"),
            Log::Any,
            &spec,
            |answer| {
                assert!(
                    !answer.complete() || answer.status() >= 500,
                    "it looks complete: {answer:?}"
                );
            },
        );
    }
    for value in [
        json!("-1"),
        json!("abc"),
        json!("1 0"),
        json!("0x3"),
        json!(["3", "4"]),
        json!("99999999999999999999999999"),
    ] {
        answers(
            on,
            &format!("35: Content-Length {value}"),
            Log::Any,
            &of(value, json!(["abc"])),
            |answer| {
                assert!(matches!(answer.status(), 500 | 502), "{answer:?}");
            },
        );
    }
    answers(
        on,
        "35: the same Content-Length twice",
        Log::Any,
        &of(json!(["3", "3"]), json!(["abc"])),
        |answer| {
            assert!(
                matches!(answer.status(), 500 | 502) || answer.head.all("Content-Length") == ["3"],
                "{answer:?}"
            );
        },
    );
}
