//! Attacks from inside a worker on another site, of the same user and of another, and on the
//! machine: with each preset those are possible that the table says, and no others.

mod later;
mod links;
mod page;
mod places;
mod run;
mod server;
mod singles;
mod sites;
mod table;

use std::time::{Duration, Instant};

use wsgid_tests::{Limit, case, heavy_case, note, users};

use run::{Came, Everybody, Pair, attack};
use server::{Ground, Server};
use sites::{Preset, Site};
use table::{Attack, OWN_OF_THE_ISOLATED};

/// Attacks of one preset, on sites with the same and on sites without isolation: whoever attacks
/// is held by its own isolation.
fn pairs(all: &Everybody, preset: Preset) -> Vec<Pair<'_>> {
    let mut victims = vec![preset, Preset::None];
    victims.dedup();
    let pair = |victims| Pair {
        attacker: all.attacker(preset),
        victims: all.victims(victims),
    };
    victims.into_iter().map(pair).collect()
}

#[test]
fn root_attacks_are_possible_where_the_table_says_so() {
    case(Limit::seconds(400), || {
        let Some([one, two, _]) = users::three() else {
            return;
        };
        let presets = &Preset::ALL;
        let all = Everybody::start(Ground::of(None), &[Some(one), Some(two)], presets, "");
        let mut wrong = Vec::new();
        for preset in presets {
            for pair in pairs(&all, *preset) {
                let expected = |attack: &Attack| Some(attack.possible[*preset as usize]);
                wrong.extend(all.attack_all(&pair, expected));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        all.server.httpd.stop();
    });
}

#[test]
fn root_an_isolated_site_is_open_to_those_that_are_not() {
    case(Limit::seconds(200), || {
        let Some([one, two, _]) = users::three() else {
            return;
        };
        let presets = &[Preset::None, Preset::Strict];
        let all = Everybody::start(Ground::of(None), &[Some(one), Some(two)], presets, "");
        let pair = Pair {
            attacker: all.attacker(Preset::None),
            victims: all.victims(Preset::Strict),
        };
        let expected = |attack: &Attack| {
            let [same, other] = attack.possible[Preset::None as usize];
            let is_kept = OWN_OF_THE_ISOLATED.contains(&attack.name);
            Some([same && !is_kept, other && !is_kept])
        };
        let wrong = all.attack_all(&pair, expected);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        all.server.httpd.stop();
    });
}

/// Workers that are forked from a preloader have its isolation.
#[test]
fn root_forked_workers_are_isolated_too() {
    case(Limit::seconds(200), || {
        let Some([one, two, _]) = users::three() else {
            return;
        };
        let presets = &[Preset::None, Preset::Strict];
        let owners = [Some(one), Some(two)];
        let all = Everybody::start(Ground::of(None), &owners, presets, "preload=On");
        let pair = Pair {
            attacker: all.attacker(Preset::Strict),
            victims: all.victims(Preset::None),
        };
        let expected = |attack: &Attack| Some(attack.possible[Preset::Strict as usize]);
        let wrong = all.attack_all(&pair, expected);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        all.server.httpd.stop();
    });
}

/// What is otherwise where an ordinary user runs httpd, with `none` and with `private`: sockets and
/// logs are that user's, and the kernel lets it mount no `/proc`.
const WITHOUT_ROOT: &[(&str, [bool; 2])] = &[
    ("request_socket", [true, false]),
    ("supervisor", [true, false]),
    ("list_processes", [true, true]),
    ("command_line", [true, true]),
    ("memory_score", [true, true]),
];

#[test]
fn attacks_without_root_are_possible_where_the_list_says_so() {
    case(Limit::seconds(300), || {
        let user = users::is_root().then(users::three).flatten();
        let user = user.map(|users| &users[2]);
        let presets = &[Preset::None, Preset::Private];
        let all = Everybody::start(Ground::of(user), &[user], presets, "");
        let mut wrong = Vec::new();
        for preset in presets {
            let expected = |attack: &Attack| {
                let of_root = ["device", "setuid", "unnamed_in_var", "unnamed_in_opt"];
                let needs_root = user.is_none() && of_root.contains(&attack.name);
                if needs_root || attack.name == "log_of_httpd" {
                    return None;
                }
                let otherwise = WITHOUT_ROOT.iter().find(|(name, _)| *name == attack.name);
                let [same, other] = attack.possible[*preset as usize];
                let same = otherwise.map_or(same, |(_, possible)| possible[*preset as usize]);
                Some([same, other])
            };
            for pair in pairs(&all, *preset) {
                wrong.extend(all.attack_all(&pair, expected));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        all.server.httpd.stop();
    });
}

/// What stops setuid programs is `no_new_privs`: without it they are root's.
#[test]
fn root_a_setuid_program_is_root_only_with_no_new_privileges_off() {
    case(Limit::default(), || {
        let Some([user, ..]) = users::three() else {
            return;
        };
        let mut ground = Ground::of(None);
        let make = |preset: &Preset| {
            let name = format!("a-{}", preset.name());
            Site::make(&ground.places, &name, "attacker", Some(user), *preset)
        };
        let sites: Vec<Site> = Preset::ALL.iter().map(make).collect();
        for site in &sites {
            ground.serve(site, "no-new-privileges=Off");
        }
        let server = ground.start();
        let target = serde_json::json!({"setuid": server.places.setuid()});
        for site in &sites {
            let came = attack(&server.httpd, &site.name, "setuid", &target);
            note(&format!("{}: {came:?}", site.name));
            assert!(matches!(came, Came::Done(_)), "{}: {came:?}", site.name);
        }
        server.httpd.stop();
    });
}

/// What isolation costs: the time from `wsgid start` to the first answer, which has the start of
/// the program itself and of Python in it.
#[test]
fn worker_starts_are_timed_with_each_preset() {
    heavy_case(Limit::seconds(200), || {
        let user = users::is_root().then(users::three).flatten();
        let user = user.map(|users| &users[0]);
        let mut ground = Ground::of(None);
        let make = |preset: &Preset| {
            let name = format!("start-{}", preset.name());
            Site::make(&ground.places, &name, "hello", user, *preset)
        };
        let sites: Vec<Site> = Preset::ALL.iter().map(make).collect();
        for site in &sites {
            ground.serve(site, "");
        }
        let server = ground.start();
        // In turns, so that whatever else the machine does touches all of them.
        let mut times = vec![Vec::new(); sites.len()];
        for _ in 0..20 {
            for (site, times) in sites.iter().zip(&mut times) {
                times.push(start_time(&server, &site.name));
            }
        }
        for (site, mut times) in sites.iter().zip(times) {
            times.sort();
            let (median, least, most) = (times[10], times[0], times[19]);
            let preset = site.preset.name();
            note(&format!(
                "{preset}: {median:.1?} (median of 20; {least:.1?} to {most:.1?})"
            ));
        }
        server.httpd.stop();
    });
}

fn start_time(server: &Server, group: &str) -> Duration {
    let (stopped, said) = server.wsgid(&["stop", group]);
    assert!(stopped, "{said}");
    let begun = Instant::now();
    let (started, said) = server.wsgid(&["start", group]);
    assert!(started, "{said}");
    assert_eq!(server.httpd.get(&format!("/{group}")).status, 200);
    begun.elapsed()
}
