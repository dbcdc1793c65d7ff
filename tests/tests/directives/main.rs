//! Every directive of mod_wsgi through `httpd -t`: taken in each place where
//! mod_wsgi takes it, refused elsewhere, and wrong values named with their
//! place. The test of a configuration touches and starts nothing.

mod compared;
mod configuration;
mod mistakes;
mod rows;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use wsgid_tests::{Httpd, Limit, Python, Site, case};

use crate::compared::INTERPRETER;
use crate::configuration::{HOST, SECTIONS, check, check_line, home};
use crate::rows::Place::{Auth, FileInfo, Global, Section};
use crate::rows::{OTHERS, ROWS};

#[test]
fn there_are_all_of_them() {
    assert_eq!(ROWS.len() + 1, 49, "with <WSGIInterpreterOptions>");
    // The page is printed from the module's own table.
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/directives.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let names = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '>']).next());
    let documented: BTreeSet<&str> = names.collect();
    let tested: BTreeSet<&str> = ROWS
        .iter()
        .chain(OTHERS)
        .map(|row| row.0)
        .chain(["<WSGIInterpreterOptions"])
        .collect();
    assert_eq!(documented, tested);
}

#[test]
fn each_is_taken_where_it_belongs_and_refused_elsewhere() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        for (name, place, good, _) in ROWS.iter().chain(OTHERS) {
            for value in *good {
                let taken = check_line(&site, name, value, home(*place));
                assert!(taken.ok, "{name} {value}: {}", taken.text);
            }
            assert_eq!(
                check_line(&site, name, good[0], None).ok,
                *place != Auth,
                "{name} in the main server"
            );
            let in_host = check_line(&site, name, good[0], Some(HOST));
            assert_eq!(
                in_host.ok,
                !matches!(place, Global | Auth),
                "{name} in a virtual host: {}",
                in_host.text
            );
            for section in SECTIONS {
                let taken = check_line(&site, name, good[0], Some(*section));
                let wanted = matches!(place, Section | FileInfo | Auth);
                assert_eq!(taken.ok, wanted, "{name} in {}: {}", section.0, taken.text);
                assert!(
                    taken.ok || taken.text.contains("httpd.conf:"),
                    "{}",
                    taken.text
                );
            }
        }
    });
}

#[test]
fn wrong_values_are_named_with_their_place() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        for (name, place, _, bad) in ROWS.iter().chain(OTHERS) {
            for (value, word) in *bad {
                let refused = check_line(&site, name, value, home(*place));
                assert!(!refused.ok, "{name} {value} was taken");
                let text = &refused.text;
                assert!(text.contains(word), "{name} {value}: {text}");
                assert!(
                    text.contains(name) || text.contains("is not defined"),
                    "{name} {value}: {text}"
                );
                assert!(
                    text.contains("on line ") || text.contains("httpd.conf:"),
                    "{name} {value}: {text}"
                );
            }
        }
    });
}

/// A page under `.htaccess` with one line, and what that line leads to.
#[test]
fn htaccess_takes_what_allowoverride_admits() {
    case(Limit::seconds(120), || {
        let python = Python::any().home.display();
        let mut builder = Httpd::builder();
        let directories = format!("script-directories={}", builder.root().display());
        builder = builder.daemon(
            "site",
            &format!("threads=5 python-home={python} {directories}"),
        );
        let docs = builder.root().join("htdocs");
        let access = builder.root().join("access.py");
        std::fs::write(
            &access,
            "def allow_access(environ, host):\n    return True\n",
        )
        .expect("a file can be written");
        for (index, (name, _, good, _)) in ROWS.iter().enumerate() {
            for kind in ["FileInfo", "AuthConfig"] {
                let directory = docs.join(format!("{kind}{index}"));
                std::fs::create_dir(&directory).expect("a directory can be made");
                std::fs::write(directory.join("page.html"), "page").expect("a page can be written");
                let script = format!("{} process-group=site", access.display());
                let value = good[0].replace('$', &script);
                std::fs::write(directory.join(".htaccess"), format!("{name} {value}\n"))
                    .expect("a file can be written");
                // A script of `.htaccess` runs in a group that the server lists, from its directories.
                builder = builder.line(format!(
                    "<Directory {}>\nAllowOverride {kind}\nWSGIRestrictProcess site\n</Directory>",
                    directory.display()
                ));
            }
        }
        let httpd = builder.start();
        for (index, (name, place, _, _)) in ROWS.iter().enumerate() {
            for (kind, wanted) in [("FileInfo", FileInfo), ("AuthConfig", Auth)] {
                let status = httpd.get(&format!("/{kind}{index}/page.html")).status;
                assert_eq!(
                    status,
                    if *place == wanted { 200 } else { 500 },
                    "{name} with AllowOverride {kind}"
                );
            }
        }
        httpd.stop();
    });
}

