//! The tests that there are, as the test programs themselves list them. Cargo builds
//! the programs if they are not built yet.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::{Json, claims};

/// The tests of the packages that these arguments of cargo select, each as the
/// package's folder and a name: `suite::test` for a suite, and the whole path without
/// `tests` for a unit test.
///
/// # Panics
/// If cargo cannot build or run them.
#[must_use]
pub fn listed(selection: &[&str]) -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--no-run", "--message-format=json"])
        .args(selection)
        .output()
        .expect("cargo can be run");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    let built = String::from_utf8_lossy(&output.stdout);
    built
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok())
        .filter(|artifact| artifact["profile"]["test"] == true)
        .flat_map(|artifact| names(&artifact))
        .collect()
}

/// The tests of one program, from what cargo says of it.
fn names(artifact: &Json) -> Vec<(String, String)> {
    let Some(program) = artifact["executable"].as_str() else {
        return Vec::new();
    };
    let output = Command::new(program)
        .args(["--list", "--format=terse"])
        .output()
        .expect("a test program can be run");
    let manifest = Path::new(artifact["manifest_path"].as_str().unwrap_or_default());
    let package = manifest.parent().and_then(Path::file_name);
    let package = package.unwrap_or_default().to_string_lossy();
    let is_suite = artifact["target"]["kind"][0] == "test";
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(|path| {
            let name = if is_suite {
                claims::short(
                    artifact["target"]["name"].as_str().unwrap_or_default(),
                    path,
                )
            } else {
                path.replace("tests::", "")
            };
            (package.clone().into_owned(), name)
        })
        .collect()
}
