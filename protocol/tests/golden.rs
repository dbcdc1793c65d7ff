//! The layout of every frame and every structure, byte by byte. The files in
//! `golden/` are what released versions speak: a test that fails here means a
//! peer of another version would misread us. Options travel by name, so a new one
//! changes nothing here. `UPDATE_GOLDEN=1` writes files
//! that are missing; a file that exists is only ever changed by hand, together
//! with PROTOCOL.md §7.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod samples;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use samples::Sample;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wsgid_protocol::config::LogTarget;
use wsgid_protocol::control::{Command, FromParent, FromWorker, RecycleReason, ToParent, ToWorker};
use wsgid_protocol::payload::decode;
use wsgid_protocol::request::{BodyKind, Call, Hello, RequestHead, RequestOptions};
use wsgid_protocol::response::{Answer, EndReport, FilePart, ResponseHead};
use wsgid_protocol::{FrameHead, GroupConfig, Kind, variant_names};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Sixteen bytes a line, and what of them is text.
fn dump(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(16) {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = line
            .iter()
            .map(|&byte| {
                if byte.is_ascii_graphic() {
                    char::from(byte)
                } else {
                    '.'
                }
            })
            .collect();
        writeln!(out, "{:<47} | {text}", hex.join(" ")).unwrap();
    }
    out
}

fn undump(text: &str) -> Vec<u8> {
    let hex = text.lines().filter_map(|line| line.split(" | ").next());
    hex.flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn golden(name: &str) -> Vec<u8> {
    let path = directory().join(format!("{name}.hex"));
    undump(
        &std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
}

fn samples() -> Vec<Sample> {
    let mut all = samples::frames();
    all.extend(samples::structures());
    all
}

#[test]
fn bytes_are_those_of_the_golden_files() {
    for Sample { name, bytes } in samples() {
        let path = directory().join(format!("{name}.hex"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
            std::fs::write(&path, dump(&bytes)).unwrap();
        }
        assert!(
            golden(&name) == bytes,
            "the layout of `{name}` has changed; now it is\n{}",
            dump(&bytes)
        );
    }
}

#[test]
fn there_is_no_other_golden_file() {
    let names: Vec<String> = samples()
        .into_iter()
        .map(|sample| format!("{}.hex", sample.name))
        .collect();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            names.contains(&file),
            "{file} has no sample any more: old peers still send it"
        );
    }
}

#[test]
fn every_kind_has_a_golden_frame() {
    let mut kinds = Vec::new();
    for Sample { name, bytes } in samples::frames() {
        let head = FrameHead::parse(bytes.first_chunk().unwrap()).unwrap();
        assert_eq!(head.len as usize, bytes.len() - 16, "{name}");
        kinds.push(head.kind);
    }
    assert_eq!(kinds, Kind::ALL);
}

/// `GrantedAs` as the samples name it.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && at > 0 {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

fn has_all<'de, T: Deserialize<'de>, U>(values: Vec<(&str, U)>) {
    let known: Vec<String> = variant_names::names::<T>()
        .iter()
        .map(|name| kebab(name))
        .collect();
    let sampled: Vec<&str> = values.into_iter().map(|(name, _)| name).collect();
    // Nobody sends the reason that stands for those of other releases.
    let sent: Vec<&String> = known.iter().filter(|name| *name != "other").collect();
    assert!(!sent.is_empty());
    assert_eq!(sampled, sent, "{}", std::any::type_name::<T>());
}

#[test]
fn every_variant_that_crosses_processes_has_a_golden_file() {
    has_all::<FromParent, _>(samples::control::from_parent());
    has_all::<ToParent, _>(samples::control::to_parent());
    has_all::<ToWorker, _>(samples::control::to_worker());
    has_all::<FromWorker, _>(samples::control::from_worker());
    has_all::<RecycleReason, _>(samples::control::reasons());
    has_all::<Command, _>(samples::control::commands());
    has_all::<LogTarget, _>(samples::config::targets());
    has_all::<Answer, _>(samples::answers());
    has_all::<BodyKind, _>(samples::bodies());
    has_all::<Call<'_>, _>(samples::calls());
}

fn reads<T: DeserializeOwned + PartialEq + std::fmt::Debug>(prefix: &str, values: Vec<(&str, T)>) {
    for (name, value) in values {
        let bytes = golden(&format!("{prefix}-{name}"));
        assert_eq!(decode::<T>(&bytes).unwrap(), value, "{prefix}-{name}");
    }
}

#[test]
fn golden_files_decode_to_what_they_were_made_from() {
    reads::<FromParent>("from-parent", samples::control::from_parent());
    reads::<ToParent>("to-parent", samples::control::to_parent());
    reads::<ToWorker>("to-worker", samples::control::to_worker());
    reads::<FromWorker>("from-worker", samples::control::from_worker());
    reads::<RecycleReason>("recycle-reason", samples::control::reasons());
    reads::<Command>("command", samples::control::commands());
    reads::<Answer>("answer", samples::answers());
    reads::<RequestOptions>("request-options", samples::options());
    reads::<GroupConfig>(
        "group-config",
        vec![
            ("plain", samples::config::plain()),
            ("some", samples::config::some()),
        ],
    );
    reads("log-target", samples::config::targets());
    assert_eq!(decode::<Hello>(&golden("hello")).unwrap(), samples::hello());
    assert_eq!(
        decode::<FilePart>(&golden("file-part")).unwrap(),
        FilePart {
            offset: 250,
            len: 251
        }
    );
    assert_eq!(
        decode::<EndReport>(&golden("end-report")).unwrap(),
        samples::end_report()
    );
    assert_eq!(
        decode::<ResponseHead<'_>>(&golden("response-head")).unwrap(),
        samples::response()
    );
    for (name, body) in samples::bodies() {
        let bytes = golden(&format!("request-head-{name}"));
        assert_eq!(
            decode::<RequestHead<'_>>(&bytes).unwrap(),
            samples::request(body)
        );
        assert_eq!(
            decode::<BodyKind>(&wsgid_protocol::payload::encode(&body).unwrap()).unwrap(),
            body
        );
    }
    for (name, call) in samples::calls() {
        assert_eq!(
            decode::<Call<'_>>(&golden(&format!("call-{name}"))).unwrap(),
            call
        );
    }
}
