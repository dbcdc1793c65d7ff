//! A request goes the whole way and back: PEP 3333 and HTTP as applications see
//! them, on every MPM.

use std::time::Duration;

use wsgid_tests::{Httpd, Limit, Mpm, Python, Request, Site, case, on_every_mpm};

/// A server with the probe at `/` and the refereed probe at `/v`.
fn probe() -> (Site, Httpd) {
    probe_on(Mpm::Event)
}

fn probe_on(mpm: Mpm) -> (Site, Httpd) {
    let site = Site::new();
    let options = format!(
        "processes=1 threads=5 python-home={} {}",
        Python::any().home.display(),
        site.python_path()
    );
    let httpd = Httpd::builder()
        .mpm(mpm)
        .daemon("site", &options)
        .mount("/v", &site.file("validated.py"), "site")
        .mount("/sent", &site.file("probe.py"), "site")
        .line("<Location /sent>\n  EnableSendfile On\n  WSGIEnableSendfile On\n</Location>")
        .mount("/", &site.file("probe.py"), "site")
        .start();
    (site, httpd)
}

#[test]
fn hello_on_every_mpm() {
    on_every_mpm(Limit::seconds(60), move |mpm| {
        let (_site, httpd) = probe_on(mpm);
        let response = httpd.get("/hello");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "Hello World!"),
            "{mpm:?}"
        );
        assert_eq!(response.header("Content-Length"), Some("12"));
        httpd.stop();
    });
}

#[test]
fn a_group_that_nobody_defined_runs_as_the_user_of_httpd() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "who.py",
            "import os\ndef application(environ, start_response):\n    \
            start_response('200 OK', [])\n    return [str(os.getuid()).encode()]\n",
        );
        let httpd = Httpd::builder().mount_with("/", &script, "").start();
        assert_eq!(
            httpd.get("/").text(),
            wsgid_tests::users::of_httpd().uid.to_string()
        );
        httpd.stop();
    });
}

/// What PyO3 makes of a panic, it makes a panic of again when it gets it back.
#[test]
fn a_panic_in_a_worker_ends_one_request() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "panic.py",
            "import os\n\
            PANIC = [kind for kind in BaseException.__subclasses__() if kind.__module__ == 'pyo3_runtime'][0]\n\
            def application(environ, start_response):\n    \
            if environ['PATH_INFO'] == '/before': raise PANIC('before the head')\n    \
            write = start_response('200 OK', [])\n    \
            if environ['PATH_INFO'] == '/after': write(b'x' * 100000); raise PANIC('after the head')\n    \
            return [str(os.getpid()).encode()]\n",
        );
        let options = format!(
            "processes=1 threads=2 python-home={}",
            Python::any().home.display()
        );
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &script, "site")
            .start();
        let worker = httpd.get("/").text();
        for _ in 0..4 {
            assert_eq!(httpd.get("/before").status, 500);
            assert!(
                httpd.client().get("/after").is_err(),
                "an answer that was begun is broken off"
            );
            assert_eq!(httpd.get("/").text(), worker, "the worker goes on");
        }
        for text in [
            "panic in the worker: before the head",
            "panic in the worker: after the head",
        ] {
            let _ = httpd.wait_for_log(text, Duration::from_secs(10));
        }
        httpd.stop();
    });
}

