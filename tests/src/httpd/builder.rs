//! The configuration of a test's httpd: a private ServerRoot, a free port, what
//! every suite needs and what one adds. `start`, beside `Httpd`, makes a server of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::program::{free_port, httpd_command, modules_directory};
use crate::mpm::Mpm;
use crate::site::temporary_directory;
use crate::users::TestUser;
use crate::{artifacts, claims, users};

/// What will be in the configuration.
#[derive(Debug)]
pub struct Builder {
    root: TempDir,
    mpm: Mpm,
    modules: Vec<&'static str>,
    pub(super) lines: Vec<String>,
    pub(super) ports: Vec<u16>,
    peer: Option<PathBuf>,
    loaded_by_site: Option<PathBuf>,
    artifacts: Option<PathBuf>,
    pub(super) user: Option<TestUser>,
    nobody: bool,
    by_ipv6: bool,
    pub(super) one_process: bool,
    pub(super) environment: Vec<(&'static str, PathBuf)>,
}

impl Builder {
    /// A server without any site. `$WSGID_TEST_PEER` names another module to
    /// load in the place of ours: to see what that one does in the same cases.
    #[must_use]
    pub fn new() -> Self {
        let root = temporary_directory("wsgid-httpd-");
        for name in ["htdocs", "run"] {
            crate::cache::make_readable_directory(&root.path().join(name));
        }
        let peer = std::env::var_os("WSGID_TEST_PEER").map(PathBuf::from);
        let modules = ["authz_core", "alias", "mime", "dir", "env", "setenvif"].to_vec();
        Self {
            root,
            mpm: Mpm::Event,
            modules,
            lines: Vec::new(),
            ports: vec![free_port()],
            peer,
            loaded_by_site: None,
            artifacts: None,
            user: None,
            nobody: false,
            by_ipv6: false,
            one_process: false,
            environment: Vec::new(),
        }
    }

    /// Runs copies of the artifacts, in a directory of the server's own, and
    /// returns it: to replace them while they run, or for a user who cannot read
    /// where they were built.
    ///
    /// # Panics
    /// If they cannot be copied.
    pub fn copied_artifacts(&mut self) -> PathBuf {
        let directory = self.root().join("bin");
        crate::cache::make_readable_directory(&directory);
        for path in [
            artifacts::wsgid(),
            artifacts::module(),
            artifacts::directory().join("libwsgid_worker.so"),
        ] {
            let name = path.file_name().expect("an artifact has a name");
            fs::copy(&path, directory.join(name)).expect("an artifact can be copied");
        }
        self.artifacts = Some(directory.clone());
        directory
    }

    /// Starts httpd as this user, from copied artifacts.
    #[must_use]
    pub fn started_by(mut self, user: &TestUser) -> Self {
        self.copied_artifacts();
        self.user = Some(user.clone());
        self
    }

    /// Leaves out `User` and `Group`, which httpd needs if root starts it.
    #[must_use]
    pub const fn without_user(mut self) -> Self {
        self.nobody = true;
        self
    }

    /// Starts httpd with this in its environment.
    #[must_use]
    pub fn environment(mut self, name: &'static str, value: PathBuf) -> Self {
        self.environment.push((name, value));
        self
    }

    /// Starts httpd with -X: one process that does all.
    #[must_use]
    pub fn one_process(mut self) -> Self {
        self.one_process = true;
        self
    }

    /// Chooses the MPM; else it is event.
    #[must_use]
    pub fn mpm(mut self, mpm: Mpm) -> Self {
        self.mpm = mpm;
        self
    }

    /// Loads this module in the place of ours, to compare the two.
    #[must_use]
    pub fn peer(mut self, module: PathBuf) -> Self {
        self.peer = Some(module);
        self
    }

    /// Leaves it to the lines to load the module of WSGI. They find this one below the
    /// server's root by each name that a distribution gives mod_wsgi, among all of httpd's modules.
    #[must_use]
    pub fn loaded_by_site(mut self, module: PathBuf) -> Self {
        self.loaded_by_site = Some(module);
        self
    }

    /// Loads one more of httpd's own modules, by the name in its file name.
    #[must_use]
    pub fn load(mut self, module: &'static str) -> Self {
        self.modules.push(module);
        self
    }

    /// Adds a directive or several lines of them.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds a process group.
    #[must_use]
    pub fn daemon(self, name: &str, options: &str) -> Self {
        self.line(format!("WSGIDaemonProcess {name} {options}"))
    }

    /// Serves a script below a path, by a process group, in the main application group.
    #[must_use]
    pub fn mount(self, at: &str, script: &Path, group: &str) -> Self {
        self.mount_with(
            at,
            script,
            &format!("process-group={group} application-group=%{{GLOBAL}}"),
        )
    }

