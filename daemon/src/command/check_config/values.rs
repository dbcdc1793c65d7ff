//! Which value of a directive holds for a script: httpd's order of sections,
//! without a request. What only a request decides is "perhaps".

use std::path::Path;

use wsgid_protocol::report::Node;

use super::pattern::{self, Holds};
use super::tree::{ConfigTree, SeenDirective};
use super::words::words;

/// Where a script answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScriptAddress<'p> {
    pub(crate) server: usize,
    pub(crate) url: &'p str,
    pub(crate) file: &'p Path,
}

/// What holds there.
#[derive(Debug)]
pub(crate) struct Value<'c> {
    /// The directive that certainly holds, unless one of `perhaps` does.
    pub(crate) certain: Option<&'c SeenDirective<'c>>,
    /// Those that would win if their section holds.
    pub(crate) perhaps: Vec<&'c SeenDirective<'c>>,
}

/// How late a directive's section is merged: the last one wins.
type Rank = (u8, usize, bool, usize);

/// The value of a directive.
pub(crate) fn value<'c>(
    configuration: &'c ConfigTree<'_>,
    name: &str,
    address: ScriptAddress<'_>,
) -> Value<'c> {
    let mut holding: Vec<(Rank, Holds, &SeenDirective<'_>)> = Vec::new();
    for (order, seen) in configuration
        .seen
        .iter()
        .enumerate()
        .filter(|(_, seen)| seen.is(name))
    {
        if seen.server != 0 && seen.server != address.server {
            continue;
        }
        let holds = seen
            .sections
            .iter()
            .map(|section| holds(section, address))
            .fold(Holds::Yes, Holds::and);
        if holds != Holds::No {
            holding.push((rank(seen, order), holds, seen));
        }
    }
    holding.sort_by_key(|(rank, _, _)| *rank);
    let last = holding
        .iter()
        .rposition(|(_, holds, _)| *holds == Holds::Yes);
    let after = last.map_or(0, |at| at + 1);
    Value {
        certain: last
            .and_then(|at| holding.get(at))
            .map(|(_, _, seen)| *seen),
        perhaps: holding
            .into_iter()
            .skip(after)
            .map(|(_, _, seen)| seen)
            .collect(),
    }
}

fn rank(seen: &SeenDirective<'_>, order: usize) -> Rank {
    let of_host = seen.server != 0;
    let Some(section) = seen.sections.last() else {
        return (0, 0, of_host, order);
    };
    let path = first_word(section);
    match kind(section) {
        Section::Directory { regex: false } => (1, path.matches('/').count(), of_host, order),
        Section::Directory { regex: true } => (1, usize::MAX, of_host, order),
        Section::Files { .. } => (2, 0, of_host, order),
        Section::Location { .. } => (3, 0, of_host, order),
        Section::Other => (4, 0, of_host, order),
    }
}

enum Section {
    Directory {
        regex: bool,
    },
    Files {
        regex: bool,
    },
    Location {
        regex: bool,
    },
    /// `<If>`, `<Limit>` and what other modules have.
    Other,
}

fn kind(section: &Node) -> Section {
    let tilde = section.arguments.trim_start().starts_with('~');
    match section.name.to_ascii_lowercase().as_str() {
        "<directory" => Section::Directory { regex: tilde },
        "<directorymatch" => Section::Directory { regex: true },
        "<files" => Section::Files { regex: tilde },
        "<filesmatch" => Section::Files { regex: true },
        "<location" => Section::Location { regex: tilde },
        "<locationmatch" => Section::Location { regex: true },
        _ => Section::Other,
    }
}

/// The path or pattern of a section.
pub(crate) fn first_word(section: &Node) -> String {
    words(&section.arguments)
        .into_iter()
        .find(|word| word != "~")
        .unwrap_or_default()
}

fn holds(section: &Node, address: ScriptAddress<'_>) -> Holds {
    let word = first_word(section);
    let name = address
        .file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    match kind(section) {
        Section::Directory { regex: false } => pattern::directory(&word, address.file),
        Section::Directory { regex: true } => pattern::regex(
            &word,
            address
                .file
                .parent()
                .and_then(Path::to_str)
                .unwrap_or_default(),
        ),
        Section::Files { regex: false } => pattern::files(&word, address.file),
        Section::Files { regex: true } => pattern::regex(&word, name),
        Section::Location { regex: false } => pattern::location(&word, address.url),
        Section::Location { regex: true } => pattern::regex(&word, address.url),
        Section::Other if section.name.eq_ignore_ascii_case("<Proxy") => Holds::No,
        Section::Other => Holds::Perhaps,
    }
}
