//! Control groups of users and of their process groups, in directories that stand for the
//! kernel's: what is written where.

use std::fs;
use std::path::Path;

use super::*;

fn cgroups(place: &Path) -> Cgroups {
    Cgroups {
        base: Some(Base::unified_in(place)),
        problem: None,
        is_problem_said: false,
        keeper: Keeper::this(),
        groups: BTreeMap::new(),
        users: UserCgroups::default(),
        leaving: BTreeMap::new(),
    }
}

fn limits(uid: u32, keys: &[(&str, &str)]) -> BTreeMap<u32, UserLimits> {
    let mut limits = UserLimits::new("shop");
    keys.iter()
        .for_each(|(key, text)| limits.set(key, text).unwrap());
    BTreeMap::from([(uid, limits)])
}

fn group(name: &str) -> GroupConfig {
    GroupConfig::new(name, "test")
}

#[test]
fn groups_of_a_user_with_bounds_are_in_that_of_the_user() {
    let place = tempfile::tempdir().unwrap();
    let mut all = cgroups(place.path());
    let user = place.path().join(all.keeper.user_directory(1001));
    let read = |file: &str| fs::read_to_string(user.join(file)).unwrap();
    let entrance = |all: &mut Cgroups, name: &str, owner| {
        let found = all.entrances(&group(name), Some(owner), false).unwrap();
        found.first().cloned()
    };
    // Without bounds there is nothing, and limits that need none make none.
    assert_eq!(all.limit_users(limits(1001, &[("sites", "3")])), [""; 0]);
    assert_eq!(entrance(&mut all, "a", 1001), None);
    all.limit_users(limits(1001, &[("tasks-max", "50")]));
    assert!(entrance(&mut all, "a", 1001).unwrap().starts_with(&user));
    assert_eq!(entrance(&mut all, "b", 1002), None, "another user has none");
    assert_eq!([read("pids.max"), read("memory.max")], ["50", "max"]);
    // Another number is written in place; without any, it bounds nothing.
    all.limit_users(limits(1001, &[("memory-max", "1G")]));
    assert_eq!(
        [read("pids.max"), read("memory.max")],
        ["max", "1073741824"]
    );
    all.limit_users(BTreeMap::new());
    assert_eq!(read("memory.max"), "max");
    assert!(
        entrance(&mut all, "a", 1001).unwrap().starts_with(&user),
        "it stays"
    );
}

#[test]
fn a_group_that_has_a_control_group_moves_with_all_that_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    let mut all = cgroups(place.path());
    let alone = place.path().join(all.keeper.directory("a"));
    assert!(all.contain(&group("a"), Some(1001)).unwrap().is_some());
    assert!(alone.is_dir() && all.contain(&group("a"), Some(1001)).unwrap().is_none());
    all.limit_users(limits(1001, &[("tasks-max", "50")]));
    assert!(all.contain(&group("a"), Some(1001)).unwrap().is_some());
    let name = all.keeper.directory("a");
    let users = all.keeper.user_directory(1001);
    assert_eq!(all.groups["a"].directory, format!("{users}/{name}"));
    assert_eq!(
        all.leaving.get(&name),
        Some(&None),
        "nobody in it is killed"
    );
    // Who runs as the user of before finishes where it is.
    let mut both = limits(1001, &[("tasks-max", "50")]);
    both.extend(limits(1002, &[("tasks-max", "50")]));
    all.limit_users(both);
    assert!(all.contain(&group("a"), Some(1002)).unwrap().is_none());
    let users = all.keeper.user_directory(1002);
    assert_eq!(all.groups["a"].directory, format!("{users}/{name}"));
}

#[test]
fn a_user_gives_way_when_all_of_its_groups_do() {
    let place = tempfile::tempdir().unwrap();
    let mut all = cgroups(place.path());
    all.limit_users(limits(1001, &[("tasks-max", "50")]));
    for name in ["a", "b"] {
        all.entrances(&group(name), Some(1001), true).unwrap();
    }
    let user = place.path().join(all.keeper.user_directory(1001));
    let is_idle = || fs::read_to_string(user.join("cpu.idle")).is_ok_and(|text| text == "1");
    all.set_idle("a", true);
    assert!(!is_idle(), "the other one is modest");
    all.set_idle("b", true);
    assert!(is_idle());
    all.set_idle("a", false);
    assert!(!is_idle());
    // With a weight the administrator has decided.
    all.limit_users(limits(1001, &[("cpu-weight", "50")]));
    all.set_idle("a", true);
    assert!(!is_idle());
}