#[test]
fn interpreter_options_hold_their_directives() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        for options in [
            "",
            " process-group=site",
            " process-group=site application-group=%{GLOBAL}",
        ] {
            for line in INTERPRETER {
                let lines =
                    format!("<WSGIInterpreterOptions{options}>\n{line}\n</WSGIInterpreterOptions>");
                let taken = check(&site, &lines);
                assert!(taken.ok, "{lines}: {}", taken.text);
            }
        }
        for (options, word) in [
            (" colour=red", "colour"),
            (" process-group=", "process-group"),
        ] {
            let refused = check(
                &site,
                &format!("<WSGIInterpreterOptions{options}>\n</WSGIInterpreterOptions>"),
            );
            assert!(
                !refused.ok && refused.text.contains(word),
                "{options}: {}",
                refused.text
            );
        }
        let refused = check(
            &site,
            "<WSGIInterpreterOptions>\nWSGISwitchInterval never\n</WSGIInterpreterOptions>",
        );
        assert!(
            !refused.ok && refused.text.contains("never"),
            "{}",
            refused.text
        );
        let refused = check_line(
            &site,
            "<WSGIInterpreterOptions>\n</WSGIInterpreterOptions>",
            "",
            Some(HOST),
        );
        assert!(!refused.ok, "in a virtual host: {}", refused.text);
    });
}

/// What has no effect says so, once, and where.
#[test]
fn what_does_nothing_says_why() {
    const SILENT: &[(&str, &str)] = &[
        ("WSGISocketRotation Off", "the socket is the same"),
        ("WSGIAcceptMutex flock", "do not compete"),
        ("WSGIDestroyInterpreter Off", "ends with its process"),
        ("WSGIPerInterpreterGIL On", "processes of its own"),
        (
            "WSGIFreeThreading On",
            "free-threaded builds of Python are not supported",
        ),
        ("WSGICaseSensitivity Off", "file system"),
        ("WSGIPassApacheRequest On", "request record"),
        ("WSGIGroupAuthoritative Off", "RequireAny"),
        ("WSGITelemetryService unix:/run/none.sock", "telemetry"),
        ("WSGITelemetryOptions All", "telemetry"),
        ("WSGIVerboseDebugging On", "LogLevel"),
    ];
    case(Limit::default(), || {
        let mut builder = Httpd::builder();
        for (line, _) in SILENT {
            let is_about_access = line.starts_with("WSGIGroup");
            let line = if is_about_access {
                format!("<Location /x>\n{line}\n</Location>")
            } else {
                (*line).to_owned()
            };
            builder = builder.line(line);
        }
        let httpd = builder.start();
        let log = httpd.error_log();
        for (line, why) in SILENT {
            let name = line.split(' ').next().unwrap_or_default();
            let said: Vec<&str> = log
                .lines()
                .filter(|said| said.contains(&format!("{name} has no effect")))
                .collect();
            assert_eq!(said.len(), 1, "{name}: {said:?}");
            assert!(
                said[0].contains(why) && said[0].contains("httpd.conf:"),
                "{}",
                said[0]
            );
        }
        httpd.stop();
    });
}

#[test]
fn a_test_of_the_configuration_starts_and_touches_nothing() {
    case(Limit::default(), || {
        let site = Site::new();
        let builder = Httpd::builder().daemon("site", "processes=2").mount(
            "/",
            &site.file("probe.py"),
            "site",
        );
        let taken = builder.check();
        assert!(
            taken.ok && taken.text.contains("Syntax OK"),
            "{}",
            taken.text
        );
        for option in ["-S", "-M", "-tDDUMP_CONFIG", "-L", "-v"] {
            let said = builder.ask(option);
            assert!(said.ok, "{option}: {}", said.text);
        }
        let processes = Command::new("pgrep")
            .arg("-f")
            .arg(builder.root())
            .output()
            .expect("pgrep is installed");
        assert!(
            processes.stdout.is_empty(),
            "a process was left: {}",
            String::from_utf8_lossy(&processes.stdout)
        );
        let left: Vec<_> = std::fs::read_dir(builder.root().join("run"))
            .expect("a directory")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    });
}
