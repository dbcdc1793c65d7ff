//! WSGITrustedProxyHeaders and WSGITrustedProxies through httpd: who is
//! believed, what is taken away, and the warning where everybody is believed.

use std::time::Duration;

use wsgid_tests::{Httpd, Json, Limit, Python, Request, Site, case};

const ENVIRON: &str = "\
import json
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({name: str(value) for name, value in environ.items()}).encode()]
";

const ALL: &str = "X-Forwarded-For X-Forwarded-Host X-Forwarded-Server X-Forwarded-Port X-Forwarded-Proto X-Script-Name";

fn serve(lines: &[String]) -> (Site, Httpd) {
    let site = Site::new();
    let app = site.write("environ.py", ENVIRON);
    let options = format!(
        "processes=1 threads=3 python-home={}",
        Python::any().home.display()
    );
    let mut builder = Httpd::builder()
        .daemon("site", &options)
        .mount("/", &app, "site");
    for line in lines {
        builder = builder.line(line);
    }
    (site, builder.start())
}

fn ask(httpd: &Httpd, path: &str, headers: &[(&str, &str)]) -> Json {
    let request = headers
        .iter()
        .fold(Request::new("GET", path), |request, (name, value)| {
            request.header(name, value)
        });
    let response = httpd.client().send(&request).expect("an answer");
    assert_eq!(response.status, 200, "{path}");
    response.json()
}

const SAID: &[(&str, &str)] = &[
    ("X-Forwarded-For", "6.6.6.6, 198.51.100.7, 10.1.1.1"),
    ("X-Forwarded-Host", "www.example"),
    ("X-Forwarded-Server", "edge.example"),
    ("X-Forwarded-Port", "8443"),
    ("X-Forwarded-Proto", "https"),
    ("X-Script-Name", "/outer"),
    ("X-Real-IP", "6.6.6.6"),
    ("X-Forwarded-SSL", "off"),
];

#[test]
fn a_proxy_on_the_list_is_believed() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(&[
            format!("WSGITrustedProxyHeaders {ALL}"),
            "WSGITrustedProxies 127.0.0.1 10.0.0.0/8".to_owned(),
            "<Location /foreign>\nWSGITrustedProxies 192.0.2.0/24\n</Location>".to_owned(),
        ]);
        let environ = ask(&httpd, "/x", SAID);
        for (name, value) in [
            ("REMOTE_ADDR", "198.51.100.7"),
            ("HTTP_X_FORWARDED_FOR", "198.51.100.7, 10.1.1.1"),
            ("HTTP_HOST", "www.example"),
            ("SERVER_NAME", "edge.example"),
            ("SERVER_PORT", "8443"),
            ("wsgi.url_scheme", "https"),
            ("SCRIPT_NAME", "/outer"),
            ("mod_wsgi.mount_point", "/outer"),
            ("mod_wsgi.script_name", ""),
        ] {
            assert_eq!(environ[name], value, "{name}");
        }
        // Synonyms of what is believed might say something else.
        for name in ["HTTP_X_REAL_IP", "HTTP_X_FORWARDED_SSL", "HTTPS"] {
            assert!(environ.get(name).is_none(), "{name}");
        }
        // In another section the peer is a stranger.
        let environ = ask(&httpd, "/foreign", SAID);
        for (name, value) in [
            ("REMOTE_ADDR", "127.0.0.1"),
            ("wsgi.url_scheme", "http"),
            ("SCRIPT_NAME", ""),
        ] {
            assert_eq!(environ[name], value, "{name}");
        }
        for name in [
            "HTTP_X_FORWARDED_FOR",
            "HTTP_X_REAL_IP",
            "HTTP_X_FORWARDED_PROTO",
            "mod_wsgi.mount_point",
        ] {
            assert!(environ.get(name).is_none(), "{name}");
        }
        assert!(!httpd.error_log().contains("WSGID0011"));
        // httpd's own view stays: the access log has the peer.
        assert!(!httpd.access_log().contains("198.51.100.7"));
        httpd.stop();
    });
}

#[test]
fn without_a_list_everybody_is_believed_and_the_log_warns() {
    case(Limit::default(), || {
        let (_site, httpd) = serve(&[
            "<Location /here>\nWSGITrustedProxyHeaders X-Real-IP X-Nonsense\n</Location>"
                .to_owned(),
        ]);
        assert_eq!(ask(&httpd, "/here", SAID)["REMOTE_ADDR"], "6.6.6.6");
        assert!(
            ask(&httpd, "/here", SAID)
                .get("HTTP_X_FORWARDED_FOR")
                .is_none()
        );
        let plain = ask(&httpd, "/there", SAID);
        assert_eq!(plain["REMOTE_ADDR"], "127.0.0.1");
        assert_eq!(
            plain["HTTP_X_FORWARDED_FOR"],
            "6.6.6.6, 198.51.100.7, 10.1.1.1"
        );
        let line = httpd.wait_for_log(
            "WSGITrustedProxyHeaders without WSGITrustedProxies",
            Duration::from_secs(5),
        );
        assert!(
            line.contains("httpd.conf:") && line.contains(":warn]"),
            "{line}"
        );
        assert_eq!(
            httpd.error_log().matches("WSGID0011").count(),
            1,
            "it warns once"
        );
        assert!(httpd.error_log().contains("`X-Nonsense` is not among"));
        httpd.stop();
    });
}

#[test]
fn htaccess_may_declare_its_own() {
    case(Limit::default(), || {
        let site = Site::new();
        let options = format!(
            "processes=1 threads=3 python-home={}",
            Python::any().home.display()
        );
        let app = site.write("environ.wsgi", ENVIRON);
        site.write(
            ".htaccess",
            "WSGITrustedProxyHeaders X-Real-IP\nWSGITrustedProxies 127.0.0.0/8\n",
        );
        let directory = site.path().display();
        let httpd = Httpd::builder()
            .daemon("site", &options)
            .mount("/", &app, "site")
            .line(format!(
                "<Directory {directory}>\nAllowOverride FileInfo\n</Directory>"
            ))
            .start();
        assert_eq!(ask(&httpd, "/", SAID)["REMOTE_ADDR"], "6.6.6.6");
        httpd.stop();
    });
}
