//! What can be said of the options of isolation without loading anything. Pure, but for where
//! links lead, which is asked as the site's user. Called by `probe.rs`.

use std::path::{Path, PathBuf};

use wsgid_protocol::GroupConfig;
use wsgid_protocol::control::Identity;
use wsgid_protocol::isolation::Isolation;

use super::found::Found;

/// Files of a login that run something, or let somebody in.
const OF_LOGINS: &str = ".ssh, .profile, .bashrc and .config";

/// Adds them.
pub(super) fn add(config: &GroupConfig, identity: &Identity, found: &mut Found) {
    if config.is_isolated() {
        found.notes.extend(login_home(config, &identity.home));
        found.problems.extend(closed(config));
        found.notes.extend(contradictions(config));
    } else {
        found.notes.extend(without_effect(config));
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The directories that the site may write, with their options.
fn writable(config: &GroupConfig) -> Vec<(&'static str, PathBuf)> {
    let named = config.read_write_paths.iter();
    let mut all: Vec<_> = named
        .map(|path| ("read-write-paths=", path.clone()))
        .collect();
    if config.isolation != Isolation::Strict {
        match &config.home {
            Some(home) => all.push(("home=", home.clone())),
            None => all.extend(
                config
                    .script_directories()
                    .into_iter()
                    .map(|path| ("the directory of its scripts", path)),
            ),
        }
    }
    all
}

/// Whoever may write these files is whoever logs in next.
fn login_home(config: &GroupConfig, login: &Path) -> Option<String> {
    // Service accounts have the root directory for a home, or one that is not there.
    let login = login.canonicalize().ok()?;
    login.parent()?;
    let option = writable(config)
        .into_iter()
        .find(|(_, path)| real(path) == login)
        .map(|(option, _)| option)?;
    Some(format!(
        "{option} is `{}`, where its user logs in: the site may write {OF_LOGINS} there; give it a directory of its own \
         below",
        login.display()
    ))
}

/// What the group cannot do without, and closes itself.
fn closed(config: &GroupConfig) -> Vec<String> {
    let mut needed: Vec<(&str, PathBuf)> = Vec::new();
    needed.extend(config.home.iter().map(|path| ("home=", path.clone())));
    needed.extend(
        config
            .python_home
            .iter()
            .map(|path| ("python-home=", path.clone())),
    );
    let scripts = config.script_directories().into_iter();
    needed.extend(scripts.map(|path| ("the directory of a script", path)));
    needed.extend(
        config
            .python_path
            .iter()
            .map(|path| ("python-path=", path.clone())),
    );
    let mut problems = Vec::new();
    for closed in &config.inaccessible_paths {
        let inside = needed
            .iter()
            .filter(|(_, path)| real(path).starts_with(real(closed)));
        for (option, path) in inside {
            problems.push(format!(
                "inaccessible-paths= `{}` hides `{}` ({option}), which the group needs",
                closed.display(),
                path.display()
            ));
        }
    }
    problems.dedup();
    problems
}

/// Paths that two options name.
fn contradictions(config: &GroupConfig) -> Vec<String> {
    let mut notes = Vec::new();
    for path in &config.read_only_paths {
        let at = real(path);
        if let Some((option, above)) = writable(config)
            .into_iter()
            .find(|(_, above)| at.starts_with(real(above)))
        {
            notes.push(format!(
                "read-only-paths= `{}` is inside of `{}` ({option}), which may be written",
                path.display(),
                above.display()
            ));
        }
    }
    notes
}

/// Options of isolation where there is none.
fn without_effect(config: &GroupConfig) -> Option<String> {
    let set = [
        ("read-write-paths=", !config.read_write_paths.is_empty()),
        ("read-only-paths=", !config.read_only_paths.is_empty()),
        ("allow-system-calls=", !config.allow_system_calls.is_empty()),
        ("isolation-fallback=", config.isolation_fallback),
    ];
    let names: Vec<&str> = set
        .into_iter()
        .filter_map(|(name, is_set)| is_set.then_some(name))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} without effect: nothing is isolated; isolation=private or isolation=strict is what they belong to",
            names.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(options: &[(&str, &str)]) -> GroupConfig {
        let mut config = GroupConfig::new("site", "test");
        for (name, value) in options {
            config.set(name, value).unwrap();
        }
        config
    }

    #[test]
    fn the_home_of_a_login_is_no_place_for_a_site() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().canonicalize().unwrap();
        let text = home.display().to_string();
        let below = format!("{text}/site");
        std::fs::create_dir(&below).unwrap();
        let hint = |options: &[(&str, &str)]| login_home(&config(options), &home);
        let private = ("isolation", "private");
        let strict = ("isolation", "strict");
        assert!(
            hint(&[private, ("home", &text)]).is_some_and(|text| text.starts_with("home= is `"))
        );
        assert_eq!(hint(&[private, ("home", &below)]), None);
        assert_eq!(hint(&[strict, ("home", &text)]), None);
        assert!(hint(&[strict, ("home", &text), ("read-write-paths", &text)]).is_some());
        let of_services = config(&[private, ("home", "/")]);
        assert_eq!(login_home(&of_services, Path::new("/")), None);
    }

    #[test]
    fn what_two_options_say_of_one_path_is_told() {
        let closed_home = config(&[
            ("isolation", "private"),
            ("home", "/data/site"),
            ("inaccessible-paths", "/data"),
        ]);
        assert_eq!(
            closed(&closed_home),
            ["inaccessible-paths= `/data` hides `/data/site` (home=), which the group needs"]
        );
        let keys = config(&[
            ("isolation", "private"),
            ("home", "/data/site"),
            ("inaccessible-paths", "/data/site/keys"),
        ]);
        assert!(closed(&keys).is_empty());
        let both = config(&[
            ("isolation", "strict"),
            ("read-write-paths", "/data/media"),
            ("read-only-paths", "/data/media/old"),
        ]);
        assert_eq!(contradictions(&both).len(), 1);
    }

    #[test]
    fn options_that_do_nothing_are_told() {
        let alone = config(&[("read-write-paths", "/data")]);
        assert!(
            without_effect(&alone)
                .is_some_and(|text| text.starts_with("read-write-paths= without effect"))
        );
        assert_eq!(without_effect(&config(&[])), None);
    }
}
