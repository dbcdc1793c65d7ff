//! What will be run: the options with every default worked out and checked
//! against this machine, before anything is written or started. Called by
//! `mod`; `render` turns the plan into files.

use std::env;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, IsTerminal};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};

use serde::Serialize;
use wsgid_protocol::GroupConfig;

use super::artifacts::{self, ModuleMissing};
use super::entry::{self, EntryError};
use super::httpd::{self, Httpd, HttpdError};
use super::identity::{AccountError, ServerAccount};
use super::locale;
use super::options::{ServerOptions, Tls};
use super::paths::absolute;
use super::python::{Python, PythonError};
use super::sizing::Sizing;
use crate::process::trust::{self, Distrust};

/// A server that can be written and started.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ServerPlan {
    #[serde(flatten)]
    pub(crate) options: ServerOptions,
    pub(crate) command: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) module: PathBuf,
    pub(crate) httpd: Httpd,
    pub(crate) mpm: String,
    pub(crate) sizing: Sizing,
    pub(crate) account: ServerAccount,
    pub(crate) python: Option<Python>,
    /// Absolute path of a script, name of a module, or nothing.
    pub(crate) entry: Option<String>,
    pub(crate) working_directory: PathBuf,
    pub(crate) root: PathBuf,
    pub(crate) log_directory: PathBuf,
    pub(crate) locale: String,
    /// The terminal this was started in, for a debugger in a worker.
    pub(crate) terminal: Option<PathBuf>,
}

