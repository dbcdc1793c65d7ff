//! What comes after a site was started: another one replaces its files, as deploys and log
//! rotation do. What is new is no more seen than what was there.

use std::fs;
use std::path::Path;

use serde_json::json;
use wsgid_tests::{Limit, TestUser, case, note, users};

use crate::places;
use crate::run::{Came, attack};
use crate::server::Ground;
use crate::sites::{Preset, Site};

/// Writes a file in the place of another, with its rights, as editors do.
fn replace(path: &Path, text: &str, user: &TestUser) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("root can write there");
    places::mode(&new, 0o640);
    places::give(&new, Some(user));
    fs::rename(new, path).expect("root can rename it");
}

/// What is done to a site, and what is to be read of it then.
type Change = (&'static str, fn(&Site, &TestUser) -> Vec<String>);

const CHANGES: &[Change] = &[
    ("its env-file is written anew", |site, user| {
        replace(&site.etc, &site.secret, user);
        vec![site.etc.display().to_string()]
    }),
    ("its log is rotated", |site, user| {
        let old = site.log.with_extension("log.1");
        fs::rename(&site.log, &old).expect("root can rename it");
        places::write(&site.log, &site.secret, 0o640, Some(user));
        [old, site.log.clone()]
            .map(|path| path.display().to_string())
            .to_vec()
    }),
    ("its scripts in /opt are exchanged", |site, user| {
        let old = site.elsewhere.with_extension("old");
        fs::rename(&site.elsewhere, &old).expect("root can rename it");
        fs::create_dir(&site.elsewhere).expect("root can make it");
        places::write(
            &site.elsewhere.join("settings.py"),
            &site.secret,
            0o644,
            Some(user),
        );
        [old, site.elsewhere.clone()]
            .map(|path| path.join("settings.py").display().to_string())
            .to_vec()
    }),
    ("a release is made current", |site, user| {
        let releases = site.elsewhere.with_extension("releases");
        let new = releases.join("2");
        fs::create_dir(&new).expect("root can make it");
        places::write(&new.join("settings.py"), &site.secret, 0o644, Some(user));
        fs::remove_file(releases.join("current")).expect("root can remove it");
        std::os::unix::fs::symlink("2", releases.join("current")).expect("root can make it");
        ["current", "1", "2"]
            .map(|name| {
                releases
                    .join(name)
                    .join("settings.py")
                    .display()
                    .to_string()
            })
            .to_vec()
    }),
];

/// `releases/current` beside the directory of scripts in `/opt`, a link to the first one.
fn prepare_releases(site: &Site, user: &TestUser) -> String {
    let releases = site.elsewhere.with_extension("releases");
    fs::create_dir_all(releases.join("1")).expect("root can make it");
    places::write(
        &releases.join("1/settings.py"),
        &site.secret,
        0o644,
        Some(user),
    );
    std::os::unix::fs::symlink("1", releases.join("current")).expect("root can make it");
    format!(
        "script-directories={}:{}/current",
        site.elsewhere.display(),
        releases.display()
    )
}

fn changes(preset: Preset, user: &TestUser) -> Vec<String> {
    let mut ground = Ground::of(None);
    let attacker = Site::make(&ground.places, "a", "attacker", Some(user), preset);
    let victim = Site::make(&ground.places, "b", "victim", Some(user), preset);
    let more = prepare_releases(&victim, user);
    ground.serve(&attacker, "");
    ground.serve(&victim, &more);
    let server = ground.start();
    for site in [&attacker, &victim] {
        let status = server.httpd.get(&format!("/{}", site.name)).status;
        let log = fs::read_to_string(&site.log).unwrap_or_default();
        assert_eq!(status, 200, "{}: {log}", site.name);
    }
    if server.lacks(&attacker.name) {
        server.httpd.stop();
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for (what, change) in CHANGES {
        for path in change(&victim, user) {
            let target = json!({"secret": victim.secret, "reads": path});
            let came = attack(&server.httpd, &attacker.name, "read", &target);
            let text = format!("{}, {what}: {path}: {came:?}", preset.name());
            note(&text);
            if matches!(came, Came::Done(_)) != (preset == Preset::None) {
                wrong.push(text);
            }
        }
    }
    // A supervisor that replaces itself keeps its sockets, or they are hidden again.
    let (done, said) = server.wsgid(&["reexec"]);
    assert!(done, "{said}");
    let target = json!({
        "control": server.control, "wsgid": server.wsgid, "spare": victim.name, "secret": "",
    });
    let came = attack(&server.httpd, &attacker.name, "control_socket", &target);
    if matches!(came, Came::Done(_)) != (preset == Preset::None) {
        wrong.push(format!(
            "{}, the supervisor replaces itself: {came:?}",
            preset.name()
        ));
    }
    server.httpd.stop();
    wrong
}

#[test]
fn root_what_others_replace_is_not_seen_either() {
    case(Limit::seconds(200), || {
        let Some([user, ..]) = users::three() else {
            return;
        };
        let all = Preset::ALL.iter();
        let wrong: Vec<String> = all.flat_map(|preset| changes(*preset, user)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
