//! What each process group may run: everything in the configuration that can
//! name a script, and the process groups that a request there could be given. The
//! parent collects it once the configuration has been read, the workers hold
//! themselves to it. Exact where a directive names a script; where only a request
//! decides, everything it could decide on.

mod collect;
mod extent;
mod groups;
mod statement;
#[cfg(test)]
mod tests;
mod url_directories;

use std::collections::{BTreeSet, HashMap};

pub(crate) use self::collect::Permitted;
use self::collect::ServerStatements;
use self::statement::Statements;
use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::settings::ServerSettings;
use crate::httpd::server::Server;
use crate::httpd::tree;

/// Collects it from httpd's picture of the configuration.
pub(crate) fn collect(settings: &ServerSettings, main: Server<'_>) -> Permitted {
    let root = tree::server_root().to_string_lossy().into_owned();
    let statements = Statements::new(&tree::copied(statement::matters));
    let visibility = Visibility::new(settings);
    let homes = url_directories::homes(&std::fs::read_to_string("/etc/passwd").unwrap_or_default());
    let mut permitted = Permitted::new();
    for server in main.all() {
        for own in statements.of_server(server.is_virtual().then(|| server.origin()).as_deref()) {
            let view = ServerStatements {
                root: &root,
                homes: &homes,
                statements: own,
                visible: visibility.of(server),
                own_directories: &|group| own_directories(settings, group),
            };
            view.collect(&mut permitted);
        }
    }
    for import in &settings.imports {
        let runs = permitted.entry(import.process_group.clone()).or_default();
        runs.add_file(&import.preload.script.to_string_lossy());
    }
    permitted
}

/// From which servers process groups may be used, as `groups::admits` says it for
/// one; made once, for there may be thousands of either.
#[derive(Default)]
struct Visibility<'s> {
    everywhere: Vec<&'s str>,
    by_server: HashMap<usize, Vec<&'s str>>,
    by_hostname: HashMap<String, Vec<&'s str>>,
}

impl<'s> Visibility<'s> {
    fn new(settings: &'s ServerSettings) -> Self {
        let mut visibility = Self {
            everywhere: vec![DEFAULT_GROUP],
            ..Self::default()
        };
        for group in &settings.groups {
            let name = group.config.name.as_str();
            for scope in &group.scopes {
                if !scope.is_virtual {
                    visibility.everywhere.push(name);
                    continue;
                }
                let of_server = visibility.by_server.entry(scope.server);
                of_server.or_default().push(name);
                if let Some(hostname) = &scope.hostname {
                    let hostname = hostname.to_ascii_lowercase();
                    let of_hostname = visibility.by_hostname.entry(hostname);
                    of_hostname.or_default().push(name);
                }
            }
        }
        visibility
    }

    /// The process groups that requests of a server may use.
    fn of(&self, server: Server<'_>) -> BTreeSet<String> {
        let hostname = server.name().unwrap_or_default().to_ascii_lowercase();
        let lists = [
            Some(&self.everywhere),
            self.by_server.get(&server.id()),
            self.by_hostname.get(&hostname),
        ];
        let names = lists.into_iter().flatten().flatten();
        names.map(|name| (*name).to_owned()).collect()
    }
}

/// Where the code of a process group is.
fn own_directories(settings: &ServerSettings, group: &str) -> Vec<String> {
    let Some(known) = settings.group(group) else {
        return Vec::new();
    };
    let directories = known.config.home.iter().chain(&known.config.python_path);
    directories
        .map(|directory| directory.to_string_lossy().into_owned())
        .collect()
}
