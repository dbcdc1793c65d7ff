//! A group runs what the configuration names for it, and nothing else: asked by
//! clients for what it names in every way, and by a child of httpd that was taken
//! over for everything else.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use wsgid_protocol::Failure;
use wsgid_tests::hostile::child::{CALLS, Orders, Outcome, overhear};
use wsgid_tests::{Builder, Httpd, Limit, Site, TestUser, case, users};

/// Says which file it is and as whom it runs; answers every question.
const SCRIPT: &str = "\
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('%s %d' % (os.path.basename(__file__), os.getuid())).encode()]
handle_request = application
def allow_access(environ, host):
    return True
def check_password(environ, user, password):
    return True
def get_realm_hash(environ, user, realm):
    return '0' * 32
def groups_for_user(environ, user):
    return ['staff']
def process_group(environ):
    return None
";

/// A script that leaves a mark when it is executed.
fn marking(mark: &Path) -> String {
    format!(
        "import os\nopen({:?}, 'a').write('%d ' % os.getuid())\n{SCRIPT}",
        mark.display().to_string()
    )
}

/// A child of httpd that was taken over.
struct Hostile {
    program: PathBuf,
    socket: PathBuf,
    secret: [u8; 32],
    generation: u64,
}

impl Hostile {
    /// Takes one over that has to connect to serve `url`: nothing was asked before.
    fn new(httpd: &Httpd, url: &str) -> Self {
        let program = httpd.root().join("hostile-child");
        fs::copy(env!("CARGO_BIN_EXE_hostile_child"), &program).expect("the program can be copied");
        let socket = httpd
            .sockets()
            .into_iter()
            .find(|path| path.ends_with("httpd.sock"))
            .expect("httpd has a socket");
        let hello = overhear(&socket, || {
            let _ = httpd.get(url);
        });
        Self {
            program,
            socket,
            secret: hello.secret,
            generation: hello.generation,
        }
    }

    /// Asks a group for these on one connection, as httpd's user.
    fn ask(&self, group: &str, requests: &[(&str, PathBuf)]) -> Vec<Outcome> {
        let orders = Orders {
            socket: self.socket.clone(),
            group: group.to_owned(),
            secret: self.secret,
            generation: self.generation,
            requests: requests
                .iter()
                .map(|(call, script)| ((*call).to_owned(), script.clone()))
                .collect(),
        };
        let mut command = Command::new(&self.program);
        if users::is_root() {
            let httpds = users::of_httpd();
            command.uid(httpds.uid).gid(httpds.gid);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let text = serde_json::to_string(&orders).expect("orders are texts and numbers");
        writeln!(child.stdin.take().expect("it is a pipe"), "{text}").expect("the program reads");
        let output = child.wait_with_output().expect("the program ends");
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("an outcome a line"))
            .collect()
    }
}

fn refused(outcome: &Outcome, group: &str, script: &Path) -> bool {
    let Outcome::Failed(code, text) = outcome else {
        return false;
    };
    *code == Failure::NotAllowed.code()
        && [
            format!("`{group}`"),
            script.display().to_string(),
            "script-directories=".to_owned(),
        ]
        .iter()
        .all(|part| text.contains(part))
}

fn options(user: &TestUser) -> String {
    format!(
        "user={} group={} processes=1 threads=2",
        user.name, user.group
    )
}

/// Two sites of two users; each has a script, the first a directory of them too.
struct Sites {
    mine: Site,
    other: Site,
}

