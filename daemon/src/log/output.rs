//! Standard output and standard error of a worker, line by line: capped,
//! escaped, prefixed with group and pid (from the pipe's identity, not from the
//! text), and limited in bytes for the group as a whole (`target.rs`).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use tokio::task::yield_now;
use tokio::time::sleep;
use wsgid_protocol::readable::escaped;
use wsgid_protocol::request_line;

use super::format::LineParts;
use super::sink::Sink;
use super::target::{OutputTarget, SAY_EVERY};
use crate::channel::quiesce::Quiesce;

/// Longest line that is kept whole; the rest is cut into further lines.
const LINE_MAX: usize = 8 * 1024;

/// How long a process is held up by a disk that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Cuts bytes into lines of at most `LINE_MAX`.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    done: VecDeque<Vec<u8>>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.cut(),
                byte => {
                    self.rest.push(*byte);
                    if self.rest.len() == LINE_MAX {
                        self.cut();
                    }
                }
            }
        }
    }

    fn cut(&mut self) {
        if !self.rest.is_empty() {
            self.done.push_back(std::mem::take(&mut self.rest));
        }
    }
}

/// Where the lines of a group's processes go, and how the group is named there.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) group: String,
    pub(crate) sink: Sink,
    pub(crate) target: OutputTarget,
}

/// Writes what comes from a pipe of process `pid` at this level of the log, until the
/// pipe ends or `quiesce` asks.
pub(crate) async fn forward(
    pipe: Arc<Receiver>,
    level: &'static str,
    pid: u32,
    output: Output,
    mut quiesce: Quiesce,
) {
    let mut writer = PipeLog {
        level,
        pid,
        output,
        is_stalled: false,
    };
    let mut lines = Lines::default();
    let mut buffer = vec![0; LINE_MAX];
    loop {
        let ready = tokio::select! {
            biased;
            () = quiesce.asked() => break,
            ready = pipe.readable() => ready,
            // A flood has ended, and nobody else may come to say what was left out of it.
            () = sleep(SAY_EVERY), if writer.output.target.has_untold() => {
                writer.say_left_out(false);
                continue;
            }
        };
        let count = match ready.and_then(|()| pipe.try_read(&mut buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        lines.push(buffer.get(..count).unwrap_or_default());
        if writer.write_all(&mut lines).await {
            // Others have their turn.
            yield_now().await;
        } else {
            // A flood is slowed down at its source too: its pipe fills.
            sleep(Duration::from_millis(10)).await;
        }
    }
    lines.cut();
    writer.write_all(&mut lines).await;
    writer.say_left_out(true);
}

/// Writes the lines of one pipe, as far as its group may.
struct PipeLog {
    level: &'static str,
    pid: u32,
    output: Output,
    /// The disk has not moved for a while: what it cannot take is lost, so that the
    /// process goes on.
    is_stalled: bool,
}

impl PipeLog {
    /// Whether nothing was left out.
    async fn write_all(&mut self, lines: &mut Lines) -> bool {
        let mut is_whole = true;
        while let Some(line) = lines.done.pop_front() {
            if self.output.target.admits(&escaped(&line)) {
                self.wait_for_disk().await;
                self.write(self.level, &line);
            } else {
                is_whole = false;
            }
        }
        self.say_left_out(false);
        is_whole
    }

    async fn wait_for_disk(&mut self) {
        let until = Instant::now() + PATIENCE;
        while self.output.target.is_behind() {
            if self.is_stalled || Instant::now() >= until {
                self.is_stalled = true;
                return;
            }
            sleep(Duration::from_millis(2)).await;
        }
        self.is_stalled = false;
    }

    fn say_left_out(&self, last: bool) {
        if let Some(text) = self.output.target.account(last) {
            self.write("warn", text.as_bytes());
        }
    }

    fn write(&self, level: &str, text: &[u8]) {
        let Output {
            group,
            sink,
            target,
        } = &self.output;
        let (request, text) = request_line::split(text);
        let parts = LineParts {
            level,
            pid: self.pid,
            group: Some(group),
            request,
            text,
        };
        let line = parts.line(sink.format_of(target));
        sink.line(target, line.into_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_cap() {
        let mut lines = Lines::default();
        lines.push(&[b'x'; LINE_MAX + 1]);
        lines.push(b"y\n\nlast");
        let got: Vec<usize> = lines.done.iter().map(Vec::len).collect();
        assert_eq!(got, [LINE_MAX, 2]);
        lines.cut();
        assert_eq!(lines.done.back().unwrap(), b"last");
    }
}