/// The HTTPS server of a plan.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Https {
    pub(crate) port: u16,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Why the server cannot be started as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("failed to find this program: {0}")]
    Program(io::Error),
    #[error(transparent)]
    Module(#[from] ModuleMissing),
    #[error(transparent)]
    Httpd(#[from] HttpdError),
    #[error(transparent)]
    ServerAccount(#[from] AccountError),
    #[error(transparent)]
    Python(#[from] PythonError),
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error("{what} `{path}`: {reason}")]
    File {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("started as root, {what} `{path}` is not used: {why}")]
    Distrust {
        what: &'static str,
        path: PathBuf,
        why: String,
    },
    #[error("{option} `{value}`: {reason}")]
    Value {
        option: &'static str,
        value: String,
        reason: String,
    },
    #[error(
        "port {0} is below 1024: only root may listen there; use sudo with --user and --group, or a port such as 8000"
    )]
    PrivilegedPort(u16),
    #[error("port {0} is in use by another program; stop it or choose another with {1}")]
    PortInUse(u16, &'static str),
    #[error("failed to listen on `{0}` port {1}: {2}")]
    Listen(String, u16, io::Error),
    #[error("failed to fill in `{0}`: {1}")]
    Template(&'static str, String),
}

impl ServerPlan {
    /// Works everything out. The caller has `hands` and `check` look at it.
    pub(crate) fn make(options: ServerOptions, command: &'static str) -> Result<Self, PlanError> {
        let program = artifacts::program().map_err(PlanError::Program)?;
        let module = artifacts::module(&program)?;
        Self::with(options, command, program, module)
    }

    /// The same for a program and a module that are known.
    pub(crate) fn with(
        mut options: ServerOptions,
        command: &'static str,
        program: PathBuf,
        module: PathBuf,
    ) -> Result<Self, PlanError> {
        let account = ServerAccount::resolve(&options)?;
        if account.change {
            // `Httpd::find` runs the program as root.
            let httpd = httpd::executable(&options)?;
            trusted("the httpd program", &httpd, trust::path(&httpd))?;
        }
        let httpd = Httpd::find(&options)?;
        let mpm = httpd.mpm(&options.processes.server_mpm)?;
        let worker_processes = worker_processes(&options)?;
        let entry = entry::settle(&mut options)?;
        let python = if options.application.is_static() {
            None
        } else {
            let home = options.environment.python_home.as_deref();
            Some(Python::find(home, &program, Some(&account))?)
        };
        let working_directory = working_directory(&options, &account, entry.as_deref())?;
        let root = root(&options);
        let log_directory = options.logs.log_directory.clone();
        Ok(Self {
            sizing: Sizing::of(&options.processes, &mpm, worker_processes),
            locale: locale::choose(options.environment.locale.as_deref()),
            terminal: terminal(),
            options,
            command,
            program,
            module,
            httpd,
            mpm,
            account,
            python,
            entry,
            working_directory,
            log_directory: log_directory.unwrap_or_else(|| root.clone()),
            root,
        })
    }

    pub(crate) fn process_group(&self) -> String {
        let given = self.options.application.process_group.clone();
        given.unwrap_or_else(|| self.options.network.address())
    }

    /// Whether there is an application, and not only files and services.
    pub(crate) fn has_application(&self) -> bool {
        !self.options.application.is_static()
    }

    /// A path of the user's choice, else one in the server root.
    pub(crate) fn or_in_root(&self, given: Option<&PathBuf>, usual: &str) -> PathBuf {
        given.cloned().unwrap_or_else(|| self.root.join(usual))
    }

    pub(crate) fn pid_file(&self) -> PathBuf {
        self.or_in_root(self.options.environment.pid_file.as_ref(), "httpd.pid")
    }

    /// A relative one is below the server root, as httpd takes it.
    pub(crate) fn socket_prefix(&self) -> PathBuf {
        let given = self.options.network.socket_prefix.as_deref();
        self.root.join(given.unwrap_or("wsgi"))
    }

    /// Whether anything needs our module: an application, a service or a script.
    pub(crate) fn uses_wsgi(&self) -> bool {
        let options = &self.options;
        let access = &options.access;
        self.has_application()
            || !options.environment.service_script.is_empty()
            || !options.files.add_handler.is_empty()
            || access.host_access_script.is_some()
            || access.auth_user_script.is_some()
            || options.deploy.health_path.is_some()
    }

    /// Debugging tools need one process and one thread.
    pub(crate) fn single(&self) -> bool {
        let develop = &self.options.develop;
        develop.debug_mode
            || develop.enable_coverage
            || develop.enable_debugger
            || develop.debugger_startup
    }

    /// The HTTPS server, if one is part of it.
    pub(crate) fn https(&self) -> Option<Https> {
        let tls = &self.options.tls;
        Some(Https {
            port: tls.https_port?,
            certificate: tls_file(tls, ".crt", tls.ssl_certificate_file.as_ref())?,
            key: tls_file(tls, ".key", tls.ssl_certificate_key_file.as_ref())?,
        })
    }

    /// Checks that the ports are free and may be used, just before the start.
    pub(crate) fn check_ports(&self) -> Result<(), PlanError> {
        let network = &self.options.network;
        let host = network.host.as_deref();
        check_port(host, network.port, "--port")?;
        if let Some(https) = self.https() {
            check_port(host, https.port, "--https-port")?;
        }
        Ok(())
    }
}

/// What root does not use, as an error of the plan.
pub(crate) fn trusted(
    what: &'static str,
    path: &Path,
    judged: Result<(), Distrust>,
) -> Result<(), PlanError> {
    match judged {
        // The directories above were checked: only root can create the missing file,
        // and the program that opens the file reports it.
        Err(Distrust::Look(_, error)) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|why| PlanError::Distrust {
            what,
            path: path.to_path_buf(),
            why: why.to_string(),
        }),
    }
}

/// The file of the certificate's stem with this extension, else the one that is named.
fn tls_file(tls: &Tls, extension: &str, named: Option<&PathBuf>) -> Option<PathBuf> {
    let Some(stem) = &tls.ssl_certificate else {
        return named.cloned();
    };
    let mut name = stem.clone().into_os_string();
    name.push(extension);
    Some(absolute(Path::new(&name)))
}

fn terminal() -> Option<PathBuf> {
    if !io::stdin().is_terminal() {
        return None;
    }
    fs::read_link("/proc/self/fd/0").ok()
}

fn worker_processes(options: &ServerOptions) -> Result<u32, PlanError> {
    let Some(value) = &options.processes.processes else {
        return Ok(1);
    };
    let mut probe = GroupConfig::new("probe", "--processes");
    match probe.set("processes", value) {
        Ok(()) => Ok(probe.processes_limit()),
        Err(error) => Err(PlanError::Value {
            option: "--processes",
            value: value.clone(),
            reason: error.to_string(),
        }),
    }
}

/// Looks at a file or directory that an option names.
///
/// # Errors
/// `missing` if it is not there, `misfit` if it is not what is wanted.
pub(crate) fn look(
    what: &'static str,
    path: &Path,
    is_wanted: fn(&Metadata) -> bool,
    missing: &str,
    misfit: &str,
) -> Result<(), PlanError> {
    let reason = match path.metadata() {
        Ok(found) if is_wanted(&found) => return Ok(()),
        Ok(_) => misfit.to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => missing.to_owned(),
        Err(error) => error.to_string(),
    };
    Err(PlanError::File {
        what,
        path: absolute(path),
        reason,
    })
}

/// The current directory by default; a user who may not enter it gets the
/// directory of the application instead.
fn working_directory(
    options: &ServerOptions,
    account: &ServerAccount,
    entry: Option<&str>,
) -> Result<PathBuf, PlanError> {
    if let Some(path) = &options.application.working_directory {
        let what = "--working-directory";
        let misfit = "not a directory";
        look(what, path, Metadata::is_dir, "no such directory", misfit)?;
        return Ok(path.clone());
    }
    let current = env::current_dir().map_err(PlanError::Program)?;
    if account.closed_component(&current).is_none() {
        return Ok(current);
    }
    let entry = entry.map(Path::new).filter(|path| path.is_absolute());
    let beside = entry.and_then(Path::parent);
    Ok(beside.unwrap_or(Path::new("/")).to_path_buf())
}

fn root(options: &ServerOptions) -> PathBuf {
    if let Some(root) = &options.environment.server_root {
        return root.clone();
    }
    let temporary = env::var_os("TMPDIR")
        .filter(|value| !value.is_empty())
        .map_or("/tmp".into(), PathBuf::from);
    let me = nix::unistd::geteuid();
    absolute(&temporary).join(format!("mod_wsgi-{}:{me}", options.network.address()))
}

fn check_port(host: Option<&str>, port: u16, option: &'static str) -> Result<(), PlanError> {
    let Err(error) = bind(host, port) else {
        return Ok(());
    };
    Err(match error.kind() {
        ErrorKind::AddrInUse => PlanError::PortInUse(port, option),
        ErrorKind::PermissionDenied if port < 1024 => PlanError::PrivilegedPort(port),
        _ => PlanError::Listen(host.unwrap_or("*").to_owned(), port, error),
    })
}

fn bind(host: Option<&str>, port: u16) -> io::Result<TcpListener> {
    if let Some(host) = host {
        return TcpListener::bind((host, port));
    }
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|error| match error.kind() {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Err(error),
        // A machine without IPv6.
        _ => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
    })
}
