//! Scripts that `.htaccess` names, and those that run where no process group is named.

use std::path::Path;

use wsgid_tests::{Httpd, Limit, Site, case};

use crate::server::{ACCESS, HELLO, basic, group, location, with_auth};

/// A directory, its `.htaccess`, what the server's configuration says of it, and whether
/// the script runs.
const PLACES: &[(&str, &str, &str, bool)] = &[
    (
        "reads-file",
        "BASIC\nWSGIAuthUserScript PASSWORDS process-group=site\nWSGIAuthGroupScript SCRIPT process-group=site\n\
                 Require wsgi-group \"%{file:/etc/passwd}\"",
        "WSGIRestrictProcess site",
        false,
    ),
    ("plain", "WSGIAccessScript SCRIPT", "", false),
    (
        "user",
        "BASIC\nWSGIAuthUserScript SCRIPT\nRequire valid-user",
        "",
        false,
    ),
    (
        "group",
        "BASIC\nWSGIAuthUserScript PASSWORDS process-group=site\nWSGIAuthGroupScript SCRIPT\nRequire wsgi-group staff",
        "WSGIRestrictProcess site",
        false,
    ),
    (
        "named",
        "WSGIAccessScript SCRIPT process-group=site",
        "",
        false,
    ),
    (
        "none",
        "WSGIAccessScript SCRIPT process-group=no",
        "",
        false,
    ),
    (
        "global",
        "WSGIAccessScript SCRIPT process-group=%{GLOBAL}",
        "",
        false,
    ),
    (
        "implicit",
        "WSGIAccessScript SCRIPT process-group=wsgid:default",
        "",
        false,
    ),
    (
        "even-listed",
        "WSGIAccessScript SCRIPT process-group=%{GLOBAL}",
        "WSGIRestrictProcess %{GLOBAL} site",
        false,
    ),
    (
        "variable",
        "SetEnv WHICH %{GLOBAL}\nWSGIAccessScript SCRIPT process-group=%{ENV:WHICH}",
        "WSGIRestrictProcess site %{GLOBAL}",
        false,
    ),
    (
        "in-if",
        "<If \"true\">\nWSGIAccessScript SCRIPT\n</If>",
        "",
        false,
    ),
    (
        "listed",
        "WSGIAccessScript SCRIPT process-group=site",
        "WSGIRestrictProcess site",
        true,
    ),
    (
        "place",
        "WSGIAccessScript SCRIPT",
        "WSGIProcessGroup site",
        true,
    ),
    (
        "shut-place",
        "WSGIAccessScript SCRIPT",
        "WSGIProcessGroup site\nWSGIRestrictProcess other",
        false,
    ),
    (
        "by-variable",
        "WSGIAccessScript SCRIPT",
        "WSGIProcessGroup %{ENV:WHICH}",
        false,
    ),
];

/// `.htaccess` may name a script, as with mod_wsgi; but not one that runs as
/// httpd's user or as another site: only in a group that the server's
/// configuration lists there, or has set for the place.
#[test]
fn a_script_in_htaccess_runs_only_where_the_server_says() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let marks = site.path().join("marks");
        std::fs::create_dir(&marks).expect("a directory can be made");
        std::fs::set_permissions(&marks, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("it is ours");
        let text = marking_script(&marks);
        let script = site.write("answers.py", &text);
        let passwords = site.write(
            "passwords.py",
            "def check_password(environ, user, password):\n    return True\n",
        );
        let builder = with_auth(Httpd::builder())
            .daemon("site", &group(&site))
            .daemon("other", &group(&site));
        let docs = builder.root().join("htdocs");
        let mut builder = builder.load("env").line(format!(
            "<Directory {}>\nAllowOverride AuthConfig FileInfo\n</Directory>",
            docs.display()
        ));
        for (name, lines, server, _) in PLACES {
            let lines = lines
                .replace(
                    "BASIC",
                    "AuthType Basic\nAuthName here\nAuthBasicProvider wsgi",
                )
                .replace("SCRIPT", &script.display().to_string())
                .replace("PASSWORDS", &passwords.display().to_string());
            let directory = docs.join(name);
            std::fs::create_dir(&directory).expect("a directory can be made");
            std::fs::write(directory.join("page.html"), "page").expect("a page can be written");
            std::fs::write(directory.join(".htaccess"), format!("{lines}\n"))
                .expect("a file can be written");
            builder = builder.line(format!(
                "<Directory {}>\n{server}\n</Directory>",
                directory.display()
            ));
        }
        let httpd = builder.start();
        for (name, lines, _, runs) in PLACES {
            let status = basic_status(&httpd, name);
            let marked = marks.join(format!("-{name}-page.html")).exists();
            assert_eq!(
                (status, marked),
                (if *runs { 200 } else { 500 }, *runs),
                "{name}: {lines}"
            );
        }
        let log = httpd.error_log();
        let told = log
            .lines()
            .find(|line| line.contains("plain/.htaccess:1") && line.contains("as httpd's user"));
        assert!(
            told.is_some_and(|line| line.contains("answers.py") && line.contains("process-group=")),
            "{log}"
        );
        httpd.stop();
    });
}

/// A script that answers every question with yes, and leaves a file behind for each place.
fn marking_script(marks: &Path) -> String {
    format!(
        "def mark(environ):\n    open({:?} + environ['SCRIPT_NAME'].replace('/', '-'), 'w').close()\n\
         def allow_access(environ, host):\n    mark(environ)\n    return True\n\
         def check_password(environ, user, password):\n    mark(environ)\n    return True\n\
         def groups_for_user(environ, user):\n    mark(environ)\n    return ['staff']\n",
        format!("{}/", marks.display())
    )
}

fn basic_status(httpd: &Httpd, place: &str) -> u16 {
    basic(httpd, &format!("/{place}/page.html"), "alice", "any").status
}

/// With `WSGIRestrictEmbedded On` no application runs without a group; these
/// scripts do, as with mod_wsgi.
#[test]
fn restrict_embedded_leaves_the_scripts_working() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let app = site.write("hello.py", HELLO);
        let access = site.write("access.py", ACCESS);
        let httpd = with_auth(Httpd::builder())
            .line("WSGIRestrictEmbedded On")
            .daemon("site", &group(&site))
            .mount("/in", &app, "site")
            .mount_with("/out", &app, "")
            .line(location(
                "/in",
                &format!("WSGIAccessScript {}", access.display()),
            ))
            .start();
        assert_eq!(httpd.get("/in?yes").status, 200);
        assert_eq!(httpd.get("/in?no").status, 403);
        assert_eq!(httpd.get("/out").status, 500);
        httpd.stop();
    });
}
