//! Servers of these tests: one with the probe, one with a script of a few lines.

use std::time::Duration;

use wsgid_tests::{Httpd, Response, Site};

pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn builder(site: &Site) -> wsgid_tests::Builder {
    Httpd::builder().daemon(
        "site",
        &format!("processes=1 threads=4 {}", site.python_path()),
    )
}

pub(crate) fn probe() -> (Site, Httpd) {
    let site = Site::new();
    let httpd = builder(&site)
        .mount("/", &site.file("probe.py"), "site")
        .start();
    (site, httpd)
}

/// A script with this as the body of its application.
pub(crate) fn scripted(body: &str) -> (Site, Httpd) {
    let site = Site::new();
    let indented = body.replace('\n', "\n    ");
    let script = site.write(
        "app.py",
        &format!("import os\n\ndef application(environ, start_response):\n    {indented}\n"),
    );
    let httpd = builder(&site).mount("/", &script, "site").start();
    (site, httpd)
}

pub(crate) fn get(httpd: &Httpd, path: &str) -> Response {
    httpd.client().get(path).expect("a complete answer")
}
