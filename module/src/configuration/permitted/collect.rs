//! What the directives of one server let its process groups run. Pure: httpd's
//! tree comes as [`Statement`]s, facts about groups as texts.

use std::collections::{BTreeMap, BTreeSet};

use wsgid_protocol::runs::Runs;

use crate::configuration::permitted::extent::{Extent, absolute, fixed_front, trimmed};
use crate::configuration::permitted::groups::GroupChoices;
use crate::configuration::permitted::statement::{RequestExtent, Statement};
use crate::configuration::permitted::url_directories::{MappedDirectories, rewritten};

/// By process group, what it may run.
pub(crate) type Permitted = BTreeMap<String, Runs>;

/// The handler of scripts, by both of its names.
const HANDLERS: [&str; 2] = ["wsgi-script", "application/x-httpd-wsgi"];

/// One server.
pub(super) struct ServerStatements<'s> {
    /// ServerRoot.
    pub(super) root: &'s str,
    /// Directories in which homes of users are.
    pub(super) homes: &'s BTreeSet<String>,
    /// In the order of merging.
    pub(super) statements: Vec<&'s Statement>,
    /// Groups that its requests may use.
    pub(super) visible: BTreeSet<String>,
    /// `home=` and `python-path=` of a group.
    pub(super) own_directories: &'s dyn Fn(&str) -> Vec<String>,
}

/// What is needed for each directive.
struct Collector<'c, 's> {
    server: &'c ServerStatements<'s>,
    groups: GroupChoices<'c>,
    directories: MappedDirectories,
    permitted: &'c mut Permitted,
}

/// httpd takes names of handlers and types in any case.
fn names_handler(arguments: &str) -> bool {
    let arguments = arguments.to_ascii_lowercase();
    HANDLERS.iter().any(|handler| arguments.contains(handler))
}

impl ServerStatements<'_> {
    /// Adds what its directives name.
    pub(super) fn collect(&self, permitted: &mut Permitted) {
        let groups = GroupChoices::new(&self.statements, &self.visible);
        let directories = MappedDirectories::new(self.root, self.homes, &self.statements);
        let mut collector = Collector {
            server: self,
            groups,
            directories,
            permitted,
        };
        for statement in &self.statements {
            collector.take(statement);
        }
    }
}

impl Collector<'_, '_> {
    fn take(&mut self, statement: &Statement) {
        match statement.name.as_str() {
            "wsgiscriptalias" => self.alias(statement),
            "wsgiscriptaliasmatch" => self.alias_match(statement),
            "wsgihandlerscript" => self.handler_script(statement),
            "wsgidispatchscript"
            | "wsgiaccessscript"
            | "wsgiauthuserscript"
            | "wsgiauthgroupscript" => {
                self.called_script(statement);
            }
            "sethandler" | "addhandler" | "addtype" | "forcetype"
                if names_handler(&statement.arguments) =>
            {
                self.handler(statement);
            }
            "rewriterule" => self.rewrite(statement),
            "allowoverride" | "allowoverridelist" => self.htaccess(statement),
            _ => {}
        }
    }

    /// A script; or a directory, where what follows in the URL names the script.
    fn alias(&mut self, statement: &Statement) {
        let Some((words, group)) = statement.script(2) else {
            return;
        };
        let [url, target] = words.as_slice() else {
            return;
        };
        let file = absolute(self.server.root, target);
        let url = match trimmed(url) {
            "/" => Extent::All,
            url => Extent::At(absolute("", url)),
        };
        let target = RequestExtent {
            path: Extent::At(trimmed(&file).to_owned()),
            url,
        };
        for group in self.groups.of(&target, group.as_deref()) {
            self.add_file(&group, &file);
            self.add_directory(&group, &file);
        }
    }

