//! The flags and variables that files of `--include-file` may use are those of
//! mod_wsgi-express: asked of httpd itself, and compared with the real one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use wsgid_tests::httpd::free_port;
use wsgid_tests::peer::peer;
use wsgid_tests::{Limit, Site, case, note, users};

use crate::server::{outcome, set_up};

const FILE: &str = "/etc/passwd";

/// Command lines that define every flag of mod_wsgi-express that there is.
#[rustfmt::skip]
const LINES: &[&[&str]] = &[
    &[],
    &["--access-log", "--error-log-format", "%M", "--keep-alive-timeout", "0"],
    &["--server-name", "www.example.com", "--server-alias", "a.example", "--allow-localhost"],
    &["--server-name", "example.com", "--rotate-logs", "--rotatelogs-executable", "/bin/true"],
    &["--rotate-logs", "--log-to-terminal", "--server-metrics"],
    &["--auth-user-script", FILE, "--auth-group-script", FILE, "--host-access-script", FILE],
    &["--chunked-request", "--compress-responses", "--enable-sendfile", "--error-override"],
    &["--directory-index", "a.html", "--directory-listing", "--with-cgi", "--disable-reloading"],
    &["--https-port", "8443", "--ssl-certificate-file", FILE, "--ssl-certificate-key-file", FILE,
      "--ssl-certificate-chain-file", FILE, "--ssl-ca-certificate-file", FILE, "--ssl-environment",
      "--https-only", "--hsts-policy", "max-age=5"],
    &["--https-port", "8443"],
    &["--processes", "1", "--switch-interval", "0.01", "--server-status", "--orphan-interpreter"],
    &["--server-mpm", "prefork"],
    &["--server-mpm", "worker", "--server-mpm", "prefork"],
    &["--telemetry-service", "unix:/run/t", "--slow-requests", "2", "--telemetry-options", "+CaptureUserAgent"],
    &["--http2", "--socket-prefix", "/run/x", "--python-path", "/usr"],
    &["--proxy-mount-point", "/p", "http://127.0.0.1:9/"],
    &["--proxy-virtual-host", "a.example", "http://127.0.0.1:9"],
    &["--trust-proxy-header", "X-Forwarded-For", "--trust-proxy", "127.0.0.1"],
    &["--application-type", "static"],
    &["--enable-debugger", "--enable-coverage"],
    &["--with-php5"],
];

/// Flags of theirs that would not be true here.
const THEIRS_ALONE: &[&str] = &[
    // httpd is never one process.
    "ONE_PROCESS",
    // PHP 5 has ended.
    "MOD_WSGI_WITH_PHP5",
];

/// The flags and variables of a configuration, in httpd's own words.
fn defined(control: &mut Command) -> BTreeSet<String> {
    let output = control
        .args(["-t", "-D", "DUMP_RUN_CFG"])
        .stdin(Stdio::null())
        .output()
        .expect("apachectl can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Define: "));
    let lines = lines.filter(|line| *line != "DUMP_RUN_CFG");
    lines.map(str::to_owned).collect()
}

/// What a script passes to httpd, and the variables that it exports.
fn theirs(control: &Path) -> (BTreeSet<String>, BTreeSet<String>) {
    let text = fs::read_to_string(control).expect("setup-server writes it");
    let arguments = text
        .lines()
        .find_map(|line| line.strip_prefix("HTTPD_ARGS="));
    let words = arguments.unwrap_or_default().trim_matches('"').split(' ');
    let flags = words.filter_map(|word| word.strip_prefix("-D"));
    let exported = text.lines().filter_map(|line| line.strip_prefix("export "));
    let exported = exported.filter(|name| name.starts_with("MOD_WSGI_"));
    (
        flags.map(str::to_owned).collect(),
        exported.map(str::to_owned).collect(),
    )
}

#[test]
fn flags_and_variables_are_those_of_mod_wsgi_express() {
    case(Limit::seconds(300), || {
        let Some((venv, _)) = peer() else { return };
        let site = Site::new();
        let user = users::of_httpd();
        let mut seen = BTreeSet::new();
        for (at, line) in LINES.iter().enumerate() {
            let is_static = line.contains(&"static");
            let script = if is_static {
                site.path().to_owned()
            } else {
                site.file("hello.py")
            };
            let root = site.file(&format!("theirs{at}"));
            let mut express = Command::new(venv.join("bin/mod_wsgi-express"));
            express
                .arg("setup-server")
                .arg(&script)
                .arg("--server-root")
                .arg(&root);
            express.args(["--host", "127.0.0.1", "--port", &free_port().to_string()]);
            if users::is_root() {
                express.args(["--user", &user.name, "--group", &user.group]);
            }
            outcome(express.args(*line)).unwrap_or_else(|text| panic!("{text}"));
            let (flags, variables) = theirs(&root.join("apachectl"));
            let root = site.file(&format!("ours{at}"));
            set_up(&script, &root, free_port(), line).unwrap_or_else(|text| panic!("{text}"));
            let ours = defined(&mut Command::new(root.join("apachectl")));
            let is_variable = |name: &&String| name.contains('=');
            let names = ours.iter().filter(is_variable);
            let names: BTreeSet<&str> = names
                .filter_map(|name| Some(name.split_once('=')?.0))
                .collect();
            for name in &variables {
                assert!(names.contains(name.as_str()), "{name} is not in {names:?}");
            }
            let ours: BTreeSet<&str> = ours
                .iter()
                .filter(|name| !is_variable(name))
                .map(String::as_str)
                .collect();
            let wanted: BTreeSet<&str> = flags
                .iter()
                .map(String::as_str)
                .filter(|name| !THEIRS_ALONE.contains(name))
                // Without an application there is no handler script.
                .filter(|name| !is_static || *name != "MOD_WSGI_IMPORT_HANDLER_SCRIPT")
                .collect();
            assert_eq!(ours, wanted, "{line:?}");
            seen.extend(flags);
        }
        note(&format!("{} flags were compared", seen.len()));
        assert!(seen.len() >= 50, "only {seen:?}");
    });
}

