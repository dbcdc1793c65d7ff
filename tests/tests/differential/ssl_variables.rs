//! What scripts about the client learn of mod_ssl while httpd waits for them: the same as with
//! mod_wsgi, with its kinds of error; but nothing that is httpd's own.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use wsgid_tests::judge::{Allowed, Pair, Side, judge};
use wsgid_tests::wire::{certificate, with_tls};
use wsgid_tests::{Builder, Mpm, Site, Transport, until};

use crate::curl;

const ALLOWED: &[Allowed] = &[
    (
        "HTTP:authorization",
        "",
        "no script about the client gets the credentials but as arguments",
    ),
    (
        "ENV:PATH",
        "",
        "the environment of httpd's process is not a site's affair",
    ),
];

/// Writes what each function may ask, and what it hears, into the file that the query names.
const SCRIPT: &str = r#"
import hashlib, json, threading
NAMES = ["HTTPS", "https", "SSL_PROTOCOL", "ssl_protocol", "SSL_CIPHER", "SSL_CLIENT_CERT", "SSL_CLIENT_VERIFY",
         "SSL_CLIENT_S_DN_CN", "SSL_SERVER_CERT", "SSL_SERVER_S_DN_CN", "SSL_TLS_SNI", "SSL_SECURE_RENEG",
         "SSL_VERSION_LIBRARY", "NOSUCH", "", "SSL_", "REMOTE_USER", "REMOTE_ADDR", "AUTH_TYPE", "REQUEST_METHOD",
         "HTTP:X-Mine", "HTTP_USER_AGENT", "HTTP:authorization", "ENV:BY_SETENVIF", "ENV:NOSUCH", "ENV:PATH",
         "x" * 2000, "x" * 20000, "SSL_PROTOCOL\0x", "\xe9", "\u20ac", "\udce9", b"SSL_PROTOCOL", b"\xff",
         bytearray(b"HTTPS"), None, 3]
kept = []

def said(call, *args, **named):
    try:
        result = call(*args, **named)
    except Exception as error:
        return type(error).__name__
    return "%s %s" % (type(result).__name__, ascii(result))

def ask(function, environ):
    both = [environ.get("mod_ssl." + name) for name in ("is_https", "var_lookup")]
    found = {"types": repr([type(it).__name__ for it in both])}
    if None not in both:
        is_https, look_up = both
        found["names"] = repr([it.__name__ for it in both])
        found["is_https"] = said(is_https)
        found["is_https, one too many"] = said(is_https, 1)
        found["nothing"] = said(look_up)
        found["two"] = said(look_up, "HTTPS", "HTTPS")
        found["by keyword"] = said(look_up, name="HTTPS")
        for name in NAMES:
            found[name if isinstance(name, str) and name.isascii() and len(name) < 30 else ascii(name)[:30]] = said(look_up, name)
        thread = threading.Thread(target=lambda: found.update(thread=said(look_up, "SSL_PROTOCOL")))
        thread.start()
        thread.join()
        if function == "access":
            # An earlier request may have been another process's.
            kept.clear()
        if kept:
            found["after the call"] = repr([said(kept[0]), said(kept[1], "HTTPS")])
        kept[:] = both
    with open(environ["QUERY_STRING"] + function, "w") as file:
        json.dump(found, file)

def allow_access(environ, host):
    ask("access", environ)
    return True

def check_password(environ, user, password):
    ask("password", environ)
    return True

def get_realm_hash(environ, user, realm):
    ask("hash", environ)
    return hashlib.md5(("%s:%s:%s" % (user, realm, "open")).encode()).hexdigest()

def groups_for_user(environ, user):
    ask("groups", environ)
    return ["staff"]

def process_group(environ):
    ask("dispatch", environ)

def application(environ, start_response):
    ask("application", environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"in"]
"#;

#[test]
fn scripts_about_the_client_ask_mod_ssl_as_with_mod_wsgi() {
    judge(ALLOWED, with_ssl, |pair| {
        let mut wrong = Vec::new();
        for transport in Transport::ALL {
            let first = compared(pair, transport);
            let expected = if transport.is_tls() {
                "str 'TLSv1"
            } else {
                "str ''"
            };
            let protocol = first
                .get("SSL_PROTOCOL")
                .map(String::as_str)
                .unwrap_or_default();
            if !protocol.starts_with(expected) {
                wrong.push(format!("{transport:?}: the protocol is {protocol}"));
            }
        }
        wrong.extend(pair.stale());
        wrong
    });
}

