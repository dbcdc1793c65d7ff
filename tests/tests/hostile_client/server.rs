//! A server whose application is a witness: what has reached it, and what has ended.

use std::time::Duration;

use wsgid_tests::{Builder, Checked, Httpd, Json, Site, eventually};

pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Notes every request that reaches it, and who is inside just now.
pub(crate) const WITNESS: &str = r#"
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

pub(crate) fn builder(site: &Site) -> Builder {
    Httpd::builder()
        .daemon(
            "site",
            &format!("processes=1 threads=8 {}", site.python_path()),
        )
        .line("WSGIChunkedRequest On")
        .mount("/", &site.write("witness.py", WITNESS), "site")
}

pub(crate) fn server(site: &Site) -> Checked {
    let httpd = builder(site).start();
    assert_eq!(httpd.get("/warm").text(), "answered");
    Checked::new(httpd)
}

pub(crate) fn witness(httpd: &Httpd) -> Json {
    httpd.get("/seen").json()
}

pub(crate) fn seen(httpd: &Httpd, path: &str) -> bool {
    witness(httpd)["seen"]
        .as_array()
        .expect("a list")
        .iter()
        .any(|seen| seen == path)
}

/// Nobody is left inside the application.
pub(crate) fn wait_until_empty(httpd: &Httpd) {
    eventually("all requests leave the application", SOON, || {
        (witness(httpd)["inside"] == 0).then_some(())
    });
}
