//! Responses that an application may not give, and what becomes of them.

use wsgid_tests::{ClientError, Limit, Request, Site, case};

use crate::server::{builder, get, probe, scripted};

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
