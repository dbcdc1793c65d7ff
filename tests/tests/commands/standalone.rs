//! A supervisor on its own: `reload` says what became of what it began.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use wsgid_tests::control::Said;
use wsgid_tests::{Limit, Pid, TestUser, artifacts, case, eventually, users};

use crate::{NOT_SERVING, OK, SOON, script};

/// What `wsgid` ends with where a site file cannot be used.
const CONFIGURATION: i32 = 7;

/// A supervisor with its files. Its groups are loaded without an httpd in front.
pub(crate) struct Standalone {
    place: tempfile::TempDir,
    wsgid: PathBuf,
    supervisor: Child,
}

impl Drop for Standalone {
    fn drop(&mut self) {
        let pid = i32::try_from(self.supervisor.id()).ok();
        if let Some(pid) = pid.and_then(Pid::current) {
            pid.signal(Signal::SIGTERM);
        }
        let _ = self.supervisor.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.place.path().join("log"));
            wsgid_tests::note(&log.unwrap_or_default());
        }
    }
}

/// `setpriv` for a program that runs as this user.
pub(crate) fn as_user(user: &TestUser) -> Command {
    let mut command = Command::new("setpriv");
    command.args([
        &format!("--reuid={}", user.uid),
        &format!("--regid={}", user.gid),
        "--clear-groups",
    ]);
    command
}

