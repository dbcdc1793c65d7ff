//! Request bodies: however they are sent, read, broken off or ignored. The
//! numbers are those of the list of cases that the project keeps.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wsgid_tests::pattern::{self, Checker};
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::{Addresses, transports};
use wsgid_tests::{Checked, Httpd, Json, Limit, Log, Mpm, Raw, Request, Transport, Wire, case, eventually, heavy_case};

const SOON: Duration = Duration::from_secs(15);

fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |builder, site| {
        builder
            .load("reqtimeout")
            .load("deflate")
            .line("RequestReadTimeout header=0 body=0")
            .mount("/limited", &site.file("body_cases.py"), "site")
            .mount("/timed", &site.file("body_cases.py"), "site")
            .mount("/inflated", &site.file("body_cases.py"), "site")
            .line("<Location /limited>\n  LimitRequestBody 100000\n  WSGIChunkedRequest On\n</Location>")
            .line("<Location /inflated>\n  SetInputFilter DEFLATE\n</Location>")
    })
}

/// What `n` bytes of the pattern are.
fn bytes(n: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(n);
    while all.len() < n {
        all.extend_from_slice(pattern::piece(all.len() as u64, (n - all.len()) as u64));
    }
    all
}

/// What the application saw of the broken body with this id.
fn seen(httpd: &Httpd, id: &str) -> Json {
    eventually(&format!("the application notes what it saw of {id}"), SOON, || {
        let seen = httpd.get(&format!("/body/seen?id={id}")).json();
        (!seen.is_null()).then_some(seen)
    })
}

