//! Where httpd's logs go: files, rotated files or the terminal. Called by
//! `render`, `banner` and `foreground`.

use std::path::PathBuf;

use super::httpd::find_program;
use super::plan::ServerPlan;
use super::quoting::shell_word;

/// The file of the error log, if it does not go to the terminal.
pub(crate) fn error_log_file(plan: &ServerPlan) -> Option<PathBuf> {
    file(plan, &plan.options.logs.error_log_name)
}

/// The file of the log of this name, if logs do not go to the terminal.
pub(crate) fn file(plan: &ServerPlan, name: &str) -> Option<PathBuf> {
    (!plan.options.logs.log_to_terminal).then(|| plan.log_directory.join(name))
}

/// Where rotatelogs is, if logs are rotated at all.
pub(crate) fn rotatelogs(plan: &ServerPlan) -> Option<PathBuf> {
    let logs = &plan.options.logs;
    if !logs.rotate_logs || logs.log_to_terminal {
        return None;
    }
    let named = logs.rotatelogs_executable.clone();
    named.or_else(|| find_program("rotatelogs"))
}

/// The value of `ErrorLog` or `CustomLog` for the log of this name.
pub(crate) fn target(plan: &ServerPlan, name: &str, terminal: &str) -> String {
    let Some(file) = file(plan, name) else {
        return terminal.to_owned();
    };
    let file = file.display().to_string();
    let Some(program) = rotatelogs(plan) else {
        return file;
    };
    let program = shell_word(&program.display().to_string());
    let pattern = shell_word(&format!("{file}.%Y-%m-%d-%H_%M_%S"));
    let size = plan.options.logs.max_log_size;
    // The plain name always leads to the newest file.
    format!("|{program} -L {} {pattern} {size}M", shell_word(&file))
}
