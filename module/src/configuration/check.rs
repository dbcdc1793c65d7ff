//! Cross checks once the configuration has been read, so that configtest shows
//! them: names that refer to groups, and from where. None of them refuses the
//! configuration: a mistake of one site is no reason to stop the others.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use nix::unistd::geteuid;
use wsgid_protocol::GroupConfig;
use wsgid_protocol::names::DEFAULT_GROUP;
use wsgid_protocol::report::Remark;

use crate::configuration::config::DirConfig;
use crate::configuration::groups::are_visible_from;
use crate::configuration::httpds_user::ChildrenAccount;
use crate::configuration::report;
use crate::configuration::settings::{
    self, CheckRemark, Naming, ServerSettings, Sighting, Subject,
};
use crate::httpd::log;
use crate::httpd::server::{self, Server, is_only_looking};
use crate::log_ids::{self, LogLine};
use crate::sys;

/// httpd's check_config hook.
pub(crate) fn check_config(main: Server<'_>) -> i32 {
    let (mut problems, mut warnings) = settings::with(|settings| {
        name_scopes(settings, main);
        let mut problems = std::mem::take(&mut settings.problems);
        problems.extend(wrong_namings(settings, main));
        let mut warnings = warnings(settings, main);
        accounts(settings, &mut problems, &mut warnings);
        (problems, warnings)
    });
    if report::is_wanted() {
        report::write(remarks(problems), remarks(warnings));
    } else {
        problems.append(&mut warnings);
        if is_only_looking() {
            problems.iter().for_each(say);
        } else {
            // The error log is opened after this.
            settings::with(|settings| settings.warnings = problems);
        }
    }
    sys::OK
}

pub(crate) fn say(found: &CheckRemark) {
    log::server(found.line, || &found.remark);
}

fn remarks(found: Vec<CheckRemark>) -> Vec<Remark> {
    found.into_iter().map(|found| found.remark).collect()
}

fn found(line: LogLine, origin: &str, text: String) -> CheckRemark {
    let origin = origin.to_owned();
    CheckRemark {
        line,
        remark: Remark { origin, text },
    }
}

/// ServerName may follow the directives that need it.
fn name_scopes(settings: &mut ServerSettings, main: Server<'_>) {
    for scope in settings
        .groups
        .iter_mut()
        .flat_map(|group| &mut group.scopes)
    {
        let server = main.with_id(scope.server);
        scope.hostname = server.and_then(Server::name).map(Cow::into_owned);
    }
}

/// The directives that name a group in vain. What they would have loaded is not loaded.
fn wrong_namings(settings: &mut ServerSettings, main: Server<'_>) -> Vec<CheckRemark> {
    let mut found = Vec::new();
    let mut misnamed: HashMap<String, Vec<String>> = HashMap::new();
    let mut wrong: HashSet<(String, usize)> = HashSet::new();
    for naming in &settings.namings {
        let remark = wrong_naming(settings, main, naming);
        if remark.is_none() && (naming.checks_server || is_for_all(settings, naming)) {
            continue;
        }
        let text = format!("{} ({})", naming.directive, naming.origin);
        let of_group = misnamed.entry(naming.process_group.clone()).or_default();
        if !of_group.contains(&text) {
            of_group.push(text);
        }
        if let Some(remark) = remark {
            found.push(remark);
            wrong.insert((naming.origin.clone(), naming.server));
        }
    }
    settings
        .imports
        .retain(|import| !wrong.contains(&(import.origin.clone(), import.server)));
    settings.misnamed = misnamed;
    found
}

/// Whether every server may use the group.
fn is_for_all(settings: &ServerSettings, naming: &Naming) -> bool {
    let known = settings.group(&naming.process_group);
    known.is_none_or(|known| known.scopes.iter().any(|scope| !scope.is_virtual))
}

