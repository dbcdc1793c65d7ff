//! The options of `start-server` and `setup-server`: every name, default and
//! meaning that mod_wsgi-express has, and a few of ours. One file per help
//! heading. Only parsing; what an option does is in `plan` and `render`.

mod access;
mod application;
mod develop;
mod environment;
mod files;
mod logs;
mod metrics;
mod network;
mod processes;
mod timeouts;
mod tls;

use clap::Args;
use serde::Serialize;

pub(crate) use access::Access;
pub(crate) use application::{Application, ApplicationType};
pub(crate) use develop::Develop;
pub(crate) use environment::Environment;
pub(crate) use files::Files;
pub(crate) use logs::Logs;
pub(crate) use metrics::Metrics;
pub(crate) use network::Network;
pub(crate) use processes::Processes;
pub(crate) use timeouts::Timeouts;
pub(crate) use tls::Tls;

/// Everything that `start-server` and `setup-server` take.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    pub(crate) application: Application,
    #[command(flatten)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) processes: Processes,
    #[command(flatten)]
    pub(crate) environment: Environment,
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) logs: Logs,
    #[command(flatten)]
    pub(crate) tls: Tls,
    #[command(flatten)]
    pub(crate) timeouts: Timeouts,
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(flatten)]
    pub(crate) develop: Develop,
    #[command(flatten)]
    pub(crate) metrics: Metrics,
}

/// Splits the flat list of an option that takes two values each time.
pub(crate) fn pairs(values: &[String]) -> impl Iterator<Item = (&str, &str)> {
    values.chunks_exact(2).filter_map(|pair| match pair {
        [first, second] => Some((first.as_str(), second.as_str())),
        _ => None,
    })
}
