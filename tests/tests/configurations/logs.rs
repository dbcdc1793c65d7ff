//! The logs of a configuration, wherever it has put them, and what in them is a complaint.
//! For `harness`.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// All logs below a directory.
pub(crate) fn logs_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(logs_below(&path));
        } else if is_log(&path) {
            found.push(path);
        }
    }
    found
}

fn is_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains("log") && !name.contains("access") && !name.ends_with(".so")
}

/// The lines of level error and worse. httpd itself may say who was `refused`.
pub(crate) fn complaints(mut log: File, refused: bool) -> Vec<String> {
    let mut text = Vec::new();
    log.read_to_end(&mut text).expect("a log can be read");
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| {
        let level = ["error", "crit", "alert", "emerg"]
            .iter()
            .any(|level| line.contains(&format!(":{level}] ")));
        let crashed = ["exit signal", "panicked", "Traceback"]
            .iter()
            .any(|sign| line.contains(sign));
        let of_httpd = [
            "auth_basic:error",
            "auth_digest:error",
            "authz_core:error",
            "access_compat:error",
        ];
        crashed || (level && !(refused && of_httpd.iter().any(|part| line.contains(part))))
    });
    lines.map(str::to_owned).collect()
}
