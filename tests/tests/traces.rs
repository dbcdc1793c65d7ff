//! Traces: which requests are in one, what their application is told of it, and what a collector gets, also of
//! requests that failed. A collector that does not work is nobody's affair but its own.

use std::time::{Duration, Instant};

use wsgid_tests::collector::{Collector, ReceivedSpan};
use wsgid_tests::httpd::free_port;
use wsgid_tests::{Httpd, Json, Limit, Request, Response, Site, case, control, eventually};

const SOON: Duration = Duration::from_secs(20);

/// Answers with what it was told of its trace; the query says what else it does.
const APP: &str = "\
import json, os, signal, time
def application(environ, start_response):
    query = environ['QUERY_STRING']
    if query == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    if query == 'raise':
        raise ValueError('by itself')
    if query == 'short':
        start_response('200 OK', [('Content-Length', '9')])
        return [b'x']
    time.sleep(float(query or 0))
    start_response('404 Not Found' if query == '0' else '200 OK', [])
    told = [environ.get('HTTP_' + name, '') for name in ('TRACEPARENT', 'TRACESTATE')]
    return [json.dumps(told + [environ['mod_wsgi.request_id'], os.getpid()]).encode()]
";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

fn serve(options: &str) -> (Site, Httpd) {
    let site = Site::new();
    let app = site.write("app.py", APP);
    let httpd = Httpd::builder()
        .daemon("site", &format!("threads=2 {options}"))
        .mount("/app", &app, "site")
        .line("LogFormat \"%L %{wsgi.trace_id}n %>s\" ids")
        .line("CustomLog access.ids ids")
        .line("ErrorLogFormat \"[%{cu}t] [%-m:%l] [%L] %M\"")
        .start();
    (site, httpd)
}

fn sampled() -> String {
    format!("00-{TRACE}-{PARENT}-01")
}

fn ask(httpd: &Httpd, query: &str, traceparent: &str) -> Response {
    let mut request = Request::new("GET", &format!("/app/inside?{query}"));
    if !traceparent.is_empty() {
        request = request
            .header("traceparent", traceparent)
            .header("tracestate", "vendor=1");
    }
    httpd.client().send(&request).expect("a response")
}

/// What the application was told.
struct Told {
    trace: String,
    span: String,
    flags: String,
    state: String,
    request_id: String,
    worker: u64,
}

fn told(httpd: &Httpd, query: &str, traceparent: &str) -> Told {
    let text = ask(httpd, query, traceparent).text();
    let json: Json = serde_json::from_str(&text).expect("what the application was told");
    let text = |at: usize| json[at].as_str().expect("a text").to_owned();
    let parent = text(0);
    let parts: Vec<&str> = parent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        panic!("`{parent}` is no traceparent");
    };
    assert_eq!(
        (version, trace.len(), span.len()),
        ("00", 32, 16),
        "{parent}"
    );
    Told {
        trace: trace.to_owned(),
        span: span.to_owned(),
        flags: flags.to_owned(),
        state: text(1),
        request_id: text(2),
        worker: json[3].as_u64().expect("a pid"),
    }
}

/// Waits for the span of a request that sent `sampled()` and ended with this.
fn failed(collector: &Collector, failure: &str) -> ReceivedSpan {
    eventually(failure, SOON, || {
        let spans = collector.spans();
        spans
            .into_iter()
            .find(|span| span.attribute("error.type") == failure)
    })
}

/// Waits for a line of the access log, which is written after the client has its answer.
fn has_line(httpd: &Httpd, line: &str) {
    eventually(line, SOON, || {
        let log = std::fs::read_to_string(httpd.root().join("access.ids"));
        log.unwrap_or_default().contains(line).then_some(())
    });
}