impl Sites {
    fn new(accounts: &[TestUser; 3]) -> (Self, Builder) {
        let (mine, other) = (Site::of(&accounts[0]), Site::of(&accounts[1]));
        for site in [&mine, &other] {
            site.write("named.py", SCRIPT);
            site.write("unnamed.py", SCRIPT);
        }
        mine.write("scripts/one.py", SCRIPT);
        mine.write("questions.py", SCRIPT);
        // Readable for all: nothing but the list keeps anybody from it.
        fs::set_permissions(other.path(), fs::Permissions::from_mode(0o755))
            .expect("the directory is there");
        let directory = mine.file("scripts");
        let builder = Httpd::builder()
            .daemon("mine", &options(&accounts[0]))
            .daemon("other", &options(&accounts[1]))
            .mount("/named", &mine.file("named.py"), "mine")
            .mount("/other", &other.file("named.py"), "other")
            .line(format!(
                "WSGIScriptAlias /scripts/ {}/ process-group=mine application-group=%{{GLOBAL}}",
                directory.display()
            ))
            .line(format!(
                "<Location /dispatched>\nWSGIDispatchScript {} process-group=mine\n</Location>",
                mine.file("questions.py").display()
            ));
        (Self { mine, other }, builder)
    }
}

/// Wrong is what no directive names, whatever is called in it.
#[test]
fn root_a_child_that_was_taken_over_gets_what_the_site_serves_and_no_more() {
    case(Limit::seconds(120), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let (sites, builder) = Sites::new(accounts);
        let httpd = builder.start();
        let hostile = Hostile::new(&httpd, "/named");
        for url in ["/named", "/other", "/scripts/one.py"] {
            assert_eq!(httpd.get(url).status, 200, "{url}");
        }

        let marks = httpd.root().join("marks");
        fs::create_dir(&marks).expect("a directory can be made");
        fs::set_permissions(&marks, fs::Permissions::from_mode(0o777)).expect("it is ours");
        let mark = marks.join("executed");
        // As the child writes it: a file of httpd's user that all may read.
        let planted = httpd.root().join("planted.py");
        fs::write(&planted, marking(&mark)).expect("a file can be written");
        users::give(&planted, &users::of_httpd());
        let scripts = sites.mine.file("scripts");
        let links = [
            ("httpds.py", planted.clone(), &users::of_httpd()),
            ("others.py", sites.other.file("named.py"), &accounts[1]),
            ("own.py", sites.mine.file("unnamed.py"), &accounts[0]),
            ("directory", sites.other.path().to_path_buf(), &accounts[1]),
        ];
        for (name, target, owner) in &links {
            symlink(target, scripts.join(name)).expect("a link can be made");
            std::os::unix::fs::lchown(scripts.join(name), Some(owner.uid), Some(owner.gid))
                .expect("it is ours");
        }
        let wrong = [
            planted,
            sites.other.file("named.py"),
            sites.mine.file("unnamed.py"),
            scripts.join("../unnamed.py"),
            scripts
                .join("../..")
                .join(sites.other.path().file_name().expect("a name"))
                .join("named.py"),
            scripts.join("httpds.py"),
            scripts.join("others.py"),
            scripts.join("own.py"),
            scripts.join("directory/named.py"),
            PathBuf::from("/etc/passwd"),
            PathBuf::from("/proc/self/environ"),
            PathBuf::from("named.py"),
            PathBuf::from(""),
        ];
        for script in &wrong {
            // One connection, which stays usable: what is named is served after all of it.
            let mut requests: Vec<(&str, PathBuf)> =
                CALLS.iter().map(|call| (*call, script.clone())).collect();
            requests.push(("application", sites.mine.file("named.py")));
            let outcomes = hostile.ask("mine", &requests);
            assert_eq!(outcomes.len(), requests.len(), "{outcomes:?}");
            for (outcome, call) in outcomes.iter().zip(CALLS) {
                assert!(
                    refused(outcome, "mine", script),
                    "{call} {}: {outcome:?}",
                    script.display()
                );
            }
            let served = format!("named.py {}", accounts[0].uid);
            assert_eq!(
                outcomes.last(),
                Some(&Outcome::Body(200, served)),
                "after {}",
                script.display()
            );
        }
        assert!(
            !mark.exists(),
            "executed as {:?}",
            fs::read_to_string(&mark)
        );

        // What the configuration names it may ask for.
        let named = |name: &str, call: &'static str| (call, sites.mine.file(name));
        let requests = [
            named("scripts/one.py", "application"),
            named("questions.py", "dispatch"),
        ];
        let outcomes = hostile.ask("mine", &requests);
        assert_eq!(
            outcomes[0],
            Outcome::Body(200, format!("one.py {}", accounts[0].uid))
        );
        assert_eq!(outcomes[1], Outcome::Answered);
        let outcomes = hostile.ask("other", &[named("named.py", "application")]);
        assert!(
            refused(&outcomes[0], "other", &sites.mine.file("named.py")),
            "{outcomes:?}"
        );

        let said = format!("may not run `{}`", sites.mine.file("unnamed.py").display());
        let line = httpd.wait_for_log(&said, Duration::from_secs(10));
        assert!(line.contains("process group `mine`"), "{line}");
        httpd.stop();
    });
}

