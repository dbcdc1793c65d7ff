//! Request bodies: however they are sent, read, broken off or ignored. The
//! numbers are those of the list of cases that the project keeps.

use std::time::Duration;

use wsgid_tests::bodies::{bytes, calls, post_head, seen, sha256};
use wsgid_tests::nghttp::unread;
use wsgid_tests::pattern::Checker;
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{
    Checked, Json, Limit, Log, Mpm, Raw, Request, Transport, Wire, case, on_every_mpm,
};

const SOON: Duration = Duration::from_secs(15);

fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |builder, _| {
        builder
            .load("reqtimeout")
            .line("RequestReadTimeout header=0 body=0")
    })
}

#[test]
fn bodies_arrive_by_every_transport_on_every_mpm() {
    on_every_mpm(Limit::seconds(200), move |mpm| {
        let (_site, wire, mut checked) = wire(mpm).checked();
        for transport in transports(mpm) {
            every_size(&mut checked, &wire, *transport);
            unread_uploads(&mut checked, &wire, *transport);
        }
        checked.finish();
    });
}

fn every_size(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    checked.case(&format!("1 {transport:?}: no body"), Log::Quiet, |_| {
        let answer = wire.curl(transport, "/body/read").run().json();
        assert_eq!(
            (&answer["length"], &answer["content_length"]),
            (&0.into(), &Json::Null)
        );
        assert_eq!(
            (&answer["terminated"], &answer["again"]),
            (&true.into(), &"".into())
        );
    });
    for size in [0, 1, 10, 65_535, 65_536, 65_537, 10 * 1024 * 1024] {
        let body = bytes(size);
        checked.case(
            &format!("2 {transport:?}: {size} bytes with Content-Length"),
            Log::Quiet,
            |_| {
                for path in ["/body/read", "/body/sized", "/validated/body/sized"] {
                    let answer = wire.curl(transport, path).post(body.clone()).run().json();
                    assert_eq!(answer["length"], size, "{path}");
                    assert_eq!(answer["sha256"], sha256(&body), "{path}");
                }
            },
        );
        checked.case(
            &format!("3 {transport:?}: {size} bytes of unknown length"),
            Log::Quiet,
            |_| {
                let answer = wire
                    .curl(transport, "/body/read")
                    .post_unknown_length(body.clone())
                    .run()
                    .json();
                assert_eq!(
                    (&answer["length"], &answer["content_length"]),
                    (&size.into(), &Json::Null)
                );
                assert_eq!(
                    (answer["sha256"].as_str(), &answer["terminated"]),
                    (Some(sha256(&body).as_str()), &true.into())
                );
            },
        );
    }
    if !transport.is_h2() {
        checked.case(
            &format!("3 {transport:?}: chunked and not allowed"),
            Log::Any,
            |_| {
                let answer = wire
                    .curl(transport, "/strict/read")
                    .post_unknown_length(bytes(10))
                    .run();
                assert_eq!(answer.status(), 411);
            },
        );
    }
}

fn unread_uploads(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    checked.case(
        &format!("15 {transport:?}: an early refusal"),
        Log::Quiet,
        |_| {
            let (complete, text) = unread(
                wire,
                transport,
                "/body/ignore?status=401+Unauthorized",
                bytes(3_000_000),
                true,
            );
            let text = String::from_utf8_lossy(&text).into_owned();
            assert!(
                complete && text.contains(" 401") && text.contains("ignored\n"),
                "{text}"
            );
        },
    );
    checked.case(
        &format!("18 {transport:?}: a flood against an upload that nobody reads"),
        Log::Quiet,
        |_| {
            let (complete, body) = unread(
                wire,
                transport,
                "/body/flood?length=26000000",
                bytes(20_000_000),
                false,
            );
            assert!(complete, "{} bytes came", body.len());
            let mut checker = Checker::default();
            checker.feed(&body);
            checker.assert_exact(26_000_000);
        },
    );
}

