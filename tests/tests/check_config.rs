//! `wsgid check-config`: what it says of configurations that were written for
//! mod_wsgi, how it ends, and that it touches nothing. The fixtures are asked
//! about in `fixtures.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use wsgid_tests::{Httpd, Limit, Python, Site, artifacts, cache, case, users};

/// A configuration as mod_wsgi has it: its module is not even there.
struct Before {
    site: Site,
    builder: wsgid_tests::Builder,
}

impl Before {
    fn new(lines: &str) -> Self {
        let site = Site::new();
        let builder = Httpd::builder().peer("/nowhere/mod_wsgi.so".into());
        let lines = lines
            .replace("@SITE@", &site.path().display().to_string())
            .replace("@ROOT@", &builder.root().display().to_string())
            .replace("@PYTHON@", &Python::any().home.display().to_string());
        Self {
            site,
            builder: builder.load("auth_basic").load("macro").line(lines),
        }
    }

    fn conf(&self) -> PathBuf {
        // The peer is not there, so this fails; it writes the file.
        assert!(!self.builder.check().ok);
        self.builder.root().join("httpd.conf")
    }

    fn asked(&self, args: &[&str]) -> Output {
        run(Command::new(artifacts::wsgid())
            .arg("check-config")
            .arg(self.conf())
            .args(args))
    }

    /// The findings as `kind line: text`, and the exit code.
    fn findings(&self, args: &[&str]) -> (Vec<String>, Option<i32>) {
        let output = self.asked(&[args, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
        });
        let conf = fs::read_to_string(self.builder.root().join("httpd.conf")).unwrap_or_default();
        let findings = json["findings"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|finding| {
                let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
                let origin = word("origin");
                let line = origin
                    .rsplit(':')
                    .next()
                    .and_then(|line| line.parse::<usize>().ok());
                let line = line
                    .and_then(|line| conf.lines().nth(line - 1))
                    .unwrap_or("-");
                format!("{} [{}] {}", word("kind"), line.trim(), word("text"))
            });
        (findings.collect(), output.status.code())
    }
}

fn run(command: &mut Command) -> Output {
    command
        .env_remove("HTTPD")
        .output()
        .expect("wsgid can be run")
}

/// Each of `expected` is the front and a part of exactly one finding.
fn contain(findings: &[String], expected: &[(&str, &str)]) {
    for (front, part) in expected {
        let fitting = findings
            .iter()
            .filter(|one| one.starts_with(front) && one.contains(part))
            .count();
        assert_eq!(fitting, 1, "`{front}` … `{part}` in {findings:#?}");
    }
}

/// The implicit group would run as httpd's user, and there is none.
#[test]
fn root_a_server_without_user_is_one_problem() {
    case(Limit::default(), || {
        let Some(_) = users::three() else { return };
        let mut before = Before::new("WSGIScriptAlias / @SITE@/hello.py");
        before.builder = before.builder.without_user();
        let (findings, code) = before.findings(&[]);
        let problems: Vec<_> = findings
            .iter()
            .filter(|finding| finding.starts_with("problem "))
            .collect();
        assert!(
            matches!(&problems[..], [one] if one.contains("User and Group are missing")),
            "{findings:#?}"
        );
        let runs = findings
            .iter()
            .find(|finding| finding.contains("names no process group"));
        assert!(
            runs.is_some_and(|text| text.contains("as httpd's user;")),
            "{findings:#?}"
        );
        assert!(!findings.concat().contains("4294967295"), "{findings:#?}");
        assert_eq!(code, Some(7));
    });
}