fn post_head(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

#[test]
fn bodies_arrive_by_every_transport_on_every_mpm() {
    for mpm in Mpm::ALL {
        case(Limit::seconds(200), move || {
            let (_site, wire, mut checked) = wire(mpm).checked();
            for transport in transports(mpm) {
                every_size(&mut checked, &wire, *transport);
            }
            checked.finish();
        });
    }
}

fn every_size(checked: &mut Checked, wire: &Addresses, transport: Transport) {
    checked.case(&format!("1 {transport:?}: no body"), Log::Quiet, |_| {
        let answer = wire.curl(transport, "/body/read").run().json();
        assert_eq!((&answer["length"], &answer["content_length"]), (&0.into(), &Json::Null));
        assert_eq!((&answer["terminated"], &answer["again"]), (&true.into(), &"".into()));
    });
    for size in [0, 1, 10, 65_535, 65_536, 65_537, 10 * 1024 * 1024] {
        let body = bytes(size);
        checked.case(&format!("2 {transport:?}: {size} bytes with Content-Length"), Log::Quiet, |_| {
            for path in ["/body/read", "/body/sized", "/validated/body/sized"] {
                let answer = wire.curl(transport, path).post(body.clone()).run().json();
                assert_eq!(answer["length"], size, "{path}");
                assert_eq!(answer["sha256"], sha256(&body), "{path}");
            }
        });
        checked.case(&format!("3 {transport:?}: {size} bytes of unknown length"), Log::Quiet, |_| {
            let answer = wire.curl(transport, "/body/read").post_unknown_length(body.clone()).run().json();
            assert_eq!((&answer["length"], &answer["content_length"]), (&size.into(), &Json::Null));
            assert_eq!(
                (answer["sha256"].as_str(), &answer["terminated"]),
                (Some(sha256(&body).as_str()), &true.into())
            );
        });
    }
    if !transport.is_h2() {
        checked.case(&format!("3 {transport:?}: chunked and not allowed"), Log::Any, |_| {
            let answer = wire.curl(transport, "/strict/read").post_unknown_length(bytes(10)).run();
            assert_eq!(answer.status(), 411);
        });
    }
    checked.case(&format!("15 {transport:?}: an early refusal"), Log::Quiet, |_| {
        let (complete, text) = unread(wire, transport, "/body/ignore?status=401+Unauthorized", 3_000_000, true);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(complete && text.contains(" 401") && text.contains("ignored\n"), "{text}");
    });
    checked.case(&format!("18 {transport:?}: a flood against an upload that nobody reads"), Log::Quiet, |_| {
        let (complete, body) = unread(wire, transport, "/body/flood?length=26000000", 20_000_000, false);
        assert!(complete, "{} bytes came", body.len());
        let mut checker = Checker::default();
        checker.feed(&body);
        checker.assert_exact(26_000_000);
    });
}

/// A POST that is answered without being read: whether the answer was complete,
/// and its body, with its head before it if asked for. curl takes the reset that
/// tells an HTTP/2 client to stop sending for a failure (also with httpd's own
/// 404), so that is left to nghttp.
fn unread(wire: &Addresses, transport: Transport, path: &str, size: usize, head: bool) -> (bool, Vec<u8>) {
    if !transport.is_h2() {
        let curl = wire.curl(transport, path).post(bytes(size));
        let answer = if head { curl.args(&["--include"]) } else { curl }.run();
        return (answer.complete(), answer.body);
    }
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(&bytes(size)).expect("it can be written");
    let mut command = Command::new("nghttp");
    command.args(if head { &["--verbose", "--timeout=60"][..] } else { &["--timeout=60"] });
    command.arg("--data").arg(file.path()).arg(wire.url(transport, path));
    let output = command.output().expect("nghttp is installed (nghttp2-client)");
    let failed = String::from_utf8_lossy(&output.stderr).contains("not processed");
    (output.status.success() && !failed, output.stdout)
}

fn sha256(bytes: &[u8]) -> String {
    let mut child =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum is there");
    child.stdin.take().expect("it was asked for").write_all(bytes).expect("sha256sum reads");
    let output = child.wait_with_output().expect("sha256sum ends");
    String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned()
}

#[test]
fn reading_is_what_pep_3333_says() {
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        let long = "x".repeat(200_000) + "\nend";
        let table: &[(&str, &str, Json)] = &[
            ("read:3,read:-1,read,read:5", "abcdefg", vec!["abc", "defg", "", ""].into()),
            ("read:0,read:2,read:0,read", "abc", vec!["", "ab", "", "c"].into()),
            ("readline,readline,readline,readline", "a\nbb\n\n", vec!["a\n", "bb\n", "\n", ""].into()),
            ("readline:2,readline:2,readline:9,readline:1", "abc\ndef", vec!["ab", "c\n", "def", ""].into()),
            ("readline:0,readline:-1", "a\nb", vec!["", "a\n"].into()),
            ("readlines", "a\n\nb", serde_json::json!([["a\n", "\n", "b"]])),
            ("readlines:3,readlines", "a\nbb\ncc\nd", serde_json::json!([["a\n", "bb\n"], ["cc\n", "d"]])),
            ("next,next,next", "a\nb", serde_json::json!(["a\n", "b", null])),
            ("read:1,readline,next,read", "ab\nc\nd\ne", vec!["a", "b\n", "c\n", "d\ne"].into()),
            ("readline,read", "\r\nb", vec!["\r\n", "b"].into()),
            ("read:100", "short", vec!["short"].into()),
            ("readline:5,readline,readline", &long, vec!["xxxxx", &(long[5..200_001]), "end"].into()),
        ];
        for (calls, body, expected) in table {
            for chunked in [false, true] {
                checked.case(&format!("{calls} chunked={chunked}"), Log::Quiet, |httpd| {
                    let path = format!("/body/ways?calls={calls}");
                    let request = if chunked {
                        let pieces: Vec<&[u8]> = body.as_bytes().chunks(3.max(body.len() / 7)).collect();
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
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        checked.case("4: trailers", Log::Quiet, |httpd| {
            let request = post_head("/body/read", "Transfer-Encoding: chunked\r\nConnection: close\r\n")
                + "5\r\nhello\r\n0\r\nX-Trailer: yes\r\n\r\n";
            let text = exchange(httpd.address(), request, SOON);
            assert!(text.starts_with("HTTP/1.1 200") && text.contains("\"length\": 5"), "{text}");
        });
        for coding in ["gzip", "gzip, chunked", "identity", "chunked, chunked"] {
            checked.case(&format!("5: Transfer-Encoding {coding}"), Log::Any, |httpd| {
                let id = coding.replace([',', ' '], "_");
                let head = post_head(&format!("/body/called?id={id}"), &format!("Transfer-Encoding: {coding}\r\n"));
                let text = exchange(httpd.address(), head + "5\r\nhello\r\n0\r\n\r\n", Duration::from_secs(3));
                let status = text.get(9..12).unwrap_or_default();
                assert!(["501", "400"].contains(&status), "{text}");
                assert_eq!(httpd.get(&format!("/body/calls?id={id}")).json(), 0);
            });
        }
        checked.case("6: Content-Length and chunked", Log::Any, |httpd| {
            let head = post_head("/body/read", "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n");
            let mut raw = Raw::connect(httpd.address());
            raw.send(head + "5\r\nhello\r\n0\r\n\r\n");
            assert!(raw.wait_for_close(SOON), "the connection stayed open: {}", raw.text());
            let text = raw.text();
            assert!(text.contains("\"length\": 5") || text.starts_with("HTTP/1.1 400"), "{text}");
        });
        checked.case("10: a chunk size that is none", Log::Any, |httpd| {
            let head = post_head("/body/broken?id=chunk", "Transfer-Encoding: chunked\r\n");
            let text = exchange(httpd.address(), head + "5\r\nhello\r\nzz\r\nhello\r\n0\r\n\r\n", SOON);
            assert!(text.starts_with("HTTP/1.1 400"), "{text}");
            assert_eq!(text.matches("HTTP/1.1").count(), 1, "{text}");
            assert_eq!(seen(httpd, "chunk")["oserror"], true);
        });
        for (name, request) in smuggled() {
            checked.case(&format!("24: {name}"), Log::Any, |httpd| {
                let id = format!("smuggled_{name}");
                let _ = exchange(httpd.address(), request.replace("ID", &id), Duration::from_secs(2));
                assert_eq!(httpd.get(&format!("/body/calls?id={id}")).json(), 0, "a hidden request was served");
            });
        }
        checked.finish();
    });
}

/// Each hides a GET of `/body/called?id=ID` in what one reading of the rules
/// takes for a body or a header.
fn smuggled() -> Vec<(&'static str, String)> {
    let hidden = "GET /body/called?id=ID HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = |fields: &str, body: &str| post_head("/body/read", fields) + body;
    vec![
        (
            "cl_te",
            post(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + hidden.len()),
                &format!("0\r\n\r\n{hidden}"),
            ),
        ),
        ("te_te", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &format!("0\r\n\r\n{hidden}"))),
        ("te_space", post(&format!("Content-Length: {}\r\nTransfer-Encoding : chunked\r\n", hidden.len()), hidden)),
        ("two_lengths", post(&format!("Content-Length: 0\r\nContent-Length: {}\r\n", hidden.len()), hidden)),
        ("signed_length", post("Content-Length: +0\r\n", hidden)),
        ("negative_length", post("Content-Length: -1\r\n", hidden)),
        ("listed_length", post("Content-Length: 0, 0\r\n", hidden)),
        ("folded", post(&format!("X: a\r\n Content-Length: 0\r\nContent-Length: {}\r\n", hidden.len()), hidden)),
        ("nul", post(&format!("X: a\0b\r\nContent-Length: {}\r\n", hidden.len()), hidden)),
        (
            "bare_return",
            post(&format!("X: a\rTransfer-Encoding: chunked\r\nContent-Length: {}\r\n", hidden.len()), hidden),
        ),
        (
            "vertical_tab",
            post(&format!("Transfer-Encoding: \x0bchunked\r\nContent-Length: {}\r\n", hidden.len()), hidden),
        ),
        ("huge_chunk", post("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff\r\n{hidden}"))),
        (
            "chunk_extension",
            post(
                "Transfer-Encoding: chunked\r\n",
                &format!("{:x};a=\"\n0\n\n\"\r\n{hidden}\r\n0\r\n\r\n", hidden.len()),
            ),
        ),
    ]
}

#[test]
fn limits_and_broken_bodies() {
    case(Limit::seconds(120), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        checked.case("7: more than LimitRequestBody", Log::Any, |httpd| {
            let response =
                httpd.client().send(&Request::post("/limited/called?id=limited", vec![b'x'; 100_001])).unwrap();
            assert_eq!(response.status, 413);
            assert_eq!(httpd.get("/body/calls?id=limited").json(), 0);
            let exact = httpd.client().send(&Request::post("/limited/called?id=limited", vec![b'x'; 100_000])).unwrap();
            assert_eq!(exact.status, 200);
        });
        checked.case("8: a chunked body that grows over it", Log::Any, |httpd| {
            let chunks = vec![&[b'x'; 30_000][..]; 5];
            let response = httpd.client().send(&Request::post_chunks("/limited/broken?id=grown", &chunks)).unwrap();
            assert_eq!(response.status, 413, "{}", response.text());
            assert_eq!(response.text().matches("<html>").count(), 1, "one page: {}", response.text());
            assert_eq!(seen(httpd, "grown")["oserror"], true);
        });
        checked.case("9: the same after the response has begun", Log::Any, |httpd| {
            let chunks = vec![&[b'x'; 30_000][..]; 5];
            let request = Request::post_chunks("/limited/broken?id=begun&started=&swallow=", &chunks);
            let result = httpd.client().send(&request);
            if let Ok(response) = &result {
                assert!(!response.text().contains("<html>"), "a page was glued to the body: {}", response.text());
            }
            assert!(result.is_err(), "the response looks complete: {result:?}");
            assert_eq!(seen(httpd, "begun")["oserror"], true);
        });
        checked.case("12: the client leaves in the middle", Log::Any, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(post_head("/body/broken?id=left", "Content-Length: 200000\r\n") + &"x".repeat(100_000));
            drop(raw);
            let seen = seen(httpd, "left");
            assert_eq!(
                (&seen["oserror"], &seen["again"]),
                (&true.into(), &Json::from(seen["type"].as_str())),
                "{seen}"
            );
            assert_eq!(httpd.get("/probe/hello").status, 200);
        });
        checked.case("12: the client resets", Log::Any, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(post_head("/body/broken?id=reset", "Content-Length: 200000\r\n") + &"x".repeat(100_000));
            raw.reset();
            assert_eq!(seen(httpd, "reset")["oserror"], true);
        });
        checked.case("12: a small body that ends early never reaches the application", Log::Any, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(post_head("/body/called?id=small", "Content-Length: 20\r\n") + "half");
            raw.half_close();
            assert!(raw.wait_for_close(SOON));
            assert_eq!(httpd.get("/body/calls?id=small").json(), 0);
        });
        checked.case("13: half closed after a whole request", Log::Quiet, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(post_head("/body/read", "Content-Length: 4\r\n") + "four");
            raw.half_close();
            raw.listen(SOON);
            assert!(raw.text().starts_with("HTTP/1.1 200") && raw.text().contains("\"length\": 4"), "{}", raw.text());
        });
        checked.case("23: a body that grows when it is inflated", Log::Quiet, |httpd| {
            let plain = (0..100_000).flat_map(|n: u32| format!("{n}\n").into_bytes()).collect::<Vec<u8>>();
            let request = Request::post("/inflated/sized", gzip(&plain)).header("Content-Encoding", "gzip");
            let answer = httpd.client().send(&request).unwrap().json();
            assert_eq!(
                (&answer["length"], answer["sha256"].as_str()),
                (&plain.len().into(), Some(sha256(&plain).as_str()))
            );
        });
        checked.finish();
    });
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip is there");
    child.stdin.take().expect("it was asked for").write_all(bytes).expect("gzip reads");
    child.wait_with_output().expect("gzip ends").stdout
}

