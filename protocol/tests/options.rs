//! The option table: what every row must keep, and the edges of values.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[expect(dead_code, reason = "the golden files use all of it")]
mod samples;

use std::collections::BTreeSet;
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::option::{self, OptionError};
use wsgid_protocol::payload::{decode, encode};

fn set(name: &str, value: &str) -> Result<GroupConfig, OptionError> {
    let mut config = GroupConfig::new("site", "test");
    config.set(name, value).map(|()| config)
}

fn refused(name: &str, value: &str) -> String {
    let mut config = GroupConfig::new("site", "test");
    let error = config.set(name, value).expect_err(value);
    assert_eq!(
        config,
        GroupConfig::new("site", "test"),
        "a refused value leaves nothing behind"
    );
    error.to_string()
}

/// Values one of which every option accepts.
const VALUES: [&str; 15] = [
    "3..8",
    "On",
    "Off",
    "7",
    "/srv/site",
    "NAME=VALUE",
    "0027",
    "65536",
    "64M",
    "0.25",
    "http://127.0.0.1:4318/v1/traces",
    "json",
    "strict",
    "unix,inet",
    "ptrace,bpf",
];

/// A group in which every row of the table has another value than the default,
/// made from the table itself.
fn full() -> GroupConfig {
    let mut group = GroupConfig::new("full", "/etc/wsgid/full.toml");
    for row in option::TABLE {
        let fresh = group.clone();
        for value in VALUES {
            let mut changed = fresh.clone();
            if changed.set(row.name, value).is_ok() && changed != fresh {
                group = changed;
                break;
            }
        }
    }
    group.restrict_signal = false;
    (
        group.restrict_stdin,
        group.restrict_stdout,
        group.dont_write_bytecode,
    ) = (true, true, true);
    (group.python_optimize, group.python_hash_seed) = (2, Some("random".to_owned()));
    group.python_warnings = vec!["error".to_owned(), "ignore::UserWarning:a, b".to_owned()];
    group.preload_scripts = samples::config::some().preload_scripts;
    group.runs.add_file("/srv/full/app.wsgi");
    group.runs.add_directory("/srv/full/a:b");
    group.applications = vec![samples::config::application()];
    group.apart_from = vec!["/opt/other".into()];
    group
}

/// What travels is what comes back, for every row: also those that no directive
/// names.
#[test]
fn every_option_comes_back_from_its_texts() {
    for row in option::ROWS {
        assert_eq!(
            row.texts(&GroupConfig::new("", "")).unwrap(),
            Vec::<String>::new(),
            "{} has its default",
            row.name
        );
        for value in VALUES {
            let Ok(group) = set(row.name, value) else {
                continue;
            };
            let mut again = GroupConfig::new("site", "test");
            for text in row.texts(&group).unwrap() {
                again.set(row.name, &text).unwrap();
            }
            again.multiprocess = group.multiprocess;
            assert_eq!(again, group, "{}={value}", row.name);
        }
    }
    let full = full();
    let mut other = full.clone();
    other.log = LogTarget::Descriptor(9);
    other.multiprocess = false;
    let mut travelled = BTreeSet::new();
    for group in [full, other] {
        travelled.extend(group.options().unwrap().into_iter().map(|(name, _)| name));
        assert_eq!(
            decode::<GroupConfig>(&encode(&group).unwrap()).unwrap(),
            group
        );
    }
    let missing: Vec<_> = option::ROWS
        .iter()
        .filter(|row| !travelled.contains(row.name))
        .collect();
    assert!(
        missing.is_empty(),
        "the sample has no value for {missing:?}"
    );
}

#[test]
fn what_directives_say_is_no_option() {
    for row in option::ROWS
        .iter()
        .filter(|row| !option::TABLE.iter().any(|public| public.name == row.name))
    {
        for value in ["On", "2", "text", "{}"] {
            let error = set(row.name, value).expect_err(row.name);
            assert!(
                matches!(error, OptionError::Unknown { .. }),
                "{}={value}",
                row.name
            );
        }
    }
    assert!(option::TABLE.len() < option::ROWS.len());
}

