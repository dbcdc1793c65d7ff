//! `docs/failures.md` and `docs/options.md` are printed from the tables and must
//! say what the tables say. `UPDATE_DOCS=1 cargo test -p wsgid-protocol --test
//! docs` writes them again.
#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

use std::fmt::Write as _;
use std::path::Path;

use wsgid_protocol::failure::{self, level};
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
fn failures() {
    let mut page = "\
# Failures

Every request that fails here fails for one of these reasons. The name stands in the error log, in the request's
note `wsgi.failure` (`%{wsgi.failure}n` in a `LogFormat`) and in `wsgid status`. The client gets the status as long
as nothing of the response was sent; after that its connection is broken, so that nobody takes a part for the whole.

| failure | status | log level | what happened | what to do |
|---|---|---|---|---|
"
    .to_owned();
    for row in failure::TABLE {
        let (status, level) = (row.status, level_name(row.level));
        let status = if row.repeatable {
            "sent again; 503 if that fails too".to_owned()
        } else {
            status.to_string()
        };
        writeln!(
            page,
            "| `{}` | {status} | {level} | {} | {} |",
            row.name, row.text, row.cure
        )
        .unwrap();
    }
    is_written("failures.md", &page);
}

fn level_name(code: u16) -> &'static str {
    match code {
        level::CRIT => "crit",
        level::ERROR => "error",
        level::WARN => "warn",
        level::NOTICE => "notice",
        level::INFO => "info",
        level::DEBUG => "debug",
        other => panic!("level {other} has no name"),
    }
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
