//! What HTTP says where an application or a client is careless.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use wsgid_tests::client::raw;
use wsgid_tests::{
    Client, ClientError, Httpd, Json, Limit, Request, Response, Site, case, eventually,
    on_every_mpm,
};

const SOON: Duration = Duration::from_secs(10);

fn builder(site: &Site) -> wsgid_tests::Builder {
    Httpd::builder().daemon(
        "site",
        &format!("processes=1 threads=4 {}", site.python_path()),
    )
}

fn probe() -> (Site, Httpd) {
    let site = Site::new();
    let httpd = builder(&site)
        .mount("/", &site.file("probe.py"), "site")
        .start();
    (site, httpd)
}

/// A script with this as the body of its application.
fn scripted(body: &str) -> (Site, Httpd) {
    let site = Site::new();
    let indented = body.replace('\n', "\n    ");
    let script = site.write(
        "app.py",
        &format!("import os\n\ndef application(environ, start_response):\n    {indented}\n"),
    );
    let httpd = builder(&site).mount("/", &script, "site").start();
    (site, httpd)
}

fn get(httpd: &Httpd, path: &str) -> Response {
    httpd.client().get(path).expect("a complete answer")
}

#[test]
fn a_status_line_that_is_none_is_an_error() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        for line in ["99+Low", "600+High", "abc", "2000+OK", "", "200%0d%0aX:+y"] {
            let response = get(&httpd, &format!("/status?line={line}"));
            assert!(
                response.status >= 500 || line.is_empty(),
                "{line}: {}",
                response.status
            );
            assert_eq!(response.header("X"), None, "{line}");
        }
        assert_eq!(get(&httpd, "/hello").status, 200);
        httpd.stop();
    });
}

#[test]
fn a_header_cannot_smuggle_another() {
    case(Limit::default(), || {
        let (_site, httpd) = probe();
        for header in [
            "X=a%250d%250aInjected:%2520yes",
            "X=a%250aInjected:%2520yes",
            "X%250aInjected=yes",
            "X%2520Y=1",
            "=empty",
        ] {
            let response = get(&httpd, &format!("/status?headers={header}"));
            assert_eq!(response.header("Injected"), None, "{header}");
            if header.contains("%25") {
                assert!(response.status >= 500, "{header}: {}", response.status);
            }
        }
        httpd.stop();
    });
}

#[test]
fn headers_of_the_connection_are_the_servers() {
    case(Limit::default(), || {
        let (_site, httpd) = scripted(
            "start_response('200 OK', [('Transfer-Encoding', 'chunked'), ('Connection', 'close'), \
             ('Keep-Alive', 'timeout=9'), ('Upgrade', 'x'), ('Date', 'never'), ('Server', 'mine'), \
             ('Content-Type', 'text/plain')])\nreturn [b'body']",
        );
        let response = get(&httpd, "/");
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "body"),
            "{response:?}"
        );
        assert_eq!(response.header("Upgrade"), None);
        assert_ne!(response.header("Date"), Some("never"));
        assert_ne!(response.header("Server"), Some("mine"));
        assert_ne!(response.header("Keep-Alive"), Some("timeout=9"));
        httpd.stop();
    });
}

#[test]
fn no_content_type_is_taken_from_the_name_of_the_script() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write(
            "app.py",
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n",
        );
        let httpd = builder(&site)
            .mount("/", &script, "site")
            .line("AddType text/x-python .py")
            .start();
        assert_eq!(get(&httpd, "/").header("Content-Type"), None);
        httpd.stop();
    });
}

#[test]
fn answers_without_a_body_have_none() {
    case(Limit::default(), || {
        let (_site, httpd) = scripted(
            "status = environ['QUERY_STRING'].replace('+', ' ')\n\
             start_response(status, [('Content-Type', 'text/plain'), ('ETag', '\"x\"')])\nreturn [b'not to be sent']",
        );
        let mut client = httpd.client();
        for status in ["204+No+Content", "304+Not+Modified"] {
            let response = client.get(&format!("/?{status}")).expect("an answer");
            assert_eq!(response.body.len(), 0, "{status}");
            assert!(
                client.connected(),
                "{status}: the connection is good for more"
            );
        }
        let full = client.get("/?200+OK").expect("an answer");
        assert_eq!(full.text(), "not to be sent");
        let head = client
            .send(&Request::new("HEAD", "/?200+OK"))
            .expect("an answer");
        assert_eq!((head.status, head.header("ETag")), (200, Some("\"x\"")));
        assert_eq!(
            client.get("/?200+OK").expect("an answer").text(),
            "not to be sent",
            "after HEAD"
        );
        httpd.stop();
    });
}

