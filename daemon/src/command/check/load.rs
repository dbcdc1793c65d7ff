//! Loads the applications of a group with isolation once, each in processes that leave
//! nothing behind (`trace.rs`, `enter.rs`), and says what would not work: what stops a load
//! is a problem, what was merely denied is a note. Called by `mod.rs`, and by it for
//! `wsgid check-config`.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::Preload;
use wsgid_protocol::isolation::{Isolation, IsolationPlaces, IsolationReport};
use wsgid_protocol::readable::escaped;

use super::denied::{self, Denied, Hole, LoadOutcome, Seen};
use super::enter::LoadTask;
use super::found::{Found, Probe};
use super::step::{self, Step};
use crate::isolation::neighbours::paths_of_others;
use crate::isolation::temporary::TemporaryDirectories;

/// How long it may take to enter the isolation, where nothing is loaded in it.
const ENTER_LIMIT: Duration = Duration::from_secs(10);
/// How much longer the processes around it may take.
const AROUND: Duration = Duration::from_secs(15);
/// As many notes are given on what one load was denied.
const NOTES_MAX: usize = 20;

/// The groups beside a group, and directories for a load, which stay for no longer than this.
pub(crate) struct Surroundings<'g> {
    groups: &'g [GroupConfig],
    sockets: Vec<PathBuf>,
    directories: TemporaryDirectories,
}

impl<'g> Surroundings<'g> {
    /// `sockets`: the supervisor's own.
    pub(crate) fn new(groups: &'g [GroupConfig], sockets: Vec<PathBuf>) -> Self {
        Self {
            groups,
            sockets,
            directories: TemporaryDirectories::new(),
        }
    }

    fn places(&mut self, config: &GroupConfig) -> io::Result<IsolationPlaces> {
        let mut places = self.directories.of(&config.name)?;
        places.others = paths_of_others(config, self.groups.iter());
        places.others.extend(self.sockets.iter().cloned());
        Ok(places)
    }
}

impl Drop for Surroundings<'_> {
    fn drop(&mut self) {
        self.directories.end();
    }
}

/// Adds what isolation means for a group. `limit`: how long a load may take; `None`: nothing
/// is loaded.
pub(super) fn examine(
    probe: &Probe,
    around: &mut Surroundings<'_>,
    limit: Option<Duration>,
    found: &mut Found,
) {
    let config = &probe.config;
    if !config.is_isolated() {
        return;
    }
    let places = match around.places(config) {
        Ok(places) => places,
        Err(error) => {
            let text = format!("it has no temporary directory of its own: {error}");
            return found.problems.push(text);
        }
    };
    let scripts = match (limit, found.python) {
        (None, _) | (_, None) => Vec::new(),
        (Some(_), Some(_)) if config.threads == 0 => {
            found.notes.push(
                "it serves no requests, so its script was not run to see what isolation denies it"
                    .to_owned(),
            );
            Vec::new()
        }
        _ => scripts(config),
    };
    if scripts.is_empty() && limit.is_some() && config.threads > 0 && found.python.is_some() {
        found.notes.push(
            "no script is named, so none was loaded to see what isolation denies it".to_owned(),
        );
    }
    let limit = limit.unwrap_or(ENTER_LIMIT);
    let task = |script: Option<&Preload>| LoadTask {
        probe: probe.clone(),
        places: places.clone(),
        script: script.map(|one| one.script.clone()),
        callable: script.and_then(|one| one.callable.clone()),
        application_group: script.map_or_else(String::new, |one| one.application_group.clone()),
        seconds: limit.as_secs(),
    };
    let mut tasks: Vec<LoadTask> = scripts.into_iter().map(|one| task(Some(one))).collect();
    if tasks.is_empty() {
        tasks.push(task(None));
    }
    let mut is_first = true;
    for task in tasks {
        let seen: Seen = match step::take(Step::Trace, &task, limit + AROUND) {
            Ok(seen) => seen,
            Err(problem) => return found.problems.push(problem),
        };
        if let LoadOutcome::NotEntered(why) = &seen.loaded {
            let why = escaped(why.as_bytes());
            return found
                .problems
                .push(format!("its workers would not start: {why}"));
        }
        if std::mem::take(&mut is_first) {
            in_force(config, &seen.report, found);
        }
        if task.script.is_some() {
            tell(&task, &seen, found);
        }
    }
}

