//! A site file names all that its site runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use wsgid_tests::hostile::child::Outcome;
use wsgid_tests::{Limit, Site, case, users};

use crate::script::SCRIPT;
use crate::taken_over::{Hostile, refused};

/// A supervisor on its own; ended when it is dropped.
struct Alone {
    directory: tempfile::TempDir,
    child: std::process::Child,
}

impl Alone {
    /// With these site files by name.
    fn new(sites: &[(&str, String)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("sites")).expect("a directory can be made");
        let root = directory.path().display();
        let httpds = users::of_httpd().name;
        let main = format!(
            "[supervisor]\nsocket = '{root}/httpd.sock'\nhttpd-user = '{httpds}'\nsites = '{root}/sites'\n"
        );
        fs::write(at("wsgid.toml"), main).expect("a file can be written");
        for (name, text) in sites {
            fs::write(at("sites").join(name), text).expect("a file can be written");
        }
        let child = wsgid_tests::artifacts::supervise(directory.path());
        let alone = Self { directory, child };
        wsgid_tests::eventually("its socket", Duration::from_secs(20), || {
            alone.path("httpd.sock").exists().then_some(())
        });
        alone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hostile(&self) -> Hostile {
        let program = self.path("hostile-child");
        fs::copy(env!("CARGO_BIN_EXE_hostile_child"), &program).expect("the program can be copied");
        Hostile {
            program,
            socket: self.path("httpd.sock"),
            secret: [0; 32],
            generation: 0,
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Without httpd's configuration it is the site's file that names them.
#[test]
fn root_a_site_file_names_all_that_its_site_runs() {
    case(Limit::seconds(60), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let site = Site::of(&accounts[0]);
        for name in ["named.py", "scripts/one.py", "unnamed.py"] {
            site.write(name, SCRIPT);
        }
        let user = format!(
            "user = '{}'\ngroup = '{}'\nprocesses = 1\nthreads = 2\n",
            accounts[0].name, accounts[0].group
        );
        let at = |name: &str| site.file(name).display().to_string();
        let alone = Alone::new(&[
            (
                "one.toml",
                format!("[group.one]\n{user}scripts = ['{}']\n", at("named.py")),
            ),
            (
                "two.toml",
                format!(
                    "[group.two]\n{user}script-directories = ['{}', '/nowhere']\n",
                    at("scripts")
                ),
            ),
            ("none.toml", format!("[group.none]\n{user}")),
        ]);
        let hostile = alone.hostile();
        let runs = [("one", "named.py"), ("two", "scripts/one.py")];
        for group in ["one", "two", "none"] {
            for name in ["named.py", "scripts/one.py", "unnamed.py"] {
                let outcome = hostile
                    .ask(group, &[("application", site.file(name))])
                    .remove(0);
                let right = match &outcome {
                    Outcome::Body(200, text) => {
                        runs.contains(&(group, name))
                            && text.ends_with(&format!(" {}", accounts[0].uid))
                    }
                    other => {
                        !runs.contains(&(group, name)) && refused(other, group, &site.file(name))
                    }
                };
                assert!(right, "{group} {name}: {outcome:?}");
            }
        }
        let lack = "none.toml`: process group `none`: it names no script";
        let log = fs::read_to_string(alone.path("log")).expect("it has a log");
        assert!(
            log.contains(lack) && log.contains("script-directories = "),
            "{log}"
        );
        let mut check = Command::new(wsgid_tests::artifacts::wsgid());
        let output = check
            .args(["check", "--config"])
            .arg(alone.path("wsgid.toml"))
            .output()
            .expect("it can be run");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.code() == Some(7) && said.contains(lack),
            "{said}"
        );
        assert!(said.contains("script-directories= `/nowhere`"), "{said}");
    });
}
