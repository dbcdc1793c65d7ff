//! Clients that mean harm, or come from a bad network: framing that could be
//! read in two ways, requests that stop anywhere, bytes that trickle, heads that
//! do not end. The application sees what HTTP says and nothing else, and
//! everything is free again afterwards.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::{
    Builder, Checked, Httpd, Json, Limit, Log, Raw, Site, case, eventually, on_every_mpm,
};

const SOON: Duration = Duration::from_secs(20);

/// Notes every request that reaches it, and who is inside just now.
const WITNESS: &str = r#"
import json, threading

seen, inside, turn = [], set(), threading.Lock()

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/seen":
        body = json.dumps({"seen": seen, "inside": len(inside)}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    seen.append(path)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return Answer(environ)

class Answer:
    def __init__(self, environ):
        self.environ = environ
        with turn:
            inside.add(self)

    def __iter__(self):
        path = self.environ["PATH_INFO"]
        if path == "/fail":
            raise RuntimeError("raised on purpose")
        if path == "/download":
            for _ in range(400):
                yield b"x" * 50000
        if path == "/read":
            yield b"%d bytes" % len(self.environ["wsgi.input"].read())
        yield b"answered"

    def close(self):
        with turn:
            inside.discard(self)
"#;

fn builder(site: &Site) -> Builder {
    Httpd::builder()
        .daemon(
            "site",
            &format!("processes=1 threads=8 {}", site.python_path()),
        )
        .line("WSGIChunkedRequest On")
        .mount("/", &site.write("witness.py", WITNESS), "site")
}

fn server(site: &Site) -> Checked {
    let httpd = builder(site).start();
    assert_eq!(httpd.get("/warm").text(), "answered");
    Checked::new(httpd)
}

fn witness(httpd: &Httpd) -> Json {
    httpd.get("/seen").json()
}

fn seen(httpd: &Httpd, path: &str) -> bool {
    witness(httpd)["seen"]
        .as_array()
        .expect("a list")
        .iter()
        .any(|seen| seen == path)
}

/// Nobody is left inside the application.
fn wait_until_empty(httpd: &Httpd) {
    eventually("all requests leave the application", SOON, || {
        (witness(httpd)["inside"] == 0).then_some(())
    });
}

/// A request that must never be one, of its own for each case.
fn smuggled(number: usize) -> (String, String) {
    let path = format!("/smuggled-{number:03}");
    let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    (path, text)
}

/// Head and body in front of the smuggled request. Each is refused, or it makes
/// the smuggled request a part of a body.
fn doubtful_framing() -> Vec<(&'static str, String)> {
    let post =
        |fields: &str, body: &str| format!("POST /read HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}");
    let length = |value: &str| post(&format!("Content-Length: {value}\r\n"), "abcd");
    let coding = |field: &str| post(&format!("{field}\r\n"), "0\r\n\r\n");
    let chunks = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
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

#[test]
fn a_request_that_stops_anywhere_leaves_nothing_behind() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        let mut checked = server(&site);
        let body = "b".repeat(1000);
        let sized =
            format!("POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nX: y\r\n\r\n{body}");
        let chunked = format!(
            "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n{body}\r\n0\r\nX: trailer\r\n\r\n"
        );
        let long = format!(
            "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n{}",
            "b".repeat(300_000)
        );
        let worker = checked.httpd().workers();
        for (name, request, step) in [
            ("sized", sized, 11),
            ("chunked", chunked, 11),
            ("long", long, 9973),
        ] {
            for reset in [true, false] {
                checked.case(
                    &format!("{name}, {}", if reset { "reset" } else { "closed" }),
                    Log::Any,
                    |httpd| {
                        for end in (0..request.len()).step_by(step) {
                            let mut raw = Raw::connect(httpd.address());
                            raw.send(&request[..end]);
                            if reset { raw.reset() } else { drop(raw) }
                        }
                        wait_until_empty(httpd);
                        assert_eq!(httpd.get("/still").text(), "answered");
                        assert_eq!(httpd.workers(), worker);
                    },
                );
            }
        }
        checked.finish();
    });
}

#[test]
fn a_client_that_leaves_in_the_answer_frees_the_application() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let mut checked = server(&site);
        for taken in [0, 1, 100, 70_000, 1_000_000] {
            checked.case(&format!("after {taken} bytes"), Log::Any, |httpd| {
                for reset in [true, false, true, false] {
                    let mut raw = Raw::connect(httpd.address());
                    raw.send("GET /download HTTP/1.1\r\nHost: x\r\n\r\n");
                    let start = Instant::now();
                    while raw.received.len() < taken && start.elapsed() < SOON {
                        raw.listen(Duration::from_millis(1));
                    }
                    if reset { raw.reset() } else { drop(raw) }
                }
                wait_until_empty(httpd);
                assert_eq!(httpd.get("/still").text(), "answered");
            });
        }
        checked.finish();
    });
}

#[test]
fn slow_clients_wait_for_themselves_alone() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!("processes=1 threads=1 {}", site.python_path()),
            )
            .mount("/", &site.write("witness.py", WITNESS), "site")
            .load("reqtimeout")
            .line("RequestReadTimeout header=3 body=3")
            .start();
        assert_eq!(httpd.get("/warm").text(), "answered");
        let slow: Vec<_> = (0..60)
            .map(|number| {
                let address = httpd.address();
                thread::spawn(move || {
                    let mut raw = Raw::connect(address);
                    let head = "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n";
                    if number % 2 == 0 {
                        raw.send(head);
                    }
                    // The head itself a byte at a time, or the body.
                    for byte in head.as_bytes().iter().cycle().take(600) {
                        if !raw.send([*byte]) || raw.wait_for_close(Duration::from_millis(20)) {
                            break;
                        }
                    }
                    raw.wait_for_close(SOON);
                    raw.text().lines().next().unwrap_or_default().to_owned()
                })
            })
            .collect();
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        while start.elapsed() < Duration::from_secs(3) {
            let asked = Instant::now();
            assert_eq!(httpd.get("/quick").text(), "answered");
            slowest = slowest.max(asked.elapsed());
        }
        assert!(
            slowest < Duration::from_secs(1),
            "a quick request took {slowest:?}"
        );
        for client in slow {
            let status = client.join().expect("it does not panic");
            assert!(
                status.is_empty() || status.contains(" 408 ") || status.contains(" 400 "),
                "{status}"
            );
        }
        assert!(
            !seen(&httpd, "/read"),
            "half a small body is nothing for the application"
        );
        httpd.stop();
    });
}

