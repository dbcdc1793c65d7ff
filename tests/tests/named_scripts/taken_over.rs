//! A child of httpd that was taken over asks for scripts that nobody named.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use wsgid_protocol::Failure;
use wsgid_tests::hostile::child::{CALLS, Orders, Outcome, overhear};
use wsgid_tests::{Builder, Httpd, Limit, Site, TestUser, case, users};

use crate::script::{SCRIPT, marking, options};

/// A child of httpd that was taken over.
pub(crate) struct Hostile {
    pub(crate) program: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) secret: [u8; 32],
    pub(crate) generation: u64,
}

impl Hostile {
    /// Takes one over that has to connect to serve `url`: nothing was asked before.
    pub(crate) fn new(httpd: &Httpd, url: &str) -> Self {
        let program = httpd.root().join("hostile-child");
        fs::copy(env!("CARGO_BIN_EXE_hostile_child"), &program).expect("the program can be copied");
        let socket = httpd
            .sockets()
            .into_iter()
            .find(|path| path.ends_with("httpd.sock"))
            .expect("httpd has a socket");
        let hello = overhear(&socket, || {
            let _ = httpd.get(url);
        });
        Self {
            program,
            socket,
            secret: hello.secret,
            generation: hello.generation,
        }
    }

    /// Asks a group for these on one connection, as httpd's user.
    pub(crate) fn ask(&self, group: &str, requests: &[(&str, PathBuf)]) -> Vec<Outcome> {
        let orders = Orders {
            socket: self.socket.clone(),
            group: group.to_owned(),
            secret: self.secret,
            generation: self.generation,
            requests: requests
                .iter()
                .map(|(call, script)| ((*call).to_owned(), script.clone()))
                .collect(),
        };
        let mut command = Command::new(&self.program);
        if users::is_root() {
            let httpds = users::of_httpd();
            command.uid(httpds.uid).gid(httpds.gid);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let text = serde_json::to_string(&orders).expect("orders are texts and numbers");
        writeln!(child.stdin.take().expect("it is a pipe"), "{text}").expect("the program reads");
        let output = child.wait_with_output().expect("the program ends");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("an outcome a line"))
            .collect()
    }
}

pub(crate) fn refused(outcome: &Outcome, group: &str, script: &Path) -> bool {
    let Outcome::Failed(code, text) = outcome else {
        return false;
    };
    *code == Failure::NotAllowed.code()
        && [
            format!("`{group}`"),
            script.display().to_string(),
            "script-directories=".to_owned(),
        ]
        .iter()
        .all(|part| text.contains(part))
}

/// Two sites of two users; each has a script, the first a directory of them too.
struct Sites {
    mine: Site,
    other: Site,
}

impl Sites {
    fn new(accounts: &[TestUser; 3]) -> (Self, Builder) {
        let mine = Site::of(&accounts[0]);
        let other = Site::of(&accounts[1]);
        for site in [&mine, &other] {
            site.write("named.py", SCRIPT);
            site.write("unnamed.py", SCRIPT);
        }
        mine.write("scripts/one.py", SCRIPT);
        mine.write("questions.py", SCRIPT);
        // Readable for all: nothing but the list keeps anybody from it.
        fs::set_permissions(other.path(), fs::Permissions::from_mode(0o755))
            .expect("the directory is there");
        let directory = mine.file("scripts");
        let builder = Httpd::builder()
            .daemon("mine", &options(&accounts[0]))
            .daemon("other", &options(&accounts[1]))
            .mount("/named", &mine.file("named.py"), "mine")
            .mount("/other", &other.file("named.py"), "other")
            .line(format!(
                "WSGIScriptAlias /scripts/ {}/ process-group=mine application-group=%{{GLOBAL}}",
                directory.display()
            ))
            .line(format!(
                "<Location /dispatched>\nWSGIDispatchScript {} process-group=mine\n</Location>",
                mine.file("questions.py").display()
            ));
        (Self { mine, other }, builder)
    }
}

