//! A steady load of N connections that checks every answer and sorts failures
//! by kind.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::{Client, ClientError};
use crate::wait;

/// What to ask, how, and what has to come back.
#[derive(Clone, Debug)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// The path.
    pub path: String,
    /// Connections at the same time.
    pub connections: usize,
    /// What the body must be; `None`: anything.
    pub expected: Option<Vec<u8>>,
    /// Whether connections are used again.
    pub keep_alive: bool,
}

impl Load {
    /// GETs on kept connections.
    #[must_use]
    pub fn new(address: SocketAddr, path: &str, connections: usize) -> Self {
        Self {
            address,
            path: path.to_owned(),
            connections,
            expected: None,
            keep_alive: true,
        }
    }

    /// Every answer must be a 200 with this body.
    #[must_use]
    pub fn expect(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.expected = Some(body.into());
        self
    }

    /// A new connection for every request.
    #[must_use]
    pub fn fresh_connections(mut self) -> Self {
        self.keep_alive = false;
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Running {
        let shared = Arc::new(Shared::default());
        let load = Arc::new(self);
        let threads = (0..load.connections)
            .map(|_| {
                let load = Arc::clone(&load);
                let shared = Arc::clone(&shared);
                thread::spawn(move || load.work(&shared))
            })
            .collect();
        Running { shared, threads }
    }

    /// Runs it for a time.
    #[must_use]
    pub fn run_for(self, time: Duration) -> Tally {
        let running = self.start();
        wait::let_run(time);
        running.stop()
    }

    fn work(&self, shared: &Shared) -> Tally {
        let mut tally = Tally::default();
        let mut client = Client::new(self.address);
        while !shared.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            self.once(&mut client, &mut tally);
            tally.slowest = tally.slowest.max(begun.elapsed());
            shared.answered.fetch_add(1, Ordering::Relaxed);
        }
        tally
    }

    fn once(&self, client: &mut Client, tally: &mut Tally) {
        if !self.keep_alive {
            client.disconnect();
        }
        let used = client.connected();
        let mut result = client.get(&self.path);
        // A server may close an idle connection at any time; when that crosses
        // with a request, every HTTP client asks again (RFC 9112, section 9.3.1).
        if used && matches!(result, Err(ClientError::Closed)) {
            tally.asked_again += 1;
            result = client.get(&self.path);
        }
        match result {
            Ok(response) if response.status != 200 => {
                tally.fail(format!("status {}", response.status));
            }
            Ok(response)
                if self
                    .expected
                    .as_ref()
                    .is_some_and(|expected| *expected != response.body) =>
            {
                tally.fail("wrong body".to_owned());
            }
            Ok(_) => tally.ok += 1,
            Err(error) => tally.fail(match error {
                ClientError::Truncated { .. } => "truncated".to_owned(),
                ClientError::Closed => "closed without a response".to_owned(),
                other => other.to_string(),
            }),
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
}

/// A load that runs.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Running {
    /// Requests finished so far, well or badly.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more have finished: the server answers again.
    ///
    /// # Panics
    /// If they do not within half a minute.
    pub fn wait_for_more(&self, count: u64) {
        let goal = self.finished() + count;
        wait::eventually("more answers under load", Duration::from_secs(30), || {
            (self.finished() >= goal).then_some(())
        });
    }

    /// Ends it and counts.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        let total = Mutex::new(Tally::default());
        for thread in self.threads {
            if let Ok(tally) = thread.join() {
                total
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .add(tally);
            }
        }
        total.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Complete and right.
    pub ok: u64,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
    /// Requests sent again because the server had closed an idle connection.
    pub asked_again: u64,
    /// The longest that one request took.
    pub slowest: Duration,
}

impl Tally {
    /// All failures together.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Failures of one kind.
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> u64 {
        self.failures.get(kind).copied().unwrap_or(0)
    }

    /// Asserts that there were requests and none of them failed.
    ///
    /// # Panics
    /// If not.
    pub fn assert_clean(&self) {
        assert!(self.ok > 0, "no request was made");
        assert!(self.failures.is_empty(), "{self:?}");
    }

    fn fail(&mut self, kind: String) {
        *self.failures.entry(kind).or_default() += 1;
    }

    fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.asked_again += other.asked_again;
        self.slowest = self.slowest.max(other.slowest);
        for (kind, count) in other.failures {
            *self.failures.entry(kind).or_default() += count;
        }
    }
}

/// Asks again and again until the end, whatever comes of it: the neighbour that
/// others suffer from.
pub fn pester(address: SocketAddr, path: String, end: Instant) -> JoinHandle<()> {
    thread::spawn(move || {
        while Instant::now() < end {
            let _ = Client::new(address)
                .timeout(Duration::from_secs(2))
                .get(&path);
            wait::let_run(Duration::from_millis(20));
        }
    })
}
