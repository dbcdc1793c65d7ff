//! A collector of traces: takes OTLP over HTTP in JSON, keeps the spans, and answers as it is told to. One
//! that is silent takes connections and says nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::wait::eventually;

const SILENT: u16 = 0;

/// A collector that listens until it is dropped.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    spans: Mutex<Vec<ReceivedSpan>>,
    status: AtomicU16,
    ended: AtomicBool,
}

/// A span that has come, with the service that it is of.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// `service.name` of its resource.
    pub service: String,
    /// As it was sent.
    pub json: Value,
}

impl ReceivedSpan {
    /// A field of the span itself, as text.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }

    /// An attribute, as text; empty if it is not there.
    #[must_use]
    pub fn attribute(&self, key: &str) -> &str {
        let all = self.json["attributes"]
            .as_array()
            .map_or(&[][..], |all| all);
        let found = all.iter().find(|one| one["key"] == key);
        let value = found.map(|one| &one["value"]);
        let text = |kind| value.and_then(|value| value[kind].as_str());
        text("stringValue")
            .or_else(|| text("intValue"))
            .unwrap_or_default()
    }

    /// An attribute that is a number.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn number(&self, key: &str) -> u64 {
        let text = self.attribute(key);
        text.parse()
            .unwrap_or_else(|_| panic!("{key} is `{text}` in {}", self.json))
    }
}

impl Collector {
    /// Listens, and takes what comes.
    ///
    /// # Panics
    /// If there is no port for it.
    #[must_use]
    pub fn start() -> Self {
        Self::at(0, 200)
    }

    /// Takes connections and never answers.
    #[must_use]
    pub fn silent() -> Self {
        Self::at(0, SILENT)
    }

    /// Listens at this port, of which nobody else has had use since it was free.
    ///
    /// # Panics
    /// If somebody has.
    #[must_use]
    pub fn at_port(port: u16) -> Self {
        Self::at(port, 200)
    }

    fn at(port: u16, status: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let shared = Arc::new(Shared {
            status: status.into(),
            ..Shared::default()
        });
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if own.ended.load(Ordering::Relaxed) {
                    return;
                }
                let own = Arc::clone(&own);
                thread::spawn(move || own.serve(stream));
            }
        });
        Self { port, shared }
    }

    /// The value of `otlp-endpoint=`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port)
    }

    /// Answers with this status from now on.
    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::Relaxed);
    }

    /// All that have come.
    #[must_use]
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.shared.lock().clone()
    }

    /// Waits for the one with this id.
    ///
    /// # Panics
    /// If it does not come in time.
    #[must_use]
    pub fn span(&self, span_id: &str, limit: Duration) -> ReceivedSpan {
        eventually(&format!("the span {span_id}"), limit, || {
            let spans = self.spans();
            spans
                .into_iter()
                .find(|span| span.field("spanId") == span_id)
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<ReceivedSpan>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) {
        let status = self.status.load(Ordering::Relaxed);
        if status == SILENT {
            // Until the other side has had enough.
            let _ = (&stream).read_to_end(&mut Vec::new());
            return;
        }
        let mut reader = BufReader::new(&stream);
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            let field = line.to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if status == 200 {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            self.lock().extend(spans_of(&body));
        }
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 2\r\n\r\n{{}}");
        let _ = (&stream).write_all(answer.as_bytes());
    }
}

fn spans_of(body: &Value) -> Vec<ReceivedSpan> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for resource in list(&body["resourceSpans"]) {
        let attributes = list(&resource["resource"]["attributes"]);
        let service = attributes.iter().find(|one| one["key"] == "service.name");
        let service = service.and_then(|one| one["value"]["stringValue"].as_str());
        for scope in list(&resource["scopeSpans"]) {
            all.extend(list(&scope["spans"]).into_iter().map(|json| ReceivedSpan {
                service: service.unwrap_or_default().to_owned(),
                json,
            }));
        }
    }
    all
}
