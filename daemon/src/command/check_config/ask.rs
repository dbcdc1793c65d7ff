//! Has httpd read its configuration, with our module in the place of mod_wsgi:
//! a module of the same name that is loaded first keeps the other out, whatever
//! the files say. It is a configtest, which touches nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wsgid_protocol::report::{ConfigReport, DEFINE, PREFIX, Remark};

use super::words::words;
use crate::command::check::Loading;
use crate::exit_code;
use crate::express::{artifacts, httpd};

/// Where packages have their configuration.
const USUAL: [&str; 3] = [
    "/etc/apache2/apache2.conf",
    "/etc/httpd/conf/httpd.conf",
    "/usr/local/apache2/conf/httpd.conf",
];

/// Arguments of `wsgid check-config`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckConfig {
    /// httpd's configuration file [default: the one of Debian's or Red Hat's package]
    #[arg(value_name = "HTTPD_CONF")]
    conf: Option<PathBuf>,
    /// The httpd that reads it
    #[arg(long, value_name = "PATH", env = "HTTPD")]
    httpd: Option<PathBuf>,
    /// Define a name for httpd, as its own -D does; may be repeated
    #[arg(short = 'D', long = "define", value_name = "NAME")]
    defines: Vec<String>,
    /// File with httpd's environment variables [default: `envvars` beside the configuration]
    #[arg(long, value_name = "FILE")]
    envvars: Option<PathBuf>,
    #[command(flatten)]
    pub(super) loading: Loading,
    /// Print the findings as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What httpd found.
pub(crate) struct Configtest {
    pub(crate) conf: PathBuf,
    pub(crate) module: PathBuf,
    /// The file with httpd's environment, if there is one.
    pub(crate) envvars: Option<PathBuf>,
    pub(crate) report: ConfigReport,
    /// The lines that load mod_wsgi, and what it was linked with.
    pub(crate) loading: Vec<Remark>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("no configuration was named, and there is none at {}; name it: wsgid check-config FILE", USUAL.join(", "))]
    NoConfiguration,
    #[error("`{0}` cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    #[error(
        "no httpd was found on PATH or in /usr/sbin; it is what reads the configuration: name it with --httpd"
    )]
    NoHttpd,
    #[error("`{0}` is not an executable file")]
    NotExecutable(PathBuf),
    #[error(transparent)]
    NoModule(#[from] artifacts::ModuleMissing),
    #[error("`{0}` could not be run: {1}")]
    Run(PathBuf, io::Error),
    #[error("httpd does not accept this configuration, whatever its WSGI module:\n{0}")]
    Refused(String),
    #[error(
        "httpd's report cannot be read: {0}; are `wsgid` and `mod_wsgid.so` of the same version?"
    )]
    Garbled(String),
}

impl AskError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => exit_code::CONFIGURATION,
            _ => exit_code::FAILURE,
        }
    }
}

/// Asks httpd.
pub(crate) fn ask(args: &CheckConfig) -> Result<Configtest, AskError> {
    let conf = configuration(args)?;
    let program = program(args)?;
    let module = artifacts::module(
        &artifacts::program().map_err(|error| AskError::Run("wsgid".into(), error))?,
    )?;
    let envvars = envvars(args, &conf)?;
    let output = command(args, &program, &conf, &module, envvars.as_deref())
        .output()
        .map_err(|error| AskError::Run(program.clone(), error))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.lines().find_map(|line| line.split_once(PREFIX));
    let Some((_, report)) = report.filter(|_| output.status.success()) else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(AskError::Refused(without_our_doing(&said)));
    };
    let report =
        serde_json::from_str(report).map_err(|error| AskError::Garbled(error.to_string()))?;
    Ok(Configtest {
        conf,
        module,
        envvars,
        report,
        loading: included(&said).flat_map(loading).collect(),
    })
}

