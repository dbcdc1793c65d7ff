//! The server of these tests, and requests for a head that the query describes.

use std::time::Duration;

use wsgid_tests::wire::quoted;
use wsgid_tests::{Answer, Json, Log, Mpm, On, Wire};

pub(crate) const SOON: Duration = Duration::from_secs(15);

pub(crate) fn wire(mpm: Mpm) -> Wire {
    Wire::start(mpm, |builder, site| {
        let head = site.file("head_cases.py");
        builder
            .load("deflate")
            .load("filter")
            .mount("/charset", &head, "site")
            .mount("/deflated", &head, "site")
            .mount("/mapped", &head, "site")
            .mount("/unmapped", &head, "site")
            .mount("/overridden", &head, "site")
            .mount("/failing", &head, "site")
            .line("AddType text/x-python .py")
            .line("<Location /charset>\n  AddDefaultCharset utf-8\n</Location>")
            .line("<Location /deflated>\n  AddOutputFilterByType DEFLATE text/plain\n</Location>")
            .line("<Location /mapped>\n  WSGIMapHEADToGET On\n</Location>")
            .line("<Location /unmapped>\n  WSGIMapHEADToGET Off\n</Location>")
            .line("<Location /overridden>\n  WSGIErrorOverride On\n  ErrorDocument 404 /head/inside/page\n  ErrorDocument 500 \"five hundred\"\n  ErrorDocument 401 \"who are you\"\n</Location>")
            .line("<Location /failing>\n  WSGIErrorOverride On\n  ErrorDocument 404 /head/inside/fail\n</Location>")
    })
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

pub(crate) fn path(spec: &Json) -> String {
    format!("/head/respond?spec={}", quoted(&spec.to_string()))
}

/// The application answers as `spec` says.
pub(crate) fn answers(
    on: &mut On<'_>,
    name: &str,
    log: Log<'_>,
    spec: &Json,
    look: impl FnOnce(Answer),
) {
    on.gets(name, log, |get| look(get(&path(spec))));
}