/// A thousand refusals are a few lines, and the group goes on.
#[test]
fn root_refusals_do_not_fill_the_log() {
    case(Limit::seconds(120), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let (sites, builder) = Sites::new(accounts);
        let httpd = builder.start();
        let hostile = Hostile::new(&httpd, "/named");
        let requests: Vec<(&str, PathBuf)> = (0..1000)
            .map(|number| ("application", sites.mine.file(&format!("none-{number}.py"))))
            .collect();
        let outcomes = hostile.ask("mine", &requests);
        assert!(
            outcomes
                .iter()
                .zip(&requests)
                .all(|(outcome, (_, script))| refused(outcome, "mine", script))
        );
        assert_eq!(httpd.get("/named").status, 200);
        let lines = httpd
            .error_log()
            .lines()
            .filter(|line| line.contains("may not run"))
            .count();
        assert!((1..=60).contains(&lines), "{lines} lines");
        httpd.stop();
    });
}

/// What a worker says it had to load for a request is its own word: the next
/// generation loads beforehand only what is named.
#[test]
fn a_script_that_is_no_longer_named_is_not_loaded_beforehand() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        let mark = site.path().join("marks");
        fs::create_dir(&mark).expect("a directory can be made");
        fs::set_permissions(&mark, fs::Permissions::from_mode(0o777)).expect("it is ours");
        let mark = mark.join("executed");
        site.write("app.py", SCRIPT);
        let late = site.write("scripts/late.py", &marking(&mark));
        let directory = late.parent().expect("it is in one").display().to_string();
        let mut httpd = Httpd::builder()
            .daemon("site", "processes=1 threads=2")
            .mount("/app", &site.file("app.py"), "site")
            .line(format!("WSGIScriptAlias /late/ {directory}/ process-group=site application-group=%{{GLOBAL}}"))
            .start();
        assert_eq!(httpd.get("/late/late.py").status, 200);
        let executed =
            || fs::read_to_string(&mark).map_or(0, |text| text.split_whitespace().count());
        assert_eq!(executed(), 1);
        httpd.configure(|lines| lines.retain(|line| !line.contains("/late/")));
        httpd.graceful();
        // Another generation, whose scripts are loaded before it serves.
        site.write("app.py", &format!("{SCRIPT}\n"));
        wsgid_tests::eventually("the next generation", Duration::from_secs(20), || {
            assert_eq!(httpd.get("/app").status, 200);
            let log = httpd.error_log();
            (log.matches("is ready after").count() >= 2).then_some(())
        });
        assert_eq!((httpd.get("/app").status, executed()), (200, 1));
        httpd.stop();
    });
}

/// A reload that names another script, or another file for the same URL, costs no
/// request: the workers that are there know of it before children of httpd ask.
#[test]
fn a_script_that_a_reload_adds_runs_at_once() {
    for preload in ["Off", "On"] {
        case(Limit::seconds(60), move || {
            let site = Site::new();
            let slow = format!("import time\ntime.sleep(3)\n{SCRIPT}");
            for name in ["one.py", "two.py"] {
                site.write(name, &slow);
            }
            let mount = |url: &str, name: &str| {
                let file = site.file(name);
                format!(
                    "WSGIScriptAlias {url} {} process-group=site application-group=%{{GLOBAL}}",
                    file.display()
                )
            };
            let mut httpd = Httpd::builder()
                .daemon("site", &format!("processes=1 threads=2 preload={preload}"))
                .line(format!(
                    "<Directory {}>\nRequire all granted\n</Directory>",
                    site.path().display()
                ))
                .line(mount("/one", "one.py"))
                .start();
            assert_eq!(httpd.get("/one").status, 200);
            httpd.configure(|lines| lines.push(mount("/two", "two.py")));
            httpd.graceful();
            wsgid_tests::eventually("the new configuration", Duration::from_secs(20), || {
                let status = httpd.get("/two").status;
                assert!(
                    status == 200 || status == 404,
                    "{status}: {}",
                    httpd.error_log()
                );
                (status == 200).then_some(())
            });
            assert_eq!(httpd.get("/one").status, 200);
            httpd.stop();
        });
    }
}

