//! Lengths of files and functions, as the formatter lays them out, without what only tests see.

use syn::visit::{self, Visit};

use crate::tree::{Crate, is_only_for_tests};

/// A function, where it stands and how long it is.
pub(crate) struct Function {
    pub(crate) place: String,
    pub(crate) lines: usize,
}

/// The production lines of a file: all but the items of tests.
pub(crate) fn file_lengths(read: &Crate) -> Vec<(String, usize)> {
    read.sources
        .iter()
        .map(|source| {
            let lines = source.text.lines().count() - source.test_lines;
            (format!("{}/{}", read.name, source.name), lines)
        })
        .collect()
}

/// Every function with a body.
pub(crate) fn functions(read: &Crate) -> Vec<Function> {
    let mut all = Vec::new();
    for source in &read.sources {
        let mut found = Found {
            file: format!("{}/{}", read.name, source.name),
            functions: &mut all,
        };
        for item in &source.items {
            found.visit_item(item);
        }
    }
    all
}

struct Found<'a> {
    file: String,
    functions: &'a mut Vec<Function>,
}

impl Found<'_> {
    fn note(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let last = body.brace_token.span.close().end().line;
        self.functions.push(Function {
            place: format!("{}::{}", self.file, signature.ident),
            lines: last - first + 1,
        });
    }
}

impl<'ast> Visit<'ast> for Found<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_only_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if is_only_for_tests(&item.attrs) {
            return;
        }
        self.note(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if is_only_for_tests(&item.attrs) {
            return;
        }
        self.note(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.note(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// The value below which `percent` of a sorted list lies.
pub(crate) fn percentile(sorted: &[usize], percent: usize) -> usize {
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).copied().unwrap_or(0)
}

/// The types that a crate defines: name → the file.
pub(crate) fn types(read: &Crate) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for source in &read.sources {
        for item in &source.items {
            let name = match item {
                syn::Item::Struct(item) => &item.ident,
                syn::Item::Enum(item) => &item.ident,
                syn::Item::Trait(item) => &item.ident,
                syn::Item::Union(item) => &item.ident,
                syn::Item::Type(item) => &item.ident,
                _ => continue,
            };
            all.push((name.to_string(), format!("{}/{}", read.name, source.name)));
        }
    }
    all
}
