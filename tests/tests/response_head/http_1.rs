//! What only the bytes of HTTP/1.1 show, and what only mod_http2 does.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use serde_json::json;
use wsgid_tests::raw::exchange;
use wsgid_tests::wire::Addresses;
use wsgid_tests::{Limit, Log, Mpm, Request, Transport, Wire, case};

use crate::server::{SOON, get, path, wire};

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
