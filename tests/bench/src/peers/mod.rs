//! The servers that are compared: how each is built, configured behind httpd and started.
//! Every peer gets the same httpd, application, processes and threads; what differs is here.

mod backend;
mod directives;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::environment::{Environment, run};
use crate::peer::Peer;
use crate::workload::{App, Shape, Workload};

/// What one instance of a peer is asked to be.
#[derive(Debug)]
pub(crate) struct Plan<'e> {
    pub(crate) environment: &'e Environment,
    pub(crate) app: App,
    pub(crate) shape: Shape,
    /// A directory of its own, owned by the account.
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
}

impl Plan<'_> {
    fn script(&self) -> PathBuf {
        self.environment
            .apps()
            .join(format!("{}.py", self.app.module()))
    }

    /// Where its backend listens, if it has one.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("backend.sock")
    }
}

impl Peer {
    /// All but the other build, which has to be asked for.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants()
            .iter()
            .copied()
            .filter(|peer| *peer != Self::Other)
            .collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ModWsgid => "mod_wsgid",
            Self::Other => "mod_wsgid (other)",
            Self::ModWsgi => "mod_wsgi",
            Self::Uwsgi => "uWSGI",
            Self::Granian => "Granian",
            Self::Gunicorn => "Gunicorn",
            Self::Floor => "floor",
            Self::Limit => "limit",
            Self::Static => "static file",
        }
    }

    /// Can it answer that workload at all?
    pub(crate) fn serves(self, workload: &Workload) -> bool {
        match self {
            Self::Limit => workload.in_limit,
            Self::Floor => workload.name == "hello",
            Self::Static => workload.as_file,
            _ => true,
        }
    }

    /// Builds what this peer alone needs; an error means that it is left out.
    pub(crate) fn build(self, environment: &Environment) -> Result<()> {
        match self {
            Self::ModWsgid | Self::Other | Self::Floor => self.artifacts(environment).map(|_| ()),
            Self::ModWsgi => environment.pip(&["mod_wsgi==6.1.1"]),
            Self::Uwsgi => environment.pip(&["uwsgi==2.0.31"]),
            Self::Granian => environment.pip(&["granian==2.8.7"]),
            Self::Gunicorn => environment.pip(&["gunicorn==27.0.1"]),
            Self::Limit => environment.build_limit().map(|_| ()),
            Self::Static => Ok(()),
        }
    }

    /// Its part of httpd's configuration.
    pub(crate) fn directives(self, plan: &Plan<'_>) -> Result<String> {
        directives::of(self, plan)
    }

    /// The server of its own that it needs beside httpd.
    pub(crate) fn backend(self, plan: &Plan<'_>) -> Option<Command> {
        Some(match self {
            Self::Uwsgi => backend::uwsgi(plan),
            Self::Granian => backend::granian(plan),
            Self::Gunicorn => backend::gunicorn(plan),
            Self::Floor => backend::floor(plan),
            Self::ModWsgid | Self::Other | Self::ModWsgi | Self::Limit | Self::Static => {
                return None;
            }
        })
    }
}

/// The parts of one build of this project that httpd has to know of.
struct Artifacts {
    module: PathBuf,
    supervisor: PathBuf,
}

impl Peer {
    fn artifacts(self, environment: &Environment) -> Result<Artifacts> {
        let directory = match self {
            Self::Other => environment
                .against
                .as_ref()
                .context("no other build; name its directory with --against")?,
            _ => &environment.artifacts,
        };
        let missing = |what: &str| {
            format!(
                "no {what} in `{}`; build it with `cargo build --release`",
                directory.display()
            )
        };
        let module = ["mod_wsgid.so", "libmod_wsgid.so"]
            .iter()
            .map(|name| directory.join(name));
        let module = module
            .into_iter()
            .find(|path| path.exists())
            .with_context(|| missing("mod_wsgid.so"))?;
        let supervisor = directory.join("wsgid");
        if !supervisor.exists() {
            bail!(missing("wsgid"));
        }
        Ok(Artifacts { module, supervisor })
    }
}

/// The `LoadModule` line that mod_wsgi writes for itself.
fn mod_wsgi_load_line(environment: &Environment) -> Result<String> {
    let tool = environment.venv().join("bin/mod_wsgi-express");
    let text = run(Command::new(tool).arg("module-config"))?;
    text.lines()
        .find(|line| line.starts_with("LoadModule"))
        .map(str::to_owned)
        .context("`mod_wsgi-express module-config` names no module")
}
