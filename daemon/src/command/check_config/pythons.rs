//! Each process group tried as its user: which Python it gets, whether that
//! user can read its scripts. What `wsgid check` finds out for site files.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Uid;
use serde::Serialize;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::Preload;
use wsgid_protocol::names::DEFAULT_GROUP;
use wsgid_protocol::report::ConfigReport;

use super::compare::{origin_of, user_of};
use super::finding::{Finding, FindingKind};
use super::mounts::ScriptUse;
use crate::command::check::{self, Found, Surroundings};
use crate::process::identity;

/// A process group that will have processes.
#[derive(Serialize)]
pub(crate) struct Tried<'r> {
    #[serde(skip)]
    pub(crate) config: &'r GroupConfig,
    pub(crate) name: &'r str,
    pub(crate) user: String,
    pub(crate) processes: u32,
    pub(crate) threads: u32,
    pub(crate) found: Found,
}

/// Tries the groups that are defined, and the implicit one if it is used. `limit`: as for
/// `wsgid check`.
pub(crate) fn examine<'r>(
    report: &'r ConfigReport,
    uses: &[ScriptUse<'_>],
    limit: Option<Duration>,
) -> Vec<Tried<'r>> {
    let httpd = identity::DefaultAccount {
        uid: report.httpd_uid,
        gid: report.httpd_gid,
    };
    let mut around = Surroundings::new(&report.groups, Vec::new());
    let mut tried = Vec::new();
    for config in &report.groups {
        let inside = uses.iter();
        let mut inside = inside
            .filter(|one| one.runs_in() == Some(&config.name))
            .peekable();
        let is_used = inside.peek().is_some() || !config.preload_scripts.is_empty();
        // That the server has no account was found already, and nothing can be tried without one.
        if config.name == DEFAULT_GROUP && (!is_used || httpd.is_missing()) {
            continue;
        }
        let mut complete = config.clone();
        for script in inside.filter_map(|one| one.script.as_ref()) {
            let scripts = &mut complete.preload_scripts;
            if !scripts.iter().any(|known| known.script == *script) {
                scripts.push(Preload {
                    script: script.clone(),
                    application_group: String::new(),
                    callable: None,
                });
            }
        }
        let found = check::examine(&complete, httpd, limit, &mut around);
        tried.push(Tried {
            config,
            name: &config.name,
            user: user_of(config, report),
            processes: config.processes_limit(),
            threads: config.threads,
            found,
        });
    }
    tried
}

/// What is wrong with them, and what differs. `built_with`: mod_wsgi's Python, if that
/// is known.
pub(crate) fn findings(groups: &[Tried<'_>], built_with: Option<(u32, u32)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in groups {
        let config = group.config;
        let mut say = |kind, text: &str| {
            let text = format!("process group `{}`: {text}", config.name);
            findings.push(Finding::new(kind, origin_of(config), text));
        };
        for problem in &group.found.problems {
            // Python leaves out what is not there, here as with mod_wsgi.
            let kind = if problem.starts_with("python-path=") {
                FindingKind::Note
            } else {
                FindingKind::Problem
            };
            say(kind, problem);
        }
        for note in &group.found.notes {
            say(FindingKind::Note, note);
        }
        let Some((major, minor)) = group.found.python else {
            continue;
        };
        for path in &config.python_path {
            if let Some(other) = version_in(path).filter(|other| *other != (major, minor)) {
                let text = format!(
                    "python-path= `{}` has packages of Python {}.{}, and the group runs Python {major}.{minor}; \
                     name their environment with python-home= instead",
                    path.display(),
                    other.0,
                    other.1
                );
                say(FindingKind::Problem, &text);
            }
        }
    }
    if !Uid::effective().is_root() {
        let text = "this is not root, so each process group was tried as you, not as its own user";
        findings.push(Finding::new(FindingKind::Note, "", text));
    }
    findings.extend(unnamed_python(groups, built_with));
    findings.extend(several_pythons(groups));
    findings
}

/// Groups that get whichever Python is found.
fn unnamed_python(groups: &[Tried<'_>], built_with: Option<(u32, u32)>) -> Option<Finding> {
    let unnamed = groups
        .iter()
        .filter(|group| group.config.python_home.is_none());
    let (major, minor) = unnamed.clone().next()?.found.python?;
    let names: Vec<String> = unnamed.map(|group| format!("`{}`", group.name)).collect();
    let names = names.join(", ");
    if built_with == Some((major, minor)) {
        let text = format!(
            "neither python-home= nor WSGIPythonHome is set for {names}: as with mod_wsgi, which was built with it, it \
             is Python {major}.{minor}, here that of `python3`"
        );
        return Some(Finding::new(FindingKind::Note, "", text));
    }
    let built_with =
        built_with.map_or_else(String::new, |(major, minor)| format!(", {major}.{minor}"));
    let text = format!(
        "neither python-home= nor WSGIPythonHome is set for {names}: mod_wsgi uses the Python that it was built \
         with{built_with}, here it is `python3`, which is Python {major}.{minor}; if the packages are elsewhere, name \
         the environment with python-home="
    );
    Some(Finding::change("", text))
}

/// Of `…/lib/python3.9/site-packages`.
fn version_in(path: &Path) -> Option<(u32, u32)> {
    path.iter().find_map(|part| {
        let version = part.to_str()?.strip_prefix("python")?;
        let (major, minor) = version.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

fn several_pythons(groups: &[Tried<'_>]) -> Option<Finding> {
    let versions = groups.iter().filter_map(|group| group.found.python);
    let versions: BTreeSet<(u32, u32)> = versions.collect();
    if versions.len() < 2 {
        return None;
    }
    let list: Vec<String> = versions
        .iter()
        .map(|(major, minor)| format!("{major}.{minor}"))
        .collect();
    let text = format!(
        "the process groups run Python {}: each has its own here, while mod_wsgi has the one that it was built with \
         for all; what was meant for that one Python may find another now",
        list.join(" and ")
    );
    Some(Finding::change("", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_a_path() {
        assert_eq!(
            version_in(Path::new("/srv/venv/lib/python3.8/site-packages")),
            Some((3, 8))
        );
        assert_eq!(version_in(Path::new("/srv/python/app")), None);
    }
}
