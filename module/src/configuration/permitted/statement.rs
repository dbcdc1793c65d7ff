//! The directives that matter here, each with the section it stands in. Pure:
//! the tree of httpd comes as plain text.

use std::collections::HashMap;

use wsgid_protocol::report::Node;

use crate::configuration::permitted::extent::{
    Applies, Extent, absolute, fixed_front, regex_front, trimmed,
};
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

/// Whether a directive matters here.
pub(super) fn matters(name: &str) -> bool {
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What a section is about.
#[derive(Clone, Debug)]
pub(super) struct SectionScope {
    /// Files.
    pub(super) path: Extent,
    /// URLs.
    pub(super) url: Extent,
    /// Whether it is in force for all of them, or something else decides as well.
    pub(super) certain: bool,
    /// Sections of a higher rank are merged later.
    pub(super) rank: usize,
    /// Tells sections apart.
    pub(super) section: usize,
}

/// What a request is about, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct RequestExtent {
    pub(super) path: Extent,
    pub(super) url: Extent,
}

impl SectionScope {
    const SERVER: Self = Self {
        path: Extent::All,
        url: Extent::All,
        certain: true,
        rank: 0,
        section: 0,
    };

    /// Whether the section is in force for requests about `target`.
    pub(super) fn applies(&self, target: &RequestExtent) -> Applies {
        let applies = self
            .path
            .applies(&target.path)
            .min(self.url.applies(&target.url));
        if self.certain {
            applies
        } else {
            applies.min(Applies::Perhaps)
        }
    }

    /// Requests for which it is in force.
    pub(super) fn target(&self) -> RequestExtent {
        RequestExtent {
            path: self.path.clone(),
            url: self.url.clone(),
        }
    }
}

/// One directive.
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

    /// So many words, and the process group among the options behind them.
    pub(super) fn script(&self, words_before: usize) -> Option<(Vec<String>, Option<String>)> {
        let mut words = Words::new(self.arguments.as_bytes());
        let before: Vec<String> = (0..words_before).map_while(|_| words.next()).collect();
        let mut group = None;
        while let Ok(Some((name, value))) = words.next_option() {
            if name == "process-group" {
                group = Some(value);
            }
        }
        (before.len() == words_before).then_some((before, group))
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words = Words::new(text.as_bytes());
    std::iter::from_fn(|| words.next()).collect()
}

/// All of them, by server.
pub(super) struct Statements {
    main: Vec<Statement>,
    /// By `file:line` of the virtual host. A file that is included several times,
    /// each time with other definitions, has several there.
    hosts: HashMap<String, Vec<Vec<Statement>>>,
}

impl Statements {
    pub(super) fn new(lines: &[Node]) -> Self {
        let mut reader = Reader {
            section: 0,
            hosts: HashMap::new(),
        };
        let mut main = Vec::new();
        reader.read(lines, &SectionScope::SERVER, &mut main);
        Self {
            main,
            hosts: reader.hosts,
        }
    }

    /// Those that hold in the main server, or in each of the virtual hosts that are
    /// defined there, in the order in which they are merged.
    pub(super) fn of_server(&self, host: Option<&str>) -> Vec<Vec<&Statement>> {
        let hosts = host
            .and_then(|origin| self.hosts.get(origin))
            .map_or(&[][..], Vec::as_slice);
        if hosts.is_empty() {
            return vec![self.merged(&[])];
        }
        hosts.iter().map(|own| self.merged(own)).collect()
    }

    fn merged<'s>(&'s self, own: &'s [Statement]) -> Vec<&'s Statement> {
        let mut all: Vec<&Statement> = self.main.iter().chain(own).collect();
        all.sort_by_key(|statement| statement.scope.rank);
        all
    }
}

struct Reader {
    section: usize,
    hosts: HashMap<String, Vec<Vec<Statement>>>,
}

impl Reader {
    fn read(&mut self, lines: &[Node], scope: &SectionScope, out: &mut Vec<Statement>) {
        for line in lines {
            let name = line.name.to_ascii_lowercase();
            if name == "<virtualhost" {
                self.section += 1;
                let scope = SectionScope {
                    section: self.section,
                    ..SectionScope::SERVER
                };
                let mut own = Vec::new();
                self.read(&line.children, &scope, &mut own);
                self.hosts.entry(line.origin.clone()).or_default().push(own);
            } else if name.starts_with('<') {
                self.section += 1;
                let inner = SectionScope {
                    section: self.section,
                    ..inner(scope, &name, &line.arguments)
                };
                self.read(&line.children, &inner, out);
            } else {
                out.push(Statement {
                    name,
                    arguments: line.arguments.clone(),
                    scope: scope.clone(),
                });
            }
        }
    }
}

/// The scope of a section in another one.
fn inner(outer: &SectionScope, name: &str, arguments: &str) -> SectionScope {
    const REGEX_DIRECTORY: usize = 10_000;
    const FILES: usize = 20_000;
    const LOCATION: usize = 30_000;
    const IF: usize = 40_000;
    let words = words(arguments);
    let first = words.first().map_or("", String::as_str);
    let second = words.get(1).map_or("", String::as_str);
    let is_wild = first.contains(['*', '?', '[']);
    let outer = outer.clone();
    let unsure = SectionScope {
        certain: false,
        ..outer.clone()
    };
    match name {
        "<directory" if first == "~" => SectionScope {
            path: Extent::Within(regex_front(second)),
            rank: REGEX_DIRECTORY,
            ..unsure
        },
        "<directorymatch" => SectionScope {
            path: Extent::Within(regex_front(first)),
            rank: REGEX_DIRECTORY,
            ..unsure
        },
        "<directory" => {
            let named = absolute("", first);
            let path = match fixed_front(&named, &['*', '?', '[']) {
                Some(front) => Extent::Within(front),
                None => Extent::At(trimmed(&named).to_owned()),
            };
            let rank = 1 + first.split('/').filter(|part| !part.is_empty()).count();
            SectionScope {
                path,
                rank,
                ..outer
            }
        }
        "<location" if first != "~" && !is_wild => {
            let url = match trimmed(first) {
                "/" => Extent::All,
                // `/a/` is not about `/a` itself.
                url if first.ends_with('/') => Extent::Within(url.to_owned()),
                url => Extent::At(url.to_owned()),
            };
            SectionScope {
                url,
                rank: LOCATION,
                ..outer
            }
        }
        "<location" | "<locationmatch" => SectionScope {
            url: Extent::Within("/".to_owned()),
            rank: LOCATION,
            ..unsure
        },
        "<files" | "<filesmatch" => SectionScope {
            rank: FILES,
            ..unsure
        },
        "<if" | "<elseif" | "<else" => SectionScope { rank: IF, ..unsure },
        _ => unsure,
    }
}
