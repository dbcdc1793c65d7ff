//! Configurations as projects and distributions document them, written anew in
//! `fixtures/`: with our module in the place of mod_wsgi they start and serve.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wsgid_tests::{Builder, Client, Httpd, Limit, Python, Request, Site, case, users};

/// Says where it runs, under which name, and with what.
const APP: &str = "\
import sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    facts = ['group=' + environ['mod_wsgi.process_group'], 'application=' + environ['mod_wsgi.application_group'],
             'script=' + environ['SCRIPT_NAME'], 'path=' + environ['PATH_INFO'],
             'authorization=' + environ.get('HTTP_AUTHORIZATION', '-'), 'user=' + environ.get('REMOTE_USER', '-'),
             'optimize=%d' % sys.flags.optimize, 'trac=' + environ.get('trac.env_parent_dir', '-'),
             'imports=' + ','.join(name for name in ('mysite', 'library') if name in sys.modules)]
    return [' '.join(facts).encode()]
";

/// What is said of process groups whose Python nobody names.
const UNNAMED: &str = "neither python-home= nor WSGIPythonHome";

struct Fixture {
    site: Site,
    builder: Builder,
    port: u16,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

impl Fixture {
    /// Reads a configuration, and the directory of the same name, if there is
    /// one, into the site.
    fn new(name: &str) -> Self {
        let mut fixture = Self { site: Site::new(), builder: Httpd::builder(), port: 0 };
        fixture.port = fixture.builder.another_port();
        let text = fixture.read(&directory().join(format!("{name}.conf")));
        fixture.copy(&directory().join(name), name);
        for module in [
            "access_compat",
            "auth_basic",
            "authn_core",
            "authn_file",
            "authz_host",
            "authz_user",
            "rewrite",
            "version",
        ] {
            fixture.builder = fixture.builder.load(module);
        }
        fixture.site.write("static/robots.txt", "a file");
        fixture.builder = fixture.builder.line(text);
        fixture
    }

    fn read(&self, path: &Path) -> String {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let user = users::of_httpd();
        [
            ("@SITE@", self.site.path().display().to_string()),
            ("@PYTHON@", Python::any().home.display().to_string()),
            ("@MODULE@", wsgid_tests::artifacts::module().display().to_string()),
            ("@PORT@", self.port.to_string()),
            ("@USER@", user.name),
            ("@GROUP@", user.group),
        ]
        .into_iter()
        .fold(text, |text, (name, value)| text.replace(name, &value))
    }

    fn copy(&self, from: &Path, to: &str) {
        for entry in fs::read_dir(from).into_iter().flatten().flatten() {
            let to = format!("{to}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.copy(&entry.path(), &to);
            } else {
                self.site.write(&to, &self.read(&entry.path()));
            }
        }
    }

    fn app(self, name: &str) -> Self {
        self.site.write(name, APP);
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        self.site.write(name, text);
        self
    }

    /// Asks `wsgid check-config` about it as it is with mod_wsgi: what it says
    /// means something else here has to contain these, one each, and nothing
    /// may be a problem.
    fn means(self, expected: &[&str]) -> Self {
        let _ = self.builder.check();
        let conf = self.builder.root().join("httpd.conf");
        let text = fs::read_to_string(&conf).expect("the configuration was written");
        let module = wsgid_tests::artifacts::module().display().to_string();
        let lines = text.lines().filter(|line| !line.starts_with("WSGISupervisorExecutable"));
        let text: String = lines.map(|line| line.replace(&module, "/nowhere/mod_wsgi.so") + "\n").collect();
        let before = self.builder.root().join("before.conf");
        fs::write(&before, text).expect("a configuration can be written");
        let output = std::process::Command::new(wsgid_tests::artifacts::wsgid())
            .args(["check-config", "--json"])
            .arg(&before)
            .output()
            .expect("wsgid can be run");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let json: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{errors}"));
        let findings = json["findings"].as_array().expect("a list");
        let (notes, rest): (Vec<&Value>, Vec<&Value>) = findings.iter().partition(|finding| finding["kind"] == "note");
        let texts: Vec<&str> = rest.iter().filter_map(|finding| finding["text"].as_str()).collect();
        assert!(rest.iter().all(|finding| finding["kind"] == "change"), "{findings:#?}");
        assert_eq!(texts.len(), expected.len(), "{texts:#?} {notes:#?}");
        for part in expected {
            assert!(texts.iter().any(|text| text.contains(part)), "no `{part}` in {texts:#?}");
        }
        assert_eq!(output.status.code(), Some(if expected.is_empty() { 0 } else { 8 }));
        assert!(json["load_module"].as_array().is_some_and(|lines| !lines.is_empty()), "{said}");
        self
    }

