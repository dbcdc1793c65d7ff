//! A configuration as people have it, tried: `wsgid check-config` finds no problem in it,
//! httpd starts with it as it is and answers, with mod_wsgi's module and with ours, the two
//! answer the same, and ours has nothing at level error in its logs and ends well.
//!
//! All that is filled in is what has to be another on every machine: see `Machine::fill`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wsgid_tests::fixture::check_config;
use wsgid_tests::httpd::free_port;
use wsgid_tests::wire::certificate;
use wsgid_tests::{Builder, Httpd, Limit, Python, Site, TestUser, artifacts, at_once, peer, users};

use crate::ask::{Answered, Ask};
use crate::logs::{complaints, logs_below};

/// Beside those that every server of the harness has: what Debian and Fedora enable,
/// and what the configurations ask to be enabled.
const MODULES: [&str; 20] = [
    "access_compat",
    "actions",
    "auth_basic",
    "auth_digest",
    "authn_core",
    "authn_file",
    "authz_groupfile",
    "authz_host",
    "authz_user",
    "autoindex",
    "deflate",
    "expires",
    "filter",
    "headers",
    "macro",
    "negotiation",
    "rewrite",
    "socache_shmcb",
    "ssl",
    "userdir",
];

/// What both distributions have in front of every site.
const DISTRIBUTION: &str = "\
Define APACHE_LOG_DIR @ROOT@/var/log/apache2
<Directory @ROOT@/usr/share>
    Require all granted
</Directory>
<Directory @ROOT@/var/www/>
    Options Indexes FollowSymLinks
    Require all granted
</Directory>
<FilesMatch \"^\\.ht\">
    Require all denied
</FilesMatch>
LogFormat \"%h %l %u %t \\\"%r\\\" %>s %O \\\"%{Referer}i\\\" \\\"%{User-Agent}i\\\"\" combined
LogFormat \"%h %l %u %t \\\"%r\\\" %>s %b\" common
LogLevel ssl:warn";

/// Facts that are other ones in each server, and why.
const DIFFERENT: [(&str, &str); 20] = [
    ("REMOTE_PORT", "the client's"),
    ("UNIQUE_ID", "made for each request"),
    ("SSL_SESSION_ID", "made for each connection"),
    ("SERVER_SOFTWARE", "names the module"),
    ("mod_wsgi.version", "each has its own"),
    ("mod_wsgi.server_pid", "the process of httpd"),
    ("mod_wsgi.connection_id", "made for each connection"),
    ("mod_wsgi.request_id", "made for each request"),
    ("mod_wsgi.request_start", "the time"),
    ("mod_wsgi.queue_start", "the time"),
    ("mod_wsgi.daemon_start", "the time"),
    ("mod_wsgi.script_start", "the time"),
    ("title", "the program, where no option names it"),
    ("prefix", "without python-home each has another Python"),
    (
        "bytecode",
        "mod_wsgi's depends on what httpd was started with",
    ),
    ("cwd", "the same, without home"),
    ("locale", "the same, without locale"),
    ("os.LANG", "the same, without lang"),
    ("os.LC_ALL", "the same, without locale"),
    ("os.USER", "ours always has one"),
];

/// How one configuration is tried.
pub(crate) struct Configuration {
    name: &'static str,
    files: Vec<(&'static str, String)>,
    shared: Vec<&'static str>,
    problems: Vec<&'static str>,
    different: Vec<&'static str>,
}

/// The configuration `conf/NAME.conf`.
pub(crate) fn configuration(name: &'static str) -> Configuration {
    Configuration {
        name,
        files: Vec::new(),
        shared: Vec::new(),
        problems: Vec::new(),
        different: Vec::new(),
    }
}

/// Whose module serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    ModWsgi,
    Ours,
    /// Nobody's: only `wsgid check-config` reads it.
    Checked,
}

impl Configuration {
    /// A file below `@ROOT@`.
    pub(crate) fn file(mut self, path: &'static str, text: &str) -> Self {
        self.files.push((path, text.to_owned()));
        self
    }

    /// An application that answers with what it sees; then `more` of the program.
    pub(crate) fn app(self, path: &'static str, more: &str) -> Self {
        let text = format!("{}\n\n{more}", include_str!("apps/facts.py"));
        self.file(path, &text)
    }

    /// A directory below `@ROOT@` in which everybody may write.
    pub(crate) fn shared(mut self, path: &'static str) -> Self {
        self.shared.push(path);
        self
    }

    /// What mod_wsgi stumbles over, too, and `wsgid check-config` says.
    pub(crate) fn problem(mut self, text: &'static str) -> Self {
        self.problems.push(text);
        self
    }

