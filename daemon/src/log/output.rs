//! Standard output and standard error of a worker, line by line: capped,
//! escaped, prefixed with group and pid (from the pipe's identity, not from the
//! text), and limited in rate: each process in lines, the group in bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use wsgid_protocol::line_rate::{LineLimits, LineRate};
use wsgid_protocol::{byte_rate, clock::monotonic, readable::escaped};

use super::format::prefix;
use super::sink::{OutputTarget, Sink};
use crate::channel::quiesce::Quiesce;

/// Longest line that is kept whole; the rest is cut into further lines.
const LINE_MAX: usize = 8 * 1024;

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
        rates: Rates::new(),
    };
    let mut lines = Lines::default();
    let mut buffer = vec![0; LINE_MAX];
    loop {
        let ready = tokio::select! {
            biased;
            () = quiesce.asked() => break,
            ready = pipe.readable() => ready,
        };
        let count = match ready.and_then(|()| pipe.try_read(&mut buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        lines.push(buffer.get(..count).unwrap_or_default());
        writer.write_all(&mut lines);
        if writer.rates.is_over() {
            // A flood is slowed down at its source too: its pipe fills.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    lines.cut();
    writer.write_all(&mut lines);
    writer.report_dropped();
}

/// Writes the lines of one pipe, as far as it and its group may.
struct PipeLog {
    level: &'static str,
    pid: u32,
    output: Output,
    rates: Rates,
}

impl PipeLog {
    fn write_all(&mut self, lines: &mut Lines) {
        while let Some(line) = lines.done.pop_front() {
            let line = escaped(&line);
            if self.rates.allows(&line, &self.output.target) {
                self.report_dropped();
                self.write(&line);
            } else if let Some(text) = self.rates.account(false) {
                self.write(&text);
            }
        }
    }

    fn report_dropped(&mut self) {
        let texts = [self.rates.lines.account(""), self.rates.account(true)];
        for text in texts.into_iter().flatten() {
            self.write(&text);
        }
    }

    fn write(&self, text: &str) {
        let front = prefix(self.level, self.pid);
        let line = format!("{front}[group {}] {text}\n", self.output.group);
        self.output
            .sink
            .line(&self.output.target, line.into_bytes());
    }
}

/// What one pipe has written, and what of it the group as a whole may not.
struct Rates {
    lines: LineRate,
    /// Lines beyond the bytes of the group that nobody has been told of, and when
    /// that was done last.
    beyond: u64,
    said: Option<Instant>,
}

/// How often it is said that lines were left out for their bytes.
const SAY_EVERY: Duration = Duration::from_secs(1);

impl Rates {
    fn new() -> Self {
        Self {
            lines: LineRate::new(LineLimits::default(), Instant::now()),
            beyond: 0,
            said: None,
        }
    }

    fn allows(&mut self, line: &str, target: &OutputTarget) -> bool {
        if !self.lines.allows(1, Instant::now()) {
            return false;
        }
        let allowed = target.spends(line.len() as u64 + byte_rate::LINE_COST, monotonic_us());
        self.beyond += u64::from(!allowed);
        allowed
    }

    fn is_over(&self) -> bool {
        self.lines.dropped() > 0 || self.beyond > 0
    }

    /// What to say about lines that were left out for their bytes.
    fn account(&mut self, last: bool) -> Option<String> {
        let is_due = last || self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if self.beyond == 0 || !is_due {
            return None;
        }
        self.said = Some(Instant::now());
        Some(byte_rate::account(std::mem::take(&mut self.beyond)))
    }
}

fn monotonic_us() -> u64 {
    u64::try_from(monotonic().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_group_share_what_it_may_write() {
        let target = OutputTarget::default();
        let mut one = Rates::new();
        let mut other = Rates::new();
        let line = "x".repeat(LINE_MAX);
        let passed = (0..2000).filter(|_| one.allows(&line, &target)).count();
        let burst = usize::try_from(byte_rate::BURST).unwrap() / (LINE_MAX + 128);
        assert!(
            (burst..burst + 300).contains(&passed),
            "{passed} lines of {LINE_MAX} bytes"
        );
        assert!(
            !other.allows(&line, &target),
            "another process of the group"
        );
        assert!(
            Rates::new().allows(&line, &OutputTarget::default()),
            "another group"
        );
        let text = one.account(false).expect("it is said");
        assert!(
            text.starts_with(&format!("({} lines dropped", 2000 - passed)),
            "{text}"
        );
        assert_eq!(other.beyond, 1);
    }

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
