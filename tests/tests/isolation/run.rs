//! The attacks, made: each attacker against the sites of a case, and what came of it beside what
//! the table says.

use serde_json::json;
use wsgid_tests::{Httpd, Json, Request, TestUser, note};

use crate::server::{Ground, Server};
use crate::sites::{Preset, Site};
use crate::table::{Attack, Means, attacks};

/// What came of one attack.
#[derive(Debug)]
pub(crate) enum Came {
    Done(String),
    Refused(String),
    Lacking(String),
}

/// A server with its sites.
#[derive(Debug)]
pub(crate) struct Everybody {
    pub(crate) server: Server,
    attackers: Vec<Site>,
    victims: Vec<Site>,
}

/// Who is attacked by whom.
pub(crate) struct Pair<'s> {
    pub(crate) attacker: &'s Site,
    pub(crate) victims: Vec<&'s Site>,
}

impl Everybody {
    /// For each preset an attacker, with more options, a site of its user, and where there are two
    /// users one of the other.
    pub(crate) fn start(
        mut ground: Ground,
        owners: &[Option<&TestUser>],
        presets: &[Preset],
        more: &str,
    ) -> Self {
        let (mut attackers, mut victims) = (Vec::new(), Vec::new());
        for preset in presets {
            let name = format!("a-{}", preset.name());
            let site = Site::make(&ground.places, &name, "attacker", owners[0], *preset);
            for place in [
                &ground.places.own_etc,
                &ground.places.usr,
                &ground.places.var,
            ] {
                place.of(&name, site.user.as_ref());
            }
            ground.serve(&site, more);
            attackers.push(site);
            for (letter, user) in ["b", "c"].iter().zip(owners) {
                let name = format!("{letter}-{}", preset.name());
                let site = Site::make(&ground.places, &name, "victim", *user, *preset);
                ground.serve(&site, "");
                ground.spare(&site);
                victims.push(site);
            }
        }
        Self {
            server: ground.start(),
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

    pub(crate) fn target(&self, attacker: &Site, site: &Site) -> Json {
        let at = format!("/{}", site.name);
        let state = self.server.httpd.get(&format!("{at}/state"));
        assert_eq!(
            state.status,
            200,
            "{at}: {}",
            String::from_utf8_lossy(&state.body)
        );
        let mut target = site.described(state.json(), self.server.httpd.url(&at));
        let sockets = self.server.control.with_file_name("httpd.sock");
        let more = json!({
            "planted": attacker.name.clone() + "-" + &site.name,
            "control": self.server.control,
            "requests": sockets,
            "wsgid": self.server.wsgid,
            "error_log": self.server.httpd.root().join("error.log"),
            "own_in_etc": self.server.places.own_etc.path().join(&attacker.name),
            "own_in_usr": self.server.places.usr.path().join(&attacker.name),
            "own_in_var": self.server.places.var.path().join(&attacker.name),
            "setuid": self.server.places.setuid(),
            "supervisor": self.server.httpd.supervisor().map(|pid| pid.number),
            "device": self.server.places.device.as_ref().map(|device| &device.0),
        });
        let map = target.as_object_mut().expect("it is a map");
        map.extend(more.as_object().expect("it is a map").clone());
        target
    }

    /// Makes all attacks of which something is expected; gives what is otherwise.
    pub(crate) fn attack_all(
        &self,
        pair: &Pair<'_>,
        expected: impl Fn(&Attack) -> Option<[bool; 2]>,
    ) -> Vec<String> {
        let targets: Vec<Json> = pair
            .victims
            .iter()
            .map(|victim| self.target(pair.attacker, victim))
            .collect();
        let missing = self.server.missing(&pair.attacker.name);
        let mut wrong = Vec::new();
        for attack in attacks() {
            let Some(expected) = expected(attack) else {
                continue;
            };
            let times = if attack.on_a_site { targets.len() } else { 1 };
            for (whose, target) in targets.iter().enumerate().take(times) {
                let came = crate::run::attack(
                    &self.server.httpd,
                    &pair.attacker.name,
                    attack.name,
                    target,
                );
                let who = &pair.victims[whose].name;
                let place = format!("{}, {} on {who}", attack.name, pair.attacker.name);
                if std::env::var_os("WSGID_SHOW_ATTACKS").is_some() {
                    note(&format!("{place}: {came:?}"));
                }
                if attack.name == "control_socket" && matches!(came, Came::Done(_)) {
                    let (started, said) = self.server.wsgid(&["start", &format!("{who}-spare")]);
                    assert!(started, "{said}");
                }
                if let Some(why) = is_missing(attack, &missing).filter(|_| !expected[whose]) {
                    note(&format!("{place}: {came:?}, as this machine lacks {why}"));
                    continue;
                }
                if let Some(text) = judge(attack, pair.attacker.preset, expected[whose], &came) {
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

/// Has a site make an attack.
pub(crate) fn attack(httpd: &Httpd, site: &str, name: &str, target: &Json) -> Came {
    let body = json!({"name": name, "target": target}).to_string();
    let request = Request::post(&format!("/{}", site), body.into_bytes());
    let answer = httpd.client().send(&request).expect("an answer");
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

/// What is not in force of what would stop an attack.
fn is_missing<'m>(attack: &Attack, missing: &'m [String]) -> Option<&'m String> {
    let is_of = |text: &&String| {
        let name = text.split(':').next().unwrap_or(text);
        attack.by.parts().contains(&name)
    };
    missing.iter().find(is_of)
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
            let filtered = [
                "EPERM",
                "ENOSYS",
                "EAFNOSUPPORT",
                "SIGSYS",
                "ended with status 0x1f",
            ];
            let filtered = filtered.iter().any(|begin| why.starts_with(begin));
            (!filtered).then(|| format!("something else than the filter has refused it: {why}"))
        }
        Came::Refused(_) | Came::Lacking(_) => None,
    }
}