    /// Starts, asks, compares and stops. A question is host, path and what the
    /// answer has to contain; a number alone is its status.
    fn serves(self, questions: &[(&str, &str, &str)]) {
        let (port, httpd) = (self.port, self.builder.start());
        for (host, path, expected) in questions {
            let (host, address) = match host.strip_suffix(":port") {
                Some(host) => (host, ([127, 0, 0, 1], port).into()),
                None => (*host, httpd.address()),
            };
            let request =
                Request::new("GET", path).header("Host", host).header("Authorization", "Basic YWxpY2U6c2VjcmV0");
            let answer = Client::new(address).send(&request).unwrap_or_else(|error| panic!("{path}: {error}"));
            match expected.parse::<u16>() {
                Ok(status) => assert_eq!(answer.status, status, "{path}"),
                Err(_) => {
                    let text = answer.text();
                    assert_eq!(answer.status, 200, "{path}: {text}");
                    for part in expected.split(' ') {
                        assert!(text.contains(part), "{path}: no `{part}` in `{text}`");
                    }
                }
            }
        }
        httpd.stop();
    }
}

#[test]
fn django_without_a_daemon_process() {
    case(Limit::default(), || {
        Fixture::new("django-embedded")
            .file("project/mysite/__init__.py", "")
            .file("project/mysite/wsgi.py", &format!("import mysite\n{APP}"))
            .means(&["names no process group", "WSGIPythonPath is for"])
            .serves(&[
                ("localhost", "/polls/1", "imports=mysite path=/polls/1 group=wsgid:default"),
                ("localhost", "/static/robots.txt", "a file"),
                ("localhost", "/robots.txt", "a file"),
            ]);
    });
}

#[test]
fn django_with_a_daemon_process() {
    case(Limit::default(), || {
        Fixture::new("django-daemon")
            .file("project/mysite/__init__.py", "")
            .file("project/mysite/wsgi.py", &format!("import mysite\n{APP}"))
            .means(&[])
            .serves(&[
                ("www.example.com", "/polls/1", "imports=mysite path=/polls/1 group=example.com authorization=-"),
                ("example.com", "/static/robots.txt", "a file"),
            ]);
    });
}

#[test]
fn flask() {
    case(Limit::default(), || {
        Fixture::new("flask").app("yourapplication.wsgi").means(&[UNNAMED]).serves(&[(
            "example.com",
            "/hello",
            "group=yourapplication path=/hello script= ",
        )]);
    });
}

#[test]
fn pyramid() {
    case(Limit::default(), || {
        Fixture::new("pyramid").app("modwsgi/pyramid.wsgi").means(&[UNNAMED]).serves(&[
            ("localhost", "/myapp/view", "group=pyramid script=/myapp path=/view authorization=Basic"),
            ("localhost", "/other", "404"),
        ]);
    });
}

#[test]
fn trac() {
    case(Limit::default(), || {
        // The password is `secret`.
        let fixture = Fixture::new("trac")
            .app("apache/trac.wsgi")
            .file("trac.htpasswd", "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n");
        fixture.means(&[UNNAMED, "names no process group"]).serves(&[
            ("localhost", "/trac/one/wiki", "script=/trac path=/one/wiki user=- trac=/"),
            ("localhost", "/trac/one/login", "user=alice authorization=-"),
        ]);
    });
}

#[test]
fn graphite() {
    case(Limit::default(), || {
        Fixture::new("graphite").app("conf/graphite.wsgi").means(&[UNNAMED]).serves(&[
            ("graphite", "/render/?target=x", "group=graphite path=/render/"),
            ("graphite", "/content/robots.txt", "a file"),
        ]);
    });
}

#[test]
fn freeipa() {
    case(Limit::default(), || {
        Fixture::new("freeipa").app("ipa/wsgi.py").app("ipa/kdcproxy.wsgi").means(&[UNNAMED]).serves(&[
            ("localhost", "/ipa/session", "group=ipa application=ipa script=/ipa path=/session"),
            ("localhost", "/KdcProxy", "group=kdcproxy application=kdcproxy script=/KdcProxy"),
        ]);
    });
}

#[test]
fn keystone() {
    case(Limit::default(), || {
        Fixture::new("keystone").app("bin/keystone-wsgi-public").means(&[UNNAMED]).serves(&[
            ("localhost:port", "/v3", "group=keystone-public script= path=/v3 authorization=Basic"),
            ("localhost", "/identity/v3", "group=identity script=/identity path=/v3 authorization=Basic"),
        ]);
    });
}

#[test]
fn certbot() {
    case(Limit::default(), || {
        Fixture::new("certbot")
            .app("app/wsgi.py")
            .means(&[UNNAMED, "has 2 application groups"])
            .serves(&[("www.example.org", "/x", "301"), ("www.example.org:port", "/x", "group=example.org path=/x")]);
    });
}

#[test]
fn debian() {
    case(Limit::default(), || {
        let app = format!("import library\n{APP}");
        let fixture = Fixture::new("debian").file("lib/library.py", "").file("static/app.wsgi", &app);
        let means = [UNNAMED, "WSGIPythonPath is for", "names no process group", "any number of scripts"];
        fixture.means(&means).serves(&[
            ("localhost", "/app.wsgi/x", "script=/app.wsgi path=/x optimize=1 imports=library"),
            ("localhost", "/robots.txt", "a file"),
        ]);
    });
}

#[test]
fn red_hat() {
    case(Limit::default(), || {
        Fixture::new("rhel").app("app/shop.wsgi").means(&[UNNAMED]).serves(&[
            ("localhost", "/site/shop/cart", "group=site application=site script=/site/shop path=/cart"),
            ("localhost", "/site/none", "404"),
        ]);
    });
}
