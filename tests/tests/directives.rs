//! Every directive of mod_wsgi through `httpd -t`: taken in each place where
//! mod_wsgi takes it, refused elsewhere, and wrong values named with their
//! place. The test of a configuration touches and starts nothing.

use std::collections::BTreeSet;
use std::path::Path;

use std::process::Command;

use wsgid_tests::httpd::Check;
use wsgid_tests::{Builder, Httpd, Limit, Python, Site, case};

/// Where a directive may stand, in mod_wsgi's own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The main server.
    Global,
    /// And virtual hosts.
    Server,
    /// And sections.
    Section,
    /// And `.htaccess` (FileInfo).
    FileInfo,
    /// Sections and `.htaccess` (AuthConfig), as AuthType.
    Auth,
}
use Place::{Auth, FileInfo, Global, Section, Server};

/// Directive, place, good values, bad values with a word that the error has.
/// `$` is a script's path.
type Row = (
    &'static str,
    Place,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const SWITCH: &[&str] = &["On", "off"];
const NO_SWITCH: &[(&str, &str)] = &[("maybe", "maybe"), ("", ""), ("On Off", "Off")];
const SCRIPT: &[&str] = &[
    "$",
    "$ application-group=a",
    "\"$\" process-group=site",
    "relative.wsgi",
];
const NO_SCRIPT: &[(&str, &str)] = &[
    ("", "missing"),
    ("$ colour=red", "colour"),
    ("$ process-group=", "needs a value"),
    ("$ word", "word"),
];

const ROWS: &[Row] = &[
    (
        "WSGIScriptAlias",
        Server,
        &[
            "/ $",
            "/a \"$\" process-group=site application-group=%{GLOBAL}",
            "/b $ callable-object=app pass-authorization=On",
            "/c/ /srv/wsgi/",
            "/d $ process-group=%{ENV:G}",
        ],
        &[
            ("a $", "`a`"),
            ("/a", "missing"),
            ("", "missing"),
            ("/a $ colour=red", "colour"),
            ("/a $ pass-authorization=perhaps", "perhaps"),
            ("/a $ process-group=missing application-group=a", "missing"),
        ],
    ),
    (
        "WSGIScriptAliasMatch",
        Server,
        &["^/a/(.*) /srv/$1.wsgi", "^/b $ process-group=site"],
        &[("( $", "("), ("^/", "missing")],
    ),
    (
        "WSGIHandlerScript",
        Section,
        &["name $", "name $ process-group=site pass-authorization=On"],
        &[
            ("name", "missing"),
            ("name $ callable-object=x", "callable-object"),
        ],
    ),
    (
        "WSGIImportScript",
        Server,
        &[
            "$ process-group=site application-group=%{GLOBAL}",
            "$ process-group=%{GLOBAL} application-group=a",
        ],
        &[
            ("$", "process-group"),
            ("$ process-group=site", "application-group"),
            ("$ process-group=missing application-group=a", "missing"),
            (
                "$ process-group=site application-group=%{ENV:X}",
                "%{ENV:X}",
            ),
        ],
    ),
    ("WSGIDispatchScript", Section, SCRIPT, NO_SCRIPT),
    (
        "WSGICallableObject",
        FileInfo,
        &["app", "%{ENV:CALLABLE}"],
        &[("", "missing"), ("a b", "b")],
    ),
    (
        "WSGIDaemonProcess",
        Server,
        &[
            "other",
            "other processes=2 threads=15 display-name=%{GROUP}",
            "other home=/ lang='de_DE.UTF-8'",
        ],
        &[
            ("", "missing"),
            ("other threads=many", "many"),
            ("other threads=-1", "-1"),
            ("other colour=red", "colour"),
            ("other word", "word"),
            ("other user=nobody-of-this-name", "nobody-of-this-name"),
            ("other user=root", "root"),
            ("other user=#0", "root"),
            ("other group=root", "root's group"),
            ("other group=#0", "root's group"),
            ("site threads=7", "other options"),
        ],
    ),
    (
        "WSGIProcessGroup",
        Section,
        &["site", "%{GLOBAL}", "%{ENV:GROUP}"],
        &[("", "missing"), ("a b", "b")],
    ),
    (
        "WSGIApplicationGroup",
        Section,
        &["a", "%{GLOBAL}", "%{SERVER}", "%{RESOURCE}"],
        &[("", "missing"), ("a b", "b")],
    ),
    (
        "WSGIRestrictProcess",
        Section,
        &["site", "site %{GLOBAL} other"],
        &[("", "missing")],
    ),
    (
        "WSGISocketPrefix",
        Global,
        &["run/x", "/tmp/wsgid-none/x"],
        &[("", "missing")],
    ),
    ("WSGISocketRotation", Global, SWITCH, NO_SWITCH),
    (
        "WSGIAcceptMutex",
        Global,
        &["default", "sysvsem", "pthread"],
        &[("nonsense", "nonsense"), ("", "missing")],
    ),
    ("WSGIRestrictEmbedded", Global, SWITCH, NO_SWITCH),
    (
        "WSGIPythonHome",
        Global,
        &["/usr", "\"/usr\""],
        &[("", "missing")],
    ),
    (
        "WSGIPythonPath",
        Global,
        &["/srv/a:/srv/b"],
        &[("", "missing")],
    ),
    ("WSGIPythonEggs", Global, &["/tmp"], &[("", "missing")]),
    (
        "WSGIPythonOptimize",
        Global,
        &["0", "1", "2"],
        &[("3", "3"), ("x", "x")],
    ),
    (
        "WSGIPythonWarnings",
        Global,
        &["ignore", "error::DeprecationWarning"],
        &[("", "missing")],
    ),
    (
        "WSGIPythonHashSeed",
        Global,
        &["random", "0", "4294967295"],
        &[("4294967296", "4294967296"), ("-1", "-1")],
    ),
    ("WSGIDontWriteBytecode", Global, SWITCH, NO_SWITCH),
    (
        "WSGISwitchInterval",
        Global,
        &["0.005", "1"],
        &[("0", "0"), ("soon", "soon")],
    ),
    ("WSGIDestroyInterpreter", Global, SWITCH, NO_SWITCH),
    ("WSGIPerInterpreterGIL", Global, SWITCH, NO_SWITCH),
    ("WSGIFreeThreading", Global, SWITCH, NO_SWITCH),
    ("WSGIRestrictStdin", Global, SWITCH, NO_SWITCH),
    ("WSGIRestrictStdout", Global, SWITCH, NO_SWITCH),
    ("WSGIRestrictSignal", Global, SWITCH, NO_SWITCH),
    ("WSGICaseSensitivity", Global, SWITCH, NO_SWITCH),
    ("WSGIPassAuthorization", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIScriptReloading", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIChunkedRequest", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIErrorOverride", FileInfo, SWITCH, NO_SWITCH),
    (
        "WSGIMapHEADToGET",
        FileInfo,
        &["On", "off", "AUTO"],
        &[("maybe", "maybe"), ("", "missing")],
    ),
    ("WSGIIgnoreActivity", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIEnableSendfile", FileInfo, SWITCH, NO_SWITCH),
    ("WSGIPassApacheRequest", Section, SWITCH, NO_SWITCH),
    (
        "WSGITrustedProxyHeaders",
        FileInfo,
        &["X-Forwarded-For", "X-Real-IP X-Scheme"],
        &[("", "missing"), ("X:Y", "X:Y")],
    ),
    (
        "WSGITrustedProxies",
        FileInfo,
        &["10.0.0.0/8", "127.0.0.1 ::1 2001:db8::/32"],
        &[
            ("", "missing"),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("proxy.example", "proxy.example"),
        ],
    ),
    ("WSGIAccessScript", Auth, SCRIPT, NO_SCRIPT),
    ("WSGIAuthUserScript", Auth, SCRIPT, NO_SCRIPT),
    ("WSGIAuthGroupScript", Auth, SCRIPT, NO_SCRIPT),
    ("WSGIGroupAuthoritative", Auth, SWITCH, NO_SWITCH),
    ("WSGIServerMetrics", Global, SWITCH, NO_SWITCH),
    (
        "WSGITelemetryService",
        Global,
        &["unix:/run/x.sock", "unix:/run/x.sock interval=0.5"],
        &[
            ("tcp:1", "tcp:1"),
            ("unix:/x interval=0.1", "0.1"),
            ("unix:/x colour=red", "colour"),
        ],
    ),
    (
        "WSGISlowRequests",
        Global,
        &["0", "2.5"],
        &[("-1", "-1"), ("slow", "slow")],
    ),
    (
        "WSGITelemetryOptions",
        Global,
        &["None", "+CaptureUserAgent", "All"],
        &[("Everything", "Everything"), ("", "missing")],
    ),
    ("WSGIVerboseDebugging", Global, SWITCH, NO_SWITCH),
];

/// Ours, and those of mod_wsgi before version 6.
const OTHERS: &[Row] = &[
    (
        "WSGISupervisorExecutable",
        Global,
        &["/usr/sbin/wsgid"],
        &[("wsgid", "absolute"), ("", "missing")],
    ),
    (
        "WSGIDaemonSocket",
        Global,
        &["/run/wsgid/httpd.sock"],
        &[("wsgid.sock", "absolute"), ("", "missing")],
    ),
    (
        "WSGILazyInitialization",
        Global,
        &["On", "Off"],
        &[("", "missing")],
    ),
    ("WSGIPy3kWarningFlag", Global, &["On"], &[("", "missing")]),
    (
        "WSGIReloadMechanism",
        FileInfo,
        &["Process", "Module"],
        &[("", "missing")],
    ),
    (
        "WSGINewRelicConfigFile",
        Global,
        &["/etc/newrelic.ini"],
        &[("", "missing")],
    ),
    (
        "WSGINewRelicEnvironment",
        Global,
        &["production"],
        &[("", "missing")],
    ),
];

/// Directives that may stand in `<WSGIInterpreterOptions>`.
const INTERPRETER: &[&str] = &[
    "WSGIPythonPath /srv/a",
    "WSGISwitchInterval 0.01",
    "WSGIPerInterpreterGIL On",
    "WSGIFreeThreading Off",
    "WSGIRestrictStdin On",
    "WSGIRestrictStdout On",
    "WSGIRestrictSignal Off",
];

/// What mod_wsgi takes and we refuse, or the other way round, and why: the
/// directive, the value, the reason.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "WSGIScriptAlias",
        "a $",
        "a URL path that no request has is a mistake",
    ),
    (
        "WSGIImportScript",
        "$ process-group=site application-group=%{ENV:X}",
        "there is no request to take it from",
    ),
    (
        "WSGIDispatchScript",
        "\"$\" process-group=site",
        "an option of ours: the script runs in a worker",
    ),
    ("WSGIAccessScript", "\"$\" process-group=site", "likewise"),
    ("WSGIAuthUserScript", "\"$\" process-group=site", "likewise"),
    (
        "WSGIAuthGroupScript",
        "\"$\" process-group=site",
        "likewise",
    ),
    (
        "WSGIDaemonProcess",
        "other threads=many",
        "mod_wsgi takes it for 0",
    ),
    (
        "WSGIDaemonProcess",
        "other group=root",
        "no application runs with root's group",
    ),
    ("WSGIDaemonProcess", "other group=#0", "likewise"),
    ("WSGIPythonOptimize", "3", "mod_wsgi takes any number"),
    ("WSGIPythonOptimize", "x", "mod_wsgi takes it for 0"),
    ("WSGISlowRequests", "slow", "mod_wsgi takes it for 0"),
    (
        "WSGIRestrictProcess",
        "",
        "an empty list would refuse everything",
    ),
    ("WSGITrustedProxyHeaders", "", "nothing is named"),
    (
        "WSGITrustedProxyHeaders",
        "X:Y",
        "no header has such a name",
    ),
    ("WSGITrustedProxies", "", "nothing is named"),
];

/// Every good and every bad value through mod_wsgi, too.
#[test]
fn mod_wsgi_takes_and_refuses_the_same() {
    let Some((venv, module)) = wsgid_tests::peer::peer() else {
        return;
    };
    let _ = venv;
    case(Limit::seconds(240), move || {
        let site = Site::new();
        let taken = |name: &str, value: &str, around: Option<(&str, &str)>| {
            let lines = lines_of(&site, name, value, around);
            Builder::new()
                .peer(module.clone())
                .daemon("site", "threads=5")
                .line(lines)
                .check()
        };
        let mut wrong = Vec::new();
        let mut used = BTreeSet::new();
        let mut compare = |name: &str, value: &str, ours: bool, around: Option<(&str, &str)>| {
            let theirs = taken(name, value, around);
            if theirs.ok != ours {
                let place = around.map_or("the main server", |(open, _)| open);
                match DIFFERENT
                    .iter()
                    .position(|(other, known, _)| *other == name && value == *known)
                {
                    Some(index) => drop(used.insert(index)),
                    None => wrong.push(format!(
                        "`{name} {value}` in {place}: mod_wsgi {}, we {ours}",
                        theirs.ok
                    )),
                }
            }
        };
        for (name, place, good, bad) in ROWS {
            good.iter()
                .for_each(|value| compare(name, value, true, home(*place)));
            bad.iter()
                .for_each(|(value, _)| compare(name, value, false, home(*place)));
            compare(name, good[0], !matches!(place, Global | Auth), Some(HOST));
            compare(
                name,
                good[0],
                matches!(place, Section | FileInfo | Auth),
                Some(SECTIONS[0]),
            );
        }
        let stale = (0..DIFFERENT.len()).filter(|index| !used.contains(index));
        wrong.extend(stale.map(|index| {
            format!(
                "{:?} differs no more: take it off the list",
                DIFFERENT[index]
            )
        }));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

fn check(site: &Site, lines: &str) -> Check {
    let lines = lines.replace('$', &site.file("probe.py").display().to_string());
    Builder::new()
        .daemon("site", "threads=5")
        .line(lines)
        .check()
}

/// The same, where `$1` is the back-reference of a regular expression.
fn check_line(site: &Site, name: &str, value: &str, around: Option<(&str, &str)>) -> Check {
    Builder::new()
        .daemon("site", "threads=5")
        .line(lines_of(site, name, value, around))
        .check()
}

fn lines_of(site: &Site, name: &str, value: &str, around: Option<(&str, &str)>) -> String {
    let value = value
        .replace("$1", "\u{1}")
        .replace('$', &site.file("probe.py").display().to_string());
    let line = format!("{name} {}", value.replace('\u{1}', "$1"));
    around.map_or_else(
        || line.clone(),
        |(open, close)| format!("{open}\n{line}\n{close}"),
    )
}

/// What has to stand around a directive.
fn home(place: Place) -> Option<(&'static str, &'static str)> {
    (place == Auth).then_some(SECTIONS[0])
}

const HOST: (&str, &str) = ("<VirtualHost *>\nServerName www.example", "</VirtualHost>");
const SECTIONS: &[(&str, &str)] = &[
    ("<Directory /srv>", "</Directory>"),
    ("<Location /x>", "</Location>"),
    ("<LocationMatch ^/x>", "</LocationMatch>"),
    ("<Files x.wsgi>", "</Files>"),
    ("<If \"%{REQUEST_URI} == '/x'\">", "</If>"),
    (
        "<VirtualHost *>\nServerName www.example\n<Location /y>",
        "</Location>\n</VirtualHost>",
    ),
];

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