#[test]
fn an_interpreter_as_a_prefix_comes_back() {
    for given in [
        "/srv/bin/python3/lib/python3",
        "/srv/lib/python/lib/python3.9",
        "/srv/venv",
    ] {
        let group = set("python-home", given).unwrap();
        assert_eq!(
            decode::<GroupConfig>(&encode(&group).unwrap()).unwrap(),
            group,
            "{given}"
        );
    }
}

#[test]
fn long_and_odd_times_come_back() {
    for value in [
        "4294967295h",
        "4294967295m",
        "4294967295",
        "4294967295ms",
        "1ms",
        "61m",
        "3600s",
        "0",
    ] {
        let group = set("request-timeout", value).unwrap();
        assert_eq!(
            decode::<GroupConfig>(&encode(&group).unwrap()).unwrap(),
            group,
            "{value}"
        );
    }
    for value in ["0.000001", "0.1", "3600", "0.333333", "1234.567891"] {
        let group = set("switch-interval", value).unwrap();
        assert_eq!(
            decode::<GroupConfig>(&encode(&group).unwrap()).unwrap(),
            group,
            "{value}"
        );
    }
}

/// A module one option newer: a matter of that group, in words.
#[test]
fn an_option_of_another_release_is_kept_and_told() {
    let group = samples::config::some();
    let read: GroupConfig = decode(&encode(&group).unwrap()).unwrap();
    assert_eq!(read.unread, [samples::config::unread()]);
    assert_eq!(read, group, "all others are as they were");
    let why = read.not_understood().unwrap();
    assert!(
        why.contains("`hover-height`") && why.contains("release"),
        "{why}"
    );
    let again: GroupConfig = decode(&encode(&read).unwrap()).unwrap();
    assert_eq!(
        again, group,
        "it goes through a release that does not know it"
    );
    let mut known = group;
    known.unread = vec![option::Unread {
        name: "threads".into(),
        value: "many".into(),
        reason: String::new(),
    }];
    let read: GroupConfig = decode(&encode(&known).unwrap()).unwrap();
    assert!(
        read.not_understood()
            .unwrap()
            .contains("option `threads`: `many`")
    );
    assert_eq!(GroupConfig::new("a", "b").not_understood(), None);
}

#[test]
fn every_option_takes_some_value_and_changes_something() {
    for row in option::TABLE {
        let changed = |value: &&str| {
            set(row.name, value).is_ok_and(|config| config != GroupConfig::new("site", "test"))
        };
        assert!(VALUES.iter().any(changed), "{}", row.name);
    }
}

