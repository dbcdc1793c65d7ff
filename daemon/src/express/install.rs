//! `module-config`, `module-location` and `install-module`: for an httpd that
//! somebody configures by hand.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::artifacts::{self, ModuleMissing};
use super::paths::absolute;
use super::python::Python;
use super::quoting::httpd_word;
use crate::process::trust;

/// The arguments of `install-module`.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArguments {
    /// Directory of httpd's modules [default: found]
    #[arg(long, value_name = "DIRECTORY")]
    modules_directory: Option<PathBuf>,
}

/// Why the module could not be found, named or installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Module(#[from] ModuleMissing),
    #[error(transparent)]
    Distrust(#[from] trust::Distrust),
    #[error("the directory of httpd's modules was not found; name it with --modules-directory")]
    NoDirectory,
    #[error("failed to copy the module to `{0}`: {1}")]
    Copy(PathBuf, io::Error),
}

/// Prints the directives for an existing httpd.
pub(crate) fn module_config() -> Result<u8, InstallError> {
    let program = artifacts::program()?;
    print(&directives(&artifacts::module(&program)?, &program))
}

/// Prints the module's path.
pub(crate) fn module_location() -> Result<u8, InstallError> {
    let program = artifacts::program()?;
    print(&format!("{}\n", artifacts::module(&program)?.display()))
}

/// Copies the module into httpd's modules directory.
pub(crate) fn install_module(arguments: &InstallArguments) -> Result<u8, InstallError> {
    let program = artifacts::program()?;
    let module = artifacts::module(&program)?;
    let directory = arguments.modules_directory.clone();
    let directory = directory.or_else(super::httpd::usual_modules);
    let directory = absolute(&directory.ok_or(InstallError::NoDirectory)?);
    // httpd loads, as root, whatever is there.
    trust::directory(&directory, trust::Sticky::No)?;
    let target = directory.join("mod_wsgid.so");
    copy(&module, &target).map_err(|error| InstallError::Copy(target.clone(), error))?;
    print(&directives(&target, &program))
}

/// Copies beside the target and renames: a running httpd has the file mapped.
fn copy(module: &Path, target: &Path) -> io::Result<()> {
    let temporary = target.with_extension(format!("so.{}", std::process::id()));
    let copied = fs::copy(module, &temporary)
        .and_then(|_| fs::set_permissions(&temporary, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&temporary, target));
    if copied.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    copied
}

/// The module finds this program beside itself or in the system's directories;
/// elsewhere it has to be told.
fn directives(module: &Path, program: &Path) -> String {
    let mut out = directive("LoadModule wsgi_module", module);
    out.push_str(&directive("WSGISupervisorExecutable", program));
    if let Ok(python) = Python::find(None, program, None)
        && !python.home.as_os_str().is_empty()
        && (env::var_os("VIRTUAL_ENV").is_some() || program.starts_with(&python.home))
    {
        out.push_str(&directive("WSGIPythonHome", &python.home));
    }
    out
}

fn directive(name: &str, path: &Path) -> String {
    format!("{name} {}\n", httpd_word(&path.display().to_string()))
}

fn print(text: &str) -> Result<u8, InstallError> {
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(crate::exit_code::OK)
}
