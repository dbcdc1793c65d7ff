//! The attacks, made: each attacker against the sites of a case, and what came of it beside what
//! the table says.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use wsgid_tests::{Builder, Httpd, Json, Request, TestUser, artifacts, control, eventually, note};

use crate::places::{self, Places};
use crate::sites::{Preset, Site};
use crate::table::{Attack, Means, attacks};

const SOON: Duration = Duration::from_secs(30);

/// What came of one attack.
#[derive(Debug)]
enum Came {
    Done(String),
    Refused(String),
    Lacking(String),
}

/// A server with its sites.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) httpd: Httpd,
    pub(crate) places: Places,
    wsgid: PathBuf,
    control: PathBuf,
    attackers: Vec<Site>,
    victims: Vec<Site>,
}

/// Who is attacked by whom.
pub(crate) struct Pair<'s> {
    pub(crate) attacker: &'s Site,
    pub(crate) victims: Vec<&'s Site>,
}

impl Server {
    /// For each preset an attacker, a site of its user, and where there are two users one of the other.
    pub(crate) fn start(builder: Builder, users: &[Option<&TestUser>], presets: &[Preset]) -> Self {
        let places = Places::make();
        let sockets = places.var.path().join("sockets");
        let mut builder = builder
            .line("WSGIRestrictSignal Off")
            .line(format!("WSGISocketPrefix {}/wsgi", sockets.display()));
        places.var.of("sockets", None);
        let wsgid = builder.copied_artifacts().join("wsgid");
        let (mut attackers, mut victims) = (Vec::new(), Vec::new());
        for preset in presets {
            let name = format!("a-{}", preset.name());
            let site = Site::make(&places, &name, "attacker", users[0], *preset);
            for place in [&places.etc, &places.usr, &places.var] {
                place.of(&name, site.user.as_ref());
            }
            builder = site.serve(builder, "no-new-privileges=Off");
            attackers.push(site);
            for (letter, user) in ["b", "c"].iter().zip(users) {
                let name = format!("{letter}-{}", preset.name());
                let site = Site::make(&places, &name, "victim", *user, *preset);
                builder = site.serve(builder, "");
                let identity = user.filter(|_| wsgid_tests::users::is_root());
                let identity = identity.map_or_else(String::new, |user| {
                    format!("user={} group={}", user.name, user.group)
                });
                builder = builder.daemon(&format!("{name}-spare"), &identity);
                victims.push(site);
            }
        }
        let httpd = builder.start();
        places::mode(&httpd.root().join("error.log"), 0o600);
        let control = eventually("the control socket", SOON, || control::socket(&sockets));
        Self {
            httpd,
            places,
            wsgid,
            control,
            attackers,
            victims,
        }
    }

    pub(crate) fn attacker(&self, preset: Preset) -> &Site {
        let mut all = self.attackers.iter();
        all.find(|site| site.preset == preset).expect("it was made")
    }

    pub(crate) fn victims(&self, preset: Preset) -> Vec<&Site> {
        let all = self.victims.iter();
        all.filter(|site| site.preset == preset).collect()
    }