#[test]
fn a_configuration_that_means_the_same_ends_with_0() {
    case(Limit::default(), || {
        let before = Before::new(
            "WSGIDaemonProcess site python-home=@PYTHON@ processes=2 threads=5\n\
             WSGIScriptAlias / @SITE@/hello.py process-group=site application-group=%{GLOBAL}",
        );
        let (findings, code) = before.findings(&[]);
        assert_eq!(
            (
                findings
                    .iter()
                    .filter(|one| !one.starts_with("note"))
                    .count(),
                code
            ),
            (0, Some(0)),
            "{findings:?}"
        );
        let text = String::from_utf8_lossy(&before.asked(&[]).stdout).into_owned();
        assert!(
            text.contains("LoadModule wsgi_module /nowhere/mod_wsgi.so\n    becomes\n"),
            "{text}"
        );
        assert!(text.contains("2 processes × 5 threads"), "{text}");
        assert!(
            text.contains("0 problems (do not work here), 0 changes"),
            "{text}"
        );
    });
}

/// A distribution's mod_wsgi has the distribution's Python, and so has a group that names none.
#[test]
fn the_python_that_mod_wsgi_was_built_with_is_no_change() {
    case(Limit::default(), || {
        let version = |python: &str| {
            let code = "import sys; print('%d.%d' % sys.version_info[:2])";
            let out = Command::new(python).args(["-c", code]).output();
            let out = out.expect("it is installed").stdout;
            String::from_utf8_lossy(&out).trim().to_owned()
        };
        for (built_with, kind, expected) in [
            (version("python3"), "note", Some(0)),
            ("3.7".to_owned(), "change", Some(8)),
            (String::new(), "change", Some(8)),
        ] {
            let mut before = Before::new(
                "WSGIDaemonProcess site\n\
                 WSGIScriptAlias / @SITE@/hello.py process-group=site application-group=%{GLOBAL}",
            );
            let module = before.site.write(
                "mod_wsgi.so",
                &format!("\0libapr-1.so.0\0libpython{built_with}.so.1.0\0"),
            );
            before.builder = before.builder.peer(module);
            let (findings, code) = before.findings(&[]);
            contain(
                &findings,
                &[(kind, "neither python-home= nor WSGIPythonHome")],
            );
            assert_eq!(code, expected, "{built_with}: {findings:#?}");
        }
    });
}

/// What stands behind the script in an alias's target is the front of PATH_INFO.
#[test]
fn a_target_may_go_on_behind_the_script() {
    case(Limit::default(), || {
        let before = Before::new(
            "WSGIDaemonProcess site python-home=@PYTHON@\n\
             WSGIScriptAlias /api @SITE@/hello.py/api process-group=site application-group=%{GLOBAL}\n\
             <Files hello.py>\n  WSGIProcessGroup site\n</Files>\n\
             WSGIScriptAlias /v1 @SITE@/hello.py/v1 application-group=%{GLOBAL}",
        );
        let (findings, code) = before.findings(&[]);
        assert_eq!(code, Some(0), "{findings:#?}");
    });
}

/// A script that is loaded beforehand has processes as one that URLs lead to.
#[test]
fn imports_are_counted_among_application_groups() {
    case(Limit::default(), || {
        let import = "WSGIImportScript @SITE@/hello.py process-group=site application-group=";
        let with = |group: &str| {
            let before = Before::new(&format!(
                "WSGIDaemonProcess site python-home=@PYTHON@ processes=5\n{import}{group}\n\
                 WSGIScriptAlias / @SITE@/hello.py process-group=site application-group=shared",
            ));
            before.findings(&[])
        };
        let (findings, code) = with("%{GLOBAL}");
        contain(
            &findings,
            &[(
                "change [WSGIDaemonProcess site ",
                "has 2 application groups (%{GLOBAL}, `shared`)",
            )],
        );
        assert_eq!(code, Some(8));
        let (findings, code) = with("shared");
        assert_eq!(code, Some(0), "{findings:#?}");
    });
}

