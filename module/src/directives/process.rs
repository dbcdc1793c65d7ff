//! Directives about process groups and the supervisor.

use std::ffi::CStr;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::LogFormat;
use wsgid_protocol::limits::MAX_NAME_LEN;
use wsgid_protocol::names;
use wsgid_protocol::ownership::{gid_of, primary_gid_of, uid_of};
use wsgid_protocol::report::Remark;

use crate::configuration::settings::{
    self, DefinitionScope, GroupDefinition, Naming, ServerSettings, Subject,
};
use crate::configuration::words::Words;
use crate::directives::context::{Applied, Context};
use crate::log_ids;

/// What mod_wsgi calls no process group, and the main application group.
pub(super) const GLOBAL: &CStr = c"%{GLOBAL}";

/// A name for a group, fixed or with `%{…}`.
pub(super) fn name_of_group(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains(char::is_control) {
        return Err(format!(
            "`{name}` is not a name: 1 to {MAX_NAME_LEN} bytes without control characters"
        ));
    }
    Ok(name.to_owned())
}

pub(super) fn daemon_process(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let name = words.need("the name of the process group")?;
    if name.is_empty() || names::is_reserved(&name) {
        return Err(format!(
            "`{name}` is not a name for a process group: it is empty or reserved"
        ));
    }
    let mut config = GroupConfig::new(&name, &cx.origin);
    while let Some((option, value)) = words.next_option().map_err(|error| about(&name, &error))? {
        if value.is_empty() && MAY_BE_EMPTY.contains(&option.as_str()) {
            continue;
        }
        if let Err(error) = config.set(&option, &value) {
            cx.refuse(about(&name, &error.to_string()))?;
        }
    }
    if name.contains("%{") || name_of_group(&name).is_err() {
        let text = format!("`{name}` is not a name for a process group: it is not defined");
        cx.problem(log_ids::LINE_WITHOUT_EFFECT, text);
        return Ok(());
    }
    if let Err(error) = check_identity(&config) {
        cx.problem(log_ids::WRONG_ACCOUNT, about(&name, &error));
    }
    let scope = DefinitionScope {
        server: cx.server.id(),
        is_virtual: cx.server.is_virtual(),
        hostname: None,
    };
    settings::with(|settings| define(settings, config, scope))
}

/// Options that say nothing with an empty value, as templates write it.
const MAY_BE_EMPTY: &[&str] = &[
    "lang",
    "locale",
    "display-name",
    "python-home",
    "python-eggs",
];

fn about(group: &str, error: &str) -> String {
    format!("process group `{group}`: {error}")
}

fn define(settings: &mut ServerSettings, config: GroupConfig, scope: DefinitionScope) -> Applied {
    let Some(known) = settings
        .groups
        .iter_mut()
        .find(|known| known.config.name == config.name)
    else {
        settings.groups.push(GroupDefinition {
            config,
            scopes: vec![scope],
        });
        return Ok(());
    };
    let same = GroupConfig {
        origin: known.config.origin.clone(),
        ..config.clone()
    } == known.config;
    if !same {
        return Err(format!(
            "process group `{}` is defined at {} with other options; give one of the two another name",
            config.name, known.config.origin
        ));
    }
    let text = format!(
        "process group `{}` is defined a second time with the same options (first at {}); both are one group",
        config.name, known.config.origin
    );
    settings.remarks.push(Remark {
        origin: config.origin,
        text,
    });
    known.scopes.push(scope);
    Ok(())
}

/// Users and groups must exist, and nobody becomes root. The supervisor holds to that:
/// such a group does not start.
fn check_identity(config: &GroupConfig) -> Applied {
    if let Some(user) = &config.user
        && existing_user("user", user)? == 0
    {
        return Err(format!(
            "option `user`: `{user}` is root; applications never run as root, name another user"
        ));
    }
    if let Some(user) = &config.script_user {
        existing_user("script-user", user)?;
    }
    if let Some(user) = &config.socket_user {
        existing_user("socket-user", user)?;
    }
    for group in config.supplementary_groups.iter().flatten() {
        if existing_group("supplementary-groups", group)? == 0 {
            let text = format!(
                "process group `{}`: `{group}` among supplementary-groups= is root's group and is left out",
                config.name
            );
            settings::remark(&config.origin, text);
        }
    }
    if let Some(group) = &config.group
        && existing_group("group", group)? == 0
    {
        return Err(format!(
            "option `group`: `{group}` is root's group; applications never run with it, name another group"
        ));
    }
    if let Some(group) = &config.script_group {
        existing_group("script-group", group)?;
    }
    if let (Some(user), None) = (&config.user, &config.group)
        && primary_gid_of(user) == Some(0)
    {
        return Err(format!(
            "option `user`: the group of `{user}` is root's; applications never run with it, name another with group="
        ));
    }
    Ok(())
}