#[test]
fn the_environ_is_what_cgi_and_pep_3333_say() {
    case(Limit::default(), || {
        let (site, httpd) = probe();
        let request = Request::new("GET", "/environ/a%20b?x=1&y=%C3%A4")
            .header("X-Custom-Name", "caf\u{e9}")
            .header("Authorization", "Basic Zm9vOmJhcg==")
            .header("Proxy", "http://evil.example/")
            .header("X_Under", "score");
        let environ = httpd.client().send(&request).unwrap().json();
        let get = |key: &str| environ[key].as_str().map(str::to_owned);
        let expected = [
            ("REQUEST_METHOD", "GET"),
            ("SCRIPT_NAME", ""),
            ("PATH_INFO", "/environ/a b"),
            ("QUERY_STRING", "x=1&y=%C3%A4"),
            ("REQUEST_URI", "/environ/a%20b?x=1&y=%C3%A4"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("wsgi.version", "(1, 0)"),
            ("wsgi.url_scheme", "http"),
            ("wsgi.multithread", "True"),
            ("wsgi.multiprocess", "True"),
            ("wsgi.run_once", "False"),
            ("wsgi.input_terminated", "True"),
            ("mod_wsgi.process_group", "site"),
            ("mod_wsgi.application_group", ""),
            ("mod_wsgi.callable_object", "application"),
        ];
        for (key, value) in expected {
            assert_eq!(get(key).as_deref(), Some(value), "{key} in {environ:#}");
        }
        assert_eq!(get("SERVER_PORT"), Some(httpd.address().port().to_string()));
        assert_eq!(
            get("SCRIPT_FILENAME"),
            Some(site.file("probe.py").display().to_string())
        );
        assert_eq!(
            get("HTTP_X_CUSTOM_NAME"),
            Some("caf\u{c3}\u{a9}".to_owned()),
            "UTF-8 bytes as latin-1 text"
        );
        for absent in [
            "HTTP_AUTHORIZATION",
            "HTTP_PROXY",
            "HTTPS",
            "CONTENT_LENGTH",
        ] {
            assert_eq!(get(absent), None, "{absent}");
        }
        httpd.stop();
    });
}

#[test]
fn bodies_arrive_however_they_are_sent_and_read() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let mut client = httpd.client();
        let text = "one\ntwo\n\nlast without an end";
        for how in ["iterate", "readlines", "readline"] {
            let path = format!("/lines?how={how}");
            let lines = client.send(&Request::post(&path, text)).unwrap().json();
            assert_eq!(
                lines,
                serde_json::json!(["one\n", "two\n", "\n", "last without an end"]),
                "{how}"
            );
        }
        let lines = client
            .send(&Request::post("/lines?how=readline5", "1234567\nab\n"))
            .unwrap()
            .json();
        assert_eq!(lines, serde_json::json!(["12345", "67\n", "ab\n"]));
        let parts = client
            .send(&Request::post("/lines?how=read3", "12345678"))
            .unwrap()
            .json();
        assert_eq!(parts, serde_json::json!(["123", "456", "78"]));
        let empty = client
            .send(&Request::new("GET", "/lines?how=read3"))
            .unwrap()
            .json();
        assert_eq!(empty, serde_json::json!([]));
        httpd.stop();
    });
}

#[test]
fn chunked_bodies_need_the_directive() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = Httpd::builder()
            .daemon("site", &format!("threads=2 {}", site.python_path()))
            .mount("/", &site.file("probe.py"), "site")
            .line("<Location /echo>\n  WSGIChunkedRequest On\n</Location>")
            .start();
        let mut client = httpd.client();
        let chunks: [&[u8]; 3] = [b"first ", b"second ", b"third"];
        let response = client
            .send(&Request::post_chunks("/echo", &chunks))
            .unwrap();
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "first second third")
        );
        let refused = httpd
            .client()
            .send(&Request::post_chunks("/upload", &chunks))
            .unwrap();
        assert_eq!(refused.status, 411, "without WSGIChunkedRequest");
        httpd.stop();
    });
}

#[test]
fn responses_are_made_in_every_way_pep_3333_knows() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let mut client = httpd.client();
        assert_eq!(client.get("/write").unwrap().text(), "one two three");
        let replaced = client.get("/late").unwrap();
        assert_eq!(
            (replaced.status, replaced.reason.as_str()),
            (503, "Second Thoughts")
        );
        assert_eq!(replaced.text(), "replaced");
        let teapot = client
            .get("/status?line=418+I'm+a+teapot&body=short")
            .unwrap();
        assert_eq!(
            (
                teapot.status,
                teapot.reason.as_str(),
                teapot.text().as_str()
            ),
            (418, "I'm a teapot", "short")
        );
        let head = client.send(&Request::new("HEAD", "/hello")).unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0));
        let nothing = client.get("/status?line=204+No+Content").unwrap();
        assert_eq!(
            (
                nothing.status,
                nothing.body.len(),
                nothing.header("Content-Length")
            ),
            (204, 0, None)
        );
        let cookies = client
            .get("/status?headers=Set-Cookie=a%3D1;Set-Cookie=b%3D2")
            .unwrap();
        let values: Vec<_> = cookies
            .headers
            .iter()
            .filter(|(name, _)| name == "Set-Cookie")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(values, ["a=1", "b=2"]);
        assert_eq!(client.get("/nowhere").unwrap().status, 404);
        httpd.stop();
    });
}

#[test]
fn the_referee_of_the_standard_library_finds_no_fault() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let mut client = httpd.client();
        for path in [
            "/v/hello",
            "/v/environ",
            "/v/write",
            "/v/stream?pieces=3&pause=0.01",
            "/v/late",
        ] {
            let response = client.get(path).unwrap();
            assert!(
                matches!(response.status, 200 | 503),
                "{path}: {}\n{}",
                response.status,
                response.text()
            );
        }
        for how in ["iterate", "readline5", "read3"] {
            let path = format!("/v/lines?how={how}");
            assert_eq!(
                client.send(&Request::post(&path, "a\nb\n")).unwrap().status,
                200,
                "{how}"
            );
        }
        assert_eq!(
            client
                .send(&Request::post("/v/whole", "all of it"))
                .unwrap()
                .text(),
            "all of it"
        );
        assert!(
            !httpd.error_log().contains("AssertionError"),
            "{}",
            httpd.error_log()
        );
        httpd.stop();
    });
}

