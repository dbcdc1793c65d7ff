//! Large bodies: byte-exact, in both directions, and never in memory as a whole.

use std::time::{Duration, Instant};

use wsgid_tests::pattern::Checker;
use wsgid_tests::{Httpd, Limit, Request, Site, heavy_case};

const LARGE: u64 = 100 * 1024 * 1024;

fn serve() -> (Site, Httpd) {
    let site = Site::new();
    let httpd = Httpd::builder()
        .daemon(
            "site",
            &format!("processes=1 threads=3 {}", site.python_path()),
        )
        .mount("/", &site.file("probe.py"), "site")
        .start();
    assert_eq!(httpd.get("/hello").status, 200);
    (site, httpd)
}

#[test]
fn a_large_upload_is_byte_exact() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve();
        let worker = httpd.wait_for_workers(1, Duration::from_secs(20))[0];
        let before = worker.resident();
        let report = httpd
            .client()
            .send(&Request::post_pattern("/upload", LARGE))
            .expect("an answer")
            .json();
        assert_eq!(
            report,
            serde_json::json!({"length": LARGE, "wrong_at": null})
        );
        let grown = worker.resident().saturating_sub(before);
        assert!(grown < LARGE / 4, "the worker grew by {grown} bytes");
        httpd.stop();
    });
}

#[test]
fn a_large_download_is_byte_exact() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve();
        for path in [
            format!("/download?length={LARGE}"),
            format!("/download?length={LARGE}&chunked="),
        ] {
            let mut checker = Checker::default();
            let request = Request::new("GET", &path);
            let response = httpd
                .client()
                .send_with(&request, &mut |piece| checker.feed(piece))
                .expect("an answer");
            assert_eq!(response.status, 200);
            checker.assert_exact(LARGE);
        }
        let worker = httpd.wait_for_workers(1, Duration::from_secs(20))[0];
        assert!(
            worker.resident() < LARGE,
            "the worker holds {} bytes",
            worker.resident()
        );
        httpd.stop();
    });
}

#[test]
fn a_body_comes_back_while_it_is_sent() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve();
        let mut checker = Checker::default();
        let request = Request::post_pattern("/duplex", LARGE / 2);
        httpd
            .client()
            .send_with(&request, &mut |piece| checker.feed(piece))
            .expect("an answer");
        checker.assert_exact(LARGE / 2);
        httpd.stop();
    });
}

#[test]
fn a_large_upload_can_be_refused_unread() {
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve();
        let begun = Instant::now();
        let response = httpd
            .client()
            .send(&Request::post_pattern("/reject", LARGE))
            .expect("an answer");
        assert_eq!(
            (response.status, response.text().as_str()),
            (413, "too large\n")
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "the answer took {:?}",
            begun.elapsed()
        );
        assert_eq!(httpd.get("/hello").status, 200);
        httpd.stop();
    });
}

#[test]
fn continue_is_said_when_the_application_reads_and_not_before() {
    use std::io::{Read as _, Write as _};
    heavy_case(Limit::default(), || {
        let (_site, httpd) = serve();
        let ask = |path: &str| {
            let mut stream = std::net::TcpStream::connect(httpd.address()).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            (stream, String::from_utf8_lossy(&first).into_owned())
        };
        let (mut stream, first) = ask("/echo");
        assert_eq!(first, "HTTP/1.1 100");
        stream.write_all(b"12345").unwrap();
        let mut rest = [0; 4096];
        let mut text = String::new();
        while !text.ends_with("12345") {
            let count = stream.read(&mut rest).unwrap();
            assert!(count > 0, "the answer ended: {text}");
            text += &String::from_utf8_lossy(&rest[..count]);
        }
        assert!(text.contains("HTTP/1.1 200"), "{text}");
        let (_stream, first) = ask("/reject");
        assert_eq!(first, "HTTP/1.1 413", "no 100 before a refusal");
        httpd.stop();
    });
}
