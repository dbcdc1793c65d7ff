//! Directives that say which script answers a URL.

use std::ffi::CStr;
use std::path::PathBuf;

use wsgid_protocol::config::Preload;
use wsgid_protocol::names::DEFAULT_GROUP;

use crate::apr::pool::AprPool;
use crate::configuration::config::{HandlerScript, Mount, ScriptAlias, ScriptRef, Switch};
use crate::configuration::names;
use crate::configuration::settings::{self, Import, Naming};
use crate::configuration::words::{Words, on_or_off};
use crate::directives::context::{Applied, Context};
use crate::directives::process::name_of_group;
use crate::httpd::regex::Regex;

/// The options behind a script's path.
#[derive(Default)]
struct ScriptOptions {
    process_group: Option<String>,
    application_group: Option<String>,
    callable: Option<String>,
    pass_authorization: Switch,
}

/// Reads options; only those in `allowed` may come.
fn options(words: &mut Words<'_>, allowed: &[&str]) -> Result<ScriptOptions, String> {
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
        match name.as_str() {
            "process-group" => options.process_group = Some(name_of_group(&value)?),
            "application-group" => options.application_group = Some(name_of_group(&value)?),
            "callable-object" => options.callable = Some(value),
            _ => {
                options.pass_authorization =
                    Some(on_or_off(&value).map_err(|e| format!("option `{name}`: {e}"))?)
            }
        }
    }
    Ok(options)
}

fn path<'p>(cx: &Context<'_, 'p>, word: &str) -> Result<&'p CStr, String> {
    let word = cx.pool.string(word.as_bytes());
    (cx.absolute)(word).ok_or_else(|| format!("`{}` is not a path", word.to_string_lossy()))
}

fn string<'p>(pool: AprPool<'p>, text: &Option<String>) -> Option<&'p CStr> {
    text.as_ref().map(|text| pool.string(text.as_bytes()))
}

/// Where the directive stands, if that is in `.htaccess`.
fn in_htaccess<'p>(cx: &Context<'_, 'p>) -> Option<&'p CStr> {
    cx.in_htaccess.then(|| cx.pool.string(cx.origin.as_bytes()))
}

const ALIAS_OPTIONS: &[&str] = &[
    "process-group",
    "application-group",
    "callable-object",
    "pass-authorization",
];

pub(super) fn script_alias(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let url = words.need("the URL path")?;
    let target = words.need("the script")?;
    let options = options(words, ALIAS_OPTIONS)?;
    if !url.starts_with('/') {
        return Err(format!("the URL path `{url}` does not begin with `/`"));
    }
    let is_directory = target.ends_with('/') && url.ends_with('/');
    let file = path(cx, &target)?;
    if !is_directory {
        preload(file, &options);
    }
    let url = cx.pool.string(url.as_bytes());
    add_alias(cx, Mount::Prefix(url), Some(url), file, &options);
    Ok(())
}

pub(super) fn script_alias_match(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let pattern = words.need("the regular expression")?;
    let target = words.need("the script")?;
    let options = options(words, ALIAS_OPTIONS)?;
    let regex = Regex::compile(cx.pool, cx.pool.string(pattern.as_bytes()))
        .ok_or_else(|| format!("`{pattern}` is not a regular expression"))?;
    let file = path(cx, &target)?;
    let is_one_target = !target.contains(['$', '&']);
    if is_one_target {
        preload(file, &options);
    }
    let fixed_path = names::fixed_path(&pattern).filter(|_| is_one_target);
    let fixed_path = fixed_path.map(|path| cx.pool.string(path.as_bytes()));
    add_alias(cx, Mount::Pattern(regex), fixed_path, file, &options);
    Ok(())
}

fn add_alias<'p>(
    cx: &mut Context<'_, 'p>,
    mount: Mount<'p>,
    fixed_path: Option<&'p CStr>,
    target: &'p CStr,
    options: &ScriptOptions,
) {
    let pool = cx.pool;
    names_group(cx, options.process_group.as_deref(), true);
    let alias = ScriptAlias {
        mount,
        fixed_path,
        target,
        process_group: string(cx.pool, &options.process_group),
        application_group: string(cx.pool, &options.application_group),
        callable: string(cx.pool, &options.callable),
        pass_authorization: options.pass_authorization,
    };
    cx.server_config.aliases.push(pool, alias);
}

/// A script whose groups are both known beforehand is loaded beforehand.
fn preload(file: &CStr, options: &ScriptOptions) {
    let (Some(group), Some(application)) = (&options.process_group, &options.application_group)
    else {
        return;
    };
    let application = if application == "%{GLOBAL}" {
        ""
    } else {
        application
    };
    if group == "%{GLOBAL}" || group.contains("%{") || application.contains("%{") {
        return;
    }
    let callable = options
        .callable
        .clone()
        .unwrap_or_else(|| "application".to_owned());
    add_import(file, group, application, Some(callable));
}

