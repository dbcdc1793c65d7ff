//! Sends spans to one collector, in batches. One that does not answer is tried again, and then its batch is
//! lost: what comes meanwhile waits in the queue in front. Each time that this changes the log says it, and
//! once a minute how many were lost. Started by `mod.rs`; knows nothing of where spans come from.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wsgid_protocol::endpoint::Endpoint;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::span::Span;

use super::otlp;

/// Spans of one request to the collector.
const BATCH_MAX: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// Time for a request to the collector.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before a batch is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// How much of an answer is read.
const ANSWER_MAX: usize = 64 * 1024;
const SAY_EVERY: Duration = Duration::from_secs(60);

pub(super) struct Exporter {
    endpoint: Endpoint,
    pub(super) spans: Receiver<Span>,
    /// And nobody was told of them yet.
    lost: Arc<AtomicU64>,
    /// Whether the last batch could not be sent.
    failing: bool,
    said_at: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("it answered with status {}: {}", .0.as_u16(), .1)]
    Status(StatusCode, String),
    #[error("it did not answer within {} s", SEND_TIMEOUT.as_secs())]
    Timeout,
}

impl ExportError {
    /// Whether the same may be taken later (OTLP/HTTP, "Failures").
    fn is_passing(&self) -> bool {
        match self {
            Self::Status(status, _) => matches!(status.as_u16(), 429 | 502..=504),
            _ => true,
        }
    }
}

impl Exporter {
    pub(super) const fn new(
        endpoint: Endpoint,
        spans: Receiver<Span>,
        lost: Arc<AtomicU64>,
    ) -> Self {
        Self {
            endpoint,
            spans,
            lost,
            failing: false,
            said_at: None,
        }
    }

    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sends until nobody has more.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch).await {
            match otlp::encode(&batch) {
                Ok(body) => self.deliver(batch.len(), body.into()).await,
                Err(error) => self.lose(batch.len(), &error.to_string()),
            }
            self.say_lost();
            batch.clear();
        }
    }

    /// Waits for a batch; `false` if there will be none.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        if self.spans.recv_many(batch, BATCH_MAX).await == 0 {
            return false;
        }
        let until = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH_MAX {
            let more = self.spans.recv_many(batch, BATCH_MAX - batch.len());
            if !matches!(tokio::time::timeout_at(until, more).await, Ok(1..)) {
                break;
            }
        }
        true
    }

    async fn deliver(&mut self, count: usize, body: Bytes) {
        let mut pauses = PAUSES.iter();
        loop {
            let sent = timeout(SEND_TIMEOUT, post(&self.endpoint, body.clone())).await;
            let error = match sent.unwrap_or(Err(ExportError::Timeout)) {
                Ok(answer) => return self.delivered(&answer),
                Err(error) => error,
            };
            self.fail(&error.to_string());
            match pauses.next() {
                Some(pause) if error.is_passing() && !self.spans.is_closed() => {
                    sleep(*pause).await;
                }
                _ => return self.lose(count, &error.to_string()),
            }
        }
    }

    fn delivered(&mut self, answer: &[u8]) {
        if std::mem::take(&mut self.failing) {
            tracing::info!("spans reach {} again", self.endpoint);
        }
        if let Some((count, reason)) = otlp::rejected(answer) {
            self.lose(usize::try_from(count).unwrap_or(usize::MAX), &reason);
        }
    }

    /// Says why spans are not sent, once.
    fn fail(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            let reason = escaped(reason.as_bytes());
            log_line!(
                SPANS_NOT_SENT,
                "spans do not reach {}: {reason}",
                self.endpoint
            );
        }
    }

    fn lose(&mut self, count: usize, reason: &str) {
        self.fail(reason);
        self.lost.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn say_lost(&mut self) {
        let is_due = self.said_at.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if is_due && self.lost.load(Ordering::Relaxed) > 0 {
            self.said_at = Some(Instant::now());
            let lost = self.lost.swap(0, Ordering::Relaxed);
            log_line!(SPANS_LOST, "{lost} spans for {} were lost", self.endpoint);
        }
    }
}

/// Sends a body on a connection of its own, and returns the answer's.
async fn post(endpoint: &Endpoint, body: Bytes) -> Result<Bytes, ExportError> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function, however that ends.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::post(&endpoint.path)
        .header(header::HOST, endpoint.authority())
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::USER_AGENT,
            concat!("wsgid/", env!("CARGO_PKG_VERSION")),
        )
        .header(header::CONNECTION, "close")
        .body(Full::new(body))
        .map_err(io::Error::other)?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    if status.is_success() {
        return Ok(body);
    }
    let text = body.get(..200).unwrap_or(&body);
    Err(ExportError::Status(
        status,
        String::from_utf8_lossy(text).into_owned(),
    ))
}
