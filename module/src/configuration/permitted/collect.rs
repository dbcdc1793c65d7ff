//! What the directives of one server let its process groups run. Pure: httpd's
//! tree comes as [`Statement`]s, facts about groups as texts.

use std::collections::{BTreeMap, BTreeSet};

use wsgid_protocol::runs::Runs;

use crate::configuration::permitted::extent::{Extent, absolute, trimmed};
use crate::configuration::permitted::groups::GroupChoices;
use crate::configuration::permitted::statement::{
    ConfiguredScript, RequestExtent, Statement, words,
};
use crate::configuration::permitted::url_directories::{MappedDirectories, rewritten};

/// By process group, what it may run.
pub(crate) type Permitted = BTreeMap<String, Runs>;

/// The handler of scripts, by both of its names.
const HANDLERS: [&str; 2] = ["wsgi-script", "application/x-httpd-wsgi"];

/// What `AllowOverride` says where `.htaccess` may name a handler.
const HANDLING: [&str; 7] = [
    "all",
    "fileinfo",
    "sethandler",
    "addhandler",
    "addtype",
    "forcetype",
    "rewriterule",
];

/// What it says where `.htaccess` may name scripts for access and authentication.
const ASKING: [&str; 5] = [
    "all",
    "authconfig",
    "wsgiaccessscript",
    "wsgiauthuserscript",
    "wsgiauthgroupscript",
];

pub(super) struct ServerStatements<'s> {
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
        let mut collector = Collector {
            server: self,
            groups: GroupChoices::new(&self.statements, &self.visible),
            directories: MappedDirectories::new(self.root, self.homes, &self.statements),
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
            | "wsgiauthgroupscript" => self.called_script(statement),
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

    fn script(
        &self,
        statement: &Statement,
        words_before_options: usize,
    ) -> Option<ConfiguredScript> {
        let mut script = statement.script(words_before_options)?;
        script.file = absolute(self.server.root, &script.file);
        Some(script)
    }

    fn alias(&mut self, statement: &Statement) {
        let Some(script) = self.script(statement, 2) else {
            return;
        };
        let url = match trimmed(&script.first) {
            "/" => Extent::All,
            url => Extent::At(absolute("", url)),
        };
        self.add_target(&script, Extent::at(&script.file), url);
    }

    fn alias_match(&mut self, statement: &Statement) {
        let Some(script) = self.script(statement, 2) else {
            return;
        };
        let path = Extent::of(&script.file, &['$', '&', '\\']);
        self.add_target(&script, path, Extent::Within("/".to_owned()));
    }

    /// A script; or a directory, where what follows in the URL names the script.
    fn add_target(&mut self, script: &ConfiguredScript, path: Extent, url: Extent) {
        let target = RequestExtent { path, url };
        for group in self.groups.of(&target, script.group.as_deref()) {
            if let Extent::Within(front) = &target.path {
                self.add_directory(&group, front);
            } else {
                self.add_file(&group, &script.file);
                self.add_directory(&group, &script.file);
            }
        }
    }

    fn handler_script(&mut self, statement: &Statement) {
        let Some(script) = self.script(statement, 2) else {
            return;
        };
        let target = &statement.scope.extent;
        for group in self.groups.of(target, script.group.as_deref()) {
            self.add_file(&group, &script.file);
        }
    }

    fn called_script(&mut self, statement: &Statement) {
        let Some(script) = self.script(statement, 1) else {
            return;
        };
        for group in self.groups.of_script_call(script.group.as_deref()) {
            self.add_file(&group, &script.file);
        }
    }

    /// Whatever the section reaches may be a script.
    fn handler(&mut self, statement: &Statement) {
        for place in self.reached(statement) {
            self.add_served(&place, &statement.scope.extent.url);
        }
    }

    fn add_served(&mut self, directory: &str, url: &Extent) {
        for group in self.groups.of(&RequestExtent::below(directory, url), None) {
            self.add_directory(&group, directory);
        }
    }

    /// The directories that requests reach to which a section applies.
    fn reached(&self, statement: &Statement) -> Vec<String> {
        let extent = &statement.scope.extent;
        match &extent.path {
            Extent::At(path) | Extent::Within(path) if path != "/" => vec![path.clone()],
            _ => self.directories.reached(&extent.url),
        }
    }

    fn rewrite(&mut self, statement: &Statement) {
        let words = statement.words();
        let flags = words.get(2).map_or("", String::as_str);
        if !names_handler(flags) {
            return;
        }
        self.handler(statement);
        if let Some(path) = words.get(1).and_then(|word| rewritten(word)) {
            self.add_served(&path, &Extent::All);
        }
    }

    /// What `.htaccess` may say there: a handler, or scripts for access and
    /// authentication in the groups that WSGIRestrictProcess lists.
    fn htaccess(&mut self, statement: &Statement) {
        let words = words(&statement.arguments.to_ascii_lowercase());
        if words.iter().any(|word| HANDLING.contains(&word.as_str())) {
            self.handler(statement);
        }
        if words.iter().any(|word| ASKING.contains(&word.as_str())) {
            self.scripts_of_htaccess(statement);
        }
    }

    /// Scripts that `.htaccess` names are files of the place, or of the group's own directories.
    fn scripts_of_htaccess(&mut self, statement: &Statement) {
        for place in self.reached(statement) {
            let target = RequestExtent::below(&place, &statement.scope.extent.url);
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
            let runs = self.permitted.entry(group.to_owned()).or_default();
            runs.add_file(file);
        }
    }

    /// The root directory is nothing that anybody means: it would be every script.
    fn add_directory(&mut self, group: &str, directory: &str) {
        if trimmed(directory) != "/" {
            let runs = self.permitted.entry(group.to_owned()).or_default();
            runs.add_directory(directory);
        }
    }
}
