//! The site of the packages in an httpd, and the servers that they speak to. With root the
//! case has mounts of its own: sockets can then stand where those of a system stand.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use wsgid_tests::wire::certificate;
use wsgid_tests::{Json, Python, TestUser, note, site, users};

/// The Python of the packages: one that all of them have wheels for.
pub(crate) fn python() -> &'static Python {
    let all = Python::all();
    let suited = |python: &&Python| [(3, 11), (3, 12)].contains(&python.version);
    all.iter().find(suited).unwrap_or_else(Python::any)
}

/// Gives this thread, and what it starts, mounts of its own, and runs a script there; in it
/// `over DIRECTORY…` makes directories writable without a change to those of the machine.
/// Whether that is possible.
///
/// # Panics
/// If the script fails.
pub(crate) fn own_mounts(script: &str) -> bool {
    const OVER: &str = "mount --make-rprivate /; base=$(mktemp -d); mount -t tmpfs none $base; chmod 755 $base\n\
        over() { for d; do mkdir -p $base$d/upper $base$d/work; chmod 755 $base$d/upper\n\
        mount -t overlay -o lowerdir=$d,upperdir=$base$d/upper,workdir=$base$d/work none $d; done; }\n";
    if !users::is_root() || unshare(CloneFlags::CLONE_NEWNS).is_err() {
        note("mounts of its own need root");
        return false;
    }
    let status = Command::new("sh")
        .args(["-euc", &format!("{OVER}{script}")])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "the mounts cannot be made"
    );
    true
}

/// The servers that packages speak to; they end with this.
#[derive(Debug)]
pub(crate) struct Peers {
    process: Child,
    /// Where they are.
    pub(crate) places: serde_json::Map<String, Json>,
}

impl Peers {
    /// Starts them with their sockets in a directory (`%` is the server's name) and perhaps
    /// a name server at an address, and sockets of services that say nothing.
    ///
    /// # Panics
    /// If they do not start.
    pub(crate) fn start(directory: &str, more: &[&str]) -> Self {
        let (certificate, key) = certificate();
        let mut process = Command::new(&python().program)
            .arg(site::apps().join("packages/peers.py"))
            .args([certificate, key])
            .arg(directory)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut line = String::new();
        let said = process.stdout.take().map(BufReader::new);
        said.expect("it is a pipe")
            .read_line(&mut line)
            .expect("it says where it listens");
        let places = serde_json::from_str(&line).expect("it has started");
        Self { process, places }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Who the site's workers are.
pub(crate) fn user() -> Option<&'static TestUser> {
    users::is_root()
        .then(users::three)
        .flatten()
        .map(|users| &users[0])
}

/// Writes the applications to a directory, and beside them where their servers are.
pub(crate) fn write_applications(
    directory: &Path,
    mut settings: serde_json::Map<String, Json>,
) -> PathBuf {
    wsgid_tests::cache::make_readable_directory(directory);
    let apps = fs::read_dir(site::apps().join("packages")).expect("they are there");
    for app in apps.flatten() {
        if app.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::copy(app.path(), directory.join(app.file_name())).expect("it can be copied");
        }
    }
    let data = directory.join("data");
    let ca = directory.join("ca.pem");
    wsgid_tests::cache::make_readable_directory(&data);
    fs::copy(certificate().0, &ca).expect("it can be copied");
    settings.insert("data".to_owned(), data.display().to_string().into());
    settings.insert("ca".to_owned(), ca.display().to_string().into());
    let text = Json::from(settings).to_string();
    fs::write(directory.join("settings.json"), text).expect("it can be written");
    if let Some(user) = user() {
        users::give(directory, user);
    }
    directory.join("application.py")
}

/// The options that every group has; `user` is who its workers are, if httpd can choose.
pub(crate) fn options(home: &Path, venv: &Path, user: Option<&TestUser>) -> String {
    let who = user.map_or_else(String::new, |user| {
        format!("user={} group={} ", user.name, user.group)
    });
    format!(
        "{who}threads=2 home={} python-home={} python-path={}",
        home.display(),
        venv.display(),
        home.display()
    )
}