#[test]
fn reading_is_what_pep_3333_says() {
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        let long = "x".repeat(200_000) + "\nend";
        let table: &[(&str, &str, Json)] = &[
            (
                "read:3,read:-1,read,read:5",
                "abcdefg",
                vec!["abc", "defg", "", ""].into(),
            ),
            (
                "read:0,read:2,read:0,read",
                "abc",
                vec!["", "ab", "", "c"].into(),
            ),
            (
                "readline,readline,readline,readline",
                "a\nbb\n\n",
                vec!["a\n", "bb\n", "\n", ""].into(),
            ),
            (
                "readline:2,readline:2,readline:9,readline:1",
                "abc\ndef",
                vec!["ab", "c\n", "def", ""].into(),
            ),
            ("readline:0,readline:-1", "a\nb", vec!["", "a\n"].into()),
            (
                "readlines",
                "a\n\nb",
                serde_json::json!([["a\n", "\n", "b"]]),
            ),
            (
                "readlines:3,readlines",
                "a\nbb\ncc\nd",
                serde_json::json!([["a\n", "bb\n"], ["cc\n", "d"]]),
            ),
            (
                "next,next,next",
                "a\nb",
                serde_json::json!(["a\n", "b", null]),
            ),
            (
                "read:1,readline,next,read",
                "ab\nc\nd\ne",
                vec!["a", "b\n", "c\n", "d\ne"].into(),
            ),
            ("readline,read", "\r\nb", vec!["\r\n", "b"].into()),
            ("read:100", "short", vec!["short"].into()),
            (
                "readline:5,readline,readline",
                &long,
                vec!["xxxxx", &(long[5..200_001]), "end"].into(),
            ),
        ];
        for (calls, body, expected) in table {
            for chunked in [false, true] {
                checked.case(&format!("{calls} chunked={chunked}"), Log::Quiet, |httpd| {
                    let path = format!("/body/ways?calls={calls}");
                    let request = if chunked {
                        let pieces: Vec<&[u8]> =
                            body.as_bytes().chunks(3.max(body.len() / 7)).collect();
                        Request::post_chunks(&path, &pieces)
                    } else {
                        Request::post(&path, *body)
                    };
                    assert_eq!(&httpd.client().send(&request).unwrap().json(), expected);
                });
            }
        }
        checked.case("streams kept over the end of their request", Log::Any, |httpd| {
            assert_eq!(httpd.client().send(&Request::post("/body/keep", "abc")).unwrap().text(), "kept\n");
            let results = httpd.get("/body/kept").json();
            let expected =
                serde_json::json!({"read": "RuntimeError", "readline": "RuntimeError", "write": "RuntimeError"});
            assert_eq!(results, expected);
        });
        checked.finish();
    });
}

#[test]
fn framing_is_strict() {
    on_every_mpm(Limit::seconds(120), move |mpm| {
        let (_site, _, mut checked) = wire(mpm).checked();
        checked.case("4: trailers", Log::Quiet, |httpd| {
            let request = post_head(
                "/body/read",
                "Transfer-Encoding: chunked\r\nConnection: close\r\n",
            ) + "5\r\nhello\r\n0\r\nX-Trailer: yes\r\n\r\n";
            let text = exchange(httpd.address(), request, SOON);
            assert!(
                text.starts_with("HTTP/1.1 200") && text.contains("\"length\": 5"),
                "{text}"
            );
        });
        for coding in ["gzip", "gzip, chunked", "identity", "chunked, chunked"] {
            checked.case(
                &format!("5: Transfer-Encoding {coding}"),
                Log::Any,
                |httpd| {
                    let id = coding.replace([',', ' '], "_");
                    let head = post_head(
                        &format!("/body/called?id={id}"),
                        &format!("Transfer-Encoding: {coding}\r\n"),
                    );
                    let text = exchange(
                        httpd.address(),
                        head + "5\r\nhello\r\n0\r\n\r\n",
                        Duration::from_secs(3),
                    );
                    let status = text.get(9..12).unwrap_or_default();
                    assert!(["501", "400"].contains(&status), "{text}");
                    assert_eq!(calls(httpd, &id), 0);
                },
            );
        }
        checked.case("6: Content-Length and chunked", Log::Any, |httpd| {
            let head = post_head(
                "/body/read",
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            );
            let mut raw = Raw::connect(httpd.address());
            raw.send(head + "5\r\nhello\r\n0\r\n\r\n");
            assert!(
                raw.wait_for_close(SOON),
                "the connection stayed open: {}",
                raw.text()
            );
            let text = raw.text();
            assert!(
                text.contains("\"length\": 5") || text.starts_with("HTTP/1.1 400"),
                "{text}"
            );
        });
        checked.case("10: a chunk size that is none", Log::Any, |httpd| {
            let head = post_head("/body/broken?id=chunk", "Transfer-Encoding: chunked\r\n");
            let text = exchange(
                httpd.address(),
                head + "5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n",
                SOON,
            );
            assert!(text.starts_with("HTTP/1.1 400"), "{text}");
            assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
            assert_eq!(seen(httpd, "chunk")["oserror"], true);
        });
        for (name, request) in smuggled() {
            checked.case(&format!("24: {name}"), Log::Any, |httpd| {
                let id = format!("smuggled_{name}");
                let _ = exchange(
                    httpd.address(),
                    request.replace("ID", &id),
                    Duration::from_secs(2),
                );
                assert_eq!(calls(httpd, &id), 0, "a hidden request was served");
            });
        }
        checked.finish();
    });
}

const HIDDEN: &str = "GET /body/called?id=ID HTTP/1.1\r\nHost: x\r\n\r\n";

/// Each hides a GET of `/body/called?id=ID` in what one reading of the rules
/// takes for a body or a header.
fn smuggled() -> Vec<(&'static str, String)> {
    [hidden_by_lengths(), hidden_by_codings()].concat()
}

