//! What each process group may run: everything in the configuration that can
//! name a script, and the process groups that a request there could be given. The
//! parent collects it once the configuration has been read, the workers hold
//! themselves to it. Exact where a directive names a script; where only a request
//! decides, everything it could decide on.

mod collect;
mod extent;
mod groups;
mod places;
mod statement;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use wsgid_protocol::runs::Runs;

use self::collect::Server as View;
use self::statement::{Line, Statements};
use crate::groups::admits;
use crate::httpd::server::Server;
use crate::httpd::tree;
use crate::settings::{DEFAULT_GROUP, Settings};

/// By process group, what it may run.
pub(crate) type Permitted = BTreeMap<String, Runs>;

/// Collects it from httpd's picture of the configuration.
pub(crate) fn collect(settings: &Settings, main: Server<'_>) -> Permitted {
    let root = tree::server_root().to_string_lossy().into_owned();
    let lines: Vec<Line> = tree::roots().filter_map(copied).collect();
    let statements = Statements::new(&lines);
    let mut permitted = Permitted::new();
    for server in main.all() {
        let view = View {
            root: &root,
            statements: statements.of_server(server.is_virtual().then(|| server.origin()).as_deref()),
            visible: visible(settings, server),
            own_directories: &|group| own_directories(settings, group),
        };
        view.collect(&mut permitted);
    }
    for import in &settings.imports {
        let runs = permitted.entry(import.process_group.clone()).or_default();
        runs.add_file(&import.preload.script.to_string_lossy());
    }
    permitted
}

/// The process groups that requests of a server may use.
fn visible(settings: &Settings, server: Server<'_>) -> BTreeSet<String> {
    let hostname = server.hostname().map(|name| name.to_string_lossy());
    let may_use = |group: &&crate::settings::Definition| {
        group.scopes.iter().any(|scope| admits(scope, server.id(), hostname.as_deref()))
    };
    let named = settings.groups.iter().filter(may_use).map(|group| group.config.name.clone());
    named.chain([DEFAULT_GROUP.to_owned()]).collect()
}

/// Where the code of a process group is.
fn own_directories(settings: &Settings, group: &str) -> Vec<String> {
    let known = settings.groups.iter().find(|known| known.config.name == group);
    let directories = known.iter().flat_map(|known| known.config.home.iter().chain(&known.config.python_path));
    directories.map(|directory| directory.to_string_lossy().into_owned()).collect()
}

/// A directive that matters here, and what it holds.
fn copied(node: tree::Node<'_>) -> Option<Line> {
    let name = node.name().to_string_lossy().to_ascii_lowercase();
    let is_section = name.starts_with('<');
    if !is_section && !statement::matters(&name) {
        return None;
    }
    let arguments = node.arguments().to_string_lossy();
    let arguments = if is_section { arguments.strip_suffix('>').unwrap_or(&arguments) } else { &arguments };
    Some(Line {
        name,
        arguments: arguments.to_owned(),
        origin: if is_section { node.origin() } else { String::new() },
        children: node.children().filter_map(copied).collect(),
    })
}