#[test]
fn heads_of_any_size_are_served_or_refused() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let open = "LimitRequestLine 4000000\nLimitRequestFieldSize 4000000\nLimitRequestFields 0";
        let strict = builder(&site).start();
        let lax = builder(&site).line(open).start();
        let ask = |httpd: &Httpd, text: &str| {
            let mut raw = Raw::connect(httpd.address());
            raw.send(text);
            raw.wait_for_close(SOON);
            let status = raw.text().get(9..12).unwrap_or_default().to_owned();
            assert_eq!(httpd.get("/still").text(), "answered");
            status
        };
        let get = |path: &str, fields: &str| {
            format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n")
        };
        let fields = |count: usize, len: usize| -> String {
            (0..count)
                .map(|number| format!("X-F{number}: {}\r\n", "v".repeat(len)))
                .collect()
        };
        assert_eq!(ask(&strict, &get(&"p".repeat(9000), "")), "414");
        assert_eq!(ask(&strict, &get("", &fields(1, 9000))), "400");
        assert_eq!(ask(&strict, &get("", &fields(101, 1))), "400");
        assert_eq!(
            ask(&strict, &get("", &fields(90, 8000))),
            "200",
            "all that httpd's defaults admit"
        );
        assert_eq!(ask(&lax, &get("", &fields(1, 900_000))), "200");
        assert_eq!(ask(&lax, &get("", &fields(4000, 10))), "200");
        // Above what one REQUEST may hold: refused with a cause, and nobody waits.
        for request in [
            get("", &fields(1, 3_000_000)),
            get("", &fields(5000, 1)),
            get(&"p".repeat(2_000_000), ""),
        ] {
            let status = ask(&lax, &request);
            assert!(
                ["400", "404", "414", "431", "500", "502"].contains(&status.as_str()),
                "{status}"
            );
        }
        let mut raw = Raw::connect(strict.address());
        let start = Instant::now();
        // httpd answers at once and then reads on for a while before it closes.
        while !raw.text().contains(" 400 ")
            && start.elapsed() < SOON
            && raw.send("X: endless\r\n".repeat(1000))
        {
            raw.listen(Duration::from_millis(1));
        }
        assert!(raw.text().contains(" 400 "), "{}", raw.text());
        assert_eq!(strict.get("/still").text(), "answered");
        strict.stop();
        lax.stop();
    });
}

#[test]
fn a_thousand_requests_in_one_breath() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let mut checked = server(&site);
        checked.case("pipelined", Log::Any, |httpd| {
            let one = |number: usize| {
                let body = "x".repeat(number);
                format!("POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: {number}\r\n\r\n{body}")
            };
            let all: String = (0..1000).map(one).collect();
            let mut stream = TcpStream::connect(httpd.address()).expect("a connection");
            stream
                .set_read_timeout(Some(SOON))
                .expect("a socket has a timeout");
            let mut text = String::new();
            thread::scope(|scope| {
                let mut sender = stream.try_clone().expect("a socket can be doubled");
                scope.spawn(move || {
                    sender.write_all(all.as_bytes()).expect("it is read");
                    let last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                    sender.write_all(last).expect("it is read");
                });
                stream
                    .read_to_string(&mut text)
                    .expect("the server closes after the last answer");
            });
            let mut at = 0;
            for number in 0..1000 {
                let found = text[at..].find(&format!("{number} bytes"));
                at += found.unwrap_or_else(|| panic!("answer {number} is missing or out of order"));
            }
        });
        checked.finish();
    });
}

#[test]
fn bodies_in_crumbs() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        let mut checked = server(&site);
        checked.case("100 000 chunks of one byte", Log::Any, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send("POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
            raw.send("1\r\nx\r\n".repeat(100_000) + "0\r\n\r\n");
            raw.wait_for_close(SOON);
            assert!(raw.text().contains("100000 bytes"), "{}", raw.text());
        });
        checked.case("chunk extensions and trailers", Log::Any, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            let extension = "e".repeat(4000);
            raw.send("POST /read HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
            raw.send(format!("4;{extension}=1\r\nabcd\r\n0\r\nContent-Length: 9\r\nHost: evil\r\n\r\n"));
            raw.wait_for_close(SOON);
            let status = raw.text().get(9..12).unwrap_or_default();
            assert!(status == "200" || status == "400", "{}", raw.text());
        });
        checked.case("a body without end that nobody reads", Log::Any, |httpd| {
            let mut raw = Raw::connect(httpd.address());
            raw.send("POST /ignored HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
            let block = format!("10000\r\n{}\r\n", "x".repeat(65536));
            let start = Instant::now();
            while !raw.text().contains("answered") && start.elapsed() < SOON {
                if !raw.send(&block) {
                    break;
                }
                raw.listen(Duration::from_millis(1));
            }
            assert!(
                raw.text().contains("answered"),
                "an early answer: {}",
                raw.text()
            );
        });
        checked.finish();
    });
}