#[test]
fn content_length_is_policed() {
    case(Limit::default(), || {
        let (_site, httpd) = scripted(
            "length = environ['QUERY_STRING']\n\
             start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', length)])\n\
             return iter([b'01234', b'56789'])",
        );
        let exact = get(&httpd, "/?10");
        assert_eq!(exact.text(), "0123456789");
        let mut client = httpd.client();
        let small = client.get("/?5").expect("what was announced came");
        assert_eq!(small.text(), "01234", "what is too much never leaves");
        if client.connected() {
            assert_eq!(
                client
                    .get("/?10")
                    .expect("the next answer is intact")
                    .text(),
                "0123456789"
            );
        }
        // Too little is never a complete 200: an error page while nothing has
        // left, a broken transfer afterwards.
        let large = httpd.client().get("/?20");
        let told = match &large {
            Ok(response) => response.status == 500,
            Err(error) => matches!(error, ClientError::Truncated { .. }),
        };
        assert!(told, "{large:?}");
        for wrong in ["-1", "abc", "1.5", "99999999999999999999"] {
            let response = get(&httpd, &format!("/?{wrong}"));
            assert!(response.status >= 500, "{wrong}: {}", response.status);
        }
        httpd.stop();
    });
}

#[test]
fn a_location_with_200_is_redirected_inside() {
    case(Limit::default(), || {
        let (_site, httpd) = scripted(
            "if environ['PATH_INFO'] == '/from':\n    \
             start_response('200 OK', [('Location', '/to?x=1')])\n    return [b'']\n\
             if environ['PATH_INFO'] == '/out':\n    \
             start_response('302 Found', [('Location', '/to')])\n    return [b'']\n\
             start_response('200 OK', [('Content-Type', 'text/plain')])\n\
             return [(environ['PATH_INFO'] + '?' + environ['QUERY_STRING']).encode()]",
        );
        assert_eq!(get(&httpd, "/from").text(), "/to?x=1");
        let out = get(&httpd, "/out");
        assert_eq!(
            (
                out.status,
                out.header("Location").map(|to| to.ends_with("/to"))
            ),
            (302, Some(true))
        );
        httpd.stop();
    });
}

#[test]
fn error_pages_are_httpds_only_if_asked_for() {
    case(Limit::default(), || {
        let site = Site::new();
        let httpd = builder(&site)
            .mount("/own", &site.file("probe.py"), "site")
            .mount("/", &site.file("probe.py"), "site")
            .line("ErrorDocument 404 \"httpd says no\"\n<Location /own>\n  WSGIErrorOverride Off\n</Location>")
            .line("<Location /status>\n  WSGIErrorOverride On\n</Location>")
            .start();
        let theirs = get(&httpd, "/status?line=404+Not+Found&body=mine");
        assert_eq!(
            (theirs.status, theirs.text().as_str()),
            (404, "httpd says no")
        );
        let own = get(&httpd, "/own/status?line=404+Not+Found&body=mine");
        assert_eq!((own.status, own.text().as_str()), (404, "mine"));
        httpd.stop();
    });
}

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
fn odd_urls_find_their_scripts_or_nothing() {
    case(Limit::default(), || {
        let site = Site::new();
        let probe = site.file("probe.py");
        let directory = site.path().display();
        site.write("inner/file.txt", "a file\n");
        let httpd = builder(&site)
            // An Alias that stands before wins, and one that stands behind (mod_alias asks first).
            .line(format!("Alias /app/static {directory}/inner"))
            .mount("/app", &probe, "site")
            .line(format!("Alias /app/later {directory}/inner"))
            .line("WSGIProcessGroup site")
            .line(format!("WSGIScriptAlias /folder {directory}/inner"))
            .mount("/closed", &probe, "site")
            .line("<Location /closed>\n  AcceptPathInfo Off\n</Location>")
            .mount("/slashes", &probe, "site")
            .line("AllowEncodedSlashes NoDecode")
            .start();
        let raw = |path: &str| {
            let text = raw(
                httpd.address(),
                format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
            );
            let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
            (
                head.get(9..12).unwrap_or_default().to_owned(),
                body.to_owned(),
            )
        };
        assert_eq!(
            raw("/app/static/file.txt"),
            ("200".to_owned(), "a file\n".to_owned())
        );
        assert_eq!(
            raw("/app/later/file.txt"),
            ("200".to_owned(), "a file\n".to_owned())
        );
        assert_eq!(raw("/app/hello").1, "Hello World!");
        assert_eq!(
            raw("/folder").0,
            "301",
            "mod_dir sends to the directory, whatever it is for"
        );
        assert_eq!(raw("/folder/").0, "403", "a directory is no script");
        assert_eq!(
            raw("/closed").0,
            "404",
            "the probe knows no empty path, and httpd let it through"
        );
        assert_eq!(raw("/closed/hello").0, "404");
        let environ = |path: &str| -> Json {
            let (status, body) = raw(path);
            assert_eq!(status, "200", "{path}: {body}");
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
        };
        for (path, script_name, path_info) in [
            ("/app/environ/a%2Fb", "/app", "/environ/a%2Fb"),
            (
                "/app/environ/a%20b%C3%A9",
                "/app",
                "/environ/a b\u{c3}\u{a9}",
            ),
            ("/app/./environ/../environ/x", "/app", "/environ/x"),
            ("/app//environ//x", "/app", "/environ/x"),
            ("//app/environ", "/app", "/environ"),
        ] {
            let told = environ(path);
            assert_eq!(
                (&told["SCRIPT_NAME"], &told["PATH_INFO"]),
                (&script_name.into(), &path_info.into()),
                "{path}"
            );
            assert_eq!(told["REQUEST_URI"], path, "it is as the client wrote it");
        }
        for path in [
            "/app/../../../etc/passwd",
            "/app/%2e%2e/%2e%2e/etc/passwd",
            "/slashes/%00",
        ] {
            let (status, body) = raw(path);
            assert!(
                ["400", "403", "404"].contains(&status.as_str()),
                "{path}: {status} {body}"
            );
        }
        httpd.stop();
    });
}

