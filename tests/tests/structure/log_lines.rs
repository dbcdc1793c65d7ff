//! Each line that supervisor or launcher logs at error or warn has an id of its own, and each id a line.

use std::collections::BTreeMap;
use std::path::Path;

use wsgid_protocol::supervisor_line::TABLE;

use crate::tree::{Crate, Source};

/// The names of rows that a text takes: as `log_line!(NAME, …)` or as `supervisor_line::NAME`.
fn rows_in(text: &str) -> Vec<String> {
    let is_of_name = |one: char| one.is_ascii_uppercase() || one == '_';
    let calls = text.split("log_line!(").skip(1);
    let paths = text.split("supervisor_line::").skip(1);
    calls
        .chain(paths)
        .map(|rest| {
            let name = rest.trim_start();
            let end = name.find(|one| !is_of_name(one)).unwrap_or(name.len());
            name[..end].to_owned()
        })
        .collect()
}

/// The macros of `tracing` that give a line no id.
fn without_id(source: &Source) -> usize {
    let calls = [
        "error!(",
        "warn!(",
        "event!(",
        "error_span!(",
        "warn_span!(",
    ];
    calls
        .map(|call| source.text.matches(call).count())
        .iter()
        .sum()
}

#[test]
fn every_line_of_the_supervisor_has_an_id_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut wrong = Vec::new();
    let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, folder) in [("daemon", "daemon/src"), ("policy", "daemon/policy/src")] {
        for source in Crate::read(name, &root.join(folder)).sources {
            if source.name == "log_line.rs" {
                continue;
            }
            if without_id(&source) > 0 {
                wrong.push(format!("{name}: {} logs without log_line!", source.name));
            }
            for row in rows_in(&source.text) {
                uses.entry(row).or_default().push(source.name.clone());
            }
        }
    }
    for (name, ..) in TABLE {
        match uses.remove(*name).as_deref() {
            Some([_]) => {}
            Some(several) => wrong.push(format!("{name} is used by {}", several.join(" and "))),
            None => wrong.push(format!("{name} is not used")),
        }
    }
    assert!(wrong.is_empty() && uses.is_empty(), "{wrong:?} {uses:?}");
}
