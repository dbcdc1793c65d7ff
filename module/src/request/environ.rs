//! From a request to its CGI variables: straight from httpd's tables, nothing
//! is written to them. Values are the raw bytes; the worker makes strings of
//! them. What `ap_add_cgi_vars` does beyond this (look-ups of PATH_TRANSLATED
//! and host names) is left out on purpose.

use std::ffi::CStr;

use serde_bytes::Bytes;
use wsgid_protocol::environ::is_of_worker;

use crate::apr::table::Table;
use crate::configuration::config::DirConfig;
use crate::httpd::request::Request;
use crate::httpd::server;
use crate::request::proxies::Trust;
use crate::request::target::ScriptTarget;
use crate::workers::child;

/// The variables, in the order they are to be set; later ones win.
pub(crate) struct Environ<'r> {
    r: Request<'r>,
    pairs: Vec<(&'r Bytes, &'r Bytes)>,
}

/// A name's byte in a variable of the form `HTTP_…`.
pub(crate) fn variable_byte(byte: u8) -> u8 {
    match byte {
        b'-' => b'_',
        other => other.to_ascii_uppercase(),
    }
}

/// Whether a header's name can be a variable. An underscore would look like a
/// dash, so that a client could pass for a proxy's header.
fn is_plain(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

impl<'r> Environ<'r> {
    /// All variables of a request to `target`.
    pub(crate) fn of(r: Request<'r>, target: &ScriptTarget<'r>) -> Vec<(&'r Bytes, &'r Bytes)> {
        const USUAL: usize = 64;
        let mut environ = Self {
            r,
            pairs: Vec::with_capacity(USUAL),
        };
        environ.add_variables();
        environ.add_headers(r.headers_in(), target);
        environ.add_server();
        environ.add_client();
        environ.add_request(target);
        environ.add_redirect();
        environ.add_own(target);
        environ.heed_proxies();
        environ.pairs
    }

    fn put(&mut self, name: &'static str, value: &'r [u8]) {
        self.pairs
            .push((Bytes::new(name.as_bytes()), Bytes::new(value)));
    }

    fn put_string(&mut self, name: &'static str, value: Option<&'r CStr>) {
        if let Some(value) = value {
            self.put(name, value.to_bytes());
        }
    }

    fn put_number(&mut self, name: &'static str, value: u64) {
        let mut digits = itoa::Buffer::new();
        let text = self.r.pool().join(&[digits.format(value).as_bytes()]);
        self.put(name, text);
    }

    /// SetEnv, SetEnvIf, RewriteRule, mod_ssl, mod_unique_id …
    fn add_variables(&mut self) {
        for (name, value) in self.r.subprocess_env().rows() {
            // HTTPS only selects the scheme; see `add_own`.
            let name = name.to_bytes();
            if name != b"HTTPS" && !is_of_worker(name) {
                self.pairs
                    .push((Bytes::new(name), Bytes::new(value.to_bytes())));
            }
        }
    }

    fn add_headers(&mut self, headers: Table<'r>, target: &ScriptTarget<'r>) {
        let pass_authorization = target.pass_authorization;
        // A script for authentication gets what it needs as arguments.
        let all_credentials = self.r.cgi_pass_auth() && !target.is_about_access();
        for (name, value) in headers.rows() {
            let name = name.to_bytes();
            if !is_plain(name) {
                continue;
            }
            let variable: &'r [u8] = match name.len() {
                12 if name.eq_ignore_ascii_case(b"Content-Type") => b"CONTENT_TYPE",
                14 if name.eq_ignore_ascii_case(b"Content-Length") => b"CONTENT_LENGTH",
                // A client's Proxy header would become HTTP_PROXY.
                5 if name.eq_ignore_ascii_case(b"Proxy") => continue,
                13 if name.eq_ignore_ascii_case(b"Authorization")
                    && !pass_authorization
                    && !all_credentials =>
                {
                    continue;
                }
                19 if name.eq_ignore_ascii_case(b"Proxy-Authorization") && !all_credentials => {
                    continue;
                }
                _ => self.r.pool().mapped(b"HTTP_", name, variable_byte),
            };
            self.pairs
                .push((Bytes::new(variable), Bytes::new(value.to_bytes())));
        }
    }

    fn add_server(&mut self) {
        let r = self.r;
        self.put_string("SERVER_SOFTWARE", server::banner());
        let name = r.server_name().map(|name| escape(r, name.to_bytes()));
        self.put("SERVER_NAME", name.unwrap_or_default());
        self.put_string("SERVER_ADDR", r.local_ip());
        self.put_number("SERVER_PORT", r.server_port().into());
        self.put_string("SERVER_ADMIN", r.server().admin());
        self.put_string("DOCUMENT_ROOT", r.document_root());
        self.put_string("CONTEXT_PREFIX", r.context_prefix());
        self.put_string("CONTEXT_DOCUMENT_ROOT", r.context_document_root());
        self.put_string("REQUEST_SCHEME", r.scheme());
    }

    fn add_client(&mut self) {
        let r = self.r;
        self.put_string("REMOTE_ADDR", r.useragent_ip());
        self.put_number("REMOTE_PORT", r.useragent_port().unwrap_or(0).into());
        if let Some(user) = r.user() {
            self.put("REMOTE_USER", user.to_bytes());
        } else {
            let earlier =
                std::iter::successors(r.previous(), |r| r.previous()).find_map(Request::user);
            self.put_string("REDIRECT_REMOTE_USER", earlier);
        }
        self.put_string("AUTH_TYPE", r.auth_type());
    }

    fn add_request(&mut self, target: &ScriptTarget<'r>) {
        let r = self.r;
        self.put_string("SERVER_PROTOCOL", r.protocol());
        self.put("REQUEST_METHOD", target.method.to_bytes());
        self.put("QUERY_STRING", r.args().map_or(&[], CStr::to_bytes));
        self.put("REQUEST_URI", request_uri(r));
        self.put("SCRIPT_NAME", target.script_name);
        self.put("PATH_INFO", target.path_info);
        self.put_string("SCRIPT_FILENAME", r.filename());
    }

    fn add_redirect(&mut self) {
        if let Some(previous) = self.r.previous() {
            self.put_string("REDIRECT_QUERY_STRING", previous.args());
            self.put_string("REDIRECT_URL", previous.uri());
        }
    }

    fn add_own(&mut self, target: &ScriptTarget<'r>) {
        let r = self.r;
        if is_https(r) {
            self.put("HTTPS", b"on");
        }
        self.put_string("mod_wsgi.request_id", r.log_id());
        self.put_string("mod_wsgi.connection_id", r.connection_log_id());
        self.put_string("mod_wsgi.listener_host", r.local_ip());
        self.put_number("mod_wsgi.listener_port", r.local_port().unwrap_or(0).into());
        self.put_number("mod_wsgi.server_pid", child::pid().into());
        self.put_string("mod_wsgi.request_handler", r.handler());
        self.put(
            "mod_wsgi.handler_script",
            target.handler_script.map_or(&[], CStr::to_bytes),
        );
        self.put("mod_wsgi.script_name", target.script_name);
        self.put("mod_wsgi.path_info", target.path_info);
        if let Some(name) = &target.application_group.seen_as {
            self.put_string(
                "mod_wsgi.application_group",
                Some(r.pool().string(name.as_bytes())),
            );
        }
    }
}

