//! The directives that matter here, each with the section it stands in. Pure:
//! the tree of httpd comes as plain text.

use std::collections::HashMap;

use wsgid_protocol::report::Node;

use crate::configuration::permitted::extent::{Applies, Extent, absolute, regex_front, trimmed};
use crate::configuration::words::Words;

/// Directives, ours and others', that say where scripts are and who runs them.
const NAMES: &[&str] = &[
    "wsgiscriptalias",
    "wsgiscriptaliasmatch",
    "wsgihandlerscript",
    "wsgidispatchscript",
    "wsgiaccessscript",
    "wsgiauthuserscript",
    "wsgiauthgroupscript",
    "wsgiprocessgroup",
    "wsgirestrictprocess",
    "sethandler",
    "addhandler",
    "addtype",
    "forcetype",
    "rewriterule",
    "alias",
    "aliasmatch",
    "scriptalias",
    "scriptaliasmatch",
    "documentroot",
    "virtualdocumentroot",
    "virtualdocumentrootip",
    "virtualscriptalias",
    "virtualscriptaliasip",
    "userdir",
    "allowoverride",
    "allowoverridelist",
];

pub(super) fn matters(name: &str) -> bool {
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What a request is about, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct RequestExtent {
    /// Files.
    pub(super) path: Extent,
    pub(super) url: Extent,
}

impl RequestExtent {
    /// The files of a directory.
    pub(super) fn below(directory: &str, url: &Extent) -> Self {
        Self {
            path: Extent::At(directory.to_owned()),
            url: url.clone(),
        }
    }
}

/// What a section is about.
#[derive(Clone, Debug)]
pub(super) struct SectionScope {
    /// Requests for which it is in force.
    pub(super) extent: RequestExtent,
    /// Whether it is in force for all of them, or something else decides as well.
    certain: bool,
    /// Sections of a higher rank are merged later.
    rank: usize,
    /// Tells sections apart.
    pub(super) section: usize,
}

impl SectionScope {
    const SERVER: Self = Self {
        extent: RequestExtent {
            path: Extent::All,
            url: Extent::All,
        },
        certain: true,
        rank: 0,
        section: 0,
    };

    /// Whether the section is in force for requests about `target`.
    pub(super) fn applies(&self, target: &RequestExtent) -> Applies {
        let path = self.extent.path.applies(&target.path);
        let applies = path.min(self.extent.url.applies(&target.url));
        if self.certain {
            applies
        } else {
            applies.min(Applies::Perhaps)
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) name: String,
    pub(super) arguments: String,
    pub(super) scope: SectionScope,
}

impl Statement {
    /// Its arguments, quotes taken off.
    pub(super) fn words(&self) -> Vec<String> {
        words(&self.arguments)
    }

    /// The script that it names with the last of so many words.
    pub(super) fn script(&self, words_before_options: usize) -> Option<ConfiguredScript> {
        let mut words = Words::new(self.arguments.as_bytes());
        let before: Option<Vec<String>> = (0..words_before_options).map(|_| words.next()).collect();
        let before = before?;
        let mut group = None;
        while let Ok(Some((name, value))) = words.next_option() {
            if name == "process-group" {
                group = Some(value);
            }
        }
        Some(ConfiguredScript {
            first: before.first()?.clone(),
            file: before.last()?.clone(),
            group,
        })
    }
}

/// What a directive says about a script.
pub(super) struct ConfiguredScript {
    /// Its first word: what the script is for, or the script.
    pub(super) first: String,
    pub(super) file: String,
    /// The process group among the options.
    pub(super) group: Option<String>,
}

/// The words of a line, quotes taken off.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Words::new(text.as_bytes());
    std::iter::from_fn(|| words.next()).collect()
}

/// The directives by server.
#[derive(Default)]
pub(super) struct Statements {
    main: Vec<Statement>,
    /// By `file:line` of the virtual host. A file that is included several times,
    /// each time with other definitions, has several there.
    hosts: HashMap<String, Vec<Vec<Statement>>>,
    /// Sections that have been read.
    sections: usize,
}

impl Statements {
    pub(super) fn new(lines: &[Node]) -> Self {
        let mut statements = Self::default();
        let mut main = Vec::new();
        statements.read(lines, &SectionScope::SERVER, &mut main);
        statements.main = main;
        statements
    }

    fn read(&mut self, lines: &[Node], scope: &SectionScope, out: &mut Vec<Statement>) {
        for line in lines {
            let name = line.name.to_ascii_lowercase();
            if !name.starts_with('<') {
                out.push(Statement {
                    name,
                    arguments: line.arguments.clone(),
                    scope: scope.clone(),
                });
                continue;
            }
            self.sections += 1;
            if name == "<virtualhost" {
                let scope = SectionScope {
                    section: self.sections,
                    ..SectionScope::SERVER
                };
                let mut own = Vec::new();
                self.read(&line.children, &scope, &mut own);
                self.hosts.entry(line.origin.clone()).or_default().push(own);
            } else {
                let inner = inner(scope, self.sections, &name, &line.arguments);
                self.read(&line.children, &inner, out);
            }
        }
    }

    /// The directives that hold in the main server, or in each of the virtual hosts that are
    /// defined there, in the order in which they are merged.
    pub(super) fn of_server(&self, host: Option<&str>) -> Vec<Vec<&Statement>> {
        match host.and_then(|origin| self.hosts.get(origin)) {
            Some(hosts) => hosts.iter().map(|own| self.merged(own)).collect(),
            None => vec![self.merged(&[])],
        }
    }

    fn merged<'s>(&'s self, own: &'s [Statement]) -> Vec<&'s Statement> {
        let mut all: Vec<&Statement> = self.main.iter().chain(own).collect();
        all.sort_by_key(|statement| statement.scope.rank);
        all
    }
}

/// The scope of a section in another one.
fn inner(outer: &SectionScope, section: usize, name: &str, arguments: &str) -> SectionScope {
    const WILD: &[char] = &['*', '?', '['];
    const REGEX_DIRECTORY: usize = 10_000;
    const FILES: usize = 20_000;
    const LOCATION: usize = 30_000;
    const IF: usize = 40_000;
    let words = words(arguments);
    let first = words.first().map_or("", String::as_str);
    let second = words.get(1).map_or("", String::as_str);
    let mut scope = SectionScope {
        certain: false,
        section,
        ..outer.clone()
    };
    match name {
        "<directory" if first != "~" => {
            scope.extent.path = Extent::of(&absolute("", first), WILD);
            scope.rank = 1 + first.split('/').filter(|part| !part.is_empty()).count();
            scope.certain = outer.certain;
        }
        "<directory" | "<directorymatch" => {
            let pattern = if first == "~" { second } else { first };
            scope.extent.path = Extent::Within(regex_front(pattern));
            scope.rank = REGEX_DIRECTORY;
        }
        "<location" if first != "~" && !first.contains(WILD) => {
            scope.extent.url = match trimmed(first) {
                "/" => Extent::All,
                // `/a/` is not about `/a` itself.
                url if first.ends_with('/') => Extent::Within(url.to_owned()),
                url => Extent::At(url.to_owned()),
            };
            scope.rank = LOCATION;
            scope.certain = outer.certain;
        }
        "<location" | "<locationmatch" => {
            scope.extent.url = Extent::Within("/".to_owned());
            scope.rank = LOCATION;
        }
        "<files" | "<filesmatch" => scope.rank = FILES,
        "<if" | "<elseif" | "<else" => scope.rank = IF,
        _ => {}
    }
    scope
}
