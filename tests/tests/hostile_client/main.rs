//! Clients that mean harm, or come from a bad network: framing that could be
//! read in two ways, requests that stop anywhere, bytes that trickle, heads that
//! do not end. The application sees what HTTP says and nothing else, and
//! everything is free again afterwards.

mod framing;
mod server;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use wsgid_tests::{Httpd, Limit, Log, Raw, Site, case, heavy_case};

use crate::server::{SOON, WITNESS, builder, seen, server, wait_until_empty};

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
    heavy_case(Limit::seconds(120), || {
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
        assert_eq!(ask(&lax, &get("", &fields(1, 3_000_000))), "200");
        assert_eq!(ask(&lax, &get("", &fields(5000, 1))), "200");
        // Above what one REQUEST may hold: refused with a cause, and nobody waits.
        assert_eq!(ask(&lax, &get("", &fields(6, 3_000_000))), "431");
        assert_eq!(ask(&lax, &get("", &fields(40_000, 1))), "431");
        let status = ask(&lax, &get(&"p".repeat(2_000_000), ""));
        assert!(["200", "403", "404", "414"].contains(&&*status), "{status}");
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
