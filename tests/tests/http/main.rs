//! What HTTP says where an application or a client is careless.

mod responses;
mod server;
mod urls;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use wsgid_tests::client::raw;
use wsgid_tests::{Client, Httpd, Limit, Request, Site, case, eventually, on_every_mpm};

use crate::server::{SOON, builder, get, probe, scripted};

#[test]
fn a_body_above_the_limit_never_reaches_the_application() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = builder(&site)
            .mount("/", &site.file("probe.py"), "site")
            .line("LimitRequestBody 1000")
            .start();
        assert_eq!(
            httpd
                .client()
                .send(&Request::post("/echo", vec![b'x'; 1000]))
                .expect("an answer")
                .status,
            200
        );
        assert_eq!(
            httpd
                .client()
                .send(&Request::post("/echo", vec![b'x'; 1001]))
                .expect("an answer")
                .status,
            413
        );
        httpd.stop();
    });
}

#[test]
fn a_client_that_leaves_in_its_body_is_an_error_for_the_reader() {
    case(Limit::default(), || {
        let (_site, httpd) = scripted(
            "seen = globals().setdefault('seen', [])\n\
             if environ['REQUEST_METHOD'] == 'POST':\n    \
             try:\n        data = environ['wsgi.input'].read()\n        seen.append('read %d' % len(data))\n    \
             except OSError:\n        seen.append('raised')\n\
             start_response('200 OK', [])\nreturn [' '.join(seen).encode()]",
        );
        // Longer than what httpd reads ahead, so that the application is in the middle of it.
        let mut stream = TcpStream::connect(httpd.address()).expect("a connection");
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        )
        .expect("it is read");
        stream.write_all(&[b'x'; 200_000]).expect("it is read");
        drop(stream);
        let seen = eventually("what the application saw", SOON, || {
            let text = get(&httpd, "/").text();
            (!text.is_empty()).then_some(text)
        });
        assert_eq!(seen, "raised", "a cut body must not look complete");
        let whole = httpd
            .client()
            .send(&Request::post("/", "abc"))
            .expect("an answer");
        assert_eq!(whole.text(), "raised read 3");
        httpd.stop();
    });
}

#[test]
fn a_client_that_closes_its_half_after_the_request_is_answered() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let mut stream = TcpStream::connect(httpd.address()).expect("a connection");
        write!(
            stream,
            "GET /sleep?seconds=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("it is read");
        stream
            .shutdown(Shutdown::Write)
            .expect("half of it is closed");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        httpd.stop();
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    on_every_mpm(Limit::default(), move |mpm| {
        let site = Site::new();
        let httpd = builder(&site)
            .mpm(mpm)
            .mount("/", &site.file("probe.py"), "site")
            .start();
        let requests = "GET /sleep?seconds=0.5 HTTP/1.1\r\nHost: x\r\n\r\n\
                            POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond\
                            GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = raw(httpd.address(), requests.as_bytes());
        let places: Vec<_> = ["\"pid\"", "second", "Hello World!"]
            .iter()
            .map(|text| answer.find(text))
            .collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{mpm:?}: {answer}"
        );
        httpd.stop();
    });
}

#[test]
fn doubtful_framing_never_makes_two_requests_of_one() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        for head in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Content-Length: 4\r\nContent-Length: 5\r\n",
            "Content-Length: +4\r\n",
            "Transfer-Encoding:\x0bchunked\r\n",
        ] {
            let text = format!("POST /echo HTTP/1.1\r\nHost: x\r\n{head}\r\n0\r\n\r\n{smuggled}");
            let mut stream = TcpStream::connect(httpd.address()).expect("a connection");
            stream.write_all(text.as_bytes()).expect("it is read");
            stream
                .shutdown(Shutdown::Write)
                .expect("half of it is closed");
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            let answers = answer.matches("HTTP/1.1 ").count();
            assert!(answers == 1, "{head:?} got {answers} answers: {answer}");
        }
        assert!(
            !httpd.access_log().contains("/smuggled"),
            "{}",
            httpd.access_log()
        );
        httpd.stop();
    });
}

#[test]
fn authorization_is_passed_on_only_if_asked_for() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = builder(&site)
            .mount("/passed", &site.file("probe.py"), "site")
            .mount("/", &site.file("probe.py"), "site")
            .line("<Location /passed>\n  WSGIPassAuthorization On\n</Location>")
            .start();
        let ask = |path: &str| {
            let request = Request::new("GET", path).header("Authorization", "Basic Zm9vOmJhcg==");
            httpd.client().send(&request).expect("an answer").json()["HTTP_AUTHORIZATION"].clone()
        };
        assert_eq!(ask("/environ"), serde_json::Value::Null);
        assert_eq!(ask("/passed/environ"), "Basic Zm9vOmJhcg==");
        httpd.stop();
    });
}

#[test]
fn headers_that_pass_for_others_are_left_out() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let head = "GET /environ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nProxy: http://evil.example\r\n\
                    X_Forwarded_For: 6.6.6.6\r\nX.Forwarded.Host: evil.example\r\nX-Real-Ip: 192.0.2.1\r\n\r\n";
        let answer = raw(httpd.address(), head.as_bytes());
        assert!(
            answer.contains("HTTP_X_REAL_IP") && answer.contains("192.0.2.1"),
            "{answer}"
        );
        for absent in [
            "HTTP_PROXY",
            "evil.example",
            "6.6.6.6",
            "X_FORWARDED_FOR",
            "X_FORWARDED_HOST",
        ] {
            assert!(!answer.contains(absent), "{absent}: {answer}");
        }
        httpd.stop();
    });
}

#[test]
fn a_slow_client_does_not_keep_others_from_the_worker() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = Httpd::builder()
            .daemon(
                "site",
                &format!("processes=1 threads=1 {}", site.python_path()),
            )
            .mount("/", &site.file("probe.py"), "site")
            .start();
        // A body that is small and never finished: no worker may wait for it.
        let mut slow = TcpStream::connect(httpd.address()).expect("a connection");
        write!(
            slow,
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
        )
        .expect("it is read");
        let answer = eventually("an answer beside the slow client", SOON, || {
            Client::new(httpd.address())
                .timeout(Duration::from_secs(3))
                .get("/hello")
                .ok()
        });
        assert_eq!(answer.status, 200);
        drop(slow);
        httpd.stop();
    });
}
