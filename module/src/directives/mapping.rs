//! Directives that say which script answers a URL.

use std::ffi::CStr;
use std::path::PathBuf;

use wsgid_protocol::config::Preload;
use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::config::{HandlerScript, Mount, ScriptAlias, ScriptOptions, ScriptRef};
use crate::configuration::names;
use crate::configuration::settings::{self, Import};
use crate::configuration::words::{Words, on_or_off};
use crate::directives::context::{Applied, Context};
use crate::directives::process::{GLOBAL, name_of_group, names_group};
use crate::httpd::regex::Regex;
use crate::log_ids;

/// Reads options; only those in `allowed` may come.
fn options<'p>(
    cx: &Context<'_, 'p>,
    words: &mut Words<'_>,
    allowed: &[&str],
) -> Result<ScriptOptions<'p>, String> {
    let mut options = ScriptOptions::default();
    while let Some((name, value)) = words.next_option()? {
        if !allowed.contains(&name.as_str()) {
            return Err(format!(
                "unknown option `{name}`; the options are {}",
                allowed.join(", ")
            ));
        }
        if value.is_empty() {
            return Err(format!("option `{name}` needs a value"));
        }
        let text = Some(cx.string(&value));
        if name.ends_with("-group") {
            name_of_group(&value)?;
        }
        match name.as_str() {
            "process-group" => options.process_group = text,
            "application-group" => options.application_group = text,
            "callable-object" => options.callable = text,
            _ => {
                let on = on_or_off(&value).map_err(|error| format!("option `{name}`: {error}"))?;
                options.pass_authorization = Some(on);
            }
        }
    }
    Ok(options)
}

const GROUP_OPTIONS: &[&str] = &["process-group", "application-group"];
const ALIAS_OPTIONS: &[&str] = &[
    "process-group",
    "application-group",
    "callable-object",
    "pass-authorization",
];

pub(super) fn script_alias(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let url = words.need("the URL path")?;
    let target = words.need("the script")?;
    let options = options(cx, words, ALIAS_OPTIONS)?;
    if !url.starts_with('/') {
        let text = format!("the URL path `{url}` does not begin with `/`: no request has it");
        cx.problem(log_ids::LINE_WITHOUT_EFFECT, text);
        return Ok(());
    }
    let is_directory = target.ends_with('/') && url.ends_with('/');
    let url = cx.string(&url);
    let alias = ScriptAlias {
        mount: Mount::Prefix(url),
        fixed_path: Some(url),
        target: cx.path(&target)?,
        options,
    };
    add_alias(cx, alias, !is_directory);
    Ok(())
}

pub(super) fn script_alias_match(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let pattern = words.need("the regular expression")?;
    let target = words.need("the script")?;
    let options = options(cx, words, ALIAS_OPTIONS)?;
    let regex = Regex::compile(cx.pool, cx.string(&pattern))
        .ok_or_else(|| format!("`{pattern}` is not a regular expression"))?;
    let is_one_target = !target.contains(['$', '&']);
    let fixed_path = names::fixed_path(&pattern).filter(|_| is_one_target);
    let alias = ScriptAlias {
        mount: Mount::Pattern(regex),
        fixed_path: fixed_path.map(|path| cx.string(&path)),
        target: cx.path(&target)?,
        options,
    };
    add_alias(cx, alias, is_one_target);
    Ok(())
}

/// Keeps an alias. A script whose groups are both given is loaded beforehand.
fn add_alias<'p>(cx: &mut Context<'_, 'p>, alias: ScriptAlias<'p>, is_one_script: bool) {
    let options = &alias.options;
    names_group(cx, options.process_group, true);
    let has_process_group = options.process_group.is_some_and(|group| group != GLOBAL);
    if is_one_script && has_process_group && options.application_group.is_some() {
        let callable = options.callable.unwrap_or(c"application");
        add_import(cx, alias.target, options, Some(callable));
    }
    cx.server_config.aliases.push(cx.pool, alias);
}

/// Has a script loaded beforehand, unless a request decides on its groups.
fn add_import(
    cx: &Context<'_, '_>,
    file: &CStr,
    options: &ScriptOptions<'_>,
    callable: Option<&CStr>,
) {
    if let Some(process_group) = fixed_name(options.process_group, DEFAULT_GROUP)
        && let Some(application_group) = fixed_name(options.application_group, "")
    {
        let preload = Preload {
            script: PathBuf::from(file.to_string_lossy().into_owned()),
            application_group,
            callable: callable.map(|name| name.to_string_lossy().into_owned()),
        };
        let import = Import {
            process_group,
            origin: cx.origin.clone(),
            server: cx.server.id(),
            preload,
        };
        settings::with(|settings| settings.imports.push(import));
    }
}

/// The name of a group that no request decides on.
fn fixed_name(name: Option<&CStr>, default: &str) -> Option<String> {
    match name {
        Some(name) if name != GLOBAL => {
            let name = name.to_string_lossy();
            (!name.contains("%{")).then(|| name.into_owned())
        }
        _ => Some(default.to_owned()),
    }
}

pub(super) fn import_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let target = words.need("the script")?;
    let options = options(cx, words, GROUP_OPTIONS)?;
    for (option, value) in [
        ("process-group", options.process_group),
        ("application-group", options.application_group),
    ] {
        let value = value.ok_or_else(|| format!("option `{option}` is missing"))?;
        if fixed_name(Some(value), "").is_none() {
            let text = format!(
                "option `{option}`: `{}` is not known before a request comes; nothing is loaded",
                value.to_string_lossy()
            );
            cx.problem(log_ids::LINE_WITHOUT_EFFECT, text);
            return Ok(());
        }
    }
    if options.process_group == Some(GLOBAL) {
        let text = format!(
            "WSGIImportScript with process-group=%{{GLOBAL}}: no application runs inside httpd; \
             the script is loaded in the process group `{DEFAULT_GROUP}`"
        );
        settings::remark(&cx.origin, text);
    }
    names_group(cx, options.process_group, false);
    add_import(cx, cx.path(&target)?, &options, None);
    Ok(())
}

pub(super) fn handler_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let name = words.need("the handler's name")?;
    let allowed = ["process-group", "application-group", "pass-authorization"];
    let script = HandlerScript {
        name: cx.string(&name),
        script: named_script(cx, words, &allowed)?,
    };
    // The last definition of a name counts.
    cx.dir.handler_scripts = cx.pool.concat(&[script], cx.dir.handler_scripts);
    Ok(())
}

/// A script for dispatch or authentication.
pub(super) fn script_ref<'p>(
    cx: &Context<'_, 'p>,
    words: &mut Words<'_>,
) -> Result<ScriptRef<'p>, String> {
    let script = named_script(cx, words, GROUP_OPTIONS)?;
    // Every request waits for its answer, so it is loaded beforehand. A file
    // that is read again for each request loads nothing.
    if !cx.in_htaccess {
        add_import(cx, script.file, &script.options, None);
    }
    Ok(script)
}

fn named_script<'p>(
    cx: &Context<'_, 'p>,
    words: &mut Words<'_>,
    allowed: &[&str],
) -> Result<ScriptRef<'p>, String> {
    let target = words.need("the script")?;
    let options = options(cx, words, allowed)?;
    let file = cx.path(&target)?;
    names_group(cx, options.process_group, true);
    Ok(ScriptRef {
        file,
        options,
        htaccess: cx.htaccess(),
    })
}

pub(super) fn callable_object(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let name = words.need("the name")?;
    cx.dir.callable = Some(cx.string(&name));
    Ok(())
}
