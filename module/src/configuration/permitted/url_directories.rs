//! The directories that URLs of a server lead to, for scripts that a handler
//! serves wherever they are: DocumentRoot, aliases, what mod_rewrite, mod_userdir
//! and mod_vhost_alias make of a path. Pure.

use std::collections::BTreeSet;

use crate::configuration::permitted::extent::{Extent, absolute, fixed_front, is_below, trimmed};
use crate::configuration::permitted::statement::Statement;

/// Where homes are on every machine, whoever has one there.
const HOMES: &str = "/home";

/// A directory, and the URL that leads to it if that is fixed.
struct MappedDirectory {
    path: String,
    url: Option<String>,
}

impl MappedDirectory {
    /// A directory that many URLs lead to.
    fn by_any_url(path: String) -> Self {
        Self { path, url: None }
    }

    /// The length of its URL, if that is `url` or above it.
    fn len_around(&self, url: &str) -> Option<usize> {
        let own = self.url.as_deref()?;
        is_below(url, own).then_some(own.len())
    }
}

/// The directories of a server.
pub(super) struct MappedDirectories(Vec<MappedDirectory>);

impl MappedDirectories {
    pub(super) fn new(root: &str, homes: &BTreeSet<String>, statements: &[&Statement]) -> Self {
        let mut directories = Vec::new();
        let mut document_root = None;
        for statement in statements {
            match statement.name.as_str() {
                "userdir" => directories.extend(user_directories(homes, &statement.words())),
                // The virtual host's own comes behind that of the main server.
                "documentroot" => document_root = statement.words().into_iter().next(),
                _ => directories.extend(mapped(root, statement)),
            }
        }
        let document_root = absolute(root, document_root.as_deref().unwrap_or("htdocs"));
        directories.push(MappedDirectory {
            path: trimmed(&document_root).to_owned(),
            url: Some("/".to_owned()),
        });
        directories.retain(|directory| directory.path != "/");
        Self(directories)
    }

    /// The directories that URLs in this part lead to.
    pub(super) fn reached(&self, url: &Extent) -> Vec<String> {
        let directories = self.0.iter();
        let Extent::At(url) = url else {
            return directories
                .map(|directory| directory.path.clone())
                .collect();
        };
        // The longest alias has the URL; what is around it is not reached.
        let longest = directories
            .clone()
            .filter_map(|directory| directory.len_around(url))
            .max();
        directories
            .filter(|directory| {
                let around = directory.len_around(url);
                around.is_none() || around == longest
            })
            .filter_map(|directory| below(directory, url))
            .collect()
    }
}

/// What of a place URLs at or below `url` reach.
fn below(directory: &MappedDirectory, url: &str) -> Option<String> {
    let Some(own) = &directory.url else {
        return Some(directory.path.clone());
    };
    if is_below(url, own) {
        let rest = url
            .strip_prefix(trimmed(own).trim_end_matches('/'))
            .unwrap_or_default();
        return Some(format!("{}{rest}", directory.path));
    }
    is_below(own, url).then(|| directory.path.clone())
}

fn mapped(root: &str, statement: &Statement) -> Option<MappedDirectory> {
    let words = statement.words();
    let first = words.first().map(String::as_str)?;
    match statement.name.as_str() {
        // With one argument the section around it has the URL, and this is the file.
        "alias" | "scriptalias" => Some(match words.get(1) {
            Some(target) => aliased(root, target, Some(trimmed(first))),
            None => aliased(root, first, None),
        }),
        "aliasmatch" | "scriptaliasmatch" => Some(aliased(root, words.get(1)?, None)),
        "virtualdocumentroot"
        | "virtualdocumentrootip"
        | "virtualscriptalias"
        | "virtualscriptaliasip" => Some(aliased(root, first, None)),
        "rewriterule" => rewritten(words.get(1)?).map(MappedDirectory::by_any_url),
        _ => None,
    }
}

fn aliased(root: &str, target: &str, url: Option<&str>) -> MappedDirectory {
    let target = absolute(root, target);
    match fixed_front(&target, &['$', '%', '&', '\\']) {
        Some(path) => MappedDirectory::by_any_url(path),
        None => MappedDirectory {
            path: trimmed(&target).to_owned(),
            url: url.map(str::to_owned),
        },
    }
}

/// Where a substitution of mod_rewrite may lead if it is the path of a file.
pub(super) fn rewritten(substitution: &str) -> Option<String> {
    if !substitution.starts_with('/') {
        return None;
    }
    let path = fixed_front(substitution, &['$', '%', '\\', '?'])
        .unwrap_or_else(|| trimmed(substitution).to_owned());
    (path != "/").then_some(path)
}

/// Where UserDir looks, one place after the other.
fn user_directories(homes: &BTreeSet<String>, words: &[String]) -> Vec<MappedDirectory> {
    let first = words.first().map(|word| word.to_ascii_lowercase());
    // What follows are names of users.
    if let Some("disabled" | "enabled") = first.as_deref() {
        return Vec::new();
    }
    let mut paths = BTreeSet::new();
    for word in words.iter().filter(|word| !word.contains("://")) {
        if word.starts_with('/') {
            paths.insert(fixed_front(word, &['*']).unwrap_or_else(|| trimmed(word).to_owned()));
        } else {
            paths.extend(homes.iter().cloned());
        }
    }
    paths.into_iter().map(MappedDirectory::by_any_url).collect()
}

/// The directories in which the homes of users are, by the text of the password
/// file: those of people, whose numbers begin at 1000.
pub(super) fn homes(passwd: &str) -> BTreeSet<String> {
    const FIRST: u32 = 1000;
    let home = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let uid: u32 = fields.next()?.parse().ok()?;
        let path = fields
            .nth(2)
            .filter(|path| uid >= FIRST && path.starts_with('/'))?;
        Some(path.trim_end_matches('/').rsplit_once('/')?.0.to_owned())
    };
    let found = passwd
        .lines()
        .filter_map(home)
        .filter(|path| !path.is_empty());
    found.chain([HOMES.to_owned()]).collect()
}
