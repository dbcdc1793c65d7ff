//! What `.htaccess` may not choose.

use wsgid_tests::{Httpd, Limit, Site, case};

use crate::server::{WHERE, options, site};

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

/// A directory, its `.htaccess`, what the server's configuration says of it, and the
/// status of a script there.
const PLACES: &[(&str, &str, &str, u16)] = &[
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
        for (name, lines, server, _) in PLACES {
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
        for (name, lines, server, status) in PLACES {
            assert_eq!(
                httpd.get(&format!("/{name}/app.txt")).status,
                *status,
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
