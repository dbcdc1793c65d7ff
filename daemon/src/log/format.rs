//! One event as a line of httpd's error log:
//! `[Sun Nov 22 13:00:00.123456 2026] [wsgid:notice] [pid N] text`.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;
use wsgid_protocol::readable::escaped;

/// The front of a line, up to and with the process id.
pub(super) fn prefix(level: &str, pid: u32) -> String {
    let time = now("%a %b %d %H:%M:%S.%6f %Y");
    format!("[{time}] [wsgid:{level}] [pid {pid}] ")
}

/// The local time, in the words of `strftime(3)`.
fn now(format: &str) -> String {
    // It is read once, as the C library does: no line waits for a disk.
    static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);
    let now = Timestamp::now().to_zoned_datetime(ZONE.clone());
    now.strftime(format).to_string()
}

/// A line of ours without its front: level, process id and the rest.
pub(super) fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (level, rest) = line.split_once("] [wsgid:")?.1.split_once("] [pid ")?;
    let (pid, text) = rest.split_once("] ")?;
    Some((level, pid, text.trim_end_matches('\n')))
}

/// `Nov  2 13:00:00`, as syslog has it.
pub(super) fn short_time() -> String {
    now("%b %e %H:%M:%S")
}

pub(super) struct HttpdLine;

impl<S, N> FormatEvent<S, N> for HttpdLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // httpd has one level more: what an operator should see whatever LogLevel says is
        // a notice, what is routine is an info.
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "notice",
            Level::DEBUG => "info",
            Level::TRACE => "debug",
        };
        out.write_str(&prefix(level, std::process::id()))?;
        // Names and texts of clients and tenants are in many of these: whatever they
        // hold, it is one line.
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        out.write_str(&escaped(text.as_bytes()))?;
        out.write_char('\n')
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_taken_apart_as_it_was_made() {
        let line = format!("{}[group g] text] [pid 3] x\n", super::prefix("error", 42));
        assert_eq!(
            super::parts(&line),
            Some(("error", "42", "[group g] text] [pid 3] x"))
        );
        assert_eq!(super::parts("something else"), None);
    }
}
