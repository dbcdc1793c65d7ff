//! The options of each process group as the supervisor gets them: its own definition,
//! and what other directives say about all groups or about one. Asked by `report.rs`
//! and by `launch/`; knows nothing of logs and scripts.

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::{ApplicationOptions, Preload};
use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::settings::{Interpreter, ServerSettings};

/// The implicit group: httpd's user, mod_wsgi's defaults. It costs nothing
/// until a request needs it. With `WSGIRestrictEmbedded On` no application may
/// use it, but scripts for access and authentication still do, as in mod_wsgi.
pub(crate) fn default_group() -> GroupConfig {
    GroupConfig::new(DEFAULT_GROUP, "implicit")
}

/// All process groups as the supervisor gets them, but for their logs and for what
/// they may run.
pub(crate) fn all(settings: &ServerSettings) -> Vec<GroupConfig> {
    let defined = settings
        .groups
        .iter()
        .map(|definition| complete(settings, definition.config.clone()));
    defined
        .chain([complete(settings, default_group())])
        .collect()
}

/// A group with what other directives say about all groups, and its scripts.
pub(crate) fn complete(settings: &ServerSettings, mut config: GroupConfig) -> GroupConfig {
    if config.python_home.is_none()
        && let Some(home) = &settings.python_home
    {
        // The option's own reading of the path; it was absolute already.
        let _ = config.set("python-home", home);
    }
    if config.python_eggs.is_none() {
        config.python_eggs.clone_from(&settings.python_eggs);
    }
    config.python_optimize = settings.python_optimize;
    config.python_warnings.clone_from(&settings.python_warnings);
    config
        .python_hash_seed
        .clone_from(&settings.python_hash_seed);
    config.dont_write_bytecode = settings.dont_write_bytecode;
    let own_interval = config.switch_interval_us;
    let plain = settings.interpreter.clone();
    // Outside of a container both are for applications inside httpd, whose
    // place the implicit group takes.
    if config.name == DEFAULT_GROUP {
        apply(&mut config, &plain);
        config.server_metrics = settings.server_metrics;
    } else {
        apply(
            &mut config,
            &Interpreter {
                python_path: Vec::new(),
                switch_interval: None,
                ..plain
            },
        );
    }
    let mut matching: Vec<&Interpreter> = settings
        .interpreters
        .iter()
        .filter(|one| concerns(one, &config))
        .collect();
    // The most specific last, so that it wins; of equals the later one.
    matching.sort_by_key(|one| one.process_group.is_some());
    for one in matching {
        apply(&mut config, one);
    }
    // The option of the group itself comes before all containers.
    config.switch_interval_us = own_interval.or(config.switch_interval_us);
    config.applications = applications(settings, &config.name);
    if own_interval.is_some() {
        for application in &mut config.applications {
            application.switch_interval_us = None;
        }
    }
    for import in settings
        .imports
        .iter()
        .filter(|import| import.process_group == config.name)
    {
        let known = |other: &Preload| {
            other.script == import.preload.script
                && other.application_group == import.preload.application_group
        };
        if !config.preload_scripts.iter().any(known) {
            config.preload_scripts.push(import.preload.clone());
        }
    }
    config
}

/// What containers say about single application groups of this process group.
fn applications(settings: &ServerSettings, group: &str) -> Vec<ApplicationOptions> {
    let mut names: Vec<&String> = settings
        .interpreters
        .iter()
        .filter(|one| fits(one.process_group.as_ref(), group))
        .filter_map(|one| one.application_group.as_ref())
        .collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| application(settings, group, name))
        .collect()
}

fn fits(named: Option<&String>, name: &str) -> bool {
    named.is_none_or(|own| own == name)
}

fn application(settings: &ServerSettings, group: &str, name: &str) -> ApplicationOptions {
    let mut matching: Vec<&Interpreter> = settings
        .interpreters
        .iter()
        .filter(|one| {
            fits(one.process_group.as_ref(), group) && fits(one.application_group.as_ref(), name)
        })
        .collect();
    // As for groups: the most specific wins, of equals the later one.
    matching.sort_by_key(|one| {
        usize::from(one.process_group.is_some()) + usize::from(one.application_group.is_some())
    });
    let own = if name == "%{GLOBAL}" { "" } else { name };
    let mut options = ApplicationOptions {
        application_group: own.to_owned(),
        ..ApplicationOptions::default()
    };
    for one in matching {
        options.restrict_stdin = one.restrict_stdin.or(options.restrict_stdin);
        options.restrict_stdout = one.restrict_stdout.or(options.restrict_stdout);
        options.restrict_signal = one.restrict_signal.or(options.restrict_signal);
        if let Some(interval) = &one.switch_interval {
            let mut reading = GroupConfig::new("", "");
            // Checked where the directive was read.
            let _ = reading.set("switch-interval", interval);
            options.switch_interval_us = reading.switch_interval_us.or(options.switch_interval_us);
        }
        if one.application_group.is_some() {
            options.python_path.extend(one.python_path.iter().cloned());
        }
    }
    options
}

/// Whether a container is about the whole process group.
fn concerns(one: &Interpreter, config: &GroupConfig) -> bool {
    one.application_group.is_none() && fits(one.process_group.as_ref(), &config.name)
}

fn apply(config: &mut GroupConfig, one: &Interpreter) {
    if let Some(on) = one.restrict_stdin {
        config.restrict_stdin = on;
    }
    if let Some(on) = one.restrict_stdout {
        config.restrict_stdout = on;
    }
    if let Some(on) = one.restrict_signal {
        config.restrict_signal = on;
    }
    if let Some(interval) = &one.switch_interval {
        // Checked where the directive was read.
        let _ = config.set("switch-interval", interval);
    }
    config.python_path.extend(one.python_path.iter().cloned());
}
