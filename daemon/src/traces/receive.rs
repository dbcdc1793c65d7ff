//! What httpd's children say of requests that have ended: read frame by frame, and given to the queue of
//! the group's collector. A queue that is full loses what does not fit, and counts it. A connection
//! that breaks the protocol is closed. Called by `mod.rs`, for connections whose HELLO was right.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::{Sender, channel};
use wsgid_protocol::endpoint::Endpoint;
use wsgid_protocol::limits::HEAD_LEN;
use wsgid_protocol::span::{Span, SpanMessage};
use wsgid_protocol::{FrameHead, Kind, payload};

use super::export::Exporter;
use crate::channel::closing::{Guarded, Polled};

/// Spans that may wait for one collector: some MiB at most.
const QUEUE_MAX: usize = 4096;

/// Which spans go where.
#[derive(Default)]
pub(super) struct Router(Mutex<Routes>);

#[derive(Default)]
struct Routes {
    collectors: BTreeMap<String, Endpoint>,
    queues: BTreeMap<Endpoint, SpanQueue>,
}

/// What waits for one collector.
struct SpanQueue {
    spans: Sender<Span>,
    lost: Arc<AtomicU64>,
}

impl Router {
    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spans of these groups go to these collectors. Returns what is to send to those that are new;
    /// what sent to those that are not there any more ends when its queue is empty.
    pub(super) fn follow(&self, collectors: BTreeMap<String, Endpoint>) -> Vec<Exporter> {
        let mut routes = self.lock();
        let routes = &mut *routes;
        routes
            .queues
            .retain(|known, _| collectors.values().any(|one| one == known));
        let mut new = Vec::new();
        for endpoint in collectors.values() {
            routes.queues.entry(endpoint.clone()).or_insert_with(|| {
                let (spans, taken) = channel(QUEUE_MAX);
                let lost = Arc::new(AtomicU64::new(0));
                new.push(Exporter::new(endpoint.clone(), taken, Arc::clone(&lost)));
                SpanQueue { spans, lost }
            });
        }
        routes.collectors = collectors;
        new
    }

    /// A group that is traced no longer may have children of httpd's that do not know it.
    fn take(&self, span: Span) {
        let routes = self.lock();
        let endpoint = routes.collectors.get(&span.group);
        let Some(queue) = endpoint.and_then(|endpoint| routes.queues.get(endpoint)) else {
            return;
        };
        let before = span.lost;
        let is_full = queue.spans.try_send(span).is_err();
        if is_full || before > 0 {
            let count = before.saturating_add(is_full.into());
            queue.lost.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Reads until the connection ends.
pub(super) async fn read(connection: Arc<Guarded>, router: Arc<Router>) {
    if let Err(error) = read_all(&connection, &router).await {
        connection.tell_of(&error, "spans");
        if error.kind() != io::ErrorKind::UnexpectedEof {
            tracing::debug!("a connection for spans was closed: {error}");
        }
    }
}

async fn read_all(connection: &Arc<Guarded>, router: &Router) -> io::Result<()> {
    let invalid = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
    let stream = Polled::new(Arc::clone(connection))?;
    let mut bytes = Vec::new();
    loop {
        let mut head = [0; HEAD_LEN];
        stream.read_exact(&mut head).await?;
        let head = FrameHead::parse(&head).map_err(|error| invalid(error.to_string()))?;
        if head.kind != Kind::Span {
            return Err(invalid(format!("{:?} is no span", head.kind)));
        }
        bytes.resize(head.len as usize, 0);
        stream.read_exact(&mut bytes).await?;
        match payload::decode_message(&bytes) {
            Ok(Some(SpanMessage::Ended(span))) => router.take(span),
            // A module of another release has more to say.
            Ok(None) => {}
            Err(error) => return Err(invalid(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn framed(span: Span) -> Vec<u8> {
        let mut bytes = Vec::new();
        let head = FrameHead::new(Kind::Span, 0, 0);
        payload::encode_frame_into(head, &SpanMessage::Ended(span), &mut bytes).unwrap();
        bytes
    }

    fn span(group: &str) -> Span {
        Span {
            group: group.to_owned(),
            ..Span::default()
        }
    }

    fn to(group: &str, endpoint: &str) -> BTreeMap<String, Endpoint> {
        BTreeMap::from([(group.to_owned(), endpoint.parse().unwrap())])
    }

    /// What a router keeps of a connection on which these bytes were said.
    async fn said(bytes: &[u8], router: &Arc<Router>) {
        let (ours, mut child) = UnixStream::pair().unwrap();
        child.write_all(bytes).unwrap();
        drop(child);
        let connection = Arc::new(Guarded::new(ours.into(), "a child"));
        read(connection, Arc::clone(router)).await;
    }

    #[tokio::test]
    async fn spans_of_a_traced_group_come_to_its_collector_and_no_others() {
        let router = Arc::new(Router::default());
        let mut exporters = router.follow(to("site", "http://a"));
        assert!(
            router.follow(to("site", "http://a")).is_empty(),
            "it is there already"
        );
        said(
            &[framed(span("site")), framed(span("other"))].concat(),
            &router,
        )
        .await;
        let mut exporter = exporters.remove(0);
        assert_eq!(exporter.spans.try_recv().unwrap().group, "site");
        assert!(exporter.spans.try_recv().is_err());
        assert_eq!(router.follow(to("site", "http://b")).len(), 1);
        assert!(exporter.spans.is_closed(), "nobody sends there any more");
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted() {
        let router = Arc::new(Router::default());
        let exporters = router.follow(to("site", "http://a"));
        for _ in 0..QUEUE_MAX + 3 {
            router.take(span("site"));
        }
        let lost = Span {
            lost: 4,
            ..span("site")
        };
        said(&framed(lost), &router).await;
        assert_eq!(exporters[0].lost(), 3 + 4 + 1);
    }

    #[tokio::test]
    async fn whatever_bytes_come_none_panic_and_what_was_right_before_is_kept() {
        let router = Arc::new(Router::default());
        let mut exporters = router.follow(to("site", "http://a"));
        let good = framed(span("site"));
        for cut in 0..good.len() {
            said(&good[..cut], &router).await;
        }
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                said(&bytes, &router).await;
            }
        }
        let of_others = FrameHead::new(Kind::Cancel, 0, 0).encode();
        while exporters[0].spans.try_recv().is_ok() {}
        said(&[&good[..], &of_others, &good].concat(), &router).await;
        assert!(exporters[0].spans.try_recv().is_ok());
        assert!(
            exporters[0].spans.try_recv().is_err(),
            "it was closed there"
        );
    }
}
