//! The kinds of applications, and where they are mounted.

use std::fs;
use std::time::Duration;

use wsgid_tests::{Express, Limit, Python, Site, case, eventually};

#[test]
fn a_module_is_imported_from_the_working_directory() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("shop/__init__.py", "");
        site.write("shop/names.py", "GREETING = b'from a module'\n");
        site.write(
            "shop/web.py",
            "from shop.names import GREETING\n\
             class Site:\n\
             \x20   @staticmethod\n\
             \x20   def serve(environ, start_response):\n\
             \x20       start_response('200 OK', [('Content-Type', 'text/plain')])\n\
             \x20       return [GREETING]\n",
        );
        let mut server = Express::new()
            .args(&["--application-type", "module", "--entry-point", "shop.web"])
            .args(&["--callable-object", "Site.serve", "--working-directory"])
            .path(site.path())
            .start();
        assert_eq!(server.get("/").text(), "from a module");
        server.stop();
    });
}

#[test]
fn a_paste_file_names_the_application() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        let venv = Python::any().venv(&["pastedeploy", "setuptools<81"]);
        let file = site.write(
            "site.ini",
            "[app:main]\npaste.app_factory = pasted:make\nword = deployed\n",
        );
        site.write(
            "pasted.py",
            "def make(global_config, word):\n\
             \x20   def application(environ, start_response):\n\
             \x20       start_response('200 OK', [('Content-Type', 'text/plain')])\n\
             \x20       return [word.encode()]\n\
             \x20   return application\n",
        );
        let mut server = Express::new()
            .args(&["--application-type", "paste"])
            .path(&file)
            .args(&["--python-home"])
            .path(&venv)
            .args(&["--python-path"])
            .path(site.path())
            .start();
        assert_eq!(server.get("/").text(), "deployed");
        server.stop();
    });
}

#[test]
fn a_mount_point_is_the_script_name() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.write("environ_path.py", ENVIRON_PATH);
        let mut server = Express::new()
            .path(&script)
            .args(&["--mount-point", "/sub/x.y"])
            .start();
        for (path, script, info) in [
            ("/sub/x.y/a%20b/c", "/sub/x.y", "/a b/c"),
            ("/sub/x.y", "/sub/x.y", ""),
        ] {
            let got = server.get(path).json();
            assert_eq!(
                (got["script"].as_str(), got["path"].as_str()),
                (Some(script), Some(info)),
                "{path}"
            );
        }
        for path in ["/", "/sub", "/sub/xzy", "/sub/x.yz"] {
            assert_eq!(server.get(path).status, 404, "{path}");
        }
        server.stop();
    });
}

const ENVIRON_PATH: &str = "import json\n\
    def application(environ, start_response):\n\
    \x20   start_response('200 OK', [('Content-Type', 'application/json')])\n\
    \x20   return [json.dumps({'script': environ['SCRIPT_NAME'], 'path': environ['PATH_INFO']}).encode()]\n";

#[test]
fn without_an_application_there_are_files_with_their_types() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("www/index.html", "<p>front</p>");
        site.write("www/style.css", "p {}");
        site.write("www/sub/data.json", "{}");
        let mut server = Express::new()
            .args(&[
                "--application-type",
                "static",
                "--directory-listing",
                "--document-root",
            ])
            .path(&site.file("www"))
            .start();
        for (path, kind) in [
            ("/", "text/html"),
            ("/style.css", "text/css"),
            ("/sub/data.json", "application/json"),
        ] {
            let got = server.get(path);
            assert_eq!(
                (got.status, got.header("Content-Type")),
                (200, Some(kind)),
                "{path}"
            );
        }
        assert!(
            server.get("/sub/").text().contains("data.json"),
            "a listing"
        );
        assert_eq!(server.get("/none").status, 404);
        server.stop();
    });
}