    /// Runs `wsgid` as whoever runs the tests.
    pub(crate) fn wsgid(&self, args: &[&str]) {
        let mut command = Command::new(artifacts::wsgid());
        let out = command
            .args(args)
            .arg("--socket")
            .arg(&self.control)
            .output();
        let out = out.expect("wsgid can be run");
        assert!(
            out.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    fn target(&self, attacker: &Site, site: &Site) -> Json {
        let at = format!("/{}", site.name);
        let state = self.httpd.get(&format!("{at}/state"));
        assert_eq!(
            state.status,
            200,
            "{at}: {}",
            String::from_utf8_lossy(&state.body)
        );
        let mut target = site.described(state.json(), self.httpd.url(&at));
        let sockets = self.control.with_file_name("httpd.sock");
        let more = json!({
            "planted": attacker.name.clone() + "-" + &site.name,
            "control": self.control,
            "requests": sockets,
            "wsgid": self.wsgid,
            "error_log": self.httpd.root().join("error.log"),
            "own_in_etc": self.places.etc.path().join(&attacker.name),
            "own_in_usr": self.places.usr.path().join(&attacker.name),
            "own_in_var": self.places.var.path().join(&attacker.name),
            "setuid": self.places.setuid(),
            "device": self.places.device.as_ref().map(|device| &device.0),
        });
        let map = target.as_object_mut().expect("it is a map");
        map.extend(more.as_object().expect("it is a map").clone());
        target
    }

    fn attack(&self, attacker: &Site, name: &str, target: &Json) -> Came {
        let body = json!({"name": name, "target": target}).to_string();
        let request = Request::post(&format!("/{}", attacker.name), body.into_bytes());
        let answer = self.httpd.client().send(&request).expect("an answer");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{name}: {text}");
        let said = answer.json();
        let word = |key: &str| said[key].as_str().map(str::to_owned);
        if let Some(proof) = word("done") {
            return Came::Done(proof);
        }
        if let Some(why) = word("refused") {
            return Came::Refused(why);
        }
        let why = word("lacking").unwrap_or_else(|| panic!("{name}: {said}"));
        Came::Lacking(why)
    }

    /// Makes all attacks that `wanted` lets through; gives what is not as the table has it.
    pub(crate) fn attack_all(
        &self,
        pair: &Pair<'_>,
        wanted: impl Fn(&Attack) -> bool,
    ) -> Vec<String> {
        let targets: Vec<Json> = pair
            .victims
            .iter()
            .map(|victim| self.target(pair.attacker, victim))
            .collect();
        let mut wrong = Vec::new();
        for attack in attacks().filter(|attack| wanted(attack)) {
            let times = if attack.on_a_site { targets.len() } else { 1 };
            for (whose, target) in targets.iter().enumerate().take(times) {
                let came = self.attack(pair.attacker, attack.name, target);
                let expected = attack.possible[pair.attacker.preset as usize][whose];
                let who = &pair.victims[whose].name;
                let place = format!("{}, {} on {who}", attack.name, pair.attacker.name);
                if std::env::var_os("WSGID_SHOW_ATTACKS").is_some() {
                    note(&format!("{place}: {came:?}"));
                }
                if attack.name == "control_socket" && matches!(came, Came::Done(_)) {
                    self.wsgid(&["start", &format!("{who}-spare")]);
                }
                if let Some(text) = judge(attack, pair.attacker.preset, expected, &came) {
                    wrong.push(format!("{place}: {text}"));
                }
            }
        }
        // Nobody has lost its process.
        for (victim, target) in pair.victims.iter().zip(&targets) {
            let now = self.target(pair.attacker, victim);
            assert_eq!(now["pid"], target["pid"], "{} has died", victim.name);
        }
        wrong
    }
}

/// What is wrong with what came of an attack, if anything is.
fn judge(attack: &Attack, preset: Preset, expected: bool, came: &Came) -> Option<String> {
    match came {
        Came::Done(proof) if expected => {
            assert!(!proof.is_empty(), "{}: no proof", attack.name);
            None
        }
        Came::Done(proof) => Some(format!("it is possible: {proof}")),
        Came::Refused(why) | Came::Lacking(why) if expected => {
            let text = format!("it is not possible: {why}");
            if !attack.needs_machine {
                return Some(text);
            }
            note(&format!("{}: not on this machine: {why}", attack.name));
            None
        }
        Came::Refused(why) if attack.by == Means::Seccomp && preset != Preset::None => {
            let filtered = ["EPERM", "ENOSYS", "SIGSYS", "ended with status 0x1f"];
            let filtered = filtered.iter().any(|begin| why.starts_with(begin));
            (!filtered).then(|| format!("something else than the filter has refused it: {why}"))
        }
        Came::Refused(_) | Came::Lacking(_) => None,
    }
}