#[test]
fn continue_is_said_once_and_only_when_the_body_is_wanted() {
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        let expecting =
            |path: &str, len: usize| post_head(path, &format!("Content-Length: {len}\r\nExpect: 100-continue\r\n"));
        for len in [5, 200_000] {
            checked.case(&format!("14: read, {len} bytes"), Log::Quiet, |httpd| {
                let mut raw = Raw::connect(httpd.address());
                raw.send(expecting("/body/read", len));
                assert!(raw.wait_for("HTTP/1.1 100 Continue\r\n\r\n", SOON), "{}", raw.text());
                raw.send(vec![b'x'; len]);
                assert!(raw.wait_for(&format!("\"length\": {len}"), SOON), "{}", raw.text());
                assert_eq!(raw.text().matches("HTTP/1.1 100").count(), 1, "{}", raw.text());
                assert_eq!(raw.text().matches("HTTP/1.1 200").count(), 1, "{}", raw.text());
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
        for (path, expected) in [("/body/headers-first", "body:12345"), ("/body/headers-first?piece=", "body:12345")] {
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
            assert!(!text.contains(" 100 ") && text.contains("\"length\": 5"), "{text}");
        });
        checked.finish();
    });
}

#[test]
fn a_body_that_is_not_read_harms_nobody() {
    heavy_case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        checked.case("20: one byte of 5 MB", Log::Quiet, |httpd| {
            let mut client = httpd.client();
            let response = client.send(&Request::post_pattern("/body/one", 5_000_000)).unwrap();
            assert_eq!(response.status, 200);
            assert_eq!(httpd.get("/probe/hello").text(), "Hello World!");
        });
        checked.case("20: one byte of a small body, connection kept", Log::Quiet, |httpd| {
            let mut client = httpd.client();
            for _ in 0..20 {
                assert_eq!(client.send(&Request::post("/body/one", "abcdef")).unwrap().text(), "one:a");
                assert!(client.connected());
            }
        });
        checked.case("19: 50 MB back while they come", Log::Quiet, |httpd| {
            let mut checker = Checker::default();
            let request = Request::post_pattern("/body/duplex", 50_000_000);
            httpd.client().send_with(&request, &mut |piece| checker.feed(piece)).unwrap();
            checker.assert_exact(50_000_000);
        });
        checked.finish();
    });
}

