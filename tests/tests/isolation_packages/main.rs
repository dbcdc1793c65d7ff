//! Packages that sites use, each doing one thing that counts, under `isolation=private` and
//! `isolation=strict`; and what of the system a site finds without naming it.
//!
//! They are fetched once, 170 MB; `WSGID_PACKAGES=all` (`make isolation-packages`) adds the
//! large ones, 230 MB more. The table of docs/isolation.md is printed from `rows`.

mod places;
mod rows;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::thread;

use rows::{PROGRAM, ROWS, Row};
use server::{Peers, own_mounts};
use wsgid_tests::cache::make_readable_directory;
use wsgid_tests::{Httpd, Limit, Site, case, users};

/// How a group is isolated. What fails is tried without isolation too.
const NONE: &str = "none";
const PRIVATE: &str = "private";
const STRICT: &str = "strict";

/// Where services have their sockets.
const RUN: &str =
    "over /run; cd /run; mkdir -p redis postgresql mysqld; chmod 755 redis postgresql mysqld";

fn chosen() -> Vec<Row> {
    let all = std::env::var_os("WSGID_PACKAGES").is_some_and(|which| which == "all");
    let mut rows = ROWS.to_vec();
    let has_chromium = Path::new("/usr/bin/chromium").exists();
    rows.retain(|row| all || !row.large);
    rows.retain(|row| row.pip != PROGRAM || has_chromium);
    rows
}

/// Why a package did not do its thing, if it did not.
fn failure(httpd: &Httpd, group: &str, row: &Row) -> Option<String> {
    let answer = httpd.get(&format!("/{group}/{}", row.function)).json();
    answer.as_str().map(str::to_owned)
}

/// What a refusal by the mounts or by the kernel looks like in Python.
const REFUSED: [&str; 5] = [
    "PermissionError",
    "Read-only file system",
    "unable to open database file",
    "attempt to write a readonly database",
    "No usable sandbox",
];

/// What is wrong with a package in a group that lacks what it needs, or lacks nothing.
fn wrong(httpd: &Httpd, group: &str, row: &Row, needed: Option<&str>) -> Option<String> {
    match (failure(httpd, group, row), needed) {
        (None, None) => None,
        (None, Some(option)) => Some(format!("{}: {group} works without {option}", row.name)),
        (Some(text), Some(_)) if REFUSED.iter().any(|sign| text.contains(sign)) => None,
        (Some(text), _) => {
            let elsewhere = failure(httpd, NONE, row).map_or("works", |_| "fails too");
            let name = row.name;
            Some(format!("{name} in {group} ({NONE}: {elsewhere}):\n{text}"))
        }
    }
}

/// The options that open what these packages need: each once, with all its values.
fn opening(rows: &[Row], preset: &str, home: &Path) -> String {
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for option in rows.iter().filter_map(|row| row.opened.under(preset)) {
        let (name, values) = option.split_once('=').expect("an option has a value");
        all.entry(name).or_default().extend(values.split(','));
    }
    let data = home.join("data").display().to_string();
    let options = all.iter().map(|(name, values)| {
        let values: Vec<&str> = values.iter().copied().collect();
        format!("{name}={} ", values.join(",").replace("DATA", &data))
    });
    options.collect()
}

/// Who starts httpd.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Whoever runs the test.
    Tester,
    /// With root, the site's user.
    Owner,
}

/// An httpd with a group for each preset, one more with what is opened, and one without any.
fn serve(rows: &[Row], site: &Site, by: By) -> (Httpd, Peers) {
    let pips: BTreeSet<&str> = rows.iter().map(|row| row.pip).collect();
    let pips: Vec<&str> = pips
        .into_iter()
        .filter(|pip| !["", PROGRAM].contains(pip))
        .collect();
    let venv = server::python().venv(&pips);
    let home = site.file("packages");
    // The servers' sockets stand where a system has them, if this is root; else with the site.
    let sockets = if own_mounts(RUN) {
        "/run/%".to_owned()
    } else {
        make_readable_directory(&home);
        home.display().to_string()
    };
    let peers = Peers::start(&sockets, &[]);
    let mut settings = peers.places.clone();
    settings.insert("system_log".to_owned(), false.into());
    let script = server::write_applications(&home, settings);
    let mut builder = Httpd::builder();
    let mut user = server::user();
    if let Some(owner) = user.take_if(|_| by == By::Owner) {
        builder = builder.started_by(owner);
    }
    let mut options = server::options(&home, &venv, user);
    if user.is_none() {
        // The kernel gives no `/proc` of its own to a name space of users.
        options += " isolation-fallback=On";
    }
    let mut groups = vec![(NONE.to_owned(), String::new())];
    for preset in [PRIVATE, STRICT] {
        let isolation = format!("isolation={preset}");
        let opened = format!("{isolation} {}", opening(rows, preset, &home));
        groups.extend([
            (preset.to_owned(), isolation),
            (format!("{preset}-opened"), opened),
        ]);
    }
    let builder = groups.iter().fold(builder, |builder, (group, isolation)| {
        builder
            .daemon(group, &format!("{options} {isolation}"))
            .mount(&format!("/{group}"), &script, group)
    });
    (builder.start(), peers)
}

/// All packages in the groups of these presets at the same time.
fn packages_work(presets: &[&'static str], by: By) {
    let rows = chosen();
    let site = Site::new();
    let (httpd, _peers) = serve(&rows, &site, by);
    let wrong: Vec<String> = thread::scope(|scope| {
        let (httpd, rows) = (&httpd, &rows);
        let of_preset = |preset: &'static str| {
            scope.spawn(move || {
                let needed = |row: &Row| row.opened.under(preset);
                let bare = rows
                    .iter()
                    .filter_map(|row| wrong(httpd, preset, row, needed(row)));
                let opened = rows.iter().filter(|row| needed(row).is_some());
                let group = format!("{preset}-opened");
                let opened = opened.filter_map(|row| wrong(httpd, &group, row, None));
                bare.chain(opened).collect::<Vec<String>>()
            })
        };
        let running: Vec<_> = presets.iter().map(|preset| of_preset(preset)).collect();
        let all = running
            .into_iter()
            .flat_map(|one| one.join().expect("answers"));
        all.collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    httpd.stop();
}

#[test]
fn packages_work_under_private_and_strict() {
    case(Limit::seconds(900), || {
        packages_work(&[PRIVATE, STRICT], By::Tester)
    });
}

#[test]
fn root_packages_work_in_a_name_space_of_users() {
    case(Limit::seconds(900), || {
        if users::three().is_some() {
            packages_work(&[STRICT], By::Owner);
        }
    });
}

#[test]
fn the_page_has_the_table() {
    const FIRST: &str = "<!-- packages: printed by the suite isolation_packages -->\n";
    const LAST: &str = "<!-- end of packages -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/isolation.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let (before, rest) = page.split_once(FIRST).expect("the page has a place for it");
    let (have, behind) = rest.split_once(LAST).expect("the place has an end");
    let table = rows::table();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{before}{FIRST}{table}{LAST}{behind}");
        std::fs::write(&path, text).expect("the page can be written");
    } else {
        assert!(
            have == table,
            "docs/isolation.md is old; UPDATE_DOCS=1 cargo test -p wsgid-tests --test isolation_packages"
        );
    }
}
