//! Which script answers where, and in which process and application group it
//! runs. A script of the main server answers in every virtual host, and may
//! run elsewhere in each.

use std::path::{Path, PathBuf};

use wsgid_protocol::names::DEFAULT_GROUP;
use wsgid_protocol::report::ConfigReport;
use wsgid_protocol::runs;

use super::section::literal_front;
use super::tree::{ConfigTree, ConfiguredServer, ScriptAddress, SeenDirective, Value};
use super::words::option;

/// The process group of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChosenGroup<'c> {
    /// None is named: inside httpd with mod_wsgi.
    None,
    Named(&'c str),
    /// A request's variable names it.
    Variable(&'c str),
}

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Application,
    /// The script answers a question about a request: access, password, groups, dispatch.
    Question,
    /// It is loaded beforehand.
    Import,
}

/// A script in one server.
#[derive(Clone, Debug)]
pub(crate) struct ScriptUse<'c> {
    pub(crate) purpose: Purpose,
    pub(crate) origin: &'c str,
    /// For people: `WSGIScriptAlias /shop`.
    pub(crate) what: String,
    pub(crate) server: &'c ConfiguredServer,
    /// The script, if it is one and its path is known.
    pub(crate) script: Option<PathBuf>,
    /// Whether it stands for any number of scripts.
    pub(crate) many: bool,
    pub(crate) url: String,
    pub(crate) group: ChosenGroup<'c>,
    /// As written: `%{RESOURCE}` and its like, or a name.
    pub(crate) application: &'c str,
    /// Directives that name another group where their section holds.
    pub(crate) perhaps: Vec<&'c str>,
}

impl ScriptUse<'_> {
    /// The name of the group that runs it here.
    pub(crate) fn runs_in(&self) -> Option<&str> {
        match self.group {
            ChosenGroup::None => Some(DEFAULT_GROUP),
            ChosenGroup::Named(name) => Some(name),
            ChosenGroup::Variable(_) => None,
        }
    }
}

/// Where a directive says that scripts are.
struct ScriptPlace {
    url: String,
    file: PathBuf,
    many: bool,
}

/// All of them.
pub(crate) fn uses<'c>(
    configuration: &'c ConfigTree<'c>,
    report: &ConfigReport,
) -> Vec<ScriptUse<'c>> {
    let mut uses = Vec::new();
    for seen in &configuration.seen {
        let path = |word: usize| report.server_root.join(seen.word(word));
        let place = match seen.name.as_str() {
            "wsgiscriptalias" | "wsgiscriptaliasmatch" => alias(seen, &path(1)),
            "sethandler" | "addhandler" if names_our_handler(seen) => section(seen, None),
            "wsgihandlerscript" => section(seen, Some(path(1))),
            "wsgiaccessscript"
            | "wsgiauthuserscript"
            | "wsgiauthgroupscript"
            | "wsgidispatchscript" => {
                let server = &configuration.servers[seen.server];
                uses.push(alone(Purpose::Question, seen, server, path(0)));
                continue;
            }
            "wsgiimportscript" => {
                let server = &configuration.servers[seen.server];
                uses.push(alone(Purpose::Import, seen, server, path(0)));
                continue;
            }
            _ => continue,
        };
        let servers = 0..configuration.servers.len();
        let servers = servers.filter(|server| seen.counts_in(*server));
        uses.extend(servers.map(|server| application(configuration, seen, server, &place)));
    }
    // A directive that names a group that is not defined is a problem of its own.
    uses.retain(|one| match one.group {
        ChosenGroup::Named(name) => report.groups.iter().any(|group| group.name == name),
        _ => true,
    });
    uses
}

fn names_our_handler(seen: &SeenDirective<'_>) -> bool {
    matches!(seen.word(0), "wsgi-script" | "application/x-httpd-wsgi")
}

fn alias(seen: &SeenDirective<'_>, target: &Path) -> ScriptPlace {
    let is_match = seen.name == "wsgiscriptaliasmatch";
    let url = seen.word(0);
    let target = target.to_string_lossy();
    let many = (is_match && target.contains('$')) || (url.ends_with('/') && target.ends_with('/'));
    let url = if is_match {
        literal_front(url.trim_start_matches('^'))
    } else {
        url
    };
    let file = if many {
        format!("{}script", target.split('$').next().unwrap_or_default())
    } else {
        let script = runs::script_in(Path::new(target.as_ref()));
        script.to_string_lossy().into_owned()
    };
    ScriptPlace {
        url: url.to_owned(),
        file: file.into(),
        many,
    }
}

/// A handler: the section says for which files or URLs.
fn section(seen: &SeenDirective<'_>, script: Option<PathBuf>) -> ScriptPlace {
    let mut url = "/";
    let mut file = PathBuf::from("/script");
    for around in &seen.sections {
        match around.name.as_str() {
            "<directory" => file = Path::new(&around.word).join("script"),
            "<files" if !around.word.contains(['*', '?', '[']) => file.set_file_name(&around.word),
            "<location" => url = &around.word,
            _ => {}
        }
    }
    ScriptPlace {
        url: url.to_owned(),
        many: script.is_none(),
        file: script.unwrap_or(file),
    }
}

fn application<'c>(
    configuration: &'c ConfigTree<'c>,
    seen: &'c SeenDirective<'c>,
    server: usize,
    place: &ScriptPlace,
) -> ScriptUse<'c> {
    let address = ScriptAddress {
        server,
        url: &place.url,
        file: &place.file,
    };
    let of_option = option(&seen.words, "process-group");
    let of_section = match of_option {
        Some(_) => Value::default(),
        None => configuration.value("wsgiprocessgroup", address),
    };
    let group = of_option.or_else(|| of_section.certain.map(|seen| seen.word(0)));
    let application = option(&seen.words, "application-group").or_else(|| {
        let found = configuration.value("wsgiapplicationgroup", address);
        found.certain.map(|seen| seen.word(0))
    });
    let is_known = !place.many && place.file.is_absolute();
    ScriptUse {
        purpose: Purpose::Application,
        origin: &seen.node.origin,
        what: format!("{} {}", seen.node.name, seen.word(0)),
        server: &configuration.servers[server],
        script: is_known.then(|| place.file.clone()),
        many: place.many,
        url: place.url.clone(),
        group: named(group),
        application: application.unwrap_or("%{RESOURCE}"),
        perhaps: of_section
            .perhaps
            .iter()
            .map(|seen| seen.node.origin.as_str())
            .collect(),
    }
}

/// A script that no URL leads to.
fn alone<'c>(
    purpose: Purpose,
    seen: &'c SeenDirective<'c>,
    server: &'c ConfiguredServer,
    file: PathBuf,
) -> ScriptUse<'c> {
    ScriptUse {
        purpose,
        origin: &seen.node.origin,
        what: seen.node.name.clone(),
        server,
        script: Some(file).filter(|file| file.is_absolute()),
        many: false,
        url: String::new(),
        group: named(option(&seen.words, "process-group")),
        application: option(&seen.words, "application-group").unwrap_or("%{GLOBAL}"),
        perhaps: Vec::new(),
    }
}

fn named(group: Option<&str>) -> ChosenGroup<'_> {
    match group {
        None | Some("%{GLOBAL}") => ChosenGroup::None,
        Some(name) if name.contains("%{") => ChosenGroup::Variable(name),
        Some(name) => ChosenGroup::Named(name),
    }
}
