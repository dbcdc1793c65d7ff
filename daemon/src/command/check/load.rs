//! Loads the applications of a group with isolation once, each in processes that leave
//! nothing behind (`trace.rs`, `enter.rs`), and says what would not work: what stops a load
//! is a problem, what was merely denied is a note. Called by `mod.rs`, and by it for
//! `wsgid check-config`.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wsgid_protocol::GroupConfig;
use wsgid_protocol::config::Preload;
use wsgid_protocol::isolation::{Isolation, IsolationPlaces, IsolationReport};
use wsgid_protocol::readable::escaped;

use super::denied::{self, Denied, LoadOutcome, Opening, Seen};
use super::enter::LoadTask;
use super::found::{Found, Probe};
use super::step::{self, CheckStep};
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
    let scripts = match limit.filter(|_| found.has_python) {
        None => Vec::new(),
        Some(_) if config.threads == 0 => {
            found.notes.push(
                "it serves no requests, so its script was not run to see what isolation denies it"
                    .to_owned(),
            );
            Vec::new()
        }
        _ => scripts(config),
    };
    if scripts.is_empty() && limit.is_some() && config.threads > 0 && found.has_python {
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
        let seen: Seen = match step::take(CheckStep::Trace, &task, limit + AROUND) {
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
        if let Some(script) = &task.script {
            tell(config, script, task.seconds, &seen, found);
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
        let cure = cure(missing).map_or_else(String::new, |cure| format!("; {cure}"));
        let missing = escaped(missing.as_bytes());
        found
            .notes
            .push(format!("isolation is to be had without {missing}{cure}"));
    }
}

/// What gives a machine what it lacks (`NAME: REASON`). A kernel that is too old says so.
fn cure(missing: &str) -> Option<&'static str> {
    let (name, why) = missing.split_once(": ").unwrap_or((missing, ""));
    if why.contains("name space") {
        Some(
            "a supervisor that is root has them, or one whose machine allows user name spaces (sysctl \
             user.max_user_namespaces, kernel.unprivileged_userns_clone, \
             kernel.apparmor_restrict_unprivileged_userns; in a container its seccomp profile)",
        )
    } else if why.contains("no landlock") {
        Some("name `landlock` in lsm= on the kernel's command line")
    } else if name == "protect-proc" && why.contains("EPERM") {
        Some("where the kernel refuses /proc to ordinary users, a supervisor that is root has it")
    } else {
        None
    }
}

/// What came of one load.
fn tell(config: &GroupConfig, script: &Path, seconds: u64, seen: &Seen, found: &mut Found) {
    let script = escaped(script.to_string_lossy().as_bytes());
    let problem = failure(&script, seen, seconds);
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
    for opening in denied::openings(&seen.denied, config) {
        if problem
            .as_deref()
            .is_some_and(|text| is_cause(&opening, text, seen))
        {
            found.problems.push(opening.text);
        } else {
            let end = if problem.is_none() {
                "; it loads without"
            } else {
                ""
            };
            notes.push(format!("{}{end}", opening.text));
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
fn is_cause(opening: &Opening, error: &str, seen: &Seen) -> bool {
    opening.denied.iter().any(|index| {
        let is_named = match seen.denied.get(*index) {
            Some(Denied::Path { path, .. }) => error.contains(path.as_str()),
            Some(Denied::Move { from, .. }) => error.contains(from.as_str()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::check::calls::Wanted;

    fn seen(denied: &[Denied], loaded: LoadOutcome, last: Option<usize>) -> Seen {
        Seen {
            loaded,
            traced: true,
            denied: denied.to_vec(),
            last,
            ..Seen::default()
        }
    }

    fn told(seen: &Seen) -> Found {
        let mut config = GroupConfig::new("a", "test");
        config.set("isolation", "private").unwrap();
        let mut found = Found::default();
        tell(&config, Path::new("/srv/app.py"), 30, seen, &mut found);
        found
    }

    #[test]
    fn what_stops_a_load_is_a_problem_and_the_rest_is_noted() {
        let call = |name: &str| Denied::Call(name.to_owned());
        let path = |path: &str| Denied::Path {
            path: path.to_owned(),
            real: path.to_owned(),
            hidden: Some(path.to_owned()),
            wanted: Wanted::Read,
        };
        let denied = [
            path("/srv/media"),
            call("bpf"),
            path("/srv/other"),
            call("keyctl"),
        ];
        let raised = |text: &str| LoadOutcome::Raised {
            text: text.to_owned(),
            file: None,
            line: None,
        };
        let failed = told(&seen(&denied, raised("OSError: no '/srv/media'"), Some(1)));
        let starts = |texts: &[String], fronts: &[&str]| {
            let all = texts
                .iter()
                .zip(fronts)
                .all(|(text, front)| text.starts_with(front));
            assert!(texts.len() == fronts.len() && all, "{texts:?}");
        };
        starts(
            &failed.problems,
            &[
                "script `/srv/app.py` does not load",
                "`/srv/media`",
                "the system call `bpf`",
            ],
        );
        starts(&failed.notes, &["`/srv/other`", "the system call `keyctl`"]);
        let works = told(&seen(&denied, LoadOutcome::Works, Some(3)));
        assert!(works.problems.is_empty() && works.notes.len() == 4);
        assert!(
            works
                .notes
                .iter()
                .all(|note| note.ends_with("; it loads without"))
        );
        let many: Vec<Denied> = (0..50).map(|number| call(&number.to_string())).collect();
        let works = told(&seen(&many, LoadOutcome::Works, None));
        assert_eq!(works.notes.len(), NOTES_MAX + 1);
        assert_eq!(
            works.notes.last().unwrap(),
            "30 more that isolation denies it"
        );
    }

    #[test]
    fn what_could_not_be_traced_is_said_to_be_unknown() {
        let untraced = Seen::default();
        assert!(told(&untraced).notes[0].starts_with("what isolation denies it cannot be told"));
    }

    #[test]
    fn what_a_machine_lacks_has_its_cure() {
        for (missing, part) in [
            (
                "private-tmp: no mount name space: EPERM",
                "user.max_user_namespaces",
            ),
            ("signals: the kernel has no landlock", "lsm="),
            (
                "protect-proc: EPERM: Operation not permitted",
                "root has it",
            ),
        ] {
            assert!(
                cure(missing).is_some_and(|cure| cure.contains(part)),
                "{missing}"
            );
        }
        assert_eq!(cure("signals: this needs Linux 6.12"), None);
    }
}
