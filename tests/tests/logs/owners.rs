//! What the owner of a site reads, who may not read httpd's logs.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use wsgid_tests::control::Said;
use wsgid_tests::{Httpd, Limit, Site, TestUser, artifacts, case, eventually, users};

use crate::SOON;

/// Writes aside, in a request, and raises.
const SAYS: &str = "\
import os
def application(environ, start_response):
    word = environ['QUERY_STRING']
    os.write(2, b'aside ' + word.encode() + b'\\n')
    print('printed ' + word)
    print('written ' + word, file=environ['wsgi.errors'])
    raise ValueError('raised ' + word)
";

/// What `wsgid` ends with.
const FAILED: i32 = 1;
const DENIED: i32 = 4;

struct Owned {
    site: Site,
    httpd: Httpd,
    wsgid: PathBuf,
}

impl Owned {
    /// Two groups of one user: with the log of requests, and without it.
    fn start(user: &TestUser) -> Self {
        let site = Site::of(user);
        let script = site.write("says.py", SAYS);
        let mut builder = Httpd::builder();
        let wsgid = builder
            .copied_artifacts()
            .join(artifacts::wsgid().file_name().expect("it has a name"));
        for (name, more) in [("all", "request-log=On"), ("part", "")] {
            let log = site.file(&format!("{name}.log"));
            let options = format!(
                "threads=1 user={} group={} log-file={} {more}",
                user.name,
                user.group,
                log.display()
            );
            builder = builder
                .daemon(name, &options)
                .mount(&format!("/{name}"), &script, name);
        }
        let httpd = builder.start();
        Self { site, httpd, wsgid }
    }

    fn log(&self, group: &str) -> PathBuf {
        self.site.file(&format!("{group}.log"))
    }

    fn command(&self, user: Option<&TestUser>, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        let (uid, gid) = user.map_or((0, 0), |user| (user.uid, user.gid));
        command
            .args([&format!("--reuid={uid}"), &format!("--regid={gid}")])
            .arg("--clear-groups")
            .arg(&self.wsgid)
            .args(args)
            .arg("--socket")
            .arg(self.httpd.control_socket());
        command
    }

    fn said(&self, user: Option<&TestUser>, args: &[&str]) -> Said {
        let out = self.command(user, args).output().expect("setpriv runs");
        Said {
            code: out.status.code().unwrap_or(-1),
            text: String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
        }
    }
}

/// The lines of a program, as they come.
struct Followed {
    child: Child,
    lines: Receiver<String>,
}

impl Followed {
    fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv is installed");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn wait_for(&self, text: &str) {
        eventually(text, SOON, || {
            self.lines
                .try_iter()
                .any(|line| line.contains(text))
                .then_some(())
        });
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(log: &Path, text: &str) {
    eventually(text, SOON, || {
        let text_of = fs::read_to_string(log);
        text_of.is_ok_and(|log| log.contains(text)).then_some(())
    });
}

#[test]
fn root_an_owner_reads_all_that_its_site_said() {
    case(Limit::default(), || {
        let Some([owner, other, _]) = users::three() else {
            return;
        };
        let owned = Owned::start(owner);
        for group in ["all", "part"] {
            assert_eq!(owned.httpd.get(&format!("/{group}?one")).status, 500);
            wait(&owned.log(group), "aside one");
        }
        wait(&owned.log("all"), "ValueError: raised one");
        let all = owned.said(Some(owner), &["logs", "all"]);
        assert_eq!(all.code, 0, "{}", all.text);
        for part in [
            "aside one",
            "printed one",
            "written one",
            "ValueError: raised one",
        ] {
            assert_eq!(all.text.matches(part).count(), 1, "{part}: {}", all.text);
        }
        // It is in httpd's log as ever.
        assert!(owned.httpd.error_log().contains("ValueError: raised one"));
        let part = owned.said(Some(owner), &["logs", "part"]);
        assert!(
            part.text.contains("aside one") && !part.text.contains("written one"),
            "{}",
            part.text
        );
        let others = owned.said(Some(other), &["logs", "all"]);
        assert_eq!(others.code, DENIED, "{}", others.text);
        // The last lines, and no more.
        let last = owned.said(Some(owner), &["logs", "all", "-n", "1"]);
        assert_eq!(last.text.lines().count(), 1, "{}", last.text);
        owned.httpd.stop();
    });
}

#[test]
fn root_what_comes_is_followed_over_a_rotation() {
    case(Limit::default(), || {
        let Some([owner, ..]) = users::three() else {
            return;
        };
        let owned = Owned::start(owner);
        assert_eq!(owned.httpd.get("/all?one").status, 500);
        wait(&owned.log("all"), "raised one");
        for user in [Some(owner), None] {
            let followed = Followed::begin(owned.command(user, &["logs", "all", "--follow"]));
            followed.wait_for("raised one");
            assert_eq!(owned.httpd.get("/all?two").status, 500);
            followed.wait_for("raised two");
            let log = owned.log("all");
            fs::rename(&log, log.with_extension("1")).expect("it can be moved");
            owned.httpd.graceful();
            assert_eq!(owned.httpd.get("/all?three").status, 500);
            followed.wait_for("raised three");
            assert_eq!(owned.httpd.get("/all?one").status, 500);
            wait(&log, "raised one");
        }
        owned.httpd.stop();
    });
}

/// Root's terminal and root's files are nothing to a site.
#[test]
fn root_a_log_is_read_with_the_rights_of_its_owner() {
    case(Limit::default(), || {
        let Some([owner, ..]) = users::three() else {
            return;
        };
        let owned = Owned::start(owner);
        assert_eq!(owned.httpd.get("/all?one").status, 500);
        let log = owned.log("all");
        wait(&log, "raised one");
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(&log)
            .expect("root may");
        file.write_all(b"\x1b[2Jcleared\n").expect("there is room");
        let said = owned.said(None, &["logs", "all"]);
        assert!(said.text.contains("\\x1b[2Jcleared"), "{}", said.text);
        let place = tempfile::tempdir().expect("a temporary directory can be made");
        let secret = place.path().join("secret");
        fs::write(&secret, "nobody's business\n").expect("it is ours");
        for link in [true, false] {
            fs::remove_file(&log).expect("it is there");
            if link {
                symlink(&secret, &log).expect("it can be made");
            } else {
                nix::unistd::mkfifo(&log, nix::sys::stat::Mode::all()).expect("it can be made");
            }
            let said = owned.said(None, &["logs", "all"]);
            assert_eq!(said.code, FAILED, "{}", said.text);
            assert!(!said.text.contains("business"), "{}", said.text);
        }
        owned.httpd.stop();
    });
}