impl Environ<'_> {
    fn heed_proxies(&mut self) {
        let config = DirConfig::of(self.r);
        let Some(headers) = config.trusted_headers else {
            return;
        };
        let pool = self.r.pool();
        let peer = self
            .r
            .useragent_ip()
            .and_then(|address| address.to_str().ok()?.parse().ok());
        let trust = Trust {
            headers,
            proxies: config.trusted_proxies,
            peer,
        };
        trust.apply(&mut self.pairs, &|text| pool.join(&[text.as_bytes()]));
    }
}

/// Whether the client's connection is, or counts as, encrypted.
fn is_https(r: Request<'_>) -> bool {
    if r.scheme() == Some(c"https") {
        return true;
    }
    let set = r.subprocess_env().get(c"HTTPS").unwrap_or_default();
    let set = set.to_bytes();
    set.eq_ignore_ascii_case(b"on") || set == b"1"
}

/// What CGIVar chooses; otherwise the original one.
fn request_uri(r: Request<'_>) -> &[u8] {
    match r.cgi_var_rule(c"REQUEST_URI").map(CStr::to_bytes) {
        Some(b"current-uri") => r.uri().unwrap_or_default().to_bytes(),
        _ => original_uri(r),
    }
}

/// The URI of the request line, also after redirects inside the server.
fn original_uri(r: Request<'_>) -> &[u8] {
    let line = r.the_request().unwrap_or_default();
    uri_of_line(line.to_bytes()).unwrap_or_else(|| r.unparsed_uri().unwrap_or_default().to_bytes())
}

/// The second word of a request line; without scheme and host, if it has them.
fn uri_of_line(line: &[u8]) -> Option<&[u8]> {
    let uri = line.split(|byte| *byte == b' ').nth(1)?;
    if uri.first() == Some(&b'/') {
        return Some(uri);
    }
    let Some(at) = uri.windows(3).position(|part| part == b"://") else {
        return Some(uri);
    };
    let behind = &uri[at + 3..];
    let path = behind.iter().position(|byte| *byte == b'/');
    Some(path.map_or(b"/", |path| &behind[path..]))
}

/// SERVER_NAME may come from the client's Host header and end up in a page.
fn escape<'r>(r: Request<'r>, name: &'r [u8]) -> &'r [u8] {
    if !name
        .iter()
        .any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"'))
    {
        return name;
    }
    let mut escaped = Vec::new();
    for byte in name {
        match byte {
            b'<' => escaped.extend_from_slice(b"&lt;"),
            b'>' => escaped.extend_from_slice(b"&gt;"),
            b'&' => escaped.extend_from_slice(b"&amp;"),
            b'"' => escaped.extend_from_slice(b"&quot;"),
            other => escaped.push(*other),
        }
    }
    r.pool().join(&[&escaped])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_other_bytes_are_no_variables() {
        assert!(is_plain(b"X-Forwarded-For"));
        for name in [&b"X_Forwarded_For"[..], b"X.Y", b"", b"X Y", b"\xc3\xa4"] {
            assert!(!is_plain(name), "{name:?}");
        }
        let variable: Vec<u8> = b"x-Forwarded-For2"
            .iter()
            .copied()
            .map(variable_byte)
            .collect();
        assert_eq!(variable, b"X_FORWARDED_FOR2");
    }

    #[test]
    fn the_uri_is_that_of_the_request_line() {
        for (line, uri) in [
            (&b"GET /a%20b//c?x=/ HTTP/1.1"[..], &b"/a%20b//c?x=/"[..]),
            (b"GET http://host:80/a HTTP/1.1", b"/a"),
            (b"GET http://host HTTP/1.1", b"/"),
            (b"OPTIONS * HTTP/1.1", b"*"),
            (b"GET /", b"/"),
        ] {
            assert_eq!(uri_of_line(line), Some(uri));
        }
        assert_eq!(uri_of_line(b"GET"), None);
    }
}
