//! Which script answers where, and in which process and application group it
//! runs. A script of the main server answers in every virtual host, and may
//! run elsewhere in each.

use std::path::{Path, PathBuf};

use wsgid_protocol::names::DEFAULT_GROUP;
use wsgid_protocol::report::ConfigReport;

use super::tree::{ConfigTree, SeenDirective};
use super::values::{ScriptAddress, first_word, value};
use super::words::option;

/// The process group of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChosenGroup {
    /// None is named: inside httpd with mod_wsgi.
    None,
    Named(String),
    /// A request's variable names it.
    Variable(String),
}

/// What a script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Application,
    /// It answers a question about a request: access, password, groups, dispatch.
    Question,
}

/// A script in one server.
#[derive(Clone, Debug)]
pub(crate) struct ScriptUse {
    pub(crate) purpose: Purpose,
    pub(crate) origin: String,
    /// For people: `WSGIScriptAlias /shop`.
    pub(crate) what: String,
    /// The server's name, for people.
    pub(crate) server_name: String,
    /// What `%{SERVER}` is there.
    pub(crate) server_key: String,
    /// The script, if it is one and its path is known.
    pub(crate) script: Option<PathBuf>,
    /// Whether it stands for any number of scripts.
    pub(crate) many: bool,
    pub(crate) url: String,
    pub(crate) group: ChosenGroup,
    /// As written: `%{RESOURCE}` and its like, or a name.
    pub(crate) application: String,
    /// Directives that name another group where their section holds.
    pub(crate) perhaps: Vec<String>,
}

impl ScriptUse {
    /// The name of the group that runs it here.
    pub(crate) fn runs_in(&self) -> Option<&str> {
        match &self.group {
            ChosenGroup::None => Some(DEFAULT_GROUP),
            ChosenGroup::Named(name) => Some(name),
            ChosenGroup::Variable(_) => None,
        }
    }
}

/// All of them.
pub(crate) fn uses(configuration: &ConfigTree<'_>, report: &ConfigReport) -> Vec<ScriptUse> {
    let mut uses = Vec::new();
    for seen in &configuration.seen {
        let name = seen.node.name.to_ascii_lowercase();
        match name.as_str() {
            "wsgiscriptalias" | "wsgiscriptaliasmatch" => {
                alias(
                    configuration,
                    seen,
                    &report.server_root.join(seen.word(1)),
                    &mut uses,
                );
            }
            "sethandler" | "addhandler" if names_our_handler(seen) => {
                section(configuration, seen, None, &mut uses)
            }
            "wsgihandlerscript" => {
                section(
                    configuration,
                    seen,
                    Some(&report.server_root.join(seen.word(1))),
                    &mut uses,
                );
            }
            "wsgiaccessscript"
            | "wsgiauthuserscript"
            | "wsgiauthgroupscript"
            | "wsgidispatchscript" => {
                uses.push(question(
                    configuration,
                    seen,
                    &report.server_root.join(seen.word(0)),
                ));
            }
            _ => {}
        }
    }
    // What names a group that is not defined is a problem of its own.
    uses.retain(|one| match &one.group {
        ChosenGroup::Named(name) => report.groups.iter().any(|group| group.name == *name),
        _ => true,
    });
    uses
}

fn names_our_handler(seen: &SeenDirective<'_>) -> bool {
    matches!(seen.word(0), "wsgi-script" | "application/x-httpd-wsgi")
}

/// The servers in which a directive of this one counts.
fn servers<'c>(
    configuration: &'c ConfigTree<'_>,
    seen: &SeenDirective<'_>,
) -> impl Iterator<Item = usize> + 'c {
    let own = seen.server;
    let all = configuration.servers.len();
    (0..all).filter(move |server| own == 0 || *server == own)
}

fn alias(
    configuration: &ConfigTree<'_>,
    seen: &SeenDirective<'_>,
    target: &Path,
    uses: &mut Vec<ScriptUse>,
) {
    let is_match = seen.is("WSGIScriptAliasMatch");
    let url = seen.word(0);
    let target = &*target.to_string_lossy();
    let many = (is_match && target.contains('$')) || (url.ends_with('/') && target.ends_with('/'));
    let literal = if is_match {
        literal_front(url)
    } else {
        url.to_owned()
    };
    let target = if many {
        format!("{}script", target.split('$').next().unwrap_or(target))
    } else {
        target.into()
    };
    for server in servers(configuration, seen) {
        let address = ScriptAddress {
            server,
            url: &literal,
            file: Path::new(&target),
        };
        uses.push(application(configuration, seen, address, many));
    }
}

