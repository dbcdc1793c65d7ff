//! Response heads: what an application may say, what it must not, and what
//! httpd makes of it. The numbers are those of the list of cases.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::json;
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::{Addresses, NO_RESPONSES, quoted};
use wsgid_tests::{
    Answer, Json, Limit, Log, Mpm, On, Request, Transport, Wire, case, on_each, on_every_mpm,
};

const SOON: Duration = Duration::from_secs(15);

fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |builder, site| {
        let head = site.file("head_cases.py");
        builder
            .load("deflate")
            .load("filter")
            .mount("/charset", &head, "site")
            .mount("/deflated", &head, "site")
            .mount("/mapped", &head, "site")
            .mount("/unmapped", &head, "site")
            .mount("/overridden", &head, "site")
            .mount("/failing", &head, "site")
            .line("AddType text/x-python .py")
            .line("<Location /charset>\n  AddDefaultCharset utf-8\n</Location>")
            .line("<Location /deflated>\n  AddOutputFilterByType DEFLATE text/plain\n</Location>")
            .line("<Location /mapped>\n  WSGIMapHEADToGET On\n</Location>")
            .line("<Location /unmapped>\n  WSGIMapHEADToGET Off\n</Location>")
            .line("<Location /overridden>\n  WSGIErrorOverride On\n  ErrorDocument 404 /head/inside/page\n  ErrorDocument 500 \"five hundred\"\n  ErrorDocument 401 \"who are you\"\n</Location>")
            .line("<Location /failing>\n  WSGIErrorOverride On\n  ErrorDocument 404 /head/inside/fail\n</Location>")
    })
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn path(spec: &Json) -> String {
    format!("/head/respond?spec={}", quoted(&spec.to_string()))
}

#[test]
fn heads_are_what_the_application_says_by_every_transport_on_every_mpm() {
    on_every_mpm(Limit::seconds(200), move |mpm| {
        on_each(wire(mpm), mpm, |on| {
            fields(on);
            statuses(on);
            hop_by_hop(on);
            head_requests(on);
            head_of_a_stream(on);
            without_body(on);
            lengths(on);
            hints(on);
            redirects(on);
            error_pages(on);
            large_heads(on);
        });
    });
}

/// The application answers as `spec` says.
fn answers(on: &mut On<'_>, name: &str, log: Log<'_>, spec: &Json, look: impl FnOnce(Answer)) {
    on.gets(name, log, |get| look(get(&path(spec))));
}

