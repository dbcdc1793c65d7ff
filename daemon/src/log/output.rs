//! Standard output and standard error of a worker, line by line: capped,
//! escaped, prefixed with group and pid (from the pipe's identity, not from the
//! text), and limited in rate: each process in lines, the group in bytes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use wsgid_protocol::byte_rate;
use wsgid_protocol::clock::monotonic;
use wsgid_protocol::line_rate::{LineLimits, LineRate};
use wsgid_protocol::readable::escaped;

use super::format::prefix;
use super::sink::{Sink, Target};
use crate::channel::quiesce::Freeze;

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
    let level = if stream == Stream::Err {
        "error"
    } else {
        "info"
    };
    let mut rates = Rates::new();
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
        emit(
            &mut lines,
            &mut rates,
            (level, &group, pid),
            (&sink, &target),
        );
        if rates.is_over() {
            // A flood is slowed down at its source too: its pipe fills.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    lines.cut();
    emit(
        &mut lines,
        &mut rates,
        (level, &group, pid),
        (&sink, &target),
    );
    report_dropped(&mut rates, (level, &group, pid), (&sink, &target));
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

    fn allows(&mut self, line: &str, target: &Target) -> bool {
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

fn emit(lines: &mut Lines, rates: &mut Rates, who: (&str, &str, u32), to: (&Sink, &Target)) {
    while let Some(line) = lines.done.pop_front() {
        let line = escaped(&line);
        if rates.allows(&line, to.1) {
            report_dropped(rates, who, to);
            write(&line, who, to);
        } else if let Some(text) = rates.account(false) {
            write(&text, who, to);
        }
    }
}

fn report_dropped(rates: &mut Rates, who: (&str, &str, u32), to: (&Sink, &Target)) {
    let texts = [rates.lines.account(""), rates.account(true)];
    for text in texts.into_iter().flatten() {
        write(&text, who, to);
    }
}

/// The clock of all pipes.
fn monotonic_us() -> u64 {
    u64::try_from(monotonic().as_micros()).unwrap_or(u64::MAX)
}

fn write(text: &str, (level, group, pid): (&str, &str, u32), (sink, target): (&Sink, &Target)) {
    let line = format!("{}[group {group}] {text}\n", prefix(level, pid));
    sink.line(target, line.into_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_group_share_what_it_may_write() {
        let target = Target::default();
        let (mut one, mut other) = (Rates::new(), Rates::new());
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
            Rates::new().allows(&line, &Target::default()),
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
