//! Which process groups a request could be given: what `target.rs` decides for
//! one request, here for all requests about a place. Pure.

use std::collections::BTreeSet;

use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::permitted::extent::Applies;
use crate::configuration::permitted::statement::{RequestExtent, Statement};

/// The rules of one server.
pub(super) struct GroupChoices<'s> {
    /// WSGIProcessGroup, in the order of merging; so are the others.
    processes: Vec<&'s Statement>,
    restrictions: Vec<&'s Statement>,
    dispatches: Vec<&'s Statement>,
    visible: &'s BTreeSet<String>,
}

/// What a directive says.
enum ConfiguredGroup {
    Group(String),
    /// A request says it; the directive stands in this section.
    Request(usize),
}

impl ConfiguredGroup {
    fn new(name: &str, section: usize) -> Self {
        match name {
            "" | "%{GLOBAL}" => Self::Group(DEFAULT_GROUP.to_owned()),
            name if name.contains("%{") => Self::Request(section),
            name => Self::Group(name.to_owned()),
        }
    }
}

impl<'s> GroupChoices<'s> {
    pub(super) fn new(statements: &[&'s Statement], visible: &'s BTreeSet<String>) -> Self {
        let named = |name: &str| {
            statements
                .iter()
                .copied()
                .filter(|statement| statement.name == name)
                .collect()
        };
        Self {
            processes: named("wsgiprocessgroup"),
            restrictions: named("wsgirestrictprocess"),
            dispatches: named("wsgidispatchscript"),
            visible,
        }
    }

    /// The groups of requests about `target`; `own` is what the script's own directive says.
    pub(super) fn of(&self, target: &RequestExtent, own: Option<&str>) -> BTreeSet<String> {
        let mut choices = match own {
            Some(name) => vec![ConfiguredGroup::new(name, 0)],
            None => self.configured(target),
        };
        let dispatches = self
            .dispatches
            .iter()
            .filter(|statement| statement.scope.applies(target) != Applies::Never);
        choices
            .extend(dispatches.map(|statement| ConfiguredGroup::Request(statement.scope.section)));
        let mut groups = BTreeSet::new();
        for choice in choices {
            match choice {
                ConfiguredGroup::Group(name) => groups.extend(self.visible.get(&name).cloned()),
                ConfiguredGroup::Request(section) => {
                    let listed = self.listed(target, section);
                    groups.extend(listed.unwrap_or_else(|| self.visible.clone()));
                }
            }
        }
        groups
    }

    /// The groups in which scripts of `.htaccess` may run: what the server's
    /// configuration has set there or lists, but never httpd's user.
    pub(super) fn of_htaccess(&self, target: &RequestExtent) -> BTreeSet<String> {
        let mut groups = self.names(self.restrictions_for(target, None));
        for choice in self.configured(target) {
            if let ConfiguredGroup::Group(name) = choice {
                groups.extend(self.visible.get(&name).cloned());
            }
        }
        groups.remove(DEFAULT_GROUP);
        groups
    }

    /// What WSGIProcessGroup says about requests.
    fn configured(&self, target: &RequestExtent) -> Vec<ConfiguredGroup> {
        let mut choices = vec![ConfiguredGroup::Group(DEFAULT_GROUP.to_owned())];
        for statement in &self.processes {
            let applies = statement.scope.applies(target);
            if applies == Applies::Always {
                choices.clear();
            }
            if applies != Applies::Never {
                let name = statement.words().into_iter().next().unwrap_or_default();
                choices.push(ConfiguredGroup::new(&name, statement.scope.section));
            }
        }
        choices
    }

    /// The groups of a script for access, authentication or dispatch, which WSGIProcessGroup
    /// is not about.
    pub(super) fn of_script_call(&self, own: Option<&str>) -> BTreeSet<String> {
        match ConfiguredGroup::new(own.unwrap_or_default(), 0) {
            ConfiguredGroup::Group(name) => self.visible.get(&name).cloned().into_iter().collect(),
            ConfiguredGroup::Request(_) => self.visible.clone(),
        }
    }

    /// The groups that WSGIRestrictProcess lists for requests about `target` for which
    /// the directives of `section` are in force; `None` where perhaps no list is.
    fn listed(&self, target: &RequestExtent, section: usize) -> Option<BTreeSet<String>> {
        let statements = self.restrictions_for(target, Some(section));
        statements
            .iter()
            .any(|statement| applies(statement, target, Some(section)) == Applies::Always)
            .then(|| self.names(statements))
    }

    /// The lists that may be in force. An inner one takes the place of those around
    /// it; all of one section count together.
    fn restrictions_for(
        &self,
        target: &RequestExtent,
        section: Option<usize>,
    ) -> Vec<&'s Statement> {
        let mut found: Vec<&Statement> = Vec::new();
        for statement in &self.restrictions {
            let applies = applies(statement, target, section);
            if applies == Applies::Always {
                found.retain(|known| known.scope.section == statement.scope.section);
            }
            if applies != Applies::Never {
                found.push(statement);
            }
        }
        found
    }

    /// The groups in these lists.
    fn names(&self, restrictions: Vec<&Statement>) -> BTreeSet<String> {
        restrictions
            .into_iter()
            .flat_map(Statement::words)
            .map(|name| match name.as_str() {
                "%{GLOBAL}" => DEFAULT_GROUP.to_owned(),
                _ => name,
            })
            .filter(|name| self.visible.contains(name))
            .collect()
    }
}

/// Whether a directive is in force for requests about `target` for which `section` is.
fn applies(statement: &Statement, target: &RequestExtent, section: Option<usize>) -> Applies {
    if section == Some(statement.scope.section) {
        Applies::Always
    } else {
        statement.scope.applies(target)
    }
}
