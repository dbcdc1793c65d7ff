//! Each process group tried as its user: which Python it gets, whether that
//! user can read its scripts. What `wsgid check` finds out for site files.

use std::path::Path;

use nix::unistd::Uid;
use serde::Serialize;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::Preload;
use wsgid_protocol::names::DEFAULT_GROUP;
use wsgid_protocol::report::ConfigReport;

use super::compare::user_of;
use super::finding::{Finding, FindingKind};
use super::mounts::ScriptUse;
use crate::command::check::{self, Found};
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

/// Tries the groups that are defined, and the implicit one if it is used.
pub(crate) fn examine<'r>(report: &'r ConfigReport, uses: &[ScriptUse]) -> Vec<Tried<'r>> {
    let httpd = identity::DefaultAccount {
        uid: report.httpd_uid,
        gid: report.httpd_gid,
    };
    let mut tried = Vec::new();
    for config in &report.groups {
        let scripts = uses
            .iter()
            .filter(|one| one.runs_in() == Some(&config.name));
        let scripts: Vec<Preload> = scripts
            .filter_map(|one| preload(one.script.as_deref()?))
            .collect();
        let is_used =
            !scripts.is_empty() || uses.iter().any(|one| one.runs_in() == Some(&config.name));
        if config.name == DEFAULT_GROUP && !is_used && config.preload_scripts.is_empty() {
            continue;
        }
        // That the server has no account was found already, and nothing can be tried without one.
        if config.name == DEFAULT_GROUP && httpd.is_missing() {
            continue;
        }
        let mut complete = config.clone();
        for script in scripts {
            if !complete
                .preload_scripts
                .iter()
                .any(|known| known.script == script.script)
            {
                complete.preload_scripts.push(script);
            }
        }
        let found = check::examine(&complete, httpd);
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

fn preload(script: &Path) -> Option<Preload> {
    let script = script.to_path_buf();
    script.is_absolute().then(|| Preload {
        script,
        application_group: String::new(),
        callable: None,
    })
}

/// What is wrong with them, and what differs.
pub(crate) fn findings(report: &ConfigReport, groups: &[Tried<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in groups {
        let config = group.config;
        let origin = if config.name == DEFAULT_GROUP {
            ""
        } else {
            &config.origin
        };
        let mut say = |kind, text: String| {
            findings.push(Finding::new(
                kind,
                origin,
                format!("process group `{}`: {text}", config.name),
            ));
        };
        for problem in &group.found.problems {
            // Python leaves out what is not there, here as with mod_wsgi.
            let kind = if problem.starts_with("python-path=") {
                FindingKind::Note
            } else {
                FindingKind::Problem
            };
            say(kind, problem.clone());
        }
        let Some((major, minor)) = group.found.python else {
            continue;
        };
        for path in &config.python_path {
            if let Some(other) = version_in(path).filter(|other| *other != (major, minor)) {
                say(
                    FindingKind::Problem,
                    format!(
                        "python-path= `{}` has packages of Python {}.{}, and the group runs Python {major}.{minor}; \
                         name their environment with python-home= instead",
                        path.display(),
                        other.0,
                        other.1
                    ),
                );
            }
        }
    }
    if !Uid::effective().is_root() {
        let text = "this is not root, so each process group was tried as you, not as its own user";
        findings.push(Finding::new(FindingKind::Note, "", text));
    }
    findings.extend(unnamed_python(groups));
    findings.extend(several_pythons(report, groups));
    findings
}

/// Groups that get whichever Python is found.
fn unnamed_python(groups: &[Tried<'_>]) -> Option<Finding> {
    let unnamed: Vec<&Tried<'_>> = groups
        .iter()
        .filter(|group| group.config.python_home.is_none())
        .collect();
    let (major, minor) = unnamed.first()?.found.python?;
    let names: Vec<String> = unnamed
        .iter()
        .map(|group| format!("`{}`", group.name))
        .collect();
    let text = format!(
        "neither python-home= nor WSGIPythonHome is set for {}: mod_wsgi uses the Python that it was built with, here \
         it is `python3`, which is Python {major}.{minor}; if the packages are elsewhere, name the environment with \
         python-home=",
        names.join(", ")
    );
    Some(Finding::new(FindingKind::Change, "", text))
}

/// Of `…/lib/python3.9/site-packages`.
fn version_in(path: &Path) -> Option<(u32, u32)> {
    path.components().find_map(|part| {
        let (major, minor) = part
            .as_os_str()
            .to_str()?
            .strip_prefix("python")?
            .split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

fn several_pythons(report: &ConfigReport, groups: &[Tried<'_>]) -> Option<Finding> {
    let mut versions: Vec<(u32, u32)> = groups
        .iter()
        .filter_map(|group| group.found.python)
        .collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() < 2 || report.groups.is_empty() {
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
    Some(Finding::new(FindingKind::Change, "", text))
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
