//! What the supervisor writes: its own log through `tracing`, and the lines
//! that workers print. Both take the shape of httpd's error log. Everybody may
//! write; a writer never waits for a disk or a pipe.

mod file;
mod format;
mod output;
mod sink;
mod syslog;

pub(crate) use file::open_as;
pub(crate) use output::{Stream, forward};
pub(crate) use sink::{Place, Sink, Target};
pub(crate) use syslog::Syslog;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log on standard error. `level` is a name as tracing knows it.
pub(crate) fn init(level: &str) -> Sink {
    let sink = Sink::start();
    let filter = level.parse::<LevelFilter>().unwrap_or(LevelFilter::INFO);
    let layer =
        tracing_subscriber::fmt::layer().event_format(format::HttpdLine).with_writer(sink.clone()).with_ansi(false);
    tracing_subscriber::registry().with(filter).with(layer).init();
    sink
}

/// Bytes of a tenant as one harmless line: control bytes escaped, invalid
/// UTF-8 replaced.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '\t' => out.push(c),
            c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            // These turn the direction in which the rest is written.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn terminal_attacks_become_text() {
        assert_eq!(super::escaped(b"a\x1b[2Jb\nc\td\xff"), "a\\x1b[2Jb\\x0ac\td\u{fffd}");
    }
}
