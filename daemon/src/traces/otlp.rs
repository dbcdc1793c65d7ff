//! Spans as OTLP has them in JSON (opentelemetry-proto, `ExportTraceServiceRequest`), with the names of
//! OpenTelemetry's conventions for HTTP servers. Pure; used by `export`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use wsgid_protocol::failure;
use wsgid_protocol::span::Span;

const SERVER: u8 = 2;
const ERROR: u8 = 2;

/// Those that the conventions know; others are the client's words.
const METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE",
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Export<'s> {
    resource_spans: Vec<OfResource<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OfResource<'s> {
    resource: Attributed<'s>,
    scope_spans: [OfScope<'s>; 1],
}

#[derive(Serialize)]
struct Attributed<'s> {
    attributes: Vec<Attribute<'s>>,
}

#[derive(Serialize)]
struct OfScope<'s> {
    scope: Scope,
    spans: Vec<Exported<'s>>,
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Exported<'s> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'s>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<SpanStatus<'s>>,
}

#[derive(Serialize)]
struct SpanStatus<'s> {
    code: u8,
    message: &'s str,
}

#[derive(Serialize)]
struct Attribute<'s> {
    key: &'static str,
    value: AnyValue<'s>,
}

#[derive(Serialize)]
enum AnyValue<'s> {
    #[serde(rename = "stringValue")]
    Text(Cow<'s, str>),
    /// 64 bits are a text in JSON.
    #[serde(rename = "intValue")]
    Number(String),
}

/// A batch, by group: each is a service.
pub(super) fn encode(spans: &[Span]) -> serde_json::Result<Vec<u8>> {
    let mut groups: BTreeMap<&str, Vec<Exported<'_>>> = BTreeMap::new();
    for span in spans {
        groups.entry(&span.group).or_default().push(exported(span));
    }
    let of_resource = |(group, spans)| OfResource {
        resource: Attributed {
            attributes: vec![text("service.name", group)],
        },
        scope_spans: [OfScope {
            scope: Scope {
                name: "mod_wsgid",
                version: env!("CARGO_PKG_VERSION"),
            },
            spans,
        }],
    };
    serde_json::to_vec(&Export {
        resource_spans: groups.into_iter().map(of_resource).collect(),
    })
}

fn exported(span: &Span) -> Exported<'_> {
    let method = METHODS.iter().find(|known| **known == span.method);
    let route = match span.route.as_str() {
        "" => "/",
        route => route,
    };
    Exported {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: span.parent.as_ref().map(|parent| hex(parent)),
        name: format!("{} {route}", method.unwrap_or(&"HTTP")),
        kind: SERVER,
        start_time_unix_nano: nanos(span.start_us),
        end_time_unix_nano: nanos(span.start_us.saturating_add(span.took_us)),
        attributes: attributes(span, method, route),
        status: has_failed(span).then_some(SpanStatus {
            code: ERROR,
            message: &span.cause,
        }),
    }
}

/// Whether the server is to blame.
fn has_failed(span: &Span) -> bool {
    let mut rows = failure::TABLE.iter();
    let row = rows.find(|row| row.name == span.failure);
    span.status >= 500 || row.is_some_and(|row| row.status >= 500)
}

fn attributes<'s>(
    span: &'s Span,
    method: Option<&&'static str>,
    route: &'s str,
) -> Vec<Attribute<'s>> {
    let mut all = vec![
        text("http.request.method", method.unwrap_or(&"_OTHER")),
        text("http.route", route),
        number("http.response.status_code", span.status.into()),
        text("wsgi.group", &span.group),
        text("wsgi.request_id", &span.request_id),
        number("wsgi.httpd_us", span.httpd_us),
    ];
    if method.is_none() {
        all.push(text("http.request.method_original", &span.method));
    }
    if let Some(times) = span.by_worker {
        let parts = [span.httpd_us, times.queue_us, times.application_us];
        let before = parts.into_iter().fold(0, u64::saturating_add);
        all.push(number("wsgi.queue_us", times.queue_us));
        all.push(number("wsgi.application_us", times.application_us));
        all.push(number("wsgi.send_us", span.took_us.saturating_sub(before)));
    }
    if span.worker != 0 {
        all.push(number("wsgi.worker", span.worker.into()));
    }
    if !span.failure.is_empty() {
        all.push(text("error.type", &span.failure));
        all.push(text("wsgi.cause", &span.cause));
    } else if span.status >= 500 {
        // By the conventions it is the status, where there is no better word.
        all.push(Attribute {
            key: "error.type",
            value: AnyValue::Text(span.status.to_string().into()),
        });
    }
    all
}