    fn alias_match(&mut self, statement: &Statement) {
        let Some((words, group)) = statement.script(2) else {
            return;
        };
        let Some(target) = words.get(1) else { return };
        let file = absolute(self.server.root, target);
        let front = fixed_front(&file, &['$', '&', '\\']);
        let path = match &front {
            Some(front) => Extent::Within(front.clone()),
            None => Extent::At(trimmed(&file).to_owned()),
        };
        let target = RequestExtent {
            path,
            url: Extent::Within("/".to_owned()),
        };
        for group in self.groups.of(&target, group.as_deref()) {
            if front.is_none() {
                self.add_file(&group, &file);
            }
            self.add_directory(&group, front.as_ref().unwrap_or(&file));
        }
    }

    fn handler_script(&mut self, statement: &Statement) {
        let Some((words, group)) = statement.script(2) else {
            return;
        };
        let Some(target) = words.get(1) else { return };
        let file = absolute(self.server.root, target);
        for group in self.groups.of(&statement.scope.target(), group.as_deref()) {
            self.add_file(&group, &file);
        }
    }

    fn called_script(&mut self, statement: &Statement) {
        let Some((words, group)) = statement.script(1) else {
            return;
        };
        let Some(target) = words.first() else { return };
        let file = absolute(self.server.root, target);
        for group in self.groups.of_script_call(group.as_deref()) {
            self.add_file(&group, &file);
        }
    }

    /// Whatever the section reaches may be a script.
    fn handler(&mut self, statement: &Statement) {
        let scope = &statement.scope;
        for place in self.reached(statement) {
            let target = RequestExtent {
                path: Extent::At(place.clone()),
                url: scope.url.clone(),
            };
            for group in self.groups.of(&target, None) {
                self.add_directory(&group, &place);
            }
        }
    }

    /// The directories that requests reach to which a section applies.
    fn reached(&self, statement: &Statement) -> Vec<String> {
        match &statement.scope.path {
            Extent::At(path) | Extent::Within(path) if path != "/" => vec![path.clone()],
            _ => self.directories.reached(&statement.scope.url),
        }
    }

    fn rewrite(&mut self, statement: &Statement) {
        let words = statement.words();
        let flags = words.get(2).map_or("", String::as_str);
        if !names_handler(flags) {
            return;
        }
        self.handler(statement);
        let Some(path) = words
            .get(1)
            .and_then(|substitution| rewritten(substitution))
        else {
            return;
        };
        let target = RequestExtent {
            path: Extent::At(path.clone()),
            url: Extent::All,
        };
        for group in self.groups.of(&target, None) {
            self.add_directory(&group, &path);
        }
    }

    /// What `.htaccess` may say there: a handler, or scripts for access and
    /// authentication in the groups that WSGIRestrictProcess lists.
    fn htaccess(&mut self, statement: &Statement) {
        let words: Vec<String> = statement
            .words()
            .iter()
            .map(|word| word.to_ascii_lowercase())
            .collect();
        let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
        let handlers = [
            "all",
            "fileinfo",
            "sethandler",
            "addhandler",
            "addtype",
            "forcetype",
            "rewriterule",
        ];
        if has(&handlers) {
            self.handler(statement);
        }
        if has(&[
            "all",
            "authconfig",
            "wsgiaccessscript",
            "wsgiauthuserscript",
            "wsgiauthgroupscript",
        ]) {
            self.scripts_of_htaccess(statement);
        }
    }

    /// They are files of the place, or of the group's own directories.
    fn scripts_of_htaccess(&mut self, statement: &Statement) {
        for place in self.reached(statement) {
            let target = RequestExtent {
                path: Extent::At(place.clone()),
                url: statement.scope.url.clone(),
            };
            for group in self.groups.of_htaccess(&target) {
                self.add_directory(&group, &place);
                for directory in (self.server.own_directories)(&group) {
                    self.add_directory(&group, &directory);
                }
            }
        }
    }

    fn add_file(&mut self, group: &str, file: &str) {
        if !file.ends_with('/') {
            self.permitted
                .entry(group.to_owned())
                .or_default()
                .add_file(file);
        }
    }

    /// The root directory is nothing that anybody means: it would be every script.
    fn add_directory(&mut self, group: &str, directory: &str) {
        if trimmed(directory) != "/" {
            self.permitted
                .entry(group.to_owned())
                .or_default()
                .add_directory(directory);
        }
    }
}
