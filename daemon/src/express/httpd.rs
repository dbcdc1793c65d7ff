//! Finds the httpd of this machine, its modules and its MIME types. Called by
//! `plan`; it runs httpd with `-l` and `-V` only.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use serde::Serialize;

use super::options::ServerOptions;
use super::paths::absolute;

/// An httpd that can be started.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Httpd {
    pub(crate) executable: PathBuf,
    pub(crate) modules: PathBuf,
    /// `mod_so.c` and so on.
    built_in: Vec<String>,
    /// Directory that relative paths of `-V` belong to.
    root: Option<PathBuf>,
}

/// Why there is no httpd to start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpdError {
    #[error("`{0}` ({1}) is not an executable file")]
    NotExecutable(PathBuf, &'static str),
    #[error(
        "no httpd was found on PATH or in /usr/sbin; install it (Debian: apache2-bin, Fedora: httpd, \
         Alpine: apache2) or name it with --httpd-executable"
    )]
    Missing,
    #[error("`{0} -l` failed: {1}")]
    Run(PathBuf, io::Error),
    #[error("the modules of `{0}` were not found; name their directory with --modules-directory")]
    Modules(PathBuf),
    #[error("`{0}` (--modules-directory) is not a directory")]
    NotADirectory(PathBuf),
    #[error("httpd has no mod_{0}: `{1}` does not exist and it is not built in")]
    Module(String, PathBuf),
    #[error("httpd has none of the MPMs {0} in `{1}`")]
    Mpm(String, PathBuf),
}

/// Directories that hold programs of the system, also where PATH lacks them.
const PROGRAM_DIRECTORIES: [&str; 5] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/bin",
    "/usr/local/bin",
    "/sbin",
];

/// Looks for a program on PATH and in the system's directories.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    find_programs(name).next()
}

/// All programs of this name, in the order of PATH and the system's directories.
pub(crate) fn find_programs(name: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .collect();
    directories.extend(PROGRAM_DIRECTORIES.iter().map(PathBuf::from));
    directories
        .into_iter()
        .map(move |directory| directory.join(name))
        .filter(|program| is_executable(program))
}

pub(crate) fn is_executable(path: &Path) -> bool {
    path.is_file() && nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

impl Httpd {
    /// The httpd that the options or the machine name.
    pub(crate) fn find(options: &ServerOptions) -> Result<Self, HttpdError> {
        let executable = executable(options)?;
        let built_in = output(&executable, "-l")
            .map_err(|error| HttpdError::Run(executable.clone(), error))?;
        let built_in = built_in
            .lines()
            .map(str::trim)
            .filter(|line| line.ends_with(".c"))
            .map(str::to_owned)
            .collect();
        // -V fails behind these lines where the system's configuration needs
        // an environment; what comes before is all that is wanted.
        let facts = output(&executable, "-V").unwrap_or_default();
        let root = facts.lines().find_map(|line| {
            let root = line.trim().strip_prefix("-D HTTPD_ROOT=\"")?;
            root.strip_suffix('"')
        });
        let root = root.map(PathBuf::from);
        let modules = modules(options, root.as_deref())
            .ok_or_else(|| HttpdError::Modules(executable.clone()))?;
        if !modules.is_dir() {
            return Err(HttpdError::NotADirectory(modules));
        }
        Ok(Self {
            executable,
            modules,
            built_in,
            root,
        })
    }

    /// Whether mod_NAME is built in or can be loaded.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.is_built_in(name) || self.file(name).is_file()
    }

    pub(crate) fn is_built_in(&self, name: &str) -> bool {
        let wanted = format!("mod_{name}.c");
        self.built_in
            .iter()
            .any(|file| *file == wanted || file.strip_suffix(".c") == Some(name))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.modules.join(format!("mod_{name}.so"))
    }

    /// The MPM that is built in, else the first of these that is installed.
    pub(crate) fn mpm(&self, wanted: &[String]) -> Result<String, HttpdError> {
        let all = ["event", "worker", "prefork"].map(str::to_owned);
        if let Some(built_in) = all.iter().find(|name| self.is_built_in(name)) {
            return Ok(built_in.clone());
        }
        let wanted = if wanted.is_empty() { &all } else { wanted };
        let mut wanted_names = wanted.iter();
        let found = wanted_names.find(|name| self.has(&format!("mpm_{name}")));
        found
            .cloned()
            .ok_or_else(|| HttpdError::Mpm(wanted.join(", "), self.modules.clone()))
    }

    /// The system's MIME types.
    pub(crate) fn mime_types(&self) -> Option<PathBuf> {
        let root = self.root.iter();
        let below_root =
            root.flat_map(|root| ["mime.types", "conf/mime.types"].map(|name| root.join(name)));
        let usual = [
            "/etc/mime.types",
            "/etc/apache2/mime.types",
            "/etc/httpd/conf/mime.types",
        ];
        let mut files = below_root.chain(usual.map(PathBuf::from));
        files.find(|file| file.is_file())
    }
}

/// What httpd prints with an option.
fn output(executable: &Path, option: &str) -> io::Result<String> {
    let run = Command::new(executable)
        .arg(option)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    Ok(String::from_utf8_lossy(&run.stdout).into_owned())
}

/// The program, without running it.
pub(crate) fn executable(options: &ServerOptions) -> Result<PathBuf, HttpdError> {
    if let Some(path) = &options.environment.httpd_executable {
        return named(path, "--httpd-executable");
    }
    if let Some(path) = env::var_os("HTTPD") {
        return named(path.as_ref(), "environment variable HTTPD");
    }
    let mut names = ["apache2", "httpd"].into_iter();
    names.find_map(find_program).ok_or(HttpdError::Missing)
}

fn named(path: &Path, whence: &'static str) -> Result<PathBuf, HttpdError> {
    if !is_executable(path) {
        return Err(HttpdError::NotExecutable(path.to_path_buf(), whence));
    }
    Ok(absolute(path))
}

fn modules(options: &ServerOptions, root: Option<&Path>) -> Option<PathBuf> {
    if let Some(directory) = &options.environment.modules_directory {
        return Some(directory.clone());
    }
    let below_root = root.map(|root| root.join("modules"));
    let below_root = below_root.filter(|directory| holds_modules(directory));
    below_root.or_else(usual_modules)
}

fn holds_modules(directory: &Path) -> bool {
    directory.join("mod_authz_core.so").is_file()
}

/// The modules directory of a package.
pub(crate) fn usual_modules() -> Option<PathBuf> {
    let usual = [
        "/usr/lib/apache2/modules",
        "/usr/lib64/httpd/modules",
        "/usr/lib/httpd/modules",
        "/usr/lib/apache2",
        "/usr/lib64/apache2",
        "/usr/libexec/apache2",
        "/usr/local/libexec/apache24",
        "/usr/local/apache2/modules",
    ];
    let mut usual = usual.iter().map(PathBuf::from);
    usual.find(|directory| holds_modules(directory))
}
