//! Whether the process group that a request or a script's call asks for exists, and may
//! be used from its place. Called by `handler.rs` and `script_call.rs`.

use std::ffi::CStr;

use wsgid_protocol::failure::Failure;
use wsgid_protocol::limits::MAX_NAME_LEN;

use crate::configuration::config::{DirConfig, ScriptRef};
use crate::configuration::groups::{self, GroupView};
use crate::configuration::settings::DEFAULT_GROUP;
use crate::httpd::request::Request;
use crate::request::target::ScriptTarget;
use crate::workers::child::Child;

/// The group, if it exists and may be used from here.
pub(crate) fn permitted_group<'c>(
    r: Request<'_>,
    config: &DirConfig<'_>,
    target: &ScriptTarget<'_>,
    child: &'c Child,
) -> Result<&'c GroupView, (Failure, String)> {
    let name = &target.group;
    if !is_listed(config, name).unwrap_or(true) {
        return Err((
            Failure::NotAllowed,
            format!("WSGIRestrictProcess does not list `{name}`"),
        ));
    }
    // With the list, this group is on it.
    if target.by_variable
        && name == DEFAULT_GROUP
        && config.restrict_process.is_none()
        && r.has_htaccess()
    {
        let text = "a variable, which .htaccess may set, chose the implicit process group, whose user is httpd's; \
                    list the groups that may be chosen with WSGIRestrictProcess, `%{GLOBAL}` if that one may be";
        return Err((Failure::NotAllowed, text.to_owned()));
    }
    if child.plan.restrict_embedded && name == DEFAULT_GROUP {
        let text = "the request names no process group, and WSGIRestrictEmbedded is On";
        return Err((Failure::NoSuchGroup, text.to_owned()));
    }
    visible_group(r, target, child)
}

/// The same for the script of a call. WSGIRestrictProcess is about requests, and does not
/// bind a script of the server's configuration.
pub(crate) fn permitted_for_script_call<'c>(
    r: Request<'_>,
    config: &DirConfig<'_>,
    script: &ScriptRef<'_>,
    target: &ScriptTarget<'_>,
    child: &'c Child,
) -> Result<&'c GroupView, (Failure, String)> {
    if let Some(origin) = script.htaccess {
        permitted_to_htaccess(config, script, target).map_err(|why| {
            let origin = origin.to_string_lossy();
            let file = target.script.to_string_lossy();
            (
                Failure::NotAllowed,
                format!("{origin}: the script `{file}` of .htaccess {why}"),
            )
        })?;
    }
    let group = visible_group(r, target, child)?;
    group
        .ownership
        .check(target.script)
        .map_err(|why| (Failure::NotAllowed, why))?;
    Ok(group)
}

/// Who can only write `.htaccess` runs nothing as httpd's user, nor as another
/// site: only in a group that the server's configuration lists there, or that
/// it has set for the place.
fn permitted_to_htaccess(
    config: &DirConfig<'_>,
    script: &ScriptRef<'_>,
    target: &ScriptTarget<'_>,
) -> Result<(), String> {
    let name = &target.group;
    if name == DEFAULT_GROUP {
        let why = "would run as httpd's user; give it process-group= with a group that WSGIRestrictProcess lists in \
                   the server's configuration, or set WSGIProcessGroup for this place there";
        return Err(why.to_owned());
    }
    if !is_listed(config, name).unwrap_or(script.process_group.is_none()) {
        return Err(format!(
            "may not run in the process group `{name}`: a process group in .htaccess needs WSGIRestrictProcess to \
             list it; `{name}` is not listed"
        ));
    }
    Ok(())
}

/// Whether WSGIRestrictProcess lists the group; `None` without it.
fn is_listed(config: &DirConfig<'_>, name: &str) -> Option<bool> {
    let admits = |known: &&CStr| {
        let known = known.to_string_lossy();
        groups::resolve(if known == "%{GLOBAL}" { "" } else { &known }) == name
    };
    config
        .restrict_process
        .map(|allowed| allowed.iter().any(admits))
}

fn visible_group<'c>(
    r: Request<'_>,
    target: &ScriptTarget<'_>,
    child: &'c Child,
) -> Result<&'c GroupView, (Failure, String)> {
    let name = &target.group;
    let Some(group) = child.plan.groups.get(name) else {
        return Err((Failure::NoSuchGroup, format!("process group `{name}`")));
    };
    if !group.is_visible_from(r.server()) {
        return Err((
            Failure::NotAllowed,
            format!("process group `{name}` belongs to another virtual host"),
        ));
    }
    if target.application_group.name.len() > MAX_NAME_LEN {
        return Err((
            Failure::NotAllowed,
            "the name of the application group is too long".to_owned(),
        ));
    }
    Ok(group)
}
