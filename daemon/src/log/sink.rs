//! The one thread that writes log lines, so that a full disk or a stopped log
//! reader never stops the supervisor. A bounded queue stands in front of it;
//! what does not fit is counted and reported.

use std::io::{self, Write};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use wsgid_protocol::config::LogFormat;

use super::format::{LineParts, prefix};
use super::target::{LogDestination, OutputTarget, QueuedLine};

/// Lines that may wait for the disk: some MiB at most.
const QUEUE_MAX: usize = 4096;

enum SinkJob {
    Line(LogDestination, Vec<u8>, Option<QueuedLine>),
    Flush(SyncSender<()>),
}

/// A handle to the writing thread.
#[derive(Clone)]
pub(crate) struct Sink {
    jobs: SyncSender<SinkJob>,
    dropped: Arc<AtomicU64>,
    /// The system's log, or standard error.
    main: OutputTarget,
}

impl Sink {
    pub(super) fn start() -> Self {
        let (jobs, queue) = sync_channel(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let started = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&queue, &counter));
        if let Err(error) = started {
            // Without the thread every line is dropped; say so at least once.
            let _ = writeln!(
                io::stderr(),
                "{}failed to start the log thread: {error}",
                prefix("crit", std::process::id())
            );
        }
        Self {
            jobs,
            dropped,
            main: OutputTarget::default(),
        }
    }

    /// Queues one line, which has its line end.
    pub(crate) fn line(&self, target: &OutputTarget, line: Vec<u8>) {
        self.queue(target.destination(), line, Some(target.queued()));
    }

    /// Where the supervisor's own lines go; `Main` is standard error.
    pub(crate) fn set_main(&self, destination: LogDestination) {
        self.main.set(destination);
    }

    /// How those are written.
    pub(crate) fn set_format(&self, format: LogFormat) {
        self.main.set_format(format);
    }

    /// How a line for this target is written: the system's log has a form of its own.
    pub(super) fn format_of(&self, target: &OutputTarget) -> LogFormat {
        let destination = match target.destination() {
            LogDestination::Main => self.main.destination(),
            other => other,
        };
        match destination {
            LogDestination::Syslog(_) => LogFormat::Text,
            _ => target.format(),
        }
    }

    /// The same of the supervisor's own.
    pub(crate) fn own_format(&self) -> LogFormat {
        self.format_of(&self.main)
    }

    fn queue(&self, destination: LogDestination, line: Vec<u8>, queued: Option<QueuedLine>) {
        let destination = match destination {
            LogDestination::Main => self.main.destination(),
            other => other,
        };
        if self
            .jobs
            .try_send(SinkJob::Line(destination, line, queued))
            .is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was queued is written, but not for ever.
    pub(crate) fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.jobs.try_send(SinkJob::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }
}

fn write_all(queue: &Receiver<SinkJob>, dropped: &AtomicU64) {
    while let Ok(job) = queue.recv() {
        match job {
            SinkJob::Line(target, line, _queued) => {
                if !write_line(&target, &line) {
                    dropped.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let lost = dropped.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let text =
                        format!("{lost} log lines dropped: the log is slower than its writers");
                    let parts = LineParts {
                        level: "warn",
                        pid: std::process::id(),
                        group: None,
                        request: None,
                        text: text.as_bytes(),
                    };
                    // As the line before it is.
                    let is_json = line.first() == Some(&b'{');
                    let format = if is_json {
                        LogFormat::Json
                    } else {
                        LogFormat::Text
                    };
                    write_line(&target, parts.line(format).as_bytes());
                }
            }
            SinkJob::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// A line for a file that cannot be written is lost, and nobody can be told. `false`:
/// how many were lost may be told later.
fn write_line(destination: &LogDestination, line: &[u8]) -> bool {
    match destination {
        LogDestination::Main => drop(io::stderr().write_all(line)),
        LogDestination::File(file) => drop(file.as_ref().write_all(line)),
        LogDestination::Syslog(log) => return log.send(&String::from_utf8_lossy(line)),
    }
    true
}

/// Collects one event and queues it whole.
pub(crate) struct LineWriter {
    sink: Sink,
    line: Vec<u8>,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.sink
                .queue(LogDestination::Main, std::mem::take(&mut self.line), None);
        }
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter {
            sink: self.clone(),
            line: Vec::new(),
        }
    }
}