impl Standalone {
    /// With these groups, each with an application of its own; run by a user, or by us.
    pub(crate) fn start(groups: &[&str], user: Option<&TestUser>) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory can be made");
        let root = place.path();
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).expect("it is ours");
        for directory in ["sites", "run"] {
            fs::create_dir(root.join(directory)).expect("it is ours");
        }
        let wsgid = root.join("wsgid");
        fs::copy(artifacts::wsgid(), &wsgid).expect("there is room");
        fs::copy(
            artifacts::directory().join("libwsgid_worker.so"),
            root.join("libwsgid_worker.so"),
        )
        .expect("there is room");
        if user.is_some() {
            fs::set_permissions(root.join("run"), open).expect("it is ours");
        }
        let at = root.display();
        let httpd = user.map_or_else(|| users::of_httpd().name, |user| user.name.clone());
        let main = format!(
            "[supervisor]\nsocket = '{at}/run/httpd.sock'\nhttpd-user = '{httpd}'\nsites = '{at}/sites'\n"
        );
        fs::write(root.join("wsgid.toml"), main).expect("it is ours");
        for group in groups {
            write_site(root, group, "");
            write_script(root, group, &script("first", ""));
        }
        let mut command = user.map_or_else(
            || Command::new(&wsgid),
            |user| {
                let mut command = as_user(user);
                command.arg(&wsgid);
                command
            },
        );
        let log = fs::File::create(root.join("log")).expect("it is ours");
        let supervisor = command
            .args(["supervise", "--config"])
            .arg(root.join("wsgid.toml"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("wsgid can be run");
        let new = Self {
            wsgid,
            supervisor,
            place,
        };
        let socket = new.socket();
        eventually("a control socket", SOON, || {
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        new
    }

    pub(crate) fn root(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root().join("run/control.sock")
    }

    /// The command line, as whoever.
    pub(crate) fn wsgid(&self) -> &Path {
        &self.wsgid
    }

    pub(crate) fn say(&self, args: &[&str]) -> Said {
        let mut command = Command::new(&self.wsgid);
        said(command.args(args).arg("--socket").arg(self.socket()))
    }
}

pub(crate) fn said(command: &mut Command) -> Said {
    let out = command.output().expect("it can be run");
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    Said {
        code: out.status.code().unwrap_or(-1),
        text: text.trim().to_owned(),
    }
}

fn write_script(root: &Path, group: &str, text: &str) {
    fs::write(root.join(format!("{group}.py")), text).expect("it is ours");
}

fn write_site(root: &Path, group: &str, more: &str) {
    let text = format!(
        "[group.{group}]\nuser = '{}'\nscripts = ['{}/{group}.py']\n{more}",
        users::of_httpd().name,
        root.display()
    );
    fs::write(root.join(format!("sites/{group}.toml")), text).expect("it is ours");
}

#[test]
fn a_reload_says_what_became_of_each_group_that_it_changed() {
    case(Limit::seconds(120), || {
        let one = Standalone::start(&["shop", "blog"], None);
        let root = one.root();
        for group in ["shop", "blog"] {
            let started = one.say(&["start", group]);
            assert_eq!(started.code, OK, "{}", started.text);
        }
        let reloaded = one.say(&["reload"]);
        assert_eq!(
            (reloaded.code, reloaded.text.as_str()),
            (
                OK,
                "the configuration is in force; no worker has to be replaced for it"
            )
        );
        write_site(root, "shop", "threads = 3\n");
        let reloaded = one.say(&["reload"]);
        assert_eq!(
            (reloaded.code, reloaded.text.as_str()),
            (OK, "process group `shop`: generation 2 serves")
        );
        // One that works, one that does not, one that is new.
        write_site(root, "shop", "threads = 4\n");
        write_site(root, "blog", "python-home = '/usr/lib'\n");
        write_script(root, "new", &script("first", ""));
        write_site(root, "new", "");
        let reloaded = one.say(&["reload"]);
        assert_eq!(reloaded.code, NOT_SERVING, "{}", reloaded.text);
        for part in [
            "process group `shop`: generation 3 serves",
            "process group `new`: generation 1 serves",
            "wsgid: process group `blog`: generation 2 was given up, generation 1 serves on: ",
        ] {
            assert!(reloaded.text.contains(part), "{part}: {}", reloaded.text);
        }
        // A file that cannot be used is the worse news.
        write_site(root, "shop", "thread = 5\n");
        write_site(root, "blog", "");
        let reloaded = one.say(&["reload"]);
        assert_eq!(reloaded.code, CONFIGURATION, "{}", reloaded.text);
        assert!(
            reloaded.text.contains("did you mean `threads`"),
            "{}",
            reloaded.text
        );
    });
}

/// A line that was forgotten does not make a site httpd's.
#[test]
fn root_a_site_without_a_user_is_refused() {
    case(Limit::default(), || {
        if !users::is_root() {
            return;
        }
        let one = Standalone::start(&["shop"], None);
        let text = fs::read_to_string(one.root().join("sites/shop.toml")).expect("it is ours");
        let without: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("user ="))
            .collect();
        let without = without.join("\n").replace("shop", "blog");
        fs::copy(one.root().join("shop.py"), one.root().join("blog.py")).expect("there is room");
        fs::write(one.root().join("sites/blog.toml"), without).expect("it is ours");
        for args in [["reload"].as_slice(), &["check", "--config"]] {
            let said = if args == ["reload"] {
                one.say(args)
            } else {
                let mut command = Command::new(one.wsgid());
                said(command.args(args).arg(one.root().join("wsgid.toml")))
            };
            assert_eq!(said.code, CONFIGURATION, "{}", said.text);
            assert!(
                said.text
                    .contains("process group `blog`: it names no user; name the site's"),
                "{}",
                said.text
            );
        }
        let status = one.say(&["status"]);
        assert!(
            status.text.contains("shop") && !status.text.contains("blog"),
            "{}",
            status.text
        );
    });
}

/// Only root becomes the user of a group; others are told that they have tried it.
#[test]
fn root_check_says_as_whom_it_tried() {
    case(Limit::default(), || {
        let Some([user, ..]) = users::three() else {
            return;
        };
        let one = Standalone::start(&["shop"], None);
        let config = one.root().join("wsgid.toml");
        let owner = users::of_httpd().name;
        let tried = format!("tried as user `{}` (uid {}", user.name, user.uid);
        let by_user = said(
            as_user(user)
                .arg(one.wsgid())
                .args(["check", "--config"])
                .arg(&config),
        );
        for part in [&tried, &format!("only root can try it as `{owner}`")] {
            assert!(by_user.text.contains(part), "{part}: {}", by_user.text);
        }
        assert!(!by_user.text.contains("runs as user"), "{}", by_user.text);
        let by_root = said(
            Command::new(one.wsgid())
                .args(["check", "--config"])
                .arg(&config),
        );
        let runs = format!("runs as user `{owner}`");
        assert!(by_root.text.contains(&runs), "{}", by_root.text);
    });
}