#[test]
fn pieces_reach_the_client_when_they_are_yielded() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let begun = std::time::Instant::now();
        let mut arrivals = Vec::new();
        let request = Request::new("GET", "/stream?pieces=4&pause=0.3");
        httpd
            .client()
            .send_with(&request, &mut |_piece| arrivals.push(begun.elapsed()))
            .unwrap();
        assert!(arrivals.len() >= 5, "{arrivals:?}");
        let first = arrivals[0];
        assert!(
            first + Duration::from_millis(900) < arrivals[arrivals.len() - 1],
            "all came at once: {arrivals:?}"
        );
        httpd.stop();
    });
}

#[test]
fn an_exception_before_the_response_is_500_with_its_traceback_in_the_log() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let response = httpd.get("/fail");
        assert_eq!(response.status, 500);
        assert!(
            !response.text().contains("raised on purpose"),
            "a traceback is not for the client"
        );
        let line = httpd.wait_for_log("RuntimeError: raised on purpose", Duration::from_secs(5));
        assert!(
            line.contains("client 127.0.0.1"),
            "the line belongs to the request: {line}"
        );
        assert_eq!(httpd.get("/system_exit").status, 500);
        assert_eq!(httpd.get("/hello").status, 200, "the worker serves on");
        httpd.stop();
    });
}

#[test]
fn an_exception_after_the_first_piece_breaks_the_transfer() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        let result = httpd.client().get("/fail?when=later");
        assert!(
            matches!(
                result,
                Err(wsgid_tests::ClientError::Truncated {
                    status: Some(200),
                    ..
                })
            ),
            "a broken response must not look complete: {result:?}"
        );
        httpd.wait_for_log("raised on purpose, later", Duration::from_secs(5));
        assert_eq!(httpd.get("/hello").status, 200);
        httpd.stop();
    });
}

#[test]
fn what_an_application_prints_is_in_the_error_log() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        assert_eq!(httpd.get("/log?text=marker").status, 200);
        for source in ["errors: marker", "stdout: marker", "stderr: marker"] {
            httpd.wait_for_log(source, Duration::from_secs(5));
        }
        httpd.stop();
    });
}

#[test]
fn close_is_called_once_also_when_the_client_leaves() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        assert_eq!(httpd.get("/closing?name=whole").status, 200);
        {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(httpd.address()).unwrap();
            write!(
                stream,
                "GET /closing?name=left&pieces=100000 HTTP/1.1\r\nHost: x\r\n\r\n"
            )
            .unwrap();
            stream.read_exact(&mut [0; 1000]).unwrap();
        }
        let closed = wsgid_tests::eventually("close()", Duration::from_secs(20), || {
            let closed = httpd.get("/closed").json();
            (closed.as_array().unwrap().len() >= 2).then_some(closed)
        });
        assert_eq!(closed, serde_json::json!(["whole", "left"]));
        httpd.stop();
    });
}

#[test]
fn the_callable_can_have_another_name() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "named.py",
            "def other(environ, start_response):\n    start_response('200 OK', [])\n    return [b'other']\n",
        );
        let httpd = Httpd::builder()
            .daemon("site", "threads=2")
            .mount("/a", &script, "site")
            .line("<Location /a>\n  WSGICallableObject other\n</Location>")
            .mount_with("/b", &script, "process-group=site callable-object=other")
            .mount("/c", &script, "site")
            .start();
        assert_eq!(httpd.get("/a").text(), "other");
        assert_eq!(httpd.get("/b").text(), "other");
        assert_eq!(httpd.get("/c").status, 500);
        httpd.wait_for_log("application", Duration::from_secs(5));
        httpd.stop();
    });
}

#[test]
fn a_file_by_file_wrapper_is_byte_exact() {
    case(Limit::default(), || {
        let (site, httpd) = probe();
        let mut bytes = Vec::new();
        while bytes.len() < 3_000_000 {
            bytes.extend_from_slice(wsgid_tests::pattern::piece(bytes.len() as u64, 65_521));
        }
        let path = site.path().join("large.bin");
        std::fs::write(&path, &bytes).unwrap();
        for at in ["/sent", ""] {
            let response = httpd.get(&format!("{at}/file?path={}", path.display()));
            assert_eq!(response.status, 200);
            assert!(
                response.body == bytes,
                "{at}: {} of {} bytes",
                response.body.len(),
                bytes.len()
            );
        }
        httpd.stop();
    });
}