#[test]
fn a_changed_script_is_loaded_again() {
    case(Limit::default(), || {
        let site = Site::new();
        let script = site.file("changing.py");
        let text = |word: &str| {
            format!(
                "def application(e, s):\n    s('200 OK', [('Content-Type', 'text/plain')])\n    return [b'{word}']\n"
            )
        };
        site.write("changing.py", &text("one"));
        let mut server = Express::new().path(&script).start();
        assert_eq!(server.get("/").text(), "one");
        fs::write(&script, text("two, longer")).expect("a script can be written");
        wsgid_tests::eventually("the new code", std::time::Duration::from_secs(20), || {
            (server.get("/").text() == "two, longer").then_some(())
        });
        server.stop();
    });
}

const APPLICATION: &str = "def app(environ, start_response):\n\
    \x20   start_response('200 OK', [('Content-Type', 'text/plain')])\n\
    \x20   return [b'from app']\n";

#[test]
fn an_entry_point_may_be_written_as_for_other_servers() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        site.write("mysite/__init__.py", "");
        let application = APPLICATION.replace("def app(", "def application(");
        site.write("mysite/wsgi.py", &(application + "app = application\n"));
        let script = site.write("app.py", APPLICATION).display().to_string();
        let with_script = format!("{script}:app");
        let rows: &[&[&str]] = &[
            &["app:app"],
            &["mysite.wsgi:app"],
            &["mysite.wsgi"],
            &["--entry-point", "mysite.wsgi:application"],
            &["--application-type", "module", "app:app"],
            &[&with_script],
            &["app.py:app"],
        ];
        for row in rows {
            let mut server = Express::new().args(row).current_dir(site.path()).start();
            assert_eq!(server.get("/").text(), "from app", "{row:?}");
            server.stop();
        }
        let text = Express::new()
            .args(&["app:make(1)"])
            .current_dir(site.path())
            .refused();
        assert!(text.contains("`app:make(1)` is a call"), "{text}");
    });
}

#[test]
fn an_application_that_is_not_there_is_named_with_what_is() {
    case(Limit::seconds(180), || {
        let site = Site::new();
        let head = "from collections import OrderedDict\nfrom json import dumps\nimport os\n";
        let asynchronous = "async def application(scope, receive, send):\n    pass\n";
        let two = format!(
            "{APPLICATION}class Other:\n    def __call__(self, environ, start_response):\n        pass\nother = Other()\ndef make():\n    pass\n"
        );
        let rows = [
            (
                format!("{head}{APPLICATION}"),
                "has no object named `application`; `app` exists: --callable-object app",
            ),
            (
                format!("{head}{two}"),
                "; these exist: `app`, `other`; name one with --callable-object",
            ),
            (
                head.to_owned(),
                "has no object named `application`; name the application with --callable-object",
            ),
            (
                asynchronous.to_owned(),
                "is an ASGI application, and this server speaks WSGI",
            ),
            (
                "class A:\n    async def __call__(self, scope, receive, send):\n        pass\napplication = A()\n".to_owned(),
                "is an ASGI application",
            ),
            (
                "application = 'x'\n".to_owned(),
                "is no application: a `str` cannot be called",
            ),
        ];
        for (text, wanted) in rows {
            let script = site.write("web.py", &text);
            let mut server = Express::new().path(&script).spawn();
            eventually(wanted, Duration::from_secs(60), || {
                server.error_log().contains(wanted).then_some(())
            });
            server.stop();
        }
    });
}

#[test]
fn a_directory_of_files_is_served() {
    case(Limit::default(), || {
        let site = Site::new();
        site.write("www/index.html", "<p>front</p>");
        site.write("other/index.html", "<p>other</p>");
        let www = site.file("www").display().to_string();
        let other = site.file("other").display().to_string();
        let rows: &[(&[&str], &str)] = &[
            (&[&www], "<p>front</p>"),
            (&["--entry-point", &www], "<p>front</p>"),
            (&["www"], "<p>front</p>"),
            (&[&www, "--document-root", &other], "<p>other</p>"),
        ];
        for (row, wanted) in rows {
            let mut server = Express::new()
                .args(&["--application-type", "static"])
                .args(row)
                .current_dir(site.path())
                .start();
            assert_eq!(server.get("/").text(), *wanted, "{row:?}");
            server.stop();
        }
        let text = Express::new()
            .args(&["--application-type", "static", "/etc/passwd"])
            .refused();
        assert!(text.contains("a directory is needed"), "{text}");
    });
}