/// Why a directive may not name the group that it names.
fn wrong_naming(
    settings: &ServerSettings,
    main: Server<'_>,
    naming: &Naming,
) -> Option<CheckRemark> {
    let group = &naming.process_group;
    if group == DEFAULT_GROUP {
        return None;
    }
    let Some(known) = settings.group(group) else {
        // The supervisor on its own has the options, and httpd the name.
        let how = if settings.daemon_socket.is_some() {
            " (its name is enough, beside WSGIDaemonSocket)"
        } else {
            ""
        };
        let text = format!(
            "{}: the process group `{group}` is not defined; define it with WSGIDaemonProcess{how}",
            naming.directive
        );
        return Some(found(log_ids::GROUP_NOT_DEFINED, &naming.origin, text));
    };
    let server = main.with_id(naming.server)?;
    if !naming.checks_server || are_visible_from(&known.scopes, server) {
        return None;
    }
    let text = format!(
        "{}: the process group `{group}` of another virtual host ({}) may not be used here; \
         define it at server level or in a virtual host with the same ServerName",
        naming.directive, known.config.origin
    );
    Some(found(log_ids::GROUP_OF_ANOTHER_HOST, &naming.origin, text))
}

/// Where httpd's own account would be that of applications, it has to be one.
fn accounts(
    settings: &ServerSettings,
    problems: &mut Vec<CheckRemark>,
    warnings: &mut Vec<CheckRemark>,
) {
    // Started by anyone else, everything runs as this one. And a supervisor of
    // its own has its own idea of the groups.
    if !geteuid().is_root() || settings.daemon_socket.is_some() {
        return;
    }
    let (uid, gid) = server::children_identity();
    let account = ChildrenAccount { uid, gid };
    let before = problems.len();
    for group in &settings.groups {
        let text = account.refuses(&group.config);
        let line = log_ids::GROUP_WITHOUT_ACCOUNT;
        problems.extend(text.map(|text| found(line, &group.config.origin, text)));
    }
    if problems.len() == before
        && let Some(missing) = account.missing(true)
    {
        let text = format!(
            "neither httpd's children nor applications without a process group can start; {missing}"
        );
        let remark = found(log_ids::HTTPD_WITHOUT_ACCOUNT, "", text);
        // httpd itself takes such a configuration; who asks what does not work is to hear it.
        if report::is_wanted() {
            problems.push(remark)
        } else {
            warnings.push(remark)
        }
    }
}

/// Directives that are dangerous without their partner, which stands neither in
/// the same section nor in the server around it.
fn warnings(settings: &ServerSettings, main: Server<'_>) -> Vec<CheckRemark> {
    let mut warnings = Vec::new();
    for sighting in &settings.sightings {
        let (partner, line, text) = match sighting.subject {
            Subject::ProxyHeaders => (
                Subject::Proxies,
                log_ids::HEADERS_OF_ANYBODY,
                "WSGITrustedProxyHeaders without WSGITrustedProxies: every client can say who and where it is; \
                 list the addresses of your proxies",
            ),
            Subject::VariableGroup => (
                Subject::Restriction,
                log_ids::GROUP_OF_ANY_VARIABLE,
                "WSGIProcessGroup with %{ENV:...} without WSGIRestrictProcess: whoever sets the variable, \
                 .htaccess for instance, chooses among all process groups; list those that may be chosen",
            ),
            Subject::Proxies | Subject::Restriction => continue,
        };
        let beside =
            |other: &Sighting| other.subject == partner && other.section == sighting.section;
        let around = main.with_id(sighting.server).is_some_and(|server| {
            let defaults = DirConfig::defaults_of(server);
            match partner {
                Subject::Proxies => defaults.trusted_proxies.is_some(),
                _ => defaults.restrict_process.is_some(),
            }
        });
        if !around && !settings.sightings.iter().any(beside) {
            warnings.push(found(line, &sighting.origin, text.to_owned()));
        }
    }
    warnings.extend(
        settings
            .groups
            .iter()
            .filter_map(|group| idle_service(settings, &group.config)),
    );
    warnings
}

/// Without a script a service does nothing at all.
fn idle_service(settings: &ServerSettings, config: &GroupConfig) -> Option<CheckRemark> {
    let has_script = settings
        .imports
        .iter()
        .any(|import| import.process_group == config.name);
    if config.threads > 0 || has_script || settings.daemon_socket.is_some() {
        return None;
    }
    let text = format!(
        "process group `{}` has threads=0 and no script: it takes no requests and does nothing; name a script with \
         WSGIImportScript",
        config.name
    );
    Some(found(log_ids::IDLE_SERVICE, &config.origin, text))
}
