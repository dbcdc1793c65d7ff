//! The users that sites of the suites belong to.
//!
//! Made once, the first time root runs a case that needs them; `make test` and
//! `make clean` remove them unless a test program still holds the lock.

use std::fs::{self, File};
use std::process::Command;
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::User;

/// Their names. `tests/remove-users` names them too.
pub const NAMES: [&str; 3] = ["wsgid-test-1", "wsgid-test-2", "wsgid-test-3"];

/// One whose primary group is root's: nothing may run as it.
const IN_ROOTS_GROUP: &str = "wsgid-test-0";

/// One that has a home directory: mod_wsgi starts nothing as others.
const WITH_HOME: &str = "wsgid-test-4";

/// Held shared by every test program that uses the users.
pub const LOCK: &str = "/run/lock/wsgid-test-users";

/// A user that a worker can run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestUser {
    /// The user's name.
    pub name: String,
    /// The name of the primary group.
    pub group: String,
    /// The number.
    pub uid: u32,
    /// The number of the primary group.
    pub gid: u32,
}

/// Three users, or `None` (and a visible note) if this process is not root's.
///
/// # Panics
/// If they cannot be made.
pub fn three() -> Option<&'static [TestUser; 3]> {
    static USERS: OnceLock<(Flock<File>, [TestUser; 3])> = OnceLock::new();
    if !is_root() {
        crate::note("left out: it needs root, to run workers as several users");
        return None;
    }
    Some(&USERS.get_or_init(make).1)
}

/// A user whose primary group is root's, or `None` as with [`three`].
///
/// # Panics
/// If it cannot be made.
pub fn in_roots_group() -> Option<TestUser> {
    three()?;
    let _turn = locked(&format!("{LOCK}.make"), FlockArg::LockExclusive);
    Some(found_or_made(IN_ROOTS_GROUP, &["--gid", "0"]))
}

/// A user with a home directory that is there, or `None` as with [`three`].
///
/// # Panics
/// If it cannot be made.
pub fn with_home() -> Option<TestUser> {
    three()?;
    let _turn = locked(&format!("{LOCK}.make"), FlockArg::LockExclusive);
    Some(found_or_made(
        WITH_HOME,
        &["--user-group", "--home-dir", "/usr"],
    ))
}

/// Whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The user for httpd's own children.
///
/// # Panics
/// If there is none of the usual ones.
#[must_use]
pub fn of_httpd() -> TestUser {
    if !is_root() {
        let me = User::from_uid(nix::unistd::geteuid())
            .ok()
            .flatten()
            .expect("this user has a name");
        return described(&me);
    }
    let usual = ["www-data", "apache", "daemon", "nobody"];
    let found = usual
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten());
    described(&found.expect("there is a user for httpd's children"))
}

fn described(user: &User) -> TestUser {
    let group = nix::unistd::Group::from_gid(user.gid)
        .ok()
        .flatten()
        .map_or_else(|| format!("#{}", user.gid), |group| group.name);
    TestUser {
        name: user.name.clone(),
        group,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
    }
}

fn make() -> (Flock<File>, [TestUser; 3]) {
    // Shared and first: nobody removes the users from here on.
    let shared = locked(LOCK, FlockArg::LockShared);
    // Two programs must not make the same user at the same time.
    let _turn = locked(&format!("{LOCK}.make"), FlockArg::LockExclusive);
    (
        shared,
        NAMES.map(|name| found_or_made(name, &["--user-group"])),
    )
}

fn found_or_made(name: &str, group: &[&str]) -> TestUser {
    let found = || User::from_name(name).ok().flatten();
    let user = found().or_else(|| {
        add(name, group);
        found()
    });
    described(&user.expect("the user was just made"))
}

fn locked(path: &str, how: FlockArg) -> Flock<File> {
    let file = File::create(path).expect("root can write the lock directory");
    Flock::lock(file, how)
        .map_err(|(_, error)| error)
        .expect("a lock is to be had")
}

fn add(name: &str, group: &[&str]) {
    let output = Command::new("useradd")
        .args(["--system", "--no-create-home", "--home-dir", "/nonexistent"])
        .args(group)
        .args([
            "--shell",
            "/usr/sbin/nologin",
            "--comment",
            "end-to-end tests of wsgid",
            name,
        ])
        .output()
        .expect("useradd is installed");
    assert!(
        output.status.success(),
        "useradd: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Gives a file or directory to a user; nothing happens if this is not root.
///
/// # Panics
/// If the file is not there.
pub fn give(path: &std::path::Path, user: &TestUser) {
    if is_root() {
        std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
            .unwrap_or_else(|error| panic!("failed to give away `{}`: {error}", path.display()));
        if fs::metadata(path).is_ok_and(|meta| meta.is_dir()) {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                give(&entry.path(), user);
            }
        }
    }
}