/// The front of a regular expression that is plain text.
fn literal_front(pattern: &str) -> String {
    pattern
        .trim_start_matches('^')
        .chars()
        .take_while(|c| !"\\.[](){}*+?|^$".contains(*c))
        .collect()
}

/// A handler: the section says for which files or URLs.
fn section(
    configuration: &ConfigTree<'_>,
    seen: &SeenDirective<'_>,
    script: Option<&Path>,
    uses: &mut Vec<ScriptUse>,
) {
    let mut url = "/".to_owned();
    let mut file = PathBuf::from("/script");
    for around in &seen.sections {
        let word = first_word(around);
        match around.name.to_ascii_lowercase().as_str() {
            "<directory" => file = Path::new(&word).join("script"),
            "<files" if !word.contains(['*', '?', '[']) => file.set_file_name(word),
            "<location" => url = word,
            _ => {}
        }
    }
    for server in servers(configuration, seen) {
        let address = ScriptAddress {
            server,
            url: &url,
            file: script.unwrap_or(&file),
        };
        uses.push(application(configuration, seen, address, script.is_none()));
    }
}

fn application(
    configuration: &ConfigTree<'_>,
    seen: &SeenDirective<'_>,
    address: ScriptAddress<'_>,
    many: bool,
) -> ScriptUse {
    let of_option = option(&seen.words, "process-group");
    let of_section = value(configuration, "WSGIProcessGroup", address);
    let group = of_option.or_else(|| of_section.certain.map(|seen| seen.word(0)));
    let perhaps = if of_option.is_some() {
        Vec::new()
    } else {
        of_section.perhaps
    };
    let application = option(&seen.words, "application-group")
        .map(str::to_owned)
        .or_else(|| {
            let found = value(configuration, "WSGIApplicationGroup", address).certain?;
            Some(found.word(0).to_owned())
        });
    ScriptUse {
        purpose: Purpose::Application,
        origin: seen.origin().to_owned(),
        what: format!("{} {}", seen.node.name, seen.word(0)),
        server_name: server_name(configuration, address.server),
        server_key: server_key(configuration, address.server),
        script: (!many && address.file.is_absolute()).then(|| address.file.to_path_buf()),
        many,
        url: address.url.to_owned(),
        group: named(group),
        application: application.unwrap_or_else(|| "%{RESOURCE}".to_owned()),
        perhaps: perhaps
            .iter()
            .map(|seen| seen.origin().to_owned())
            .collect(),
    }
}

fn question(configuration: &ConfigTree<'_>, seen: &SeenDirective<'_>, file: &Path) -> ScriptUse {
    ScriptUse {
        purpose: Purpose::Question,
        origin: seen.origin().to_owned(),
        what: seen.node.name.clone(),
        server_name: server_name(configuration, seen.server),
        server_key: server_key(configuration, seen.server),
        script: file.is_absolute().then(|| file.to_path_buf()),
        many: false,
        url: String::new(),
        group: named(option(&seen.words, "process-group")),
        application: option(&seen.words, "application-group")
            .unwrap_or("%{GLOBAL}")
            .to_owned(),
        perhaps: Vec::new(),
    }
}

fn named(group: Option<&str>) -> ChosenGroup {
    match group {
        None | Some("%{GLOBAL}") => ChosenGroup::None,
        Some(name) if name.contains("%{") => ChosenGroup::Variable(name.to_owned()),
        Some(name) => ChosenGroup::Named(name.to_owned()),
    }
}

fn server_key(configuration: &ConfigTree<'_>, server: usize) -> String {
    configuration
        .servers
        .get(server)
        .map_or_else(String::new, |known| known.key.clone())
}

fn server_name(configuration: &ConfigTree<'_>, server: usize) -> String {
    let Some(known) = configuration.servers.get(server) else {
        return String::new();
    };
    match known.addresses.as_str() {
        "" => known.name.clone(),
        addresses if addresses.trim() == known.name => format!("virtual host {addresses}"),
        addresses => format!("virtual host {} ({})", known.name, addresses.trim()),
    }
}
