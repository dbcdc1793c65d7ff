//! The CPython interpreters of this machine and virtual environments made with
//! them.
//!
//! Found on PATH and under pyenv. Installations in a directory that is closed
//! to other users (root's home) are copied to the cache, because a site's user
//! must be able to run its own Python.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::cache;

/// The oldest CPython that the extension loads into.
const OLDEST: (u32, u32) = (3, 9);

/// One interpreter that every user can run.
#[derive(Clone, Debug)]
pub struct Python {
    /// Major and minor version.
    pub version: (u32, u32),
    /// Major, minor and micro version.
    pub full_version: String,
    /// What `python-home` would say.
    pub home: PathBuf,
    /// The program.
    pub program: PathBuf,
}

impl Python {
    /// All that were found, one for each minor version, oldest first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        static FOUND: OnceLock<Vec<Python>> = OnceLock::new();
        FOUND.get_or_init(find)
    }

    /// One that is neither the oldest nor the newest if there is a choice.
    ///
    /// # Panics
    /// If there is none at all.
    #[must_use]
    pub fn any() -> &'static Self {
        let all = Self::all();
        all.get(all.len() / 2)
            .expect("a CPython 3.9 or later with venv is installed (python3, python3-venv)")
    }

    /// A virtual environment with these packages, made once.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn venv(&self, packages: &[&str]) -> PathBuf {
        let name = std::iter::once(format!("venv-{}", self.full_version))
            .chain(
                packages
                    .iter()
                    .map(|package| package.replace(|c: char| !c.is_ascii_alphanumeric(), "_")),
            )
            .collect::<Vec<_>>()
            .join("-");
        cache::entry(&short(&name), |path| {
            succeed(Command::new(&self.program).args(["-m", "venv"]).arg(path))?;
            if !packages.is_empty() {
                succeed(
                    Command::new(path.join("bin/python"))
                        .args([
                            "-m",
                            "pip",
                            "install",
                            "--quiet",
                            "--disable-pip-version-check",
                        ])
                        .args(packages),
                )?;
            }
            Ok(())
        })
    }
}

/// A name that may be a file's: of a long one the beginning, and a number made of all of it.
fn short(name: &str) -> String {
    if name.len() <= 100 {
        return name.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    let start: String = name.chars().take(80).collect();
    format!("{start}-{:016x}", hasher.finish())
}

/// Runs a command with a umask that lets others read what it makes.
fn succeed(command: &mut Command) -> Result<Output, String> {
    let text = format!("{command:?}");
    let output = command
        .output()
        .map_err(|error| format!("{text}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!(
        "{text}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    ))
}

fn find() -> Vec<Python> {
    let mut found = BTreeMap::new();
    for program in candidates() {
        if let Some(python) = probe(&program).filter(|python| python.version >= OLDEST) {
            found.entry(python.version).or_insert(python);
        }
    }
    found.into_values().map(readable).collect()
}

fn candidates() -> Vec<PathBuf> {
    let mut programs: Vec<PathBuf> = ["/usr/bin/python3", "/usr/local/bin/python3"]
        .map(PathBuf::from)
        .to_vec();
    let path = std::env::var_os("PATH").unwrap_or_default();
    programs.extend(std::env::split_paths(&path).map(|directory| directory.join("python3")));
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    for root in pyenv.into_iter().chain(home) {
        let mut versions: Vec<PathBuf> = fs::read_dir(root.join("versions"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        versions.sort();
        programs.extend(
            versions
                .into_iter()
                .map(|version| version.join("bin/python3")),
        );
    }
    programs.retain(|program| program.exists());
    programs
}

/// Asks a program what it is. One without `ensurepip` cannot make virtual
/// environments and does not count.
fn probe(program: &Path) -> Option<Python> {
    const QUESTION: &str = "import sys, venv, ensurepip\n\
        assert sys.implementation.name == 'cpython' and sys.prefix == sys.base_prefix\n\
        print('%d.%d.%d' % sys.version_info[:3], sys.base_prefix, sys.executable, sep='\\n')";
    let output = Command::new(program).args(["-c", QUESTION]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let full_version = lines.next()?.to_owned();
    let mut parts = full_version.split('.').filter_map(|part| part.parse().ok());
    Some(Python {
        version: (parts.next()?, parts.next()?),
        home: PathBuf::from(lines.next()?),
        program: PathBuf::from(lines.next()?),
        full_version,
    })
}

/// The interpreter itself, or a copy that every user can run.
fn readable(python: Python) -> Python {
    if !nix::unistd::geteuid().is_root() || cache::open_to_all(&python.home) {
        return python;
    }
    let home = cache::entry(&format!("python-{}", python.full_version), |copy| {
        // Hard links where the file system allows: an installation is large.
        let link = Command::new("cp")
            .arg("-al")
            .arg(&python.home)
            .arg(copy)
            .output();
        if !link.is_ok_and(|output| output.status.success()) {
            let _ = fs::remove_dir_all(copy);
            succeed(Command::new("cp").arg("-a").arg(&python.home).arg(copy))?;
        }
        relocate(&python.home, copy)
    });
    Python {
        program: home.join("bin/python3"),
        home,
        ..python
    }
}

/// An interpreter built with a shared library has the library's directory
/// written into it. The copy looks beside itself.
fn relocate(original: &Path, copy: &Path) -> Result<(), String> {
    const BESIDE: &[u8] = b"$ORIGIN/../lib\0";
    let program = copy
        .join("bin/python3")
        .canonicalize()
        .map_err(|error| error.to_string())?;
    let mut bytes = fs::read(&program).map_err(|error| error.to_string())?;
    let written: Vec<u8> = [original.join("lib").as_os_str().as_encoded_bytes(), b"\0"].concat();
    if written.len() >= BESIDE.len() {
        let places: Vec<usize> = bytes
            .windows(written.len())
            .enumerate()
            .filter_map(|(at, window)| (window == written).then_some(at))
            .collect();
        for at in places {
            bytes[at..at + BESIDE.len()].copy_from_slice(BESIDE);
        }
    }
    // A new file: the old one may be a link to the original.
    fs::remove_file(&program).map_err(|error| error.to_string())?;
    fs::write(&program, bytes).map_err(|error| error.to_string())?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .map_err(|error| error.to_string())?;
    fs::set_permissions(copy, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn the_users_of_sites_can_run_every_interpreter() {
        let account = crate::users::of_httpd();
        for python in Python::all() {
            let venv = python.venv(&[]);
            let mut command = Command::new(venv.join("bin/python"));
            command
                .args(["-c", "import sys, ssl; print(sys.prefix)"])
                .current_dir("/")
                .env_clear();
            if crate::users::is_root() {
                command.uid(account.uid).gid(account.gid);
            }
            let output = command.output().expect("it can be run");
            assert!(
                output.status.success(),
                "{python:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(
                String::from_utf8_lossy(&output.stdout).trim(),
                venv.display().to_string()
            );
        }
    }
}
