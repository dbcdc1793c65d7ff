//! A site exchanges what its own options name for links to another site, and is started again:
//! what is made ready for its new worker, by root, shows nothing of the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use wsgid_tests::{Limit, Python, TestUser, case, note, until, users};

use crate::places::{self, Places};
use crate::run::{Came, attack};
use crate::server::Ground;
use crate::sites::{Preset, Site};

/// What a site exchanges, below its home, and for what.
struct Exchange {
    what: &'static str,
    path: &'static str,
    by: By,
    /// What it then reads: below its own path, or where it is.
    reads: &'static str,
}

enum By {
    /// A link to this, below `/srv/…` (sites) unless it is absolute.
    Link(&'static str),
    /// A `pyvenv.cfg` whose `home` is this.
    Settings(&'static str),
}

/// `{b}` is the other site's directory, `{home}` one of the user's in `/home`.
const EXCHANGES: &[Exchange] = &[
    Exchange {
        what: "a directory of read-write-paths=",
        path: "data",
        by: By::Link("{b}/site"),
        reads: "{a}/site/data/settings.py",
    },
    Exchange {
        what: "a directory of python-path=",
        path: "linked",
        by: By::Link("{b}/site"),
        reads: "{a}/site/linked/settings.py",
    },
    Exchange {
        what: "a file of reload-files=",
        path: "watched",
        by: By::Link("{b}/site/settings.py"),
        reads: "{b}/site/settings.py",
    },
    Exchange {
        what: "the site's directory by its parent",
        path: "linked",
        by: By::Link("{b}"),
        reads: "{b}/site/settings.py",
    },
    Exchange {
        what: "the directory of all sites",
        path: "linked",
        by: By::Link("{b}/.."),
        reads: "{b}/site/settings.py",
    },
    Exchange {
        what: "python-home= itself",
        path: "venv",
        by: By::Link("{b}/venv"),
        reads: "{b}/venv/lib/secret",
    },
    Exchange {
        what: "its python for the other's",
        path: "venv/bin/python",
        by: By::Link("{b}/venv/bin/python"),
        reads: "{b}/venv/lib/secret",
    },
    Exchange {
        what: "its installation for the other's environment",
        path: "venv/pyvenv.cfg",
        by: By::Settings("{b}/venv/bin"),
        reads: "{b}/venv/lib/secret",
    },
    Exchange {
        what: "its installation for the other's home",
        path: "venv/pyvenv.cfg",
        by: By::Settings("{b}/site/bin"),
        reads: "{b}/site/settings.py",
    },
    Exchange {
        what: "its installation for what is in the user's home",
        path: "venv/pyvenv.cfg",
        by: By::Settings("{home}/.local/bin"),
        reads: "{home}/.local/share/secret",
    },
    Exchange {
        what: "its installation for the whole machine",
        path: "venv/pyvenv.cfg",
        by: By::Settings("/bin"),
        reads: "{b}/site/settings.py",
    },
];

/// An environment of its own, which belongs to the site.
fn environment(path: &Path, user: &TestUser) {
    let mut made = Command::new(&Python::any().program);
    made.args(["-m", "venv", "--without-pip"]).arg(path);
    let mut given = Command::new("chown");
    given
        .arg("-hR")
        .arg(format!("{}:{}", user.uid, user.gid))
        .arg(path);
    for mut command in [made, given] {
        let out = command.output().expect("it can be run");
        assert!(out.status.success(), "{command:?}: {out:?}");
    }
}

fn prepare(site: &mut Site, places: &Places, user: &TestUser) -> String {
    let home = site.home.clone();
    let below = |name: &str| format!("{}/site/{name}", site.name);
    for name in ["data", "linked"] {
        places.sites.of(&below(name), Some(user));
    }
    places::write(&home.join("watched"), "", 0o644, Some(user));
    environment(&home.join("venv"), user);
    site.python_home = home.join("venv");
    let home = home.display();
    format!(
        "reload-files={home}/watched python-path={home}:{home}/linked startup-timeout=20 restart-burst=1 {}",
        match site.preset {
            Preset::None => String::new(),
            Preset::Private => format!("read-write-paths={home}/data"),
            Preset::Strict => format!("read-write-paths={home}:{home}/data"),
        }
    )
}

/// What the other has beside its home, and the user in its own.
fn prepare_other(site: &Site, places: &Places, user: &TestUser) {
    let secret = &site.secret;
    let venv = places.sites.path().join(&site.name).join("venv");
    environment(&venv, user);
    places::write(&venv.join("lib/secret"), secret, 0o644, Some(user));
    // As if a whole Python were installed there.
    places::write(&venv.join("lib/python3.11/os.py"), "", 0o644, Some(user));
    let name = &site.name;
    for directory in [
        ".local",
        ".local/share",
        ".local/lib",
        ".local/lib/python3.11",
    ] {
        places.homes.of(&format!("{name}/{directory}"), Some(user));
    }
    let share = places.homes.path().join(name).join(".local/share/secret");
    places::write(&share, secret, 0o644, Some(user));
}

fn exchanges_of(preset: Preset, user: &TestUser) -> Vec<String> {
    let mut ground = Ground::of(None);
    let mut attacker = Site::make(&ground.places, "a", "attacker", Some(user), preset);
    let more = prepare(&mut attacker, &ground.places, user);
    let victim = Site::make(&ground.places, "b", "victim", Some(user), preset);
    prepare_other(&victim, &ground.places, user);
    ground.serve(&attacker, &more);
    ground.serve(&victim, "");
    let server = ground.start();
    let (a, b) = (&attacker.name, &victim.name);
    if server.lacks(a) {
        server.httpd.stop();
        return Vec::new();
    }
    let sites = server.places.sites.path().display().to_string();
    let in_home = server.places.homes.path().join(b).display().to_string();
    let filled = |text: &str| {
        text.replace("{a}", &format!("{sites}/{a}"))
            .replace("{b}", &format!("{sites}/{b}"))
            .replace("{home}", &in_home)
    };
    let mut wrong = Vec::new();
    for exchange in EXCHANGES {
        let path = attacker.home.join(exchange.path);
        let mut target =
            json!({"secret": victim.secret, "path": path, "reads": filled(exchange.reads)});
        match exchange.by {
            By::Link(to) => target["leads_to"] = filled(to).into(),
            By::Settings(home) => target["text"] = settings(&path, &filled(home)).into(),
        }
        let before = attack(&server.httpd, a, "exchange", &target);
        assert!(
            matches!(before, Came::Done(_)),
            "{}: {before:?}",
            exchange.what
        );
        // Without isolation nothing is looked at again.
        if preset != Preset::None {
            server.start_again(a);
        }
        let answer = server.httpd.get(&format!("/{a}"));
        let came = if answer.status == 200 {
            attack(&server.httpd, a, "read", &target)
        } else {
            Came::Refused(format!("status {}", answer.status))
        };
        note(&format!("{}, {}: {came:?}", preset.name(), exchange.what));
        let possible = matches!(came, Came::Done(_));
        if possible != (preset == Preset::None) {
            wrong.push(format!("{}, {}: {came:?}", preset.name(), exchange.what));
        }
        put_back(&path);
        server.start_again(a);
        assert_eq!(server.httpd.get(&format!("/{a}")).status, 200);
    }
    server.httpd.stop();
    wrong
}

/// The site's own settings with another home.
fn settings(path: &Path, home: &str) -> String {
    let text = fs::read_to_string(path).expect("the environment has settings");
    let lines = text.lines().map(|line| {
        if line.starts_with("home ") {
            format!("home = {home}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

/// By the administrator, as the site itself may not start any more.
fn put_back(path: &Path) {
    let old = PathBuf::from(format!("{}.old", path.display()));
    fs::remove_file(path).expect("it was made by the site");
    fs::rename(old, path).expect("it was kept by the site");
}

#[test]
fn root_links_that_a_site_makes_show_it_nothing_of_others() {
    case(Limit::seconds(300), || {
        let Some([user, ..]) = users::three() else {
            return;
        };
        let all = Preset::ALL.iter();
        let wrong: Vec<String> = all.flat_map(|preset| exchanges_of(*preset, user)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Its log is written from outside, where links lead to others.
fn writes_to_the_other(preset: Preset, user: &TestUser) -> bool {
    let mut ground = Ground::of(None);
    let mut attacker = Site::make(&ground.places, "a", "attacker", Some(user), preset);
    let victim = Site::make(&ground.places, "b", "victim", Some(user), preset);
    ground.places.sites.of("a/site/log", Some(user));
    attacker.log = attacker.home.join("log/site.log");
    for site in [&attacker, &victim] {
        ground.serve(site, "");
    }
    let server = ground.start();
    let target = json!({"path": attacker.home.join("log"), "leads_to": victim.home});
    let came = attack(&server.httpd, "a", "exchange", &target);
    assert!(matches!(came, Came::Done(_)), "{came:?}");
    server.httpd.graceful();
    server.start_again("a");
    let _ = server.httpd.get("/a");
    let written = until(Duration::from_secs(3), || {
        victim.home.join("site.log").exists().then_some(())
    });
    server.httpd.stop();
    written.is_some()
}

#[test]
fn root_the_log_of_an_isolated_site_is_not_written_through_its_links() {
    case(Limit::seconds(200), || {
        let Some([user, ..]) = users::three() else {
            return;
        };
        let written = Preset::ALL.map(|preset| writes_to_the_other(preset, user));
        assert_eq!(written, [true, false, false]);
    });
}
