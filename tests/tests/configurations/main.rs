//! Configurations as people have them: written by what the documentation of the software
//! prescribes, for mod_wsgi, and not edited for us. The applications are stand-ins that
//! answer with what they see.

mod ask;
mod directives;
mod forges;
mod frameworks;
mod harness;
mod hosting;
mod logs;
mod maps;
mod openstack;
mod services;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The password is `secret`.
const ALICE: &str = "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";

/// What is another fact where mod_wsgi runs the application in httpd's own processes: nothing
/// of ours does (docs/moving-from-mod_wsgi.md).
const EMBEDDED: &[&str] = &["mod_wsgi.process_group", "wsgi.multiprocess", "os.HOME"];

#[test]
fn every_configuration_is_tried() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configurations");
    let read = |folder: &Path, end: &str| -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).expect("the folder is there").flatten();
        let files = entries.filter_map(|entry| {
            let name = entry
                .file_name()
                .to_string_lossy()
                .strip_suffix(end)?
                .to_owned();
            Some((name, fs::read_to_string(entry.path()).ok()?))
        });
        files.collect()
    };
    let tables: String = read(&here, ".rs")
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let there: BTreeSet<String> = read(&here.join("conf"), ".conf")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let tried: BTreeSet<String> = tables
        .split("configuration(\"")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(there, tried);
    assert!(there.len() >= 50, "{}", there.len());
}