#[test]
fn urls_find_their_scripts() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write(
            "scripts/one.wsgi",
            &std::fs::read_to_string(site.file("hello.py")).expect("it is there"),
        );
        let directory = site.file("scripts").display().to_string();
        let grant = format!("<Directory {directory}>\n  Require all granted\n</Directory>");
        let probe = site.file("probe.py");
        let httpd = builder(&site)
            .line("WSGIProcessGroup site")
            .line(format!("WSGIScriptAlias /dir/ {directory}/"))
            .line(format!("WSGIScriptAliasMatch ^/match/([a-z]+) {directory}/$1.wsgi"))
            .line(grant)
            .mount("/deep", &probe, "site")
            .line(format!(
                "Alias /files {directory}\n<Directory {directory}>\n  AddHandler wsgi-script .wsgi\n</Directory>"
            ))
            .line(format!("Alias /exec {directory}\n<Location /exec>\n  Options +ExecCGI\n</Location>"))
            .start();
        let status = |path: &str| get(&httpd, path).status;
        assert_eq!(get(&httpd, "/dir/one.wsgi/more").text(), "Hello World!");
        assert_eq!(get(&httpd, "/match/one").text(), "Hello World!");
        assert_eq!(get(&httpd, "/exec/one.wsgi").text(), "Hello World!");
        assert_eq!(status("/files/one.wsgi"), 403, "without ExecCGI");
        assert_eq!(status("/dir/none.wsgi"), 404);
        let environ = get(&httpd, "/deep/environ/x").json();
        assert_eq!(
            (&environ["SCRIPT_NAME"], &environ["PATH_INFO"]),
            (&"/deep".into(), &"/environ/x".into())
        );
        assert_eq!(status("/deeper/environ"), 404, "an alias ends at a slash");
        httpd.stop();
    });
}

#[test]
fn application_groups_are_processes_of_their_own() {
    case(Limit::default(), || {
        let site = Site::new();
        let probe = site.file("probe.py");
        let httpd = builder(&site)
            .mount_with("/one", &probe, "process-group=site application-group=one")
            .mount_with("/two", &probe, "process-group=site application-group=two")
            .mount_with(
                "/also-one",
                &probe,
                "process-group=site application-group=one",
            )
            .start();
        let pid = |at: &str| get(&httpd, &format!("/{at}/info")).json()["pid"].clone();
        assert_eq!(pid("one"), pid("also-one"));
        assert_ne!(pid("one"), pid("two"));
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