    /// A fact that is meant to be another with mod_wsgi; docs/moving-from-mod_wsgi.md says so.
    pub(crate) fn different(mut self, facts: &[&'static str]) -> Self {
        self.different.extend(facts);
        self
    }

    /// Tries it.
    ///
    /// # Panics
    /// If one of the servers does not start or answers something else, or if ours complains.
    pub(crate) fn answers(self, asks: &'static [Ask]) {
        let answered = Arc::new(Mutex::new(BTreeMap::new()));
        let outcome = Arc::clone(&answered);
        let configuration = Arc::new(self);
        let name = configuration.name;
        let different = configuration.different.clone();
        let mut all = vec![Whose::Checked, Whose::Ours];
        all.extend(modules().0.is_some().then_some(Whose::ModWsgi));
        at_once(Limit::seconds(120), all, move |whose| {
            let machine = Machine::new(&configuration, whose);
            if whose == Whose::Checked {
                return machine.check(&configuration.problems);
            }
            let answers = machine.serve(asks);
            let mut all = answered.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(whose, answers);
        });
        let answered = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(ours), Some(theirs)) =
            (answered.get(&Whose::Ours), answered.get(&Whose::ModWsgi))
        else {
            return;
        };
        let meant = |fact: &str| {
            different.contains(&fact)
                || DIFFERENT.iter().any(|(known, _)| *known == fact)
                // mod_wsgi leaves its own variables behind for a later redirect.
                || fact.starts_with("REDIRECT_")
        };
        // Each difference once, with what was asked for.
        let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (ask, (ours, theirs)) in asks.iter().zip(ours.iter().zip(theirs)) {
            for difference in ours.differences(theirs, meant) {
                wrong.entry(difference).or_default().push(ask.to_string());
            }
        }
        let same = |fact: &&&str| {
            ours.iter()
                .zip(theirs)
                .all(|(one, other)| one.fact(fact) == other.fact(fact))
        };
        let stale: Vec<_> = different.iter().filter(same).collect();
        // Without root all are one user.
        assert!(
            stale.is_empty() || !users::is_root(),
            "{name}: these are the same: {stale:?}"
        );
        assert!(
            wrong.is_empty(),
            "{name} is answered otherwise than by mod_wsgi: {wrong:#?}"
        );
    }
}

/// The environment in which applications run, and mod_wsgi's module where there is one.
fn modules() -> &'static (Option<PathBuf>, PathBuf) {
    static MADE: OnceLock<(Option<PathBuf>, PathBuf)> = OnceLock::new();
    MADE.get_or_init(|| match peer::peer() {
        Some((venv, module)) => (Some(module), venv),
        None => (None, Python::any().venv(&[])),
    })
}

/// The files of a configuration, and a server that is not yet started.
struct Machine {
    whose: Whose,
    site: Site,
    builder: Builder,
    root: PathBuf,
    ports: [u16; 3],
}

impl Machine {
    fn new(configuration: &Configuration, whose: Whose) -> Self {
        let module = match whose {
            Whose::Ours => artifacts::module(),
            Whose::ModWsgi => modules().0.clone().expect("it was found"),
            Whose::Checked => PathBuf::from("/nowhere/mod_wsgi.so"),
        };
        let mut builder = Httpd::builder().loaded_by_site(module);
        for name in MODULES {
            builder = builder.load(name);
        }
        let ports = [builder.port(), builder.another_port(), free_port()];
        let mut machine = Self {
            whose,
            site: Site::new(),
            root: builder.root().to_owned(),
            builder,
            ports,
        };
        machine.write(configuration);
        machine
    }

    fn write(&mut self, configuration: &Configuration) {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configurations/conf");
        let path = directory.join(configuration.name).with_extension("conf");
        let text =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let text = self.fill(&text);
        let (certificate, key) = certificate();
        for (name, file) in [
            ("certs/server.pem", certificate),
            ("private/server.key", key),
        ] {
            self.site.write(
                &format!("etc/ssl/{name}"),
                &fs::read_to_string(file).expect("it was made"),
            );
        }
        for (path, text) in &configuration.files {
            self.site.write(path, &self.fill(text));
        }
        for path in &configuration.shared {
            self.site.write(&format!("{path}/.made"), "");
            let everybody = fs::Permissions::from_mode(0o1777);
            fs::set_permissions(self.site.file(path), everybody).expect("it was made");
        }
        // httpd makes its logs, and not the directories around them.
        self.site.write("var/log/apache2/.made", "");
        self.site
            .write("var/www/html/index.html", "the start page\n");
        fs::create_dir(self.root.join("logs")).expect("the server root can be written");
        for line in text.lines().map(str::trim) {
            let log = line
                .strip_prefix("ErrorLog ")
                .or_else(|| line.strip_prefix("CustomLog "));
            let path = log.and_then(|rest| rest.split_whitespace().next());
            if let Some(directory) =
                path.and_then(|path| Path::new(path.trim_matches('"')).parent())
            {
                let below = directory.strip_prefix(self.site.path());
                if let Ok(below) = below {
                    self.site.write(&format!("{}/.made", below.display()), "");
                }
            }
        }
        self.site.write("site.conf", &text);
        let mut builder = std::mem::take(&mut self.builder).line(self.fill(DISTRIBUTION));
        if !text.contains("LoadModule wsgi_module")
            && !configuration
                .files
                .iter()
                .any(|(_, text)| text.contains("LoadModule wsgi_module"))
        {
            builder = builder.line("LoadModule wsgi_module modules/mod_wsgi.so");
        }
        builder = builder.line(format!("Include {}/site.conf", self.site.path().display()));
        self.builder = match self.whose {
            Whose::Ours => builder.line(format!(
                "WSGISupervisorExecutable {}",
                artifacts::wsgid().display()
            )),
            // What it was built with is no directory of this machine.
            Whose::ModWsgi => builder.line("WSGISocketPrefix run/wsgi"),
            Whose::Checked => builder,
        };
    }

