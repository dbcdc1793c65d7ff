//! Finds the httpd module that belongs to this program. Called by `plan` and
//! by `module-config`.

use std::env;
use std::path::{Path, PathBuf};

/// The names the module may have: as installed, and as cargo builds it.
const NAMES: [&str; 2] = ["mod_wsgid.so", "libmod_wsgid.so"];

/// The module was not found.
#[derive(Debug, thiserror::Error)]
#[error(
    "the httpd module `mod_wsgid.so` was not found beside `{program}`, in `{library}` or in `/usr/lib/wsgid`"
)]
pub(crate) struct ModuleMissing {
    program: PathBuf,
    library: PathBuf,
}

/// This program, by its real path.
pub(crate) fn program() -> std::io::Result<PathBuf> {
    env::current_exe()
}

/// The module: beside this program, or where packages install it.
pub(crate) fn module(program: &Path) -> Result<PathBuf, ModuleMissing> {
    let beside = program.parent().unwrap_or(Path::new("/"));
    let library = beside.parent().unwrap_or(Path::new("/")).join("lib/wsgid");
    let directories = [beside, &library, Path::new("/usr/lib/wsgid")];
    let mut candidates = directories
        .iter()
        .flat_map(|directory| NAMES.map(|name| directory.join(name)));
    let found = candidates.find(|file| file.is_file());
    found.ok_or_else(|| ModuleMissing {
        program: program.to_path_buf(),
        library: library.clone(),
    })
}