#[test]
fn each_sampled_request_is_a_span_below_the_one_that_asked() {
    case(Limit::default(), || {
        let collector = Collector::start();
        let endpoint = format!("otlp-endpoint={}", collector.url());
        let (_site, httpd) = serve(&format!("{endpoint} trace-ratio=0"));
        let one = told(&httpd, "0.1", &sampled());
        assert_eq!((one.trace.as_str(), one.flags.as_str()), (TRACE, "01"));
        assert_eq!(one.state, "vendor=1");
        assert_ne!(one.span, PARENT);
        // Those that are not sampled, by the client's word or by ours.
        let unsampled = told(&httpd, "", &format!("00-{TRACE}-{PARENT}-00"));
        assert_eq!(
            (unsampled.trace.as_str(), unsampled.flags.as_str()),
            (TRACE, "00")
        );
        for invalid in ["", "00-nonsense", &format!("{}, {}", sampled(), sampled())] {
            let own = told(&httpd, "", invalid);
            assert_ne!(own.trace, TRACE, "{invalid}");
            assert_eq!(
                (own.flags.as_str(), own.state.as_str()),
                ("00", ""),
                "{invalid}"
            );
        }
        let last = told(&httpd, "0", &sampled());
        let span = collector.span(&last.span, SOON);
        assert_eq!(span.attribute("http.response.status_code"), "404");
        assert_eq!(
            span.json.get("status"),
            None,
            "it is no error of the server's"
        );

        let span = collector.span(&one.span, SOON);
        assert_eq!(collector.spans().len(), 2, "{:?}", collector.spans());
        assert_eq!(span.service, "site");
        let fields = ["traceId", "parentSpanId", "name"].map(|name| span.field(name));
        assert_eq!(fields, [TRACE, PARENT, "GET /app"]);
        let texts = ["http.route", "wsgi.group", "wsgi.request_id"].map(|key| span.attribute(key));
        assert_eq!(texts, ["/app", "site", &one.request_id]);
        assert_eq!(span.number("wsgi.worker"), one.worker);
        let time = |name| span.field(name).parse::<u64>().expect("nanoseconds");
        let took = (time("endTimeUnixNano") - time("startTimeUnixNano")) / 1000;
        let application = span.number("wsgi.application_us");
        assert!((100_000..=took).contains(&application), "{}", span.json);
        let parts = ["httpd", "queue", "application", "send"];
        let sum: u64 = parts
            .iter()
            .map(|part| span.number(&format!("wsgi.{part}_us")))
            .sum();
        assert_eq!(sum, took, "{}", span.json);

        // One id in the access log, the application and the span.
        has_line(&httpd, &format!("{} {TRACE} 200", one.request_id));
        httpd.stop();
    });
}

#[test]
fn without_a_traceparent_the_ratio_decides() {
    case(Limit::default(), || {
        let collector = Collector::start();
        let (_site, httpd) = serve(&format!("otlp-endpoint={}", collector.url()));
        let all = told(&httpd, "", "");
        let span = collector.span(&all.span, SOON);
        assert_eq!(
            (span.field("traceId"), span.field("parentSpanId")),
            (all.trace.as_str(), "")
        );
        assert_eq!(all.flags, "01");
        httpd.stop();
        let (_site, httpd) = serve(&format!(
            "otlp-endpoint={} trace-ratio=0.5",
            collector.url()
        ));
        let flags: Vec<String> = (0..64).map(|_| told(&httpd, "", "").flags).collect();
        for flag in ["00", "01"] {
            // Wrong once in 2^50 times.
            assert!(
                flags.iter().filter(|one| *one == flag).count() > 3,
                "{flags:?}"
            );
        }
        httpd.stop();
    });
}

#[test]
fn without_a_collector_the_application_has_what_the_client_sent() {
    case(Limit::default(), || {
        let (_site, httpd) = serve("");
        let told = told(&httpd, "", &sampled());
        assert_eq!(
            (told.span.as_str(), told.state.as_str()),
            (PARENT, "vendor=1")
        );
        httpd.stop();
    });
}

#[test]
fn a_request_whose_worker_was_killed_has_a_span_with_the_cause() {
    case(Limit::default(), || {
        let collector = Collector::start();
        let (_site, httpd) = serve(&format!("otlp-endpoint={}", collector.url()));
        for (query, status, failure, cause) in [
            ("kill", 502, "worker-signalled", "SIGKILL"),
            ("raise", 500, "application-error", "ValueError"),
            ("short", 500, "response-short", "the body has 1 bytes"),
        ] {
            assert_eq!(ask(&httpd, query, &sampled()).status, status, "{query}");
            let span = failed(&collector, failure);
            assert_eq!(span.json["status"]["code"], 2, "{query}");
            let message = span.json["status"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(cause), "{query}: {}", span.json);
            assert_eq!(span.attribute("wsgi.cause"), message);
            assert_eq!(span.number("http.response.status_code"), u64::from(status));
            assert_eq!(span.field("parentSpanId"), PARENT);
            // Access log and error log have the same id.
            let id = span.attribute("wsgi.request_id");
            has_line(&httpd, &format!("{id} {TRACE} {status}"));
            let log = httpd.error_log();
            let of_it = log.lines().filter(|line| line.contains(&format!("[{id}]")));
            for word in [failure, cause] {
                assert!(
                    of_it.clone().any(|line| line.contains(word)),
                    "{word}: {log}"
                );
            }
        }
        assert_eq!(collector.spans().len(), 3);
        httpd.stop();
    });
}

