//! A site that is checked, by root and by an ordinary user, and what is expected of it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use wsgid_tests::control::Said;
use wsgid_tests::{TestUser, artifacts, cache, users};

use crate::{APPLICATION, CONFIGURATION, OK};

/// A site in `home`, with directories beside it.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) user: TestUser,
    /// Whether that user checks it, and not root.
    pub(crate) by_user: bool,
    pub(crate) preset: &'static str,
}

impl Place {
    pub(crate) fn new(by_user: bool, preset: &'static str) -> Self {
        let user = match users::three() {
            Some([first, ..]) => first.clone(),
            None => users::of_httpd(),
        };
        let directory = tempfile::Builder::new()
            .prefix("check-")
            .tempdir_in(cache::directory())
            .expect("the cache can be written");
        let place = Self {
            directory,
            user,
            by_user,
            preset,
        };
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(place.directory.path(), open).expect("it is ours");
        for name in ["home", "beside", "sites"] {
            fs::create_dir(place.at(name)).expect("it is ours");
        }
        if fs::hard_link(artifacts::wsgid(), place.at("wsgid")).is_err() {
            fs::copy(artifacts::wsgid(), place.at("wsgid")).expect("there is room");
        }
        let main = format!(
            "[supervisor]\nsocket = '{0}/httpd.sock'\nhttpd-user = '{1}'\nsites = '{0}/sites'\n",
            place.shown(""),
            users::of_httpd().name
        );
        fs::write(place.at("wsgid.toml"), main).expect("it is ours");
        place
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn shown(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// Checks it with this application. `@` is the directory that all of it is in.
    pub(crate) fn checked(&self, script: &str, options: &str) -> Said {
        self.checked_with(script, options, &[])
    }

    pub(crate) fn checked_with(&self, script: &str, options: &str, args: &[&str]) -> Said {
        self.define(script, options);
        let mut command = self.command(&[]);
        self.said(command.arg("check").args(args))
    }

    pub(crate) fn define(&self, script: &str, options: &str) {
        let own = |text: &str| text.replace('@', self.shown("").trim_end_matches('/'));
        let script = own(script) + APPLICATION;
        fs::write(self.at("home/app.py"), script).expect("it is ours");
        // An ordinary user cannot have all of it on every machine.
        let is_said = options.contains("isolation-fallback");
        let fallback = if self.by_user && !is_said {
            "isolation-fallback = true\n"
        } else {
            ""
        };
        let group = format!(
            "[group.a]\nuser = '{}'\nhome = '@/home'\nscripts = ['@/home/app.py']\nisolation = '{}'\n{fallback}{options}\n",
            self.user.name, self.preset
        );
        fs::write(self.at("sites/a.toml"), own(&group)).expect("it is ours");
        for name in ["home", "beside"] {
            users::give(&self.at(name), &self.user);
        }
    }

    /// `wsgid`, by whoever checks, behind these words.
    pub(crate) fn command(&self, front: &[&str]) -> Command {
        let mut words: Vec<String> = Vec::new();
        if self.by_user && users::is_root() {
            let TestUser { uid, gid, .. } = self.user;
            words.extend(["setpriv".into(), "--clear-groups".into()]);
            words.extend([format!("--reuid={uid}"), format!("--regid={gid}")]);
        }
        words.extend(front.iter().map(|word| (*word).to_owned()));
        words.push(self.shown("wsgid"));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    pub(crate) fn said(&self, command: &mut Command) -> Said {
        let output = command
            .arg("--config")
            .arg(self.at("wsgid.toml"))
            .output()
            .expect("wsgid can be run");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Said {
            code: output.status.code().unwrap_or(-1),
            text,
        }
    }

    /// It would not load, and these lines say why, with what opens it.
    pub(crate) fn would_break(&self, script: &str, options: &str, parts: &[&str]) {
        let said = self.checked(script, options);
        assert_eq!(said.code, CONFIGURATION, "{self:?}: {}", said.text);
        for part in parts {
            let part = part.replace('@', self.shown("").trim_end_matches('/'));
            let has = said
                .text
                .lines()
                .any(|line| line.starts_with("  problem  ") && line.contains(&part));
            assert!(has, "{self:?}: {part}: {}", said.text);
        }
    }

    pub(crate) fn loads(&self, script: &str, options: &str) -> String {
        let said = self.checked(script, options);
        assert_eq!(said.code, OK, "{self:?}: {}", said.text);
        let loads = format!(
            "ok       script `{}` loads in its isolation",
            self.shown("home/app.py")
        );
        assert!(said.text.contains(&loads), "{self:?}: {}", said.text);
        said.text
    }

    /// It loads, and these notes say what it was denied meanwhile.
    pub(crate) fn loads_without(&self, script: &str, options: &str, parts: &[&str]) {
        let text = self.loads(script, options);
        for part in parts {
            let part = part.replace('@', self.shown("").trim_end_matches('/'));
            let has = text
                .lines()
                .any(|line| line.starts_with("  note     ") && line.contains(&part));
            assert!(has, "{self:?}: {part}: {text}");
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = if self.by_user { "a user" } else { "root" };
        write!(out, "{}, by {who}", self.preset)
    }
}

/// By whom it can be checked here.
pub(crate) fn checkers() -> &'static [bool] {
    if users::is_root() {
        &[false, true]
    } else {
        &[true]
    }
}

pub(crate) fn each_of(presets: &[&'static str], body: impl Fn(&Place)) {
    for by_user in checkers() {
        for preset in presets {
            body(&Place::new(*by_user, preset));
        }
    }
}

pub(crate) fn each(body: impl Fn(&Place)) {
    each_of(&["private", "strict"], body);
}
