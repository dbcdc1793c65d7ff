//! What the supervisor writes: its own log through `tracing`, and the lines
//! that workers print. Both take the shape of httpd's error log. Everybody may
//! write; a writer never waits for a disk or a pipe.

mod events;
mod file;
mod format;
mod output;
mod sink;
mod syslog;
mod target;

pub(crate) use file::{open_as, open_without_links_as, read_as};
pub(crate) use output::{Output, forward};
pub(crate) use sink::Sink;
pub(crate) use syslog::Syslog;
pub(crate) use target::{LogDestination, OutputTarget};

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};
use wsgid_protocol::config::LogFormat;

static FILTER: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts the log on standard error. `level` is a name as tracing knows it.
pub(crate) fn init(level: &str, format: LogFormat) -> Sink {
    let sink = Sink::start();
    sink.set_format(format);
    let (filter, handle) =
        reload::Layer::new(level.parse::<LevelFilter>().unwrap_or(LevelFilter::INFO));
    let _ = FILTER.set(handle);
    let layer = tracing_subscriber::fmt::layer()
        .event_format(events::SupervisorFormat(sink.clone()))
        .with_writer(sink.clone())
        .with_ansi(false);
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .init();
    sink
}

/// Says as much from now on as httpd with this LogLevel, in httpd's numbers: notices
/// always.
pub(crate) fn set_httpd_level(level: u8) {
    let filter = match level {
        ..=5 => LevelFilter::INFO,
        6 => LevelFilter::DEBUG,
        7.. => LevelFilter::TRACE,
    };
    if let Some(handle) = FILTER.get() {
        let _ = handle.reload(filter);
    }
}
