//! Which process group and application group a request gets: by section, by
//! virtual host, by name; and who may not choose. Application groups are
//! processes of their own.

mod hosts;
mod htaccess;
mod server;

use std::time::Duration;

use wsgid_tests::{Httpd, Limit, Request, Site, case, eventually};

use crate::server::{WHERE, groups, options, pid, site};

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
        assert!(!httpd.error_log().contains("WSGID0016"));
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
        let own = pid(&httpd, "/own");
        let before = pid(&httpd, "/b");
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
