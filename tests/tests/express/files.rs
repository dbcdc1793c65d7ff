//! Files, handlers, error documents and proxies beside the application.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};

use wsgid_tests::{Express, Limit, Site, case};

const APPLICATION: &str = "def application(environ, start_response):\n\
    \x20   path = environ['PATH_INFO']\n\
    \x20   status = '500 Broken' if path == '/broken' else '200 OK'\n\
    \x20   start_response(status, [('Content-Type', 'text/plain')])\n\
    \x20   return [b'application ' + path.encode()]\n";

const RESOURCE: &str = "def handle_request(environ, start_response):\n\
    \x20   with open(environ['SCRIPT_FILENAME'], 'rb') as stream:\n\
    \x20       text = stream.read().upper()\n\
    \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
    \x20   return [text]\n";

#[test]
fn files_win_over_the_application() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("www/page.txt", "a file");
        site.write("www/dir/index.html", "an index");
        site.write("www/empty/.keep", "");
        site.write("www/notes.up", "shouted");
        site.write("www/.htaccess", "nonsense is not read");
        site.write("media/one.css", "css");
        site.write("media/deep/two.txt", "deep");
        site.write("other/two.txt", "the longer alias");
        let single = site.write("icon.ico", "icon");
        let handler = site.write("shout.py", RESOURCE);
        let script = site.write("plain.py", APPLICATION);
        let mut server = Express::new()
            .args(&["--document-root"])
            .path(&site.file("www"))
            .args(&["--directory-index", "index.html", "--url-alias", "/media"])
            .path(&site.file("media"))
            .args(&["--url-alias", "/media/deep"])
            .path(&site.file("other"))
            .args(&["--url-alias", "/favicon.ico"])
            .path(&single)
            .args(&["--add-handler", ".up"])
            .path(&handler)
            .path(&script)
            .start();
        let rows = [
            ("/page.txt", "a file"),
            ("/dir/", "an index"),
            ("/empty/", "application /empty/"),
            ("/anything/else", "application /anything/else"),
            ("/media/one.css", "css"),
            ("/media/deep/two.txt", "the longer alias"),
            ("/favicon.ico", "icon"),
            ("/notes.up", "SHOUTED"),
        ];
        for (path, text) in rows {
            assert_eq!(server.get(path).text(), text, "{path}");
        }
        assert_eq!(
            server.get("/media/none").status,
            404,
            "an alias is not the application's"
        );
        assert_eq!(server.get("/.htaccess").status, 403);
        server.stop();
    });
}

#[test]
fn error_documents_replace_the_applications_own() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("www/sorry.html", "we are sorry");
        let script = site.write("plain.py", APPLICATION);
        let mut server = Express::new()
            .args(&["--document-root"])
            .path(&site.file("www"))
            .args(&[
                "--error-override",
                "--error-document",
                "500",
                "/sorry.html",
                "--compress-responses",
            ])
            .path(&script)
            .start();
        let got = server.get("/broken");
        assert_eq!((got.status, got.text().as_str()), (500, "we are sorry"));
        assert_eq!(server.get("/fine").text(), "application /fine");
        server.stop();
    });
}

/// Answers each connection with what it was asked, and closes it.
fn mirror() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = Vec::new();
            let mut byte = [0_u8];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|len| len > 0) {
                head.push(byte[0]);
            }
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                head.len()
            );
            let _ = stream.write_all(&head);
        }
    });
    port
}

#[test]
fn paths_and_names_are_handed_to_other_servers() {
    case(Limit::default(), || {
        let site = Site::new();
        let behind = format!("http://127.0.0.1:{}/", mirror());
        let script = site.write("plain.py", APPLICATION);
        let mut server = Express::new()
            .args(&[
                "--proxy-mount-point",
                "/other/",
                &behind,
                "--proxy-virtual-host",
                "other.test",
                &behind,
            ])
            .path(&script)
            .start();
        let port = server.port();
        assert_eq!(server.get("/page").text(), "application /page");
        let got = server.get("/other/page?q=1").text();
        assert!(got.starts_with("GET /page?q=1 HTTP/1.1"), "{got}");
        for line in [
            format!("X-Forwarded-Port: {port}"),
            "X-Forwarded-Scheme: http".into(),
        ] {
            assert!(got.contains(&line), "no `{line}` in: {got}");
        }
        assert!(got.contains("X-Forwarded-Prefix: /other"), "{got}");
        let request = wsgid_tests::Request::new("GET", "/at/root").header("Host", "other.test");
        let got = server.client().send(&request).expect("an answer").text();
        assert!(
            got.starts_with("GET /at/root HTTP/1.1") && got.contains("Host: other.test"),
            "{got}"
        );
        server.stop();
    });
}
