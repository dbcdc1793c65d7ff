//! As root: whether everything that httpd, its apachectl and this program read,
//! run and write as root is in root's hands. Another user could put his own
//! configuration, program or link there, before the start or before any reload.
//! Called by `mod`; what runs and reads as the chosen user is not root's affair.

use std::path::PathBuf;

use super::logs;
use super::paths::absolute;
use super::plan::{PlanError, ServerPlan, trusted};
use crate::process::trust::{self, Sticky};

/// Checks all of it, before anything is read or written.
pub(crate) fn are_roots(plan: &ServerPlan) -> Result<(), PlanError> {
    if !plan.account.change {
        return Ok(());
    }
    for (what, path) in files(plan) {
        trusted(what, &path, trust::path(&path))?;
    }
    let modules = &plan.httpd.modules;
    let judged = trust::directory(modules, Sticky::No);
    trusted("--modules-directory", modules, judged)?;
    for (what, path) in directories(plan) {
        trusted(what, &path, trust::directory_to_be(&path, Sticky::No))?;
    }
    Ok(())
}

/// What is read or run as root, now or at a reload.
fn files(plan: &ServerPlan) -> Vec<(&'static str, PathBuf)> {
    let options = &plan.options;
    let tls = &options.tls;
    let chain = &tls.ssl_certificate_chain_file;
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
        ("--ssl-certificate-chain-file", chain),
        ("--ssl-ca-certificate-file", &tls.ssl_ca_certificate_file),
    ];
    for (what, path) in named {
        files.extend(path.clone().map(|path| (what, path)));
    }
    let included = environment.include_file.iter().cloned();
    files.extend(included.map(|path| ("--include-file", path)));
    if let Some(program) = logs::rotatelogs(plan) {
        files.push(("--rotatelogs-executable", absolute(&program)));
    }
    if let Some(https) = plan.https() {
        files.push(("TLS certificate", https.certificate));
        files.push(("TLS key", https.key));
    }
    let gdb = &options.develop.gdb_executable;
    if options.develop.enable_gdb && gdb.components().count() > 1 {
        files.push(("--gdb-executable", absolute(gdb)));
    }
    files
}

/// What root makes, writes to or opens logs in.
fn directories(plan: &ServerPlan) -> Vec<(&'static str, PathBuf)> {
    let logs = &plan.options.logs;
    let to_files = !logs.log_to_terminal;
    let mut files = vec![
        ("--pid-file", plan.pid_file()),
        ("--socket-prefix", plan.socket_prefix()),
    ];
    let ready_file = plan.options.deploy.ready_file.iter().cloned();
    files.extend(ready_file.map(|path| ("--ready-file", path)));
    let log_files = [
        (&logs.error_log_name, to_files),
        (&logs.access_log_name, to_files && logs.access_log),
        (&logs.startup_log_name, logs.startup_log),
    ];
    for (name, written) in log_files {
        if written {
            files.push(("--log-directory", plan.log_directory.join(name)));
        }
    }
    let mut directories = vec![("--server-root", plan.root.clone())];
    for (what, file) in files {
        directories.extend(file.parent().map(|above| (what, above.to_path_buf())));
    }
    directories.push(("--log-directory", plan.log_directory.clone()));
    for tool in plan.options.develop.tools() {
        // Root makes a missing directory; one that exists is only used by the application.
        if let Some(path) = tool.directory.filter(|path| !path.exists()) {
            directories.push((tool.option, path.clone()));
        }
    }
    directories
}
