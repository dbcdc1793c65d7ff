//! Directives about the interpreter, and about metrics.

use std::path::PathBuf;
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::ApplicationOptions;

use crate::configuration::settings::{self, Interpreter};
use crate::configuration::words::Words;
use crate::directives::context::{Applied, Context};
use crate::directives::process::name_of_group;

/// Changes the container that is being read, or what holds for all interpreters.
fn interpreter(change: impl FnOnce(&mut ApplicationOptions)) {
    settings::with(|settings| {
        let container = settings.container.as_mut();
        change(&mut container.unwrap_or(&mut settings.interpreter).options);
    });
}

pub(super) fn home(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let path = words.absolute_path("the prefix of the Python")?;
    let path = path.to_string_lossy().into_owned();
    settings::with(|settings| settings.python_home = Some(path));
    Ok(())
}

pub(super) fn path(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let list = words.need("a list of directories")?;
    let list = list
        .split(':')
        .filter(|part| !part.is_empty())
        .map(PathBuf::from);
    interpreter(|target| target.python_path.extend(list));
    Ok(())
}

pub(super) fn eggs(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let path = words.absolute_path("the directory")?;
    settings::with(|settings| settings.python_eggs = Some(path));
    Ok(())
}

pub(super) fn optimize(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let word = words.need("0, 1 or 2")?;
    let level: u8 = word
        .parse()
        .map_err(|_| format!("`{word}` is not 0, 1 or 2"))?;
    // Python itself takes more for 2.
    settings::with(|settings| settings.python_optimize = level.min(2));
    Ok(())
}

pub(super) fn warnings(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let filter = words.need("a warning filter")?;
    settings::with(|settings| settings.python_warnings.push(filter));
    Ok(())
}

pub(super) fn hash_seed(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let seed = words.need("random or a number")?;
    if seed != "random" && seed.parse::<u32>().is_err() {
        return Err(format!(
            "`{seed}` is neither `random` nor a number from 0 to 4294967295"
        ));
    }
    settings::with(|settings| settings.python_hash_seed = Some(seed));
    Ok(())
}

pub(super) fn switch_interval(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let word = words.need("a number of seconds")?;
    // Checked by the option of the same name, so that both give one error.
    let mut reading = GroupConfig::new("", "");
    reading
        .set("switch-interval", &word)
        .map_err(|error| error.to_string())?;
    interpreter(|target| target.switch_interval_us = reading.switch_interval_us);
    Ok(())
}

/// Directives that are one switch of an interpreter.
macro_rules! switches {
    ($($name:ident)*) => {
        $(pub(super) fn $name(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
            let on = words.switch()?;
            interpreter(|target| target.$name = Some(on));
            Ok(())
        })*
    };
}

switches! { restrict_stdin restrict_stdout restrict_signal }

/// `<WSGIInterpreterOptions …>`: the directives inside follow one by one.
pub(super) fn interpreter_options(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let mut container = Interpreter::default();
    while let Some((name, value)) = words.next_option()? {
        let value = name_of_group(&value).map_err(|error| format!("option `{name}`: {error}"))?;
        match name.as_str() {
            "process-group" => container.process_group = Some(value),
            "application-group" => container.application_group = Some(value),
            _ => {
                return Err(format!(
                    "unknown option `{name}`; the options are process-group, application-group"
                ));
            }
        }
    }
    settings::with(|settings| settings.container = Some(container));
    Ok(())
}

fn seconds(word: &str, least: f64) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= least => Ok(seconds),
        _ => Err(format!(
            "`{word}` is not a number of seconds, {least} or more"
        )),
    }
}

pub(super) fn telemetry_service(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let target = words.need("unix:/path")?;
    if !target
        .strip_prefix("unix:")
        .is_some_and(|path| path.starts_with('/'))
    {
        return Err(format!("`{target}` is not of the form unix:/path"));
    }
    while let Some((name, value)) = words.next_option()? {
        if name != "interval" {
            return Err(format!("unknown option `{name}`; the option is interval"));
        }
        seconds(&value, 0.5).map_err(|error| format!("option `interval`: {error}"))?;
    }
    Ok(())
}

pub(super) fn telemetry_options(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let options = words.rest("an option")?;
    for word in &options {
        let bare = word.trim_start_matches(['+', '-']).to_ascii_lowercase();
        if !["captureuseragent", "none", "all"].contains(&bare.as_str()) {
            return Err(format!(
                "`{word}` is not an option; there are CaptureUserAgent, None and All"
            ));
        }
    }
    Ok(())
}

pub(super) fn slow_requests(_: &mut Context<'_, '_>, words: &mut Words<'_>) -> Applied {
    let seconds = seconds(&words.need("a number of seconds")?, 0.0)?;
    let limit = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    settings::with(|settings| settings.slow_requests = (!limit.is_zero()).then_some(limit));
    Ok(())
}