/// What no directive names is refused to clients too, and the line in the log says
/// what to do; with that done it runs.
#[test]
fn script_directories_name_what_nothing_else_does() {
    case(Limit::seconds(60), || {
        let site = Site::new();
        site.write("scripts/app.py", SCRIPT);
        site.write("elsewhere/app.py", SCRIPT);
        symlink(site.file("elsewhere"), site.file("scripts/link")).expect("a link can be made");
        let alias = format!(
            "WSGIScriptAlias /x/ {}/ process-group=site",
            site.file("scripts").display()
        );
        let line = format!(
            "<Directory {}>\n  Require all granted\n</Directory>",
            site.path().display()
        );
        let mut httpd = Httpd::builder()
            .daemon("site", "processes=1 threads=2")
            .line(alias)
            .line(line)
            .start();
        assert_eq!(httpd.get("/x/app.py").status, 200);
        assert_eq!(httpd.get("/x/link/app.py").status, 500);
        let told = httpd.wait_for_log("WSGID0103", Duration::from_secs(5));
        assert!(
            told.contains("`site`")
                && told.contains("link/app.py")
                && told.contains("script-directories="),
            "{told}"
        );
        let elsewhere = site.file("elsewhere").display().to_string();
        httpd.configure(|lines| {
            for line in lines
                .iter_mut()
                .filter(|line| line.starts_with("WSGIDaemonProcess"))
            {
                line.push_str(&format!(" script-directories=/nowhere:{elsewhere}"));
            }
        });
        httpd.graceful();
        wsgid_tests::eventually(
            "the directory that was added",
            Duration::from_secs(20),
            || (httpd.get("/x/link/app.py").status == 200).then_some(()),
        );
        httpd.stop();
    });
}

/// A supervisor on its own; ended when it is dropped.
struct Alone {
    directory: tempfile::TempDir,
    child: std::process::Child,
}

