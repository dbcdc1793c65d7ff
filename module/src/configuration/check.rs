//! Cross checks once the configuration has been read, so that configtest shows
//! them: names that refer to groups, and from where.

use std::borrow::Cow;

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
    let (errors, warnings) = settings::with(|settings| {
        name_scopes(settings, main);
        let mut errors = errors(settings, main);
        let mut warnings = warnings(settings, main);
        accounts(settings, &mut errors, &mut warnings);
        (errors, warnings)
    });
    if report::is_wanted() {
        report::write(remarks(errors), remarks(warnings));
        return sys::OK;
    }
    if is_only_looking() {
        for warning in &warnings {
            say(warning);
        }
    } else {
        // The error log is opened after this.
        settings::with(|settings| settings.warnings = warnings);
    }
    errors.iter().for_each(say);
    // The number is httpd's "internal server error"; any but OK refuses.
    if errors.is_empty() { sys::OK } else { 500 }
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

fn errors(settings: &ServerSettings, main: Server<'_>) -> Vec<CheckRemark> {
    let namings = settings.namings.iter();
    namings
        .filter_map(|naming| wrong_naming(settings, main, naming))
        .chain(
            main.all()
                .filter_map(|server| unknown_default(settings, server)),
        )
        .collect()
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
            "the process group `{group}` is not defined; define it with WSGIDaemonProcess{how}"
        );
        return Some(found(log_ids::GROUP_NOT_DEFINED, &naming.origin, text));
    };
    let server = main.with_id(naming.server)?;
    if !naming.checks_server || are_visible_from(&known.scopes, server) {
        return None;
    }
    let text = format!(
        "the process group `{group}` of another virtual host ({}) may not be used here; \
         define it at server level or in a virtual host with the same ServerName",
        known.config.origin
    );
    Some(found(log_ids::GROUP_OF_ANOTHER_HOST, &naming.origin, text))
}

/// Where httpd's own account would be that of applications, it has to be one.
fn accounts(
    settings: &ServerSettings,
    errors: &mut Vec<CheckRemark>,
    warnings: &mut Vec<CheckRemark>,
) {
    // Started by anyone else, everything runs as this one. And a supervisor of
    // its own has its own idea of the groups.
    if !geteuid().is_root() || settings.daemon_socket.is_some() {
        return;
    }
    let (uid, gid) = server::children_identity();
    let account = ChildrenAccount { uid, gid };
    let before = errors.len();
    for group in &settings.groups {
        let text = account.refuses(&group.config);
        let line = log_ids::GROUP_WITHOUT_ACCOUNT;
        errors.extend(text.map(|text| found(line, &group.config.origin, text)));
    }
    if errors.len() == before
        && let Some(missing) = account.missing(true)
    {
        let text = format!(
            "neither httpd's children nor applications without a process group can start; {missing}"
        );
        let remark = found(log_ids::HTTPD_WITHOUT_ACCOUNT, "", text);
        // httpd itself takes such a configuration; who asks what does not work is to hear it.
        if report::is_wanted() {
            errors.push(remark)
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

/// WSGIProcessGroup outside of sections: known now, so said now.
fn unknown_default(settings: &ServerSettings, server: Server<'_>) -> Option<CheckRemark> {
    let name = DirConfig::defaults_of(server)
        .process_group?
        .to_string_lossy();
    if name.contains("%{") || settings.group(&name).is_some() {
        return None;
    }
    let host = server.name().unwrap_or("?".into());
    let text = format!(
        "WSGIProcessGroup `{name}` (server {host}) is not defined; define it with WSGIDaemonProcess"
    );
    Some(found(log_ids::GROUP_NOT_DEFINED, "", text))
}
