//! No framing of a request makes two requests of one.

use wsgid_tests::{Checked, Limit, Log, Raw, Site, on_every_mpm};

use crate::server::{SOON, builder, seen};

/// A request that must never be one, of its own for each case.
fn smuggled(number: usize) -> (String, String) {
    let path = format!("/smuggled-{number:03}");
    let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    (path, text)
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /read HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}")
}

/// Head and body in front of the smuggled request. Each is refused, or it makes
/// the smuggled request a part of a body.
fn doubtful_framing() -> Vec<(&'static str, String)> {
    let headers = vec![
        (
            "header without a colon",
            post("no colon\r\nContent-Length: 0\r\n", ""),
        ),
        (
            "header with a nul",
            post("X: a\0b\r\nContent-Length: 0\r\n", ""),
        ),
        (
            "header name with a nul",
            post("X\0Y: a\r\nContent-Length: 0\r\n", ""),
        ),
        (
            "header name that is empty",
            post(": a\r\nContent-Length: 0\r\n", ""),
        ),
        (
            "path with a nul",
            "GET /read\0 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        ),
        (
            "two hosts",
            "GET /read HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(),
        ),
        ("no host", "GET /read HTTP/1.1\r\n\r\n".to_owned()),
    ];
    [lengths(), codings(), headers].concat()
}

fn lengths() -> Vec<(&'static str, String)> {
    let length = |value: &str| post(&format!("Content-Length: {value}\r\n"), "abcd");
    vec![
        (
            "length and chunked",
            post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "chunked and length",
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                "0\r\n\r\n",
            ),
        ),
        (
            "two lengths",
            post("Content-Length: 4\r\nContent-Length: 5\r\n", "abcd"),
        ),
        ("list of lengths", length("4, 5")),
        ("length with plus", length("+4")),
        ("negative length", length("-4")),
        ("length in hex", length("0x4")),
        ("length twice in one", length("4 4")),
        ("length with tab and more", length("4\t5")),
        ("length above 64 bits", length("18446744073709551620")),
        ("length of 63 bits", length("9223372036854775808")),
        ("length with vertical tab", length("\x0b4")),
        ("length in quotes", length("\"4\"")),
        ("length of letters", length("four")),
    ]
}

fn codings() -> Vec<(&'static str, String)> {
    let coding = |field: &str| post(&format!("{field}\r\n"), "0\r\n\r\n");
    let chunks = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    vec![
        (
            "coding with vertical tab",
            coding("Transfer-Encoding:\x0bchunked"),
        ),
        (
            "coding that is unknown",
            coding("Transfer-Encoding: xchunked"),
        ),
        ("coding in quotes", coding("Transfer-Encoding: \"chunked\"")),
        (
            "coding identity last",
            coding("Transfer-Encoding: chunked, identity"),
        ),
        (
            "coding twice",
            coding("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ),
        (
            "coding with a space before the colon",
            coding("Transfer-Encoding : chunked"),
        ),
        (
            "coding on a folded line",
            coding("X: y\r\n Transfer-Encoding: chunked\r\nTransfer-Encoding: no"),
        ),
        (
            "coding behind a bare cr",
            coding("X: y\rTransfer-Encoding: chunked\r\nTransfer-Encoding: no"),
        ),
        ("coding with a nul", coding("Transfer-Encoding: chunked\0")),
        ("chunk of negative size", chunks("-1\r\nabcd\r\n0\r\n\r\n")),
        ("chunk of hex prefix", chunks("0x0\r\n\r\n")),
        (
            "chunk above 64 bits",
            chunks("10000000000000004\r\nabcd\r\n0\r\n\r\n"),
        ),
        ("chunk of no size", chunks("\r\n\r\n")),
        ("chunk without its end", chunks("4\r\nabcdX\r\n0\r\n\r\n")),
    ]
}

/// Requests whose body is the smuggled request, and nobody reads that body.
fn unread_bodies(smuggled: &str) -> Vec<(&'static str, String)> {
    let len = smuggled.len();
    let head = |method: &str, path: &str, fields: &str| {
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
    };
    let sized = format!("Content-Length: {len}\r\n");
    // So long that the worker would have to ask for it.
    let padding = "x".repeat(200_000);
    let long = format!("Content-Length: {}\r\n", padding.len() + len);
    vec![
        ("post", head("POST", "/ignored", &sized)),
        ("get", head("GET", "/ignored", &sized)),
        ("head", head("HEAD", "/ignored", &sized)),
        ("options", head("OPTIONS", "/ignored", &sized)),
        ("unknown method", head("SMUGGLE", "/ignored", &sized)),
        ("an application that fails", head("POST", "/fail", &sized)),
        (
            "expect",
            head(
                "POST",
                "/ignored",
                &format!("Expect: 100-continue\r\n{sized}"),
            ),
        ),
        (
            "expectation that is unknown",
            head("POST", "/ignored", &format!("Expect: miracles\r\n{sized}")),
        ),
        ("long", head("POST", "/ignored", &long) + &padding),
        (
            "long, and an application that fails",
            head("POST", "/fail", &long) + &padding,
        ),
        (
            "chunked",
            head("POST", "/ignored", "Transfer-Encoding: chunked\r\n")
                + &format!("{len:x}\r\n{smuggled}\r\n0\r\n\r\n"),
        ),
        ("static file", head("GET", "/static/none", &sized)),
    ]
}

#[test]
fn no_framing_makes_two_requests_of_one() {
    on_every_mpm(Limit::seconds(180), move |mpm| {
        let site = Site::new();
        let httpd = builder(&site)
            .mpm(mpm)
            .line("Alias /static /nonexistent")
            .start();
        assert_eq!(httpd.get("/warm").text(), "answered");
        let mut checked = Checked::new(httpd);
        for (number, (name, request)) in doubtful_framing().into_iter().enumerate() {
            checked.case(name, Log::Any, |httpd| {
                let (path, text) = smuggled(number);
                let mut raw = Raw::connect(httpd.address());
                raw.send(request + &text);
                raw.half_close();
                raw.wait_for_close(SOON);
                assert!(
                    raw.text().matches("HTTP/1.1 ").count() <= 1,
                    "{}",
                    raw.text()
                );
                assert!(!seen(httpd, &path), "{}", raw.text());
            });
        }
        for number in 0..unread_bodies("").len() {
            let (path, text) = smuggled(100 + number);
            let (name, request) = unread_bodies(&text).swap_remove(number);
            checked.case(name, Log::Any, |httpd| {
                let mut raw = Raw::connect(httpd.address());
                let body = if name == "chunked" { "" } else { &text };
                raw.send(
                    request + body + "GET /after HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                );
                raw.half_close();
                raw.wait_for_close(SOON);
                assert!(!seen(httpd, &path), "{}", raw.text());
            });
        }
        checked.finish();
    });
}
