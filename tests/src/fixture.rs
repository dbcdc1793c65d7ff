//! A configuration of `tests/fixtures`, as a project or a distribution documents
//! it: asked about, started and asked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Builder, Client, Httpd, Python, Request, Site, artifacts, users};

/// A configuration and its site.
#[derive(Debug)]
pub struct Fixture {
    site: Site,
    builder: Builder,
    port: u16,
    python: PathBuf,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// What `wsgid check-config --json` says of a file, and its exit code.
///
/// # Panics
/// If that is no JSON.
#[must_use]
pub fn check_config(conf: &Path) -> (Option<i32>, Value) {
    let output = Command::new(artifacts::wsgid())
        .args(["check-config", "--json"])
        .arg(conf)
        .output()
        .expect("wsgid can be run");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let json =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{errors}"));
    (output.status.code(), json)
}

impl Fixture {
    /// Reads a configuration, and the directory of the same name, if there is
    /// one, into the site. `@PYTHON@` in it is any Python.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::with(name, &Python::any().home)
    }

    /// The same with this environment, which is also `WSGIPythonHome`.
    #[must_use]
    pub fn with_environment(name: &str, python: &Path) -> Self {
        let mut fixture = Self::with(name, python);
        fixture.builder = fixture
            .builder
            .line(format!("WSGIPythonHome {}", python.display()));
        fixture
    }

    fn with(name: &str, python: &Path) -> Self {
        let mut fixture = Self {
            site: Site::new(),
            builder: Httpd::builder(),
            port: 0,
            python: python.to_path_buf(),
        };
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
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let user = users::of_httpd();
        [
            ("@SITE@", self.site.path().display().to_string()),
            ("@PYTHON@", self.python.display().to_string()),
            ("@MODULE@", artifacts::module().display().to_string()),
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

    /// Writes a file of the site; `@SITE@` in it is where that is.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        self.site.write(
            name,
            &text.replace("@SITE@", &self.site.path().display().to_string()),
        );
        self
    }

    /// The site's directory.
    #[must_use]
    pub fn site(&self) -> &Path {
        self.site.path()
    }

    /// Asks `wsgid check-config` about it as it is with mod_wsgi: what it says
    /// means something else here has to contain these, one each, and nothing
    /// may be a problem.
    ///
    /// # Panics
    /// If it says something else.
    #[must_use]
    pub fn means(self, expected: &[&str]) -> Self {
        let _ = self.builder.check();
        let conf = self.builder.root().join("httpd.conf");
        let text = fs::read_to_string(&conf).expect("the configuration was written");
        let module = artifacts::module().display().to_string();
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("WSGISupervisorExecutable"));
        let text: String = lines
            .map(|line| line.replace(&module, "/nowhere/mod_wsgi.so") + "\n")
            .collect();
        let before = self.builder.root().join("before.conf");
        fs::write(&before, text).expect("a configuration can be written");
        let (code, json) = check_config(&before);
        let findings = json["findings"].as_array().expect("a list");
        let (notes, rest): (Vec<&Value>, Vec<&Value>) = findings
            .iter()
            .partition(|finding| finding["kind"] == "note");
        let texts: Vec<&str> = rest
            .iter()
            .filter_map(|finding| finding["text"].as_str())
            .collect();
        assert!(
            rest.iter().all(|finding| finding["kind"] == "change"),
            "{findings:#?}"
        );
        assert_eq!(texts.len(), expected.len(), "{texts:#?} {notes:#?}");
        for part in expected {
            assert!(
                texts.iter().any(|text| text.contains(part)),
                "no `{part}` in {texts:#?}"
            );
        }
        assert_eq!(code, Some(if expected.is_empty() { 0 } else { 8 }));
        assert!(
            json["load_module"]
                .as_array()
                .is_some_and(|lines| !lines.is_empty()),
            "{json}"
        );
        self
    }

    /// Starts, asks, compares and stops. A question is host, path and what the
    /// answer has to contain; a number alone is its status.
    ///
    /// # Panics
    /// If an answer is another.
    pub fn serves(self, questions: &[(&str, &str, &str)]) {
        let port = self.port;
        let httpd = self.builder.start();
        for (host, path, expected) in questions {
            let (host, address) = match host.strip_suffix(":port") {
                Some(host) => (host, ([127, 0, 0, 1], port).into()),
                None => (*host, httpd.address()),
            };
            let request = Request::new("GET", path)
                .header("Host", host)
                .header("Authorization", "Basic YWxpY2U6c2VjcmV0");
            let answer = Client::new(address)
                .send(&request)
                .unwrap_or_else(|error| panic!("{path}: {error}"));
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
