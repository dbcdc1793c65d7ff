//! The options of each process group as the supervisor gets them: its own definition,
//! and what other directives say about all groups or about one. Asked by `report.rs`
//! and by `launch/`; knows nothing of logs and scripts.

use std::collections::BTreeSet;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::ApplicationOptions;
use wsgid_protocol::names::DEFAULT_GROUP;

use crate::configuration::settings::{Interpreter, ServerSettings};

/// The implicit group: httpd's user, mod_wsgi's defaults. It costs nothing
/// until a request needs it. With `WSGIRestrictEmbedded On` no application may
/// use it, but scripts for access and authentication still do, as in mod_wsgi.
pub(crate) fn default_group() -> GroupConfig {
    GroupConfig::new(DEFAULT_GROUP, "implicit")
}

/// All process groups as the supervisor gets them, but for their logs and for what
/// they may run: those of `settings.groups`, then the implicit one.
pub(crate) fn all(settings: &ServerSettings) -> Vec<GroupConfig> {
    let defined = settings.groups.iter().map(|known| known.config.clone());
    defined
        .chain([default_group()])
        .map(|config| complete(settings, config))
        .collect()
}

/// A group with what other directives say about all groups, and its scripts.
fn complete(settings: &ServerSettings, mut config: GroupConfig) -> GroupConfig {
    if let (None, Some(home)) = (&config.python_home, &settings.python_home) {
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

    let mut options = settings.interpreter.options.clone();
    if config.name == DEFAULT_GROUP {
        config.server_metrics = settings.server_metrics;
    } else {
        // Outside of a container both are for applications inside httpd, whose
        // place the implicit group takes.
        options.python_path.clear();
        options.switch_interval_us = None;
    }
    for container in containers(settings, &config.name, None) {
        add(&mut options, &container.options);
        let directories = &container.options.python_path;
        options.python_path.extend_from_slice(directories);
    }
    config.restrict_stdin = options.restrict_stdin.unwrap_or(config.restrict_stdin);
    config.restrict_stdout = options.restrict_stdout.unwrap_or(config.restrict_stdout);
    config.restrict_signal = options.restrict_signal.unwrap_or(config.restrict_signal);
    config.python_path.extend(options.python_path);

    config.applications = applications(settings, &config.name);
    if config.switch_interval_us.is_some() {
        // The option of the group itself comes before all containers.
        for application in &mut config.applications {
            application.switch_interval_us = None;
        }
    } else {
        config.switch_interval_us = options.switch_interval_us;
    }
    for import in &settings.imports {
        let script = &import.preload;
        let is_known = config.preload_scripts.iter().any(|known| {
            known.script == script.script && known.application_group == script.application_group
        });
        if import.process_group == config.name && !is_known {
            config.preload_scripts.push(script.clone());
        }
    }
    config
}

/// What containers say about single application groups of this process group.
fn applications(settings: &ServerSettings, group: &str) -> Vec<ApplicationOptions> {
    let interpreters = settings.interpreters.iter();
    let names: BTreeSet<&String> = interpreters
        .filter(|one| is_about(one, group))
        .filter_map(|one| one.application_group.as_ref())
        .collect();
    names
        .into_iter()
        .map(|name| application(settings, group, name))
        .collect()
}

fn application(settings: &ServerSettings, group: &str, name: &str) -> ApplicationOptions {
    let own = if name == "%{GLOBAL}" { "" } else { name };
    let mut options = ApplicationOptions {
        application_group: own.to_owned(),
        ..ApplicationOptions::default()
    };
    for container in containers(settings, group, Some(name)) {
        add(&mut options, &container.options);
        if container.application_group.is_some() {
            let directories = &container.options.python_path;
            options.python_path.extend_from_slice(directories);
        }
    }
    options
}

/// The containers that hold for a whole process group or for one of its application
/// groups. The most specific is the last, so that it wins; of equals the later one.
fn containers<'s>(
    settings: &'s ServerSettings,
    group: &str,
    application: Option<&str>,
) -> Vec<&'s Interpreter> {
    let holds = |one: &&Interpreter| {
        let named = one.application_group.as_deref();
        is_about(one, group) && (named.is_none() || named == application)
    };
    let mut found: Vec<&Interpreter> = settings.interpreters.iter().filter(holds).collect();
    found.sort_by_key(|one| {
        usize::from(one.process_group.is_some()) + usize::from(one.application_group.is_some())
    });
    found
}

fn is_about(container: &Interpreter, group: &str) -> bool {
    let named = container.process_group.as_ref();
    named.is_none_or(|named| named == group)
}

/// Adds what a container says, but for directories.
fn add(options: &mut ApplicationOptions, said: &ApplicationOptions) {
    options.restrict_stdin = said.restrict_stdin.or(options.restrict_stdin);
    options.restrict_stdout = said.restrict_stdout.or(options.restrict_stdout);
    options.restrict_signal = said.restrict_signal.or(options.restrict_signal);
    options.switch_interval_us = said.switch_interval_us.or(options.switch_interval_us);
}
