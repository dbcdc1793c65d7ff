//! What all peers share on this machine: httpd and its modules, the virtual
//! environment with the applications' packages, the files to serve. Builds it
//! in the cache directory at the first run. What one peer alone needs is in `peers`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::account::Account;
use crate::options::Options;
use crate::workload::LARGE;

const APPS: &[(&str, &str)] = &[
    ("bench_app.py", include_str!("../apps/bench_app.py")),
    ("bench_flask.py", include_str!("../apps/bench_flask.py")),
    ("bench_django.py", include_str!("../apps/bench_django.py")),
];
const LIMIT_SOURCE: &str = include_str!("../apps/mod_bench_limit.c");
const HTTPD: &[&str] = &[
    "/usr/sbin/apache2",
    "/usr/sbin/httpd",
    "/usr/local/apache2/bin/httpd",
];
const MODULES: &[&str] = &[
    "/usr/lib/apache2/modules",
    "/usr/lib64/httpd/modules",
    "/usr/local/apache2/modules",
];

/// The places everything is at.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) httpd: PathBuf,
    pub(crate) modules: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) artifacts: PathBuf,
    /// A second build, to compare with.
    pub(crate) against: Option<PathBuf>,
    pub(crate) account: Account,
}

impl Environment {
    /// Finds httpd, makes the virtual environment and the files.
    pub(crate) fn prepare(options: &Options) -> Result<Self> {
        fs::create_dir_all(&options.cache)
            .with_context(|| format!("failed to create `{}`", options.cache.display()))?;
        let environment = Self {
            httpd: first_of(HTTPD)
                .context("no httpd found; install apache2-bin (Debian) or httpd")?,
            modules: first_of(MODULES).context("no directory with httpd's modules found")?,
            cache: options.cache.canonicalize()?,
            artifacts: options
                .artifacts
                .canonicalize()
                .unwrap_or_else(|_| options.artifacts.clone()),
            against: options
                .against
                .as_ref()
                .and_then(|path| path.canonicalize().ok()),
            account: Account::choose(&options.user)?,
        };
        environment.account.check_reach(&environment.cache)?;
        environment.write_files()?;
        if !environment.python().exists() {
            progress(&format!(
                "making a virtual environment of {}",
                options.python.display()
            ));
            run(Command::new(&options.python)
                .args(["-m", "venv", "--clear"])
                .arg(environment.venv()))?;
        }
        environment.pip(&["flask==3.1.3", "django==5.2.19"])?;
        Ok(environment)
    }

    pub(crate) fn venv(&self) -> PathBuf {
        self.cache.join("venv")
    }

    pub(crate) fn python(&self) -> PathBuf {
        self.venv().join("bin/python")
    }

    pub(crate) fn apps(&self) -> PathBuf {
        self.cache.join("apps")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.cache.join("files")
    }

    /// Installs pinned packages once; a stamp file remembers them.
    pub(crate) fn pip(&self, packages: &[&str]) -> Result<()> {
        let stamp = self.cache.join(format!("installed-{}", packages.join("-")));
        if stamp.exists() {
            return Ok(());
        }
        progress(&format!("installing {}", packages.join(", ")));
        let mut command = Command::new(self.python());
        // What is compiled must find this Python and no other that the caller has on the path.
        let path = format!(
            "{}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            self.venv().join("bin").display()
        );
        command
            .env("PATH", path)
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME");
        run(command
            .args(["-m", "pip", "install", "--quiet", "--no-cache-dir"])
            .args(packages))?;
        fs::write(stamp, "").context("failed to write the stamp of an installation")
    }

    /// Compiles the handler that is the limit.
    pub(crate) fn build_limit(&self) -> Result<PathBuf> {
        let directory = self.cache.join("limit");
        let source = directory.join("mod_bench_limit.c");
        let module = directory.join(".libs/mod_bench_limit.so");
        let fresh = fs::read_to_string(&source).is_ok_and(|text| text == LIMIT_SOURCE);
        if !(fresh && module.exists()) {
            let apxs = first_of(&[
                "/usr/bin/apxs",
                "/usr/bin/apxs2",
                "/usr/local/apache2/bin/apxs",
            ])
            .context("no apxs found; install apache2-dev (Debian) or httpd-devel")?;
            fs::create_dir_all(&directory)?;
            fs::write(&source, LIMIT_SOURCE)?;
            progress("compiling the handler inside httpd");
            run(Command::new(apxs)
                .args(["-c", "mod_bench_limit.c"])
                .current_dir(&directory))?;
        }
        Ok(module)
    }

    fn write_files(&self) -> Result<()> {
        fs::create_dir_all(self.apps())?;
        for (name, text) in APPS {
            fs::write(self.apps().join(name), text)?;
        }
        fs::create_dir_all(self.files().join("bytes"))?;
        fs::write(self.files().join("hello"), "Hello, world!\n")?;
        for len in [10_240_usize, 1_048_576] {
            fs::write(
                self.files().join("bytes").join(len.to_string()),
                vec![0; len],
            )?;
        }
        let large = self.files().join("file");
        if fs::metadata(&large)
            .map(|found| found.len())
            .unwrap_or_default()
            != LARGE
        {
            // Real blocks, not a hole: the page cache serves it as it serves any file.
            let mut file = fs::File::create(&large)?;
            let block = vec![0x5A; 1024 * 1024];
            for _ in 0..LARGE / block.len() as u64 {
                file.write_all(&block)?;
            }
        }
        Ok(())
    }
}

/// One line to the person who waits.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a command to its end; what it wrote is part of the error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("failed to run `{name}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<&str> = said.lines().rev().take(8).collect();
        bail!(
            "`{name}` failed ({}): {}",
            output.status,
            tail.into_iter().rev().collect::<Vec<_>>().join(" | ")
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn first_of(paths: &[&str]) -> Option<PathBuf> {
    paths
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .map(Path::to_path_buf)
}