#[test]
fn scripts_about_the_client_find_no_mod_ssl_as_with_mod_wsgi() {
    judge(&[], asked, |pair| {
        let first = compared(pair, Transport::Http1);
        let none = first.get("SSL_PROTOCOL").map(String::as_str);
        (none != Some("NoneType None"))
            .then(|| format!("{none:?}"))
            .into_iter()
            .collect()
    });
}

/// Compares all functions; returns what ours heard in the access script.
fn compared(pair: &mut Pair, transport: Transport) -> BTreeMap<String, String> {
    let mut first = BTreeMap::new();
    for (path, how, functions) in [
        (
            "/basic",
            "--basic",
            &["access", "password", "groups", "dispatch", "application"][..],
        ),
        ("/digest", "--digest", &["hash"]),
    ] {
        // curl's second request for Digest is none for mod_auth_digest where it is by HTTP/2.
        if path == "/digest" && transport.is_h2() {
            continue;
        }
        let [theirs, ours] =
            [&pair.theirs, &pair.ours].map(|side| heard(side, transport, path, how, functions));
        for function in functions {
            let name = format!("{transport:?} {path} {function}");
            pair.compare(&name, &theirs[function], &ours[function]);
        }
        if let Some(access) = ours.get("access") {
            first.clone_from(access);
        }
    }
    first
}

/// What each function wrote of one request.
fn heard<'f>(
    side: &Side,
    transport: Transport,
    path: &str,
    how: &str,
    functions: &[&'f str],
) -> BTreeMap<&'f str, BTreeMap<String, String>> {
    let directory = side.httpd.root().join("heard");
    for function in functions {
        // What is there was heard by another transport.
        let _ = fs::remove_file(directory.join(function));
    }
    let (shown, key) = certificate();
    let url = format!("{path}?{}/", directory.display());
    let mut args = vec![how, "--user", "alice:open", "--header", "X-Mine: \u{e9}"];
    let [shown, key] = [shown, key].map(|path| path.display().to_string());
    if transport.is_tls() {
        args.extend(["--cert", &shown, "--key", &key]);
    }
    // The first request may find a process that is still importing.
    let served = until(Duration::from_secs(60), || {
        let answer = curl(side, transport, &url, &args);
        (answer.text() == "in").then_some(())
    });
    assert!(served.is_some(), "{transport:?} {url}: nobody is let in");
    let read = |function: &&'f str| {
        let text = fs::read(directory.join(function)).expect("the function was called");
        (
            *function,
            serde_json::from_slice(&text).expect("texts by name"),
        )
    };
    functions.iter().map(read).collect()
}

fn with_ssl(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let (builder, _) = asked(builder, site, venv);
    with_tls(builder.line("SSLVerifyClient optional_no_ca"), Mpm::Event)
}

/// The script about every client and for every request.
fn asked(builder: Builder, site: &Site, venv: &Path) -> (Builder, u16) {
    let script = site.write("asks.py", SCRIPT);
    let heard = builder.root().join("heard");
    fs::create_dir(&heard).expect("the server's root can be written");
    fs::set_permissions(&heard, Permissions::from_mode(0o777)).expect("the directory is ours");
    let options = format!("processes=1 threads=3 python-home={}", venv.display());
    let script_text = script.display();
    let about = |path: &str, kind: &str, require: &str| {
        format!(
            "<Location {path}>\n  SetEnvIf Request_URI . BY_SETENVIF=yes\n  WSGIAccessScript {script_text}\n  \
             AuthType {kind}\n  AuthName here\n  Auth{kind}Provider wsgi\n  WSGIAuthUserScript {script_text}\n  \
             WSGIAuthGroupScript {script_text}\n  Require {require}\n</Location>"
        )
    };
    let modules = ["auth_basic", "auth_digest", "authn_core", "authz_user"];
    let builder = modules
        .into_iter()
        .fold(builder, Builder::load)
        .line("WSGIRestrictEmbedded Off")
        .daemon("site", &options)
        .mount("/basic", &script, "site")
        .mount("/digest", &script, "site")
        .line(format!("WSGIDispatchScript {script_text}"))
        .line(about("/basic", "Basic", "wsgi-group staff"))
        .line(about("/digest", "Digest", "valid-user"));
    (builder, 0)
}
