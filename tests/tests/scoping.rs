//! Which process group and application group a request gets: by section, by
//! virtual host, by name; and who may not choose. Application groups are
//! processes of their own.

use std::time::Duration;

use wsgid_tests::{Builder, Httpd, Limit, Python, Request, Response, Site, case, eventually};

/// Says in which groups it runs.
const WHERE: &str = "\
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    names = ('mod_wsgi.process_group', 'mod_wsgi.application_group')
    return ['|'.join([environ[name] for name in names] + [str(os.getpid())]).encode()]
other = application
";

fn options() -> String {
    format!(
        "processes=1 threads=3 python-home={}",
        Python::any().home.display()
    )
}

/// A site with the application, and a server that serves it at `/` without a
/// word about groups.
fn site() -> (Site, Builder) {
    let site = Site::new();
    let app = site.write("where.wsgi", WHERE);
    let builder = Httpd::builder().mount_with("/", &app, "");
    (site, builder)
}

fn get(httpd: &Httpd, path: &str, host: &str) -> Response {
    httpd
        .client()
        .send(&Request::new("GET", path).header("Host", host))
        .expect("an answer")
}

/// Process group and application group of a request.
fn groups(httpd: &Httpd, path: &str, host: &str) -> (String, String) {
    let response = get(httpd, path, host);
    assert_eq!(response.status, 200, "{host}{path}: {}", response.text());
    let text = response.text();
    let mut parts = text.split('|').map(str::to_owned);
    let process = parts.next().unwrap_or_default();
    let rest: Vec<String> = parts.collect();
    (process, rest[..rest.len() - 1].join("|"))
}