fn configuration(args: &CheckConfig) -> Result<PathBuf, AskError> {
    let usual = || USUAL.iter().map(PathBuf::from).find(|path| path.is_file());
    let path = args
        .conf
        .clone()
        .or_else(usual)
        .ok_or(AskError::NoConfiguration)?;
    let path =
        std::path::absolute(&path).map_err(|error| AskError::Unreadable(path.clone(), error))?;
    std::fs::File::open(&path).map_err(|error| AskError::Unreadable(path.clone(), error))?;
    Ok(path)
}

fn program(args: &CheckConfig) -> Result<PathBuf, AskError> {
    match &args.httpd {
        Some(path) if httpd::is_executable(path) => Ok(path.clone()),
        Some(path) => Err(AskError::NotExecutable(path.clone())),
        None => ["apache2", "httpd"]
            .iter()
            .find_map(|name| httpd::find_program(name))
            .ok_or(AskError::NoHttpd),
    }
}

fn envvars(args: &CheckConfig, conf: &Path) -> Result<Option<PathBuf>, AskError> {
    if let Some(path) = &args.envvars {
        std::fs::File::open(path).map_err(|error| AskError::Unreadable(path.clone(), error))?;
        return Ok(Some(path.clone()));
    }
    Ok(Some(conf.with_file_name("envvars")).filter(|path| path.is_file()))
}

/// What apachectl does with `envvars`, but for making httpd's runtime
/// directory: a configtest wants one that is there, and writes nothing to it.
const WITH_ENVVARS: &str =
    ". \"$1\"; [ -d \"${APACHE_RUN_DIR:-/}\" ] || export APACHE_RUN_DIR=/; shift; exec \"$@\"";

/// The configtest. With `envvars` a shell reads it first.
fn command(
    args: &CheckConfig,
    program: &Path,
    conf: &Path,
    module: &Path,
    envvars: Option<&Path>,
) -> Command {
    let mut command = match envvars {
        Some(file) => {
            let mut shell = Command::new("/bin/sh");
            shell
                .args(["-c", WITH_ENVVARS, "sh"])
                .arg(file)
                .arg(program);
            if let Some(directory) = file.parent() {
                // Debian's file asks for it.
                shell.env("APACHE_CONFDIR", directory);
            }
            shell
        }
        None => Command::new(program),
    };
    let load = format!("LoadModule wsgi_module \"{}\"", module.display());
    command.arg("-t").arg("-f").arg(conf).arg("-C").arg(load);
    let asking = [&*DEFINE.to_string_lossy(), "DUMP_INCLUDES"];
    for name in args.defines.iter().map(String::as_str).chain(asking) {
        command.arg("-D").arg(name);
    }
    command.stdin(Stdio::null());
    command
}

/// httpd's words, but for the one that comes of loading the module first.
fn without_our_doing(said: &str) -> String {
    said.lines()
        .filter(|line| !line.contains("AH01574"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The files that httpd read: `  (12) /etc/…`.
fn included(said: &str) -> impl Iterator<Item = &Path> {
    let behind = said.lines().filter_map(|line| {
        let (_, path) = line.trim_start().strip_prefix('(')?.split_once(") ")?;
        Some(path)
    });
    behind.map(Path::new)
}

/// Lines that load mod_wsgi, or the Python that it is linked with. They are
/// carried out while files are read, so httpd's own picture lacks them.
fn loading(file: &Path) -> Vec<Remark> {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut remarks = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words = words(line);
        let [directive, argument, ..] = words.as_slice() else {
            continue;
        };
        let is_loading = match directive.to_ascii_lowercase().as_str() {
            "loadmodule" => argument.eq_ignore_ascii_case("wsgi_module"),
            "loadfile" => argument.contains("libpython"),
            _ => false,
        };
        if is_loading {
            remarks.push(Remark {
                origin: format!("{}:{}", file.display(), number + 1),
                text: line.trim().to_owned(),
            });
        }
    }
    remarks
}