fn hidden_by_lengths() -> Vec<(&'static str, String)> {
    let post = |fields: &str| post_head("/body/read", fields) + HIDDEN;
    vec![
        (
            "two_lengths",
            post(&format!(
                "Content-Length: 0\r\nContent-Length: {}\r\n",
                HIDDEN.len()
            )),
        ),
        ("signed_length", post("Content-Length: +0\r\n")),
        ("negative_length", post("Content-Length: -1\r\n")),
        ("listed_length", post("Content-Length: 0, 0\r\n")),
        (
            "folded",
            post(&format!(
                "X: a\r\n Content-Length: 0\r\nContent-Length: {}\r\n",
                HIDDEN.len()
            )),
        ),
        (
            "nul",
            post(&format!("X: a\0b\r\nContent-Length: {}\r\n", HIDDEN.len())),
        ),
    ]
}

fn hidden_by_codings() -> Vec<(&'static str, String)> {
    let post = |fields: &str, body: &str| post_head("/body/read", fields) + body;
    vec![
        (
            "cl_te",
            post(
                &format!(
                    "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                    5 + HIDDEN.len()
                ),
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "te_te",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                &format!("0\r\n\r\n{HIDDEN}"),
            ),
        ),
        (
            "te_space",
            post(
                &format!(
                    "Content-Length: {}\r\nTransfer-Encoding : chunked\r\n",
                    HIDDEN.len()
                ),
                HIDDEN,
            ),
        ),
        (
            "bare_return",
            post(
                &format!(
                    "X: a\rTransfer-Encoding: chunked\r\nContent-Length: {}\r\n",
                    HIDDEN.len()
                ),
                HIDDEN,
            ),
        ),
        (
            "vertical_tab",
            post(
                &format!(
                    "Transfer-Encoding: \x0bchunked\r\nContent-Length: {}\r\n",
                    HIDDEN.len()
                ),
                HIDDEN,
            ),
        ),
        (
            "huge_chunk",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("fffffffffffffffff\r\n{HIDDEN}"),
            ),
        ),
        (
            "chunk_extension",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("{:x};a=\"\n0\n\n\"\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len()),
            ),
        ),
    ]
}

#[test]
fn continue_is_said_once_and_only_when_the_body_is_wanted() {
    on_every_mpm(Limit::default(), move |mpm| {
        let (_site, _, mut checked) = wire(mpm).checked();
        let expecting = |path: &str, len: usize| {
            post_head(
                path,
                &format!("Content-Length: {len}\r\nExpect: 100-continue\r\n"),
            )
        };
        for len in [5, 200_000] {
            checked.case(&format!("14: read, {len} bytes"), Log::Quiet, |httpd| {
                let mut raw = Raw::connect(httpd.address());
                raw.send(expecting("/body/read", len));
                assert!(
                    raw.wait_for("HTTP/1.1 100 Continue\r\n\r\n", SOON),
                    "{}",
                    raw.text()
                );
                raw.send(vec![b'x'; len]);
                assert!(
                    raw.wait_for(&format!("\"length\": {len}"), SOON),
                    "{}",
                    raw.text()
                );
                assert_eq!(
                    raw.text().matches("HTTP/1.1 100").count(),
                    1,
                    "{}",
                    raw.text()
                );
                assert_eq!(
                    raw.text().matches("HTTP/1.1 200").count(),
                    1,
                    "{}",
                    raw.text()
                );
            });
        }
        checked.case("15: refused without reading", Log::Quiet, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(expecting("/body/ignore?status=401+Unauthorized", 100_000));
            assert!(raw.wait_for_close(SOON), "{}", raw.text());
            assert!(raw.text().starts_with("HTTP/1.1 401"), "{}", raw.text());
            let closes = |line: &str| line.starts_with("Connection: ") && line.contains("close");
            assert!(raw.text().lines().any(closes), "{}", raw.text());
        });
        for (path, expected) in [
            ("/body/headers-first", "body:12345"),
            ("/body/headers-first?piece=", "body:12345"),
        ] {
            checked.case(&format!("16: {path}"), Log::Quiet, |httpd| {
                let mut raw = Raw::connect(httpd.address());
                raw.send(expecting(path, 5));
                raw.wait_for("\r\n\r\n", Duration::from_secs(2));
                raw.send("12345");
                assert!(raw.wait_for(expected, SOON), "{}", raw.text());
                let (_, after) = raw.text().split_once("HTTP/1.1 200").expect("an answer");
                assert!(!after.contains("100 Continue"), "{}", raw.text());
            });
        }
        checked.case("17: HTTP/1.0 knows no 100", Log::Quiet, |httpd| {
            let head = expecting("/body/read", 5).replace("HTTP/1.1", "HTTP/1.0") + "12345";
            let text = exchange(httpd.address(), head, SOON);
            assert!(
                !text.contains(" 100 ") && text.contains("\"length\": 5"),
                "{text}"
            );
        });
        checked.finish();
    });
}
