//! What a process group may run: the scripts and directories that the
//! configuration names for it. The httpd parent or a site file writes the list,
//! a worker opens no script past it: who speaks the protocol to a worker, a child
//! of httpd that was taken over for instance, gets what the site serves, and no more.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use serde::{Deserialize, Serialize};

/// Bytes of a path that a refusal shows.
const SHOWN_MAX: usize = 1024;

/// The scripts of a process group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Scripts by their paths. They may lead through links: whoever named the
    /// script meant what is there.
    pub files: BTreeSet<String>,
    /// Directories all of whose files may be run, as far as they are still below
    /// one of these directories once all links are followed.
    pub directories: BTreeSet<String>,
}

/// Why a script was not opened.
#[derive(Debug, thiserror::Error)]
pub enum RunRefusal {
    /// The configuration does not name it; the text says what is wrong with it.
    #[error("{0}")]
    NotNamed(&'static str),
    /// It is named, and cannot be opened.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

const UNNAMED: RunRefusal =
    RunRefusal::NotNamed("the configuration names neither this script nor a directory above it");
const DOTS: RunRefusal =
    RunRefusal::NotNamed("a path with `..` is none of a directory that the configuration names");
const LEADS_OUT: RunRefusal =
    RunRefusal::NotNamed("a link leads out of the directories that the configuration names");

impl Runs {
    /// Whether nothing may be run.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty()
    }

    /// Adds a script.
    pub fn add_file(&mut self, path: &str) {
        self.files.insert(path.to_owned());
    }

    /// Adds a directory.
    pub fn add_directory(&mut self, path: &str) {
        let trimmed = path.trim_end_matches('/');
        let directory = if trimmed.is_empty() { "/" } else { trimmed };
        self.directories.insert(directory.to_owned());
    }

    /// Opens a script for reading, if the list has it. What is opened is what was
    /// looked at: no link that somebody puts there meanwhile is followed.
    pub fn open(&self, script: &[u8]) -> Result<File, RunRefusal> {
        let path = Path::new(OsStr::from_bytes(script));
        if std::str::from_utf8(script).is_ok_and(|name| self.files.contains(name)) {
            return open_regular(path, open_at_once);
        }
        if self.names_behind(script) && path.is_file() {
            return open_regular(path, open_at_once);
        }
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(DOTS);
        }
        let above: Vec<&String> = self
            .directories
            .iter()
            .filter(|directory| is_below(script, directory))
            .collect();
        if above.is_empty() {
            return Err(UNNAMED);
        }
        let real = path.canonicalize()?;
        // The directories above the script first; a link may lead into any other.
        let mut candidates = above.into_iter().chain(&self.directories);
        if !candidates.any(|directory| holds(directory, &real)) {
            return Err(LEADS_OUT);
        }
        open_regular(&real, open_without_links)
    }
}

impl Runs {
    /// Whether a script is named with something behind it: `…/wsgi.py/api`, see [`script_in`].
    fn names_behind(&self, script: &[u8]) -> bool {
        let Ok(front) = std::str::from_utf8(script) else {
            return false;
        };
        let front = format!("{front}/");
        let mut behind = self.files.range(front.clone()..);
        front.len() > 1 && behind.next().is_some_and(|name| name.starts_with(&front))
    }
}

/// The script in a path that goes on behind it, as `WSGIScriptAlias /api /srv/wsgi.py/api`
/// has it: the rest is the front of PATH_INFO.
pub fn script_in(path: &Path) -> &Path {
    let goes_on = |path: &Path| {
        let error = path.metadata().err();
        error.is_some_and(|error| error.kind() == io::ErrorKind::NotADirectory)
    };
    // Without a slash at the end, which `ancestors` would take for the script's name.
    let named = path.components().as_path();
    let mut parts = named.ancestors().skip_while(|part| goes_on(part));
    parts.next().filter(|part| part.is_file()).unwrap_or(path)
}

/// A path as a refusal shows it: on one line, and not longer than that.
pub fn shown(script: &[u8]) -> String {
    let front = script.get(..SHOWN_MAX).unwrap_or(script);
    String::from_utf8_lossy(front).escape_debug().to_string()
}

/// Whether `script` is spelled as `directory` or as something below it.
fn is_below(script: &[u8], directory: &str) -> bool {
    match script.strip_prefix(directory.as_bytes()) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || directory == "/",
        None => false,
    }
}

/// Whether a file is below the directory once the links to that are followed.
fn holds(directory: &str, real: &Path) -> bool {
    Path::new(directory)
        .canonicalize()
        .is_ok_and(|directory| real.starts_with(directory))
}

