//! Where the Python of a virtual environment is installed. The environment may be the
//! site's to write: what it says is only where to look.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::links::resolve;

/// Bytes of a `pyvenv.cfg`.
const SETTINGS_MAX: u64 = 1 << 16;

/// Where the Python of a virtual environment may be installed: what `pyvenv.cfg` says,
/// and where its program really is.
pub(super) fn prefixes(home: &Path) -> Vec<PathBuf> {
    let named = settings_home(home).and_then(|bin| bin.parent().map(Path::to_path_buf));
    let programs = ["bin/python", "bin/python3"].map(|name| home.join(name));
    let real = programs.iter().filter_map(|program| {
        let program = resolve(program).ok()?.path;
        program.parent()?.parent().map(Path::to_path_buf)
    });
    let mut all: Vec<PathBuf> = named.into_iter().chain(real).collect();
    all.dedup();
    all
}

/// `home = …` of `pyvenv.cfg`: the directory of the program.
fn settings_home(home: &Path) -> Option<PathBuf> {
    let mut options = File::options();
    let options = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(home.join("pyvenv.cfg")).ok()?;
    let mut text = String::new();
    let is_file = file.metadata().ok()?.is_file();
    is_file
        .then(|| file.take(SETTINGS_MAX).read_to_string(&mut text))?
        .ok()?;
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let mut homes = lines.filter(|(key, _)| key.trim() == "home");
    homes
        .next()
        .map(|(_, path)| PathBuf::from(path.trim()))
        .filter(|path| path.is_absolute())
}

/// Whether Python's library is installed there.
pub(super) fn has_library(prefix: &Path) -> bool {
    ["lib", "lib64"].iter().any(|lib| {
        let entries = prefix.join(lib).read_dir().into_iter().flatten().flatten();
        let pythons = entries.filter(|entry| {
            let name = entry.file_name();
            name.to_str()
                .is_some_and(|name| name.starts_with("python3."))
        });
        pythons
            .take(16)
            .any(|entry| entry.path().join("os.py").is_file())
    })
}
