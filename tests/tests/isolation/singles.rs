//! The single options: each of them alone stops what the table says it stops, and where a preset
//! has it, `Off` opens that again. What is opened by name is opened, and no more.

use wsgid_tests::{Limit, TestUser, case, users};

use crate::places::Places;
use crate::run::{Came, Everybody, attack};
use crate::server::Ground;
use crate::sites::{Preset, Site};

/// Options, with `{var}`, `{opt}` (what is in them of the other), `{etc}` (what is its own there)
/// and `{port}` of httpd; attacks that they stop and that they leave, on a site of the same user.
struct Single {
    preset: Preset,
    options: &'static str,
    refused: &'static [&'static str],
    possible: &'static [&'static str],
}

const FILES: &[&str] = &[
    "script",
    "settings",
    "env_file",
    "env_file_in_etc",
    "log",
    "elsewhere",
    "in_home",
    "in_var_www",
    "link_to",
    "socket_in_run",
    "bus",
];
const TMP: &[&str] = &[
    "temporary_file",
    "plant_in_tmp",
    "plant_in_var_tmp",
    "plant_in_shm",
    "socket_in_tmp",
];
const WRITE: &[&str] = &["write_etc", "write_usr", "write_var"];
const DEVICES: &[&str] = &["device", "terminal"];

const fn single(
    preset: Preset,
    options: &'static str,
    refused: &'static [&'static str],
    possible: &'static [&'static str],
) -> Single {
    Single {
        preset,
        options,
        refused,
        possible,
    }
}

const SINGLES: &[Single] = &[
    single(Preset::None, "private-tmp=On", TMP, WRITE),
    single(
        Preset::Private,
        "private-tmp=Off",
        &["settings"],
        &["temporary_file", "socket_in_tmp"],
    ),
    single(Preset::None, "protect-system=On", WRITE, FILES),
    single(Preset::Private, "protect-system=Off", FILES, WRITE),
    single(Preset::None, "protect-home=On", FILES, DEVICES),
    single(
        Preset::Private,
        "protect-home=Off",
        TMP,
        &[
            "script",
            "settings",
            "elsewhere",
            "in_home",
            "in_var_www",
            "socket_in_run",
        ],
    ),
    single(Preset::None, "private-devices=On", DEVICES, FILES),
    single(Preset::Private, "private-devices=Off", FILES, DEVICES),
    // Without landlock the kernel hides what another user has, and no more.
    single(
        Preset::None,
        "protect-proc=On",
        &[],
        &["list_processes", "environ"],
    ),
    single(
        Preset::Private,
        "protect-proc=Off",
        &["environ", "memory"],
        &["list_processes", "command_line"],
    ),
    single(
        Preset::None,
        "inaccessible-paths={opt}",
        &["unnamed_in_opt"],
        &["unnamed_in_var"],
    ),
    single(
        Preset::Strict,
        "read-only-paths={var}",
        &["write_var"],
        &["unnamed_in_var"],
    ),
    single(
        Preset::None,
        "restrict-address-families=unix,inet",
        &["vsock"],
        &["ask", "bus"],
    ),
    single(Preset::None, "connect-ports=1", &["ask", "port"], &["bus"]),
    single(Preset::None, "connect-ports=1,{port}", &["port"], &["ask"]),
    single(
        Preset::Private,
        "allow-system-calls=io_uring_setup,userfaultfd",
        &["own_key"],
        &["io_uring", "user_faults"],
    ),
];

/// Apart from the others, as what a site names is hidden from them, with all around it.
const NAMED: &[Single] = &[single(
    Preset::Private,
    "read-write-paths={etc}",
    &["write_usr"],
    &["write_etc"],
)];

fn filled(options: &str, places: &Places, attacker: &str, port: u16) -> String {
    let path = |path: std::path::PathBuf| path.display().to_string();
    options
        .replace("{var}", &path(places.var.path().join("b-none")))
        .replace("{opt}", &path(places.unnamed.path().join("b-none")))
        .replace("{etc}", &path(places.own_etc.path().join(attacker)))
        .replace("{port}", &port.to_string())
}

/// What is not as these say.
fn wrong_of(singles: &[Single], user: &TestUser, other: &TestUser) -> Vec<String> {
    let mut ground = Ground::of(None);
    let mut attackers = Vec::new();
    for (number, single) in singles.iter().enumerate() {
        let name = format!("single-{number}");
        let site = Site::make(&ground.places, &name, "attacker", Some(user), single.preset);
        for place in [
            &ground.places.own_etc,
            &ground.places.usr,
            &ground.places.var,
        ] {
            place.of(&name, Some(user));
        }
        let options = filled(single.options, &ground.places, &name, ground.port());
        ground.serve(&site, &options);
        attackers.push(site);
    }
    let owners = [Some(user), Some(other)];
    let all = Everybody::start(ground, &owners, &[Preset::None], "");
    let victims = all.victims(Preset::None);
    let mut wrong = Vec::new();
    for (single, attacker) in singles.iter().zip(&attackers) {
        if all.server.lacks(&attacker.name) {
            continue;
        }
        let target = all.target(attacker, victims[0]);
        let expected = single.refused.iter().map(|name| (name, false));
        for (name, possible) in expected.chain(single.possible.iter().map(|name| (name, true))) {
            let came = attack(&all.server.httpd, &attacker.name, name, &target);
            if matches!(came, Came::Done(_)) != possible {
                wrong.push(format!("{}, {name}: {came:?}", single.options));
            }
        }
        if single.options == "protect-proc=On" {
            let target = all.target(attacker, victims[1]);
            let came = attack(&all.server.httpd, &attacker.name, "list_processes", &target);
            assert!(matches!(came, Came::Refused(_)), "{came:?}");
        }
    }
    all.server.httpd.stop();
    wrong
}

#[test]
fn root_each_option_does_its_part_and_no_other() {
    case(Limit::seconds(300), || {
        let Some([user, other, _]) = users::three() else {
            return;
        };
        let wrong = [SINGLES, NAMED].map(|singles| wrong_of(singles, user, other));
        assert!(wrong.concat().is_empty(), "{}", wrong.concat().join("\n"));
    });
}

/// An ordinary user cannot mount `/proc`: with `strict` that keeps a site from starting, unless
/// what is missing is to be left out.
#[test]
fn without_root_strict_starts_only_with_its_fallback() {
    case(Limit::default(), || {
        let user = users::is_root().then(users::three).flatten();
        let user = user.map(|users| &users[2]);
        let mut ground = Ground::of(user);
        let make = |name| Site::make(&ground.places, name, "hello", user, Preset::None);
        let sites = ["with", "without"].map(make);
        let [with, without] = &sites;
        ground.serve(with, "isolation=strict isolation-fallback=On");
        ground.serve(without, "isolation=strict restart-burst=1");
        let server = ground.start();
        assert_eq!(server.httpd.get("/with").status, 200);
        assert_eq!(server.httpd.get("/without").status, 503);
        let missing = server.missing("with");
        let is_proc = |text: &String| text.starts_with("protect-proc:");
        assert!(missing.iter().any(is_proc), "{missing:?}");
        let log = std::fs::read_to_string(&without.log).unwrap_or_default();
        assert!(log.contains("isolation-fallback=On"), "{log}");
        server.httpd.stop();
    });
}
