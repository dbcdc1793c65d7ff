//! A site whose script says in which groups it runs.

use wsgid_tests::{Builder, Httpd, Python, Request, Response, Site};

/// Says in which groups it runs.
pub(crate) const WHERE: &str = "\
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = ('mod_wsgi.process_group', 'mod_wsgi.application_group')
    return ['|'.join([environ[name] for name in names] + [str(os.getpid())]).encode()]
other = application
";

pub(crate) fn options() -> String {
    format!(
        "processes=1 threads=3 python-home={}",
        Python::any().home.display()
    )
}

/// A site with the application, and a server that serves it at `/` without a
/// word about groups.
pub(crate) fn site() -> (Site, Builder) {
    let site = Site::new();
    let app = site.write("where.wsgi", WHERE);
    let builder = Httpd::builder().mount_with("/", &app, "");
    (site, builder)
}

pub(crate) fn get(httpd: &Httpd, path: &str, host: &str) -> Response {
    httpd
        .client()
        .send(&Request::new("GET", path).header("Host", host))
        .expect("an answer")
}

/// Process group and application group of a request.
pub(crate) fn groups(httpd: &Httpd, path: &str, host: &str) -> (String, String) {
    let response = get(httpd, path, host);
    assert_eq!(response.status, 200, "{host}{path}: {}", response.text());
    let text = response.text();
    let mut parts = text.split('|').map(str::to_owned);
    let process = parts.next().unwrap_or_default();
    let rest: Vec<String> = parts.collect();
    (process, rest[..rest.len() - 1].join("|"))
}

pub(crate) fn pid(httpd: &Httpd, path: &str) -> String {
    httpd
        .get(path)
        .text()
        .rsplit('|')
        .next()
        .unwrap_or_default()
        .to_owned()
}
