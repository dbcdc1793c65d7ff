//! Runs every decoder over the seeds of its fuzz target, and over all others':
//! real messages, and every input that once failed (kept as `fuzz/seeds/TARGET/bug-…`).
//! `UPDATE_SEEDS=1` makes them again from the samples.
#![cfg(feature = "codec")]
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

#[path = "../fuzz/src/decoders.rs"]
#[expect(unreachable_pub, reason = "a module of the fuzz crate")]
mod decoders;
mod samples;

use std::path::{Path, PathBuf};

use samples::Sample;
use wsgid_protocol::option;

fn seeds_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds")
}

/// The target that a structure belongs to.
fn target_of(name: &str) -> Option<&'static str> {
    let with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if with(&["call-", "log-target", "recycle-reason", "request-options"]) {
        None
    } else if with(&["hello"]) {
        Some("hello")
    } else if with(&["request-head"]) {
        Some("request")
    } else if with(&["response-head", "file-part", "end-report"]) {
        Some("response")
    } else if with(&["answer"]) {
        Some("answer")
    } else {
        Some("control")
    }
}

/// Options of each syntax: another row in the table changes no seed.
const NAMES: [&str; 15] = [
    "user",
    "supplementary-groups",
    "umask",
    "home",
    "env",
    "log-file",
    "python-home",
    "python-path",
    "switch-interval",
    "processes",
    "threads",
    "cpu-priority",
    "request-timeout",
    "memory-limit",
    "preload",
];

const VALUES: [&str; 11] = [
    "On",
    "7",
    "/srv/site",
    "A=B",
    "0022",
    "65536",
    "1..4",
    "10ms",
    "512M",
    "0.005",
    "#1000",
];

fn seeds() -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    let mut stream = Vec::new();
    for Sample { name, bytes } in samples::frames() {
        stream.extend_from_slice(&bytes);
        all.push((seeds_directory().join("frames").join(name), bytes));
    }
    all.push((seeds_directory().join("frames/all"), stream));
    for Sample { name, bytes } in samples::structures() {
        if let Some(target) = target_of(&name) {
            all.push((seeds_directory().join(target).join(name), bytes));
        }
    }
    for value in VALUES {
        let lines: Vec<String> = NAMES
            .iter()
            .map(|name| format!("{name}={value}\n"))
            .collect();
        let file = value.replace(['/', '.', '#', '='], "_");
        all.push((
            seeds_directory().join("option").join(file),
            lines.concat().into_bytes(),
        ));
    }
    all
}

#[test]
fn seeds_are_up_to_date() {
    for (path, bytes) in seeds() {
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let there = std::fs::read(&path).unwrap_or_default();
        assert!(
            there == bytes,
            "{} is out of date; run UPDATE_SEEDS=1 cargo test -p wsgid-protocol --features codec --test seeds",
            path.display()
        );
    }
}

#[test]
fn every_decoder_stands_every_input() {
    let mut inputs = 0;
    for (owner, _) in decoders::ALL {
        for entry in std::fs::read_dir(seeds_directory().join(owner)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            inputs += 1;
            for (_, target) in decoders::ALL {
                target(&bytes);
                for at in 0..bytes.len().min(400) {
                    target(&bytes[..at]);
                }
            }
        }
    }
    assert!(inputs >= 70, "only {inputs} inputs found");
}

/// The seeds name some options; this is all of them.
#[test]
fn every_option_stands_every_value() {
    for value in VALUES {
        let lines: Vec<String> = option::TABLE
            .iter()
            .map(|row| format!("{}={value}\n", row.name))
            .collect();
        decoders::option(lines.concat().as_bytes());
    }
}

#[test]
fn every_decoder_has_a_target() {
    for (name, _) in decoders::ALL {
        let path = seeds_directory()
            .join("../fuzz_targets")
            .join(format!("{name}.rs"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("decoders::{name}(data)")));
    }
    assert_eq!(
        std::fs::read_dir(seeds_directory().join("../fuzz_targets"))
            .unwrap()
            .count(),
        decoders::ALL.len()
    );
}