#[test]
fn what_means_something_else_is_named_with_its_line() {
    case(Limit::default(), || {
        let before = Before::new(
            "WSGIPythonHome @PYTHON@\nWSGIPythonPath @SITE@\nWSGIPythonHashSeed random\nWSGILazyInitialization On\n\
             WSGIDaemonProcess shop processes=3 memory-limit=512M request-timeout=5m socket-user=nobody\n\
             WSGIDaemonProcess late\n\
             WSGIScriptAlias /a @SITE@/hello.py process-group=shop\n\
             WSGIScriptAlias /b @SITE@/hello.py process-group=shop\n\
             WSGIScriptAlias /alone @SITE@/hello.py\n\
             WSGIScriptAlias /sectioned @SITE@/hello.py\n\
             <Location /sectioned>\n  WSGIProcessGroup late\n</Location>\n\
             WSGIScriptAlias /relative htdocs/hello.py\n\
             <Directory @ROOT@/htdocs>\n  WSGIProcessGroup late\n</Directory>\n\
             <Location /private>\n  WSGIAuthUserScript @SITE@/hello.py\n  WSGITrustedProxyHeaders X-Forwarded-For\n\
             </Location>\n\
             <Directory @SITE@/scripts>\n  SetHandler wsgi-script\n  WSGIProcessGroup shop\n</Directory>\n\
             WSGIPassApacheRequest On",
        );
        fs::write(before.builder.root().join("htdocs/hello.py"), "")
            .expect("a file can be written");
        let (findings, code) = before.findings(&[]);
        contain(
            &findings,
            &[
                ("change [WSGIPythonPath ", "`wsgid:default`"),
                ("change [WSGIPythonHashSeed random]", "the seed 0"),
                ("note [WSGILazyInitialization On]", "no effect"),
                ("change [WSGIDaemonProcess shop ", "takes 512 bytes"),
                ("change [WSGIDaemonProcess shop ", "takes 5 seconds"),
                (
                    "change [WSGIDaemonProcess shop ",
                    "has 2 application groups",
                ),
                (
                    "change [WSGIDaemonProcess shop ",
                    "up to 6 together instead of 3",
                ),
                ("change [WSGIScriptAlias /alone ", "names no process group"),
                ("change [WSGIAuthUserScript ", "whatever goes wrong refuses"),
                (
                    "change [WSGITrustedProxyHeaders ",
                    "list the addresses of your proxies",
                ),
                ("change [SetHandler wsgi-script]", "any number of scripts"),
                ("note [WSGIPassApacheRequest On]", "no effect"),
            ],
        );
        assert!(
            !findings
                .iter()
                .any(|one| one.contains("[WSGIScriptAlias /sectioned")),
            "{findings:#?}"
        );
        assert!(
            !findings
                .iter()
                .any(|one| one.contains("[WSGIScriptAlias /relative")),
            "{findings:#?}"
        );
        assert_eq!(code, Some(8), "{findings:#?}");
    });
}

#[test]
fn all_problems_are_told_at_once() {
    case(Limit::default(), || {
        let before = Before::new(
            "WSGIDaemonProcess wrong threads=abc thread=2\n\
             WSGIDaemonProcess nobody-there user=no-such-user\n\
             WSGIDaemonProcess homeless python-home=/nowhere/venv\n\
             WSGIDaemonProcess old python-path=/srv/venv/lib/python2.7/site-packages\n\
             WSGIRestrictEmbedded On\n\
             WSGIScriptAlias /a @SITE@/hello.py process-group=missing application-group=x\n\
             <Location /somewhere>\n  WSGIProcessGroup nowhere\n</Location>\n\
             WSGIScriptAlias b @SITE@/hello.py\n\
             WSGIScriptAlias /b @SITE@/hello.py\n\
             WSGIScriptAlias /c @SITE@/no-such-file.py process-group=old\n\
             WSGIRestrictStdout maybe",
        );
        let (findings, code) = before.findings(&[]);
        contain(
            &findings,
            &[
                (
                    "problem [WSGIDaemonProcess wrong ",
                    "`abc` is not a whole number",
                ),
                (
                    "problem [WSGIDaemonProcess wrong ",
                    "did you mean `threads`",
                ),
                (
                    "problem [WSGIDaemonProcess nobody-there ",
                    "there is no user `no-such-user`",
                ),
                (
                    "problem [WSGIDaemonProcess homeless ",
                    "`/nowhere` does not exist",
                ),
                (
                    "problem [WSGIDaemonProcess old ",
                    "has packages of Python 2.7",
                ),
                ("problem [WSGIDaemonProcess old ", "no-such-file.py"),
                ("problem [WSGIScriptAlias /a ", "`missing` is not defined"),
                ("problem [WSGIScriptAlias /b ", "WSGIRestrictEmbedded is On"),
                (
                    "problem [WSGIProcessGroup nowhere]",
                    "`nowhere` is not defined",
                ),
                ("problem [WSGIScriptAlias b ", "does not begin with `/`"),
                ("problem [WSGIRestrictStdout maybe]", "neither On nor Off"),
            ],
        );
        assert_eq!(code, Some(7), "{findings:#?}");
    });
}