/// Opens what is a regular file. It is looked at before, because to open a device may
/// have effects, and after, because it may be another one by then.
fn open_regular(
    path: &Path,
    open: impl FnOnce(&Path) -> Result<File, RunRefusal>,
) -> Result<File, RunRefusal> {
    regular(&path.metadata()?)?;
    let file = open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// The error names what it is instead.
fn regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_fifo() {
        "a pipe (FIFO)"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_dir() {
        "a directory"
    } else {
        "a device"
    };
    let text = format!("it is {what}, not a regular file");
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Opens a path, through whatever links, without waiting for anybody.
fn open_at_once(path: &Path) -> Result<File, RunRefusal> {
    let mut options = File::options();
    // A pipe that has come meanwhile would wait for somebody who writes.
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    Ok(options.open(path)?)
}

/// Opens a path that has no links in it.
fn open_without_links(real: &Path) -> Result<File, RunRefusal> {
    // As `open_at_once`.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    match openat2(AT_FDCWD, real, how) {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::ELOOP) => Err(LEADS_OUT),
        // Linux before 5.6, or a filter of system calls that is older.
        Err(Errno::ENOSYS | Errno::EPERM) => open_and_compare(real),
        Err(errno) => Err(io::Error::from(errno).into()),
    }
}

/// The same where the kernel cannot refuse links: what was opened has to be what
/// stands there, and there must still be no link on the way.
fn open_and_compare(real: &Path) -> Result<File, RunRefusal> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW)
        .open(real)?;
    let opened = file.metadata()?;
    let found = real.symlink_metadata()?;
    if real.canonicalize()? == real && (opened.dev(), opened.ino()) == (found.dev(), found.ino()) {
        Ok(file)
    } else {
        Err(LEADS_OUT)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// Two sites of which one may run its own things.
    struct Sites(tempfile::TempDir);

    impl Sites {
        fn new() -> (Self, Runs) {
            let sites = Self(tempfile::tempdir().unwrap());
            for directory in ["a/scripts/deep", "a/releases/42", "b"] {
                std::fs::create_dir_all(sites.path(directory)).unwrap();
            }
            for file in [
                "a/app.wsgi",
                "a/scripts/one.wsgi",
                "a/scripts/deep/two.wsgi",
                "a/releases/42/r.wsgi",
                "b/app.wsgi",
            ] {
                std::fs::write(sites.path(file), file).unwrap();
            }
            let mut runs = Runs::default();
            runs.add_file(&sites.path("a/app.wsgi"));
            runs.add_file(&sites.path("a/current/r.wsgi"));
            runs.add_directory(&format!("{}/", sites.path("a/scripts")));
            (sites, runs)
        }

        fn path(&self, name: &str) -> String {
            self.0.path().join(name).display().to_string()
        }

        fn open(&self, runs: &Runs, name: &str) -> Result<String, String> {
            let path = format!("{}/{name}", self.0.path().display());
            match runs.open(path.as_bytes()) {
                Ok(mut file) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    Ok(text)
                }
                Err(RunRefusal::NotNamed(why)) => Err(why.to_owned()),
                Err(RunRefusal::Unreadable(error)) => Err(error.to_string()),
            }
        }
    }

    #[test]
    fn what_is_named_is_opened() {
        let (sites, runs) = Sites::new();
        for name in [
            "a/app.wsgi",
            "a/scripts/one.wsgi",
            "a/scripts/deep/two.wsgi",
        ] {
            assert_eq!(sites.open(&runs, name), Ok(name.to_owned()));
        }
        assert!(
            sites
                .open(&runs, "a/scripts/none.wsgi")
                .unwrap_err()
                .contains("No such file")
        );
    }

    #[test]
    fn what_is_not_named_is_refused() {
        let (sites, runs) = Sites::new();
        for name in [
            "b/app.wsgi",
            "a/app.wsgi/",
            "a/app.wsgix",
            "a/scripts.py",
            "a/scriptsone.wsgi",
            "a/./app.wsgi",
            "x",
        ] {
            assert!(
                sites
                    .open(&runs, name)
                    .unwrap_err()
                    .contains("names neither"),
                "{name}"
            );
        }
        for name in ["", "relative.py", "/etc/passwd", "/proc/self/environ"] {
            assert!(
                matches!(runs.open(name.as_bytes()), Err(RunRefusal::NotNamed(_))),
                "{name}"
            );
        }
        assert!(matches!(
            Runs::default().open(sites.path("a/app.wsgi").as_bytes()),
            Err(RunRefusal::NotNamed(_))
        ));
    }

    #[test]
    fn a_path_may_go_on_behind_the_script() {
        let (sites, mut runs) = Sites::new();
        runs.add_file(&sites.path("b/app.wsgi/api/v1"));
        assert_eq!(sites.open(&runs, "b/app.wsgi"), Ok("b/app.wsgi".into()));
        for name in ["b", "b/app.wsgi/api", "b/app", "a/releases"] {
            assert!(
                sites
                    .open(&runs, name)
                    .unwrap_err()
                    .contains("names neither"),
                "{name}"
            );
        }
        for (path, script) in [
            ("b/app.wsgi/api/v1", "b/app.wsgi"),
            ("b/app.wsgi", "b/app.wsgi"),
            ("b/app.wsgi/", "b/app.wsgi"),
            ("b/none.wsgi/api", "b/none.wsgi/api"),
            ("b", "b"),
        ] {
            let path = PathBuf::from(sites.path(path));
            // As text: to a `Path` a slash at the end is nothing.
            assert_eq!(script_in(&path).to_str(), Some(&*sites.path(script)));
        }
    }

    #[test]
    fn dots_lead_nowhere() {
        let (sites, runs) = Sites::new();
        for name in [
            "a/scripts/../app.wsgi",
            "a/scripts/../../b/app.wsgi",
            "a/scripts/deep/../one.wsgi",
            "a/scripts/..",
        ] {
            assert!(
                sites.open(&runs, name).unwrap_err().contains("`..`"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_link_in_a_directory_stays_in_the_directories() {
        let (sites, mut runs) = Sites::new();
        for (target, link) in [
            ("b/app.wsgi", "other.wsgi"),
            ("b", "other"),
            ("a/scripts/one.wsgi", "same.wsgi"),
        ] {
            symlink(sites.path(target), sites.path(&format!("a/scripts/{link}"))).unwrap();
        }
        symlink("../app.wsgi", sites.path("a/scripts/above.wsgi")).unwrap();
        for name in [
            "a/scripts/other.wsgi",
            "a/scripts/other/app.wsgi",
            "a/scripts/above.wsgi",
        ] {
            assert!(
                sites.open(&runs, name).unwrap_err().contains("leads out"),
                "{name}"
            );
        }
        assert_eq!(
            sites.open(&runs, "a/scripts/same.wsgi").as_deref(),
            Ok("a/scripts/one.wsgi")
        );
        runs.add_directory(&sites.path("b"));
        assert_eq!(
            sites.open(&runs, "a/scripts/other.wsgi").as_deref(),
            Ok("b/app.wsgi")
        );
    }

    #[test]
    fn a_script_that_is_named_may_lead_through_links() {
        let (sites, mut runs) = Sites::new();
        symlink("releases/42", sites.path("a/current")).unwrap();
        assert_eq!(
            sites.open(&runs, "a/current/r.wsgi").as_deref(),
            Ok("a/releases/42/r.wsgi")
        );
        // So may the directory itself.
        runs.add_directory(&sites.path("a/current"));
        std::fs::write(sites.path("a/releases/42/s.wsgi"), "s").unwrap();
        assert_eq!(sites.open(&runs, "a/current/s.wsgi").as_deref(), Ok("s"));
    }

    #[test]
    fn what_is_no_regular_file_is_named_and_makes_nobody_wait() {
        let (sites, mut runs) = Sites::new();
        runs.add_file("/dev/zero");
        for (name, what) in [
            ("pipe", "a pipe (FIFO)"),
            ("socket", "a socket"),
            ("directory", "a directory"),
            ("device", "a device"),
        ] {
            for path in [format!("a/scripts/{name}"), format!("a/{name}.wsgi")] {
                let full = sites.path(&path);
                match name {
                    "pipe" => {
                        nix::unistd::mkfifo(full.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap()
                    }
                    "socket" => drop(std::os::unix::net::UnixListener::bind(&full).unwrap()),
                    "directory" => std::fs::create_dir(&full).unwrap(),
                    _ => symlink("/dev/zero", &full).unwrap(),
                }
                if path.ends_with(".wsgi") {
                    runs.add_file(&full);
                } else if name == "device" {
                    // It leads out of the directories.
                    continue;
                }
                let said = sites.open(&runs, &path).unwrap_err();
                assert!(
                    said.contains(what) && said.contains("not a regular file"),
                    "{path}: {said}"
                );
            }
        }
    }

    #[test]
    fn a_link_that_comes_after_the_look_is_not_followed() {
        let (sites, _) = Sites::new();
        let link = sites.path("a/scripts/late");
        symlink(sites.path("b"), &link).unwrap();
        let spelled = PathBuf::from(format!("{link}/app.wsgi"));
        assert!(matches!(
            open_without_links(&spelled),
            Err(RunRefusal::NotNamed(_))
        ));
        assert!(matches!(
            open_and_compare(&spelled),
            Err(RunRefusal::NotNamed(_))
        ));
        let real = PathBuf::from(sites.path("b/app.wsgi"))
            .canonicalize()
            .unwrap();
        assert!(open_without_links(&real).is_ok() && open_and_compare(&real).is_ok());
    }

    #[test]
    fn a_refusal_shows_one_line() {
        assert_eq!(shown(b"/srv/a\nb\xff"), "/srv/a\\nb\u{fffd}");
        assert_eq!(shown(&[b'x'; 5000]).len(), SHOWN_MAX);
    }
}