impl Alone {
    /// With these site files by name.
    fn new(sites: &[(&str, String)]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("sites")).expect("a directory can be made");
        let (root, httpds) = (directory.path().display(), users::of_httpd().name);
        let main = format!(
            "[supervisor]\nsocket = '{root}/httpd.sock'\nhttpd-user = '{httpds}'\nsites = '{root}/sites'\n"
        );
        fs::write(at("wsgid.toml"), main).expect("a file can be written");
        for (name, text) in sites {
            fs::write(at("sites").join(name), text).expect("a file can be written");
        }
        let log = fs::File::create(at("log")).expect("a file can be made");
        let mut command = Command::new(wsgid_tests::artifacts::wsgid());
        command
            .args(["supervise", "--config"])
            .arg(at("wsgid.toml"))
            .stdin(Stdio::null())
            .stderr(log);
        let child = command.spawn().expect("the supervisor can be started");
        let alone = Self { directory, child };
        wsgid_tests::eventually("its socket", Duration::from_secs(20), || {
            alone.path("httpd.sock").exists().then_some(())
        });
        alone
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hostile(&self) -> Hostile {
        let program = self.path("hostile-child");
        fs::copy(env!("CARGO_BIN_EXE_hostile_child"), &program).expect("the program can be copied");
        Hostile {
            program,
            socket: self.path("httpd.sock"),
            secret: [0; 32],
            generation: 0,
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Without httpd's configuration it is the site's file that names them.
#[test]
fn root_a_site_file_names_all_that_its_site_runs() {
    case(Limit::seconds(60), || {
        let Some(accounts) = users::three() else {
            return;
        };
        let site = Site::of(&accounts[0]);
        for name in ["named.py", "scripts/one.py", "unnamed.py"] {
            site.write(name, SCRIPT);
        }
        let user = format!(
            "user = '{}'\ngroup = '{}'\nprocesses = 1\nthreads = 2\n",
            accounts[0].name, accounts[0].group
        );
        let at = |name: &str| site.file(name).display().to_string();
        let alone = Alone::new(&[
            (
                "one.toml",
                format!("[group.one]\n{user}scripts = ['{}']\n", at("named.py")),
            ),
            (
                "two.toml",
                format!(
                    "[group.two]\n{user}script-directories = ['{}', '/nowhere']\n",
                    at("scripts")
                ),
            ),
            ("none.toml", format!("[group.none]\n{user}")),
        ]);
        let hostile = alone.hostile();
        let runs = [("one", "named.py"), ("two", "scripts/one.py")];
        for group in ["one", "two", "none"] {
            for name in ["named.py", "scripts/one.py", "unnamed.py"] {
                let outcome = hostile
                    .ask(group, &[("application", site.file(name))])
                    .remove(0);
                let right = match &outcome {
                    Outcome::Body(200, text) => {
                        runs.contains(&(group, name))
                            && text.ends_with(&format!(" {}", accounts[0].uid))
                    }
                    other => {
                        !runs.contains(&(group, name)) && refused(other, group, &site.file(name))
                    }
                };
                assert!(right, "{group} {name}: {outcome:?}");
            }
        }
        let lack = "none.toml`: process group `none`: it names no script";
        let log = fs::read_to_string(alone.path("log")).expect("it has a log");
        assert!(
            log.contains(lack) && log.contains("script-directories = "),
            "{log}"
        );
        let mut check = Command::new(wsgid_tests::artifacts::wsgid());
        let output = check
            .args(["check", "--config"])
            .arg(alone.path("wsgid.toml"))
            .output()
            .expect("it can be run");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.code() == Some(7) && said.contains(lack),
            "{said}"
        );
        assert!(said.contains("script-directories= `/nowhere`"), "{said}");
    });
}

/// Each way in which a configuration can lead to a script, one URL each.
#[test]
fn whatever_the_configuration_names_runs() {
    case(Limit::seconds(120), || {
        let site = Site::new();
        for name in [
            "aliased.py",
            "directory/a.py",
            "matched/a.py",
            "handler.py",
            "questions.py",
            "docs/a.wsgi",
            "docs/index.wsgi",
            "docs/multi.wsgi.en",
            "wild/one/scripts/a.wsgi",
            "located/a.py",
            "located/deep/a.py",
            "files/only.py",
            "hta/a.py",
            "rewritten/a.py",
            "releases/42/a.py",
            "host/a.wsgi",
            "inside/a.py",
            "vhosts/localhost/a.wsgi",
        ] {
            site.write(name, SCRIPT);
        }
        symlink("releases/42", site.file("current")).expect("a link can be made");
        site.write(
            "hta/.htaccess",
            "Options +ExecCGI\nAddHandler wsgi-script .py\n",
        );
        site.write("docs/thing.data", "data");
        site.write(
            "included.conf",
            &format!(
                "WSGIScriptAlias /included {}\n",
                site.file("aliased.py").display()
            ),
        );
        let mut builder = Httpd::builder();
        let port = builder.another_port();
        let modules = [
            "rewrite",
            "dir",
            "negotiation",
            "mime",
            "actions",
            "vhost_alias",
            "macro",
            "authz_host",
        ];
        let builder = modules
            .iter()
            .fold(builder, |builder, module| builder.load(module));
        let lines = FORMS
            .replace('$', &site.path().display().to_string())
            .replace('@', &port.to_string())
            .replace('#', "$");
        let httpd = builder
            .daemon("site", "processes=1 threads=3")
            .line(lines)
            .start();
        for path in [
            "/aliased/x",
            "/directory/a.py/x",
            "/bare/a.py",
            "/matched/a",
            "/current/x",
            "/docs/a.wsgi/x",
            "/docs/",
            "/docs/multi",
            "/docs/thing.data",
            "/wild/one/scripts/a.wsgi",
            "/located/a.py",
            "/located/deep/a.py",
            "/files/only.py",
            "/hta/a.py",
            "/rewritten/x",
            "/included",
            "/macro",
            "/inside",
            "/if/a.py",
        ] {
            let answer = httpd.get(path);
            assert_eq!(
                answer.status,
                200,
                "{path}: {}\n{}",
                answer.text(),
                httpd.error_log()
            );
            assert!(
                answer
                    .text()
                    .contains(&format!(" {}", nix::unistd::geteuid()))
                    || users::is_root(),
                "{path}"
            );
        }
        for host in ["host.example", "localhost"] {
            let request = wsgid_tests::Request::new("GET", "/a.wsgi").header("Host", host);
            let mut client = wsgid_tests::Client::new(([127, 0, 0, 1], port).into());
            assert_eq!(
                client.send(&request).expect("an answer").status,
                200,
                "{host}\n{}",
                httpd.error_log()
            );
        }
        assert!(
            !httpd.error_log().contains("may not run"),
            "{}",
            httpd.error_log()
        );
        httpd.stop();
    });
}

/// `$` is the site's directory, `#` a dollar, `@` a further port.
const FORMS: &str = "\
WSGIProcessGroup site
WSGIApplicationGroup %{GLOBAL}
WSGIScriptAlias /aliased $/aliased.py
<IfModule alias_module>
  <IfDefine !NOBODY_DEFINES_THIS>
    WSGIScriptAlias /directory/ $/directory/
  </IfDefine>
</IfModule>
Include $/included.conf
WSGIScriptAlias /bare $/directory
WSGIScriptAliasMatch ^/matched/([a-z]+) $/matched/#1.py
WSGIScriptAlias /current $/current/a.py
<Macro Mounted #path #script>
  WSGIScriptAlias #path #script
</Macro>
Use Mounted /macro $/aliased.py
<Directory $>
  Require all granted
</Directory>
Alias /docs $/docs
Alias /wild $/wild
Alias /located $/located
Alias /files $/files
Alias /hta $/hta
Alias /if $/located
<Location /inside>
  Alias $/inside/a.py
  SetHandler wsgi-script
  Options +ExecCGI
</Location>
<Directory $/docs>
  Options +ExecCGI +MultiViews
  MultiviewsMatch Handlers
  AddHandler wsgi-script .wsgi
  AddLanguage en .en
  DirectoryIndex index.wsgi
</Directory>
WSGIHandlerScript data-handler $/handler.py
AddHandler data-handler .data
<Directory $/wild/*/scripts>
  Options +ExecCGI
  SetHandler wsgi-script
</Directory>
<Location /located>
  Options +ExecCGI
  SetHandler wsgi-script
</Location>
<Files only.py>
  Options +ExecCGI
  SetHandler wsgi-script
</Files>
<If \"%{REQUEST_URI} =~ m#^/if/#\">
  Options +ExecCGI
  SetHandler wsgi-script
</If>
<Directory $/hta>
  AllowOverride FileInfo Options
</Directory>
RewriteEngine On
RewriteRule ^/rewritten/(.*) $/rewritten/a.py [H=wsgi-script]
<Directory $/rewritten>
  Options +ExecCGI
</Directory>
<VirtualHost *:@>
  ServerName host.example
  DocumentRoot $/host
  AddHandler wsgi-script .wsgi
  <Directory $/host>
    Options +ExecCGI
  </Directory>
</VirtualHost>
<VirtualHost *:@>
  ServerName localhost
  UseCanonicalName Off
  VirtualDocumentRoot $/vhosts/%0
  AddHandler wsgi-script .wsgi
  <Directory $/vhosts>
    Options +ExecCGI
  </Directory>
</VirtualHost>
";
