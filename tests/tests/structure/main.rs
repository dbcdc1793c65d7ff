//! The structure of the production code, as rules: no circle of imports between files, imports
//! run one way, and files and functions stay short. `cargo test --test structure -- --nocapture`
//! prints circles and figures.
#![expect(clippy::print_stdout, reason = "circles and figures are for who asks")]

mod figures;
mod imports;
mod log_lines;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tree::Crate;

const CRATES: [(&str, &str); 5] = [
    ("protocol", "protocol/src"),
    ("policy", "daemon/policy/src"),
    ("module", "module/src"),
    ("daemon", "daemon/src"),
    ("worker", "daemon/worker/src"),
];

fn crates() -> Vec<Crate> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    CRATES
        .iter()
        .map(|(name, folder)| Crate::read(name, &root.join(folder)))
        .collect()
}

/// The folders and files of a crate from the bottom up: each imports only from its own line and
/// those before. The longest folder that is named here decides.
struct Layers {
    name: &'static str,
    lines: &'static [&'static [&'static str]],
}

const LAYERS: [Layers; 2] = [
    Layers {
        name: "module",
        lines: &[
            &["sys", "log_ids.rs"],
            &["apr"],
            &["httpd"],
            &["configuration"],
            &["workers"],
            &["request"],
            &["launch", "status"],
            &["directives"],
            &["entry"],
            &["lib.rs"],
        ],
    },
    Layers {
        name: "daemon",
        lines: &[
            &[
                "sys.rs",
                "atomic_write.rs",
                "exit_code.rs",
                "log_line.rs",
                "notify.rs",
                "user_rights.rs",
            ],
            &["signals.rs", "channel"],
            &["log"],
            &["process"],
            &["isolation"],
            &["process/exec.rs"],
            &["config", "connection", "reexec.rs", "traces"],
            &["supervisor"],
            &["command"],
            &["express"],
            &["command/check_config"],
            &["cli.rs"],
            &["main.rs"],
        ],
    },
];

/// Types that stand in more than one crate under one name because they are one idea.
const SHARED_TYPES: [&str; 1] = ["Connection"];

#[test]
fn no_circle_of_imports() {
    let mut count = 0;
    for read in crates() {
        let imports = imports::of(&read);
        for circle in imports::circles(&read, &imports) {
            count += 1;
            println!("{}: {}", read.name, circle.join(" "));
            for (index, targets) in &imports {
                let name = &read.sources[*index].name;
                if circle.contains(name) {
                    let inside: Vec<&str> = targets
                        .iter()
                        .map(|target| read.sources[*target].name.as_str())
                        .filter(|target| circle.iter().any(|one| one == target))
                        .collect();
                    println!("    {name} -> {}", inside.join(" "));
                }
            }
        }
    }
    println!("circles: {count}");
    assert_eq!(count, 0, "files that import each other, see above");
}

#[test]
fn imports_run_one_way() {
    let all = crates();
    let mut upward = Vec::new();
    for layers in LAYERS {
        let read = all.iter().find(|read| read.name == layers.name);
        let read = read.expect("a crate has the name");
        for (from, targets) in imports::of(read) {
            for target in targets {
                let (from, target) = (&read.sources[from].name, &read.sources[target].name);
                if layers.line_of(from) < layers.line_of(target) {
                    upward.push(format!("{}: {from} imports {target}", layers.name));
                }
            }
        }
    }
    assert!(upward.is_empty(), "{}", upward.join("\n"));
}

impl Layers {
    fn line_of(&self, file: &str) -> usize {
        let folders = file.match_indices('/').map(|(end, _)| &file[..end]);
        std::iter::once(file)
            .chain(folders.rev())
            .find_map(|one| self.lines.iter().position(|line| line.contains(&one)))
            .unwrap_or_else(|| panic!("`{}: {file}` stands in no layer", self.name))
    }
}

#[test]
fn files_and_functions_stay_short() {
    let mut long = Vec::new();
    let mut all = Vec::new();
    for read in crates() {
        let files = figures::file_lengths(&read);
        let functions = figures::functions(&read);
        let mut sorted: Vec<usize> = functions.iter().map(|one| one.lines).collect();
        sorted.sort_unstable();
        println!(
            "{:9} {:3} files, {:6} lines, longest {:4}; {:5} functions, median {:2}, p95 {:2}, longest {:3}",
            read.name,
            files.len(),
            files.iter().map(|(_, lines)| lines).sum::<usize>(),
            files.iter().map(|(_, lines)| *lines).max().unwrap_or(0),
            sorted.len(),
            figures::percentile(&sorted, 50),
            figures::percentile(&sorted, 95),
            sorted.last().copied().unwrap_or(0),
        );
        all.extend(sorted);
        let files = files.into_iter().filter(|(_, lines)| *lines > 500);
        long.extend(files.map(|(name, lines)| format!("{name}: {lines} lines, at most 500")));
        let functions = functions.into_iter().filter(|one| one.lines > 80);
        long.extend(functions.map(|one| format!("{}: {} lines, at most 80", one.place, one.lines)));
    }
    all.sort_unstable();
    let p95 = figures::percentile(&all, 95);
    println!("all: {} functions, p95 {p95}", all.len());
    assert!(long.is_empty(), "{}", long.join("\n"));
    assert!(p95 <= 40, "the p95 of the functions' lengths is {p95}");
}

#[test]
fn no_type_name_stands_in_two_crates() {
    let mut homes: BTreeMap<String, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for read in crates() {
        for (name, file) in figures::types(&read) {
            let crates = homes.entry(name).or_default();
            crates.entry(read.name).or_default().insert(file);
        }
    }
    let twice: Vec<String> = homes
        .iter()
        .filter(|(name, crates)| crates.len() > 1 && !SHARED_TYPES.contains(&name.as_str()))
        .map(|(name, crates)| {
            let files: Vec<&str> = crates.values().flatten().map(String::as_str).collect();
            format!("{name}: {}", files.join(" "))
        })
        .collect();
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}