#[test]
fn no_option_panics_and_each_names_itself() {
    let nasty = [
        "",
        " ",
        "=",
        "\0",
        "\n",
        "-",
        "+",
        "..",
        "1..",
        "..1",
        "-1",
        "+1",
        "1e9",
        "inf",
        "NaN",
        "0x10",
        "99999999999999999999",
        "18446744073709551615",
        "18446744073709551615G",
        "4294967296",
        "4294967295h",
        "\u{661}",
        "1\u{b5}s",
        "ms",
        "K",
        "//",
        "é",
    ];
    for row in option::TABLE {
        for value in nasty {
            if let Err(error) = set(row.name, value) {
                assert!(
                    error
                        .to_string()
                        .starts_with(&format!("option `{}`: ", row.name)),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn numbers_end_where_they_say() {
    for (name, least, most) in [
        ("threads", "0", "65533"),
        ("listen-backlog", "1", "65535"),
        ("restart-burst", "1", "1000000"),
    ] {
        assert!(set(name, least).is_ok() && set(name, most).is_ok());
        let above = (most.parse::<u64>().unwrap() + 1).to_string();
        assert!(refused(name, &above).contains(most));
    }
    assert_eq!(set("umask", "0777").unwrap().umask, Some(0o777));
    assert!(refused("umask", "1000").contains("0777"));
    assert_eq!(set("cpu-priority", "-20").unwrap().cpu_priority, Some(-20));
    refused("cpu-priority", "20");
    refused("processes", "10001");
    assert_eq!(set("processes", "0..1").unwrap().processes_limit(), 1);
    refused("processes", "0..0");
}

#[test]
fn times_and_sizes_have_units_and_do_not_overflow() {
    assert_eq!(
        set("startup-timeout", "1500ms").unwrap().startup_timeout,
        Duration::from_millis(1500)
    );
    assert_eq!(
        set("startup-timeout", "2h").unwrap().startup_timeout,
        Duration::from_secs(7200)
    );
    assert_eq!(
        set("startup-timeout", "4294967295h")
            .unwrap()
            .startup_timeout
            .as_secs(),
        u64::from(u32::MAX) * 3600
    );
    refused("startup-timeout", "1.5");
    refused("startup-timeout", "10 s");
    assert_eq!(
        set("response-flush-delay", "5")
            .unwrap()
            .response_flush_delay,
        Duration::from_millis(5)
    );
    for (value, bytes) in [
        ("1K", 1 << 10),
        ("1kb", 1 << 10),
        ("3MiB", 3 << 20),
        ("2g", 2 << 30),
        ("7", 7),
    ] {
        assert_eq!(set("memory-limit", value).unwrap().memory_limit, bytes);
    }
    refused("memory-limit", "17179869184G");
    assert!(refused("send-buffer-size", "511").contains("512"));
    assert_eq!(set("send-buffer-size", "0").unwrap().send_buffer_size, 0);
}

#[test]
fn a_switch_interval_is_never_zero() {
    assert_eq!(
        set("switch-interval", "0.005").unwrap().switch_interval_us,
        Some(5000)
    );
    assert_eq!(
        set("switch-interval", "0.000001")
            .unwrap()
            .switch_interval_us,
        Some(1)
    );
    for value in ["0", "0.0000001", "-1", "NaN", "inf", "3601"] {
        refused("switch-interval", value);
    }
}

#[test]
fn repeated_options() {
    let mut config = GroupConfig::new("site", "test");
    config.set("env", "A=1").unwrap();
    config.set("env", "B=").unwrap();
    config.set("env", "C=x=y").unwrap();
    let pair = |key: &str, text: &str| (key.to_owned(), text.to_owned());
    assert_eq!(
        config.env,
        [pair("A", "1"), pair("B", ""), pair("C", "x=y")]
    );
    config.set("threads", "3").unwrap();
    config.set("threads", "4").unwrap();
    assert_eq!(config.threads, 4, "the last one wins");
    config.set("processes", "1..4").unwrap();
    config.set("processes", "2").unwrap();
    assert_eq!((config.processes, config.processes_max), (2, None));
}

#[test]
fn lists() {
    let groups = set("supplementary-groups", "video, audio")
        .unwrap()
        .supplementary_groups
        .unwrap();
    assert_eq!(groups, ["video", "audio"]);
    let none = set("supplementary-groups", "").unwrap();
    assert_eq!(none.supplementary_groups, Some(Vec::new()), "none at all");
    refused("supplementary-groups", "video,,audio");
    let path = set("python-path", ":/a::/b:").unwrap().python_path;
    assert_eq!(path, ["/a", "/b"].map(std::path::PathBuf::from));
}

#[test]
fn a_near_miss_is_suggested_and_a_far_one_is_not() {
    let hint = |name: &str| set(name, "1").unwrap_err().to_string();
    assert!(hint("Threads").ends_with("did you mean `threads`?"));
    assert!(hint("request_timeout").ends_with("did you mean `request-timeout`?"));
    assert!(hint("envs").ends_with("did you mean `env`?"));
    assert_eq!(
        hint("request-time-out"),
        "unknown option `request-time-out`; did you mean `request-timeout`?"
    );
    assert_eq!(hint("frobnicate"), "unknown option `frobnicate`");
}

/// Which options running workers serve on with is written in the rows.
#[test]
fn workers_are_replaced_for_what_they_were_started_with() {
    let plain = GroupConfig::new("site", "a.conf:1");
    for (name, value) in [
        ("threads", "6"),
        ("listen-backlog", "7"),
        ("connect-timeout", "7"),
        ("preload", "On"),
        // The first bound gives a group its control group, which workers enter at their start.
        ("memory-max", "1G"),
    ] {
        assert!(!plain.same_workers(&set(name, value).unwrap()), "{name}");
    }
    for (name, value) in [
        ("restart-burst", "7"),
        ("socket-user", "www"),
        ("script-directories", "/srv/new"),
        ("log-file", "/srv/log"),
    ] {
        assert!(plain.same_workers(&set(name, value).unwrap()), "{name}");
    }
    let bounded = set("cpu-weight", "50").unwrap();
    assert!(bounded.same_workers(&set("tasks-max", "900").unwrap()));
}
