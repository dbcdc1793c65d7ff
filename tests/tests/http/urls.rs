//! From a URL to its script and its application group.

use wsgid_tests::client::raw;
use wsgid_tests::{Httpd, Json, Limit, Site, case};

use crate::server::{builder, get};

#[test]
fn odd_urls_find_their_scripts_or_nothing() {
    case(Limit::default(), || {
        let site = Site::new();
        let probe = site.file("probe.py");
        let directory = site.path().display();
        site.write("inner/file.txt", "a file\n");
        let httpd = builder(&site)
            // An Alias that stands before wins, and one that stands behind (mod_alias asks first).
            .line(format!("Alias /app/static {directory}/inner"))
            .mount("/app", &probe, "site")
            .line(format!("Alias /app/later {directory}/inner"))
            .line("WSGIProcessGroup site")
            .line(format!("WSGIScriptAlias /folder {directory}/inner"))
            .mount("/closed", &probe, "site")
            .line("<Location /closed>\n  AcceptPathInfo Off\n</Location>")
            .mount("/slashes", &probe, "site")
            .line("AllowEncodedSlashes NoDecode")
            .start();
        let raw = |path: &str| answer(&httpd, path);
        assert_eq!(
            raw("/app/static/file.txt"),
            ("200".to_owned(), "a file\n".to_owned())
        );
        assert_eq!(
            raw("/app/later/file.txt"),
            ("200".to_owned(), "a file\n".to_owned())
        );
        assert_eq!(raw("/app/hello").1, "Hello World!");
        assert_eq!(
            raw("/folder").0,
            "301",
            "mod_dir sends to the directory, whatever it is for"
        );
        assert_eq!(raw("/folder/").0, "403", "a directory is no script");
        assert_eq!(
            raw("/closed").0,
            "404",
            "the probe knows no empty path, and httpd let it through"
        );
        assert_eq!(raw("/closed/hello").0, "404");
        assert_paths_are_told(&httpd);
        for path in [
            "/app/../../../etc/passwd",
            "/app/%2e%2e/%2e%2e/etc/passwd",
            "/slashes/%00",
        ] {
            let (status, body) = raw(path);
            assert!(
                ["400", "403", "404"].contains(&status.as_str()),
                "{path}: {status} {body}"
            );
        }
        httpd.stop();
    });
}

/// Status and body, for a path as it is written.
fn answer(httpd: &Httpd, path: &str) -> (String, String) {
    let text = raw(
        httpd.address(),
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    (
        head.get(9..12).unwrap_or_default().to_owned(),
        body.to_owned(),
    )
}

fn assert_paths_are_told(httpd: &Httpd) {
    let environ = |path: &str| -> Json {
        let (status, body) = answer(httpd, path);
        assert_eq!(status, "200", "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    };
    for (path, script_name, path_info) in [
        ("/app/environ/a%2Fb", "/app", "/environ/a%2Fb"),
        (
            "/app/environ/a%20b%C3%A9",
            "/app",
            "/environ/a b\u{c3}\u{a9}",
        ),
        ("/app/./environ/../environ/x", "/app", "/environ/x"),
        ("/app//environ//x", "/app", "/environ/x"),
        ("//app/environ", "/app", "/environ"),
    ] {
        let told = environ(path);
        assert_eq!(
            (&told["SCRIPT_NAME"], &told["PATH_INFO"]),
            (&script_name.into(), &path_info.into()),
            "{path}"
        );
        assert_eq!(told["REQUEST_URI"], path, "it is as the client wrote it");
    }
}

#[test]
fn urls_find_their_scripts() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write(
            "scripts/one.wsgi",
            &std::fs::read_to_string(site.file("hello.py")).expect("it is there"),
        );
        let directory = site.file("scripts").display().to_string();
        let grant = format!("<Directory {directory}>\n  Require all granted\n</Directory>");
        let probe = site.file("probe.py");
        let httpd = builder(&site)
            .line("WSGIProcessGroup site")
            .line(format!("WSGIScriptAlias /dir/ {directory}/"))
            .line(format!("WSGIScriptAliasMatch ^/match/([a-z]+) {directory}/$1.wsgi"))
            .line(grant)
            .mount("/deep", &probe, "site")
            .line(format!(
                "Alias /files {directory}\n<Directory {directory}>\n  AddHandler wsgi-script .wsgi\n</Directory>"
            ))
            .line(format!("Alias /exec {directory}\n<Location /exec>\n  Options +ExecCGI\n</Location>"))
            .start();
        let status = |path: &str| get(&httpd, path).status;
        assert_eq!(get(&httpd, "/dir/one.wsgi/more").text(), "Hello World!");
        assert_eq!(get(&httpd, "/match/one").text(), "Hello World!");
        assert_eq!(get(&httpd, "/exec/one.wsgi").text(), "Hello World!");
        assert_eq!(status("/files/one.wsgi"), 403, "without ExecCGI");
        assert_eq!(status("/dir/none.wsgi"), 404);
        let environ = get(&httpd, "/deep/environ/x").json();
        assert_eq!(
            (&environ["SCRIPT_NAME"], &environ["PATH_INFO"]),
            (&"/deep".into(), &"/environ/x".into())
        );
        assert_eq!(status("/deeper/environ"), 404, "an alias ends at a slash");
        httpd.stop();
    });
}

#[test]
fn application_groups_are_processes_of_their_own() {
    case(Limit::default(), || {
        let site = Site::new();
        let probe = site.file("probe.py");
        let httpd = builder(&site)
            .mount_with("/one", &probe, "process-group=site application-group=one")
            .mount_with("/two", &probe, "process-group=site application-group=two")
            .mount_with(
                "/also-one",
                &probe,
                "process-group=site application-group=one",
            )
            .start();
        let pid = |at: &str| get(&httpd, &format!("/{at}/info")).json()["pid"].clone();
        assert_eq!(pid("one"), pid("also-one"));
        assert_ne!(pid("one"), pid("two"));
        httpd.stop();
    });
}
