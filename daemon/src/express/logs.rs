//! Where httpd's logs go: files, rotated files or the terminal. Called by
//! `render` and by `banner`.

use std::path::PathBuf;

use super::httpd::find_program;
use super::plan::ServerPlan;
use super::quoting::shell_word;

/// The value of `ErrorLog`.
pub(crate) fn error_log(plan: &ServerPlan) -> String {
    target(plan, &plan.options.logs.error_log_name, "/dev/stderr")
}

/// The file of `CustomLog`.
pub(crate) fn access_log(plan: &ServerPlan) -> String {
    target(plan, &plan.options.logs.access_log_name, "/dev/stdout")
}

/// The file a person looks into.
pub(crate) fn error_log_file(plan: &ServerPlan) -> Option<PathBuf> {
    let logs = &plan.options.logs;
    (!logs.log_to_terminal).then(|| plan.log_directory.join(&logs.error_log_name))
}

/// Where rotatelogs is, if logs are rotated at all.
pub(crate) fn rotatelogs(plan: &ServerPlan) -> Option<PathBuf> {
    let logs = &plan.options.logs;
    if !logs.rotate_logs || logs.log_to_terminal {
        return None;
    }
    logs.rotatelogs_executable
        .clone()
        .or_else(|| find_program("rotatelogs"))
}

fn target(plan: &ServerPlan, name: &str, terminal: &str) -> String {
    let logs = &plan.options.logs;
    if logs.log_to_terminal {
        return terminal.to_owned();
    }
    let file = plan.log_directory.join(name).display().to_string();
    match rotatelogs(plan) {
        Some(program) => {
            let program = shell_word(&program.display().to_string());
            let pattern = shell_word(&format!("{file}.%Y-%m-%d-%H_%M_%S"));
            // The plain name always leads to the newest file.
            format!(
                "|{program} -L {} {pattern} {}M",
                shell_word(&file),
                logs.max_log_size
            )
        }
        None => file,
    }
}
