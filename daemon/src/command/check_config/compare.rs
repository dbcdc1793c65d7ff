//! What the directives mean here, compared with mod_wsgi.

use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::{Uid, User};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::names::DEFAULT_GROUP;
use wsgid_protocol::report::ConfigReport;

use super::finding::{Finding, FindingKind};
use super::mounts::{ChosenGroup, Purpose, ScriptUse};
use super::tree::{ConfigTree, SeenDirective};
use super::words::option;

/// All findings that need nothing but the configuration.
pub(crate) fn findings(
    configuration: &ConfigTree<'_>,
    report: &ConfigReport,
    uses: &[ScriptUse<'_>],
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for (kind, remarks) in [
        (FindingKind::Problem, &report.problems),
        (FindingKind::Change, &report.warnings),
        (FindingKind::Note, &report.remarks),
    ] {
        let said = remarks.iter();
        findings.extend(said.map(|remark| Finding::new(kind, &remark.origin, &remark.text)));
    }
    findings.extend(embedded(report, uses));
    findings.extend(questions(report, uses));
    findings.extend(application_groups(report, uses));
    for seen in &configuration.seen {
        findings.extend(directive(seen, uses));
        if seen.name == "wsgidaemonprocess" {
            findings.extend(options(seen));
        }
    }
    findings
}

/// The name of a group's user; empty if httpd has none.
pub(crate) fn user_of(group: &GroupConfig, report: &ConfigReport) -> String {
    let own = Uid::effective();
    let uid = if own.is_root() {
        Uid::from_raw(report.httpd_uid)
    } else {
        own
    };
    match &group.user {
        Some(user) if own.is_root() => user.clone(),
        _ if uid.as_raw() == u32::MAX => String::new(),
        _ => User::from_uid(uid)
            .ok()
            .flatten()
            .map_or_else(|| format!("#{uid}"), |user| user.name),
    }
}

fn user_of_group(name: &str, report: &ConfigReport) -> String {
    let mut groups = report.groups.iter();
    groups
        .find(|group| group.name == name)
        .map_or_else(String::new, |group| user_of(group, report))
}

/// Where a group is defined; the implicit one is nowhere.
pub(crate) fn origin_of(group: &GroupConfig) -> &str {
    if group.name == DEFAULT_GROUP {
        ""
    } else {
        &group.origin
    }
}

/// Applications without a process group, once for each directive.
fn embedded(report: &ConfigReport, uses: &[ScriptUse<'_>]) -> Vec<Finding> {
    let mut by_directive: BTreeMap<&str, Vec<&ScriptUse<'_>>> = BTreeMap::new();
    for one in uses {
        if one.purpose == Purpose::Application && one.group == ChosenGroup::None {
            by_directive.entry(one.origin).or_default().push(one);
        }
    }
    let user = match user_of_group(DEFAULT_GROUP, report) {
        user if user.is_empty() => "httpd's user".to_owned(),
        user => format!("user `{user}`"),
    };
    let mut findings = Vec::new();
    for (origin, here) in by_directive {
        let Some(first) = here.first() else { continue };
        let everywhere = uses.iter().filter(|one| one.origin == origin).count() == here.len();
        let place = if everywhere {
            String::new()
        } else {
            format!(" in {}", servers(&here))
        };
        let what = &first.what;
        if report.restrict_embedded {
            let text = format!(
                "`{what}`{place} names no process group, and WSGIRestrictEmbedded is On: its requests get 500, \
                 as with mod_wsgi; name a process group"
            );
            findings.push(Finding::new(FindingKind::Problem, origin, text));
            continue;
        }
        let mut text = format!(
            "`{what}`{place} names no process group: mod_wsgi runs it inside httpd's own processes, here it runs in \
             the process group `{DEFAULT_GROUP}`, 1 process with 15 threads as {user}; for other numbers or \
             another user name a process group of your own"
        );
        if !first.perhaps.is_empty() {
            let places = first.perhaps.join(", ");
            text += &format!(" (WSGIProcessGroup at {places} may hold for some requests)");
        }
        findings.push(Finding::change(origin, text));
    }
    findings
}

fn servers(uses: &[&ScriptUse<'_>]) -> String {
    let mut names: Vec<&str> = uses.iter().map(|one| one.server.name.as_str()).collect();
    names.dedup();
    names.join(", ")
}

/// Scripts for access, authentication and dispatch.
fn questions(report: &ConfigReport, uses: &[ScriptUse<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in uses.iter().filter(|one| one.purpose == Purpose::Question) {
        let name = one.runs_in().unwrap_or_default();
        let user = user_of_group(name, report);
        let place = match one.group {
            ChosenGroup::Variable(name) => format!("the process group that {name} names"),
            _ if user.is_empty() => format!("the process group `{name}`"),
            _ => format!("the process group `{name}`, as user `{user}`"),
        };
        let failing = if one.what.eq_ignore_ascii_case("WSGIDispatchScript") {
            "a script that cannot be loaded ends the request with 500; with mod_wsgi the request goes on"
        } else {
            "whatever goes wrong refuses the request"
        };
        let text = format!(
            "{} runs inside httpd with mod_wsgi, here in a worker of {place} (its option process-group= chooses \
             another), has 10 s to answer, and {failing}",
            one.what
        );
        findings.push(Finding::change(one.origin, text));
    }
    findings
}

/// Process groups that get more processes than they say, because each
/// application group has its own.
fn application_groups(report: &ConfigReport, uses: &[ScriptUse<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in &report.groups {
        let inside = uses.iter();
        let inside = inside.filter(|one| one.runs_in() == Some(&group.name));
        let (many, single): (Vec<_>, Vec<_>) =
            inside.partition(|one| one.many && one.application == "%{RESOURCE}");
        for one in many {
            let text = format!(
                "`{}` stands for any number of scripts, and each is an application group of its own: an interpreter \
                 within each process with mod_wsgi, {} of its own here; to let them share processes, set \
                 WSGIApplicationGroup %{{GLOBAL}}",
                one.what,
                processes(group)
            );
            findings.push(Finding::change(one.origin, text));
        }
        let names: BTreeSet<String> = single.into_iter().map(application_name).collect();
        if names.len() < 2 {
            continue;
        }
        let listed: Vec<String> = names.iter().map(|name| quoted_application(name)).collect();
        let total = names.len() * usize::try_from(group.processes_limit()).unwrap_or(usize::MAX);
        let text = format!(
            "process group `{}` has {} application groups ({}): interpreters of the same processes with mod_wsgi, \
             processes of their own here, up to {total} together instead of {}; that costs memory; to let them \
             share processes, give them the same application-group=, for instance %{{GLOBAL}}",
            group.name,
            names.len(),
            listed.join(", "),
            group.processes_limit(),
        );
        findings.push(Finding::change(origin_of(group), text));
    }
    findings
}

fn processes(group: &GroupConfig) -> String {
    match group.processes_limit() {
        1 => "one process".to_owned(),
        many => format!("{many} processes"),
    }
}

/// The name, as far as it is known without a request.
fn application_name(one: &ScriptUse<'_>) -> String {
    let server = &one.server.key;
    match one.application {
        "%{GLOBAL}" => String::new(),
        "%{RESOURCE}" => format!("{server}|{}", one.url.trim_end_matches('/')),
        "%{SERVER}" | "%{HOST}" => format!("{server}|"),
        name => name.to_owned(),
    }
}

fn quoted_application(name: &str) -> String {
    match (name, name.split_once('|')) {
        ("", _) => "%{GLOBAL}".to_owned(),
        (_, Some((server, url))) => {
            let server = if server.is_empty() {
                "the main server"
            } else {
                server
            };
            format!("`{}` of {server}", if url.is_empty() { "/" } else { url })
        }
        _ => format!("`{name}`"),
    }
}

/// What a single directive means here.
fn directive(seen: &SeenDirective<'_>, uses: &[ScriptUse<'_>]) -> Option<Finding> {
    let name = &seen.node.name;
    let (kind, text) = match seen.name.as_str() {
        "wsgipythonpath" | "wsgiswitchinterval" if !seen.sections.is_empty() => return None,
        "wsgipythonpath" | "wsgiswitchinterval" => {
            if uses.iter().any(|one| one.group == ChosenGroup::None) {
                let text = format!(
                    "{name} is for applications inside httpd with mod_wsgi, and for the process group \
                     `{DEFAULT_GROUP}` here; other process groups have options for it, here as there"
                );
                (FindingKind::Change, text)
            } else {
                let text = format!(
                    "{name} has no effect on process groups that are named, as with mod_wsgi, and nothing runs \
                     without a name"
                );
                (FindingKind::Note, text)
            }
        }
        "wsgipythonhashseed" if seen.word(0) == "random" => {
            let text = "WSGIPythonHashSeed random is random here; mod_wsgi takes it for the seed 0";
            (FindingKind::Change, text.to_owned())
        }
        "wsgisocketprefix" => {
            let text = "WSGISocketPrefix is the front of the directory of one socket, between httpd and the \
                        supervisor; process groups have no sockets of their own";
            (FindingKind::Note, text.to_owned())
        }
        _ => return None,
    };
    Some(Finding::new(kind, &seen.node.origin, text))
}

/// Options of WSGIDaemonProcess whose text means another value, or whose absence
/// does.
fn options(seen: &SeenDirective<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let words = seen.words.get(1..).unwrap_or_default();
    if option(words, "user").is_some() && option(words, "group").is_none() {
        let text = "user= without group= has the primary group of that user; with mod_wsgi it is httpd's Group";
        findings.push(Finding::change(&seen.node.origin, text));
    }
    for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
        let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let has_unit = !digits.is_empty()
            && digits.len() < value.len()
            && digits.bytes().all(|b| b.is_ascii_digit());
        let is_time =
            name.ends_with("-timeout") || matches!(name, "restart-interval" | "cpu-time-limit");
        let is_size = !is_time && (name.ends_with("-limit") || name.ends_with("-size"));
        // mod_wsgi takes seconds as well.
        let is_same = is_time && value.ends_with('s') && !value.ends_with("ms");
        if has_unit && !is_same && (is_time || is_size) {
            let unit = if is_time { "seconds" } else { "bytes" };
            let text = format!(
                "{name}={value} means the unit here; mod_wsgi ignores it and takes {digits} {unit}"
            );
            findings.push(Finding::change(&seen.node.origin, text));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use wsgid_protocol::report::Node;

    fn node(name: &str, arguments: &str, children: Vec<Node>) -> Node {
        Node {
            name: name.into(),
            arguments: arguments.into(),
            origin: format!("x.conf:{}", arguments.len()),
            children,
        }
    }

    fn report(tree: Vec<Node>, groups: &[&str]) -> ConfigReport {
        let named = groups
            .iter()
            .chain(&[DEFAULT_GROUP])
            .map(|name| GroupConfig::new(*name, "x.conf:1"))
            .collect();
        ConfigReport {
            problems: Vec::new(),
            warnings: Vec::new(),
            remarks: Vec::new(),
            groups: named,
            httpd_uid: 33,
            httpd_gid: 33,
            server_root: "/etc/httpd".into(),
            restrict_embedded: false,
            tree,
        }
    }

    fn texts(report: &ConfigReport) -> Vec<String> {
        let configuration = ConfigTree::new(&report.tree);
        let uses = super::super::mounts::uses(&configuration, report);
        findings(&configuration, report, &uses)
            .into_iter()
            .map(|finding| finding.text)
            .collect()
    }

    #[test]
    fn the_innermost_section_names_the_group() {
        let tree = |location: &str| {
            let inner = vec![node("WSGIProcessGroup", "site", vec![])];
            vec![
                node("WSGIScriptAlias", "/app /srv/app/wsgi.py", vec![]),
                node("<Location", location, inner),
            ]
        };
        assert!(texts(&report(tree("/app"), &["site"])).is_empty());
        let elsewhere = texts(&report(tree("/other"), &["site"]));
        assert!(
            elsewhere[0].contains("`WSGIScriptAlias /app` names no process group"),
            "{elsewhere:?}"
        );
    }

    #[test]
    fn a_virtual_host_is_told_apart_from_the_main_server() {
        let host = node(
            "<VirtualHost",
            "*:80",
            vec![node("WSGIProcessGroup", "site", vec![])],
        );
        let tree = vec![node("WSGIScriptAlias", "/ /srv/wsgi.py", vec![]), host];
        let texts = texts(&report(tree, &["site"]));
        assert!(
            texts[0].contains("`WSGIScriptAlias /` in the main server names no"),
            "{texts:?}"
        );
    }

    #[test]
    fn application_groups_are_counted() {
        let mount = |url: &str| {
            node(
                "WSGIScriptAlias",
                &format!("{url} /srv{url}.py process-group=site"),
                vec![],
            )
        };
        let found = texts(&report(vec![mount("/a"), mount("/b")], &["site"]));
        assert!(found[0].contains("has 2 application groups"), "{found:?}");
        let shared = node("WSGIApplicationGroup", "%{GLOBAL}", vec![]);
        assert!(texts(&report(vec![mount("/a"), mount("/b"), shared], &["site"])).is_empty());
    }

    #[test]
    fn a_name_on_both_usual_ports_is_one_application_group() {
        let host = |address: &str| {
            let mount = node(
                "WSGIScriptAlias",
                "/ /srv/wsgi.py process-group=site",
                vec![],
            );
            node(
                "<VirtualHost",
                address,
                vec![node("ServerName", "www.example.org", vec![]), mount],
            )
        };
        assert!(texts(&report(vec![host("*:80"), host("*:443")], &["site"])).is_empty());
        let relative = node("WSGIScriptAlias", "/ apps/wsgi.py", vec![]);
        let section = node(
            "<Directory",
            "/etc/httpd/apps",
            vec![node("WSGIProcessGroup", "site", vec![])],
        );
        assert!(
            texts(&report(vec![relative, section], &["site"])).is_empty(),
            "ServerRoot is in front of it"
        );
        let found = texts(&report(vec![host("*:80"), host("*:8080")], &["site"]));
        assert!(
            found[0].contains("`/` of www.example.org:8080, `/` of www.example.org)"),
            "{found:?}"
        );
    }

    #[test]
    fn units_that_mod_wsgi_ignores_are_named() {
        let options =
            "site memory-limit=512M request-timeout=5m graceful-timeout=60s stack-size=65536";
        let found = texts(&report(
            vec![node("WSGIDaemonProcess", options, vec![])],
            &["site"],
        ));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].contains("takes 512 bytes") && found[1].contains("takes 5 seconds"),
            "{found:?}"
        );
    }

    #[test]
    fn a_user_without_a_group_is_named() {
        let of = |options: &str| {
            texts(&report(
                vec![node("WSGIDaemonProcess", options, vec![])],
                &["site"],
            ))
        };
        assert!(of("site user=shop group=shop").is_empty() && of("site group=shop").is_empty());
        assert!(of("site user=shop")[0].contains("primary group of that user"));
    }
}
