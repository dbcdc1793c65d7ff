//! HTTPS: certificates, redirections, HTTP/2, certificates of clients.

use std::path::Path;
use std::process::Command;

use wsgid_tests::httpd::free_port;
use wsgid_tests::{Answer, Curl, Express, Limit, Site, Transport, case};

const HOST: &str = "www.example.test";

/// An application that says which connection its request came by.
const APPLICATION: &str = "import json\n\
    def application(environ, start_response):\n\
    \x20   texts = {key: value for key, value in environ.items() if isinstance(value, str)}\n\
    \x20   start_response('200 OK', [('Content-Type', 'application/json')])\n\
    \x20   return [json.dumps(texts).encode()]\n";

fn openssl(directory: &Path, args: &[&str]) {
    let output = Command::new("openssl")
        .args(args)
        .current_dir(directory)
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `name.crt` and `name.key`, signed by themselves.
fn certificate(directory: &Path, name: &str, subject: &str) {
    let key = format!("{name}.key");
    let crt = format!("{name}.crt");
    let how = [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject,
    ];
    openssl(
        directory,
        &[&how[..], &["-keyout", &key, "-out", &crt]].concat(),
    );
}

/// `name.crt` and `name.key`, signed by the authority `ca`.
fn signed(directory: &Path, name: &str, subject: &str) {
    let key = format!("{name}.key");
    let csr = format!("{name}.csr");
    let crt = format!("{name}.crt");
    let how = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", subject];
    openssl(
        directory,
        &[&how[..], &["-keyout", &key, "-out", &csr]].concat(),
    );
    let how = [
        "x509",
        "-req",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
    ];
    openssl(
        directory,
        &[&how[..], &["-in", &csr, "-out", &crt]].concat(),
    );
}

struct Tls {
    site: Site,
    server: wsgid_tests::express::Server,
    port: u16,
}

impl Tls {
    fn start(options: &[&str]) -> Self {
        let site = Site::new();
        let script = site.write("tls.py", APPLICATION);
        certificate(site.path(), "ca", "/CN=authority");
        signed(site.path(), "site", &format!("/CN={HOST}"));
        signed(site.path(), "client", "/CN=a client");
        let port = free_port();
        let server = Express::new()
            .path(&script)
            .args(&["--https-port", &port.to_string(), "--ssl-certificate"])
            .path(&site.file("site"))
            .args(options)
            .current_dir(site.path())
            .start();
        Self { site, server, port }
    }

    fn ask(&self, transport: Transport, host: &str, path: &str, args: &[&str]) -> Answer {
        let (scheme, port) = if transport.is_tls() {
            ("https", self.port)
        } else {
            ("http", self.server.port())
        };
        let address = format!("{host}:{port}:127.0.0.1");
        let url = format!("{scheme}://{host}:{port}{path}");
        Curl::new(transport, &url)
            .args(&["--resolve", &address])
            .args(args)
            .run()
    }

    /// The options by which curl shows the client's certificate.
    fn shown(&self) -> [String; 4] {
        let path = |name: &str| self.site.file(name).display().to_string();
        [
            "--cert".into(),
            path("client.crt"),
            "--key".into(),
            path("client.key"),
        ]
    }
}

#[test]
fn everything_goes_to_https() {
    case(Limit::seconds(120), || {
        let policy = "max-age=600; includeSubDomains";
        let options = [
            "--server-name",
            HOST,
            "--https-only",
            "--hsts-policy",
            policy,
            "--ssl-environment",
            "--http2",
        ];
        let mut tls = Tls::start(&options);
        let home = format!("https://{HOST}:{}", tls.port);
        for (transport, host) in [
            (Transport::Http1, HOST),
            (Transport::Http1, "example.test"),
            (Transport::Tls1, "example.test"),
        ] {
            let got = tls.ask(transport, host, "/a%20b?c=d", &[]);
            let location = got.head.field("Location");
            assert_eq!(
                (got.status(), location),
                (301, Some(&*format!("{home}/a%20b?c=d"))),
                "{transport:?} {host}"
            );
        }
        for (transport, version) in [(Transport::Tls1, "HTTP/1.1"), (Transport::H2, "HTTP/2")] {
            let got = tls.ask(transport, HOST, "/page", &[]);
            assert!(got.head.line.starts_with(version), "{got:?}");
            assert_eq!(got.head.field("Strict-Transport-Security"), Some(policy));
            let environ = got.json();
            assert!(
                environ["SSL_PROTOCOL"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("TLS")),
                "{environ}"
            );
            assert_eq!(environ["wsgi.url_scheme"], "https");
            assert_eq!(environ["SERVER_PORT"], tls.port.to_string());
        }
        assert_eq!(
            tls.ask(Transport::Tls1, "else.test", "/", &[]).status(),
            403
        );
        tls.server.stop();
    });
}

#[test]
fn https_needs_no_name() {
    case(Limit::seconds(120), || {
        let mut tls = Tls::start(&[]);
        let environ = tls.ask(Transport::Tls1, "any.test", "/", &[]).json();
        assert_eq!(environ["wsgi.url_scheme"], "https");
        assert!(
            environ.get("SSL_PROTOCOL").is_none(),
            "only with --ssl-environment"
        );
        let got = tls.ask(Transport::Http1, "any.test", "/", &[]);
        assert_eq!(got.json()["wsgi.url_scheme"], "http");
        let output = tls.server.stop();
        assert!(
            output.contains(&format!("https://127.0.0.1:{}/", tls.port)),
            "{output}"
        );
    });
}

#[test]
fn clients_show_certificates() {
    case(Limit::seconds(120), || {
        let mut tls = Tls::start(&["--ssl-ca-certificate-file", "ca.crt", "--ssl-environment"]);
        let refused = tls.ask(Transport::Tls1, HOST, "/", &[]);
        assert!(!refused.complete(), "{refused:?}");
        let shown = tls.shown();
        let environ = tls
            .ask(
                Transport::Tls1,
                HOST,
                "/",
                &shown.each_ref().map(String::as_str),
            )
            .json();
        assert_eq!(
            (
                &environ["SSL_CLIENT_VERIFY"],
                &environ["SSL_CLIENT_S_DN_CN"]
            ),
            (&"SUCCESS".into(), &"a client".into())
        );
        tls.server.stop();
    });
}

#[test]
fn clients_show_certificates_where_they_must() {
    case(Limit::seconds(120), || {
        let options = [
            "--ssl-ca-certificate-file",
            "ca.crt",
            "--ssl-verify-client",
            "/private",
        ];
        let mut tls = Tls::start(&options);
        let shown = tls.shown();
        let shown = shown.each_ref().map(String::as_str);
        assert_eq!(tls.ask(Transport::Tls1, HOST, "/public", &[]).status(), 200);
        let refused = tls.ask(Transport::Tls1, HOST, "/private/page", &[]);
        assert!(
            refused.status() == 403 || !refused.complete(),
            "{refused:?}"
        );
        assert_eq!(
            tls.ask(Transport::Tls1, HOST, "/private/page", &shown)
                .status(),
            200
        );
        tls.server.stop();
    });
}
