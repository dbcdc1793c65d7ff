//! Spans of requests, from httpd's children to the collectors that `otlp-endpoint=` names. All of it
//! happens in a thread of its own, which begins with the first collector: neither a flood of spans nor a
//! collector that hangs holds the supervisor up. `receive` reads what children say, `export` sends it
//! on, `otlp` writes it as collectors read it. Used by `supervisor`; knows nothing of groups but
//! their names.

mod export;
mod otlp;
mod receive;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use std::os::fd::{AsFd, AsRawFd};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wsgid_protocol::endpoint::Endpoint;

use crate::channel::closing::Guarded;
use receive::Router;

/// At its end, what was said is still read and sent, if that takes no longer.
const LAST_WORDS: Duration = Duration::from_millis(500);

enum TraceOrder {
    /// The collector of each process group that has one.
    Collectors(BTreeMap<String, Endpoint>),
    /// A child of httpd's will tell spans.
    Connection(Guarded),
}

/// The way to the thread.
#[derive(Default)]
pub(crate) struct Traces {
    running: Option<(mpsc::UnboundedSender<TraceOrder>, oneshot::Receiver<()>)>,
}

impl Traces {
    /// From now on the spans of these groups go there.
    pub(crate) fn follow(&mut self, collectors: BTreeMap<String, Endpoint>) {
        if self.running.is_none() && !collectors.is_empty() {
            self.running = start();
        }
        self.order(TraceOrder::Collectors(collectors));
    }

    /// Reads spans from a connection; without any collector it is closed.
    pub(crate) fn take(&self, connection: Guarded) {
        self.order(TraceOrder::Connection(connection));
    }

    fn order(&self, order: TraceOrder) {
        if let Some((orders, _)) = &self.running {
            let _ = orders.send(order);
        }
    }

    /// Ends.
    pub(crate) async fn finish(&mut self) {
        if let Some((orders, ended)) = self.running.take() {
            drop(orders);
            let _ = timeout(LAST_WORDS, ended).await;
        }
    }
}

fn start() -> Option<(mpsc::UnboundedSender<TraceOrder>, oneshot::Receiver<()>)> {
    let (orders, taken) = mpsc::unbounded_channel();
    let (done, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let started = runtime.and_then(|runtime| {
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || {
                runtime.block_on(work(taken));
                // A look-up of a name that hangs is not waited for.
                runtime.shutdown_background();
                let _ = done.send(());
            })
    });
    if let Err(error) = started {
        log_line!(NO_TRACES, "there will be no traces: {error}");
        return None;
    }
    Some((orders, ended))
}

async fn work(mut orders: mpsc::UnboundedReceiver<TraceOrder>) {
    let router = Arc::new(Router::default());
    let mut exporters = JoinSet::new();
    let mut readers = JoinSet::new();
    let mut open: Vec<Weak<Guarded>> = Vec::new();
    while let Some(order) = orders.recv().await {
        while readers.try_join_next().is_some() {}
        while exporters.try_join_next().is_some() {}
        match order {
            TraceOrder::Collectors(collectors) => {
                for exporter in router.follow(collectors) {
                    exporters.spawn(exporter.run());
                }
            }
            TraceOrder::Connection(connection) => {
                let connection = Arc::new(connection);
                open.retain(|one| one.strong_count() > 0);
                open.push(Arc::downgrade(&connection));
                readers.spawn(receive::read(connection, Arc::clone(&router)));
            }
        }
    }
    // What lies in the connections comes out of them, and then their end.
    for connection in open.iter().filter_map(Weak::upgrade) {
        let _ = shutdown(connection.as_fd().as_raw_fd(), Shutdown::Read);
    }
    let _ = timeout(LAST_WORDS / 2, async {
        while readers.join_next().await.is_some() {}
    })
    .await;
    router.follow(BTreeMap::new());
    let _ = timeout(LAST_WORDS, async {
        while exporters.join_next().await.is_some() {}
    })
    .await;
}
