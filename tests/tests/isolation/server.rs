//! The server of a case: an httpd whose sockets lie where sites could see them, and `wsgid`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use wsgid_protocol::status::Status;
use wsgid_tests::{Builder, Httpd, TestUser, artifacts, control, eventually, note, users};

use crate::places::{self, Places};
use crate::sites::Site;

const SOON: Duration = Duration::from_secs(30);

/// What a server is made of.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) places: Places,
    builder: Builder,
    sockets: PathBuf,
    wsgid: PathBuf,
    /// Whether each group names its user.
    is_roots: bool,
}

/// A running one.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) httpd: Httpd,
    pub(crate) places: Places,
    /// A copy of the program that sites can run.
    pub(crate) wsgid: PathBuf,
    pub(crate) control: PathBuf,
}

impl Ground {
    /// With httpd started by this user, or by whoever runs the tests.
    pub(crate) fn of(starter: Option<&TestUser>) -> Self {
        let places = Places::make();
        let sockets = places.var.of("sockets", starter);
        let mut builder = Httpd::builder();
        let wsgid = builder.copied_artifacts().join("wsgid");
        if let Some(user) = starter {
            builder = builder.started_by(user);
        }
        let builder = builder
            .line("WSGIRestrictSignal Off")
            .line(format!("WSGISocketPrefix {}/wsgi", sockets.display()));
        Self {
            places,
            builder,
            sockets,
            wsgid,
            is_roots: users::is_root() && starter.is_none(),
        }
    }

    /// Where httpd will listen.
    pub(crate) fn port(&self) -> u16 {
        self.builder.port()
    }

    fn identity(&self, site: &Site) -> String {
        let user = site.user.as_ref().filter(|_| self.is_roots);
        user.map_or_else(String::new, |user| {
            format!("user={} group={}", user.name, user.group)
        })
    }

    /// Serves a site, by a group with more options.
    pub(crate) fn serve(&mut self, site: &Site, more: &str) {
        let identity = self.identity(site);
        let builder = std::mem::take(&mut self.builder);
        self.builder = builder
            .daemon(&site.name, &site.options(&identity, more))
            .mount(
                &format!("/{}", site.name),
                &site.home.join("wsgi.py"),
                &site.name,
            );
    }

    /// Adds a group of a site's user that serves nothing.
    pub(crate) fn spare(&mut self, site: &Site) {
        let identity = self.identity(site);
        let name = format!("{}-spare", site.name);
        self.builder = std::mem::take(&mut self.builder).daemon(&name, &identity);
    }

    pub(crate) fn start(self) -> Server {
        let httpd = self.builder.start();
        if users::is_root() {
            places::mode(&httpd.root().join("error.log"), 0o600);
        }
        let control = eventually("the control socket", SOON, || {
            control::socket(&self.sockets)
        });
        Server {
            httpd,
            places: self.places,
            wsgid: self.wsgid,
            control,
        }
    }
}

impl Server {
    /// Runs `wsgid` as whoever runs the tests; gives whether it succeeded, and what it said.
    pub(crate) fn wsgid(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(artifacts::wsgid());
        let out = command
            .args(args)
            .arg("--socket")
            .arg(&self.control)
            .output()
            .expect("wsgid can be run");
        let text = [out.stdout, out.stderr].concat();
        (
            out.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// What a group's isolation lacks on this machine, once it has a worker.
    pub(crate) fn missing(&self, group: &str) -> Vec<String> {
        assert_eq!(self.httpd.get(&format!("/{group}")).status, 200, "{group}");
        let (answered, said) = self.wsgid(&["status", "--json"]);
        assert!(answered, "{said}");
        let status: Status = serde_json::from_str(&said).expect("a status");
        let group = status.group(group).expect("it is a group");
        group
            .isolation
            .as_ref()
            .map_or_else(Vec::new, |isolation| isolation.missing.clone())
    }

    /// Whether this machine lacks something of it, which is then said.
    pub(crate) fn lacks(&self, group: &str) -> bool {
        let missing = self.missing(group);
        for why in &missing {
            note(&format!("{group} is left out: this machine lacks {why}"));
        }
        !missing.is_empty()
    }

    /// A group's workers end and are made again, whether they come up or not.
    pub(crate) fn start_again(&self, group: &str) {
        let (stopped, said) = self.wsgid(&["stop", group]);
        assert!(stopped, "{said}");
        self.wsgid(&["start", group, "--timeout", "40"]);
    }
}