    /// Serves a script below a path.
    #[must_use]
    pub fn mount_with(self, at: &str, script: &Path, options: &str) -> Self {
        let directory = script.parent().unwrap_or(script).display().to_string();
        self.line(format!(
            "WSGIScriptAlias {at} {} {options}",
            script.display()
        ))
        .line(format!(
            "<Directory {directory}>\n  Require all granted\n</Directory>"
        ))
    }

    /// Where it will listen.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// Listens on `[::1]` too, on the same ports.
    #[must_use]
    pub const fn also_by_ipv6(mut self) -> Self {
        self.by_ipv6 = true;
        self
    }

    /// Listens on one more port and returns it.
    pub fn another_port(&mut self) -> u16 {
        let port = free_port();
        self.ports.push(port);
        port
    }

    /// Where the server's files will be.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Asks httpd whether it would take this configuration.
    ///
    /// # Panics
    /// If httpd cannot be run.
    #[must_use]
    pub fn check(&self) -> Check {
        self.ask("-t")
    }

    /// Asks httpd something about this configuration: -S, -M and their like.
    ///
    /// # Panics
    /// If httpd cannot be run.
    #[must_use]
    pub fn ask(&self, option: &str) -> Check {
        self.write();
        let output = httpd_command(self.root())
            .arg(option)
            .output()
            .expect("httpd can be run");
        Check {
            ok: output.status.success(),
            text: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(super) fn write(&self) {
        let text = self.text();
        if let Some(module) = &self.loaded_by_site {
            link_modules(&self.root().join("modules"), module);
        }
        claims::configured(self.mpm, &text);
        fs::write(self.root().join("httpd.conf"), text).expect("the server root can be written");
    }

    fn text(&self) -> String {
        let root = self.root().display();
        let modules = modules_directory();
        let mut text =
            format!("ServerRoot {root}\nDefaultRuntimeDir {root}/run\nPidFile {root}/httpd.pid\n");
        text += "ServerName localhost\nTimeout 60\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 15\n";
        text += &self
            .mpm
            .lines()
            .replace('$', &modules.display().to_string());
        for port in &self.ports {
            text += &format!("Listen 127.0.0.1:{port}\n");
            if self.by_ipv6 {
                text += &format!("Listen [::1]:{port}\n");
            }
        }
        for module in &self.modules {
            text += &format!(
                "<IfModule !mod_{module}.c>\n  LoadModule {module}_module {}/mod_{module}.so\n</IfModule>\n",
                modules.display()
            );
        }
        if users::is_root() && !self.nobody {
            let user = users::of_httpd();
            text += &format!("User {}\nGroup {}\n", user.name, user.group);
        }
        if self.loaded_by_site.is_some() {
            // The lines do it.
        } else if let Some(peer) = &self.peer {
            text += &format!(
                "LoadModule wsgi_module {}\nWSGISocketPrefix {root}/run/wsgi\n",
                peer.display()
            );
        } else {
            let own = |name: &str| {
                self.artifacts
                    .as_ref()
                    .map(|directory| directory.join(name))
            };
            let module = own("libmod_wsgid.so").unwrap_or_else(artifacts::module);
            let wsgid = own("wsgid").unwrap_or_else(artifacts::wsgid);
            text += &format!("LoadModule wsgi_module {}\n", module.display());
            text += &format!("WSGISupervisorExecutable {}\n", wsgid.display());
        }
        text += &format!("DocumentRoot {root}/htdocs\nErrorLog {root}/error.log\nLogLevel info\n");
        text += "LogFormat \"%t %>s %X %B %Dus failure=%{wsgi.failure}n %r\" tests\n";
        text += &format!("CustomLog {root}/access.log tests\nTypesConfig /dev/null\n");
        text += "<Directory />\n  Require all denied\n</Directory>\n";
        text += &format!("<Directory {root}/htdocs>\n  Require all granted\n</Directory>\n");
        for line in &self.lines {
            text += line;
            text.push('\n');
        }
        text
    }
}

fn link_modules(directory: &Path, module: &Path) {
    if directory.exists() {
        return;
    }
    crate::cache::make_readable_directory(directory);
    let names =
        ["mod_wsgi.so", "mod_wsgi_python3.so"].map(|name| (PathBuf::from(name), module.to_owned()));
    let others = fs::read_dir(modules_directory())
        .into_iter()
        .flatten()
        .flatten();
    let others = others.map(|entry| (PathBuf::from(entry.file_name()), entry.path()));
    for (name, module) in others
        .filter(|(name, _)| !name.starts_with("mod_wsgi.so"))
        .chain(names)
    {
        symlink(module, directory.join(name)).expect("the server root can be written");
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// What `httpd -t` said.
#[derive(Debug)]
pub struct Check {
    /// Whether it would start.
    pub ok: bool,
    /// Its words.
    pub text: String,
}
