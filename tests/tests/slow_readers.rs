//! Clients that take nothing of their response: `response-socket-timeout` says
//! how long httpd waits for them.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use wsgid_tests::h2::H2;
use wsgid_tests::{Httpd, Limit, Python, Site, case, eventually};

const ENDLESS: &str = "\
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    def body():
        try:
            while True:
                yield b'x' * 65536
        finally:
            print('closed', file=environ['wsgi.errors'])
    return body()
";

/// How long a client that reads nothing is borne.
fn borne(options: &str) -> Duration {
    let site = Site::new();
    let app = site.write("endless.py", ENDLESS);
    let options = format!(
        "processes=1 threads=2 python-home={} {options}",
        Python::any().home.display()
    );
    let httpd = Httpd::builder()
        .daemon("site", &options)
        .mount("/", &app, "site")
        .line("Timeout 8")
        .start();
    let mut client = TcpStream::connect(httpd.address()).expect("a connection");
    let began = Instant::now();
    client
        .write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .expect("the request leaves");
    eventually("the end of the request", Duration::from_secs(30), || {
        httpd.access_log().contains("GET /endless").then_some(())
    });
    let took = began.elapsed();
    drop(client);
    httpd.stop();
    took
}

/// Such a client of HTTP/2: it grants a window and never another one.
fn borne_by_h2(limit: &str) -> Duration {
    let site = Site::new();
    let app = site.write("endless.py", ENDLESS);
    let options = format!(
        "processes=1 threads=2 python-home={}",
        Python::any().home.display()
    );
    let builder = Httpd::builder()
        .daemon("site", &options)
        .mount("/", &app, "site");
    let httpd = builder
        .load("http2")
        .line(format!("Protocols h2c http/1.1\n{limit}"))
        .start();
    let mut client = H2::connect_with_window(httpd.address(), 100_000);
    let began = Instant::now();
    let stream = client.get("/endless");
    let seen = client.until(stream, Duration::from_secs(3), |stream| {
        stream.body.len() >= 100_000
    });
    assert_eq!(seen.body.len(), 100_000);
    eventually("close() of the iterable", Duration::from_secs(30), || {
        httpd.error_log().contains("closed").then_some(())
    });
    let took = began.elapsed();
    drop(client);
    httpd.stop();
    took
}

#[test]
fn a_window_that_stays_shut_is_given_up() {
    case(Limit::default(), || {
        // mod_http2 keeps the time of its streams itself.
        let stream = borne_by_h2("H2StreamTimeout 2");
        assert!(stream < Duration::from_secs(8), "{stream:?}");
        let server = borne_by_h2("Timeout 4");
        assert!(server < Duration::from_secs(12), "{server:?}");
    });
}

#[test]
fn a_client_that_reads_nothing_is_given_up() {
    case(Limit::default(), || {
        let short = borne("response-socket-timeout=1");
        assert!(short < Duration::from_secs(6), "{short:?}");
        let group = borne("socket-timeout=1");
        assert!(
            group < Duration::from_secs(6),
            "socket-timeout is the default: {group:?}"
        );
        let server = borne("");
        assert!(
            server >= Duration::from_secs(7),
            "Timeout holds without one: {server:?}"
        );
    });
}
