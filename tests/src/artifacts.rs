//! Where the programs under test are: `$WSGID_ARTIFACTS`, or the release
//! directory beside the one this test was built into.
//!
//! The suites never build them; `make test` does.

use std::env;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The directory that holds `wsgid`, the module and the extension.
///
/// # Panics
/// If one of the three is not there.
#[must_use]
pub fn directory() -> PathBuf {
    let directory = env::var_os("WSGID_ARTIFACTS").map_or_else(release_directory, PathBuf::from);
    for name in ["wsgid", "libmod_wsgid.so", "libwsgid_worker.so"] {
        assert!(
            directory.join(name).exists(),
            "`{}` has no `{name}`: run `make build`, or set WSGID_ARTIFACTS to where it was built",
            directory.display()
        );
    }
    directory
}

/// The httpd module.
#[must_use]
pub fn module() -> PathBuf {
    directory().join("libmod_wsgid.so")
}

/// The supervisor and command line.
#[must_use]
pub fn wsgid() -> PathBuf {
    directory().join("wsgid")
}

/// A supervisor on its own with the `wsgid.toml` in this directory; what it says is added to
/// the file `log` there.
///
/// # Panics
/// If it cannot be started.
#[must_use]
pub fn supervise(root: &Path) -> Child {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(root.join("log"))
        .expect("it is ours");
    Command::new(wsgid())
        .args(["supervise", "--config"])
        .arg(root.join("wsgid.toml"))
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("wsgid can be run")
}

/// Cargo's target directory: test programs are `<target>/<profile>/deps/<name>`
/// and other programs `<target>/<profile>/<name>`.
#[must_use]
pub fn target_directory() -> PathBuf {
    let program = env::current_exe().expect("/proc/self/exe is readable");
    program
        .ancestors()
        .find(|path| path.join("CACHEDIR.TAG").exists())
        .map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"),
            Path::to_path_buf,
        )
}

fn release_directory() -> PathBuf {
    target_directory().join("release")
}