/// To a control group that gives way the kernel gives no weight.
#[test]
fn who_gives_way_does_not_when_other_bounds_are_set() {
    let place = tempfile::tempdir().unwrap();
    let mut all = cgroups(place.path());
    all.limit_users(limits(1001, &[("tasks-max", "50")]));
    all.entrances(&group("a"), Some(1001), false).unwrap();
    let user = place.path().join(all.keeper.user_directory(1001));
    let own = place.path().join(&all.groups["a"].directory);
    let is_idle = |place: &Path| fs::read_to_string(place.join("cpu.idle")).unwrap() == "1";
    all.set_idle("a", true);
    assert!(is_idle(&user) && is_idle(&own));
    all.limit_users(limits(1001, &[("tasks-max", "40")]));
    assert!(!is_idle(&user));
    let mut config = group("a");
    config.set("tasks-max", "30").unwrap();
    all.bound(&config).unwrap();
    assert!(!is_idle(&own));
    // It is known that they no longer do: they can again.
    all.set_idle("a", true);
    assert!(is_idle(&user) && is_idle(&own));
}

/// As version 1 refuses a limit on memory below what is in use.
#[test]
fn a_bound_that_was_refused_is_tried_again_and_the_others_are_in_force() {
    let place = tempfile::tempdir().unwrap();
    let mut all = cgroups(place.path());
    all.limit_users(limits(1001, &[("tasks-max", "50")]));
    all.entrances(&group("a"), Some(1001), false).unwrap();
    let user = place.path().join(all.keeper.user_directory(1001));
    let own = place.path().join(&all.groups["a"].directory);
    let read = |place: &Path| {
        let of = |file: &str| fs::read_to_string(place.join(file)).unwrap_or_default();
        ["cpu.weight", "memory.max", "pids.max"].map(of)
    };
    for place in [&user, &own] {
        fs::remove_file(place.join("memory.max")).unwrap();
        fs::create_dir(place.join("memory.max")).unwrap();
    }
    let bounds = [
        ("cpu-weight", "7"),
        ("memory-max", "1G"),
        ("tasks-max", "40"),
    ];
    let mut config = group("a");
    for (option, text) in bounds {
        config.set(option, text).unwrap();
    }
    let problems = all.limit_users(limits(1001, &bounds));
    assert!(
        matches!(&problems[..], [one] if one.contains("memory.max")),
        "{problems:?}"
    );
    assert_eq!(
        all.problem_of_user(1001),
        Some(problems[0].replace("uid 1001: ", ""))
    );
    assert!(all.bound(&config).unwrap_err().contains("memory.max"));
    assert_eq!([read(&user), read(&own)], [["7", "", "40"]; 2]);
    for place in [&user, &own] {
        fs::remove_dir(place.join("memory.max")).unwrap();
    }
    assert_eq!(all.limit_users(limits(1001, &bounds)), [""; 0]);
    assert_eq!(all.problem_of_user(1001), None);
    all.bound(&config).unwrap();
    assert_eq!([read(&user), read(&own)], [["7", "1073741824", "40"]; 2]);
}

/// What the kernel would count: in the group where memory was refused, and above.
#[test]
fn whose_memory_was_used_up_is_told_apart() {
    let place = tempfile::tempdir().unwrap();
    let mut all = cgroups(place.path());
    all.limit_users(limits(1001, &[("memory-max", "1G")]));
    let mut config = group("a");
    config.set("memory-max", "500M").unwrap();
    all.entrances(&config, Some(1001), false).unwrap();
    let events = place.path().join(&all.groups["a"].directory);
    let happens = |oom: u32, kills: u32| {
        let text = format!("oom {oom}\noom_kill {kills}\n");
        fs::write(events.join("memory.events"), text).unwrap();
    };
    happens(1, 1);
    assert_eq!(all.has_killed_for_memory("a"), Some(MemoryBound::Group));
    happens(1, 2);
    assert_eq!(all.has_killed_for_memory("a"), Some(MemoryBound::User));
    assert_eq!(all.has_killed_for_memory("a"), None);
}
