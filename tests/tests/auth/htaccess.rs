//! Scripts that `.htaccess` names, and those that run where no process group is named.

use std::path::Path;

use wsgid_tests::{Httpd, Limit, Site, case};

use crate::server::{ACCESS, HELLO, basic, group, location, with_auth};

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
        let script = script.display();
        let basic = "AuthType Basic\nAuthName here\nAuthBasicProvider wsgi\n";
        let asks_user = format!("{basic}WSGIAuthUserScript {script}\nRequire valid-user");
        let asks_group = format!(
            "{basic}WSGIAuthUserScript {} process-group=site\nWSGIAuthGroupScript {script}\nRequire wsgi-group staff",
            passwords.display()
        );
        let reads_file = format!(
            "{basic}WSGIAuthUserScript {} process-group=site\nWSGIAuthGroupScript {script} process-group=site\n\
             Require wsgi-group \"%{{file:/etc/passwd}}\"",
            passwords.display()
        );
        let places = [
            ("reads-file", reads_file, "WSGIRestrictProcess site", false),
            ("plain", format!("WSGIAccessScript {script}"), "", false),
            ("user", asks_user, "", false),
            ("group", asks_group, "WSGIRestrictProcess site", false),
            (
                "named",
                format!("WSGIAccessScript {script} process-group=site"),
                "",
                false,
            ),
            (
                "none",
                format!("WSGIAccessScript {script} process-group=no"),
                "",
                false,
            ),
            (
                "global",
                format!("WSGIAccessScript {script} process-group=%{{GLOBAL}}"),
                "",
                false,
            ),
            (
                "implicit",
                format!("WSGIAccessScript {script} process-group=wsgid:default"),
                "",
                false,
            ),
            (
                "even-listed",
                format!("WSGIAccessScript {script} process-group=%{{GLOBAL}}"),
                "WSGIRestrictProcess %{GLOBAL} site",
                false,
            ),
            (
                "variable",
                format!(
                    "SetEnv WHICH %{{GLOBAL}}\nWSGIAccessScript {script} process-group=%{{ENV:WHICH}}"
                ),
                "WSGIRestrictProcess site %{GLOBAL}",
                false,
            ),
            (
                "in-if",
                format!("<If \"true\">\nWSGIAccessScript {script}\n</If>"),
                "",
                false,
            ),
            (
                "listed",
                format!("WSGIAccessScript {script} process-group=site"),
                "WSGIRestrictProcess site",
                true,
            ),
            (
                "place",
                format!("WSGIAccessScript {script}"),
                "WSGIProcessGroup site",
                true,
            ),
            (
                "shut-place",
                format!("WSGIAccessScript {script}"),
                "WSGIProcessGroup site\nWSGIRestrictProcess other",
                false,
            ),
            (
                "by-variable",
                format!("WSGIAccessScript {script}"),
                "WSGIProcessGroup %{ENV:WHICH}",
                false,
            ),
        ];
        let mut builder = builder.load("env").line(format!(
            "<Directory {}>\nAllowOverride AuthConfig FileInfo\n</Directory>",
            docs.display()
        ));
        for (name, lines, server, _) in &places {
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
        for (name, lines, _, runs) in &places {
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
