//! What the supervisor says through `tracing`, as lines in the form that is asked for where they go. Given to
//! `tracing` by `mod.rs`.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use super::format::LineParts;
use super::sink::Sink;

/// Lines of the supervisor, as they are to be where they go.
pub(super) struct SupervisorFormat(pub(super) Sink);

impl<S, N> FormatEvent<S, N> for SupervisorFormat
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
        let mut text = String::new();
        context.format_fields(Writer::new(&mut text), event)?;
        let parts = LineParts {
            level,
            pid: std::process::id(),
            group: None,
            request: None,
            text: text.as_bytes(),
        };
        out.write_str(&parts.line(self.0.own_format()))
    }
}
