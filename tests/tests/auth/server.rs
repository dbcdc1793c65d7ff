//! The scripts of these tests, the directives that name them, and requests with a password.

use std::path::Path;

use wsgid_tests::{Builder, Httpd, Python, Request, Response, Site};

pub(crate) const HELLO: &str = "\
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    text = '%s %s %s' % (environ.get('REMOTE_USER', '-'), environ.get('AUTH_TYPE', '-'), os.getuid())
    return [text.encode()]
";

/// What each name and password leads to; and nothing of the password is seen
/// in the environ.
pub(crate) const PASSWORDS: &str = "\
import hashlib, time
def check_password(environ, user, password):
    if any(password in str(value) for value in environ.values()):
        raise RuntimeError('the password is in the environ')
    if 'HTTP_AUTHORIZATION' in environ:
        raise RuntimeError('the credentials are in the environ')
    if user == 'alice':
        return password == 's3cret-of-alice'
    if user == 'alias':
        return 'renamed'
    return {'nobody': None, 'empty': '', 'one': 1, 'list': ['x'], 'broken': Ellipsis}[user]
def get_realm_hash(environ, user, realm):
    if user == 'alice':
        return hashlib.md5(('%s:%s:%s' % (user, realm, 's3cret-of-alice')).encode()).hexdigest()
    if user == 'short':
        return 'abc'
    if user == 'bytes':
        return hashlib.md5(('%s:%s:%s' % (user, realm, 'pass')).encode()).hexdigest().encode()
    return {'nobody': None}[user]
";

pub(crate) const GROUPS: &str = "\
def groups_for_user(environ, user):
    return {'alice': ['staff', b'admins'], 'alias': [], 'renamed': ['guests'], 'none': None}[user]
";

pub(crate) const ACCESS: &str = "\
def allow_access(environ, host):
    if environ['REMOTE_ADDR'] != host:
        raise RuntimeError('the host is ' + host)
    query = environ['QUERY_STRING']
    return {'yes': True, 'no': False, 'neutral': None, 'word': 'True', 'one': 1}[query]
";

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |number, at| {
            number << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
        });
        for at in 0..4 {
            let digit = ALPHABET[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

pub(crate) fn basic(httpd: &Httpd, path: &str, user: &str, password: &str) -> Response {
    let credentials = base64(format!("{user}:{password}").as_bytes());
    let request =
        Request::new("GET", path).header("Authorization", &format!("Basic {credentials}"));
    httpd.client().send(&request).expect("an answer")
}

pub(crate) fn with_auth(builder: Builder) -> Builder {
    [
        "auth_basic",
        "auth_digest",
        "authn_core",
        "authz_user",
        "access_compat",
        "authz_host",
    ]
    .into_iter()
    .fold(builder, Builder::load)
}

pub(crate) fn group(site: &Site) -> String {
    format!(
        "processes=1 threads=3 python-home={} {}",
        Python::any().home.display(),
        site.python_path()
    )
}

/// A location whose contents are `directives`.
pub(crate) fn location(path: &str, directives: &str) -> String {
    format!("<Location {path}>\n{directives}\n</Location>")
}

pub(crate) fn basic_auth(script: &Path, options: &str, require: &str) -> String {
    format!(
        "AuthType Basic\nAuthName here\nAuthBasicProvider wsgi\nWSGIAuthUserScript {} {options}\n{require}",
        script.display()
    )
}