const fn text<'s>(key: &'static str, value: &'s str) -> Attribute<'s> {
    Attribute {
        key,
        value: AnyValue::Text(Cow::Borrowed(value)),
    }
}

fn number(key: &'static str, value: u64) -> Attribute<'static> {
    // They are signed there.
    let value = value.min(i64::MAX.unsigned_abs()).to_string();
    Attribute {
        key,
        value: AnyValue::Number(value),
    }
}

fn nanos(micros: u64) -> String {
    micros.saturating_mul(1000).to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How many spans the collector did not take, and why (`ExportTracePartialSuccess`).
pub(super) fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = partial.get("rejectedSpans")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    let reason = partial.get("errorMessage").and_then(text);
    (count > 0).then(|| {
        (
            count,
            reason.unwrap_or_else(|| "it did not take some".into()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use wsgid_protocol::span::WorkerTimes;

    fn read(spans: &[Span]) -> Value {
        serde_json::from_slice(&encode(spans).unwrap()).unwrap()
    }

    #[test]
    fn a_span_has_the_names_and_the_layout_of_otlp() {
        let span = Span {
            trace_id: [0xab; 16],
            span_id: [1; 8],
            parent: Some([2; 8]),
            group: "shop".into(),
            method: "GET".into(),
            route: "/a\"\u{1}".into(),
            status: 200,
            start_us: 1_700_000_000_000_000,
            took_us: 1000,
            httpd_us: 100,
            by_worker: Some(WorkerTimes {
                queue_us: 200,
                application_us: 300,
            }),
            worker: 4711,
            request_id: "id".into(),
            ..Span::default()
        };
        let string = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let int = |key: &str, value: &str| json!({"key": key, "value": {"intValue": value}});
        assert_eq!(
            read(&[span]),
            json!({"resourceSpans": [{
                "resource": {"attributes": [string("service.name", "shop")]},
                "scopeSpans": [{
                    "scope": {"name": "mod_wsgid", "version": env!("CARGO_PKG_VERSION")},
                    "spans": [{
                        "traceId": "ab".repeat(16),
                        "spanId": "01".repeat(8),
                        "parentSpanId": "02".repeat(8),
                        "name": "GET /a\"\u{1}",
                        "kind": 2,
                        "startTimeUnixNano": "1700000000000000000",
                        "endTimeUnixNano": "1700000000001000000",
                        "attributes": [
                            string("http.request.method", "GET"),
                            string("http.route", "/a\"\u{1}"),
                            int("http.response.status_code", "200"),
                            string("wsgi.group", "shop"),
                            string("wsgi.request_id", "id"),
                            int("wsgi.httpd_us", "100"),
                            int("wsgi.queue_us", "200"),
                            int("wsgi.application_us", "300"),
                            int("wsgi.send_us", "400"),
                            int("wsgi.worker", "4711"),
                        ],
                    }],
                }],
            }]})
        );
    }

    #[test]
    fn only_what_the_server_is_to_blame_for_is_an_error() {
        let of = |status, failure: &str| {
            let span = Span {
                status,
                failure: failure.to_owned(),
                cause: "why".into(),
                ..Span::default()
            };
            let all = read(&[span]);
            let status = &all["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["status"];
            status.clone()
        };
        let error = json!({"code": 2, "message": "why"});
        assert_eq!(of(502, "worker-signalled"), error);
        assert_eq!(of(200, "worker-signalled"), error, "it was broken off");
        assert_eq!(of(500, ""), error);
        assert_eq!(
            (of(404, ""), of(200, "client-gone")),
            (Value::Null, Value::Null)
        );
    }

    #[test]
    fn whatever_a_peer_wrote_is_written() {
        let span = Span {
            method: "BREW".into(),
            start_us: u64::MAX,
            took_us: u64::MAX,
            httpd_us: u64::MAX,
            by_worker: Some(WorkerTimes {
                queue_us: u64::MAX,
                application_us: u64::MAX,
            }),
            ..Span::default()
        };
        let all = read(&[span, Span::default()]);
        let spans = &all["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["name"], "HTTP /");
        assert_eq!(spans.as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn what_a_collector_did_not_take_is_known() {
        let of = |text: &str| rejected(text.as_bytes());
        assert_eq!(of(""), None);
        assert_eq!(of("{}"), None);
        assert_eq!(of("<html>"), None);
        assert_eq!(of(r#"{"partialSuccess": {"rejectedSpans": "0"}}"#), None);
        let some = r#"{"partialSuccess": {"rejectedSpans": "7", "errorMessage": "too old"}}"#;
        assert_eq!(of(some), Some((7, "too old".to_owned())));
    }
}
