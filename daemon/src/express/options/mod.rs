//! The options of `start-server` and `setup-server`: every name, default and
//! meaning that mod_wsgi-express has, and a few of ours. One struct per help
//! heading. Only parsing; what an option does is in `plan` and `render`.

mod application;
mod deploy;
mod develop;
mod environment;
mod files;
mod isolation;
mod logs;
mod network;

use clap::Args;
use serde::Serialize;

pub(crate) use application::{Application, ApplicationType, Processes, Timeouts};
pub(crate) use deploy::Deploy;
pub(crate) use develop::Develop;
pub(crate) use environment::Environment;
pub(crate) use files::Files;
pub(crate) use isolation::Isolating;
pub(crate) use logs::{Logs, Metrics};
pub(crate) use network::{Access, Network, Tls};

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
    pub(crate) deploy: Deploy,
    #[command(flatten)]
    pub(crate) isolating: Isolating,
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(flatten)]
    pub(crate) develop: Develop,
    #[command(flatten)]
    pub(crate) metrics: Metrics,
}

/// Splits the flat list of an option that takes two values each time.
pub(crate) fn pairs(values: &[String]) -> impl Iterator<Item = (&str, &str)> {
    let (pairs, _) = values.as_chunks();
    pairs
        .iter()
        .map(|[first, second]| (first.as_str(), second.as_str()))
}
