//! What root uses must be root's, and what is a user's runs as that user.

use std::path::Path;
use std::process::{Command, Stdio};

use wsgid_tests::httpd::free_port;
use wsgid_tests::{Limit, Python, Site, TestUser, artifacts, case, users};

use crate::server::{outcome, set_up};

/// What root reads, runs or writes must be root's with every directory above it:
/// whoever has one of them could put his own configuration there before the next
/// reload.
#[test]
fn root_nothing_in_the_hands_of_another_user_is_used() {
    case(Limit::seconds(120), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let stranger = &accounts[0];
        let site = Site::new();
        let theirs = Site::of(stranger);
        let script = site.write("app.py", "def application(environ, start_response): pass\n");
        let made = |name: &str| theirs.write(name, "").display().to_string();
        let place = |name: &str| theirs.path().join(name).display().to_string();
        std::fs::create_dir(theirs.path().join("roots")).expect("a directory can be made");
        std::fs::write(theirs.path().join("roots/file"), "").expect("a file can be written");
        // In /tmp everybody may make a link, and have it lead elsewhere later.
        let link = std::env::temp_dir().join(format!("wsgid-hands-{}", std::process::id()));
        std::os::unix::fs::symlink(site.path(), &link).expect("a link can be made");
        std::os::unix::fs::lchown(&link, Some(stranger.uid), None).expect("it is ours to give");
        let through = link.join("log").display().to_string();
        let env = made("envvars");
        let crt = made("a.crt");
        let key = made("a.key");
        let roots = place("roots/file");
        let conf = made("more.conf");
        let tls = [
            "--https-port",
            "1443",
            "--ssl-certificate-file",
            &crt,
            "--ssl-certificate-key-file",
            &key,
        ];
        let new = place("new");
        let pid = place("httpd.pid");
        let logs = place("logs");
        let cases: [&[&str]; 12] = [
            &["--server-root", &new],
            &["--server-root", &place("roots/deep/new")],
            &["--log-directory", &logs],
            &["--log-directory", &through],
            &["--error-log-name", &place("error_log")],
            &["--pid-file", &pid],
            &["--envvars-script", &env],
            &["--include-file", &conf],
            &["--include-file", &roots],
            &["--rewrite-rules", &conf],
            &tls,
            &[
                "--enable-coverage",
                "--coverage-directory",
                &place("coverage"),
            ],
        ];
        for more in cases {
            let refused =
                set_up(&script, &site.file("root"), 8000, more).expect_err("it is refused");
            let owner = format!("belongs to uid {}", stranger.uid);
            assert!(
                refused.contains(more[0]) || refused.contains("TLS"),
                "{more:?}: {refused}"
            );
            assert!(
                refused.contains(&owner) && refused.contains("chown")
                    || refused.contains("the link"),
                "{refused}"
            );
            assert!(!site.file("root").exists(), "{more:?}: nothing was written");
        }
        for untouched in [&new, &logs] {
            assert!(!Path::new(untouched).exists(), "{untouched}");
        }
        assert_temporary_directory_is_refused(&script, stranger, theirs.path());
        std::fs::remove_file(&link).expect("it is there");
        set_up(
            &script,
            &site.file("root"),
            free_port(),
            &["--log-directory", &place("../").replace("../", "")],
        )
        .expect_err("the directory itself");
        set_up(&script, &site.file("root"), free_port(), &[]).expect("what is root's is used");
    });
}

fn assert_temporary_directory_is_refused(script: &Path, stranger: &TestUser, theirs: &Path) {
    let temporary = outcome(
        Command::new(artifacts::wsgid())
            .args([
                "setup-server",
                &script.display().to_string(),
                "--user",
                &stranger.name,
                "--port",
                "8000",
            ])
            .args(["--python-home", &Python::any().home.display().to_string()])
            .env("TMPDIR", theirs),
    );
    assert!(
        temporary.is_err_and(|why| why.contains("--server-root")),
        "TMPDIR names the server root"
    );
}

/// The Python of `--python-home` may be the application's user's: it is asked as
/// that user.
#[test]
fn root_a_python_of_the_user_does_not_run_as_root() {
    case(Limit::seconds(60), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let user = &accounts[0];
        let site = Site::of(user);
        let script = site.write("app.py", "def application(environ, start_response): pass\n");
        let seen = site.file("seen");
        let python = site.write(
            "venv/bin/python",
            &format!(
                "#!/bin/sh\nid -u >> {0}\nid -G >> {0}\necho typed 2> /dev/null > /dev/tty && echo tty >> {0}\n\
                 echo 3.11.1; echo /usr; echo /usr\n",
                seen.display()
            ),
        );
        std::fs::set_permissions(&python, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("it is ours");
        let root = Site::new();
        let mut command = Command::new(artifacts::wsgid());
        command
            .arg("setup-server")
            .arg(&script)
            .arg("--server-root")
            .arg(root.file("root"));
        command.args([
            "--user",
            &user.name,
            "--group",
            &user.group,
            "--port",
            "8000",
            "--python-home",
        ]);
        outcome(command.arg(site.file("venv")).stdin(Stdio::null())).expect("it is written");
        let seen = std::fs::read_to_string(seen).expect("it was asked");
        assert_eq!(
            seen,
            format!("{}\n{}\n", user.uid, user.gid),
            "as the user, without groups and terminal"
        );
    });
}
