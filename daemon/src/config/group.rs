//! A `[group.NAME]` table as a process group: every key is an option of
//! `WSGIDaemonProcess`, beside `scripts` and `log`. What `scripts` and
//! `script-directories` name is all that the group may run.

use toml::{Table, Value};
use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::{LogTarget, Preload};

/// Reads one table.
pub(super) fn from_table(name: &str, origin: &str, table: &Table) -> Result<GroupConfig, String> {
    if name.is_empty() || name.contains(char::is_control) {
        return Err("a name has one character at least, and no control characters".to_owned());
    }
    let mut config = GroupConfig::new(name, origin);
    for (key, value) in table {
        match key.as_str() {
            "scripts" => {
                config.preload_scripts = scripts(value)?;
                for preload in &config.preload_scripts {
                    config.runs.add_file(&preload.script.to_string_lossy());
                }
            }
            "log" => config.log = log(name, value)?,
            option => {
                for text in texts(option, value)? {
                    config
                        .set(option, &text)
                        .map_err(|error| error.to_string())?;
                }
            }
        }
    }
    let has_log = table.contains_key("log") || table.contains_key("log-file");
    if has_log && !table.contains_key("request-log") {
        // The ErrorLog, where it would be alone, is root's.
        config.request_log = true;
    }
    Ok(config)
}

/// What a group lacks to serve anything, in words.
pub(super) fn serves_nothing(config: &GroupConfig) -> Option<String> {
    (config.threads > 0 && config.runs.is_empty()).then(|| {
        "it names no script, so every request is refused; name them with scripts = [...], \
         or their directories with script-directories = [...]"
            .to_owned()
    })
}

/// A value as the text or texts that the directive would have.
fn texts(option: &str, value: &Value) -> Result<Vec<String>, String> {
    let one = |text: String| Ok(vec![text]);
    match value {
        Value::Array(items) if option == "env" => {
            items.iter().map(|item| text(option, item)).collect()
        }
        Value::Array(items) => {
            let parts: Vec<String> = items
                .iter()
                .map(|item| text(option, item))
                .collect::<Result<_, _>>()?;
            let is_path = option == "script-directories"
                || option.ends_with("-path")
                || option.ends_with("-paths")
                || option == "reload-files";
            one(parts.join(if is_path { ":" } else { "," }))
        }
        Value::Table(pairs) if option == "env" => pairs
            .iter()
            .map(|(name, value)| Ok(format!("{name}={}", text(option, value)?)))
            .collect(),
        other => one(text(option, other)?),
    }
}

/// A value as the text that an option would have.
pub(super) fn text(option: &str, value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(true) => "On".to_owned(),
        Value::Boolean(false) => "Off".to_owned(),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            return Err(format!(
                "option `{option}`: a {} has no place here",
                value.type_str()
            ));
        }
    })
}

/// `scripts = ["/srv/app.wsgi"]`, or tables with `path`, `application-group`
/// and `callable`.
fn scripts(value: &Value) -> Result<Vec<Preload>, String> {
    let items = value.as_array().ok_or("`scripts` is not a list")?;
    items
        .iter()
        .map(|item| {
            let Value::Table(table) = item else {
                let script = absolute("scripts", item)?.into();
                return Ok(Preload {
                    script,
                    application_group: String::new(),
                    callable: Some("application".into()),
                });
            };
            if let Some(key) = table
                .keys()
                .find(|key| !["path", "application-group", "callable"].contains(&key.as_str()))
            {
                return Err(format!(
                    "`scripts`: unknown key `{key}`; there are path, application-group and callable"
                ));
            }
            let word = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
            let path = table
                .get("path")
                .ok_or("`scripts`: an entry has no `path`")?;
            Ok(Preload {
                script: absolute("scripts", path)?.into(),
                application_group: word("application-group").unwrap_or_default(),
                callable: Some(word("callable").unwrap_or_else(|| "application".into())),
            })
        })
        .collect()
}

/// A file, or `syslog[:FACILITY[:TAG]]` as httpd's `ErrorLog` has it.
fn log(group: &str, value: &Value) -> Result<LogTarget, String> {
    match value
        .as_str()
        .and_then(|text| LogTarget::syslog(text, group))
    {
        Some(target) => target.map_err(|why| format!("`log`: {why}")),
        None => Ok(LogTarget::File(absolute("log", value)?.into())),
    }
}

fn absolute(key: &str, value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(path) if path.starts_with('/') => Ok(path.to_owned()),
        _ => Err(format!("`{key}`: {value} is not an absolute path")),
    }
}
