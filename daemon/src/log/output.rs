//! Standard output and standard error of a worker, line by line: capped,
//! escaped, prefixed with group and pid (from the pipe's identity, not from the
//! text), and limited in rate.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::time::Instant;

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

/// How much one pipe may write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputLimits {
    /// Lines in a row.
    pub(crate) burst: u32,
    /// Lines per second after that.
    pub(crate) per_second: u32,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { burst: 2000, per_second: 200 }
    }
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

/// Tokens for lines.
struct Bucket {
    limits: OutputLimits,
    tokens: f64,
    at: Instant,
    dropped: u64,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let refill = now.duration_since(self.at).as_secs_f64() * f64::from(self.limits.per_second);
        self.tokens = (self.tokens + refill).min(f64::from(self.limits.burst));
        self.at = now;
        if self.tokens < 1.0 {
            self.dropped += 1;
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

/// Reads the pipe to its end, or until `frozen`.
pub(crate) async fn forward(
    pipe: Arc<Receiver>,
    stream: Stream,
    (group, pid): (String, u32),
    (sink, target): (Sink, Target),
    (limits, mut frozen): (OutputLimits, Freeze),
) {
    let level = if stream == Stream::Err { "error" } else { "info" };
    let mut bucket = Bucket { limits, tokens: f64::from(limits.burst), at: Instant::now(), dropped: 0 };
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
        emit(&mut lines, &mut bucket, (level, &group, pid), (&sink, &target));
        if bucket.dropped > 0 {
            // A flood is slowed down at its source too: its pipe fills.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    lines.cut();
    emit(&mut lines, &mut bucket, (level, &group, pid), (&sink, &target));
    report_dropped(&mut bucket, (level, &group, pid), (&sink, &target));
}

fn emit(lines: &mut Lines, bucket: &mut Bucket, who: (&str, &str, u32), to: (&Sink, &Target)) {
    while let Some(line) = lines.done.pop_front() {
        if !bucket.take(Instant::now()) {
            continue;
        }
        report_dropped(bucket, who, to);
        write(&escaped(&line), who, to);
    }
}

fn report_dropped(bucket: &mut Bucket, who: (&str, &str, u32), to: (&Sink, &Target)) {
    let dropped = std::mem::take(&mut bucket.dropped);
    if dropped > 0 {
        write(&format!("({dropped} lines dropped: more than {} lines per second)", bucket.limits.per_second), who, to);
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

    #[test]
    fn the_bucket_refills_with_time() {
        let start = Instant::now();
        let limits = OutputLimits { burst: 2, per_second: 1 };
        let mut bucket = Bucket { limits, tokens: 2.0, at: start, dropped: 0 };
        assert!(bucket.take(start) && bucket.take(start) && !bucket.take(start));
        assert_eq!(bucket.dropped, 1);
        assert!(bucket.take(start + Duration::from_secs(1)));
    }
}