/// What no directive names: files and links that lead to others', or to nothing.
fn unnamed(sites: &Sites, accounts: &[TestUser; 3], httpd: &Httpd, mark: &Path) -> Vec<PathBuf> {
    // As the child writes it: a file of httpd's user that all may read.
    let planted = httpd.root().join("planted.py");
    fs::write(&planted, marking(mark)).expect("a file can be written");
    users::give(&planted, &users::of_httpd());
    let scripts = sites.mine.file("scripts");
    let links = [
        ("httpds.py", planted.clone(), &users::of_httpd()),
        ("others.py", sites.other.file("named.py"), &accounts[1]),
        ("own.py", sites.mine.file("unnamed.py"), &accounts[0]),
        ("directory", sites.other.path().to_path_buf(), &accounts[1]),
    ];
    for (name, target, owner) in &links {
        symlink(target, scripts.join(name)).expect("a link can be made");
        std::os::unix::fs::lchown(scripts.join(name), Some(owner.uid), Some(owner.gid))
            .expect("it is ours");
    }
    vec![
        planted,
        sites.other.file("named.py"),
        sites.mine.file("unnamed.py"),
        scripts.join("../unnamed.py"),
        scripts
            .join("../..")
            .join(sites.other.path().file_name().expect("a name"))
            .join("named.py"),
        scripts.join("httpds.py"),
        scripts.join("others.py"),
        scripts.join("own.py"),
        scripts.join("directory/named.py"),
        PathBuf::from("/etc/passwd"),
        PathBuf::from("/proc/self/environ"),
        PathBuf::from("named.py"),
        PathBuf::from(""),
    ]
}

/// Wrong is what no directive names, whatever is called in it.
#[test]
fn root_a_child_that_was_taken_over_gets_what_the_site_serves_and_no_more() {
    case(Limit::seconds(120), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let (sites, builder) = Sites::new(accounts);
        let httpd = builder.start();
        let hostile = Hostile::new(&httpd, "/named");
        for url in ["/named", "/other", "/scripts/one.py"] {
            assert_eq!(httpd.get(url).status, 200, "{url}");
        }

        let marks = httpd.root().join("marks");
        fs::create_dir(&marks).expect("a directory can be made");
        fs::set_permissions(&marks, fs::Permissions::from_mode(0o777)).expect("it is ours");
        let mark = marks.join("executed");
        let wrong = unnamed(&sites, accounts, &httpd, &mark);
        for script in &wrong {
            // One connection, which stays usable: what is named is served after all of it.
            let mut requests: Vec<(&str, PathBuf)> =
                CALLS.iter().map(|call| (*call, script.clone())).collect();
            requests.push(("application", sites.mine.file("named.py")));
            let outcomes = hostile.ask("mine", &requests);
            assert_eq!(outcomes.len(), requests.len(), "{outcomes:?}");
            for (outcome, call) in outcomes.iter().zip(CALLS) {
                assert!(
                    refused(outcome, "mine", script),
                    "{call} {}: {outcome:?}",
                    script.display()
                );
            }
            let served = format!("named.py {}", accounts[0].uid);
            assert_eq!(
                outcomes.last(),
                Some(&Outcome::Body(200, served)),
                "after {}",
                script.display()
            );
        }
        assert!(
            !mark.exists(),
            "executed as {:?}",
            fs::read_to_string(&mark)
        );

        // What the configuration names it may ask for.
        let named = |name: &str, call: &'static str| (call, sites.mine.file(name));
        let requests = [
            named("scripts/one.py", "application"),
            named("questions.py", "dispatch"),
        ];
        let outcomes = hostile.ask("mine", &requests);
        assert_eq!(
            outcomes[0],
            Outcome::Body(200, format!("one.py {}", accounts[0].uid))
        );
        assert_eq!(outcomes[1], Outcome::Answered);
        let outcomes = hostile.ask("other", &[named("named.py", "application")]);
        assert!(
            refused(&outcomes[0], "other", &sites.mine.file("named.py")),
            "{outcomes:?}"
        );

        let said = format!("may not run `{}`", sites.mine.file("unnamed.py").display());
        let line = httpd.wait_for_log(&said, Duration::from_secs(10));
        assert!(line.contains("process group `mine`"), "{line}");
        httpd.stop();
    });
}

/// A thousand refusals are a few lines, and the group goes on.
#[test]
fn root_refusals_do_not_fill_the_log() {
    case(Limit::seconds(120), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let (sites, builder) = Sites::new(accounts);
        let httpd = builder.start();
        let hostile = Hostile::new(&httpd, "/named");
        let requests: Vec<(&str, PathBuf)> = (0..1000)
            .map(|number| ("application", sites.mine.file(&format!("none-{number}.py"))))
            .collect();
        let outcomes = hostile.ask("mine", &requests);
        assert!(
            outcomes
                .iter()
                .zip(&requests)
                .all(|(outcome, (_, script))| refused(outcome, "mine", script))
        );
        assert_eq!(httpd.get("/named").status, 200);
        let lines = httpd
            .error_log()
            .lines()
            .filter(|line| line.contains("may not run"))
            .count();
        assert!((1..=60).contains(&lines), "{lines} lines");
        httpd.stop();
    });
}