fn fields(on: &mut On<'_>) {
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

fn statuses(on: &mut On<'_>) {
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

fn hop_by_hop(on: &mut On<'_>) {
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

fn head_requests(on: &mut On<'_>) {
    let (wire, transport) = (on.wire, on.transport);
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
fn head_of_a_stream(on: &mut On<'_>) {
    let (wire, transport) = (on.wire, on.transport);
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

fn without_body(on: &mut On<'_>) {
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
    let (wire, transport) = (on.wire, on.transport);
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

fn lengths(on: &mut On<'_>) {
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

fn hints(on: &mut On<'_>) {
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

fn redirects(on: &mut On<'_>) {
    let spec = json!({"headers": [["Location", "/head/inside/here?q=1"], ["X-First", "gone"]], "body": ["not this"]});
    let (wire, transport) = (on.wire, on.transport);
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

fn error_pages(on: &mut On<'_>) {
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

fn large_heads(on: &mut On<'_>) {
    on.gets(
        "36: heads as large as they may be, and larger",
        Log::Any,
        |get| {
            for (fields, length, fits) in [
                (60, 1000, true),
                (1, 32_000, true),
                (1, 40_000, false),
                (400, 1000, false),
                (600, 10, false),
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

#[test]
fn what_only_http_1_shows() {
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        checked.case("32: AddOutputFilterByType", Log::Quiet, |httpd| {
            let spec = json!({"body": ["a text that can be made shorter ".repeat(50)]});
            let path = format!("/deflated{}", &path(&spec)[5..]);
            let request = Request::new("GET", &path).header("Accept-Encoding", "gzip");
            let response = httpd.client().send(&request).unwrap();
            assert_eq!(
                response.header("Content-Encoding"),
                Some("gzip"),
                "{response:?}"
            );
            assert!(response.body.len() < 200);
        });
        checked.case(
            "34: the connection is kept after 204 and 304",
            Log::Quiet,
            |httpd| {
                let mut client = httpd.client();
                for status in ["204 No Content", "304 Not Modified", "200 OK"] {
                    client
                        .send(&Request::new(
                            "GET",
                            &path(&json!({"status": status, "body": ["x"]})),
                        ))
                        .unwrap();
                    assert!(client.connected(), "{status}");
                }
            },
        );
        checked.case("37: HTTP/1.0 knows no 103", Log::Quiet, |httpd| {
            let spec = json!({"hints": [[["Link", "</a>"]]]});
            let text = exchange(
                httpd.address(),
                format!("GET {} HTTP/1.0\r\n\r\n", path(&spec)),
                SOON,
            );
            assert!(
                text.starts_with("HTTP/1.1 200")
                    && !text.contains(" 103 ")
                    && text.ends_with("body\n"),
                "{text}"
            );
        });
        checked.case(
            "35: a short body breaks the connection, not the next response",
            Log::Any,
            |httpd| {
                let request =
                    get("/stream/short?announce=10&send=1,1&pause=0.3") + &get("/probe/hello");
                let text = exchange(httpd.address(), request, Duration::from_secs(5));
                assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
                assert!(!text.contains("Hello World!"), "{text}");
            },
        );
        checked.finish();
    });
}

/// What `hints` says of mod_http2, without us: a server behind mod_proxy sends
/// two Link fields with its 103; HTTP/1.1 passes both on, HTTP/2 joins them.
#[test]
fn mod_http2_joins_repeated_fields_of_a_103_by_itself() {
    case(Limit::default(), || {
        let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = behind.local_addr().expect("it has an address").port();
        std::thread::spawn(move || {
            for mut stream in behind.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(
                    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n\
                      HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nend",
                );
            }
        });
        let Wire {
            site: _site,
            httpd,
            tls_port,
        } = Wire::start(Mpm::Event, |builder, _| {
            builder.load("proxy").load("proxy_http").line(format!(
                "ProxyPass /behind http://127.0.0.1:{port}\n<Location /behind>\nSetEnv proxy-interim-response RFC\n</Location>"
            ))
        });
        let wire = Addresses::of(&httpd, tls_port);
        for (transport, expected) in [
            (Transport::Tls1, vec!["</a>", "</b>"]),
            (Transport::H2, vec!["</a>, </b>"]),
            (Transport::H2c, vec!["</a>, </b>"]),
        ] {
            let answer = wire.curl(transport, "/behind/x").run();
            assert_eq!(
                (answer.status(), answer.interim.len()),
                (200, 1),
                "{transport:?}: {answer:?}"
            );
            assert_eq!(answer.interim[0].all("Link"), expected, "{transport:?}");
        }
        httpd.stop();
    });
}

#[test]
fn wrong_results_are_errors_and_odd_ones_are_served() {
    case(Limit::default(), || {
        let (_site, _, mut checked) = wire(Mpm::Event).checked();
        let at = |which: &str| {
            format!(
                "/head/wrong?spec={}",
                quoted(&json!({ "which": which }).to_string())
            )
        };
        for (which, body) in [
            ("late start", "late but right"),
            ("empty list", ""),
            ("empty bytes", ""),
            ("empty items", "only"),
            ("tuple", "a tuple"),
            ("set", "a set"),
            ("dict", "a key"),
            ("generator", "a generator"),
            ("iterator", "an iterator"),
        ] {
            checked.case(which, Log::Quiet, |httpd| {
                let response = httpd.get(&at(which));
                assert_eq!((response.status, response.text().as_str()), (200, body));
            });
        }
        for which in NO_RESPONSES {
            checked.case(which, Log::Any, |httpd| {
                let response = httpd.get(&at(which));
                assert_eq!(response.status, 500, "{}", response.text());
                assert!(httpd.error_log().contains("Error"), "the log says why");
            });
        }
        checked.case("a text after the first piece", Log::Any, |httpd| {
            let result = httpd.client().get(&at("text later"));
            assert!(
                result.as_ref().is_err()
                    || result.as_ref().is_ok_and(|response| response.status == 500),
                "{result:?}"
            );
        });
        checked.case("exc_info after data", Log::Quiet, |httpd| {
            let response = httpd.get("/head/second-head");
            assert_eq!(
                (response.status, response.text().as_str()),
                (200, "first,raised again: 'in the middle'")
            );
        });
        checked.finish();
    });
}
