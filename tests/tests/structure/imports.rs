//! Which file of a crate imports which: read from every path that begins with `crate`, `super`,
//! `self` or a module below the one it stands in. `main.rs` holds the rules.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Item;

use crate::tree::{Crate, ModulePath, is_only_for_tests};

/// Importing file → imported files, as indices into `Crate::sources`.
pub(crate) type Imports = BTreeMap<usize, BTreeSet<usize>>;

/// All imports of a crate between files of its own.
pub(crate) fn of(read: &Crate) -> Imports {
    let mut imports = Imports::new();
    for (index, source) in read.sources.iter().enumerate() {
        let mut found = BTreeSet::new();
        items(read, &source.items, &source.module, &mut found);
        found.remove(&index);
        imports.insert(index, found);
    }
    imports
}

fn items(read: &Crate, list: &[Item], module: &ModulePath, found: &mut BTreeSet<usize>) {
    for item in list {
        if let Item::Mod(inner) = item {
            if let (Some((_, inside)), false) = (&inner.content, is_only_for_tests(&inner.attrs)) {
                let mut path = module.clone();
                path.push(inner.ident.to_string());
                items(read, inside, &path, found);
            }
            continue;
        }
        let mut paths = Vec::new();
        scan(item.to_token_stream(), &mut paths);
        for path in paths {
            if let Some(target) = resolve(read, module, &path) {
                found.insert(target);
            }
        }
    }
}

/// Every path in the tokens, those in bodies of macros included; a group of `use` is spread out.
fn scan(tokens: TokenStream, paths: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => {
                scan(group.stream(), paths);
                at += 1;
            }
            TokenTree::Ident(_) if !follows_separator(&tokens, at) => {
                at = path(&tokens, at, &[], paths);
            }
            _ => at += 1,
        }
    }
}

/// Reads the path that begins at `at` behind `prefix`; returns where it ends.
fn path(
    tokens: &[TokenTree],
    mut at: usize,
    prefix: &[String],
    paths: &mut Vec<Vec<String>>,
) -> usize {
    let mut segments = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(TokenTree::Ident(name)) => segments.push(name.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                tree(group.stream(), &segments, paths);
                return at + 1;
            }
            _ => break,
        }
        if !is_separator(tokens, at + 1) {
            at += 1;
            break;
        }
        at += 3;
    }
    if segments.len() > prefix.len() {
        paths.push(segments);
    }
    at.max(1)
}

/// The branches of `use a::{b, c::d}`.
fn tree(tokens: TokenStream, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    paths.push(prefix.to_vec());
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(_) => at = path(&tokens, at, prefix, paths).max(at + 1),
            _ => at += 1,
        }
    }
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == ':');
    is_colon(tokens.get(at)) && is_colon(tokens.get(at + 1))
}

fn follows_separator(tokens: &[TokenTree], at: usize) -> bool {
    at >= 2 && is_separator(tokens, at - 2)
}

/// The file in which the longest module of a path stands.
fn resolve(read: &Crate, module: &ModulePath, path: &[String]) -> Option<usize> {
    let mut base = module.clone();
    let mut rest = path;
    match path.first().map(String::as_str)? {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while let Some(("super", behind)) = rest
                .split_first()
                .map(|(name, behind)| (name.as_str(), behind))
            {
                base.pop()?;
                rest = behind;
            }
        }
        child => {
            base.push(child.to_owned());
            if path.len() < 2 || !read.modules.contains_key(&base) {
                return None;
            }
            rest = &path[1..];
        }
    }
    if path.len() < 2 {
        return None;
    }
    for name in rest {
        base.push(name.clone());
        if !read.modules.contains_key(&base) {
            base.pop();
            break;
        }
    }
    read.modules.get(&base).copied()
}

/// The circles: files that import each other, directly or through others, each sorted by name.
pub(crate) fn circles(read: &Crate, imports: &Imports) -> Vec<Vec<String>> {
    let reach: BTreeMap<usize, BTreeSet<usize>> = imports
        .keys()
        .map(|from| (*from, reachable(imports, *from)))
        .collect();
    let mut circles = BTreeSet::new();
    for (from, reached) in &reach {
        if !reached.contains(from) {
            continue;
        }
        let mut circle: Vec<String> = reached
            .iter()
            .filter(|to| reach[to].contains(from))
            .map(|to| read.sources[*to].name.clone())
            .collect();
        circle.sort();
        circles.insert(circle);
    }
    circles.into_iter().collect()
}

fn reachable(imports: &Imports, from: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<usize> = imports[&from].iter().copied().collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(&imports[&next]);
        }
    }
    reached
}
