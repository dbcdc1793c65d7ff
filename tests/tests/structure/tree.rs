//! The source files of a crate as a tree of modules, without what only tests see. `imports.rs`
//! and `figures.rs` read it; nothing here knows a rule.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item};

/// A module's path from the root of its crate: `["supervisor", "requests"]`.
pub(crate) type ModulePath = Vec<String>;

/// One source file.
pub(crate) struct Source {
    /// The path from the root of the crate, as people write it: `supervisor/requests.rs`.
    pub(crate) name: String,
    pub(crate) module: ModulePath,
    /// The items that are compiled without tests, those of inline modules included.
    pub(crate) items: Vec<Item>,
    pub(crate) text: String,
    /// The lines of the items that only tests see, and of those that take no part here.
    pub(crate) test_lines: usize,
}

/// A crate: its sources, and which of them each module stands in.
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) sources: Vec<Source>,
    /// Module path → index of the source; inline modules stand in the file around them.
    pub(crate) modules: BTreeMap<ModulePath, usize>,
}

impl Crate {
    /// Reads the crate below `folder`, from its `lib.rs` or `main.rs` on.
    pub(crate) fn read(name: &'static str, folder: &Path) -> Self {
        let root = ["lib.rs", "main.rs"]
            .map(|file| folder.join(file))
            .into_iter()
            .find(|file| file.exists())
            .unwrap_or_else(|| panic!("{} has a root", folder.display()));
        let mut read = Self {
            name,
            sources: Vec::new(),
            modules: BTreeMap::new(),
        };
        read.file(folder, &root, ModulePath::new());
        read
    }

    fn file(&mut self, folder: &Path, path: &Path, module: ModulePath) {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parsed =
            syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let index = self.sources.len();
        let (items, tests): (Vec<Item>, Vec<Item>) = parsed
            .items
            .into_iter()
            .partition(|item| !is_only_for_tests(attributes(item)));
        let mut children = Vec::new();
        self.enter(&items, &module, index, &mut children);
        self.sources.push(Source {
            name: path
                .strip_prefix(folder)
                .expect("a source lies in its crate")
                .display()
                .to_string(),
            module,
            test_lines: tests.iter().map(lines_of).sum(),
            items,
            text,
        });
        for (child, file) in children {
            let path = locate(path, &child, file.as_deref());
            self.file(folder, &path, child);
        }
    }

    /// Notes where a module stands, and those inside it; collects the modules with a file of their own.
    fn enter(
        &mut self,
        items: &[Item],
        module: &ModulePath,
        source: usize,
        children: &mut Vec<(ModulePath, Option<String>)>,
    ) {
        self.modules.insert(module.clone(), source);
        for item in items {
            let Item::Mod(inner) = item else { continue };
            let mut path = module.clone();
            path.push(inner.ident.to_string());
            match &inner.content {
                Some((_, items)) => self.enter(items, &path, source, children),
                None => children.push((path, path_attribute(&inner.attrs))),
            }
        }
    }
}

/// The file of a module that is declared in `declared_in`.
fn locate(declared_in: &Path, module: &ModulePath, file: Option<&str>) -> PathBuf {
    let folder = declared_in.parent().expect("a file lies in a folder");
    if let Some(file) = file {
        return folder.join(file);
    }
    let name = module.last().expect("a child has a name");
    let stem = declared_in.file_stem().and_then(|stem| stem.to_str());
    let base = match stem {
        Some("lib" | "main" | "mod") | None => folder.to_path_buf(),
        Some(stem) => folder.join(stem),
    };
    let flat = base.join(format!("{name}.rs"));
    if flat.exists() {
        flat
    } else {
        base.join(name).join("mod.rs")
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    let path = attributes.iter().find(|one| one.path().is_ident("path"))?;
    let syn::Meta::NameValue(pair) = &path.meta else {
        return None;
    };
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

/// Whether an item is compiled for tests alone: `#[cfg(test)]`, or `#[test]`.
pub(crate) fn is_only_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        if attribute.path().is_ident("test") {
            return true;
        }
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test,"))
    })
}

/// The lines from the first token of an item (its attributes included) to its last.
pub(crate) fn lines_of<T: quote::ToTokens>(item: &T) -> usize {
    let mut lines = item
        .to_token_stream()
        .into_iter()
        .flat_map(|token| [token.span().start().line, token.span().end().line]);
    let Some(first) = lines.next() else { return 0 };
    let last = lines.fold(first, usize::max);
    last - first + 1
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
