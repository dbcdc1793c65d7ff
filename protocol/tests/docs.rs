//! `docs/options.md` is printed from the table and must say what the table says.
//! `UPDATE_DOCS=1 cargo test -p wsgid-protocol --test docs` writes it again.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fmt::Write as _;
use std::path::Path;

use wsgid_protocol::{GroupConfig, option};

/// Compares a page with its file, or writes it.
fn is_written(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/{name} is not what the table says; run UPDATE_DOCS=1 cargo test --test docs"
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
    is_written("options.md", &page);
}

/// The value that changes nothing in a fresh group.
fn default_of(name: &str) -> String {
    let fresh = GroupConfig::new("", "");
    let numbers = (0..1000).map(|number: u32| number.to_string());
    let mut values = numbers.chain(["On", "Off"].map(str::to_owned));
    let is_default = |value: &String| {
        let mut group = fresh.clone();
        let done = group.set(name, value).is_ok();
        // Giving `processes` at all says that there may be several.
        group.multiprocess = false;
        done && group == fresh
    };
    values.find(is_default).unwrap_or_else(|| "–".to_owned())
}