fn existing_user(option: &str, name: &str) -> Result<u32, String> {
    uid_of(name).ok_or_else(|| format!("option `{option}`: there is no user `{name}`"))
}

fn existing_group(option: &str, name: &str) -> Result<u32, String> {
    gid_of(name).ok_or_else(|| format!("option `{option}`: there is no group `{name}`"))
}

/// Has the name of a process group looked at once all are defined, if it is known
/// before a request comes.
pub(super) fn names_group(cx: &Context<'_, '_>, group: Option<&CStr>, checks_server: bool) {
    let group = group.unwrap_or(GLOBAL).to_string_lossy();
    if cx.in_htaccess || group.contains("%{") {
        return;
    }
    let naming = Naming {
        directive: cx.name,
        process_group: group.into_owned(),
        origin: cx.origin.clone(),
        server: cx.server.id(),
        checks_server,
    };
    settings::with(|settings| settings.namings.push(naming));
}

pub(super) fn process_group(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let name = name_of_group(&words.need("the name of the process group")?)?;
    cx.dir.process_group = Some(cx.string(&name));
    names_group(cx, cx.dir.process_group, cx.server.is_virtual());
    if name.contains("%{ENV:") {
        cx.note(Subject::VariableGroup);
    }
    Ok(())
}

pub(super) fn application_group(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let name = name_of_group(&words.need("the name of the application group")?)?;
    cx.dir.application_group = Some(cx.string(&name));
    Ok(())
}

pub(super) fn restrict_process(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    for name in words.rest("the name of a process group")? {
        let name = name_of_group(&name)?;
        cx.dir.restrict_process = cx.append(cx.dir.restrict_process, cx.string(&name));
    }
    cx.note(Subject::Restriction);
    Ok(())
}

pub(super) fn socket_prefix(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let word = words.need("the path")?;
    let path = cx.path(&word)?.to_string_lossy().into_owned();
    settings::with(|settings| settings.socket_prefix = Some(path.into()));
    Ok(())
}

/// A directive that is accepted and does nothing here, which the log says.
pub(super) fn without_effect(cx: &Context<'_, '_>, why: &str) {
    settings::remark(&cx.origin, format!("{} has no effect: {why}", cx.name));
}

/// Directives that are one switch of the whole server.
macro_rules! server_switches {
    ($($name:ident)*) => {
        $(pub(super) fn $name(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
            let on = words.switch()?;
            settings::with(|settings| settings.$name = on);
            Ok(())
        })*
    };
}

server_switches! { restrict_embedded dont_write_bytecode server_metrics }

/// A switch that does nothing here; its value is checked all the same.
pub(super) fn ignored_switch(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    words.switch().map(drop)
}

/// A directive of older versions; nobody checks its value any more.
pub(super) fn former(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    words.rest("a value").map(drop)
}

pub(super) fn accept_mutex(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let word = words.need("the name of a mutex")?;
    let known = [
        "default", "flock", "fcntl", "sysvsem", "posixsem", "pthread",
    ];
    if !known.contains(&word.to_ascii_lowercase().as_str()) {
        return Err(format!(
            "`{word}` is not a mutex; there are {}",
            known.join(", ")
        ));
    }
    Ok(())
}

pub(super) fn supervisor_executable(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let path = words.absolute_path("the path of wsgid")?;
    settings::with(|settings| settings.executable = Some(path));
    Ok(())
}

pub(super) fn log_format(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let format = LogFormat::named(&words.need("text or json")?)?;
    settings::with(|settings| settings.log_format = format);
    Ok(())
}

pub(super) fn daemon_socket(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let path = words.absolute_path("the socket")?;
    settings::with(|settings| settings.daemon_socket = Some(path));
    Ok(())
}