#[test]
fn a_script_that_its_user_cannot_read_is_a_problem() {
    if !users::is_root() {
        return wsgid_tests::note("left out: only root can look with the rights of another user");
    }
    case(Limit::default(), || {
        let before = Before::new(
            "WSGIDaemonProcess site python-home=@PYTHON@ user=nobody\n\
             WSGIScriptAlias / @SITE@/closed/wsgi.py process-group=site application-group=%{GLOBAL}",
        );
        before.site.write("closed/wsgi.py", "");
        let closed = before.site.path().join("closed");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700))
            .expect("permissions can be changed");
        let (findings, code) = before.findings(&[]);
        contain(
            &findings,
            &[(
                "problem [WSGIDaemonProcess site ",
                "cannot be entered by user `nobody`",
            )],
        );
        assert_eq!(code, Some(7));
    });
}

#[test]
fn httpd_itself_resolves_conditions_includes_and_macros() {
    case(Limit::default(), || {
        let before = Before::new(
            "Define GROUP shop\n\
             <Macro Application $name $group>\n  WSGIScriptAlias /$name @SITE@/hello.py process-group=$group\n</Macro>\n\
             <IfModule wsgi_module>\n  WSGIDaemonProcess ${GROUP} python-home=@PYTHON@\n  Use Application one ${GROUP}\n\
             </IfModule>\n\
             <IfModule !mod_wsgi.c>\n  WSGIScriptAlias /never @SITE@/hello.py\n</IfModule>\n\
             <IfDefine EXTRA>\n  WSGIScriptAlias /extra @SITE@/hello.py\n</IfDefine>\n\
             IncludeOptional @SITE@/sites/*.conf",
        );
        before.site.write(
            "sites/one.conf",
            &format!(
                "WSGIScriptAlias /included {}/hello.py\n",
                path(&before.site)
            ),
        );
        let (findings, code) = before.findings(&[]);
        let changes: Vec<&String> = findings
            .iter()
            .filter(|one| one.starts_with("change"))
            .collect();
        assert!(
            changes
                .iter()
                .any(|one| one.contains("`WSGIScriptAlias /included` names no")),
            "{findings:#?}"
        );
        assert!(
            !changes
                .iter()
                .any(|one| one.contains("/never") || one.contains("/extra")),
            "{findings:#?}"
        );
        assert!(
            !changes.iter().any(|one| one.contains("/one` names no")),
            "{findings:#?}"
        );
        assert_eq!(code, Some(8));
        let (findings, _) = before.findings(&["-D", "EXTRA"]);
        assert!(
            findings
                .iter()
                .any(|one| one.contains("`WSGIScriptAlias /extra` names no")),
            "{findings:#?}"
        );
    });
}

fn path(site: &Site) -> String {
    site.path().display().to_string()
}