/// A file as people have them beside mod_wsgi-express.
const INCLUDED: &str = "\
<IfModule !substitute_module>
    LoadModule substitute_module ${MOD_WSGI_MODULES_DIRECTORY}/mod_substitute.so
</IfModule>
<IfDefine MOD_WSGI_KEEP_ALIVE>
    MaxKeepAliveRequests 7
</IfDefine>
<IfDefine !MOD_WSGI_KEEP_ALIVE>
    NoSuchDirective
</IfDefine>
Define SEEN ${MOD_WSGI_SERVER_ROOT}:${MOD_WSGI_WORKING_DIRECTORY}:${MOD_WSGI_LISTENER_HOST}:${MOD_WSGI_HTTP_PORT}:${MOD_WSGI_HTTPS_PORT}:${MOD_WSGI_RUN_USER}:${MOD_WSGI_RUN_GROUP}:${MOD_WSGI_USER}:${MOD_WSGI_GROUP}
";

#[test]
fn included_files_may_use_them() {
    case(Limit::default(), || {
        let site = Site::new();
        let (root, port) = (site.file("root"), free_port());
        let included = site.write("more.conf", INCLUDED);
        let directory = site.path().display().to_string();
        let included = included.display().to_string();
        let more = [
            "--include-file",
            &included,
            "--working-directory",
            &directory,
        ];
        set_up(&site.file("hello.py"), &root, port, &more).unwrap_or_else(|text| panic!("{text}"));
        // An `envvars` script may use the variables too.
        let said = site.file("said");
        let line = format!(
            "echo \"$MOD_WSGI_USER $MOD_WSGI_SERVER_ROOT\" >'{}'\n",
            said.display()
        );
        fs::write(root.join("envvars"), line).expect("the root is ours");
        let ours = defined(&mut Command::new(root.join("apachectl")));
        let seen = ours.iter().find_map(|name| name.strip_prefix("SEEN="));
        let user = users::of_httpd();
        let account = if users::is_root() {
            format!("{}:{}", user.name, user.group)
        } else {
            // Whoever runs this; the names are those of `id`.
            let id = |option| {
                Command::new("id")
                    .arg(option)
                    .output()
                    .expect("it can be run")
                    .stdout
            };
            let [name, group] =
                ["-un", "-gn"].map(|option| String::from_utf8_lossy(&id(option)).trim().to_owned());
            format!("{name}:{group}")
        };
        let root = root.display();
        let wanted = format!("{root}:{directory}:127.0.0.1:{port}:None:{account}:{account}");
        assert_eq!(seen, Some(wanted.as_str()));
        let name = account.split(':').next().unwrap_or_default();
        let said = fs::read_to_string(said).expect("envvars was read");
        assert_eq!(said.trim(), format!("{name} {root}"));
    });
}

#[test]
fn other_options_reach_httpd() {
    case(Limit::default(), || {
        let site = Site::new();
        let root = site.file("root");
        let path = site.path().display().to_string();
        set_up(
            &site.file("hello.py"),
            &root,
            free_port(),
            &["--python-path", &path],
        )
        .unwrap_or_else(|text| panic!("{text}"));
        let rows: &[(&[&str], &str)] = &[
            (&["-v"], "Server version: Apache/2"),
            (&["-V"], "Server MPM:"),
            (&["-l"], "core.c"),
            (&["-L"], "<Directory"),
            (&["-M"], "wsgi_module (shared)"),
            (&["-S"], "ServerRoot:"),
            (&["-t"], "Syntax OK"),
            (&["-t", "-D", "DUMP_VHOSTS"], "VirtualHost configuration:"),
            (&["-tDDUMP_MODULES"], "wsgi_module (shared)"),
        ];
        for (arguments, wanted) in rows {
            let output = Command::new(root.join("apachectl"))
                .args(*arguments)
                .stdin(Stdio::null())
                .output()
                .expect("it can be run");
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            assert!(
                output.status.success() && text.contains(wanted),
                "{arguments:?}: {text}"
            );
        }
        let unknown = Command::new(root.join("apachectl"))
            .arg("fullstatus")
            .output();
        assert_eq!(unknown.expect("it can be run").status.code(), Some(2));
    });
}
