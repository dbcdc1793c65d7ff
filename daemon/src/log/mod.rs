//! What the supervisor writes: its own log through `tracing`, and the lines
//! that workers print. Both take the shape of httpd's error log. Everybody may
//! write; a writer never waits for a disk or a pipe.

mod file;
mod format;
mod output;
mod sink;
mod syslog;
mod target;

pub(crate) use file::open_as;
pub(crate) use output::{Output, forward};
pub(crate) use sink::Sink;
pub(crate) use syslog::Syslog;
pub(crate) use target::{LogDestination, OutputTarget};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts the log on standard error. `level` is a name as tracing knows it.
pub(crate) fn init(level: &str) -> Sink {
    let sink = Sink::start();
    let filter = level.parse::<LevelFilter>().unwrap_or(LevelFilter::INFO);
    let layer = tracing_subscriber::fmt::layer()
        .event_format(format::HttpdLine)
        .with_writer(sink.clone())
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .init();
    sink
}