#[test]
fn variables_of_httpd_that_applications_lose_are_named() {
    case(Limit::default(), || {
        let before = Before::new("WSGIDaemonProcess ${SITE_GROUP} python-home=@PYTHON@");
        let envvars = before.builder.root().join("envvars");
        let text = "export SITE_GROUP=shop\nexport APACHE_RUN_DIR=/nowhere/at/all\n";
        fs::write(&envvars, text).expect("a file can be written");
        let output = before.asked(&["--json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("`SITE_GROUP` reaches os.environ"), "{text}");
        assert!(text.contains("\"name\": \"shop\""), "{text}");
        assert!(!text.contains("`APACHE_RUN_DIR`"), "{text}");
    });
}

#[test]
fn what_httpd_does_not_accept_is_said_in_its_words() {
    case(Limit::default(), || {
        let before = Before::new("NoSuchDirective at all");
        let output = before.asked(&[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("Invalid command 'NoSuchDirective'") && !said.contains("AH01574"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(7));
        let missing =
            run(Command::new(artifacts::wsgid()).args(["check-config", "/nowhere/httpd.conf"]));
        assert!(
            String::from_utf8_lossy(&missing.stderr)
                .contains("`/nowhere/httpd.conf` cannot be read")
        );
        assert_eq!(missing.status.code(), Some(1));
        let none = before.asked(&["--httpd", "/nowhere/httpd"]);
        assert!(
            String::from_utf8_lossy(&none.stderr)
                .contains("`/nowhere/httpd` is not an executable file")
        );
        assert_eq!(none.status.code(), Some(1));
    });
}

#[test]
fn nothing_is_touched_and_nothing_is_left_running() {
    case(Limit::default(), || {
        let before = Before::new(
            "WSGIDaemonProcess site python-home=@PYTHON@\n\
             WSGIScriptAlias / @SITE@/touches.py process-group=site application-group=%{GLOBAL}",
        );
        before.site.write(
            "touches.py",
            &format!("open('{}/touched', 'w')\n", path(&before.site)),
        );
        let _ = before.conf();
        let look = || [listing(before.builder.root()), listing(before.site.path())].concat();
        let first = look();
        let output = before.asked(&[]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert_eq!(first, look());
        let root = before.builder.root().display().to_string();
        let running = fs::read_dir("/proc")
            .expect("/proc is there")
            .flatten()
            .any(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&root)
            });
        assert!(!running);
    });
}

/// Every file below a directory, with its size.
fn listing(directory: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        all.push(format!(
            "{} {}",
            path.display(),
            entry.metadata().map_or(0, |facts| facts.len())
        ));
        if path.is_dir() {
            all.extend(listing(&path));
        }
    }
    all.sort();
    all
}

/// A group with isolation is loaded in it, as by `wsgid check`.
#[test]
fn what_isolation_would_deny_an_application_is_named() {
    case(Limit::default(), || {
        let media = tempfile::tempdir_in(cache::directory()).expect("the cache can be written");
        users::give(media.path(), &users::of_httpd());
        let found = |options: &str, args: &[&str]| {
            let media = media.path().display();
            let before = Before::new(&format!(
                "WSGIDaemonProcess shop isolation=private python-home=@PYTHON@ home=@SITE@ {options}\n\
                 WSGIScriptAlias / @SITE@/media.py process-group=shop application-group=%{{GLOBAL}}"
            ));
            let script = format!(
                "open('{media}/new', 'w').close()\ndef application(environ, start_response): pass\n"
            );
            fs::write(before.site.path().join("media.py"), script).expect("it is ours");
            before.findings(args)
        };
        let opens = format!("read-write-paths={} opens it", media.path().display());
        let (findings, code) = found("", &[]);
        let failed = "media.py` does not load in its isolation: ";
        let group = "problem [WSGIDaemonProcess shop";
        contain(&findings, &[(group, failed), (group, &opens)]);
        assert_eq!(code, Some(7), "{findings:#?}");
        let open = format!("read-write-paths={}", media.path().display());
        for (options, args) in [(open.as_str(), [].as_slice()), ("", &["--no-load"])] {
            let (findings, code) = found(options, args);
            assert!(!findings.concat().contains("isolation:"), "{findings:#?}");
            assert_ne!(code, Some(7), "{findings:#?}");
        }
        assert!(media.path().join("new").exists(), "it was loaded");
    });
}
