//! As root: whether everything that httpd, its apachectl and this program read,
//! run and write as root is in root's hands. Another user could put his own
//! configuration, program or link there, before the start or before any reload.
//! Called by `mod`; what runs and reads as the chosen user is not root's affair.

use std::path::{Path, PathBuf};

use super::logs;
use super::paths::absolute;
use super::plan::{Plan, PlanError, trusted};
use crate::config::trust::{self, Sticky};

/// Checks all of it, before anything is read or written.
pub(crate) fn are_roots(plan: &Plan) -> Result<(), PlanError> {
    if !plan.account.change {
        return Ok(());
    }
    for (what, path) in files(plan) {
        trusted(what, &path, trust::path(&path))?;
    }
    trusted(
        "--modules-directory",
        &plan.httpd.modules,
        trust::directory(&plan.httpd.modules, Sticky::No),
    )?;
    for (what, path) in directories(plan) {
        trusted(what, &path, trust::directory_to_be(&path, Sticky::No))?;
    }
    Ok(())
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
    beside("--pid-file", &plan.pid_file());
    beside("--socket-prefix", &plan.socket_prefix());
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