fn pid(httpd: &Httpd, path: &str) -> String {
    httpd
        .get(path)
        .text()
        .rsplit('|')
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn the_innermost_section_decides() {
    case(Limit::default(), || {
        let (site, builder) = site();
        let directory = site.path().display();
        site.write("sub/inner.wsgi", WHERE);
        let names = ["server", "directory", "sub", "files", "location", "if"];
        let builder = names
            .into_iter()
            .fold(builder, |builder, name| builder.daemon(name, &options()));
        let httpd = builder
            .line("WSGIApplicationGroup %{GLOBAL}\nWSGIProcessGroup server")
            .line(format!("WSGIScriptAlias /sub {directory}/sub/inner.wsgi"))
            .line(format!("<Directory {directory}/sub>\nWSGIProcessGroup sub\n</Directory>"))
            .line("<Location /l>\nWSGIProcessGroup location\n</Location>")
            .line("<If \"%{QUERY_STRING} == 'if'\">\nWSGIProcessGroup if\n</If>")
            .line(format!("WSGIScriptAlias /f {directory}/files.wsgi"))
            .line(format!(
                "<Directory {directory}>\nWSGIProcessGroup directory\n<Files files.wsgi>\nWSGIProcessGroup files\n</Files>\n\
                 </Directory>"
            ));
        site.write("files.wsgi", WHERE);
        // The first alias that matches counts, and `/` matches everything.
        let httpd = httpd.start();
        let host = "localhost";
        assert_eq!(groups(&httpd, "/x", host).0, "directory");
        assert_eq!(groups(&httpd, "/l/x", host).0, "location");
        assert_eq!(groups(&httpd, "/x?if", host).0, "if");
        assert_eq!(groups(&httpd, "/l?if", host).0, "if");
        httpd.stop();
    });
}

#[test]
fn directories_and_files_decide_by_script() {
    case(Limit::default(), || {
        let site = Site::new();
        let directory = site.path().display();
        for name in ["sub/inner.wsgi", "files.wsgi", "plain.wsgi"] {
            site.write(name, WHERE);
        }
        let names = ["server", "sub", "files"];
        let builder = names.into_iter().fold(Httpd::builder(), |builder, name| {
            builder.daemon(name, &options())
        });
        let httpd = builder
            .line("WSGIApplicationGroup %{GLOBAL}\nWSGIProcessGroup server")
            .line(format!(
                "WSGIScriptAlias /sub {directory}/sub/inner.wsgi\nWSGIScriptAlias /w/ {directory}/"
            ))
            .line(format!(
                "<Directory {directory}>\nRequire all granted\n\
                 <Files files.wsgi>\nWSGIProcessGroup files\n</Files>\n</Directory>\n\
                 <Directory {directory}/sub>\nWSGIProcessGroup sub\n</Directory>"
            ))
            .start();
        for (path, group) in [
            ("/sub", "sub"),
            ("/w/files.wsgi/x", "files"),
            ("/w/plain.wsgi", "server"),
        ] {
            assert_eq!(groups(&httpd, path, "localhost").0, group, "{path}");
        }
        httpd.stop();
    });
}

/// Two virtual hosts on two ports and a third with another name.
fn virtual_hosts(site: &Site, own: &str, foreign: &str) -> (Builder, u16) {
    let mut builder = Httpd::builder();
    let tls = builder.another_port();
    let app = site.write("where.wsgi", WHERE);
    let app = app.display();
    let directory = site.path().display();
    let host = |address: &str, name: &str, lines: &str| {
        format!(
            "<VirtualHost {address}>\nServerName {name}\nWSGIScriptAlias / {app}\n{lines}\n</VirtualHost>"
        )
    };
    let builder = builder
        .line(format!("<Directory {directory}>\nRequire all granted\n</Directory>\nWSGIApplicationGroup %{{GLOBAL}}"))
        .daemon("everybody", &options())
        .line(host("*", "own.example", &format!("WSGIDaemonProcess hosted {}\n{own}", options())))
        .line(host(&format!("*:{tls}"), "OWN.example", own))
        .line(host("*", "foreign.example", foreign));
    (builder, tls)
}

#[test]
fn a_group_of_a_virtual_host_is_for_its_name_on_every_port() {
    case(Limit::default(), || {
        let site = Site::new();
        let (builder, tls) =
            virtual_hosts(&site, "WSGIProcessGroup hosted", "WSGIProcessGroup hosted");
        let httpd = builder.start();
        assert_eq!(groups(&httpd, "/", "own.example").0, "hosted");
        let mut other = wsgid_tests::Client::new(([127, 0, 0, 1], tls).into());
        let answer = other
            .send(&Request::new("GET", "/").header("Host", "own.example"))
            .expect("an answer");
        assert!(answer.text().starts_with("hosted|"), "{}", answer.text());
        assert_eq!(get(&httpd, "/", "foreign.example").status, 500);
        httpd.wait_for_log("belongs to another virtual host", Duration::from_secs(5));
        httpd.stop();
    });
}

#[test]
fn a_group_of_the_main_server_is_for_all() {
    case(Limit::default(), || {
        let site = Site::new();
        let (builder, _) = virtual_hosts(
            &site,
            "WSGIProcessGroup hosted",
            "WSGIProcessGroup everybody",
        );
        let httpd = builder.start();
        assert_eq!(groups(&httpd, "/", "foreign.example").0, "everybody");
        assert_eq!(groups(&httpd, "/", "own.example").0, "hosted");
        httpd.stop();
    });
}

#[test]
fn an_alias_to_a_foreign_group_is_refused_at_configuration() {
    case(Limit::default(), || {
        let site = Site::new();
        let alias = format!(
            "WSGIScriptAlias /x {} process-group=hosted application-group=%{{GLOBAL}}",
            site.file("where.wsgi").display()
        );
        let (builder, _) = virtual_hosts(&site, "", &alias);
        let check = builder.check();
        assert!(!check.ok);
        assert!(
            check
                .text
                .contains("process group `hosted` of another virtual host"),
            "{}",
            check.text
        );
        assert!(check.text.contains("httpd.conf:"), "{}", check.text);
    });
}

#[test]
fn groups_that_nobody_defined_are_named_at_configuration() {
    case(Limit::default(), || {
        let (_site, builder) = site();
        let check = builder.line("WSGIProcessGroup missing").check();
        assert!(
            !check.ok && check.text.contains("WSGIProcessGroup `missing`"),
            "{}",
            check.text
        );
        let (site, builder) = self::site();
        let script = site.file("where.wsgi");
        let (script, directory) = (script.display(), site.path().display());
        drop(builder);
        for line in [
            format!("WSGIScriptAlias /x {script} process-group=missing application-group=a"),
            format!("WSGIScriptAlias /x {script} process-group=missing"),
            format!("WSGIScriptAlias /x/ {directory}/ process-group=missing"),
            format!("WSGIScriptAliasMatch ^/x/(.*) {directory}/$1 process-group=missing"),
            format!("WSGIHandlerScript any {script} process-group=missing"),
        ] {
            let check = Httpd::builder().line(&line).check();
            let named = check
                .text
                .contains("process group `missing` is not defined")
                && check.text.contains("httpd.conf:");
            assert!(!check.ok && named, "{line}: {}", check.text);
        }
    });
}

/// certbot copies a whole virtual host, WSGIDaemonProcess and all.
#[test]
fn a_copied_virtual_host_shares_its_group() {
    case(Limit::default(), || {
        let site = Site::new();
        let app = site.write("where.wsgi", WHERE);
        let copy = |options: &str, address: &str| {
            format!(
                "<VirtualHost {address}>\nServerName www.example\nWSGIDaemonProcess copied {options}\n\
                 WSGIProcessGroup copied\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIScriptAlias / {}\n\
                 <Directory {}>\nRequire all granted\n</Directory>\n</VirtualHost>",
                app.display(),
                site.path().display()
            )
        };
        let mut builder = Httpd::builder();
        let tls = builder.another_port();
        let httpd = builder
            .line(copy(&options(), "*"))
            .line(copy(&options(), &format!("*:{tls}")))
            .start();
        let first = get(&httpd, "/", "www.example").text();
        let mut other = wsgid_tests::Client::new(([127, 0, 0, 1], tls).into());
        let second = other
            .send(&Request::new("GET", "/").header("Host", "www.example"))
            .expect("an answer")
            .text();
        assert_eq!(first, second, "one process serves both");
        httpd.wait_for_log(
            "is defined a second time with the same options",
            Duration::from_secs(5),
        );
        httpd.stop();

        let mut builder = Httpd::builder();
        let tls = builder.another_port();
        let changed = options().replace("threads=3", "threads=4");
        let check = builder
            .line(copy(&options(), "*"))
            .line(copy(&changed, &format!("*:{tls}")))
            .check();
        assert!(
            !check.ok && check.text.contains("with other options"),
            "{}",
            check.text
        );
    });
}

#[test]
fn names_are_made_from_the_request() {
    case(Limit::default(), || {
        let (_site, builder) = site();
        let httpd = builder
            .daemon("site", &options())
            .line("WSGIProcessGroup site")
            .line("<Location /server>\nWSGIApplicationGroup %{SERVER}\n</Location>")
            .line("<Location /host>\nWSGIApplicationGroup %{HOST}\n</Location>")
            .line("<Location /global>\nWSGIApplicationGroup %{GLOBAL}\n</Location>")
            .line("<Location /env>\nSetEnvIf Request_URI .* GROUP_OF=chosen\nWSGIApplicationGroup %{ENV:GROUP_OF}\n</Location>")
            .line("<Location /fixed>\nWSGIApplicationGroup fixed\n</Location>")
            .line("<Location /unset>\nWSGICallableObject %{ENV:NOBODY_SETS_THIS}\nWSGIApplicationGroup unset\n</Location>")
            .start();
        let port = httpd.address().port();
        let host = format!("asked.example:{port}");
        for (path, expected) in [
            ("/server", format!("localhost:{port}")),
            ("/host", format!("asked.example:{port}")),
            ("/global", String::new()),
            ("/env", "chosen".to_owned()),
            ("/fixed", "fixed".to_owned()),
            ("/unset", "unset".to_owned()),
            ("/resource", format!("localhost:{port}|")),
        ] {
            assert_eq!(
                groups(&httpd, path, &host),
                ("site".to_owned(), expected),
                "{path}"
            );
        }
        httpd.stop();
    });
}

/// A variable may name a process group; which ones, WSGIRestrictProcess says,
/// and `.htaccess` has no word in that.
#[test]
fn a_variable_chooses_only_what_is_listed() {
    case(Limit::default(), || {
        let (site, builder) = site();
        let directory = site.path().display();
        site.write(".htaccess", "SetEnvIf X-Group (.*) GROUP=$1\n");
        let httpd = builder
            .daemon("one", &options())
            .daemon("two", &options())
            .daemon("secret", &options())
            .line("WSGIApplicationGroup %{GLOBAL}")
            .line(format!(
                "<Directory {directory}>\nAllowOverride FileInfo\nWSGIProcessGroup %{{ENV:GROUP}}\n\
                 WSGIRestrictProcess one two\n</Directory>"
            ))
            .start();
        let ask = |group: &str| {
            httpd
                .client()
                .send(&Request::new("GET", "/").header("X-Group", group))
                .expect("an answer")
        };
        for group in ["one", "two"] {
            assert!(
                ask(group).text().starts_with(&format!("{group}|")),
                "{group}"
            );
        }
        for group in ["secret", "missing", "%{GLOBAL}", "wsgid:default", ""] {
            assert_eq!(ask(group).status, 500, "{group}");
        }
        httpd.wait_for_log(
            "WSGIRestrictProcess does not list `secret`",
            Duration::from_secs(5),
        );
        assert!(!httpd.error_log().contains("WSGID0011"));
        httpd.stop();
    });
}

#[test]
fn a_variable_without_a_list_is_warned_about() {
    case(Limit::default(), || {
        let (_site, builder) = site();
        let check = builder
            .daemon("one", &options())
            .line("WSGIProcessGroup %{ENV:GROUP}")
            .check();
        assert!(check.ok, "{}", check.text);
        assert!(
            check.text.contains("without WSGIRestrictProcess"),
            "{}",
            check.text
        );
    });
}

/// What decides about groups does not belong into `.htaccess`.
#[test]
fn htaccess_does_not_choose_groups() {
    case(Limit::default(), || {
        for line in [
            "WSGIProcessGroup secret",
            "WSGIApplicationGroup other",
            "WSGIRestrictProcess secret",
            "WSGIDaemonProcess mine",
            "WSGIScriptAlias /x /tmp/x",
            "WSGIDispatchScript /tmp/x",
            "WSGIHandlerScript x /tmp/x",
        ] {
            let (site, builder) = site();
            site.write(".htaccess", &format!("{line}\n"));
            let httpd = builder
                .daemon("secret", &options())
                .line(format!(
                    "<Directory {}>\nAllowOverride All\n</Directory>",
                    site.path().display()
                ))
                .start();
            assert_eq!(httpd.get("/").status, 500, "{line}");
            assert!(httpd.error_log().contains("not allowed here"), "{line}");
            httpd.stop();
        }
    });
}

#[test]
fn application_groups_are_processes_of_their_own() {
    case(Limit::default(), || {
        let site = Site::new();
        for name in ["a.wsgi", "b.wsgi"] {
            site.write(name, WHERE);
        }
        let directory = site.path().display();
        let httpd = Httpd::builder()
            .daemon("site", &options())
            .line(format!(
                "WSGIProcessGroup site\nWSGIScriptAlias /a {directory}/a.wsgi\nWSGIScriptAlias /b {directory}/b.wsgi\n\
                 WSGIScriptAlias /own {directory}/a.wsgi\n<Directory {directory}>\nRequire all granted\n</Directory>\n\
                 WSGIApplicationGroup %{{GLOBAL}}\n<Location /own>\nWSGIApplicationGroup own\n</Location>"
            ))
            .start();
        assert_eq!(
            pid(&httpd, "/a"),
            pid(&httpd, "/b"),
            "one application group is one set of processes"
        );
        assert_ne!(
            pid(&httpd, "/a"),
            pid(&httpd, "/own"),
            "another one has its own"
        );
        // What changes in one script moves its own application group.
        let (own, before) = (pid(&httpd, "/own"), pid(&httpd, "/b"));
        site.write("b.wsgi", &format!("{WHERE}\n# changed\n"));
        eventually(
            "a new process for the changed script",
            Duration::from_secs(20),
            || (pid(&httpd, "/b") != before).then_some(()),
        );
        assert_eq!(pid(&httpd, "/own"), own);
        httpd.stop();
    });
}

/// A script runs as httpd's user where no group is set: which file is a script
/// there, the server's configuration says, never `.htaccess`.
#[test]
fn htaccess_makes_no_script_of_the_implicit_group() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let mut builder = Httpd::builder()
            .load("mime")
            .load("rewrite")
            .load("env")
            .daemon("site", &options());
        let docs = builder.root().join("htdocs");
        let places = [
            ("set", "SetHandler wsgi-script", "", 500),
            ("old", "SetHandler application/x-httpd-wsgi", "", 500),
            ("add", "AddHandler wsgi-script .txt", "", 500),
            ("type", "AddType application/x-httpd-wsgi .txt", "", 500),
            ("force", "ForceType application/x-httpd-wsgi", "", 500),
            (
                "rule",
                "RewriteEngine On\nRewriteRule .* - [H=wsgi-script]",
                "",
                500,
            ),
            (
                "files",
                "<Files app.txt>\nSetHandler wsgi-script\n</Files>",
                "",
                500,
            ),
            (
                "if",
                "<If \"true\">\nSetHandler wsgi-script\n</If>",
                "",
                500,
            ),
            (
                "expression",
                "SetHandler \"wsgi-%{tolower:SCRIPT}\"",
                "",
                500,
            ),
            (
                "group",
                "SetHandler wsgi-script",
                "WSGIProcessGroup site",
                200,
            ),
            ("server", "SetEnv A b", "SetHandler wsgi-script", 200),
            (
                "extension",
                "SetEnv A b",
                "AddHandler wsgi-script .txt",
                200,
            ),
            (
                "execcgi",
                "Options +ExecCGI",
                "Options -ExecCGI\nAddHandler wsgi-script .txt",
                500,
            ),
            (
                "all",
                "Options All",
                "Options -ExecCGI\nSetHandler wsgi-script",
                500,
            ),
            (
                "again",
                "Options +ExecCGI",
                "AddHandler wsgi-script .txt",
                200,
            ),
            (
                "variable",
                "SetEnv WHICH %{GLOBAL}",
                "AddHandler wsgi-script .txt\nWSGIProcessGroup %{ENV:WHICH}",
                500,
            ),
        ];
        for (name, lines, server, _) in places {
            let directory = docs.join(name);
            std::fs::create_dir(&directory).expect("a directory can be made");
            std::fs::write(directory.join("app.txt"), WHERE).expect("a script can be written");
            std::fs::write(directory.join(".htaccess"), format!("{lines}\n"))
                .expect("a file can be written");
            builder = builder.line(format!(
                "<Directory {}>\nAllowOverride FileInfo Options\nOptions +ExecCGI\nWSGIApplicationGroup %{{GLOBAL}}\n\
                 {server}\n</Directory>",
                directory.display()
            ));
        }
        let httpd = builder.start();
        for (name, lines, server, status) in places {
            assert_eq!(
                httpd.get(&format!("/{name}/app.txt")).status,
                status,
                "{name}: {lines}; {server}"
            );
        }
        let log = httpd.error_log();
        assert!(
            log.lines()
                .any(|line| line.contains("WSGID0065") && line.contains("set/.htaccess:1")),
            "{log}"
        );
        drop(site);
        httpd.stop();
    });
}
