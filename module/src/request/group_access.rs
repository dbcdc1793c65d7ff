//! Whether the process group that a request or a script's call asks for exists, and may
//! be used from its place. Called by `handler.rs` and `script_call.rs`.

use std::ffi::CStr;
use std::fmt;

use wsgid_protocol::failure::Failure;
use wsgid_protocol::limits::MAX_NAME_LEN;
use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::config::{DirConfig, ScriptRef};
use crate::configuration::groups::{self, GroupView};
use crate::httpd::request::Request;
use crate::request::target::ScriptTarget;
use crate::workers::child::Child;

/// Why a process group may not be used from a place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupRefused {
    #[error("WSGIRestrictProcess does not list `{0}`")]
    NotListed(String),
    #[error(
        "a variable, which .htaccess may set, chose the implicit process group, whose user is httpd's; \
         list the groups that may be chosen with WSGIRestrictProcess, `%{{GLOBAL}}` if that one may be"
    )]
    ChosenByVariable,
    #[error("the request names no process group, and WSGIRestrictEmbedded is On")]
    NoneNamed,
    #[error(
        "{0} would run as httpd's user; give it process-group= with a group that WSGIRestrictProcess lists in \
             the server's configuration, or set WSGIProcessGroup for this place there"
    )]
    HtaccessAsHttpd(String),
    #[error(
        "{script} may not run in the process group `{group}`: a process group in .htaccess needs \
             WSGIRestrictProcess to list it; `{group}` is not listed"
    )]
    HtaccessNotListed { script: String, group: String },
    #[error("{0}; define it with WSGIDaemonProcess, or name one that is defined")]
    NotDefined(NamedBy),
    #[error(
        "it belongs to another virtual host; {0}; define it at server level or in a virtual host with the same \
             ServerName"
    )]
    OfAnotherHost(NamedBy),
    #[error("the name of the application group is too long")]
    LongName,
    #[error("{0}")]
    ScriptOwner(String),
}

/// The directives that name a process group in vain; none if its name comes from the request.
#[derive(Debug)]
pub(crate) struct NamedBy(Vec<String>);

impl NamedBy {
    fn of(child: &Child, group: &str) -> Self {
        Self(child.plan.misnamed.get(group).cloned().unwrap_or_default())
    }
}

impl fmt::Display for NamedBy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        match self.0.as_slice() {
            [] => out.write_str("its name comes from the request"),
            [shown @ .., _] if shown.len() >= SHOWN => {
                let shown = shown.get(..SHOWN).unwrap_or_default().join(", ");
                write!(out, "named by {shown} and others")
            }
            all => write!(out, "named by {}", all.join(", ")),
        }
    }
}

impl GroupRefused {
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::NoneNamed | Self::NotDefined(_) => Failure::NoSuchGroup,
            _ => Failure::NotAllowed,
        }
    }
}

/// The group, if it exists and may be used from here.
pub(crate) fn permitted_group<'c>(
    r: Request<'_>,
    config: &DirConfig<'_>,
    target: &ScriptTarget<'_>,
    child: &'c Child,
) -> Result<&'c GroupView, GroupRefused> {
    let name = &target.group;
    if !is_listed(config, name).unwrap_or(true) {
        return Err(GroupRefused::NotListed(name.clone()));
    }
    // With the list, this group is on it.
    if target.by_variable
        && name == DEFAULT_GROUP
        && config.restrict_process.is_none()
        && r.has_htaccess()
    {
        return Err(GroupRefused::ChosenByVariable);
    }
    if child.plan.restrict_embedded && name == DEFAULT_GROUP {
        return Err(GroupRefused::NoneNamed);
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
) -> Result<&'c GroupView, GroupRefused> {
    if let Some(origin) = script.htaccess {
        permitted_to_htaccess(origin, config, script, target)?;
    }
    let group = visible_group(r, target, child)?;
    group
        .ownership
        .check(target.script.to_bytes())
        .map_err(GroupRefused::ScriptOwner)?;
    Ok(group)
}

/// Who can only write `.htaccess` runs nothing as httpd's user, nor as another
/// site: only in a group that the server's configuration lists there, or that
/// it has set for the place.
fn permitted_to_htaccess(
    origin: &CStr,
    config: &DirConfig<'_>,
    script: &ScriptRef<'_>,
    target: &ScriptTarget<'_>,
) -> Result<(), GroupRefused> {
    let named = format!(
        "{}: the script `{}` of .htaccess",
        origin.to_string_lossy(),
        target.script.to_string_lossy()
    );
    let group = &target.group;
    if group == DEFAULT_GROUP {
        return Err(GroupRefused::HtaccessAsHttpd(named));
    }
    if !is_listed(config, group).unwrap_or(script.options.process_group.is_none()) {
        return Err(GroupRefused::HtaccessNotListed {
            script: named,
            group: group.clone(),
        });
    }
    Ok(())
}

/// Whether WSGIRestrictProcess lists the group; `None` without it.
fn is_listed(config: &DirConfig<'_>, name: &str) -> Option<bool> {
    let mut allowed = config
        .restrict_process?
        .iter()
        .map(|known| known.to_string_lossy());
    Some(
        allowed
            .any(|known| groups::resolve(if known == "%{GLOBAL}" { "" } else { &known }) == name),
    )
}

fn visible_group<'c>(
    r: Request<'_>,
    target: &ScriptTarget<'_>,
    child: &'c Child,
) -> Result<&'c GroupView, GroupRefused> {
    let name = &target.group;
    let group = child.plan.groups.get(name);
    let group = group.ok_or_else(|| GroupRefused::NotDefined(NamedBy::of(child, name)))?;
    if !group.is_visible_from(r.server()) {
        return Err(GroupRefused::OfAnotherHost(NamedBy::of(child, name)));
    }
    if target.application_group.name.len() > MAX_NAME_LEN {
        return Err(GroupRefused::LongName);
    }
    Ok(group)
}
