//! Standard output and standard error of a worker, line by line: capped,
//! escaped, prefixed with group and pid (from the pipe's identity, not from the
//! text), and limited in rate.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use wsgid_protocol::line_rate::{LineLimits, LineRate};

use super::escaped;
use super::format::prefix;
use super::sink::{Sink, Target};
use crate::freeze::Freeze;

/// Longest line that is kept whole; the rest is cut into further lines.
const LINE_MAX: usize = 8 * 1024;

/// Which of the two pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

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

/// Reads the pipe to its end, or until `frozen`.
pub(crate) async fn forward(
    pipe: Arc<Receiver>,
    stream: Stream,
    (group, pid): (String, u32),
    (sink, target): (Sink, Target),
    mut frozen: Freeze,
) {
    let level = if stream == Stream::Err { "error" } else { "info" };
    let mut rate = LineRate::new(LineLimits::default(), Instant::now());
    let mut lines = Lines::default();
    let mut buffer = vec![0; LINE_MAX];
    loop {
        let ready = tokio::select! {
            biased;
            () = frozen.asked() => break,
            ready = pipe.readable() => ready,
        };
        let count = match ready.and_then(|()| pipe.try_read(&mut buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        lines.push(buffer.get(..count).unwrap_or_default());
        emit(&mut lines, &mut rate, (level, &group, pid), (&sink, &target));
        if rate.dropped() > 0 {
            // A flood is slowed down at its source too: its pipe fills.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    lines.cut();
    emit(&mut lines, &mut rate, (level, &group, pid), (&sink, &target));
    report_dropped(&mut rate, (level, &group, pid), (&sink, &target));
}

fn emit(lines: &mut Lines, rate: &mut LineRate, who: (&str, &str, u32), to: (&Sink, &Target)) {
    while let Some(line) = lines.done.pop_front() {
        if !rate.allows(1, Instant::now()) {
            continue;
        }
        report_dropped(rate, who, to);
        write(&escaped(&line), who, to);
    }
}

fn report_dropped(rate: &mut LineRate, who: (&str, &str, u32), to: (&Sink, &Target)) {
    if let Some(text) = rate.account("") {
        write(&text, who, to);
    }
}

fn write(text: &str, (level, group, pid): (&str, &str, u32), (sink, target): (&Sink, &Target)) {
    let line = format!("{}[group {group}] {text}\n", prefix(level, pid));
    sink.line(target, line.into_bytes());
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
