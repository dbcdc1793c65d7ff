//! Where the control sockets of running supervisors are: in the usual places, and
//! wherever a supervisor of the same user listens, which the kernel tells. Asked by
//! `client` when no socket was named.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::channel::operator::NAME;
use crate::process::trust;

/// Where a supervisor of its own has it.
const OWN: &str = "/run/wsgid";
/// Where httpd keeps what runs: below it, `wsgid.PID` is the directory of the
/// supervisor that the httpd with this pid has started.
const OF_HTTPD: [&str; 2] = ["/run/apache2", "/run/httpd"];

/// The sockets of the supervisors that answer: one at least, in order.
pub(crate) fn running() -> Result<Vec<PathBuf>, String> {
    let of_httpd = OF_HTTPD.iter().flat_map(|base| below(Path::new(base)));
    let usual = of_httpd.chain([Path::new(OWN).join(NAME)]);
    let found = that_answer(usual.chain(of_this_user(geteuid().as_raw())));
    if found.is_empty() {
        return Err(format!(
            "no supervisor answers in {OWN}, nor below {}, and none runs as you; name its control.sock with --socket",
            OF_HTTPD.join(" or ")
        ));
    }
    Ok(found)
}

/// What is said where one is to be asked.
pub(super) fn several(sockets: &[PathBuf]) -> String {
    let all: Vec<String> = sockets
        .iter()
        .map(|path| format!("`{}`", path.display()))
        .collect();
    format!(
        "several supervisors run: {}; name one with --socket",
        all.join(", ")
    )
}

fn that_answer(sockets: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    // A supervisor that was killed leaves its socket behind.
    let found: BTreeSet<PathBuf> = sockets
        .filter(|path| UnixStream::connect(path).is_ok())
        .collect();
    found.into_iter().collect()
}

fn below(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("wsgid."));
    named.map(|entry| entry.path().join(NAME)).collect()
}

/// The sockets of supervisors that run as this user and nobody else: those who could
/// command everything of its anyway.
fn of_this_user(uid: u32) -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = processes.filter(|entry| entry.metadata().is_ok_and(|facts| facts.uid() == uid));
    own.map(|entry| entry.path())
        .filter(|process| is_supervisor(process) && runs_only_as(process, uid))
        .filter_map(|process| listening(&process))
        // Root looks at nothing that another user's file system has to answer for.
        .filter(|directory| trust::directory(directory, trust::Sticky::Yes).is_ok())
        .map(|directory| directory.join(NAME))
        .collect()
}

fn is_supervisor(process: &Path) -> bool {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"supervise")
}

/// Whether real, effective and saved user are all this one: a program with another's
/// rights is called with whatever arguments its caller likes.
fn runs_only_as(process: &Path, uid: u32) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let wanted = uid.to_string();
    line.is_some_and(|line| line.split_whitespace().all(|number| number == wanted))
}

/// The directory in which a process listens for operators.
fn listening(process: &Path) -> Option<PathBuf> {
    let descriptors = fs::read_dir(process.join("fd")).ok()?.flatten();
    let links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
    let sockets: HashSet<String> = links
        .filter_map(|link| {
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = fs::read_to_string(process.join("net/unix")).ok()?;
    let own = table
        .lines()
        .filter_map(listener)
        .filter(|(inode, _)| sockets.contains(*inode));
    let mut paths = own.map(|(_, path)| Path::new(path));
    let control = paths.find(|path| path.is_absolute() && path.file_stem() == stem())?;
    control.parent().map(Path::to_owned)
}

/// A socket is made under a name of this stem, and renamed.
fn stem() -> Option<&'static std::ffi::OsStr> {
    Path::new(NAME).file_stem()
}

/// Inode and path of a line of /proc/net/unix, if it is of a socket that listens.
fn listener(line: &str) -> Option<(&str, &str)> {
    /// Flags of a socket that accepts.
    const ACCEPTS: &str = "00010000";
    let mut rest = line;
    let mut word = || {
        let (word, behind) = rest.trim_start().split_once(' ')?;
        rest = behind;
        Some(word)
    };
    let flags = [word()?, word()?, word()?, word()?];
    let (_kind, _state, inode) = (word()?, word()?, word()?);
    (flags.last() == Some(&ACCEPTS)).then_some((inode, rest))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn those_that_answer_are_found() {
        let place = tempfile::tempdir().unwrap();
        let socket = |pid: &str| {
            let directory = place.path().join(format!("wsgid.{pid}"));
            fs::create_dir(&directory).unwrap();
            UnixListener::bind(directory.join(NAME)).unwrap()
        };
        let found = || that_answer(below(place.path()).into_iter());
        let path = |pid: &str| place.path().join(format!("wsgid.{pid}")).join(NAME);
        assert!(found().is_empty());
        drop(socket("1"));
        let _running = socket("2");
        assert_eq!(found(), [path("2")]);
        let _another = socket("3");
        assert_eq!(found(), [path("2"), path("3")]);
        let text = several(&found());
        assert!(
            text.contains("wsgid.2") && text.contains("wsgid.3"),
            "{text}"
        );
    }

    #[test]
    fn the_directory_of_a_listening_socket_is_told_by_the_kernel() {
        let place = tempfile::tempdir().unwrap();
        let own = Path::new("/proc/self");
        let directory = place.path().join("with a space");
        fs::create_dir(&directory).unwrap();
        assert_ne!(listening(own), Some(directory.clone()));
        let listener = UnixListener::bind(directory.join("control.77")).unwrap();
        fs::rename(directory.join("control.77"), directory.join(NAME)).unwrap();
        // Another test of this process may listen too.
        let found = eventually(|| listening(own) == Some(directory.clone()));
        assert!(found, "{:?}", fs::read_to_string("/proc/self/net/unix"));
        drop(listener);
        assert_ne!(listening(own), Some(directory));
        let uid = geteuid().as_raw();
        assert!(runs_only_as(own, uid) && !runs_only_as(own, uid + 1));
        assert!(!is_supervisor(own));
    }

    fn eventually(holds: impl Fn() -> bool) -> bool {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !holds() {
            if std::time::Instant::now() > until {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        true
    }

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let listens =
            "0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b/control.7";
        assert_eq!(listener(listens), Some(("12345", "/run/a b/control.7")));
        let connected = listens.replace("00010000", "00000000");
        assert_eq!(listener(&connected), None);
        assert_eq!(
            listener("Num       RefCount Protocol Flags    Type St Inode Path"),
            None
        );
        assert_eq!(listener(""), None);
        let nameless = "0000000000000000: 00000002 00000000 00010000 0001 01 12345";
        assert_eq!(listener(nameless), None);
    }
}