/// Has the name of a process group looked at once all are defined, if it is known
/// before a request comes.
fn names_group(cx: &Context<'_, '_>, group: Option<&str>, checks_server: bool) {
    let Some(group) = group.filter(|name| !name.contains("%{") && !cx.in_htaccess) else {
        return;
    };
    let naming = Naming {
        process_group: group.to_owned(),
        origin: cx.origin.clone(),
        server: cx.server.id(),
        checks_server,
    };
    settings::with(|settings| settings.namings.push(naming));
}

/// Has a script loaded beforehand.
fn add_import(file: &CStr, group: &str, application: &str, callable: Option<String>) {
    let import = Import {
        process_group: group.to_owned(),
        preload: Preload {
            script: PathBuf::from(file.to_string_lossy().into_owned()),
            application_group: application.to_owned(),
            callable,
        },
    };
    settings::with(|settings| settings.imports.push(import));
}

pub(super) fn import_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let target = words.need("the script")?;
    let options = options(words, &["process-group", "application-group"])?;
    let group = options
        .process_group
        .ok_or("option `process-group` is missing")?;
    let application = options
        .application_group
        .ok_or("option `application-group` is missing")?;
    if group == "%{GLOBAL}" {
        let text = format!(
            "WSGIImportScript with process-group=%{{GLOBAL}}: no application runs inside httpd; \
             the script is loaded in the process group `{}`",
            DEFAULT_GROUP
        );
        settings::remark(&cx.origin, text);
    }
    for (option, value) in [
        ("process-group", &group),
        ("application-group", &application),
    ] {
        if value != "%{GLOBAL}" && value.contains("%{") {
            return Err(format!(
                "option `{option}`: `{value}` is not known before a request comes"
            ));
        }
    }
    let group = if group == "%{GLOBAL}" {
        DEFAULT_GROUP.to_owned()
    } else {
        group
    };
    let application = if application == "%{GLOBAL}" {
        String::new()
    } else {
        application
    };
    let file = path(cx, &target)?;
    names_group(cx, Some(&group), false);
    add_import(file, &group, &application, None);
    Ok(())
}

pub(super) fn handler_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let name = words.need("the handler's name")?;
    let target = words.need("the script")?;
    let options = options(
        words,
        &["process-group", "application-group", "pass-authorization"],
    )?;
    let file = path(cx, &target)?;
    names_group(cx, options.process_group.as_deref(), true);
    let pool = cx.pool;
    let script = HandlerScript {
        name: pool.string(name.as_bytes()),
        script: ScriptRef {
            file,
            process_group: string(cx.pool, &options.process_group),
            application_group: string(cx.pool, &options.application_group),
            htaccess: in_htaccess(cx),
        },
        pass_authorization: options.pass_authorization,
    };
    // The last definition of a name counts.
    cx.dir.handler_scripts = pool.concat(&[script], cx.dir.handler_scripts);
    Ok(())
}

/// The name of a group that no request decides on.
fn fixed_name<'n>(name: &'n Option<String>, default: &'n str) -> Option<&'n str> {
    match name.as_deref() {
        None | Some("%{GLOBAL}") => Some(default),
        Some(name) => (!name.contains("%{")).then_some(name),
    }
}

/// A script for dispatch or authentication.
pub(super) fn script_ref<'p>(
    cx: &Context<'_, 'p>,
    words: &mut Words<'_>,
) -> Result<ScriptRef<'p>, String> {
    let target = words.need("the script")?;
    let options = options(words, &["process-group", "application-group"])?;
    let file = path(cx, &target)?;
    // Every request waits for its answer, so it is loaded beforehand. A file
    // that is read again for each request loads nothing.
    if !cx.in_htaccess
        && let Some(group) = fixed_name(&options.process_group, DEFAULT_GROUP)
        && let Some(application) = fixed_name(&options.application_group, "")
    {
        add_import(file, group, application, None);
    }
    names_group(cx, options.process_group.as_deref(), true);
    Ok(ScriptRef {
        file,
        process_group: string(cx.pool, &options.process_group),
        application_group: string(cx.pool, &options.application_group),
        htaccess: in_htaccess(cx),
    })
}

pub(super) fn dispatch_script(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    cx.dir.dispatch_script = Some(script_ref(cx, words)?);
    Ok(())
}

pub(super) fn callable_object(cx: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let name = words.need("the name")?;
    cx.dir.callable = Some(cx.pool.string(name.as_bytes()));
    Ok(())
}
