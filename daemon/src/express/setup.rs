//! Writes the server root of a plan. Called by `mod`.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::{fs, io};

use super::plan::{PlanError, ServerPlan};
use super::render::{Values, handler_json};
use super::server_root::{RootError, ServerRoot, own_directory};

/// Why the server root could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetupError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Render(#[from] PlanError),
    #[error("failed to make the log directory `{0}`: {1}")]
    LogDirectory(PathBuf, io::Error),
    #[error(
        "httpd (pid {1}) serves from `{0}` already; stop it or choose another directory with --server-root"
    )]
    Running(PathBuf, i32),
}

/// Checks that no httpd serves from the server root: its files would become
/// those of another server.
///
/// # Errors
/// If one does.
pub(crate) fn nobody_serves(plan: &ServerPlan) -> Result<(), SetupError> {
    let number = fs::read_to_string(plan.pid_file()).unwrap_or_default();
    let Ok(pid) = number.trim().parse() else {
        return Ok(());
    };
    let conf = plan.root.join("httpd.conf");
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    if words.any(|word| word == conf.as_os_str().as_bytes()) {
        return Err(SetupError::Running(plan.root.clone(), pid));
    }
    Ok(())
}

/// Removes the number that an httpd has left behind: it may be another program's
/// by now, and httpd would take that for itself. Only where the server root is ours;
/// a file elsewhere may be that of another httpd.
pub(crate) fn forget_number(plan: &ServerPlan) {
    let file = plan.pid_file();
    if file.parent() == Some(&plan.root) {
        let _ = fs::remove_file(&file);
    }
}

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("../../../conf/start-server/", $name))
    };
}

/// Writes all files. What cannot be generated is found before the first one.
pub(crate) fn write(plan: &ServerPlan) -> Result<(), SetupError> {
    let values = Values::of(plan)?;
    let conf = values.httpd_conf()?;
    let apachectl = values.apachectl()?;
    let root = ServerRoot::claim(&plan.root)?;
    root.write("httpd.conf", &conf, 0o644)?;
    root.write("apachectl", &apachectl, 0o755)?;
    root.write_once("envvars", template!("envvars"), 0o644)?;
    root.write_once("rewrite.conf", template!("rewrite.conf"), 0o644)?;
    root.write("mime.types", template!("mime.types"), 0o644)?;
    if plan.has_application() {
        root.write("handler.json", &handler_json(plan), 0o644)?;
        root.write("handler.wsgi", template!("handler.wsgi"), 0o644)?;
        root.write("express_tools.py", template!("express_tools.py"), 0o644)?;
        root.write("default.wsgi", template!("default.wsgi"), 0o644)?;
    }
    root.directory("htdocs", None)?;
    fs::create_dir_all(&plan.log_directory)
        .map_err(|error| SetupError::LogDirectory(plan.log_directory.clone(), error))?;
    Ok(directories(plan, &root)?)
}

/// The directories that the application writes to.
fn directories(plan: &ServerPlan, root: &ServerRoot) -> Result<(), RootError> {
    let owner = plan.account.to_change_to();
    if plan.options.environment.python_eggs.is_none() {
        root.directory("python-eggs", owner)?;
    }
    for tool in plan.options.develop.tools() {
        match tool.directory {
            _ if !tool.enabled => {}
            // A directory of the user's choice is given away only if it is new.
            Some(path) => own_directory(path, owner.filter(|_| !path.exists()))?,
            None => root.directory(tool.usual, owner)?,
        }
    }
    Ok(())
}
