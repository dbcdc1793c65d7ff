//! As root: whether everything that httpd, its apachectl and this program read,
//! run and write as root is in root's hands. Another user could put his own
//! configuration, program or link there, before the start or before any reload.
//! Called by `plan`; what runs and reads as the chosen user is not root's affair.

use std::path::{Path, PathBuf};

use super::plan::{Plan, PlanError, absolute};
use super::{logs, render};
use crate::config::trust::{self, Distrust, Sticky};

/// Checks all of it, before anything is read or written.
pub(crate) fn are_roots(plan: &Plan) -> Result<(), PlanError> {
    if !plan.account.change {
        return Ok(());
    }
    for (what, path) in files(plan) {
        said(what, &path, trust::path(&path))?;
    }
    said(
        "--modules-directory",
        &plan.httpd.modules,
        trust::directory(&plan.httpd.modules, Sticky::No),
    )?;
    for (what, path) in directories(plan) {
        said(what, &path, trust::directory_to_be(&path, Sticky::No))?;
    }
    Ok(())
}

/// A program that root is about to run.
pub(crate) fn is_roots(what: &'static str, path: &Path) -> Result<(), PlanError> {
    said(what, path, trust::path(path))
}

fn said(what: &'static str, path: &Path, judged: Result<(), Distrust>) -> Result<(), PlanError> {
    let judged = match judged {
        // Nobody but root can put it there, and who needs it will miss it.
        Err(Distrust::Look(_, error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    judged.map_err(|why| PlanError::Distrust {
        what,
        path: path.to_path_buf(),
        why: why.to_string(),
    })
}

/// What is read or run as root, now or at a reload.
fn files(plan: &Plan) -> Vec<(&'static str, PathBuf)> {
    let (options, tls) = (&plan.options, &plan.options.tls);
    let environment = &options.environment;
    let mut files = vec![
        ("the program", plan.program.clone()),
        ("the module", plan.module.clone()),
        ("the httpd program", plan.httpd.executable.clone()),
    ];
    let named = [
        ("--rewrite-rules", &options.files.rewrite_rules),
        ("--mime-types", &options.files.mime_types),
        ("--envvars-script", &environment.envvars_script),
        ("--shell-executable", &environment.shell_executable),
        (
            "--ssl-certificate-chain-file",
            &tls.ssl_certificate_chain_file,
        ),
        ("--ssl-ca-certificate-file", &tls.ssl_ca_certificate_file),
    ];
    files.extend(
        named
            .into_iter()
            .filter_map(|(what, path)| Some((what, absolute(path.as_deref()?)))),
    );
    files.extend(
        environment
            .include_file
            .iter()
            .map(|path| ("--include-file", absolute(path))),
    );
    files.extend(
        logs::rotatelogs(plan).map(|program| ("--rotatelogs-executable", absolute(&program))),
    );
    if let Some((_, certificate, key)) = plan.tls() {
        files.extend([("TLS certificate", certificate), ("TLS key", key)]);
    }
    let gdb = &options.develop.gdb_executable;
    if options.develop.enable_gdb && gdb.components().count() > 1 {
        files.push(("--gdb-executable", absolute(gdb)));
    }
    files
}

/// What root makes, writes to or opens logs in.
fn directories(plan: &Plan) -> Vec<(&'static str, PathBuf)> {
    let (options, mut directories) = (&plan.options, vec![("--server-root", plan.root.clone())]);
    let mut beside = |what, file: &Path| {
        directories.extend(file.parent().map(|above| (what, above.to_path_buf())))
    };
    beside("--pid-file", &render::pid_file(plan));
    beside("--socket-prefix", &render::socket_prefix(plan));
    if !options.logs.log_to_terminal {
        beside(
            "--log-directory",
            &plan.log_directory.join(&options.logs.error_log_name),
        );
    }
    if !options.logs.log_to_terminal && options.logs.access_log {
        beside(
            "--log-directory",
            &plan.log_directory.join(&options.logs.access_log_name),
        );
    }
    if options.logs.startup_log {
        beside(
            "--log-directory",
            &plan.log_directory.join(&options.logs.startup_log_name),
        );
    }
    directories.push(("--log-directory", plan.log_directory.clone()));
    let develop = &options.develop;
    let made = [
        ("--coverage-directory", &develop.coverage_directory),
        ("--profiler-directory", &develop.profiler_directory),
        ("--recorder-directory", &develop.recorder_directory),
    ];
    // One that is there is only used, by the application.
    let missing = made
        .into_iter()
        .filter_map(|(what, path)| Some((what, absolute(path.as_deref()?))));
    directories.extend(missing.filter(|(_, path)| !path.exists()));
    directories
}
