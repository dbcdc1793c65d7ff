//! Scripts that decide who may come in, and proxies that are believed.

use wsgid_tests::{Curl, Express, Limit, Request, Site, Transport, case};

const SCRIPT: &str = "def allow_access(environ, host):\n\
    \x20   return False if environ['REQUEST_URI'].startswith('/closed') else None\n\
    def check_password(environ, user, password):\n\
    \x20   if user in ('member', 'guest'):\n\
    \x20       return password == 'right'\n\
    \x20   return None\n\
    def groups_for_user(environ, user):\n\
    \x20   return ['staff'] if user == 'member' else ['']\n";

const APPLICATION: &str = "def application(environ, start_response):\n\
    \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
    \x20   return [environ.get('REMOTE_USER', '-').encode()]\n";

/// `user:password` in base 64.
const RIGHT: &str = "Basic bWVtYmVyOnJpZ2h0";
const WRONG: &str = "Basic bWVtYmVyOndyb25n";
const GUEST: &str = "Basic Z3Vlc3Q6cmlnaHQ=";

#[test]
fn passwords_and_groups_are_asked_for() {
    case(Limit::default(), || {
        let site = Site::new();
        let decide = site.write("decide.py", SCRIPT);
        let mut server = Express::new()
            .path(&site.write("user.py", APPLICATION))
            .args(&["--host-access-script"])
            .path(&decide)
            .args(&["--auth-user-script"])
            .path(&decide)
            .args(&["--auth-group-script"])
            .path(&decide)
            .args(&["--auth-group", "staff"])
            .start();
        let ask = |path: &str, credentials: Option<&str>| {
            let mut request = Request::new("GET", path);
            if let Some(credentials) = credentials {
                request = request.header("Authorization", credentials);
            }
            server.client().send(&request).expect("an answer")
        };
        let challenged = ask("/", None);
        assert_eq!(challenged.status, 401);
        assert!(
            challenged
                .header("WWW-Authenticate")
                .is_some_and(|value| value.starts_with("Basic realm="))
        );
        assert_eq!(ask("/", Some(WRONG)).status, 401);
        assert_eq!(ask("/", Some(GUEST)).status, 401, "not in the group");
        let got = ask("/", Some(RIGHT));
        assert_eq!((got.status, got.text().as_str()), (200, "member"));
        assert_eq!(ask("/closed", Some(RIGHT)).status, 403);
        server.stop();
    });
}

const DIGEST: &str = "import hashlib\n\
    def get_realm_hash(environ, user, realm):\n\
    \x20   if user != 'member':\n\
    \x20       return None\n\
    \x20   return hashlib.md5(f'{user}:{realm}:right'.encode()).hexdigest()\n";

#[test]
fn passwords_need_not_travel() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new()
            .path(&site.write("user.py", APPLICATION))
            .args(&["--auth-type", "Digest", "--auth-user-script"])
            .path(&site.write("digest.py", DIGEST))
            .start();
        let url = format!("http://127.0.0.1:{}/", server.port());
        let ask = |who: &str| {
            Curl::new(Transport::Http1, &url)
                .args(&["--digest", "--user", who])
                .run()
        };
        let got = ask("member:right");
        assert_eq!(
            (got.status(), got.text().as_str()),
            (200, "member"),
            "{got:?}"
        );
        for who in ["member:wrong", "guest:right"] {
            assert_eq!(ask(who).status(), 401, "{who}");
        }
        server.stop();
    });
}

#[test]
fn a_trusted_proxy_names_the_client() {
    case(Limit::default(), || {
        let site = Site::new();
        let mut server = Express::new()
            .path(&site.file("probe.py"))
            .args(&[
                "--trust-proxy-header",
                "X-Forwarded-For",
                "--trust-proxy-header",
                "X-Forwarded-Scheme",
            ])
            .args(&["--trust-proxy", "127.0.0.1", "--python-path"])
            .path(site.path())
            .start();
        let request = Request::new("GET", "/environ")
            .header("X-Forwarded-For", "192.0.2.7")
            .header("X-Forwarded-Scheme", "https");
        let environ = server.client().send(&request).expect("an answer").json();
        assert_eq!(
            (&environ["REMOTE_ADDR"], &environ["wsgi.url_scheme"]),
            (&"192.0.2.7".into(), &"https".into())
        );
        server.stop();
    });
}
