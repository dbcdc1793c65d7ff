//! What is printed from the tables of options, metrics and kinds of frame must say what they
//! say: `docs/options.md`, the table of `docs/watching.md`, §3 of PROTOCOL.md, and the numbers in the worker's `wire.py`.
//! `UPDATE_DOCS=1 cargo test -p wsgid-protocol --test docs` writes them again.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fmt::Write as _;
use std::path::Path;

use wsgid_protocol::{GroupConfig, Kind, frame, metrics, option};

/// The text of a file, by its path from this crate.
fn text_of(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Compares a page with its file, or writes it.
fn is_written(name: &str, page: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::write(path, page).unwrap();
    }
    assert!(
        text_of(name) == page,
        "{name} is not what the table says; run UPDATE_DOCS=1 cargo test --test docs"
    );
}

/// The same of the part of a file that stands between two lines.
fn is_written_between(name: &str, first: &str, last: &str, part: &str) {
    let text = text_of(name);
    let (before, rest) = text.split_once(first).expect("the part has a beginning");
    let (_, behind) = rest.split_once(last).expect("the part has an end");
    is_written(name, &format!("{before}{first}{part}{last}{behind}"));
}

/// `BODY_ERROR` for `BodyError`.
fn name_of(kind: Kind) -> String {
    let mut name = String::new();
    for letter in format!("{kind:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[test]
fn kinds() {
    let mut page = "\
| kind | byte | way | `code` | flags | payload |
|---|---|---|---|---|---|
"
    .to_owned();
    let mut numbers = String::new();
    for row in frame::TABLE {
        let name = name_of(row.kind);
        let byte = row.kind as u8;
        writeln!(
            page,
            "| {name} | {byte:#04x} | {} | {} | {} | {} |",
            row.way, row.code, row.flags, row.payload
        )
        .unwrap();
        writeln!(numbers, "{name} = {byte:#04x}").unwrap();
    }
    is_written_between(
        "PROTOCOL.md",
        "The table is `src/frame.rs`.\n\n",
        "\n## 4.",
        &page,
    );
    is_written_between(
        "../daemon/worker/tests/wire.py",
        "# Kinds of frame, as protocol/tests/docs.rs prints them.\n",
        "FLAG_END",
        &numbers,
    );
}

#[test]
fn options() {
    let mut page = "\
# Options of a process group

Each is written `name=value`: behind the name of the group in `WSGIDaemonProcess`, in a site's file, and as
`--name value` where `wsgid start-server` has it. Options marked + are not in mod_wsgi.

Times are whole seconds, or have a unit: `500ms`, `30s`, `5m`, `2h`; 0 switches a timer off unless the option says
something else. Sizes are bytes, or have a unit: `64K`, `512M`, `2G`.

| option | value | default | what it does |
|---|---|---|---|
"
    .to_owned();
    for row in option::TABLE {
        let mark = if row.in_mod_wsgi { "" } else { " +" };
        let (default, syntax) = (default_of(row.name), row.syntax);
        writeln!(
            page,
            "| `{}`{mark} | {syntax} | {default} | {} |",
            row.name, row.text
        )
        .unwrap();
    }
    is_written("../docs/options.md", &page);
}

/// The value that changes nothing in a fresh group.
fn default_of(name: &str) -> String {
    let fresh = GroupConfig::new("", "");
    let numbers = (0..1000).map(|number: u32| number.to_string());
    let mut values = numbers.chain(["On", "Off", "2M"].map(str::to_owned));
    let is_default = |value: &String| {
        let mut group = fresh.clone();
        let done = group.set(name, value).is_ok();
        // Giving `processes` at all says that there may be several.
        group.multiprocess = false;
        done && group == fresh
    };
    values.find(is_default).unwrap_or_else(|| "–".to_owned())
}

#[test]
fn metrics_for_people() {
    let mut page = String::new();
    for family in metrics::TABLE {
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = format!("{:?}", family.kind).to_lowercase();
        writeln!(
            page,
            "| `{}` | {kind} | {} | {} |",
            family.full_name(),
            labels.join(", "),
            family.help
        )
        .unwrap();
    }
    is_written_between(
        "../docs/watching.md",
        "| metric | type | labels | what it is |\n|---|---|---|---|\n",
        "\n## Alerts\n",
        &page,
    );
}