    /// Puts what this machine has in the places of a text.
    fn fill(&self, text: &str) -> String {
        let httpd = users::of_httpd();
        let [user, other] = accounts();
        [
            ("@ROOT@", self.site.path().display().to_string()),
            ("@PORT@", self.ports[0].to_string()),
            ("@TLS_PORT@", self.ports[1].to_string()),
            ("@OTHER_PORT@", self.ports[2].to_string()),
            ("@PYTHON@", modules().1.display().to_string()),
            ("@HTTPD_USER@", httpd.name),
            ("@HTTPD_GROUP@", httpd.group),
            ("@USER@", user.name),
            ("@GROUP@", user.group),
            ("@OTHER_USER@", other.name),
            ("@OTHER_GROUP@", other.group),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, &value)
        })
    }

    /// What in a text is another one in each server gets its name back.
    fn neutral(&self, text: &str) -> String {
        [
            (self.site.path().display().to_string(), "@ROOT@"),
            (self.root.display().to_string(), "@SERVER@"),
            (self.ports[0].to_string(), "@PORT@"),
            (self.ports[1].to_string(), "@TLS_PORT@"),
            (self.ports[2].to_string(), "@OTHER_PORT@"),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (value, name)| {
            text.replace(&value, name)
        })
    }

    /// What `wsgid check-config` says of it as it is with mod_wsgi: its problems are these.
    fn check(&self, expected: &[&str]) {
        // There is no such module, so this fails; it writes the file.
        assert!(!self.builder.check().ok);
        let (code, json) = check_config(&self.root.join("httpd.conf"));
        let findings = json["findings"].as_array().expect("a list");
        let problems: Vec<&str> = findings
            .iter()
            .filter(|finding| finding["kind"] == "problem")
            .filter_map(|finding| finding["text"].as_str())
            .collect();
        let found = problems
            .iter()
            .zip(expected)
            .all(|(have, part)| have.contains(part));
        assert!(found && problems.len() == expected.len(), "{problems:#?}");
        let codes: &[i32] = if expected.is_empty() { &[0, 8] } else { &[7] };
        assert!(code.is_some_and(|code| codes.contains(&code)), "{json}");
    }

    fn serve(mut self, asks: &[Ask]) -> Vec<Answered> {
        if self.whose == Whose::Ours {
            let configtest = self.builder.check();
            assert!(
                configtest.ok && configtest.text.contains("Syntax OK"),
                "{}",
                configtest.text
            );
        }
        let httpd = std::mem::take(&mut self.builder).start();
        let answers = asks
            .iter()
            .map(|ask| ask.put(self.ports, |text| self.fill(text)));
        let answers: Vec<Answered> = answers
            .map(|answer| answer.neutral(|text| self.neutral(text)))
            .collect();
        // Open while they are there: the last words come when the server ends.
        let logs: Vec<File> = [httpd.root().to_owned(), self.site.path().to_owned()]
            .iter()
            .flat_map(|directory| logs_below(directory))
            .map(|log| File::open(log).expect("a log is there"))
            .collect();
        if self.whose == Whose::Ours {
            httpd.stop();
        }
        let refused = asks.iter().any(Ask::is_refused);
        let complaints = logs.into_iter().flat_map(|log| complaints(log, refused));
        self.judge(complaints.collect(), asks);
        answers
    }

    /// Ours says at level error what is expected and nothing else; mod_wsgi has a line for
    /// each of these, too.
    fn judge(&self, mut complaints: Vec<String>, asks: &[Ask]) {
        let expected: Vec<&str> = asks.iter().filter_map(Ask::logged).collect();
        if self.whose == Whose::ModWsgi {
            assert!(
                complaints.len() >= expected.len(),
                "{expected:?}: {complaints:#?}"
            );
            return;
        }
        for line in expected {
            let found = complaints.iter().position(|one| one.contains(line));
            let found = found.unwrap_or_else(|| panic!("no `{line}` in {complaints:#?}"));
            complaints.remove(found);
        }
        assert!(complaints.is_empty(), "in the logs: {complaints:#?}");
    }
}

/// The users of sites: one with a home directory, and another.
fn accounts() -> [TestUser; 2] {
    let made = users::is_root().then(|| Some([users::with_home()?, users::three()?[0].clone()]));
    made.flatten()
        .unwrap_or_else(|| [users::of_httpd(), users::of_httpd()])
}
