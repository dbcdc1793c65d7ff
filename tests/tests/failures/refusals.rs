//! What httpd's child refuses by itself: each with its line at httpd's default LogLevel, and limits that
//! follow httpd's own, up to one of ours that has a name.

use std::time::Duration;

use wsgid_tests::raw::exchange;
use wsgid_tests::{Httpd, Limit, Site, case, eventually};

use crate::server::SOON;

const APPLICATION: &str = "\
def application(environ, start_response):
    fields = [('X-Field-%d' % n, 'x') for n in range(int(environ.get('HTTP_X_COUNT', '0')))]
    start_response('200 OK', [('Content-Type', 'text/plain')] + fields)
    said = sum(len(value) for name, value in environ.items() if name.startswith('HTTP_X_LONG'))
    return [b'%d of %d' % (said, len(environ['QUERY_STRING']))]
";

/// Larger than all that a worker is told.
const HUGE: usize = 17 << 20;

fn server() -> (Site, Httpd) {
    let site = Site::new();
    let script = site.write("limits.py", APPLICATION);
    let httpd = Httpd::builder()
        .load("reqtimeout")
        .daemon("site", &format!("threads=2 {}", site.python_path()))
        .mount("/app", &script, "site")
        .mount("/limited", &script, "site")
        .line("LogLevel warn\nRequestReadTimeout header=0 body=1")
        .line("LimitRequestLine 40000000\nLimitRequestFieldSize 40000000\nLimitRequestFields 32767")
        .line("<Location /limited>\n  LimitRequestBody 1000\n</Location>")
        .start();
    (site, httpd)
}

/// The answer to a request of these fields, and whether the log has a line that begins so.
fn refused(httpd: &Httpd, line: &str, fields: &str, status: u16, id: &str) {
    let before = httpd.error_log().len();
    let request = format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
    let text = exchange(httpd.address(), request, SOON);
    let what = fields.get(..60).unwrap_or(fields);
    let head = text.lines().next().unwrap_or_default();
    assert!(head.contains(&format!(" {status} ")), "{what}: {head}");
    eventually(&format!("{id} for {what}"), Duration::from_secs(5), || {
        let log = httpd.error_log();
        log.get(before..)?.contains(id).then_some(())
    });
}

#[test]
fn every_refusal_has_its_line_at_the_default_level() {
    case(Limit::seconds(60), || {
        let (_site, httpd) = server();
        assert_eq!(httpd.get("/app").status, 200);
        let chunks = "Transfer-Encoding: chunked\r\n";
        refused(&httpd, "POST /app", chunks, 411, "WSGID0041");
        refused(
            &httpd,
            "POST /limited",
            "Content-Length: 1001\r\n",
            413,
            "WSGID0042",
        );
        refused(
            &httpd,
            "POST /app",
            "Content-Length: 9\r\n",
            408,
            "WSGID0043",
        );
        let many = format!("X-Long: {}\r\n", "x".repeat(HUGE));
        let name = "WSGID0136: request-head-too-large";
        refused(&httpd, "GET /app", &many, 431, name);
        let line = format!("GET /app?{}", "x".repeat(HUGE));
        refused(&httpd, &line, "", 414, "WSGID0135: request-line-too-long");
        let log = httpd.access_log();
        for name in ["request-head-too-large", "request-line-too-long"] {
            assert!(log.contains(&format!("failure={name} ")), "{name}");
        }
        httpd.stop();
    });
}

#[test]
fn limits_of_heads_follow_those_of_httpd() {
    case(Limit::seconds(60), || {
        let (_site, httpd) = server();
        let told = |line: &str, fields: &str| {
            let request =
                format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n");
            exchange(httpd.address(), request, SOON)
        };
        let text = told(
            "GET /app",
            &format!("X-Long: {}\r\n", "x".repeat(1_500_000)),
        );
        assert!(text.ends_with("1500000 of 0"), "{:.200}", text);
        let text = told(&format!("GET /app?{}", "x".repeat(1_500_000)), "");
        assert!(text.ends_with("0 of 1500000"), "{:.200}", text);
        let fields: String = (0..30_000).map(|n| format!("X-Long-{n}: x\r\n")).collect();
        let text = told("GET /app", &fields);
        assert!(text.ends_with("30000 of 0"), "{:.200}", text);
        let text = told("GET /app", "X-Count: 600\r\n");
        let count = text
            .lines()
            .filter(|line| line.starts_with("X-Field-"))
            .count();
        assert_eq!(count, 600, "{:.200}", text);
        httpd.stop();
    });
}