#[test]
fn a_collector_that_does_not_work_disturbs_nobody() {
    case(Limit::seconds(90), || {
        let silent = Collector::silent();
        let (_site, httpd) = serve(&format!("otlp-endpoint={}", silent.url()));
        for _ in 0..300 {
            let begun = Instant::now();
            assert_eq!(ask(&httpd, "", "").status, 200);
            assert!(begun.elapsed() < Duration::from_secs(5));
        }
        let begun = Instant::now();
        assert!(control::status(&httpd).is_some());
        assert!(begun.elapsed() < Duration::from_secs(5));
        // At its end it is not waited for either.
        let begun = Instant::now();
        httpd.stop();
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{:?}",
            begun.elapsed()
        );
        drop(silent);

        let port = free_port();
        let (_site, httpd) = serve(&format!("otlp-endpoint=http://127.0.0.1:{port}"));
        assert_eq!(ask(&httpd, "", "").status, 200);
        let line = httpd.wait_for_log("WSGID0258", SOON);
        assert!(
            line.contains(&format!("127.0.0.1:{port}/v1/traces")),
            "{line}"
        );
        let collector = Collector::at_port(port);
        let told = told(&httpd, "", "");
        let _ = collector.span(&told.span, SOON);
        httpd.wait_for_log("spans reach", SOON);
        assert_eq!(httpd.error_log().matches("WSGID0258").count(), 1);
        collector.answer(400);
        assert_eq!(ask(&httpd, "", "").status, 200);
        let line = httpd.wait_for_log("answered with status 400", SOON);
        assert!(line.contains("WSGID0258"), "{line}");
        httpd.wait_for_log("WSGID0259: 1 spans", SOON);
        httpd.stop();
    });
}

#[test]
fn spans_go_on_with_the_next_supervisor() {
    case(Limit::seconds(90), || {
        let collector = Collector::start();
        let (_site, httpd) = serve(&format!("otlp-endpoint={}", collector.url()));
        let before = told(&httpd, "", "").span;
        let said = control::command(&httpd, &["reexec"]).expect("a control socket");
        assert_eq!(said.code, 0, "{}", said.text);
        httpd.wait_for_log("it goes on with", SOON);
        let after = told(&httpd, "", "").span;
        for span in [before, after] {
            let _ = collector.span(&span, SOON);
        }
        let first = httpd.supervisor().expect("a supervisor");
        first.kill();
        eventually("another supervisor", SOON, || {
            httpd.supervisor().filter(|now| *now != first)
        });
        let last = told(&httpd, "", "").span;
        let _ = collector.span(&last, SOON);
        httpd.stop();
    });
}

#[test]
fn a_graceful_reload_sends_spans_elsewhere_or_nowhere() {
    case(Limit::seconds(90), || {
        let [old, new] = [Collector::start(), Collector::start()];
        let (_site, mut httpd) = serve(&format!("otlp-endpoint={}", old.url()));
        let _ = old.span(&told(&httpd, "", "").span, SOON);
        httpd.configure(|lines| {
            for line in lines {
                *line = line.replace(&old.url(), &new.url());
            }
        });
        httpd.graceful();
        let _ = new.span(&told(&httpd, "", "").span, SOON);
        assert_eq!(old.spans().len(), 1);
        httpd.stop();
    });
}

#[test]
fn an_endpoint_that_is_none_is_refused_with_words() {
    case(Limit::default(), || {
        for (option, words) in [
            (
                "otlp-endpoint=https://otel:4318",
                "https, which the supervisor does not speak",
            ),
            ("otlp-endpoint=otel:4318", "is no URL of a collector"),
            ("trace-ratio=2", "is not a number from 0 to 1"),
        ] {
            let check = Httpd::builder().daemon("site", option).check();
            assert!(
                !check.ok && check.text.contains(words),
                "{option}: {}",
                check.text
            );
        }
    });
}