/// Each script once.
fn scripts(config: &GroupConfig) -> Vec<&Preload> {
    let mut known = HashSet::new();
    let scripts = config.preload_scripts.iter();
    scripts.filter(|one| known.insert(&one.script)).collect()
}

/// What is in force, and what this machine lacks.
fn in_force(config: &GroupConfig, report: &IsolationReport, found: &mut Found) {
    let name = match config.isolation {
        Isolation::None => "single options",
        preset => preset.name(),
    };
    if !report.in_force.is_empty() {
        let all = report.in_force.join(", ");
        found.good.push(format!(
            "isolation ({name}) is to be had: {}",
            escaped(all.as_bytes())
        ));
    }
    for missing in &report.missing {
        let missing = escaped(missing.as_bytes());
        found
            .notes
            .push(format!("isolation is to be had without {missing}"));
    }
}

/// What came of one load.
fn tell(task: &LoadTask, seen: &Seen, found: &mut Found) {
    let Some(script) = &task.script else { return };
    let script = escaped(script.to_string_lossy().as_bytes());
    let problem = failure(&script, seen, task.seconds);
    match &problem {
        None => found
            .good
            .push(format!("script `{script}` loads in its isolation")),
        Some(problem) => found.problems.push(problem.clone()),
    }
    if !seen.traced {
        found.notes.push(
            "what isolation denies it cannot be told: tracing is not allowed here (kernel.yama.ptrace_scope, or the \
             container)"
                .to_owned(),
        );
    }
    let mut notes = Vec::new();
    for hole in denied::holes(&seen.denied, &task.probe.config) {
        if problem
            .as_deref()
            .is_some_and(|text| is_cause(&hole, text, seen))
        {
            found.problems.push(hole.text);
        } else {
            let end = if problem.is_none() {
                "; it loads without"
            } else {
                ""
            };
            notes.push(format!("{}{end}", hole.text));
        }
    }
    let more = notes.len().saturating_sub(NOTES_MAX);
    found.notes.extend(notes.into_iter().take(NOTES_MAX));
    if more > 0 {
        found
            .notes
            .push(format!("{more} more that isolation denies it"));
    }
}

/// Whether a load failed for the lack of this: its error names it, or nothing was denied later.
fn is_cause(hole: &Hole, error: &str, seen: &Seen) -> bool {
    hole.denied.iter().any(|index| {
        let is_named = match seen.denied.get(*index) {
            Some(Denied::Path { path, .. }) => error.contains(path.as_str()),
            _ => false,
        };
        is_named || seen.last == Some(*index)
    })
}

/// Why a script did not load, in words.
fn failure(script: &str, seen: &Seen, seconds: u64) -> Option<String> {
    let text = match &seen.loaded {
        LoadOutcome::Works | LoadOutcome::NotEntered(_) => return None,
        LoadOutcome::Raised { text, file, line } => {
            let at = match (file, line) {
                (Some(file), Some(line)) => format!("`{file}`, line {line}: "),
                _ => String::new(),
            };
            format!("script `{script}` does not load in its isolation: {at}{text}")
        }
        LoadOutcome::Unusable(why) => format!("script `{script}`{why}"),
        LoadOutcome::Ended(how) => {
            format!(
                "script `{script}` ended its process while it was loaded in its isolation: {how}"
            )
        }
        LoadOutcome::TooLong(place) => {
            let at = place
                .as_ref()
                .map_or_else(String::new, |place| format!(", where it was at {place}"));
            format!(
                "script `{script}` was not loaded in its isolation after {seconds} s{at}; --load-timeout= gives it longer"
            )
        }
    };
    Some(escaped(text.as_bytes()))
}
