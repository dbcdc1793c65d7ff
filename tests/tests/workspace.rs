//! Rules that every member of the workspace keeps and no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The members, as the workspace's manifest lists them.
fn members() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is there");
    let list = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = ["))
        .expect("it lists the members");
    list.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// All sources of a member, without those of members inside it.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory)
        .expect("a member is a directory")
        .flatten()
    {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("fuzz") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_member_has_the_lints_of_the_workspace() {
    let members = members();
    assert!(members.len() >= 5, "{members:?}");
    for member in members {
        let manifest = fs::read_to_string(root().join(&member).join("Cargo.toml")).unwrap();
        let lints = manifest.split("[lints]").nth(1).unwrap_or_default();
        assert_eq!(
            lints.lines().nth(1),
            Some("workspace = true"),
            "`{member}/Cargo.toml` lacks [lints] workspace = true"
        );
    }
}

#[test]
fn every_source_file_says_what_it_owns() {
    let mut files = Vec::new();
    for member in members() {
        sources(&root().join(member), &mut files);
    }
    assert!(files.len() > 30, "{}", files.len());
    let silent: Vec<_> = files
        .iter()
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .map(|file| file.display().to_string())
        .collect();
    assert!(
        silent.is_empty(),
        "these do not begin with `//!`: {silent:#?}"
    );
}

#[test]
fn only_tests_and_documentation_name_the_serializer() {
    let mut files = Vec::new();
    for member in members().iter().filter(|member| *member != "tests") {
        sources(&root().join(member).join("src"), &mut files);
    }
    let naming: Vec<_> = files
        .iter()
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            text.lines()
                .any(|line| line.contains("bincode::") && !line.trim_start().starts_with("//"))
        })
        .map(|file| file.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(naming, ["payload.rs"]);
}