#[test]
fn slow_clients_cost_no_python_thread() {
    heavy_case(Limit::seconds(120), || {
        let wire = Wire::start(Mpm::Event, |builder, site| {
            builder
                .load("reqtimeout")
                .line("RequestReadTimeout header=0 body=2")
                .daemon("narrow", &format!("processes=1 threads=1 {}", site.python_path()))
                .mount("/narrow", &site.file("body_cases.py"), "narrow")
        });
        let (_site, _, mut checked) = wire.checked();
        checked.case("21: a slow small POST leaves the only thread free", Log::Quiet, |httpd| {
            assert_eq!(httpd.get("/narrow/calls?id=x").status, 200);
            let mut raw = Raw::connect(httpd.address());
            raw.send(post_head("/narrow/read", "Content-Length: 8\r\n") + "1234");
            let begun = Instant::now();
            assert_eq!(httpd.client().timeout(Duration::from_secs(1)).get("/narrow/calls?id=x").unwrap().status, 200);
            assert!(begun.elapsed() < Duration::from_secs(1), "the thread was waiting for the slow client");
            raw.send("5678");
            assert!(raw.wait_for("\"length\": 8", SOON), "{}", raw.text());
        });
        checked.case("11: a client that stalls in a small body", Log::Any, |httpd| {
            let begun = Instant::now();
            let text = exchange(httpd.address(), post_head("/body/read", "Content-Length: 10\r\n") + "1234", SOON);
            assert!(text.starts_with("HTTP/1.1 408"), "{text}");
            assert!(
                begun.elapsed() > Duration::from_secs(1) && begun.elapsed() < Duration::from_secs(6),
                "{:?}",
                begun.elapsed()
            );
        });
        checked.case("11: a client that stalls in a large body", Log::Any, |httpd| {
            let head = post_head("/body/broken?id=stalled", "Content-Length: 100000\r\n");
            let text = exchange(httpd.address(), head + &"x".repeat(1000), SOON);
            assert!(text.starts_with("HTTP/1.1 408"), "{text}");
            let seen = seen(httpd, "stalled");
            assert_eq!(seen["oserror"], true, "{seen}");
        });
        checked.case("22: an application that reads late, after body= has passed", Log::Quiet, |httpd| {
            let body = bytes(100 * 1024);
            let answer = httpd.client().send(&Request::post("/body/later?seconds=5", body)).unwrap();
            assert_eq!((answer.status, &answer.json()["length"]), (200, &(100 * 1024).into()));
        });
        checked.finish();
    });
}
